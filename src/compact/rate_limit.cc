#include "compact/rate_limit.h"

#include <algorithm>
#include <cmath>

#include "compact/plan.h"
#include "core/check.h"

namespace sheaf::compact {

RateLimit::RateLimit(io::Clock* clock, const Options& options)
    : clock_(clock), options_(options), balance_ns_(static_cast<double>(options.burst_ns)), last_ns_(clock->MonotonicNs()) {
  SHEAF_CHECK(options.cpu_share > 0 && options.cpu_share <= 1 && options.cores > 0 && options.burst_ns > 0);
}

double RateLimit::ShareLocked() const {
  constexpr int kFrom = PlanOptions().level0_parts;
  const double backed_up = static_cast<double>(level0_parts_ - kFrom) / (kStallLevel0Parts - kFrom);
  return options_.cpu_share + (1 - options_.cpu_share) * std::clamp(backed_up, 0.0, 1.0);
}

void RateLimit::Refill() {
  const int64_t now = clock_->MonotonicNs();
  const double allowed = static_cast<double>(std::max<int64_t>(0, now - last_ns_)) * ShareLocked() * options_.cores;
  balance_ns_ = std::min(balance_ns_ + allowed, static_cast<double>(options_.burst_ns));
  last_ns_ = now;
}

int64_t RateLimit::WaitNs(int64_t cpu_ns) {
  MutexLock lock(&mutex_);
  Refill();
  balance_ns_ -= static_cast<double>(std::max<int64_t>(0, cpu_ns));
  if (level0_parts_ >= kStallLevel0Parts) {
    balance_ns_ = std::max(balance_ns_, 0.0);  // What was overdrawn in need is not paid back.
    return 0;
  }
  if (balance_ns_ >= 0) return 0;
  return static_cast<int64_t>(std::ceil(-balance_ns_ / (ShareLocked() * options_.cores)));
}

void RateLimit::SetLevel0Parts(int parts) {
  MutexLock lock(&mutex_);
  Refill();  // By the share so far.
  level0_parts_ = parts;
}

double RateLimit::cpu_share() const {
  MutexLock lock(&mutex_);
  return ShareLocked();
}

}  // namespace sheaf::compact
