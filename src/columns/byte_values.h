/// A look at an Arrow array's values as raw bytes: text and binary as they are, fixed-width values as
/// their little-endian bytes. For hashing, grouping and zones, where one loop should serve many types.

#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include <arrow/array/data.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>

namespace sheaf::columns {

/// Borrows the array's buffers. Thread-safe. Says nothing of dictionaries: those have indexes, not bytes.
class ByteValues {
 public:
  /// Returns nothing for types whose values are not one run of whole bytes (bool, lists, structs, dictionaries, views…).
  static std::optional<ByteValues> Of(const arrow::ArrayData& data) {
    ByteValues out;
    out.size_ = data.length;
    out.offset_ = data.offset;
    out.validity_ = data.MayHaveNulls() && data.buffers[0] ? data.buffers[0]->data() : nullptr;
    const auto id = data.type->storage_id();
    if (arrow::is_binary_like(id) || arrow::is_large_binary_like(id)) {
      out.large_ = arrow::is_large_binary_like(id);
      const int64_t offset_bytes = out.large_ ? 8 : 4;
      out.offsets_ = data.buffers[1] ? data.buffers[1]->data() + data.offset * offset_bytes : nullptr;
      out.bytes_ = data.buffers[2] ? data.buffers[2]->data() : nullptr;
      return out;
    }
    if (!arrow::is_fixed_width(id) || id == arrow::Type::BOOL || id == arrow::Type::DICTIONARY || data.buffers.size() < 2) return {};
    out.width_ = data.type->byte_width();
    out.bytes_ = data.buffers[1] ? data.buffers[1]->data() + data.offset * out.width_ : nullptr;
    return out;
  }

  int64_t size() const { return size_; }
  bool may_have_nulls() const { return validity_ != nullptr; }
  bool IsNull(int64_t i) const { return validity_ != nullptr && !arrow::bit_util::GetBit(validity_, offset_ + i); }

  /// The bytes of value i. What they are for a NULL is not said.
  std::string_view operator[](int64_t i) const {
    const char* bytes = reinterpret_cast<const char*>(bytes_);
    if (offsets_ == nullptr) return {bytes + i * width_, static_cast<size_t>(width_)};
    if (large_) return Slice<int64_t>(bytes, i);
    return Slice<int32_t>(bytes, i);
  }

 private:
  template <typename Offset>
  std::string_view Slice(const char* bytes, int64_t i) const {
    Offset range[2];
    std::memcpy(range, offsets_ + i * static_cast<int64_t>(sizeof(Offset)), sizeof range);
    if (range[0] == range[1]) return {};
    return {bytes + range[0], static_cast<size_t>(range[1] - range[0])};
  }

  int64_t size_ = 0, offset_ = 0, width_ = 0;
  bool large_ = false;
  const uint8_t* validity_ = nullptr;
  const uint8_t* offsets_ = nullptr;  // Null where all values have width_ bytes.
  const uint8_t* bytes_ = nullptr;
};

}  // namespace sheaf::columns
