#include "access/user_limits.h"

#include <algorithm>

namespace sheaf::access {

Result<std::shared_ptr<void>> UserLimits::Enter(const std::string& user, int64_t now_ns) {
  if (options_.requests_at_once == 0 && options_.requests_per_second == 0) return std::shared_ptr<void>();
  MutexLock lock(&shared_->mutex);
  Usage& usage = shared_->users[user];
  if (options_.requests_at_once > 0 && usage.running >= options_.requests_at_once) {
    return MakeError(ErrorKind::kThrottled, "user {} has {} requests running, as many as one may; try again later", user,
                     usage.running);
  }
  if (options_.requests_per_second > 0) {
    const auto most = static_cast<double>(options_.requests_per_second);
    const double grown = usage.tokens + most * static_cast<double>(now_ns - usage.filled_ns) * 1e-9;
    usage.tokens = usage.known ? std::min(most, grown) : most;
    usage.filled_ns = now_ns;
    usage.known = true;
    if (usage.tokens < 1) {
      return MakeError(ErrorKind::kThrottled, "user {} sends more than {} requests a second; try again later", user,
                       options_.requests_per_second);
    }
    usage.tokens -= 1;
  }
  ++usage.running;
  return std::shared_ptr<void>(nullptr, [shared = shared_, user](void*) {
    MutexLock again(&shared->mutex);
    --shared->users[user].running;
  });
}

}  // namespace sheaf::access
