#include "access/authenticator.h"

#include <utility>
#include <variant>

#include "access/password.h"
#include "access/secret.h"
#include "core/log.h"

namespace sheaf::access {
namespace {

constexpr size_t kRememberedMax = 4096;
constexpr size_t kKeyBytes = 32;

/// Of log lines: what a stranger sent as a name, if it could be one.
std::string_view Printable(std::string_view user) { return CheckUserName(user).ok() ? user : "?"; }

Identity IdentityOf(const User& user, std::string_view peer, bool by_password) {
  return {.user = user.name, .roles = user.roles, .peer = std::string(peer), .by_password = by_password};
}

}  // namespace

struct Authenticator::Known {
  struct Owned {
    size_t user = 0, token = 0;
  };
  UserTable table;
  std::string mark;                               // Of the file.
  std::unordered_map<std::string, Owned> tokens;  // By digest.
};

Authenticator::Authenticator(io::FileSystem* files, io::Clock* clock, std::string directory, const AuthenticatorOptions& options)
    : files_(files),
      clock_(clock),
      directory_(std::move(directory)),
      options_(options),
      user_failures_(options.failures_per_user, options.failure_window_ns),
      address_failures_(options.failures_per_address, options.failure_window_ns),
      sessions_(options.sessions),
      known_(std::make_shared<Known>()) {}

Result<std::unique_ptr<Authenticator>> Authenticator::Open(io::FileSystem* files, io::Clock* clock, std::string directory,
                                                           const AuthenticatorOptions& options) {
  std::unique_ptr<Authenticator> made(new Authenticator(files, clock, std::move(directory), options));
  SHEAF_ASSIGN_OR_RETURN(made->key_, RandomBytes(kKeyBytes));
  SHEAF_ASSIGN_OR_RETURN(std::optional<std::string> bytes, ReadUsersFile(files, made->directory_));
  if (bytes) SHEAF_RETURN_NOT_OK(made->Adopt(*bytes));
  made->looked_ns_ = clock->MonotonicNs();
  return made;
}

std::shared_ptr<const Authenticator::Known> Authenticator::known() const {
  MutexLock lock(&mutex_);
  return known_;
}

Status Authenticator::Adopt(std::string_view bytes) {
  auto known = std::make_shared<Known>();
  Result<UserTable> table = UserTable::Decode(bytes);
  if (!table.ok()) return WithContext(table.status(), io::Join(directory_, kUsersFile));
  known->table = std::move(*table);
  known->mark = UsersMarkOf(bytes);
  for (size_t i = 0; i < known->table.users().size(); ++i) {
    const User& user = known->table.users()[i];
    for (size_t j = 0; j < user.tokens.size(); ++j) known->tokens[user.tokens[j].digest] = {.user = i, .token = j};
  }
  LogInfo("access.users_read", {{"users", known->table.users().size()}, {"tokens", known->tokens.size()}});
  {
    MutexLock lock(&mutex_);
    known_ = std::move(known);
    problem_.clear();
  }
  required_.store(true, std::memory_order_release);
  return Status::OK();
}

void Authenticator::Complain(const std::string& problem) {
  {
    MutexLock lock(&mutex_);
    if (problem_ == problem) return;
    problem_ = problem;
  }
  if (problem.empty()) return LogInfo("access.users_readable");
  LogError("access.users_not_read", {{"error", problem}, {"action", "the users as last read stay"}});
}

void Authenticator::Look() {
  const int64_t now = clock_->MonotonicNs();
  if (now - looked_ns_.load(std::memory_order_relaxed) < options_.look_interval_ns) return;
  looked_ns_.store(now, std::memory_order_relaxed);
  const Result<std::optional<std::string>> mark = ReadUsersMark(files_, directory_);
  if (!mark.ok()) return Complain(mark.status().message());
  if (!*mark) {
    if (required()) Complain(std::string(kUsersFile) + " is gone; requests need credentials until the server is started again");
    return;
  }
  if (required() && **mark == known()->mark) return Complain("");
  Result<std::optional<std::string>> bytes = ReadUsersFile(files_, directory_);
  if (!bytes.ok()) return Complain(bytes.status().message());
  if (!*bytes) return;  // Gone in this moment: the next look tells.
  const Status adopted = Adopt(**bytes);
  if (!adopted.ok()) Complain(adopted.message());
}

Status Authenticator::Refuse(const char* reason, std::string_view user, std::string_view peer) {
  LogWarn("audit.login_failed", {{"user", Printable(user)}, {"peer", peer}, {"reason", reason}});
  // The same words for every reason: what is wrong is the owner's business.
  return MakeError(ErrorKind::kDenied, "wrong or expired credentials");
}

bool Authenticator::TooManyFailures(std::string_view user, std::string_view peer) const {
  const int64_t now = clock_->MonotonicNs();
  return address_failures_.Exceeded(AddressOf(peer), now) || user_failures_.Exceeded(user, now);
}

Result<Identity> Authenticator::CheckToken(const Known& known, const std::string& token, std::string_view peer) {
  // Found by its digest: what a comparison of digests gives away by its time does not lead to a token.
  const std::string digest = LooksLikeToken(token) ? Sha256(token) : std::string();
  const auto found = known.tokens.find(digest);
  if (found == known.tokens.end()) return CheckSession(known, digest, peer);
  const User& user = known.table.users()[found->second.user];
  const Token& kept = user.tokens[found->second.token];
  if (kept.expires_ns != 0 && kept.expires_ns <= clock_->NowNs()) return Refuse("expired token", user.name, peer);
  return IdentityOf(user, peer, false);
}

Result<Identity> Authenticator::CheckSession(const Known& known, const std::string& digest, std::string_view peer) {
  const auto owner = sessions_.Find(digest, clock_->MonotonicNs());
  if (!owner) return Refuse("unknown token", "", peer);
  const User* const user = known.table.Find(owner->user);
  if (user == nullptr || user->password != owner->password) return Refuse("session of a former password", owner->user, peer);
  return IdentityOf(*user, peer, false);
}

Result<std::string> Authenticator::BeginSession(const Identity& identity) {
  const auto known = this->known();
  const User* const user = known->table.Find(identity.user);
  if (user == nullptr) return MakeError(ErrorKind::kNotFound, "there is no user {} any more", identity.user);
  return sessions_.Begin({.user = user->name, .password = user->password}, clock_->MonotonicNs());
}

std::string Authenticator::CacheKey(const User& user, const std::string& password) const {
  // With the hash, so that another password or another user of that name is another key.
  std::string text = user.name + '\0' + user.password + '\0' + password;
  std::string key = KeyedHash(key_, text);
  Wipe(&text);
  return key;
}

std::optional<Result<Identity>> Authenticator::RecallPassword(const Known& known, const BasicCredentials& given,
                                                              std::string_view peer) {
  if (const User* user = known.table.Find(given.user); user != nullptr && !user->password.empty()) {
    const std::string key = CacheKey(*user, given.password);
    MutexLock lock(&mutex_);
    const auto found = remembered_.find(key);
    if (found != remembered_.end() && found->second > clock_->MonotonicNs()) {
      return IdentityOf(*user, peer, true);
    }
  }
  if (TooManyFailures(given.user, peer)) {
    return MakeError(ErrorKind::kThrottled, "too many failed log-ins; try again in a minute");
  }
  return std::nullopt;
}

Result<bool> Authenticator::HashInTurn(const std::string& hash, const std::string& password) {
  {
    MutexLock lock(&turn_mutex_);
    if (hashing_ >= options_.hashes_max && waiting_ >= options_.waiting_max) {
      return MakeError(ErrorKind::kThrottled, "too many log-ins at once; try again later");
    }
    const auto until = std::chrono::steady_clock::now() + options_.wait_max;
    ++waiting_;
    while (hashing_ >= options_.hashes_max && std::chrono::steady_clock::now() < until) {
      turn_.WaitFor(&turn_mutex_, until - std::chrono::steady_clock::now());
    }
    --waiting_;
    if (hashing_ >= options_.hashes_max) return MakeError(ErrorKind::kThrottled, "too many log-ins at once; try again later");
    ++hashing_;
  }
  Result<bool> right = VerifyPassword(hash, password);
  MutexLock lock(&turn_mutex_);
  --hashing_;
  turn_.NotifyOne();
  return right;
}

Result<Identity> Authenticator::CheckPassword(const Known& known, const BasicCredentials& given, std::string_view peer) {
  const User* const user = known.table.Find(given.user);
  const bool can_be = user != nullptr && !user->password.empty();
  // Those who are not there take as long as those who are.
  SHEAF_ASSIGN_OR_RETURN(const bool right, HashInTurn(can_be ? user->password : stand_in_, given.password));
  const int64_t now = clock_->MonotonicNs();
  if (!can_be || !right) {
    // Only passwords can be guessed: programs that come with an old token do not shut anybody out.
    address_failures_.Count(AddressOf(peer), now);
    user_failures_.Count(given.user, now);
    return Refuse(can_be ? "wrong password" : "unknown user", given.user, peer);
  }
  MutexLock lock(&mutex_);
  if (remembered_.size() >= kRememberedMax) {
    std::erase_if(remembered_, [now](const auto& each) { return each.second <= now; });
    if (remembered_.size() >= kRememberedMax) remembered_.clear();
  }
  remembered_[CacheKey(*user, given.password)] = now + options_.remember_ns;
  return IdentityOf(*user, peer, true);
}

std::optional<Result<Identity>> Authenticator::TryAuthenticate(std::string_view authorization, std::string_view peer) {
  if (!required()) return Anyone(std::string(peer));
  if (authorization.empty()) {
    return MakeError(ErrorKind::kDenied, "this server has users: send a name and password (Basic) or a token (Bearer)");
  }
  std::optional<Credentials> given = ParseAuthorization(authorization);
  if (!given) return Refuse("malformed header", "", peer);
  const auto known = this->known();
  if (const auto* bearer = std::get_if<BearerCredentials>(&*given)) return CheckToken(*known, bearer->token, peer);
  return RecallPassword(*known, std::get<BasicCredentials>(*given), peer);
}

Result<Identity> Authenticator::Authenticate(std::string_view authorization, std::string_view peer) {
  if (std::optional<Result<Identity>> at_once = TryAuthenticate(authorization, peer)) return std::move(*at_once);
  std::optional<Credentials> given = ParseAuthorization(authorization);
  auto& basic = std::get<BasicCredentials>(*given);  // Only a password takes longer.
  Result<Identity> found = CheckPassword(*known(), basic, peer);
  Wipe(&basic.password);
  return found;
}

}  // namespace sheaf::access
