#include "compact/merge_cursor.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include <arrow/array/data.h>
#include <arrow/util/bit_util.h>

#include "core/check.h"

namespace sheaf::compact {
namespace {

/// Nanoseconds as the column counts, rounded up: a time is before `ns` if and only if it is before this.
int64_t InUnitOf(const arrow::DataType& type, int64_t ns) {
  int64_t per_unit = 1;
  if (type.id() == arrow::Type::TIMESTAMP) {
    switch (static_cast<const arrow::TimestampType&>(type).unit()) {
      case arrow::TimeUnit::SECOND: per_unit = 1'000'000'000; break;
      case arrow::TimeUnit::MILLI: per_unit = 1'000'000; break;
      case arrow::TimeUnit::MICRO: per_unit = 1'000; break;
      default: break;
    }
  }
  const int64_t down = ns / per_unit;
  return down + (ns % per_unit > 0 ? 1 : 0);
}

}  // namespace

MergeCursor::MergeCursor(MergeSource source, const MergeOptions* options, SharedDictionaries* dictionaries,
                         MergeProgress* progress)
    : source_(std::move(source)), options_(*options), dictionaries_(dictionaries), progress_(progress) {
  all_columns_.resize(static_cast<size_t>(options_.schema->num_fields()));
  std::iota(all_columns_.begin(), all_columns_.end(), 0);
  if (options_.expire_before_ns && options_.time_column >= 0) {
    expire_before_ = InUnitOf(*options_.schema->field(options_.time_column)->type(), *options_.expire_before_ns);
  }
}

Status MergeCursor::Start() { return Settle(); }

uint64_t MergeCursor::lsn() const { return batch_->column_data(batch_->num_columns() - 1)->GetValues<uint64_t>(1)[row_]; }

bool MergeCursor::GranuleExpired() const {
  if (!expire_before_) return false;
  const columns::Zone* zone = source_.source->granule_zone(granule_, options_.time_column);
  return zone != nullptr && zone->kind == columns::Zone::Kind::kInt64 && zone->null_count == 0 && zone->int_max < *expire_before_;
}

Status MergeCursor::Settle() {
  while (true) {
    row_ = NextKept(row_);
    if (row_ < rows_) return Status::OK();
    if (granule_ + 1 >= source_.source->num_granules()) {
      done_ = true;
      batch_ = nullptr;
      return Status::OK();
    }
    ++granule_;
    SHEAF_RETURN_NOT_OK(Load());
  }
}

Status MergeCursor::Load() {
  if (rows_ > 0) last_key_.assign(keys_[rows_ - 1]);
  row_ = rows_ = 0;
  const int64_t rows = source_.source->granule_rows(granule_);
  const int64_t dead = source_.dead ? source_.dead->count(granule_) : 0;
  progress_->rows_in += rows;
  if (dead >= rows) {
    progress_->rows_dead += rows;
    return Status::OK();
  }
  progress_->rows_dead += dead;
  if (GranuleExpired()) {
    progress_->rows_expired += rows - dead;
    return Status::OK();
  }
  SHEAF_ASSIGN_OR_RETURN(auto batch, source_.source->Read(granule_, all_columns_));
  progress_->bytes_in += source_.source->granule_bytes(granule_, all_columns_);
  SHEAF_ASSIGN_OR_RETURN(batch_, dictionaries_->Translate(std::move(batch)));
  auto keys = options_.keys->Encode(*batch_);
  if (!keys.ok()) return MakeError(ErrorKind::kCorruption, "{}, granule {}: {}", name(), granule_, keys.status().message());
  keys_ = std::move(*keys);
  SHEAF_RETURN_NOT_OK(CheckOrder(last_key_));
  skip_.clear();
  if (dead > 0) {
    skip_ = *source_.dead->granule(granule_);
    skip_.resize(static_cast<size_t>((rows + 63) / 64), 0);
  }
  SHEAF_RETURN_NOT_OK(Expire(*batch_));
  rows_ = rows;
  return Status::OK();
}

/// A source out of order would come out as parts in which look-ups miss rows.
Status MergeCursor::CheckOrder(std::string_view before) {
  const auto wrong = [&](int64_t row) {
    return MakeError(ErrorKind::kCorruption, "{}, granule {}, row {}: key {} does not follow the one before it", name(), granule_,
                     row, options_.keys->ToText(keys_[row]));
  };
  if (keys_.size() == 0 || (!before.empty() && before >= keys_[0])) return keys_.size() == 0 ? Status::OK() : wrong(0);
  if (options_.keys->fixed_bytes() == sizeof(uint64_t)) {
    const auto load = [&](int64_t row) {
      uint64_t word;
      std::memcpy(&word, keys_.bytes.data() + row * static_cast<int64_t>(sizeof word), sizeof word);
      return __builtin_bswap64(word);
    };
    for (int64_t row = 1; row < keys_.size(); ++row) {
      if (load(row - 1) >= load(row)) return wrong(row);
    }
    return Status::OK();
  }
  for (int64_t row = 1; row < keys_.size(); ++row) {
    if (keys_[row - 1] >= keys_[row]) return wrong(row);
  }
  return Status::OK();
}

Status MergeCursor::Expire(const arrow::RecordBatch& batch) {
  if (!expire_before_) return Status::OK();
  const arrow::ArrayData& times = *batch.column_data(options_.time_column);
  const uint8_t* validity = times.MayHaveNulls() && times.buffers[0] ? times.buffers[0]->data() : nullptr;
  const auto* values = times.GetValues<int64_t>(1);
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    if (values[row] >= *expire_before_) continue;
    if (validity != nullptr && !arrow::bit_util::GetBit(validity, times.offset + row)) continue;
    if (skip_.empty()) skip_.resize(static_cast<size_t>((batch.num_rows() + 63) / 64), 0);
    uint64_t& word = skip_[static_cast<size_t>(row >> 6)];
    const uint64_t bit = uint64_t{1} << (row & 63);
    progress_->rows_expired += (word & bit) == 0 ? 1 : 0;
    word |= bit;
  }
  return Status::OK();
}

int64_t MergeCursor::NextKept(int64_t row) const {
  if (skip_.empty() || row >= rows_) return row;
  for (auto word = static_cast<size_t>(row >> 6); word < skip_.size(); ++word) {
    uint64_t kept = ~skip_[word];
    if (static_cast<int64_t>(word) == row >> 6) kept &= ~uint64_t{0} << (row & 63);
    if (kept != 0) return std::min(rows_, static_cast<int64_t>(word * 64) + std::countr_zero(kept));
  }
  return rows_;
}

int64_t MergeCursor::NextSkipped(int64_t row, int64_t end) const {
  if (skip_.empty()) return end;
  for (auto word = static_cast<size_t>(row >> 6); static_cast<int64_t>(word * 64) < end; ++word) {
    uint64_t skipped = skip_[word];
    if (static_cast<int64_t>(word) == row >> 6) skipped &= ~uint64_t{0} << (row & 63);
    if (skipped != 0) return std::min(end, static_cast<int64_t>(word * 64) + std::countr_zero(skipped));
  }
  return end;
}

/// The first row behind this one that is not below `bound`: steps that double, then halves. Rows of several sources often
/// alternate, and often do not.
int64_t MergeCursor::LowerBound(std::string_view bound) const {
  int64_t low = row_, step = 1;
  while (low + step < rows_ && keys_[low + step] < bound) {
    low += step;
    step *= 2;
  }
  int64_t high = std::min(low + step, rows_);
  while (low + 1 < high) {
    const int64_t middle = low + (high - low) / 2;
    (keys_[middle] < bound ? low : high) = middle;
  }
  return high;
}

MergeCursor::Run MergeCursor::Take(const std::optional<std::string_view>& bound) {
  const int64_t end = NextSkipped(row_, bound ? LowerBound(*bound) : rows_);
  const Run run{row_, end - row_};
  SHEAF_CHECK(run.length > 0);
  row_ = end;
  return run;
}

}  // namespace sheaf::compact
