#include "query/deadlines.h"

#include <algorithm>

namespace sheaf::query {

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
  const bool is_first = waiting_.empty() || ticket < waiting_.begin()->first;
  waiting_.emplace(ticket, std::move(expired));
  if (is_first) changed_.NotifyAll();
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
    if (waiting_.empty()) {
      changed_.Wait(&mutex_);
      continue;
    }
    const auto now = std::chrono::steady_clock::now();
    if (const auto first = waiting_.begin()->first.first; first > now) {
      changed_.WaitFor(&mutex_, std::min<std::chrono::nanoseconds>(first - now, std::chrono::hours(1)));
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
