/// How many requests a user may have running, and how many begin a second.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::access {

struct UserLimitOptions {
  int64_t requests_at_once = 0;     // 0: as many as come.
  int64_t requests_per_second = 0;  // On average; up to so many at one moment. 0: as many as come.
};

/// Thread-safe. Remembers each user that ever came, of whom there are at most kUsersMax and who has been removed since.
class UserLimits {
 public:
  explicit UserLimits(const UserLimitOptions& options) : options_(options), shared_(std::make_shared<Shared>()) {}

  /// A place that is given back with the last copy; null where there are no limits. `now_ns` is of a monotonic clock.
  /// Error: Throttled.
  Result<std::shared_ptr<void>> Enter(const std::string& user, int64_t now_ns);

 private:
  struct Usage {
    int64_t running = 0;
    double tokens = 0;
    int64_t filled_ns = 0;
    bool known = false;
  };
  /// Places may outlive this.
  struct Shared {
    Mutex mutex;
    std::unordered_map<std::string, Usage> users SHEAF_GUARDED_BY(mutex);
  };

  const UserLimitOptions options_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace sheaf::access
