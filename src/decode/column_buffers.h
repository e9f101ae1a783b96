/// Growing Arrow buffers that a decoder writes without a call or a Status per value, and recycles.
///
/// Start() readies a buffer for a batch: the old memory where nobody refers to it any more, new memory
/// where a batch made of it is still alive. The writer then reserves once a row or a value and stores
/// directly. What fails here (no memory, over the budget, offsets beyond int32) throws, because it is rare and deep: the
/// Decoder turns std::bad_alloc into OutOfMemory, OverBudget and std::length_error into TooLarge; none leaves it.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <emmintrin.h>

#include "decode/request_memory.h"

namespace sheaf::decode {

/// Every buffer may be written this many bytes past its capacity, so that short copies need no loop.
inline constexpr int64_t kBufferSlackBytes = 64;
/// What int32 offsets can address.
inline constexpr int64_t kOffsetMax = std::numeric_limits<int32_t>::max();

/// The untyped part of Column. Not thread-safe.
class ColumnBuffer {
 public:
  /// Makes room for `bytes` (and the slack). Contents are undefined, or all zero where `zeroed`.
  void Start(RequestMemory* memory, int64_t bytes, bool zeroed);
  /// Grows to at least `bytes`, keeping the contents; `zeroed` clears what is new.
  void Grow(int64_t bytes, bool zeroed);
  /// Gives the memory back once it is over `bytes_max`.
  void Trim(int64_t bytes_max);
  /// The first `bytes` bytes as an immutable buffer that keeps the memory alive.
  std::shared_ptr<arrow::Buffer> View(int64_t bytes) const {  // As SliceBuffer(), which looks up the memory manager anew.
    return std::make_shared<arrow::Buffer>(data_, bytes, buffer_->memory_manager(), buffer_);
  }
  uint8_t* data() const { return data_; }
  int64_t capacity() const { return capacity_; }

 private:
  std::shared_ptr<arrow::ResizableBuffer> buffer_;
  RequestMemory* memory_ = nullptr;  // Borrowed; charged with the buffer's memory.
  uint8_t* data_ = nullptr;
  int64_t capacity_ = 0;
};

/// Values of one fixed width. The owner checks the capacity (Reserve) before it stores.
template <typename T>
class Column {
 public:
  void Start(RequestMemory* memory, int64_t values) {
    buffer_.Start(memory, values * Width(), false);
    Refresh();
  }
  void Reserve(int64_t values) {
    if (values > capacity_) [[unlikely]] {
      buffer_.Grow(values * Width(), false);
      Refresh();
    }
  }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  T* data() { return data_; }
  int64_t capacity() const { return capacity_; }
  std::shared_ptr<arrow::Buffer> View(int64_t values) const { return buffer_.View(values * Width()); }
  void Trim(int64_t bytes_max) {
    buffer_.Trim(bytes_max);
    Refresh();
  }

 private:
  static constexpr int64_t Width() { return static_cast<int64_t>(sizeof(T)); }
  void Refresh() {
    data_ = reinterpret_cast<T*>(buffer_.data());
    capacity_ = buffer_.capacity() / Width();
  }
  ColumnBuffer buffer_;
  T* data_ = nullptr;
  int64_t capacity_ = 0;
};

/// One bit a row, zero until set.
class BitColumn {
 public:
  void Start(RequestMemory* memory, int64_t values) { buffer_.Start(memory, values / 8 + 1, true); }
  void Reserve(int64_t values) {
    if (values / 8 + 1 > buffer_.capacity()) [[unlikely]] buffer_.Grow(values / 8 + 1, true);
  }
  void Set(int64_t i, bool value) {
    uint8_t& byte = buffer_.data()[i >> 3];
    byte = static_cast<uint8_t>((byte & ~(1u << (i & 7))) | (static_cast<unsigned>(value) << (i & 7)));
  }
  bool Get(int64_t i) const { return (buffer_.data()[i >> 3] >> (i & 7)) & 1; }
  std::shared_ptr<arrow::Buffer> View(int64_t values) const { return buffer_.View((values + 7) / 8); }
  void Trim(int64_t bytes_max) { buffer_.Trim(bytes_max); }

 private:
  ColumnBuffer buffer_;
};

/// Text or bytes of any length: offsets and one heap. Values are appended in order of rows.
class BytesColumn {
 public:
  void Start(RequestMemory* memory, int64_t values, int64_t bytes) {
    offsets_.Start(memory, values + 1);
    heap_.Start(memory, bytes, false);
    used_ = 0;
    offsets_[0] = 0;
  }
  void Reserve(int64_t values) { offsets_.Reserve(values + 1); }
  /// Stores value `i`. Memory may be read up to `readable_end`, an address past the value; 0 where only
  /// the value itself may be.
  void Put(int64_t i, std::string_view bytes, uintptr_t readable_end) {
    const int64_t size = static_cast<int64_t>(bytes.size());
    if (used_ + size > heap_.capacity()) [[unlikely]] heap_.Grow(used_ + size, false);
    Copy(heap_.data() + used_, bytes, readable_end);
    used_ += size;
    offsets_[i + 1] = static_cast<int32_t>(used_);
  }
  void PutNone(int64_t i) { offsets_[i + 1] = static_cast<int32_t>(used_); }
  /// Forgets values from `rows` on.
  void Rewind(int64_t rows) { used_ = offsets_[rows]; }

  int64_t used() const { return used_; }
  std::string_view heap() const { return {reinterpret_cast<const char*>(heap_.data()), static_cast<size_t>(used_)}; }
  std::string_view value(int64_t i) const {
    return heap().substr(static_cast<size_t>(offsets_[i]), static_cast<size_t>(offsets_[i + 1] - offsets_[i]));
  }
  /// Whether each of the first `values` values is UTF-8 by itself.
  bool TextIsUtf8(int64_t values) const;
  std::shared_ptr<arrow::Buffer> OffsetsView(int64_t values) const { return offsets_.View(values + 1); }
  std::shared_ptr<arrow::Buffer> HeapView() const { return heap_.View(used_); }
  void Trim(int64_t bytes_max) {
    offsets_.Trim(bytes_max);
    heap_.Trim(bytes_max);
  }

 private:
  static void Copy(uint8_t* to, std::string_view from, uintptr_t readable_end) {
    const char* p = from.data();
    if (from.size() - 1 < 32 && reinterpret_cast<uintptr_t>(p) + 32 <= readable_end) [[likely]] {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), a);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), b);
    } else if (!from.empty()) {
      std::memcpy(to, p, from.size());
    }
  }

  Column<int32_t> offsets_;
  ColumnBuffer heap_;
  int64_t used_ = 0;
};

/// The number of a request's things that an int32 offset must address. Throws std::length_error beyond.
inline void CheckOffset(int64_t n) {
  if (n > kOffsetMax) [[unlikely]] throw std::length_error("more values in one batch than 32-bit offsets can address");
}

// Arrays from buffers. `type` is a type object out of SignalSchema, so that none is made per batch.
using ArrayDataPtr = std::shared_ptr<arrow::ArrayData>;
using TypePtr = std::shared_ptr<arrow::DataType>;

/// Fixed-width values without NULLs.
inline ArrayDataPtr MakeArray(const TypePtr& type, int64_t n, std::shared_ptr<arrow::Buffer> values) {
  return arrow::ArrayData::Make(type, n, {nullptr, std::move(values)}, 0);
}
/// Fixed-width values with `nulls` NULLs.
inline ArrayDataPtr MakeArray(const TypePtr& type, int64_t n, std::shared_ptr<arrow::Buffer> values, const BitColumn& valid,
                              int64_t nulls) {
  return arrow::ArrayData::Make(type, n, {nulls == 0 ? nullptr : valid.View(n), std::move(values)}, nulls);
}
inline ArrayDataPtr MakeArray(const TypePtr& type, int64_t n, const BytesColumn& column) {
  return arrow::ArrayData::Make(type, n, {nullptr, column.OffsetsView(n), column.HeapView()}, 0);
}
inline ArrayDataPtr MakeArray(const TypePtr& type, int64_t n, const BytesColumn& column, const BitColumn& valid, int64_t nulls) {
  return arrow::ArrayData::Make(type, n, {nulls == 0 ? nullptr : valid.View(n), column.OffsetsView(n), column.HeapView()}, nulls);
}
inline ArrayDataPtr MakeList(const TypePtr& type, int64_t n, const Column<int32_t>& offsets, ArrayDataPtr items) {
  return arrow::ArrayData::Make(type, n, {nullptr, offsets.View(n + 1)}, {std::move(items)}, 0);
}
inline ArrayDataPtr MakeStruct(const TypePtr& type, int64_t n, std::vector<ArrayDataPtr> children) {
  return arrow::ArrayData::Make(type, n, {nullptr}, std::move(children), 0);
}
/// The type of a list's items, and of a struct's (or a list of structs') field.
inline const TypePtr& ItemType(const TypePtr& list) { return list->field(0)->type(); }
inline const TypePtr& FieldType(const TypePtr& list_of_structs, int field) { return ItemType(list_of_structs)->field(field)->type(); }

}  // namespace sheaf::decode
