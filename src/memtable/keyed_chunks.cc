#include "memtable/keyed_chunks.h"

#include <algorithm>
#include <mutex>
#include <string>

#include "columns/zones.h"
#include "core/check.h"

namespace sheaf::memtable {
namespace {

constexpr uint32_t kFirstRows = 64, kRowsMax = 4096;
constexpr double kChunkTextMax = 4 << 20;    // Bytes of text that a chunk is laid out for.
constexpr size_t kOwnChunkBytes = 64 << 10;  // A row beyond has a chunk of its own.
constexpr double kFirstTextAverage = 16;

/// Makes what `slot` will hold, unless another thread is faster. `make` returns a unique_ptr.
template <typename T, typename Make>
const T& GetOrMake(std::atomic<const T*>& slot, const Make& make) {
  if (const T* there = slot.load(std::memory_order_acquire); there != nullptr) return *there;
  auto made = make();
  const T* there = nullptr;
  if (slot.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *there;
}

}  // namespace

KeyedGranule::~KeyedGranule() {
  delete zones_.load(std::memory_order_acquire);
  delete filters_.load(std::memory_order_acquire);
}

const columns::Zone* KeyedGranule::zone(int column) const {
  const auto found = std::find(zone_columns_->begin(), zone_columns_->end(), column);
  if (found == zone_columns_->end()) return nullptr;
  const Zones& zones = GetOrMake(zones_, [&] {
    auto made = std::make_unique<Zones>();
    for (const int c : *zone_columns_) {
      auto zone = columns::ComputeZone(*batch_->column_data(c));
      made->push_back(zone.ok() ? *std::move(zone) : columns::Zone());  // A broken dictionary: Read() shows it to whoever looks.
    }
    return made;
  });
  const columns::Zone& zone = zones[static_cast<size_t>(found - zone_columns_->begin())];
  return zone.kind == columns::Zone::Kind::kNone ? nullptr : &zone;
}

bool KeyedGranule::MayHold(int column, std::string_view value) const {
  return GetOrMake(filters_, [&] { return std::make_unique<const Chunk>(batch_, -1, *filter_columns_, 0); })
      .MayHold(column, value);
}

/// The first `count` chunks; the one numbered `partial` only as far as `prefix` goes.
class KeyedChunks::Source : public columns::GranuleSource {
 public:
  Source(std::shared_ptr<const KeyedChunks> chunks, size_t count, size_t partial, std::shared_ptr<const KeyedGranule> prefix,
         int64_t rows, Lsn max_lsn)
      : chunks_(std::move(chunks)),
        count_(count),
        partial_(partial),
        prefix_(std::move(prefix)),
        rows_(rows),
        max_lsn_(max_lsn) {}

  const std::shared_ptr<arrow::Schema>& schema() const override { return chunks_->schema(); }
  const std::string& name() const override {
    static const std::string name = "memtable";
    return name;
  }
  uint64_t ordinal() const override { return chunks_->options_.ordinal; }
  int64_t rows() const override { return rows_; }
  Lsn min_lsn() const override { return Lsn(chunks_->entries_[0].lsn); }
  Lsn max_lsn() const override { return max_lsn_; }

  int num_granules() const override { return static_cast<int>(count_); }
  int64_t granule_rows(int number) const override {
    const auto chunk = static_cast<size_t>(number);
    if (chunk == partial_ && prefix_ != nullptr) return prefix_->batch()->num_rows();
    const Entry& entry = chunks_->entries_[chunk];
    return entry.rows == nullptr ? entry.batch->num_rows() : entry.rows->rows();
  }
  const columns::Zone* source_zone(int column) const override {
    const std::vector<int>& zoned = chunks_->options_.zone_columns;
    const auto found = std::find(zoned.begin(), zoned.end(), column);
    if (found == zoned.end()) return nullptr;
    std::call_once(zones_once_, [this] { MakeZones(); });
    const columns::Zone& zone = zones_[static_cast<size_t>(found - zoned.begin())];
    return zone.kind == columns::Zone::Kind::kNone ? nullptr : &zone;
  }
  const columns::Zone* granule_zone(int number, int column) const override { return granule(number).zone(column); }

  bool has_filter(int column) const override {
    const std::vector<int>& filtered = chunks_->options_.filter_columns;
    return std::find(filtered.begin(), filtered.end(), column) != filtered.end() && CanFilter(*schema()->field(column)->type());
  }
  Status FindGranules(int column, std::string_view value, std::vector<int>* granules) const override {
    for (int i = 0; i < num_granules(); ++i) {
      if (granule(i).MayHold(column, value)) granules->push_back(i);
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Read(int number, const std::vector<int>& columns) const override {
    return granule(number).batch()->SelectColumns(columns);
  }
  int64_t granule_bytes(int number, const std::vector<int>& columns) const override {
    int64_t bytes = 0;
    for (const int column : columns) bytes += BufferBytes(*granule(number).batch()->column_data(column));
    return bytes;
  }

 private:
  const KeyedGranule& granule(int number) const {
    const auto chunk = static_cast<size_t>(number);
    return chunk == partial_ && prefix_ != nullptr ? *prefix_ : chunks_->WholeGranule(chunk);
  }
  void MakeZones() const {
    for (const int column : chunks_->options_.zone_columns) {
      columns::Zone total;
      int64_t rows = 0;
      for (int i = 0; i < num_granules(); ++i) {
        const columns::Zone* zone = granule(i).zone(column);
        columns::Zone none;
        if (zone == nullptr) {
          none.null_count = granule(i).batch()->column_data(column)->GetNullCount();
          zone = &none;
        }
        columns::MergeZone(*zone, granule_rows(i), rows, &total);
        rows += granule_rows(i);
      }
      zones_.push_back(std::move(total));
    }
  }

  const std::shared_ptr<const KeyedChunks> chunks_;
  const size_t count_, partial_;
  const std::shared_ptr<const KeyedGranule> prefix_;  // Null: every chunk is whole.
  const int64_t rows_;
  const Lsn max_lsn_;
  mutable std::once_flag zones_once_;
  mutable std::vector<columns::Zone> zones_;
};

KeyedChunks::KeyedChunks(Options options)
    : options_(std::move(options)),
      plan_(options_.codec == nullptr ? nullptr : std::make_unique<const RowPlan>(options_.schema, options_.codec)) {
  if (plan_ != nullptr) text_average_.assign(plan_->texts(), kFirstTextAverage);
}

KeyedChunks::Entry* KeyedChunks::NextEntry(Lsn lsn) {
  Entry* entry = entries_.Next();
  entry->lsn = lsn.value;
  entry->batch_rows_before = batch_rows_;
  entry->single_rows_before = closed_single_rows_;
  entry->last_single = open_ == nullptr ? -1 : static_cast<int64_t>(open_number_);
  return entry;
}

uint32_t KeyedChunks::AddBatch(Lsn lsn, std::shared_ptr<arrow::RecordBatch> batch, int64_t bytes) {
  const auto number = static_cast<uint32_t>(entries_.size());
  Entry* entry = NextEntry(lsn);
  batch_rows_ += batch->num_rows();
  entry->batch = std::move(batch);
  entries_.Commit();
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return number;
}

void KeyedChunks::OpenRows(Lsn lsn, std::string_view row) {
  if (open_ != nullptr) {
    const auto rows = static_cast<double>(open_->rows());
    for (size_t i = 0; i < text_average_.size(); ++i) text_average_[i] = static_cast<double>(open_->text_used(i)) / rows;
    closed_single_rows_ += open_->rows();
    open_->Close();
  }
  double text = 0;
  for (const double average : text_average_) text += average * 1.25 + 1;
  rows_max_ = rows_max_ == 0 ? kFirstRows : std::min(kRowsMax, rows_max_ * 4);
  if (text * rows_max_ > kChunkTextMax) rows_max_ = std::max(kFirstRows, static_cast<uint32_t>(kChunkTextMax / text) / 64 * 64);
  plan_->TextBytes(row, &text_bytes_);
  text_max_.clear();
  for (size_t i = 0; i < text_average_.size(); ++i) {
    text_max_.push_back(std::max<uint64_t>(text_bytes_[i], static_cast<uint64_t>((text_average_[i] * 1.25 + 1) * rows_max_)));
  }
  open_number_ = entries_.size();
  Entry* entry = NextEntry(lsn);
  entry->rows = std::make_unique<RowChunk>(plan_.get(), rows_max_, text_max_, options_.pool);
  entry->last_single = static_cast<int64_t>(open_number_);
  open_ = entry->rows.get();
  bytes_.fetch_add(open_->bytes(), std::memory_order_relaxed);
  entries_.Commit();
}

KeyedChunks::Place KeyedChunks::AddRow(Lsn lsn, std::string_view row) {
  SHEAF_CHECK(plan_ != nullptr);
  if (row.size() > kOwnChunkBytes) {
    auto batch = options_.codec->ToBatch({&row, 1}, options_.pool);
    if (!batch.ok())
      batch = options_.codec->ToBatch({&row, 1}, arrow::default_memory_pool());  // It is in the log: it must go somewhere.
    SHEAF_CHECK(batch.ok());
    return {AddBatch(lsn, *std::move(batch), static_cast<int64_t>(row.size())), 0};
  }
  if (open_ == nullptr || !open_->Fits(lsn.value, row)) OpenRows(lsn, row);
  return {static_cast<uint32_t>(open_number_), open_->Append(lsn.value, row)};
}

const KeyedGranule& KeyedChunks::WholeGranule(size_t chunk) const {
  const Entry& entry = entries_[chunk];
  return GetOrMake(entry.granule, [&] {
    return std::make_unique<const KeyedGranule>(entry.rows == nullptr ? entry.batch : entry.rows->Whole(), &options_.zone_columns,
                                                &options_.filter_columns);
  });
}

std::shared_ptr<const KeyedGranule> KeyedChunks::PrefixGranule(size_t chunk, int64_t rows) const {
  MutexLock lock(&mutex_);
  if (prefix_ != nullptr && prefix_chunk_ == chunk && prefix_->batch()->num_rows() == rows) return prefix_;
  prefix_ =
      std::make_shared<const KeyedGranule>(entries_[chunk].rows->Prefix(rows), &options_.zone_columns, &options_.filter_columns);
  prefix_chunk_ = chunk;
  return prefix_;
}

std::shared_ptr<const columns::GranuleSource> KeyedChunks::SourceAt(Lsn through) const {
  const size_t count = CountThrough(entries_, 0, entries_.size(), through.value);
  if (count == 0) return nullptr;
  const Entry& last = entries_[count - 1];
  int64_t rows = last.batch_rows_before + (last.batch == nullptr ? 0 : last.batch->num_rows());
  Lsn max_lsn(last.lsn);
  size_t partial = 0;
  std::shared_ptr<const KeyedGranule> prefix;
  if (last.last_single >= 0) {  // Those before it were closed when it was opened, so it alone may have rows that are too new.
    partial = static_cast<size_t>(last.last_single);
    const Entry& single = entries_[partial];
    const bool closed = single.rows->closed();  // First: a chunk that is closed has all its rows.
    const int64_t visible = single.rows->RowsThrough(through.value);
    SHEAF_CHECK(visible > 0);
    rows += single.single_rows_before + visible;
    max_lsn = std::max(max_lsn, Lsn(single.rows->lsn(visible - 1)));
    if (!closed || visible < single.rows->rows()) prefix = PrefixGranule(partial, visible);
  }
  return std::make_shared<Source>(shared_from_this(), count, partial, std::move(prefix), rows, max_lsn);
}

}  // namespace sheaf::memtable
