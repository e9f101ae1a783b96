/// Sessions: short-lived tokens for those who have shown a password, so that it need not come with every request. The Handshake
/// of Flight gives them. They are kept in memory: after a restart whoever has one logs in again.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::access {

struct SessionLimits {
  int64_t idle_ns = 3'600'000'000'000;       // One that nobody used for so long ends.
  int64_t life_ns = 24 * 3'600'000'000'000;  // So does one that is so old.
  size_t sessions_max = 10'000;
  size_t per_user_max = 200;  // One more ends that of the user's which was not used for longest.
};

/// Thread-safe. Times are of a monotonic clock.
class Sessions {
 public:
  explicit Sessions(const SessionLimits& limits) : limits_(limits) {}

  /// Whose a session is. The user's password hash when it began: with another one, it counts no more.
  struct Owner {
    std::string user, password;
  };

  /// Begins a session; returns its token, of the form of those in the file of users. Errors: Throttled (there are as many as may
  /// be), Internal (no randomness).
  Result<std::string> Begin(Owner owner, int64_t now_ns) SHEAF_EXCLUDES(mutex_);
  /// Whose session the token with this digest is; nothing where there is none, or it has ended.
  std::optional<Owner> Find(const std::string& digest, int64_t now_ns) SHEAF_EXCLUDES(mutex_);

 private:
  struct Session {
    Owner owner;
    int64_t began_ns = 0, used_ns = 0;
  };
  using All = std::unordered_map<std::string, Session>;
  bool Ended(const Session& session, int64_t now_ns) const {
    return now_ns - session.used_ns >= limits_.idle_ns || now_ns - session.began_ns >= limits_.life_ns;
  }
  void Forget(All::iterator which) SHEAF_REQUIRES(mutex_);
  void ForgetEnded(int64_t now_ns) SHEAF_REQUIRES(mutex_);
  void ForgetOneOf(const std::deque<std::string>& of_user) SHEAF_REQUIRES(mutex_);

  const SessionLimits limits_;
  Mutex mutex_;
  All all_ SHEAF_GUARDED_BY(mutex_);                                                           // By digest.
  std::unordered_map<std::string, std::deque<std::string>> by_user_ SHEAF_GUARDED_BY(mutex_);  // Digests, the oldest first.
};

}  // namespace sheaf::access
