#include "core/memory.h"

#include <utility>

#include "core/status.h"

namespace sheaf {

TrackingPool::TrackingPool(std::string name, int64_t bytes_max, arrow::MemoryPool* parent)
    : name_(std::move(name)), bytes_max_(bytes_max), parent_(parent) {}

arrow::Status TrackingPool::Reserve(int64_t bytes) {
  const int64_t now = allocated_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (bytes_max_ > 0 && now > bytes_max_) {
    Release(bytes);
    return MakeError(ErrorKind::kOutOfMemory, "memory of '{}' is limited to {} bytes; {} are in use and {} more were asked for",
                     name_, bytes_max_, now - bytes, bytes);
  }
  int64_t peak = peak_.load(std::memory_order_relaxed);
  while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
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

void TrackingPool::Free(uint8_t* buffer, int64_t size, int64_t alignment) {
  parent_->Free(buffer, size, alignment);
  Release(size);
}

}  // namespace sheaf
