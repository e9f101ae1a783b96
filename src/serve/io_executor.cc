#include "serve/io_executor.h"

#include <utility>

namespace sheaf::serve {

void IoExecutor::Post(std::function<void()> task) {
  MutexLock lock(&mutex_);
  if (closed_) return;
  posted_.push_back(std::move(task));
  if (posted_.size() == 1) Wake();
}

void IoExecutor::RunPosted() {
  std::vector<std::function<void()>> tasks;
  {
    MutexLock lock(&mutex_);
    tasks.swap(posted_);
  }
  for (const std::function<void()>& task : tasks) task();
}

void IoExecutor::Close() {
  std::vector<std::function<void()>> dropped;  // Destroyed outside the lock: they hold what may post.
  MutexLock lock(&mutex_);
  closed_ = true;
  dropped.swap(posted_);
}

}  // namespace sheaf::serve
