#include "access/failure_limit.h"

namespace sheaf::access {

bool FailureLimit::Exceeded(std::string_view key, int64_t now_ns) const {
  MutexLock lock(&mutex_);
  const auto found = windows_.find(std::string(key));
  return found != windows_.end() && now_ns - found->second.start_ns < window_ns_ && found->second.failures >= per_window_;
}

void FailureLimit::Count(std::string_view key, int64_t now_ns) {
  MutexLock lock(&mutex_);
  if (windows_.size() >= kKeysMax) {
    std::erase_if(windows_, [&](const auto& each) { return now_ns - each.second.start_ns >= window_ns_; });
    if (windows_.size() >= kKeysMax) windows_.clear();
  }
  Window& window = windows_[std::string(key)];
  if (window.failures == 0 || now_ns - window.start_ns >= window_ns_) window = {.start_ns = now_ns, .failures = 0};
  ++window.failures;
}

std::string_view AddressOf(std::string_view peer) {
  const size_t colon = peer.rfind(':');
  return colon == std::string_view::npos ? peer : peer.substr(0, colon);
}

}  // namespace sheaf::access
