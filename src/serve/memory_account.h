/// Who holds how many request bytes: one budget for all connections, one account for each.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "core/memory.h"

namespace sheaf::serve {

/// Thread-safe.
class MemoryBudget : public MemoryCounter {
 public:
  explicit MemoryBudget(int64_t bytes_max) : MemoryCounter("requests", bytes_max) {}
  bool TryReserve(int64_t bytes);
  void Release(int64_t bytes) { Add(-bytes); }
};

/// The share of one connection. Thread-safe, except for `on_relief`. Outlives the connection while a handler holds
/// one of its bodies.
class MemoryAccount {
 public:
  /// Borrows nothing: keeps the budget alive.
  MemoryAccount(std::shared_ptr<MemoryBudget> budget, int64_t bytes_max) : budget_(std::move(budget)), bytes_max_(bytes_max) {}

  bool TryReserve(int64_t bytes);
  void Release(int64_t bytes);

  /// True when it is time to slow the peer down: half of this share, or three quarters of the whole, is in use, and
  /// handlers hold some of it (so that it will be given back).
  bool pressed() const;

  /// A body that a handler holds counts as such from EnterHandler() to LeaveHandler().
  void EnterHandler() { in_handlers_.fetch_add(1, std::memory_order_relaxed); }
  void LeaveHandler();

  /// Asks for one call of `relief`, on whatever thread gives memory back next. Set once, before the first request.
  void set_relief(std::function<void()> relief) { relief_ = std::move(relief); }
  void AskForRelief() { asked_.store(true, std::memory_order_seq_cst); }

  int64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  const std::shared_ptr<MemoryBudget> budget_;
  const int64_t bytes_max_;
  std::atomic<int64_t> used_{0};
  std::atomic<int64_t> in_handlers_{0};
  std::atomic<bool> asked_{false};
  std::function<void()> relief_;
};

/// Bytes reserved from an account, given back on destruction.
class MemoryShare {
 public:
  MemoryShare() = default;
  explicit MemoryShare(std::shared_ptr<MemoryAccount> account) : account_(std::move(account)) {}
  ~MemoryShare() { Clear(); }
  MemoryShare(MemoryShare&& other) noexcept : account_(std::move(other.account_)), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryShare& operator=(MemoryShare&& other) noexcept {
    Clear();
    account_ = std::move(other.account_);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }

  /// Makes the share at least `bytes`. False, and nothing changed, over a limit.
  bool GrowTo(int64_t bytes);
  void Clear();
  int64_t bytes() const { return bytes_; }
  const std::shared_ptr<MemoryAccount>& account() const { return account_; }

 private:
  std::shared_ptr<MemoryAccount> account_;
  int64_t bytes_ = 0;
};

}  // namespace sheaf::serve
