/// An Arrow memory pool that counts what it hands out and refuses beyond a limit.
///
/// Each large consumer (memtables, query, ingest) has its own, so that one cannot starve the others
/// and /metrics can say who holds what.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include <arrow/memory_pool.h>

namespace sheaf {

/// Thread-safe. Must outlive every buffer it handed out.
class TrackingPool : public arrow::MemoryPool {
 public:
  /// `name` appears in errors and metrics. `bytes_max` of 0 means no limit. Borrows `parent`.
  TrackingPool(std::string name, int64_t bytes_max, arrow::MemoryPool* parent = arrow::default_memory_pool());

  /// OutOfMemory (our kind kOutOfMemory) beyond the limit; names the pool, its limit and the request.
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) override;
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override;

  int64_t bytes_allocated() const override { return allocated_.load(std::memory_order_relaxed); }
  int64_t max_memory() const override { return peak_.load(std::memory_order_relaxed); }
  int64_t total_bytes_allocated() const override { return total_.load(std::memory_order_relaxed); }
  int64_t num_allocations() const override { return count_.load(std::memory_order_relaxed); }
  std::string backend_name() const override { return parent_->backend_name(); }
  const std::string& name() const { return name_; }

 private:
  arrow::Status Reserve(int64_t bytes);
  void Release(int64_t bytes) { allocated_.fetch_sub(bytes, std::memory_order_relaxed); }

  const std::string name_;
  const int64_t bytes_max_;
  arrow::MemoryPool* const parent_;  // Borrowed.
  std::atomic<int64_t> allocated_{0}, peak_{0}, total_{0}, count_{0};
};

}  // namespace sheaf
