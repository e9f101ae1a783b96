/// Keys and their versions, as records in memory that never moves: what the index points at.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "core/check.h"
#include "memtable/segmented.h"

namespace sheaf::memtable {

/// Names a record: its place in words of 8 bytes. 0: none.
using RecordRef = uint32_t;

inline constexpr uint32_t kDeletedChunk = UINT32_MAX;

/// One write of a key. All but `superseded_by` is constant once a reader can find it.
struct KeyVersion {
  uint64_t lsn = 0;
  std::atomic<uint64_t> superseded_by{0};  // LSN of the write that replaced the row; 0: none.
  RecordRef previous = 0;                  // The version before this, or 0.
  uint32_t chunk = kDeletedChunk;          // Where the row is; kDeletedChunk: a deletion.
  uint32_t row = 0;
  RecordRef key = 0;  // The KeyRecord.
};

/// One key with its first version beside it, so that a look-up of a key that was written once touches one place. Its bytes
/// follow.
struct KeyRecord {
  std::atomic<RecordRef> newest{0};  // A KeyVersion.
  uint32_t key_bytes = 0;
  KeyVersion first;

  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
};
static_assert(sizeof(KeyVersion) == 32 && sizeof(KeyRecord) == 40);

/// One writer; readers may follow any reference that they got through an acquiring load.
class KeyVersions {
 public:
  /// A record of a new key. `lsn`, `chunk` and `row` are of its first version.
  RecordRef AddKey(std::string_view key, uint64_t lsn, uint32_t chunk, uint32_t row) {
    const RecordRef ref = Allocate(sizeof(KeyRecord) + key.size());
    auto* record = new (at(ref)) KeyRecord;
    record->key_bytes = static_cast<uint32_t>(key.size());
    std::memcpy(reinterpret_cast<char*>(record + 1), key.data(), key.size());
    Fill(&record->first, lsn, chunk, row, ref);
    record->newest.store(FirstVersion(ref), std::memory_order_relaxed);
    return ref;
  }
  /// A further version of `key`, which becomes its newest: readers find it from now on.
  RecordRef AddVersion(RecordRef key, uint64_t lsn, uint32_t chunk, uint32_t row) {
    const RecordRef ref = Allocate(sizeof(KeyVersion));
    auto* version = new (at(ref)) KeyVersion;
    Fill(version, lsn, chunk, row, key);
    version->previous = record(key)->newest.load(std::memory_order_relaxed);
    record(key)->newest.store(ref, std::memory_order_release);
    return ref;
  }

  static RecordRef FirstVersion(RecordRef key) { return key + offsetof(KeyRecord, first) / 8; }
  KeyRecord* record(RecordRef ref) const { return std::launder(reinterpret_cast<KeyRecord*>(at(ref))); }
  KeyVersion* version(RecordRef ref) const { return std::launder(reinterpret_cast<KeyVersion*>(at(ref))); }
  /// Has the record at hand when it is read a little later.
  void Prefetch(RecordRef ref) const { __builtin_prefetch(at(ref)); }
  /// The newest version with an LSN of at most `through`, or null.
  const KeyVersion* Find(const KeyRecord& key, uint64_t through) const {
    for (RecordRef ref = key.newest.load(std::memory_order_acquire); ref != 0;) {
      const KeyVersion* found = version(ref);
      if (found->lsn <= through) return found;
      ref = found->previous;
    }
    return nullptr;
  }

  int64_t bytes() const { return static_cast<int64_t>(blocks_.size() * kBlockWords * 8) + blocks_.bytes(); }

 private:
  static constexpr size_t kBlockBits = 13, kBlockWords = size_t{1} << kBlockBits;  // 64 KiB

  static void Fill(KeyVersion* version, uint64_t lsn, uint32_t chunk, uint32_t row, RecordRef key) {
    version->lsn = lsn;
    version->chunk = chunk;
    version->row = row;
    version->key = key;
  }
  uint64_t* at(RecordRef ref) const { return &blocks_[ref >> kBlockBits][ref & (kBlockWords - 1)]; }

  RecordRef Allocate(size_t bytes) {
    const size_t words = (bytes + 7) / 8;
    SHEAF_CHECK(words < kBlockWords);
    if (used_ + words > kBlockWords) {
      auto block = std::make_unique_for_overwrite<uint64_t[]>(kBlockWords);
      // The system hands out pages when they are first written: better all at once than in the middle of many writes.
      for (size_t word = 0; word < kBlockWords; word += 4096 / 8) static_cast<volatile uint64_t*>(block.get())[word] = 0;
      blocks_.Push(std::move(block));
      used_ = blocks_.size() == 1 ? 1 : 0;  // 0 is no reference.
    }
    const size_t place = (blocks_.size() - 1) * kBlockWords + used_;
    SHEAF_CHECK(place <= UINT32_MAX);
    used_ += words;
    return static_cast<RecordRef>(place);
  }

  Segmented<std::unique_ptr<uint64_t[]>, 4> blocks_;
  size_t used_ = kBlockWords;  // Words of the last block.
};

}  // namespace sheaf::memtable
