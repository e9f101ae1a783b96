#include "core/crc32c.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace sheaf {
namespace {

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(Crc32c, MatchesPublishedVectors) {
  // RFC 3720, appendix B.4, and the customary check value.
  std::string ascending, descending;
  for (char c = 0; c < 32; ++c) ascending += c, descending += static_cast<char>(31 - c);
  EXPECT_EQ(Crc32c(Bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(Crc32c(Bytes(std::string(32, '\0'))), 0x8a9136aau);
  EXPECT_EQ(Crc32c(Bytes(std::string(32, '\xff'))), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(Bytes(ascending)), 0x46dd794eu);
  EXPECT_EQ(Crc32c(Bytes(descending)), 0x113fdb5cu);
  EXPECT_EQ(Crc32c({}), 0u);
}

TEST(Crc32c, InstructionAndTablesAgreeAtEveryLengthAndAlignment) {
  std::mt19937_64 random(7);
  std::vector<std::byte> bytes(40'000);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  const std::span<const std::byte> all(bytes);
  for (size_t length = 0; length < 900; ++length) {
    const auto part = all.subspan(length % 17, length);
    ASSERT_EQ(ExtendCrc32c(17, part), ExtendCrc32cByTable(17, part)) << length;
  }
  for (size_t length : {4096, 12'287, 12'288, 12'289, 24'576, 30'001, 39'999}) {
    ASSERT_EQ(Crc32c(all.subspan(1, length)), ExtendCrc32cByTable(0, all.subspan(1, length))) << length;
  }
}

TEST(Crc32c, ExtendingEqualsTheWhole) {
  const std::string text(1'000, 'x');
  for (size_t cut = 0; cut <= text.size(); cut += 7) {
    EXPECT_EQ(ExtendCrc32c(Crc32c(Bytes(text.substr(0, cut))), Bytes(text.substr(cut))), Crc32c(Bytes(text)));
  }
}

}  // namespace
}  // namespace sheaf
