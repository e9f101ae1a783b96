/// An array that grows without moving what it holds: for data that one thread appends while others read.

#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace sheaf::memtable {

/// Blocks double in size, so that appending never copies and never pauses for longer than one allocation. One thread appends; any
/// may read elements below size(), or that it knows of by other means that order memory.
/// T's default constructor need not set anything: Push() assigns.
template <typename T, int kFirstBits>
class Segmented {
 public:
  Segmented() = default;
  Segmented(const Segmented&) = delete;
  Segmented& operator=(const Segmented&) = delete;

  void Push(T value) { *Next() = std::move(value), Commit(); }
  /// The element behind the last, to be filled in place; Commit() makes it count.
  T* Next() {
    const Place place = PlaceOf(size_.load(std::memory_order_relaxed));
    std::unique_ptr<T[]>& block = blocks_[place.block];
    if (block == nullptr) {
      const size_t length = size_t{1} << (place.block + kFirstBits);
      block = std::make_unique_for_overwrite<T[]>(length);
      bytes_.fetch_add(static_cast<int64_t>(length * sizeof(T)), std::memory_order_relaxed);
    }
    return &block[place.index];
  }
  void Commit() { size_.store(size_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

  size_t size() const { return size_.load(std::memory_order_acquire); }
  T& operator[](size_t i) const {
    const Place place = PlaceOf(i);
    return blocks_[place.block][place.index];
  }
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Place {
    size_t block, index;
  };
  static Place PlaceOf(size_t i) {
    const size_t n = i + (size_t{1} << kFirstBits);
    const auto bits = static_cast<size_t>(std::bit_width(n)) - 1;
    return {bits - kFirstBits, n - (size_t{1} << bits)};
  }

  std::array<std::unique_ptr<T[]>, 48 - kFirstBits> blocks_;  // Block k holds 2^(kFirstBits + k).
  std::atomic<size_t> size_{0};
  std::atomic<int64_t> bytes_{0};
};

/// Elements of `array`, which are in order of their `lsn`, that are not above `through`, looking at [first, last) only.
template <typename Array>
size_t CountThrough(const Array& array, size_t first, size_t last, uint64_t through) {
  while (first < last) {
    const size_t middle = first + (last - first) / 2;
    if (array[middle].lsn <= through) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

}  // namespace sheaf::memtable
