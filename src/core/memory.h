/// Who holds how much memory: Arrow memory pools that count what they hand out and refuse beyond a limit, and the list
/// of all components that sheaf.memory and /metrics show.
///
/// Each large consumer has its own pool, so that one cannot starve the others. NamedPool() is for the components of a
/// process (decode, ingest, cold_read, compaction); a pool of its own for what ends earlier. What allocates by other means, such
/// as DuckDB, tells its numbers as a MemorySource.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arrow/memory_pool.h>

namespace sheaf {

/// What one component holds. Absent is what it does not count, and no limit.
struct MemoryUse {
  std::string component;
  int64_t current_bytes = 0;
  std::optional<int64_t> peak_bytes;
  std::optional<int64_t> total_bytes;  // Allocated since the start; what was freed is this less `current_bytes`.
  std::optional<int64_t> allocations;
  std::optional<int64_t> limit_bytes;
};

/// Something that holds memory and can say how much. Thread-safe.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual MemoryUse Use() const = 0;
};

/// Shows `source` among MemoryUses() for as long as it lives.
void AddMemorySource(std::weak_ptr<const MemorySource> source);

/// All components, sorted by name; sources of one name (the databases of a process) are added up.
std::vector<MemoryUse> MemoryUses();

/// What a component counts itself, against a limit that it keeps to itself: bytes of rows, of requests. Thread-safe.
class MemoryCounter : public MemorySource {
 public:
  MemoryCounter(std::string name, int64_t bytes_max) : name_(std::move(name)), bytes_max_(bytes_max) {}

  /// Adds what was taken, or takes away (less than 0) what was given back; returns the sum.
  int64_t Add(int64_t bytes);
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  int64_t bytes_max() const { return bytes_max_; }
  MemoryUse Use() const override;

 private:
  const std::string name_;
  const int64_t bytes_max_;  // 0: no limit.
  std::atomic<int64_t> bytes_{0}, peak_{0};
};

/// Thread-safe. Must outlive every buffer it handed out.
class TrackingPool : public arrow::MemoryPool, public MemorySource {
 public:
  /// `name` appears in errors and metrics. `bytes_max` of 0 means no limit. Borrows `parent`.
  TrackingPool(std::string name, int64_t bytes_max, arrow::MemoryPool* parent = arrow::default_memory_pool());

  /// OutOfMemory (our kind kOutOfMemory) beyond the limit; names the pool, its limit and the request.
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) override;
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override;

  /// From now on; what is allocated already stays. 0: no limit.
  void SetLimit(int64_t bytes_max) { bytes_max_.store(bytes_max, std::memory_order_relaxed); }
  int64_t limit() const { return bytes_max_.load(std::memory_order_relaxed); }
  /// Whether it ever refused something for its own limit: libraries may word that in ways of theirs.
  bool refused() const { return refused_.load(std::memory_order_relaxed); }

  int64_t bytes_allocated() const override { return allocated_.load(std::memory_order_relaxed); }
  int64_t max_memory() const override { return peak_.load(std::memory_order_relaxed); }
  int64_t total_bytes_allocated() const override { return total_.load(std::memory_order_relaxed); }
  int64_t num_allocations() const override { return count_.load(std::memory_order_relaxed); }
  std::string backend_name() const override { return parent_->backend_name(); }
  const std::string& name() const { return name_; }
  MemoryUse Use() const override;

 private:
  arrow::Status Reserve(int64_t bytes);
  void Release(int64_t bytes) { allocated_.fetch_sub(bytes, std::memory_order_relaxed); }

  const std::string name_;
  std::atomic<int64_t> bytes_max_;
  arrow::MemoryPool* const parent_;  // Borrowed.
  std::atomic<int64_t> allocated_{0}, peak_{0}, total_{0}, count_{0};
  std::atomic<bool> refused_{false};
};

/// The process's pool of this name: made when first asked for, without a limit until SetLimit(), and never destroyed, since
/// buffers may live as long as the process. Takes a lock: keep the reference.
TrackingPool& NamedPool(const std::string& name);

}  // namespace sheaf
