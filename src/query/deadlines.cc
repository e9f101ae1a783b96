#include "query/deadlines.h"

#include <algorithm>

namespace sheaf::query {

namespace {

constexpr std::chrono::hours kSleepMax(1);

}  // namespace

Deadlines::Deadlines() : thread_([this] { Run(); }) {}

Deadlines::~Deadlines() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

Deadlines::Ticket Deadlines::Add(Time when, std::function<void()> expired) {
  MutexLock lock(&mutex_);
  const Ticket ticket{when, next_++};
  waiting_.emplace(ticket, std::move(expired));
  if (when < wakes_) changed_.NotifyAll();
  return ticket;
}

void Deadlines::Remove(const Ticket& ticket) {
  MutexLock lock(&mutex_);
  if (waiting_.erase(ticket) > 0) return;
  while (running_one_) changed_.Wait(&mutex_);
}

void Deadlines::Run() {
  mutex_.Lock();
  while (!stopping_) {
    const auto now = std::chrono::steady_clock::now();
    if (waiting_.empty() || waiting_.begin()->first.first > now) {
      // What is added later wakes the thread only where it is due before; so most statements wake nobody.
      wakes_ = waiting_.empty() ? now + kSleepMax : std::min(waiting_.begin()->first.first, now + kSleepMax);
      changed_.WaitFor(&mutex_, wakes_ - now);
      continue;
    }
    const auto expired = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    running_one_ = true;
    mutex_.Unlock();
    expired();
    mutex_.Lock();
    running_one_ = false;
    changed_.NotifyAll();
  }
  mutex_.Unlock();
}

}  // namespace sheaf::query
