/// Vectors for much data of which every element is written before it is read: without the pass over the memory that sets it to zero.

#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/status.h>

namespace sheaf::columns {

/// Elements begin with whatever their memory holds.
template <typename T>
struct UninitializedAllocator : std::allocator<T> {
  template <typename Other>
  struct rebind {
    using other = UninitializedAllocator<Other>;
  };
  template <typename Element>
  void construct(Element* at) noexcept {
    ::new (static_cast<void*>(at)) Element;
  }
  template <typename Element, typename... Arguments>
  void construct(Element* at, Arguments&&... arguments) {
    ::new (static_cast<void*>(at)) Element(std::forward<Arguments>(arguments)...);
  }
};
template <typename T>
using UninitializedVector = std::vector<T, UninitializedAllocator<T>>;

/// The same with memory of Arrow's default pool, which has large pages: many megabytes that are read or written in no order then miss
/// fewer of the processor's page entries, and fresh ones cost fewer faults.
template <typename T>
struct LargePageAllocator : UninitializedAllocator<T> {
  template <typename Other>
  struct rebind {
    using other = LargePageAllocator<Other>;
  };
  T* allocate(size_t n) {
    uint8_t* bytes = nullptr;
    if (!arrow::default_memory_pool()->Allocate(static_cast<int64_t>(n * sizeof(T)), &bytes).ok()) throw std::bad_alloc();
    return reinterpret_cast<T*>(bytes);
  }
  void deallocate(T* elements, size_t n) {
    arrow::default_memory_pool()->Free(reinterpret_cast<uint8_t*>(elements), static_cast<int64_t>(n * sizeof(T)));
  }
};
template <typename T>
using LargePageVector = std::vector<T, LargePageAllocator<T>>;

}  // namespace sheaf::columns
