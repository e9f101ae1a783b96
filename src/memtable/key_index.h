/// A hash index from keys to records: one thread adds, any number looks up without a lock.

#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include "memtable/key_versions.h"

namespace sheaf::memtable {

/// Extendible hashing: the hash's top bits choose one of many small tables through a directory; a table that fills up splits in
/// two, which takes microseconds however many keys there are. Replaced tables stay until the index goes, since readers may be
/// inside. Slots carry 32 bits of the hash, so that neither a split nor a look-up of a missing key touches the records.
class KeyIndex {
 public:
  KeyIndex();
  KeyIndex(const KeyIndex&) = delete;
  KeyIndex& operator=(const KeyIndex&) = delete;

  static uint64_t Hash(std::string_view key);

  /// Brings what names the table of this hash into the cache.
  void PrefetchTable(uint64_t hash) const {
    const Directory* directory = directory_.load(std::memory_order_acquire);
    __builtin_prefetch(&directory->tables[PlaceIn(*directory, hash)]);
  }
  /// Brings what Find() and Insert() of this hash touch first into the cache: the slot, and the head of the table before its slots.
  void Prefetch(uint64_t hash) const {
    const TableRef table = Choose(hash);
    __builtin_prefetch(&table.slots()[hash >> 32 & table.mask()]);
    __builtin_prefetch(table.slots() - 1);
  }

  /// The record for which `equal(RecordRef)` holds among those added with this hash; 0: none. Any thread.
  template <typename Equal>
  RecordRef Find(uint64_t hash, const Equal& equal) const {
    const TableRef table = Choose(hash);
    const std::atomic<uint64_t>* slots = table.slots();
    const auto tag = static_cast<uint32_t>(hash >> 32);
    for (uint32_t i = tag & table.mask();; i = (i + 1) & table.mask()) {
      const uint64_t slot = slots[i].load(std::memory_order_acquire);
      if (slot == 0) return 0;
      if (slot >> 32 == tag && equal(static_cast<RecordRef>(slot))) return static_cast<RecordRef>(slot);
    }
  }

  /// Adds a record whose key is not there. The writer only.
  void Insert(uint64_t hash, RecordRef record);

  /// Replaced tables included.
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Table;
  struct TableDelete {
    void operator()(Table* table) const;
  };
  /// A table's slots and the logarithm of their number in one word, so that a look-up needs no third memory access.
  class TableRef {
   public:
    explicit TableRef(uint64_t word) : word_(word) {}
    const std::atomic<uint64_t>* slots() const { return reinterpret_cast<const std::atomic<uint64_t>*>(word_ & ~uint64_t{63}); }
    uint32_t mask() const { return (uint32_t{1} << (word_ & 63)) - 1; }
    uint64_t word() const { return word_; }

   private:
    uint64_t word_;
  };
  struct Directory {
    explicit Directory(int d) : depth(d), tables(std::make_unique<std::atomic<uint64_t>[]>(size_t{1} << d)) {}
    size_t size() const { return size_t{1} << depth; }
    const int depth;
    const std::unique_ptr<std::atomic<uint64_t>[]> tables;  // TableRefs.
  };

  static size_t PlaceIn(const Directory& directory, uint64_t hash) { return hash >> 32 >> (32 - directory.depth); }
  TableRef Choose(uint64_t hash) const {
    const Directory* directory = directory_.load(std::memory_order_acquire);
    return TableRef(directory->tables[PlaceIn(*directory, hash)].load(std::memory_order_acquire));
  }

  Table* NewTable(int slot_bits, int depth);
  Directory* NewDirectory(int depth);
  /// Puts `table` behind all places of the directory that begin with the table's bits of `hash`.
  void Point(uint64_t hash, Table* table);
  void Grow(uint64_t hash, Table* table);
  void Split(uint64_t hash, Table* table);

  std::atomic<const Directory*> directory_{nullptr};
  std::vector<std::unique_ptr<Directory>> directories_;      // The last is in use.
  std::vector<std::unique_ptr<Table, TableDelete>> tables_;  // Those in use and replaced ones.
  size_t in_use_ = 1;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace sheaf::memtable
