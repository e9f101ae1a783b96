/// The keys of a memtable in order, found out when somebody scans.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/mutex.h"
#include "memtable/key_versions.h"
#include "memtable/segmented.h"

namespace sheaf::memtable {

/// Keeps sorted runs of keys: those that came since the last call become a run of their own, and runs of like size are merged, so
/// that a scan after few writes sorts only these, and a key takes part in few merges altogether. Thread-safe; not on the way of
/// look-ups.
class KeyOrder {
 public:
  using Keys = Segmented<RecordRef, 8>;
  struct Entry {
    uint64_t head = 0;  // The key's first eight bytes as a number that orders as they do.
    RecordRef key = 0;
  };
  using Run = std::vector<Entry>;

  /// Borrows both. `keys`: each key's record once, in the order they came.
  KeyOrder(const KeyVersions* versions, const Keys* keys) : versions_(versions), keys_(keys) {}

  /// Runs that hold every key so far, each once. They never change.
  std::vector<std::shared_ptr<const Run>> Runs() const SHEAF_EXCLUDES(mutex_);

  static uint64_t HeadOf(std::string_view key);
  /// Whether `entry` orders before `key`, whose head is `head`.
  bool Before(const Entry& entry, uint64_t head, std::string_view key) const {
    return entry.head != head ? entry.head < head : versions_->record(entry.key)->key() < key;
  }
  bool Before(const Entry& a, const Entry& b) const {
    return a.head != b.head ? a.head < b.head : versions_->record(a.key)->key() < versions_->record(b.key)->key();
  }

  void Prefetch(const Entry& entry) const { versions_->Prefetch(entry.key); }

  int64_t bytes() const SHEAF_EXCLUDES(mutex_);

 private:
  std::shared_ptr<const Run> Merge(const Run& a, const Run& b) const;

  const KeyVersions* const versions_;
  const Keys* const keys_;
  mutable Mutex mutex_;
  mutable std::vector<std::shared_ptr<const Run>> runs_ SHEAF_GUARDED_BY(mutex_);  // Each at least four times the next.
  mutable size_t covered_ SHEAF_GUARDED_BY(mutex_) = 0;                            // Of keys_.
};

/// Walks the runs as one, from the first key that is at least `from`.
class KeyWalk {
 public:
  /// Borrows `order`.
  KeyWalk(const KeyOrder* order, std::string_view from);
  /// The next key's record; 0 at the end.
  RecordRef Next();

 private:
  struct Part {
    std::shared_ptr<const KeyOrder::Run> run;
    size_t next = 0;
    const KeyOrder::Entry& entry() const { return (*run)[next]; }
  };
  const KeyOrder* const order_;
  std::vector<Part> parts_;  // None of them at its end.
};

}  // namespace sheaf::memtable
