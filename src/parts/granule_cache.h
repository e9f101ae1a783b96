/// Decoded granules of cold parts, for look-ups by key: a Parquet row group costs a millisecond to decode, and the next key
/// often lies in one that was just read. Scans do not come here: one would push out all that look-ups need.

#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include <arrow/record_batch.h>

#include "core/memory.h"
#include "core/mutex.h"

namespace sheaf::parts {

/// What is kept of a granule. Immutable.
struct CachedGranule {
  virtual ~CachedGranule() = default;
  int64_t bytes = 0;  // What it occupies.
};

/// The least recently used go when all would be above the limit. Thread-safe; no lock is held while a granule is decoded, so two
/// threads may decode the same one. Counted as sheaf_granule_cache_*.
class GranuleCache : public MemorySource {
 public:
  struct Key {
    uint64_t owner;  // Of NewOwner().
    int granule;
    bool whole;      // All columns; else those of the key.
    bool operator==(const Key&) const = default;
  };
  struct Stats {
    int64_t bytes = 0, granules = 0;
    uint64_t hits = 0, misses = 0, evictions = 0;
  };

  explicit GranuleCache(int64_t bytes_max);
  GranuleCache(const GranuleCache&) = delete;
  GranuleCache& operator=(const GranuleCache&) = delete;
  ~GranuleCache() override;

  /// A number for a part's granules here; never given twice.
  static uint64_t NewOwner();

  /// Null where it is not there.
  std::shared_ptr<const CachedGranule> Find(const Key& key);
  /// One that alone is above a shard's share is not kept.
  void Insert(const Key& key, std::shared_ptr<const CachedGranule> granule);
  /// Forgets all of an owner. Those in use live on with their users.
  void Drop(uint64_t owner);

  int64_t bytes_max() const { return bytes_max_; }
  Stats stats() const;
  MemoryUse Use() const override;  // "granule_cache".

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const CachedGranule> granule;
  };
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  struct Shard {
    mutable Mutex mutex;
    std::list<Entry> entries SHEAF_GUARDED_BY(mutex);  // The last used first.
    std::unordered_map<Key, std::list<Entry>::iterator, Hash> places SHEAF_GUARDED_BY(mutex);
    Stats stats SHEAF_GUARDED_BY(mutex);
  };
  Shard& ShardOf(const Key& key) { return shards_[Hash()(key) % shards_.size()]; }
  static void Remove(Shard* shard, std::list<Entry>::iterator entry) SHEAF_REQUIRES(shard->mutex);

  const int64_t bytes_max_;
  std::vector<Shard> shards_;
};

}  // namespace sheaf::parts
