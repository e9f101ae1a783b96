#include "memtable/keyed_memtable.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "core/check.h"
#include "memtable/death_log.h"
#include "memtable/key_index.h"
#include "memtable/key_order.h"
#include "memtable/key_versions.h"
#include "memtable/keyed_chunks.h"

namespace sheaf::memtable {
namespace {

constexpr int64_t kCopiedRows = 64;   // Smaller batches are copied into the chunk of single rows, where that is possible.
constexpr int64_t kHashedAhead = 16;  // Keys of a batch whose places in the index are fetched before they are needed.

/// Zones for the time and the key's columns, so that `WHERE order_id = 7` prunes too.
std::vector<int> ZoneColumns(const KeyedMemtable::Options& options) {
  std::vector<int> zoned = options.keys->columns();
  if (options.time_column >= 0 && std::find(zoned.begin(), zoned.end(), options.time_column) == zoned.end()) {
    zoned.push_back(options.time_column);
  }
  return zoned;
}

class Keyed final : public KeyedMemtable {
 public:
  explicit Keyed(Options options)
      : options_(std::move(options)),
        chunks_(std::make_shared<KeyedChunks>(KeyedChunks::Options{.schema = options_.schema,
                                                                   .codec = options_.rows,
                                                                   .zone_columns = ZoneColumns(options_),
                                                                   .filter_columns = options_.filter_columns,
                                                                   .ordinal = options_.ordinal,
                                                                   .pool = options_.pool})),
        order_(&versions_, &keys_) {}

  void AddBatch(Lsn lsn, std::shared_ptr<arrow::RecordBatch> batch, const columns::KeyColumn& keys, int64_t bytes) override {
    SHEAF_CHECK(keys.size() == batch->num_rows() && batch->num_columns() == options_.schema->num_fields());
    if (keys.size() == 0) return;
    Begin(lsn);
    if (keys.size() < kCopiedRows && CopyRows(lsn, *batch, keys)) return;
    const uint32_t chunk = chunks_->AddBatch(lsn, std::move(batch), bytes);
    AddKeys(lsn, keys, chunk);
    rows_.fetch_add(keys.size(), std::memory_order_relaxed);
  }

  void AddRow(Lsn lsn, std::string_view row, std::string_view key) override {
    Begin(lsn);
    AddOne(lsn, row, key);
  }

  void AddDeletes(Lsn lsn, const columns::KeyColumn& keys) override {
    if (keys.size() == 0) return;
    Begin(lsn);
    AddKeys(lsn, keys, kDeletedChunk);
  }

  void Publish(Lsn through) override {
    SHEAF_CHECK(through.value >= published_.load(std::memory_order_relaxed));
    published_.store(through.value, std::memory_order_release);
  }

  KeyedHit Get(std::string_view key, Lsn through) const override {
    through = Visible(through);
    const RecordRef found = Find(KeyIndex::Hash(key), key);
    return found == 0 ? KeyedHit() : HitOf(versions_.Find(*versions_.record(found), through.value));
  }

  View ViewAt(Lsn through) const override {
    const Lsn published(published_.load(std::memory_order_acquire));
    View view{chunks_->SourceAt(std::min(through, published)), nullptr};
    if (view.source != nullptr) view.dead = deaths_.At(through, published);
    return view;
  }

  bool Supersede(std::string_view key, Lsn by) override {
    const RecordRef found = Find(KeyIndex::Hash(key), key);
    if (found == 0) return false;
    KeyVersion* version = versions_.version(versions_.record(found)->newest.load(std::memory_order_acquire));
    if (!Kill(version, by)) return false;
    deaths_.Tell(by, version->chunk, version->row);
    return true;
  }

  int64_t writes() const override { return static_cast<int64_t>(writes_.size()); }
  KeyedWrite write(int64_t number) const override {
    const KeyVersion& version = *versions_.version(writes_[static_cast<size_t>(number)]);
    return {Lsn(version.lsn), versions_.record(version.key)->key(), version.chunk == kDeletedChunk};
  }

  std::unique_ptr<Cursor> Scan(std::string_view from, Lsn through) const override {
    return std::make_unique<OrderedCursor>(this, from, Visible(through));
  }

  int64_t bytes() const override {
    return chunks_->bytes() + versions_.bytes() + index_.bytes() + keys_.bytes() + writes_.bytes() + deaths_.bytes() +
           order_.bytes();
  }
  int64_t rows() const override { return rows_.load(std::memory_order_relaxed); }
  Lsn min_lsn() const override { return Lsn(min_lsn_.load(std::memory_order_relaxed)); }
  Lsn max_lsn() const override { return Lsn(max_lsn_.load(std::memory_order_relaxed)); }
  const std::shared_ptr<arrow::Schema>& schema() const override { return options_.schema; }
  uint64_t ordinal() const override { return options_.ordinal; }

 private:
  class OrderedCursor final : public Cursor {
   public:
    OrderedCursor(const Keyed* table, std::string_view from, Lsn through)
        : table_(table), through_(through), walk_(&table->order_, from) {}
    bool Next(std::string_view* key, KeyedHit* hit) override {
      while (const RecordRef ref = walk_.Next()) {
        const KeyRecord& record = *table_->versions_.record(ref);
        const KeyVersion* version = table_->versions_.Find(record, through_.value);
        if (version == nullptr) continue;  // The key came later.
        *key = record.key();
        *hit = table_->HitOf(version);
        return true;
      }
      return false;
    }

   private:
    const Keyed* const table_;
    const Lsn through_;
    KeyWalk walk_;
  };

  /// What readers may see: acquires all that was written through it.
  Lsn Visible(Lsn through) const { return std::min(through, Lsn(published_.load(std::memory_order_acquire))); }

  RecordRef Find(uint64_t hash, std::string_view key) const {
    return index_.Find(hash, [&](RecordRef ref) { return versions_.record(ref)->key() == key; });
  }

  KeyedHit HitOf(const KeyVersion* version) const {
    if (version == nullptr) return {};
    if (version->chunk == kDeletedChunk) return {.kind = KeyedHit::Kind::kDeleted, .lsn = Lsn(version->lsn)};
    return {.kind = KeyedHit::Kind::kRow,
            .lsn = Lsn(version->lsn),
            .batch = chunks_->BatchOf(version->chunk, version->row),
            .row = version->row,
            .granule = static_cast<int>(version->chunk)};
  }

  void Begin(Lsn lsn) {
    SHEAF_CHECK(lsn.value > published_.load(std::memory_order_relaxed) && lsn.value >= max_lsn_.load(std::memory_order_relaxed));
    if (min_lsn_.load(std::memory_order_relaxed) == 0) min_lsn_.store(lsn.value, std::memory_order_relaxed);
    max_lsn_.store(lsn.value, std::memory_order_relaxed);
  }

  /// Returns whether this was the row's death: each dies once.
  static bool Kill(KeyVersion* version, Lsn by) {
    uint64_t alive = 0;
    return version->chunk != kDeletedChunk &&
           version->superseded_by.compare_exchange_strong(alive, by.value, std::memory_order_acq_rel);
  }

  /// Makes a write known by its key. `row` is in its place already.
  void AddVersion(uint64_t hash, std::string_view key, Lsn lsn, uint32_t chunk, uint32_t row) {
    const RecordRef found = Find(hash, key);
    if (found == 0) {
      const RecordRef record = versions_.AddKey(key, lsn.value, chunk, row);
      index_.Insert(hash, record);
      keys_.Push(record);
      writes_.Push(KeyVersions::FirstVersion(record));
      return;
    }
    KeyVersion* replaced = versions_.version(versions_.record(found)->newest.load(std::memory_order_relaxed));
    if (Kill(replaced, lsn)) deaths_.Add(lsn, replaced->chunk, replaced->row);
    writes_.Push(versions_.AddVersion(found, lsn.value, chunk, row));
  }

  void AddOne(Lsn lsn, std::string_view row, std::string_view key) {
    const uint64_t hash = KeyIndex::Hash(key);
    index_.Prefetch(hash);  // Arrives while the row is written.
    const KeyedChunks::Place place = chunks_->AddRow(lsn, row);
    AddVersion(hash, key, lsn, place.chunk, place.row);
    rows_.store(rows_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  /// Row i of `chunk` has key i; or all are deletions.
  void AddKeys(Lsn lsn, const columns::KeyColumn& keys, uint32_t chunk) {
    std::array<uint64_t, kHashedAhead> hashes;
    for (int64_t first = 0; first < keys.size(); first += kHashedAhead) {
      const int64_t end = std::min(keys.size(), first + kHashedAhead);
      for (int64_t i = first; i < end; ++i) index_.PrefetchTable(hashes[static_cast<size_t>(i - first)] = KeyIndex::Hash(keys[i]));
      for (int64_t i = first; i < end; ++i) index_.Prefetch(hashes[static_cast<size_t>(i - first)]);
      for (int64_t i = first; i < end; ++i) {
        AddVersion(hashes[static_cast<size_t>(i - first)], keys[i], lsn, chunk,
                   chunk == kDeletedChunk ? 0 : static_cast<uint32_t>(i));
      }
    }
  }

  /// False: these rows cannot be copied; nothing was done.
  bool CopyRows(Lsn lsn, const arrow::RecordBatch& batch, const columns::KeyColumn& keys) {
    if (options_.rows == nullptr) return false;
    copied_.clear();
    copied_ends_.clear();
    for (int64_t i = 0; i < keys.size(); ++i) {
      if (!options_.rows->FromBatch(batch, i, &copied_).ok()) return false;
      copied_ends_.push_back(copied_.size());
    }
    size_t begin = 0;
    for (int64_t i = 0; i < keys.size(); ++i) {
      const size_t end = copied_ends_[static_cast<size_t>(i)];
      AddOne(lsn, std::string_view(copied_).substr(begin, end - begin), keys[i]);
      begin = end;
    }
    return true;
  }

  const Options options_;
  const std::shared_ptr<KeyedChunks> chunks_;
  KeyVersions versions_;
  KeyIndex index_;
  KeyOrder::Keys keys_;
  Segmented<RecordRef, 8> writes_;  // Versions.
  DeathLog deaths_;
  const KeyOrder order_;
  std::atomic<int64_t> rows_{0};
  std::atomic<uint64_t> min_lsn_{0}, max_lsn_{0};
  std::string copied_;  // Of CopyRows().
  std::vector<size_t> copied_ends_;
  alignas(64) std::atomic<uint64_t> published_{0};
};

}  // namespace

Result<std::unique_ptr<KeyedMemtable>> KeyedMemtable::Make(Options options) {
  if (options.schema == nullptr || options.keys == nullptr) {
    return MakeError(ErrorKind::kInvalid, "a keyed memtable needs a schema and the encoding of its keys");
  }
  if (options.pool == nullptr) options.pool = arrow::default_memory_pool();
  return std::make_unique<Keyed>(std::move(options));
}

}  // namespace sheaf::memtable
