/// Finds out whom a request comes from. The one place for every protocol.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "access/credentials.h"
#include "access/failure_limit.h"
#include "access/identity.h"
#include "access/password.h"
#include "access/sessions.h"
#include "access/user_file.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"

namespace sheaf::access {

struct AuthenticatorOptions {
  int hashes_max = 2;    // Passwords checked at once; each takes 19 MiB and a processor for some tens of ms.
  int waiting_max = 16;  // Requests that wait for that; more are refused.
  std::chrono::milliseconds wait_max{2'000};
  int64_t remember_ns = 300'000'000'000;                  // A password that was right is not hashed again for so long.
  int failures_per_user = 30, failures_per_address = 10;  // In the window below; then no password is checked any more.
  int64_t failure_window_ns = 60'000'000'000;
  int64_t look_interval_ns = 250'000'000;  // How often Look() reads the file.
  SessionLimits sessions;
};

/// Thread-safe. Borrows file system and clock.
class Authenticator {
 public:
  /// Reads the users of `directory`. Errors: those of ReadUsers(): with a damaged file nobody could tell who may come in.
  static Result<std::unique_ptr<Authenticator>> Open(io::FileSystem* files, io::Clock* clock, std::string directory,
                                                     const AuthenticatorOptions& options = {});

  /// Whether requests need credentials: once there is a file of users, even an empty one, and until the next start.
  bool required() const { return required_.load(std::memory_order_acquire); }

  /// Whom a request with this Authorization header (empty: none) comes from; Anyone() while nothing is required. May hash a
  /// password, and wait for its turn to. Errors: Denied (no credentials, or wrong ones; 401, not 403), Throttled (too many
  /// failures or log-ins), OutOfMemory, Internal.
  Result<Identity> Authenticate(std::string_view authorization, std::string_view peer);
  /// The same where it can be said at once; nothing where a password must be hashed.
  std::optional<Result<Identity>> TryAuthenticate(std::string_view authorization, std::string_view peer);

  /// A token for whoever has just shown a password, to be sent instead of it (Bearer) for a while. It has the user's roles as
  /// they are then, and ends with the user or his password. Error: Throttled, Internal; NotFound (no such user any more).
  Result<std::string> BeginSession(const Identity& identity);

  /// Takes over what `sheaf user` has changed in the meantime; to be called a few times a second. A file that is damaged or gone
  /// is reported in the log, once, and changes nothing: the last good users stay.
  void Look();

 private:
  struct Known;  // Users with what finds them fast. Immutable.

  Authenticator(io::FileSystem* files, io::Clock* clock, std::string directory, const AuthenticatorOptions& options);
  std::shared_ptr<const Known> known() const SHEAF_EXCLUDES(mutex_);
  Status Adopt(std::string_view bytes) SHEAF_EXCLUDES(mutex_);
  /// Empty: there is none any more.
  void Complain(const std::string& problem) SHEAF_EXCLUDES(mutex_);

  Result<Identity> CheckToken(const Known& known, const std::string& token, std::string_view peer);
  Result<Identity> CheckSession(const Known& known, const std::string& digest, std::string_view peer);
  /// Nothing: it must be hashed.
  std::optional<Result<Identity>> RecallPassword(const Known& known, const BasicCredentials& given, std::string_view peer);
  Result<Identity> CheckPassword(const Known& known, const BasicCredentials& given, std::string_view peer);
  Result<bool> HashInTurn(const std::string& hash, const std::string& password) SHEAF_EXCLUDES(turn_mutex_);
  std::string CacheKey(const User& user, const std::string& password) const;
  Status Refuse(const char* reason, std::string_view user, std::string_view peer);
  bool TooManyFailures(std::string_view user, std::string_view peer) const;

  io::FileSystem* const files_;
  io::Clock* const clock_;
  const std::string directory_;
  const AuthenticatorOptions options_;
  std::string key_;                             // Random, of this process.
  const std::string stand_in_ = StandInHash();  // Checked in place of users that there are not.
  std::atomic<bool> required_{false};
  std::atomic<int64_t> looked_ns_{0};
  FailureLimit user_failures_, address_failures_;
  Sessions sessions_;

  mutable Mutex mutex_;
  std::shared_ptr<const Known> known_ SHEAF_GUARDED_BY(mutex_);
  std::string problem_ SHEAF_GUARDED_BY(mutex_);                                  // Of the file, as it was last reported.
  std::unordered_map<std::string, int64_t> remembered_ SHEAF_GUARDED_BY(mutex_);  // CacheKey() to when it ends, monotonic.

  Mutex turn_mutex_;
  CondVar turn_;
  int hashing_ SHEAF_GUARDED_BY(turn_mutex_) = 0, waiting_ SHEAF_GUARDED_BY(turn_mutex_) = 0;
};

}  // namespace sheaf::access
