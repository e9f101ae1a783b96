#include "serve/worker_pool.h"

#include <algorithm>
#include <utility>

namespace sheaf::serve {

void WorkerPool::Post(std::function<void()> task) {
  MutexLock lock(&mutex_);
  if (stopped_) return;
  tasks_.push_back(std::move(task));
  if (idle_ >= tasks_.size()) {
    work_.NotifyOne();
  } else if (threads_.size() < threads_kept_) {
    AddThread();
  } else {
    AddThreadIfStuck();
  }
}

void WorkerPool::Check() {
  std::vector<std::thread> finished;
  {
    MutexLock lock(&mutex_);
    if (!stopped_) AddThreadIfStuck();
    finished.swap(finished_);
  }
  for (std::thread& thread : finished) thread.join();
}

void WorkerPool::Stop() {
  std::vector<std::thread> threads;
  std::deque<std::function<void()>> dropped;
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    dropped.swap(tasks_);
    threads.swap(threads_);
    for (std::thread& thread : finished_) threads.push_back(std::move(thread));
    finished_.clear();
    work_.NotifyAll();
  }
  dropped.clear();
  for (std::thread& thread : threads) thread.join();
}

void WorkerPool::AddThread() {
  last_start_ = Clock::now();
  threads_.emplace_back([this] { Run(); });
}

void WorkerPool::AddThreadIfStuck() {
  if (tasks_.size() > idle_ && threads_.size() < kThreadsMax && Clock::now() - last_start_ > kPatience) AddThread();
}

void WorkerPool::Run() {
  for (;;) {
    std::function<void()> task;
    {
      MutexLock lock(&mutex_);
      ++idle_;
      const Clock::time_point idle_since = Clock::now();
      while (tasks_.empty() && !stopped_) {
        work_.WaitFor(&mutex_, kIdle);
        if (tasks_.empty() && !stopped_ && threads_.size() > threads_kept_ && Clock::now() - idle_since >= kIdle) break;
      }
      --idle_;
      if (stopped_) return;
      if (tasks_.empty()) {
        const auto self = std::find_if(threads_.begin(), threads_.end(),
                                       [](const std::thread& t) { return t.get_id() == std::this_thread::get_id(); });
        finished_.push_back(std::move(*self));
        threads_.erase(self);
        return;
      }
      task = std::move(tasks_.front());
      tasks_.pop_front();
      last_start_ = Clock::now();
    }
    task();
  }
}

}  // namespace sheaf::serve
