/// A queue between threads that never holds more than it was told to.

#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "core/mutex.h"

namespace sheaf {

/// First in, first out, bounded by the number of items. Thread-safe. When full, Push() waits and
/// TryPush() refuses; the owner of the queue says in its documentation which of the two it uses.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t items_max) : items_max_(items_max) {}

  /// Waits for room. Returns false, and drops `item`, once the queue is closed.
  bool Push(T item) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    while (!closed_ && items_.size() >= items_max_) changed_.Wait(&mutex_);
    if (closed_) return false;
    items_.push_back(std::move(item));
    changed_.NotifyAll();
    return true;
  }

  /// Returns false at once where there is no room or the queue is closed; `item` is then untouched.
  bool TryPush(T&& item) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    if (closed_ || items_.size() >= items_max_) return false;
    items_.push_back(std::move(item));
    changed_.NotifyAll();
    return true;
  }

  /// Waits for an item. Returns nothing once the queue is closed and empty.
  std::optional<T> Pop() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    while (!closed_ && items_.empty()) changed_.Wait(&mutex_);
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    changed_.NotifyAll();
    return item;
  }

  /// Refuses further items; those inside can still be taken.
  void Close() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    closed_ = true;
    changed_.NotifyAll();
  }

  size_t size() const SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return items_.size();
  }

 private:
  const size_t items_max_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<T> items_ SHEAF_GUARDED_BY(mutex_);
  bool closed_ SHEAF_GUARDED_BY(mutex_) = false;
};

}  // namespace sheaf
