/// Mutex, scoped lock and condition variable that Clang's thread-safety analysis can see.
/// Every member that a mutex guards says so with SHEAF_GUARDED_BY; a Clang build checks it.

#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define SHEAF_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define SHEAF_THREAD_ANNOTATION(x)
#endif
#define SHEAF_GUARDED_BY(x) SHEAF_THREAD_ANNOTATION(guarded_by(x))
#define SHEAF_REQUIRES(...) SHEAF_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define SHEAF_EXCLUDES(...) SHEAF_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))

namespace sheaf {

class SHEAF_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void Lock() SHEAF_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void Unlock() SHEAF_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  bool TryLock() SHEAF_THREAD_ANNOTATION(try_acquire_capability(true)) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

/// Holds a mutex for a scope.
class SHEAF_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) SHEAF_THREAD_ANNOTATION(acquire_capability(mutex)) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexLock() SHEAF_THREAD_ANNOTATION(release_capability()) { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

/// A condition variable used with Mutex. Wakes may be spurious: wait in a loop on the condition.
class CondVar {
 public:
  void Wait(Mutex* mutex) SHEAF_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  /// Returns false when `timeout` passed first.
  bool WaitFor(Mutex* mutex, std::chrono::nanoseconds timeout) SHEAF_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    const bool woken = condition_.wait_for(lock, timeout) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace sheaf
