#include "core/memory.h"

#include <map>
#include <utility>

#include "core/mutex.h"
#include "core/status.h"

namespace sheaf {
namespace {

struct Registry {
  Mutex mutex;
  std::vector<std::weak_ptr<const MemorySource>> sources SHEAF_GUARDED_BY(mutex);
  std::map<std::string, std::shared_ptr<TrackingPool>> pools SHEAF_GUARDED_BY(mutex);
};

Registry& TheRegistry() {
  static Registry* const registry = new Registry;  // Never destroyed: pools must outlive all buffers.
  return *registry;
}

void Add(const std::optional<int64_t>& more, std::optional<int64_t>* sum) {
  if (more) *sum = sum->value_or(0) + *more;
}

void RaiseTo(int64_t value, std::atomic<int64_t>* highest) {
  int64_t known = highest->load(std::memory_order_relaxed);
  while (value > known && !highest->compare_exchange_weak(known, value, std::memory_order_relaxed)) {
  }
}

}  // namespace

void AddMemorySource(std::weak_ptr<const MemorySource> source) {
  Registry& registry = TheRegistry();
  MutexLock lock(&registry.mutex);
  std::erase_if(registry.sources, [](const auto& known) { return known.expired(); });
  registry.sources.push_back(std::move(source));
}

TrackingPool& NamedPool(const std::string& name) {
  Registry& registry = TheRegistry();
  MutexLock lock(&registry.mutex);
  std::shared_ptr<TrackingPool>& pool = registry.pools[name];
  if (!pool) {
    pool = std::make_shared<TrackingPool>(name, 0);
    registry.sources.push_back(pool);
  }
  return *pool;
}

std::vector<MemoryUse> MemoryUses() {
  std::vector<std::shared_ptr<const MemorySource>> sources;
  {
    Registry& registry = TheRegistry();
    MutexLock lock(&registry.mutex);
    for (const auto& known : registry.sources) {
      if (auto source = known.lock()) sources.push_back(std::move(source));
    }
  }
  std::map<std::string, MemoryUse> sums;
  for (const auto& source : sources) {
    const MemoryUse use = source->Use();
    MemoryUse& sum = sums[use.component];
    sum.component = use.component;
    sum.current_bytes += use.current_bytes;
    Add(use.peak_bytes, &sum.peak_bytes);
    Add(use.total_bytes, &sum.total_bytes);
    Add(use.allocations, &sum.allocations);
    Add(use.limit_bytes, &sum.limit_bytes);
  }
  std::vector<MemoryUse> uses;
  for (auto& [name, use] : sums) uses.push_back(std::move(use));
  return uses;
}

int64_t MemoryCounter::Add(int64_t bytes) {
  const int64_t now = bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  RaiseTo(now, &peak_);
  return now;
}

MemoryUse MemoryCounter::Use() const {
  return {.component = name_,
          .current_bytes = bytes(),
          .peak_bytes = peak_.load(std::memory_order_relaxed),
          .total_bytes = std::nullopt,
          .allocations = std::nullopt,
          .limit_bytes = bytes_max_ > 0 ? std::optional<int64_t>(bytes_max_) : std::nullopt};
}

TrackingPool::TrackingPool(std::string name, int64_t bytes_max, arrow::MemoryPool* parent)
    : name_(std::move(name)), bytes_max_(bytes_max), parent_(parent) {}

arrow::Status TrackingPool::Reserve(int64_t bytes) {
  const int64_t before = allocated_.fetch_add(bytes, std::memory_order_relaxed);
  const int64_t bytes_max = bytes_max_.load(std::memory_order_relaxed);
  if (bytes_max > 0 && bytes > bytes_max - before) {  // Whoever asks may have the number from a stranger: it may be any.
    Release(bytes);
    refused_.store(true, std::memory_order_relaxed);
    return MakeError(ErrorKind::kOutOfMemory, "memory of '{}' is limited to {} bytes; {} are in use and {} more were asked for",
                     name_, bytes_max, before, bytes);
  }
  RaiseTo(before + bytes, &peak_);
  total_.fetch_add(bytes, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  return arrow::Status::OK();
}

arrow::Status TrackingPool::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  ARROW_RETURN_NOT_OK(Reserve(size));
  arrow::Status status = parent_->Allocate(size, alignment, out);
  if (!status.ok()) Release(size);
  return status;
}

arrow::Status TrackingPool::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) {
  const int64_t grown = new_size - old_size;
  if (grown > 0) ARROW_RETURN_NOT_OK(Reserve(grown));
  arrow::Status status = parent_->Reallocate(old_size, new_size, alignment, ptr);
  if (grown > 0 ? !status.ok() : status.ok()) Release(grown > 0 ? grown : -grown);
  return status;
}

MemoryUse TrackingPool::Use() const {
  const int64_t bytes_max = bytes_max_.load(std::memory_order_relaxed);
  return {.component = name_,
          .current_bytes = bytes_allocated(),
          .peak_bytes = max_memory(),
          .total_bytes = total_bytes_allocated(),
          .allocations = num_allocations(),
          .limit_bytes = bytes_max > 0 ? std::optional<int64_t>(bytes_max) : std::nullopt};
}

void TrackingPool::Free(uint8_t* buffer, int64_t size, int64_t alignment) {
  parent_->Free(buffer, size, alignment);
  Release(size);
}

}  // namespace sheaf
