/// Bytes of one message in one piece, grown without touching what is not yet used.

#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace sheaf::wire {

/// Movable, not copyable. Memory comes from realloc(), which moves the pages of large buffers instead of
/// their bytes and leaves unused ones to the kernel.
class ByteBuffer {
 public:
  ByteBuffer() = default;
  ~ByteBuffer() { std::free(data_); }
  ByteBuffer(ByteBuffer&& other) noexcept { swap(other); }
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    ByteBuffer old(std::move(*this));
    swap(other);
    return *this;
  }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }

  /// Makes room for `capacity` bytes in total. False, and nothing changed, when there is no memory.
  [[nodiscard]] bool Grow(size_t capacity) {
    if (capacity <= capacity_) return true;
    void* bigger = std::realloc(data_, capacity);
    if (bigger == nullptr) return false;
    data_ = static_cast<std::byte*>(bigger);
    capacity_ = capacity;
    return true;
  }

  /// Says how much of the room holds bytes. Requires: size <= capacity().
  void set_size(size_t size) { size_ = size; }

  /// Requires: room for `n` more bytes.
  void Append(const void* from, size_t n) {
    if (n != 0) std::memcpy(data_ + size_, from, n);
    size_ += n;
  }

 private:
  void swap(ByteBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  std::byte* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace sheaf::wire
