#include "access/credentials.h"

#include <string>

#include <gtest/gtest.h>

namespace sheaf::access {
namespace {

TEST(Credentials, BasicIsNameAndPassword) {
  const auto given = ParseAuthorization("Basic YWRhOnNlY3JldDp3aXRoIGNvbG9u");
  ASSERT_TRUE(given);
  const auto& basic = std::get<BasicCredentials>(*given);
  EXPECT_EQ(basic.user, "ada");
  EXPECT_EQ(basic.password, "secret:with colon");
}

TEST(Credentials, BearerIsAToken) {
  const auto given = ParseAuthorization("bEARER   sheaf_0011 ");
  ASSERT_TRUE(given);
  EXPECT_EQ(std::get<BearerCredentials>(*given).token, "sheaf_0011");
}

TEST(Credentials, AnythingElseIsNothing) {
  for (const std::string header :
       {"", "Basic", "Basic ", "Bearer", "Basic ???", "Basic YWRh", "Digest username=\"ada\"", "YWRhOng=", "Negotiate abc"}) {
    EXPECT_FALSE(ParseAuthorization(header)) << header;
  }
  EXPECT_FALSE(ParseAuthorization("Bearer " + std::string(100'000, 'x')));
}

}  // namespace
}  // namespace sheaf::access
