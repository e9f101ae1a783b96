#include "columns/row_union.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/check.h"
#include "core/parallel.h"

namespace sheaf::columns {

Result<std::unique_ptr<RowUnion>> RowUnion::Make(std::shared_ptr<arrow::Schema> schema,
                                                 std::vector<std::shared_ptr<arrow::RecordBatch>> batches, arrow::MemoryPool* pool) {
  std::unique_ptr<RowUnion> out(new RowUnion());
  out->schema_ = std::move(schema);
  out->batches_ = std::move(batches);
  out->pool_ = pool;
  for (const auto& batch : out->batches_) {
    if (batch->num_columns() != out->schema_->num_fields()) {
      return MakeError(ErrorKind::kInvalid, "a batch has {} columns, its table {}", batch->num_columns(), out->schema_->num_fields());
    }
    out->first_row_.push_back(out->rows_);
    out->rows_ += batch->num_rows();
  }
  out->first_row_.push_back(out->rows_);
  if (out->rows_ > int64_t{std::numeric_limits<uint32_t>::max()}) {
    return MakeError(ErrorKind::kTooLarge, "{} rows in one part; at most 2^32 - 1", out->rows_);
  }
  out->batch_of_row_.reserve(static_cast<size_t>(out->rows_));
  for (size_t b = 0; b < out->batches_.size(); ++b) {
    out->batch_of_row_.insert(out->batch_of_row_.end(), static_cast<size_t>(out->batches_[b]->num_rows()), static_cast<uint32_t>(b));
  }
  for (int c = 0; c < out->schema_->num_fields(); ++c) {
    const arrow::Field& field = *out->schema_->field(c);
    std::vector<std::shared_ptr<arrow::ArrayData>> pieces;
    pieces.reserve(out->batches_.size());
    for (const auto& batch : out->batches_) {
      if (!batch->column_data(c)->type->Equals(*field.type())) {
        return MakeError(ErrorKind::kInvalid, "column '{}' is {} in a batch, {} in its table", field.name(),
                         batch->column_data(c)->type->ToString(), field.type()->ToString());
      }
      pieces.push_back(batch->column_data(c));
    }
    auto column = ColumnUnion::Make(field.type(), std::move(pieces), pool);
    if (!column.ok()) return WithContext(column.status(), "column '" + field.name() + "'");
    out->columns_.push_back(std::move(*column));
  }
  return out;
}

int64_t RowUnion::bytes() const {
  int64_t bytes = 0;
  for (const auto& column : columns_) bytes += column->bytes();
  return bytes;
}

RowRuns RowUnion::RunsOf(std::span<const uint32_t> rows) const {
  constexpr size_t kAhead = 32;  // Rows in no order: their cache misses are to overlap.
  RowRuns out;
  out.rows = static_cast<int64_t>(rows.size());
  out.runs.reserve(rows.size());
  RowRun run;
  for (size_t i = 0; i < rows.size(); ++i) {
    const uint32_t row = rows[i];
    if (i + kAhead < rows.size()) __builtin_prefetch(batch_of_row_.data() + rows[i + kAhead]);
    SHEAF_CHECK(row < rows_);
    const uint32_t batch = batch_of_row_[row];
    const int64_t start = row - first_row_[batch];
    if (batch == run.batch && start == run.start + run.length) {
      ++run.length;
      continue;
    }
    if (run.length > 0) out.runs.push_back(run);
    run = {batch, 1, start};
  }
  if (run.length > 0) out.runs.push_back(run);
  return out;
}

Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> RowUnion::Gather(std::span<const uint32_t> rows, int64_t granule_rows,
                                                                          int threads) const {
  SHEAF_CHECK(granule_rows > 0);
  const auto step = static_cast<size_t>(granule_rows);
  std::vector<RowRuns> granules((rows.size() + step - 1) / step);
  RunPieces(threads, granules.size(),
            [&](size_t g) { granules[g] = RunsOf(rows.subspan(g * step, std::min(step, rows.size() - g * step))); });

  // A column's values stay in the cache from one granule to the next, so that one thread has several granules of it.
  const size_t slices = std::min(static_cast<size_t>(std::max(threads, 1)), granules.size());
  std::vector<std::vector<std::shared_ptr<arrow::ArrayData>>> columns(granules.size());
  for (auto& granule : columns) granule.resize(columns_.size());
  std::vector<Status> done(columns_.size() * slices);
  RunPieces(threads, done.size(), [&](size_t piece) {
    const size_t c = piece / slices, slice = piece % slices;
    const size_t begin = granules.size() * slice / slices, end = granules.size() * (slice + 1) / slices;
    auto column = columns_[c]->Gather(std::span(granules).subspan(begin, end - begin), pool_);
    done[piece] = column.ok() ? Status::OK() : WithContext(column.status(), "column '" + schema_->field(static_cast<int>(c))->name() + "'");
    for (size_t g = begin; column.ok() && g < end; ++g) columns[g][c] = std::move((*column)[g - begin]);
  });
  for (const Status& status : done) SHEAF_RETURN_NOT_OK(status);
  std::vector<std::shared_ptr<arrow::RecordBatch>> out;
  for (size_t g = 0; g < granules.size(); ++g) out.push_back(arrow::RecordBatch::Make(schema_, granules[g].rows, std::move(columns[g])));
  return out;
}

}  // namespace sheaf::columns
