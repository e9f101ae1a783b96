#include "access/sessions.h"

#include <gtest/gtest.h>

#include "access/secret.h"
#include "access/user_file.h"

namespace sheaf::access {
namespace {

constexpr SessionLimits kLimits{.idle_ns = 10, .life_ns = 25, .sessions_max = 4, .per_user_max = 2};

TEST(Sessions, ATokenFindsItsOwnerWhileItIsUsed) {
  Sessions sessions(kLimits);
  const std::string token = sessions.Begin({.user = "ada", .password = "hash"}, 0).ValueOrDie();
  EXPECT_TRUE(LooksLikeToken(token));
  for (const int64_t now : {9, 18, 24}) {
    const auto owner = sessions.Find(Sha256(token), now);
    ASSERT_TRUE(owner) << now;
    EXPECT_EQ(owner->user, "ada");
    EXPECT_EQ(owner->password, "hash");
  }
  EXPECT_FALSE(sessions.Find(Sha256(token), 25)) << "it has lived long enough";
  EXPECT_FALSE(sessions.Find(Sha256(token), 0)) << "and is gone";
}

TEST(Sessions, OneThatNobodyUsesEnds) {
  Sessions sessions(kLimits);
  const std::string token = sessions.Begin({.user = "ada", .password = ""}, 0).ValueOrDie();
  EXPECT_FALSE(sessions.Find(Sha256(token), 10));
}

TEST(Sessions, AUserWithTooManyLosesTheOldest) {
  Sessions sessions(kLimits);
  std::vector<std::string> digests;
  for (int i = 0; i < 3; ++i) digests.push_back(Sha256(sessions.Begin({.user = "ada", .password = ""}, i).ValueOrDie()));
  EXPECT_FALSE(sessions.Find(digests[0], 3));
  EXPECT_TRUE(sessions.Find(digests[1], 3));
  EXPECT_TRUE(sessions.Find(digests[2], 3));
}

TEST(Sessions, WhatIsUsedStays) {
  Sessions sessions(kLimits);
  std::vector<std::string> digests;
  for (int i = 0; i < 2; ++i) digests.push_back(Sha256(sessions.Begin({.user = "ada", .password = ""}, i).ValueOrDie()));
  ASSERT_TRUE(sessions.Find(digests[0], 5));
  digests.push_back(Sha256(sessions.Begin({.user = "ada", .password = ""}, 6).ValueOrDie()));
  EXPECT_TRUE(sessions.Find(digests[0], 7)) << "the oldest, but in use";
  EXPECT_FALSE(sessions.Find(digests[1], 7));
  EXPECT_TRUE(sessions.Find(digests[2], 7));
}

TEST(Sessions, ThereAreOnlySoMany) {
  Sessions sessions(kLimits);
  for (const char* user : {"a", "b", "c", "d"}) ASSERT_TRUE(sessions.Begin({.user = user, .password = ""}, 0).ok());
  EXPECT_EQ(KindOf(sessions.Begin({.user = "e", .password = ""}, 9).status()), ErrorKind::kThrottled);
  EXPECT_TRUE(sessions.Begin({.user = "e", .password = ""}, 10).ok()) << "those that have ended make room";
}

}  // namespace
}  // namespace sheaf::access
