#include "access/sessions.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "access/user_file.h"

namespace sheaf::access {

void Sessions::Forget(All::iterator which) {
  const auto of_user = by_user_.find(which->second.owner.user);
  std::erase(of_user->second, which->first);
  if (of_user->second.empty()) by_user_.erase(of_user);
  all_.erase(which);
}

void Sessions::ForgetEnded(int64_t now_ns) {
  for (auto it = all_.begin(); it != all_.end();) {
    const auto next = std::next(it);
    if (Ended(it->second, now_ns)) Forget(it);
    it = next;
  }
}

void Sessions::ForgetOneOf(const std::deque<std::string>& of_user) {
  All::iterator idlest = all_.find(of_user.front());
  for (const std::string& digest : of_user) {
    const auto session = all_.find(digest);
    if (session->second.used_ns < idlest->second.used_ns) idlest = session;
  }
  Forget(idlest);
}

Result<std::string> Sessions::Begin(Owner owner, int64_t now_ns) {
  SHEAF_ASSIGN_OR_RETURN(NewToken made, MakeToken("", now_ns, 0));
  MutexLock lock(&mutex_);
  if (const auto of_user = by_user_.find(owner.user);
      of_user != by_user_.end() && of_user->second.size() >= limits_.per_user_max) {
    ForgetOneOf(of_user->second);
  }
  if (all_.size() >= limits_.sessions_max) ForgetEnded(now_ns);
  if (all_.size() >= limits_.sessions_max) {
    return MakeError(ErrorKind::kThrottled, "{} sessions are open, as many as may be: try again later, or use a token",
                     all_.size());
  }
  by_user_[owner.user].push_back(made.token.digest);
  all_[made.token.digest] = {.owner = std::move(owner), .began_ns = now_ns, .used_ns = now_ns};
  return std::move(made.text);
}

std::optional<Sessions::Owner> Sessions::Find(const std::string& digest, int64_t now_ns) {
  MutexLock lock(&mutex_);
  const auto found = all_.find(digest);
  if (found == all_.end()) return std::nullopt;
  if (Ended(found->second, now_ns)) {
    Forget(found);
    return std::nullopt;
  }
  found->second.used_ns = now_ns;
  return found->second.owner;
}

}  // namespace sheaf::access
