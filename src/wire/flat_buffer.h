/// Reads flatbuffers in place, bounded: what Arrow IPC writes its metadata in.
///
/// Nothing is verified beforehand: each access checks its own bounds, and what leaves the buffer reads as absent and sets the
/// buffer's `ok()` to false. Check it once, after reading. References may form cycles: a reader that descends limits its depth
/// and the number of things it takes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sheaf::wire {

/// Not thread-safe. Borrows its bytes; tables borrow it.
class FlatBuffer {
 public:
  FlatBuffer() = default;
  explicit FlatBuffer(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  size_t size() const { return bytes_.size(); }

  /// The value at `at`, or zero out of bounds.
  template <typename T>
  T Load(size_t at) {
    T value{};
    if (at > bytes_.size() || bytes_.size() - at < sizeof(T)) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  /// The `size` bytes at `at`, or none.
  std::string_view Bytes(size_t at, size_t size) {
    if (at <= bytes_.size() && size <= bytes_.size() - at) return bytes_.substr(at, size);
    ok_ = false;
    return {};
  }
  /// Where the unsigned offset at `at` points to.
  size_t Follow(size_t at) { return at + Load<uint32_t>(at); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

/// A vector of elements of `stride` bytes.
struct FlatVector {
  FlatBuffer* buffer = nullptr;
  size_t at = 0, size = 0;

  template <typename T>
  T Load(size_t element, size_t stride, size_t offset = 0) const {
    return buffer->Load<T>(at + element * stride + offset);
  }
};

/// One table; absent where `buffer` is null: then every field reads as its default.
class FlatTable {
 public:
  FlatTable() = default;
  FlatTable(FlatBuffer* buffer, size_t at) : buffer_(buffer), at_(at) {
    const auto to_vtable = buffer->Load<int32_t>(at);
    vtable_ = at - static_cast<size_t>(static_cast<ptrdiff_t>(to_vtable));  // Out of bounds after wrapping, if it wraps.
    vtable_bytes_ = buffer->Load<uint16_t>(vtable_);
  }
  static FlatTable Root(FlatBuffer* buffer) { return FlatTable(buffer, buffer->Follow(0)); }

  bool exists() const { return buffer_ != nullptr; }
  template <typename T>
  T Scalar(size_t slot, T absent = T{}) const {
    const size_t field = Field(slot);
    return field == 0 ? absent : buffer_->Load<T>(field);
  }
  FlatTable Table(size_t slot) const {
    const size_t field = Field(slot);
    return field == 0 ? FlatTable() : FlatTable(buffer_, buffer_->Follow(field));
  }
  std::string_view Text(size_t slot) const {
    const size_t field = Field(slot);
    if (field == 0) return {};
    const size_t text = buffer_->Follow(field);
    return buffer_->Bytes(text + sizeof(uint32_t), buffer_->Load<uint32_t>(text));
  }
  /// A vector whose elements take `stride` bytes each; empty where absent or out of bounds.
  FlatVector Vector(size_t slot, size_t stride) const {
    const size_t field = Field(slot);
    if (field == 0) return {};
    const size_t vector = buffer_->Follow(field);
    const size_t size = buffer_->Load<uint32_t>(vector);
    if (buffer_->Bytes(vector + sizeof(uint32_t), size * stride).size() != size * stride) return {};
    return {buffer_, vector + sizeof(uint32_t), size};
  }
  /// Element `i` of a vector of tables.
  static FlatTable Element(const FlatVector& tables, size_t i) {
    return FlatTable(tables.buffer, tables.buffer->Follow(tables.at + i * sizeof(uint32_t)));
  }

 private:
  /// Where the field stands; 0 where it is absent.
  size_t Field(size_t slot) const {
    const size_t entry = 2 * sizeof(uint16_t) + slot * sizeof(uint16_t);
    if (buffer_ == nullptr || entry + sizeof(uint16_t) > vtable_bytes_) return 0;
    const auto offset = buffer_->Load<uint16_t>(vtable_ + entry);
    return offset == 0 ? 0 : at_ + offset;
  }

  FlatBuffer* buffer_ = nullptr;
  size_t at_ = 0, vtable_ = 0, vtable_bytes_ = 0;
};

}  // namespace sheaf::wire
