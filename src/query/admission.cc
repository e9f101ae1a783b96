#include "query/admission.h"

#include "core/metrics.h"

namespace sheaf::query {

namespace {

struct QueueMetrics {
  Gauge& length = Metrics().AddGauge("sheaf_query_queue_length", "Statements that wait for their turn.");
  Gauge& running = Metrics().AddGauge("sheaf_query_running", "Statements that have their turn.");
  Histogram& seconds = Metrics().AddHistogram("sheaf_query_queue_seconds", "How long statements waited for their turn, of those that did.");
  Counter& refused = Metrics().AddCounter("sheaf_query_refused_total", "Statements whose turn did not come in time.");
};

QueueMetrics& Shown() {
  static QueueMetrics metrics;
  return metrics;
}

}  // namespace

Admission::Place Admission::Take(bool look_up) {
  if (running_ < running_max_) {
    ++running_;
    return Place::kShared;
  }
  if (!look_up || look_ups_ >= look_ups_max_) return Place::kNone;
  ++look_ups_;
  return Place::kOfLookUps;
}

Admission::Place Admission::TryEnter() {
  MutexLock lock(&mutex_);
  if (running_ >= running_max_) return Place::kNone;  // Whoever waits is served as soon as a place is free: nobody does.
  Shown().running.Add(1);
  return Take(false);
}

Admission::Outcome Admission::Enter(bool look_up, std::optional<Clock::time_point> deadline, Place* place) {
  const auto start = Clock::now();
  Waiter waiter{.look_up = look_up};
  MutexLock lock(&mutex_);
  waiter.place = Take(look_up);
  if (waiter.place == Place::kNone) {
    if (!look_up && waiting_max_ > 0 && waiting_ >= waiting_max_) {
      Shown().refused.Add();
      return Outcome::kFull;
    }
    const auto mine = queue_.insert(queue_.end(), &waiter);
    if (!look_up) ++waiting_;
    Shown().length.Add(1);
    while (waiter.place == Place::kNone) {
      if (!deadline) {
        waiter.given.Wait(&mutex_);
        continue;
      }
      const auto rest = *deadline - Clock::now();
      if (rest.count() <= 0) break;
      waiter.given.WaitFor(&mutex_, rest);
    }
    Shown().length.Add(-1);
    Shown().seconds.Observe(std::chrono::duration<double>(Clock::now() - start).count());
    if (waiter.place == Place::kNone) {
      queue_.erase(mine);
      if (!look_up) --waiting_;
      Shown().refused.Add();
      return Outcome::kTimedOut;
    }
  }
  Shown().running.Add(1);
  *place = waiter.place;
  return Outcome::kEntered;
}

void Admission::Leave(Place place) {
  if (place == Place::kNone) return;
  MutexLock lock(&mutex_);
  --(place == Place::kShared ? running_ : look_ups_);
  Shown().running.Add(-1);
  Serve();
}

void Admission::Serve() {
  for (auto waiter = queue_.begin(); waiter != queue_.end();) {
    (*waiter)->place = Take((*waiter)->look_up);
    if ((*waiter)->place == Place::kNone) {
      ++waiter;
      continue;
    }
    if (!(*waiter)->look_up) --waiting_;
    (*waiter)->given.NotifyOne();  // It cannot go away: it needs the lock for that.
    waiter = queue_.erase(waiter);
  }
}

}  // namespace sheaf::query
