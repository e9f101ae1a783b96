#include "parts/granule_cache.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/metrics.h"

namespace sheaf::parts {
namespace {

constexpr int64_t kShardBytesMin = int64_t{16} << 20;  // Smaller ones would hold too few granules to be of use.
constexpr int64_t kShardsMax = 16;

struct CacheMetrics {
  Counter& hits = Metrics().AddCounter("sheaf_granule_cache_hits_total", "Granules of cold parts found decoded.");
  Counter& misses = Metrics().AddCounter("sheaf_granule_cache_misses_total", "Granules of cold parts decoded for a look-up.");
  Counter& evictions = Metrics().AddCounter("sheaf_granule_cache_evictions_total", "Decoded granules that went for others.");
  Gauge& bytes = Metrics().AddGauge("sheaf_granule_cache_bytes", "Bytes of decoded granules that are kept.");
};

CacheMetrics& CountedBy() {
  static CacheMetrics metrics;
  return metrics;
}

}  // namespace

size_t GranuleCache::Hash::operator()(const Key& key) const {
  uint64_t mixed = key.owner * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(key.granule) * 2 + (key.whole ? 1 : 0);
  mixed = (mixed ^ mixed >> 31) * 0xBF58476D1CE4E5B9u;
  return mixed ^ mixed >> 29;
}

GranuleCache::GranuleCache(int64_t bytes_max)
    : bytes_max_(bytes_max), shards_(static_cast<size_t>(std::clamp<int64_t>(bytes_max / kShardBytesMin, 1, kShardsMax))) {}

GranuleCache::~GranuleCache() { CountedBy().bytes.Add(-stats().bytes); }

uint64_t GranuleCache::NewOwner() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

std::shared_ptr<const CachedGranule> GranuleCache::Find(const Key& key) {
  Shard& shard = ShardOf(key);
  MutexLock lock(&shard.mutex);
  const auto found = shard.places.find(key);
  if (found == shard.places.end()) {
    ++shard.stats.misses;
    CountedBy().misses.Add();
    return nullptr;
  }
  ++shard.stats.hits;
  CountedBy().hits.Add();
  shard.entries.splice(shard.entries.begin(), shard.entries, found->second);
  return found->second->granule;
}

void GranuleCache::Remove(Shard* shard, std::list<Entry>::iterator entry) {
  shard->stats.bytes -= entry->granule->bytes;
  --shard->stats.granules;
  CountedBy().bytes.Add(-entry->granule->bytes);
  shard->places.erase(entry->key);
  shard->entries.erase(entry);
}

void GranuleCache::Insert(const Key& key, std::shared_ptr<const CachedGranule> granule) {
  const int64_t share = bytes_max_ / static_cast<int64_t>(shards_.size());
  if (granule->bytes > share) return;
  Shard& shard = ShardOf(key);
  std::list<Entry> gone;  // Freed outside of the lock.
  MutexLock lock(&shard.mutex);
  if (shard.places.contains(key)) return;  // Another thread decoded it too.
  while (shard.stats.bytes + granule->bytes > share) {
    const auto last = std::prev(shard.entries.end());
    gone.push_back(*last);
    Remove(&shard, last);
    ++shard.stats.evictions;
    CountedBy().evictions.Add();
  }
  shard.stats.bytes += granule->bytes;
  ++shard.stats.granules;
  CountedBy().bytes.Add(granule->bytes);
  shard.entries.push_front({key, std::move(granule)});
  shard.places[key] = shard.entries.begin();
}

void GranuleCache::Drop(uint64_t owner) {
  for (Shard& shard : shards_) {
    MutexLock lock(&shard.mutex);
    for (auto entry = shard.entries.begin(); entry != shard.entries.end();) {
      const auto next = std::next(entry);
      if (entry->key.owner == owner) Remove(&shard, entry);
      entry = next;
    }
  }
}

MemoryUse GranuleCache::Use() const {
  MemoryUse use{.component = "granule_cache"};
  use.current_bytes = stats().bytes;
  use.limit_bytes = bytes_max_;
  return use;
}

GranuleCache::Stats GranuleCache::stats() const {
  Stats out;
  for (const Shard& shard : shards_) {
    MutexLock lock(&shard.mutex);
    out.bytes += shard.stats.bytes;
    out.granules += shard.stats.granules;
    out.hits += shard.stats.hits;
    out.misses += shard.stats.misses;
    out.evictions += shard.stats.evictions;
  }
  return out;
}

}  // namespace sheaf::parts
