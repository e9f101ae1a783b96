#include "query/view_watermark.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <arrow/array/array_primitive.h>
#include <arrow/type.h>
#include <fmt/format.h>

#include "columns/row_union.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

namespace {

constexpr size_t kStepsMax = 65'536;

/// Values of a column of times, in microseconds; halves of one round down, as if they came before.
class Times {
 public:
  static Result<Times> Of(const arrow::Array& array) {
    if (array.type_id() != arrow::Type::TIMESTAMP) {
      return MakeError(ErrorKind::kInvalid, "a watermark needs a column of timestamps; this one is of {}", array.type()->ToString());
    }
    switch (static_cast<const arrow::TimestampType&>(*array.type()).unit()) {
      case arrow::TimeUnit::SECOND: return Times(array, 1'000'000, 1);
      case arrow::TimeUnit::MILLI: return Times(array, 1'000, 1);
      case arrow::TimeUnit::MICRO: return Times(array, 1, 1);
      default: return Times(array, 1, 1'000);
    }
  }
  /// kNone where it is NULL or infinite.
  int64_t operator[](int64_t row) const {
    const int64_t value = array_->Value(row);
    int64_t us = 0;
    if (array_->IsNull(row) || value == INT64_MAX || value <= -INT64_MAX || __builtin_mul_overflow(value, factor_, &us)) {
      return Watermark::kNone;
    }
    return divisor_ == 1 ? us : us / divisor_ - (us % divisor_ < 0 ? 1 : 0);
  }
  int64_t size() const { return array_->length(); }

 private:
  Times(const arrow::Array& array, int64_t factor, int64_t divisor)
      : array_(&static_cast<const arrow::TimestampArray&>(array)), factor_(factor), divisor_(divisor) {}
  const arrow::TimestampArray* array_;
  int64_t factor_, divisor_;
};

int64_t Newest(const Times& times) {
  int64_t newest = Watermark::kNone;
  for (int64_t row = 0; row < times.size(); ++row) newest = std::max(newest, times[row]);
  return newest;
}

}  // namespace

int64_t Watermark::Behind(int64_t newest_us, int64_t by_us) { return newest_us < kNone + by_us ? kNone : newest_us - by_us; }

std::string WatermarkRule::sql() const {
  const auto interval = [](int64_t us) { return fmt::format("INTERVAL '{} microseconds'", us); };
  std::string text = fmt::format("WATERMARK FOR {} DELAY {}", duckdb::KeywordHelper::WriteQuoted(column, '"'), interval(delay_us));
  if (lateness_us) text += fmt::format(" ALLOWED LATENESS {}", interval(*lateness_us));
  return text;
}

void Watermark::Start(const Progress& progress, Lsn lsn) {
  steps_.clear();
  progress_ = progress;
  if (progress.value_us != kNone) steps_.push_back({progress.value_us, lsn});
}

void Watermark::Advance(const Progress& progress, Lsn lsn) {
  if (progress.value_us > progress_.value_us) steps_.push_back({progress.value_us, lsn});
  if (steps_.size() > kStepsMax) steps_.pop_front();
  progress_ = progress;
}

std::optional<Lsn> Watermark::ReachedAt(int64_t end_us) const {
  const auto step = std::lower_bound(steps_.begin(), steps_.end(), end_us, [](const Step& a, int64_t end) { return a.value_us < end; });
  return step == steps_.end() ? std::nullopt : std::optional(step->lsn);
}

Result<std::shared_ptr<arrow::RecordBatch>> WithoutLateRows(const WatermarkRule& rule, std::shared_ptr<arrow::RecordBatch> batch,
                                                            Watermark::Progress* progress) {
  const auto column = batch->GetColumnByName(rule.column);
  if (!column) return MakeError(ErrorKind::kInvalid, "there is no column {} for the watermark", rule.column);
  SHEAF_ASSIGN_OR_RETURN(const Times times, Times::Of(*column));
  const int64_t before = progress->value_us;
  const int64_t newest = Newest(times);
  if (newest != Watermark::kNone) progress->value_us = std::max(before, Watermark::Behind(newest, rule.delay_us));
  if (!rule.lateness_us || before == Watermark::kNone) return batch;
  const int64_t oldest = Watermark::Behind(before, *rule.lateness_us);
  std::vector<uint32_t> taken;
  for (int64_t row = 0; row < times.size(); ++row) {
    const int64_t time = times[row];
    if (time >= oldest || time == Watermark::kNone) taken.push_back(static_cast<uint32_t>(row));  // Without a time it is never late.
  }
  if (std::ssize(taken) == batch->num_rows()) return batch;
  progress->late_rows += batch->num_rows() - std::ssize(taken);
  SHEAF_ASSIGN_OR_RETURN(const auto rows, columns::RowUnion::Make(batch->schema(), {batch}));
  SHEAF_ASSIGN_OR_RETURN(const auto gathered, rows->Gather(taken, std::max<int64_t>(1, std::ssize(taken))));
  return gathered.empty() ? batch->Slice(0, 0) : gathered.front();
}

}  // namespace sheaf::query
