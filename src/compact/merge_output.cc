#include "compact/merge_output.h"

#include <algorithm>
#include <utility>

namespace sheaf::compact {
namespace {

/// Gathering several granules at once is cheaper: what a row brings into the cache serves the next granule too.
constexpr int64_t kRowsAtOnce = 16'384;
/// Where few rows of each granule are alive, pending rows would hold many granules in memory: from here they are copied together.
constexpr size_t kBatchesMax = 128;

/// Bytes of arrays that are gathered; dictionaries are not counted.
int64_t BytesOf(const arrow::ArrayData& data) {
  int64_t bytes = 0;
  for (const auto& buffer : data.buffers) bytes += buffer ? buffer->size() : 0;
  for (const auto& child : data.child_data) bytes += BytesOf(*child);
  return bytes;
}

}  // namespace

MergeOutput::MergeOutput(io::FileSystem* files, std::string directory, parts::PartInfo part, const MergeOptions* options,
                         MergeProgress* progress)
    : files_(files),
      directory_(std::move(directory)),
      part_(std::move(part)),
      options_(*options),
      progress_(progress),
      granule_rows_(options->layout.granule_rows),
      granules_at_once_(static_cast<size_t>(std::max<int64_t>(1, kRowsAtOnce / options->layout.granule_rows))) {
  granules_.emplace_back();
}

MergeOutput::~MergeOutput() {
  if (kept_) return;
  stream_.reset();
  for (const parts::PartInfo& part : done_) {
    (void)files_->Remove(
        io::Join(directory_, part.file_name));  // The error that led here is the one to report; what is left over
    (void)files_->Remove(io::Join(directory_, parts::IndexFileName(part.id)));  // no manifest names, and the next start removes.
  }
}

uint32_t MergeOutput::NumberOf(const std::shared_ptr<arrow::RecordBatch>& batch) {
  for (size_t b = batches_.size(); b > 0; --b) {  // One of the last, as a rule: there is one a source.
    if (batches_[b - 1] == batch) return static_cast<uint32_t>(b - 1);
  }
  batches_.push_back(batch);
  return static_cast<uint32_t>(batches_.size() - 1);
}

Status MergeOutput::Append(const std::shared_ptr<arrow::RecordBatch>& batch, int64_t start, int64_t length) {
  const bool nothing_pending = granules_.size() == 1 && granules_[0].rows == 0;
  if (nothing_pending && start == 0 && length == batch->num_rows() && length == granule_rows_)
    return Write(batch);  // As it lies there.
  while (length > 0) {
    const int64_t now = std::min(length, granule_rows_ - granules_.back().rows);
    granules_.back().Append(NumberOf(batch), start, now);
    start += now;
    length -= now;
    if (granules_.back().rows < granule_rows_) break;
    granules_.emplace_back();
    if (granules_.size() > granules_at_once_) SHEAF_RETURN_NOT_OK(Flush(/*all=*/false));
  }
  return batches_.size() > kBatchesMax ? Condense() : Status::OK();
}

Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> MergeOutput::Gather() const {
  arrow::MemoryPool* pool = options_.pool != nullptr ? options_.pool : arrow::default_memory_pool();
  std::vector<std::vector<std::shared_ptr<arrow::ArrayData>>> columns(granules_.size());
  for (int c = 0; c < options_.schema->num_fields(); ++c) {
    std::vector<std::shared_ptr<arrow::ArrayData>> pieces;
    pieces.reserve(batches_.size());
    for (const auto& batch : batches_) pieces.push_back(batch->column_data(c));
    const auto gather = [&]() -> Result<std::vector<std::shared_ptr<arrow::ArrayData>>> {
      SHEAF_ASSIGN_OR_RETURN(const auto column,
                             columns::ColumnUnion::Make(options_.schema->field(c)->type(), std::move(pieces), pool));
      return column->Gather(granules_, pool);
    };
    auto arrays = gather();
    if (!arrays.ok()) return WithContext(arrays.status(), "column '" + options_.schema->field(c)->name() + "'");
    for (size_t g = 0; g < granules_.size(); ++g) columns[g].push_back(std::move((*arrays)[g]));
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> out;
  for (size_t g = 0; g < granules_.size(); ++g) {
    out.push_back(arrow::RecordBatch::Make(options_.schema, granules_[g].rows, std::move(columns[g])));
  }
  return out;
}

Status MergeOutput::Flush(bool all) {
  columns::RowRuns rest;
  if (!all) rest = std::move(granules_.back());  // Empty: Append() has just begun it.
  if (!all || granules_.back().rows == 0) granules_.pop_back();
  if (!granules_.empty()) {
    SHEAF_ASSIGN_OR_RETURN(const auto granules, Gather());
    for (const auto& granule : granules) SHEAF_RETURN_NOT_OK(Write(granule));
  }
  batches_.clear();
  granules_.assign(1, std::move(rest));
  return Status::OK();
}

Status MergeOutput::Condense() {
  if (granules_.back().rows == 0) granules_.pop_back();
  if (!granules_.empty()) {
    SHEAF_ASSIGN_OR_RETURN(batches_, Gather());
  } else {
    batches_.clear();
  }
  granules_.clear();
  for (size_t b = 0; b < batches_.size(); ++b)
    granules_.emplace_back().Append(static_cast<uint32_t>(b), 0, batches_[b]->num_rows());
  if (granules_.empty() || granules_.back().rows == granule_rows_) granules_.emplace_back();
  return Status::OK();
}

Status MergeOutput::Write(const std::shared_ptr<arrow::RecordBatch>& granule) {
  if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed))
    return MakeError(ErrorKind::kCancelled, "the merge was stopped");
  if (!stream_) {
    parts::PartInfo info = part_;
    info.id = options_.next_id();
    SHEAF_ASSIGN_OR_RETURN(stream_,
                           parts::PartStream::Open(files_, directory_, std::move(info), options_.layout, options_.schema));
    stream_bytes_ = 0;
  }
  SHEAF_RETURN_NOT_OK(stream_->Write(granule));
  for (int c = 0; c < granule->num_columns(); ++c) stream_bytes_ += BytesOf(*granule->column_data(c));
  progress_->rows_out += granule->num_rows();
  ++progress_->granules_out;
  if (stream_bytes_ >= options_.output_bytes) SHEAF_RETURN_NOT_OK(ClosePart());
  if (options_.after_granule) options_.after_granule(*progress_);
  return Status::OK();
}

Status MergeOutput::ClosePart() {
  SHEAF_ASSIGN_OR_RETURN(parts::PartInfo info, stream_->Finish());
  stream_.reset();
  progress_->bytes_out += info.data_bytes + info.index_bytes;
  ++progress_->parts_out;
  done_.push_back(std::move(info));
  return Status::OK();
}

Result<std::vector<parts::PartInfo>> MergeOutput::Finish() {
  SHEAF_RETURN_NOT_OK(Flush(/*all=*/true));
  if (stream_) SHEAF_RETURN_NOT_OK(ClosePart());
  kept_ = true;
  return std::move(done_);
}

}  // namespace sheaf::compact
