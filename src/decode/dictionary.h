/// Text or bytes that repeat within a batch, each kept once: ids for a dictionary column.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>


#include "decode/column_buffers.h"

namespace sheaf::decode {

/// Numbers values in order of first sight, per batch. The hash is seeded per process, so that a sender
/// cannot choose colliding values. Memory is recycled between batches. Not thread-safe.
class Dictionary {
 public:
  Dictionary();

  /// Forgets all values.
  void Start(RequestMemory* memory);
  /// Returns the value's id; `*is_new` tells whether it was seen for the first time.
  int32_t Id(std::string_view value, bool* is_new);
  int32_t Id(std::string_view value) {
    bool is_new;
    return Id(value, &is_new);
  }

  int32_t size() const { return size_; }
  std::string_view value(int32_t id) const { return values_.value(id); }

  /// Makes the column of `n` ids (dictionary type `type`) with this batch's values. The memory is this
  /// object's until Start().
  ArrayDataPtr MakeColumn(const TypePtr& type, int64_t n, std::shared_ptr<arrow::Buffer> ids) const;
  void Trim(int64_t bytes_max);

 private:
  /// The first and last eight bytes stand in the slot: values of up to 16 bytes are compared without
  /// touching the heap. A slot belongs to the batch of its `generation`; others count as free,
  /// such as those of memory that is all zero.
  struct Slot {
    uint64_t first, last;
    uint32_t size, hash;
    int32_t id;
    uint32_t generation;
  };
  /// The slots, in memory that is charged like the columns'. None before the first Start().
  struct Table {
    ColumnBuffer buffer;
    Slot* slots = nullptr;
    size_t mask = 0;  // Their number, a power of two, less one.

    void Make(RequestMemory* memory, size_t n);
    void Drop();
    size_t size() const { return slots == nullptr ? 0 : mask + 1; }
  };
  int32_t Insert(std::string_view value, uint64_t hash, size_t at, uint64_t first, uint64_t last);
  void Rehash(size_t slots);

  const uint64_t seed_;
  RequestMemory* memory_ = nullptr;  // Borrowed.
  Table table_;  // At most half full.
  uint32_t generation_ = 1;
  int32_t size_ = 0;
  BytesColumn values_;
};

}  // namespace sheaf::decode
