#include "columns/batcher.h"

#include <cmath>
#include <limits>
#include <numeric>

namespace sheaf::columns {
namespace {

constexpr double kFlushMemory = 0.95;  // What a flush counts for after the next one: about twenty count.
constexpr double kSizesAlike = 0.01;   // Variance of sizes, in squares of their mean, that tells nothing.
constexpr double kOutlier = 4;         // A flush counts as at most so many times what was expected.
constexpr double kDeviations = 2;      // Kept free of the target.
constexpr double kKeepUpShare = 0.9;   // Of the time that flushes may take where the target cannot be kept.
constexpr double kFixedCostsMin = 8;   // A batch may always be so large that its bytes take this many times its fixed cost.
constexpr double kStep = 0.25;         // Of the way to the wait that would be right, each flush.
constexpr int64_t kVainPauseMax = 63;
constexpr double kNsPerSecond = 1e9;

int64_t RoundedWithin(double value, int64_t low, int64_t high) {
  if (!(value > static_cast<double>(low))) return low;
  return value < static_cast<double>(high) ? static_cast<int64_t>(value) : high;
}

}  // namespace

std::string_view BatchReasonName(BatchReason reason) {
  constexpr std::string_view kNames[kBatchReasons] = {"none", "rows", "bytes", "deadline", "memory", "idle", "closed"};
  return kNames[static_cast<size_t>(reason)];
}

std::string_view WaitReasonName(WaitReason reason) {
  constexpr std::string_view kNames[kWaitReasons] = {"fixed", "few items", "light load", "busy", "target", "overload", "maximum"};
  return kNames[static_cast<size_t>(reason)];
}

int64_t BatchReport::batches_total() const { return std::accumulate(batches.begin(), batches.end(), int64_t{0}); }

void DynamicBatcher::SetLimits(const BatchLimits& limits) {
  SHEAF_CHECK(limits.min.rows > 0 && limits.min.bytes > 0 && limits.max.rows > 0 && limits.max.bytes > 0 && limits.wait_ns >= 0);
  report_.limits = limits;
}

void DynamicBatcher::Add(const BatchSize& item, int64_t now_ns) {
  SHEAF_CHECK(!closed_ && item.rows >= 0 && item.bytes >= 0);
  waiting_.push_back({item, now_ns});
  report_.waiting += item;
  ++report_.waiting_items;
}

BatchReason DynamicBatcher::DueBySize() const {
  const BatchLimits& limits = report_.limits;
  if (report_.waiting.rows >= std::min(limits.min.rows, limits.max.rows)) return BatchReason::kRows;
  if (report_.waiting.bytes >= std::min(limits.min.bytes, limits.max.bytes)) return BatchReason::kBytes;
  return BatchReason::kNone;
}

BatchReason DynamicBatcher::Due(int64_t now_ns) const {
  if (empty()) return BatchReason::kNone;
  if (closed_) return BatchReason::kClosed;
  if (limits().wait_ns == 0) return BatchReason::kIdle;
  const BatchReason by_size = DueBySize();
  if (by_size != BatchReason::kNone) return by_size;
  return now_ns - waiting_.front().since_ns >= limits().wait_ns ? BatchReason::kDeadline : BatchReason::kNone;
}

int64_t DynamicBatcher::DeadlineNs() const {
  if (empty()) return INT64_MAX;
  const int64_t since_ns = waiting_.front().since_ns;
  if (closed_ || DueBySize() != BatchReason::kNone) return since_ns;
  return since_ns > INT64_MAX - limits().wait_ns ? INT64_MAX : since_ns + limits().wait_ns;
}

size_t DynamicBatcher::Take(int64_t now_ns, BatchSize* size) {
  const BatchReason due = Due(now_ns);
  return TakeFor(due == BatchReason::kNone ? BatchReason::kIdle : due, now_ns, size);
}

size_t DynamicBatcher::TakeFor(BatchReason reason, int64_t now_ns, BatchSize* size) {
  SHEAF_CHECK(!empty());
  report_.waited_ns_max = std::max(report_.waited_ns_max, now_ns - waiting_.front().since_ns);
  *size = {};
  size_t items = 0;
  const BatchSize& max = limits().max;
  do {
    *size += waiting_.front().size;
    waiting_.pop_front();
    ++items;
  } while (!empty() && waiting_.front().size.rows <= max.rows - size->rows && waiting_.front().size.bytes <= max.bytes - size->bytes);
  report_.last = reason;
  ++report_.batches[static_cast<size_t>(reason)];
  report_.items += static_cast<int64_t>(items);
  report_.taken += *size;
  report_.waiting_items -= static_cast<int64_t>(items);
  report_.waiting -= *size;
  return items;
}

double ArrivalRate::DecayedAt(int64_t now_ns) const {
  return sum_ * std::exp(-static_cast<double>(std::max<int64_t>(now_ns - last_ns_, 0)) / window_ns_);
}

void ArrivalRate::Add(double amount, int64_t now_ns) {
  if (!started_) first_ns_ = last_ns_ = now_ns;
  started_ = true;
  sum_ = DecayedAt(now_ns) + amount;
  last_ns_ = std::max(last_ns_, now_ns);
}

/// The sum of a steady rate r tends to r * window; after t it is (1 - e^(-t / window)) of that. A first tenth of the window
/// tells too little to be scaled up.
double ArrivalRate::PerSecond(int64_t now_ns) const {
  if (!started_) return 0;
  const double seen = 1 - std::exp(-std::max(static_cast<double>(now_ns - first_ns_) / window_ns_, 0.1));
  return DecayedAt(now_ns) / (window_ns_ * seen) * kNsPerSecond;
}

void FlushCost::Add(double bytes, double ns) {
  if (!empty()) {
    const double expected = fixed_ns_ + ns_per_byte_ * bytes;
    ns = std::min(ns, kOutlier * std::max(expected, 1.0));
    deviation_ns_ += (std::abs(ns - expected) - deviation_ns_) / std::min(weight_, 1 / (1 - kFlushMemory));
  }
  weight_ = weight_ * kFlushMemory + 1;
  const double share = 1 / weight_;
  const double bytes_off = bytes - mean_bytes_, ns_off = ns - mean_ns_;
  mean_bytes_ += share * bytes_off;
  mean_ns_ += share * ns_off;
  variance_ = (1 - share) * (variance_ + share * bytes_off * bytes_off);
  covariance_ = (1 - share) * (covariance_ + share * bytes_off * ns_off);
  const double spread = variance_ + kSizesAlike * mean_bytes_ * mean_bytes_;
  const double slope = spread > 0 ? covariance_ / spread : 0;
  ns_per_byte_ = mean_bytes_ > 0 ? std::clamp(slope, 0.0, mean_ns_ / mean_bytes_) : 0;
  fixed_ns_ = mean_ns_ - ns_per_byte_ * mean_bytes_;
}

AdaptiveBatcher::AdaptiveBatcher(const Options& options)
    : options_(options),
      batcher_(options.bounds),
      items_(options.window_ns),
      rows_(options.window_ns),
      bytes_(options.window_ns) {
  const BatchLimits& bounds = options.bounds;
  SHEAF_CHECK(bounds.min.rows <= bounds.max.rows && bounds.min.bytes <= bounds.max.bytes);
  SHEAF_CHECK(options.latency_target_ns > 0 && options.memory_bytes_max > 0 && options.flushers > 0 && options.window_ns > 0);
  SHEAF_CHECK(options.busy_share >= 0 && options.busy_share < 1);
  BatchLimits limits = bounds;
  limits.wait_ns = 0;  // Until the first flush has told what one costs.
  batcher_.SetLimits(limits);
}

void AdaptiveBatcher::Add(const BatchSize& item, int64_t now_ns) {
  items_.Add(1, now_ns);
  rows_.Add(static_cast<double>(item.rows), now_ns);
  bytes_.Add(static_cast<double>(item.bytes), now_ns);
  const bool first = empty();
  batcher_.Add(item, now_ns);
  if (first) Adapt(now_ns, /*step=*/0);  // After a pause there may be nothing to wait for.
}

BatchReason AdaptiveBatcher::Due(int64_t now_ns) const {
  const BatchReason due = batcher_.Due(now_ns);
  if (due != BatchReason::kNone || empty()) return due;
  if (options_.idle_is_due && flushes_ == 0) return BatchReason::kIdle;
  return Fits(1) ? BatchReason::kNone : BatchReason::kMemory;
}

int64_t AdaptiveBatcher::DeadlineNs() const {
  if (empty()) return INT64_MAX;
  const int64_t since_ns = batcher_.waiting_.front().since_ns;
  return Due(since_ns) != BatchReason::kNone ? since_ns : batcher_.DeadlineNs();
}

bool AdaptiveBatcher::Fits(int64_t bytes) const {
  const int64_t held = batcher_.report().waiting.bytes + flushing_.bytes;
  return held == 0 || bytes <= options_.memory_bytes_max - held;
}

size_t AdaptiveBatcher::Take(int64_t now_ns, BatchSize* size) {
  const BatchReason due = Due(now_ns);
  const BatchReason reason = due == BatchReason::kNone ? BatchReason::kIdle : due;
  const size_t items = batcher_.TakeFor(reason, now_ns, size);
  ++flushes_;
  flushing_ += *size;
  NoteGain(reason, items);
  return items;
}

/// Senders that wait for their answers before they go on send nothing while theirs waits, whatever their rate is. So what waiting
/// brought is looked at, too: after a wait in vain the next batches do without one, twice as many each time.
void AdaptiveBatcher::NoteGain(BatchReason reason, size_t items) {
  if (vain_pause_ > 0) {
    --vain_pause_;
  } else if (reason == BatchReason::kDeadline && items == 1) {
    vain_pause_ = vain_miss_ = std::min(2 * vain_miss_ + 1, kVainPauseMax);
  } else if (items > 1) {
    vain_miss_ = 0;
  }
}

void AdaptiveBatcher::Flushed(const BatchSize& size, int64_t latency_ns, int64_t now_ns) {
  Dropped(size);
  cost_.Add(static_cast<double>(size.bytes), static_cast<double>(std::max<int64_t>(latency_ns, 0)));
  Adapt(now_ns, kStep);
}

void AdaptiveBatcher::Dropped(const BatchSize& size) {
  SHEAF_CHECK(flushes_ > 0 && size.rows <= flushing_.rows && size.bytes <= flushing_.bytes);
  --flushes_;
  flushing_ -= size;
}

/// The wait that would be right for these rates; see the class.
AdaptiveBatcher::Choice AdaptiveBatcher::ChooseWait(double items_per_ns, double bytes_per_ns) const {
  if (cost_.empty()) return {0, WaitReason::kFixed};
  const double fixed = cost_.fixed_ns(), flushers = options_.flushers;
  const double byte_share = cost_.ns_per_byte() * bytes_per_ns;               // Of one flusher's time, whatever the batches.
  const double alone_share = (items_per_ns * fixed + byte_share) / flushers;  // Each item flushed alone.
  const auto wait_for = [&](double share) {
    const double left = share * flushers - byte_share;
    return left > 0 ? fixed / left : std::numeric_limits<double>::infinity();
  };
  const double target = static_cast<double>(options_.latency_target_ns) - fixed - kDeviations * cost_.deviation_ns();
  Choice choice{std::max(target, 0.0) / (1 + byte_share), WaitReason::kTarget};
  if (options_.busy_share > 0) {
    if (alone_share <= options_.busy_share) return {0, WaitReason::kLightLoad};
    const double busy = wait_for(options_.busy_share);
    if (busy < choice.wait_ns) choice = {busy, WaitReason::kBusy};
  }
  if (alone_share > kKeepUpShare && wait_for(kKeepUpShare) > choice.wait_ns) choice = {wait_for(kKeepUpShare), WaitReason::kOverload};
  const auto longest = static_cast<double>(options_.bounds.wait_ns);
  if (choice.wait_ns >= longest) choice = {longest, choice.reason == WaitReason::kOverload ? choice.reason : WaitReason::kMaximum};
  return choice;
}

void AdaptiveBatcher::Adapt(int64_t now_ns, double step) {
  const double rows_per_ns = rows_.PerSecond(now_ns) / kNsPerSecond, bytes_per_ns = bytes_.PerSecond(now_ns) / kNsPerSecond;
  const double items_per_ns = items_.PerSecond(now_ns) / kNsPerSecond;
  Choice choice = ChooseWait(items_per_ns, bytes_per_ns);
  wait_ns_ += step * (choice.wait_ns - wait_ns_);
  if (choice.wait_ns > 0) choice.wait_ns = wait_ns_;
  if (choice.wait_ns > 0 && (vain_pause_ > 0 || items_per_ns * choice.wait_ns < 1)) choice = {0, WaitReason::kFewItems};

  const BatchLimits& bounds = options_.bounds;
  BatchLimits limits = bounds;
  limits.wait_ns = RoundedWithin(choice.wait_ns, 0, bounds.wait_ns);
  limits.min.rows = RoundedWithin(rows_per_ns * choice.wait_ns, bounds.min.rows, bounds.max.rows);
  limits.min.bytes = RoundedWithin(bytes_per_ns * choice.wait_ns, bounds.min.bytes, bounds.max.bytes);
  if (cost_.ns_per_byte() > 0) {
    const double left = static_cast<double>(options_.latency_target_ns) - cost_.fixed_ns() - kDeviations * cost_.deviation_ns();
    const double bytes = std::max(left, kFixedCostsMin * cost_.fixed_ns()) / cost_.ns_per_byte();
    limits.max.bytes = RoundedWithin(bytes, limits.min.bytes, bounds.max.bytes);
  }
  batcher_.SetLimits(limits);
  batcher_.report_.wait_reason = choice.reason;
}

BatchReport AdaptiveBatcher::Report(int64_t now_ns) const {
  BatchReport report = batcher_.report();
  report.flushes = flushes_;
  report.flushing = flushing_;
  report.items_per_second = items_.PerSecond(now_ns);
  report.rows_per_second = rows_.PerSecond(now_ns);
  report.bytes_per_second = bytes_.PerSecond(now_ns);
  report.flush_ns_fixed = cost_.fixed_ns();
  report.flush_ns_per_byte = cost_.ns_per_byte();
  report.flush_ns_deviation = cost_.deviation_ns();
  return report;
}

}  // namespace sheaf::columns
