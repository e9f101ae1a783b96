#include "core/hex.h"

#include <gtest/gtest.h>

namespace sheaf {
namespace {

TEST(Hex, WritesLowerCaseAndReadsBoth) {
  EXPECT_EQ(ToHex(std::string("\x00\xAB\xff", 3)), "00abff");
  EXPECT_EQ(FromHex("00ABff"), std::string("\x00\xAB\xff", 3));
}

TEST(Hex, RefusesOddLengthAndOtherCharacters) {
  EXPECT_EQ(FromHex("abc"), std::nullopt);
  EXPECT_EQ(FromHex("0g"), std::nullopt);
  EXPECT_EQ(FromHex(""), std::string());
}

}  // namespace
}  // namespace sheaf
