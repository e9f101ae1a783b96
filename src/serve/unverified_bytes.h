/// Request bytes of senders whose password is yet to be checked: a share of the memory for requests, so that strangers cannot take what
/// users need.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace sheaf::serve {

/// Of all connections together. Thread-safe.
class UnverifiedBudget {
 public:
  explicit UnverifiedBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}
  bool TryAdd(int64_t bytes) {
    if (bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= bytes_max_) return true;
    Remove(bytes);
    return false;
  }
  void Remove(int64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const int64_t bytes_max_;
  std::atomic<int64_t> bytes_{0};
};

/// What one request has of it; given back on destruction. Not thread-safe.
class UnverifiedBytes {
 public:
  explicit UnverifiedBytes(std::shared_ptr<UnverifiedBudget> budget) : budget_(std::move(budget)) {}
  ~UnverifiedBytes() { Clear(); }
  UnverifiedBytes(const UnverifiedBytes&) = delete;
  UnverifiedBytes& operator=(const UnverifiedBytes&) = delete;

  /// False, and nothing changed: there is no room.
  [[nodiscard]] bool Add(int64_t bytes) {
    if (!budget_->TryAdd(bytes)) return false;
    bytes_ += bytes;
    return true;
  }
  /// The sender is known, or the request is gone.
  void Clear() { budget_->Remove(std::exchange(bytes_, 0)); }

 private:
  const std::shared_ptr<UnverifiedBudget> budget_;
  int64_t bytes_ = 0;
};

/// To whoever sends more than there is room for.
inline constexpr const char* kUnverifiedFull =
    "requests whose passwords are yet to be checked take all the memory that they may; send it again later, or use a token";

}  // namespace sheaf::serve
