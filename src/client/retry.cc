#include "client/retry.h"

#include <algorithm>

namespace sheaf::client {

using std::chrono::milliseconds;

milliseconds Backoff::Between(milliseconds low, milliseconds high) {
  return milliseconds(std::uniform_int_distribution<int64_t>(low.count(), std::max(low, high).count())(*random_));
}

milliseconds Backoff::Next(std::optional<milliseconds> asked) {
  const milliseconds own = Between(bound_ / 2, bound_);
  bound_ = std::min(bound_ * 2, options_.longest);
  if (!asked) return own;
  const milliseconds wanted = std::clamp(*asked, milliseconds(0), options_.asked_max);
  return std::max(own, Between(wanted, wanted + wanted / 10));
}

}  // namespace sheaf::client
