#include "access/user_limits.h"

#include <gtest/gtest.h>

namespace sheaf::access {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(UserLimits, RequestsAtOnceAreCountedByUser) {
  UserLimits limits({.requests_at_once = 2});
  auto first = limits.Enter("ada", 0).ValueOrDie();
  const auto second = limits.Enter("ada", 0).ValueOrDie();
  EXPECT_EQ(KindOf(limits.Enter("ada", 0).status()), ErrorKind::kThrottled);
  EXPECT_TRUE(limits.Enter("bob", 0).ok());
  first.reset();
  EXPECT_TRUE(limits.Enter("ada", 0).ok());
}

TEST(UserLimits, RequestsASecondComeBackWithTime) {
  UserLimits limits({.requests_per_second = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limits.Enter("ada", 5 * kSecond).ok());
  EXPECT_EQ(KindOf(limits.Enter("ada", 5 * kSecond).status()), ErrorKind::kThrottled);
  EXPECT_TRUE(limits.Enter("bob", 5 * kSecond).ok());
  EXPECT_TRUE(limits.Enter("ada", 5 * kSecond + kSecond / 2).ok());
  EXPECT_FALSE(limits.Enter("ada", 5 * kSecond + kSecond / 2).ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limits.Enter("ada", 100 * kSecond).ok());
  EXPECT_FALSE(limits.Enter("ada", 100 * kSecond).ok()) << "what was not used does not add up";
}

TEST(UserLimits, PlacesOutliveThem) {
  std::shared_ptr<void> place;
  {
    UserLimits limits({.requests_at_once = 1});
    place = limits.Enter("ada", 0).ValueOrDie();
  }
  place.reset();
}

}  // namespace
}  // namespace sheaf::access
