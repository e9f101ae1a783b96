#include "memtable/memtable.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/check.h"

namespace sheaf::memtable {
namespace {

constexpr size_t kFirstSlots = 64;

}  // namespace

/// The first `count` slots of a memtable.
class Memtable::PrefixSource : public columns::GranuleSource {
 public:
  PrefixSource(std::shared_ptr<arrow::Schema> schema, int time_column, std::vector<int> filter_columns, uint64_t ordinal,
               std::shared_ptr<const Slots> slots, size_t count)
      : schema_(std::move(schema)),
        time_column_(time_column),
        filter_columns_(std::move(filter_columns)),
        ordinal_(ordinal),
        slots_(std::move(slots)),
        count_(count) {
    const Slot& last = (*slots_)[count_ - 1];
    if (last.time_min > last.time_max) return;
    time_zone_.kind = columns::Zone::Kind::kInt64;
    time_zone_.int_min = last.time_min;
    time_zone_.int_max = last.time_max;
    time_zone_.null_count = last.null_times;
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  const std::string& name() const override {
    static const std::string name = "memtable";
    return name;
  }
  uint64_t ordinal() const override { return ordinal_; }
  int64_t rows() const override { return (*slots_)[count_ - 1].rows_through; }
  Lsn min_lsn() const override { return slots_->front().lsn; }
  Lsn max_lsn() const override { return (*slots_)[count_ - 1].lsn; }

  int num_granules() const override { return static_cast<int>(count_); }
  int64_t granule_rows(int granule) const override { return chunk(granule).rows(); }
  const columns::Zone* source_zone(int column) const override {
    return column == time_column_ && time_zone_.kind != columns::Zone::Kind::kNone ? &time_zone_ : nullptr;
  }
  const columns::Zone* granule_zone(int granule, int column) const override { return chunk(granule).zone(column); }

  bool has_filter(int column) const override {
    return std::find(filter_columns_.begin(), filter_columns_.end(), column) != filter_columns_.end() && column != time_column_ &&
           CanFilter(*schema_->field(column)->type());
  }
  Status FindGranules(int column, std::string_view value, std::vector<int>* granules) const override {
    for (size_t i = 0; i < count_; ++i) {
      if ((*slots_)[i].chunk->MayHold(column, value)) granules->push_back(static_cast<int>(i));
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const override {
    return chunk(granule).batch()->SelectColumns(columns);
  }
  int64_t granule_bytes(int granule, const std::vector<int>& columns) const override {
    int64_t bytes = 0;
    for (const int column : columns) bytes += BufferBytes(*chunk(granule).batch()->column_data(column));
    return bytes;
  }

 private:
  const Chunk& chunk(int granule) const { return *(*slots_)[static_cast<size_t>(granule)].chunk; }

  const std::shared_ptr<arrow::Schema> schema_;
  const int time_column_;
  const std::vector<int> filter_columns_;
  const uint64_t ordinal_;
  const std::shared_ptr<const Slots> slots_;
  const size_t count_;
  columns::Zone time_zone_;
};

Memtable::Memtable(std::shared_ptr<arrow::Schema> schema, int time_column, std::vector<int> filter_columns, uint64_t ordinal)
    : schema_(std::move(schema)),
      time_column_(time_column),
      filter_columns_(std::move(filter_columns)),
      ordinal_(ordinal),
      slots_(std::make_shared<Slots>(kFirstSlots)) {}

std::shared_ptr<const Chunk> Memtable::MakeChunk(std::shared_ptr<arrow::RecordBatch> batch, int64_t bytes) const {
  return std::make_shared<const Chunk>(std::move(batch), time_column_, filter_columns_, bytes);
}

void Memtable::Add(Lsn lsn, std::shared_ptr<arrow::RecordBatch> batch, int64_t bytes) {
  Add(lsn, MakeChunk(std::move(batch), bytes));
}

void Memtable::Add(Lsn lsn, std::shared_ptr<const Chunk> chunk) {
  SHEAF_CHECK(chunk->batch()->num_columns() == schema_->num_fields());
  MutexLock lock(&mutex_);
  Slot slot;
  if (count_ > 0) slot = (*slots_)[count_ - 1];
  SHEAF_CHECK(slot.lsn <= lsn);
  slot.lsn = lsn;
  slot.rows_through += chunk->rows();
  slot.bytes_through += chunk->bytes();
  if (const columns::Zone* zone = chunk->zone(time_column_); zone != nullptr) {
    slot.time_min = std::min(slot.time_min, zone->int_min);
    slot.time_max = std::max(slot.time_max, zone->int_max);
    slot.null_times += zone->null_count;
  } else {
    slot.null_times += chunk->rows();
  }
  slot.chunk = std::move(chunk);
  if (count_ == slots_->size()) {
    auto longer = std::make_shared<Slots>(slots_->size() * 2);
    std::copy(slots_->begin(), slots_->end(), longer->begin());
    slots_ = std::move(longer);
  }
  (*slots_)[count_++] = std::move(slot);
}

std::shared_ptr<const columns::GranuleSource> Memtable::Source(Lsn through) const {
  std::shared_ptr<const Slots> slots;
  size_t count = 0;
  {
    MutexLock lock(&mutex_);
    slots = slots_;
    count = count_;
  }
  const auto end = std::upper_bound(slots->begin(), slots->begin() + static_cast<ptrdiff_t>(count), through,
                                    [](Lsn lsn, const Slot& slot) { return lsn < slot.lsn; });
  count = static_cast<size_t>(end - slots->begin());
  if (count == 0) return nullptr;
  return std::make_shared<PrefixSource>(schema_, time_column_, filter_columns_, ordinal_, std::move(slots), count);
}

std::vector<std::shared_ptr<arrow::RecordBatch>> Memtable::batches() const {
  MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  batches.reserve(count_);
  for (size_t i = 0; i < count_; ++i) batches.push_back((*slots_)[i].chunk->batch());
  return batches;
}

int64_t Memtable::bytes() const {
  MutexLock lock(&mutex_);
  return count_ == 0 ? 0 : (*slots_)[count_ - 1].bytes_through;
}

int64_t Memtable::rows() const {
  MutexLock lock(&mutex_);
  return count_ == 0 ? 0 : (*slots_)[count_ - 1].rows_through;
}

Lsn Memtable::min_lsn() const {
  MutexLock lock(&mutex_);
  return count_ == 0 ? Lsn() : slots_->front().lsn;
}

Lsn Memtable::max_lsn() const {
  MutexLock lock(&mutex_);
  return count_ == 0 ? Lsn() : (*slots_)[count_ - 1].lsn;
}

}  // namespace sheaf::memtable
