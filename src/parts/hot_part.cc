#include "parts/hot_part.h"

#include <bit>
#include <cstring>
#include <utility>

#include <arrow/array/util.h>
#include <arrow/buffer.h>

#include "columns/leaves.h"
#include "core/check.h"
#include "core/out_of_memory.h"

namespace sheaf::parts {
namespace {

constexpr int32_t kAlignment = 64;  // Metadata is rounded up to it; Arrow's writer places messages and buffers at 8 whatever is asked for.
constexpr uint32_t kContinuation = 0xFFFFFFFF;
constexpr int64_t kMessagePrefixBytes = 8;  // Continuation mark, length of the metadata.

int64_t BufferBytes(const arrow::ArrayData& data) {
  int64_t bytes = 0;
  for (const auto& buffer : data.buffers) bytes += buffer ? buffer->size() : 0;
  for (const auto& child : data.child_data) bytes += BufferBytes(*child);
  return bytes;
}

/// Arrow cannot read what it wrote once: its bytes are not what they were.
Status Failed(const std::string& where, const Status& error) {
  return MakeError(IsOutOfMemory(error) ? ErrorKind::kOutOfMemory : ErrorKind::kCorruption, "{}: {}", where, error.message());
}

}  // namespace

Result<std::unique_ptr<PartWriter>> HotWriter::Make(SummingStream* stream, const std::shared_ptr<arrow::Schema>& schema) {
  arrow::ipc::IpcWriteOptions options;
  options.alignment = kAlignment;
  options.use_threads = false;
  std::unique_ptr<HotWriter> out(new HotWriter(stream, options));
  SHEAF_ASSIGN_OR_RETURN(out->writer_, arrow::ipc::MakeFileWriter(stream, schema, options));
  return std::unique_ptr<PartWriter>(std::move(out));
}

/// Columns are stored as they are read, in place: docs/decisions/0010-run-ends-in-hot-parts.md.
Status HotWriter::Choose(const std::vector<columns::ColumnAnalysis>& first) {
  leaves_.assign(first.size(), {{columns::Encoding::kPlain, columns::EncodingReason::kReadInPlace}, 0});
  dictionaries_.resize(first.size());
  return Status::OK();
}

Status HotWriter::CountLeaves(const arrow::RecordBatch& granule) {
  size_t next = 0;
  for (int c = 0; c < granule.num_columns(); ++c) {
    SHEAF_RETURN_NOT_OK(columns::EachLeaf(granule.column_data(c), [&](const arrow::ArrayData& data) {
      SHEAF_CHECK(next < leaves_.size());
      leaves_[next].bytes += BufferBytes(data);
      dictionaries_[next++] = data.dictionary;
      return Status::OK();
    }));
  }
  return Status::OK();
}

std::vector<StoredLeaf> HotWriter::StoredLeaves() {
  for (size_t i = 0; i < leaves_.size(); ++i) {
    if (!dictionaries_[i]) continue;
    leaves_[i].bytes += BufferBytes(*std::exchange(dictionaries_[i], nullptr));
    leaves_[i].stored.encoding = columns::Encoding::kDictionary;
  }
  return std::move(leaves_);
}

Result<WrittenGranule> HotWriter::Write(const std::shared_ptr<arrow::RecordBatch>& granule) {
  // The first batch is preceded by the dictionaries, so a message's place is told from its end.
  WrittenGranule out;
  SHEAF_RETURN_NOT_OK(arrow::ipc::GetRecordBatchSize(*granule, options_, &out.place.bytes));
  SHEAF_RETURN_NOT_OK(writer_->WriteRecordBatch(*granule));
  SHEAF_ASSIGN_OR_RETURN(const int64_t end, stream_->Tell());
  out.place.rows = granule->num_rows();
  out.place.offset = end - out.place.bytes;
  for (int c = 0; c < granule->num_columns(); ++c) out.column_bytes.push_back(BufferBytes(*granule->column_data(c)));
  SHEAF_RETURN_NOT_OK(CountLeaves(*granule));
  return out;
}

Status HotWriter::Finish() { return writer_->Close(); }

HotPart::HotPart(PartInfo info, PartSchema schema, std::unique_ptr<PartIndex> index, std::unique_ptr<CheckedBytes> data)
    : PartSource(std::move(info), std::move(schema), std::move(index), std::move(data)),
      batches_(static_cast<size_t>(index_->granules())) {}

Status HotPart::CheckMetadata() const {
  // Schema and dictionaries stand before the first granule, the footer behind the last.
  const GranulePlace& first = index_->granule(0);
  const GranulePlace& last = index_->granule(index_->granules() - 1);
  SHEAF_RETURN_NOT_OK(data_->Check(0, first.offset));
  const int64_t end = last.offset + last.bytes;
  return data_->Check(end, data_->size() - end);
}

Status HotPart::CheckGranuleMetadata(int granule) const {
  const GranulePlace& place = index_->granule(granule);
  if (place.bytes < kMessagePrefixBytes) return MakeError(ErrorKind::kCorruption, "{}: granule {} is too short", name(), granule);
  SHEAF_RETURN_NOT_OK(data_->Check(place.offset, kMessagePrefixBytes));
  uint32_t prefix[2];
  std::memcpy(prefix, data_->data() + place.offset, sizeof prefix);
  if (prefix[0] != kContinuation || prefix[1] > place.bytes - kMessagePrefixBytes) {
    return MakeError(ErrorKind::kCorruption, "{}: no record batch at offset {}, where granule {} should be", name(), place.offset, granule);
  }
  return data_->Check(place.offset, kMessagePrefixBytes + prefix[1]);
}

Status HotPart::OpenReader() const {
  if (reader_) return Status::OK();
  arrow::ipc::IpcReadOptions options;
  options.use_threads = false;
  auto opened = arrow::ipc::RecordBatchFileReader::Open(std::make_shared<arrow::io::BufferReader>(data_->buffer()), options);
  if (!opened.ok()) return Failed(name(), opened.status());
  if ((*opened)->num_record_batches() != index_->granules() || !(*opened)->schema()->Equals(*schema_, /*check_metadata=*/false)) {
    return MakeError(ErrorKind::kCorruption, "{}: holds {} granules of\n{}\nexpected are {} of\n{}", name(),
                     (*opened)->num_record_batches(), (*opened)->schema()->ToString(), index_->granules(), schema_->ToString());
  }
  reader_ = std::move(*opened);
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> HotPart::Whole(int granule) const {
  SHEAF_CHECK(granule >= 0 && granule < index_->granules());
  {
    MutexLock lock(&mutex_);
    if (batches_[static_cast<size_t>(granule)]) return batches_[static_cast<size_t>(granule)];
  }
  SHEAF_RETURN_NOT_OK(CheckMetadata());
  SHEAF_RETURN_NOT_OK(CheckGranuleMetadata(granule));
  MutexLock lock(&mutex_);  // Below only metadata is read, from memory that was just checked.
  SHEAF_RETURN_NOT_OK(OpenReader());
  auto batch = reader_->ReadRecordBatch(granule);
  if (!batch.ok()) return Failed(fmt::format("{}: granule {}", name(), granule), batch.status());
  if ((*batch)->num_rows() != index_->granule(granule).rows) {
    return MakeError(ErrorKind::kCorruption, "{}: granule {} has {} rows, its index says {}", name(), granule, (*batch)->num_rows(),
                     index_->granule(granule).rows);
  }
  batches_[static_cast<size_t>(granule)] = *batch;
  return *batch;
}

Status HotPart::CheckBytes(const arrow::Buffer& buffer, int64_t begin, int64_t end) const {
  const int64_t offset = static_cast<int64_t>(buffer.address() - data_->buffer()->address());
  if (offset < 0 || offset + buffer.size() > data_->size()) return Status::OK();
  return data_->Check(offset + begin, end - begin);
}

Status HotPart::CheckBuffers(const arrow::ArrayData& data) const {
  for (const auto& buffer : data.buffers) {
    if (buffer && buffer->size() > 0) SHEAF_RETURN_NOT_OK(CheckBytes(*buffer, 0, buffer->size()));
  }
  for (const auto& child : data.child_data) SHEAF_RETURN_NOT_OK(CheckBuffers(*child));
  return Status::OK();  // Dictionaries were checked with the metadata.
}

/// Texts and lists: the offsets of the rows say which bytes or elements are theirs.
template <typename Offset>
Status HotPart::CheckRowsByOffsets(const arrow::ArrayData& data, const RowRanges& rows) const {
  const bool is_list = !data.child_data.empty();
  const int64_t inside = is_list ? data.child_data[0]->length : data.buffers[2] ? data.buffers[2]->size() : 0;
  const auto width = static_cast<int64_t>(sizeof(Offset));
  RowRanges elements;
  for (const RowRange& range : rows) {
    const int64_t first = data.offset + range.begin, last = data.offset + range.end;
    if (!data.buffers[1] || (last + 1) * width > data.buffers[1]->size()) return CheckBuffers(data);
    SHEAF_RETURN_NOT_OK(CheckBytes(*data.buffers[1], first * width, (last + 1) * width));
    const auto* offsets = reinterpret_cast<const Offset*>(data.buffers[1]->data());
    const auto begin = static_cast<int64_t>(offsets[first]), end = static_cast<int64_t>(offsets[last]);
    if (begin < 0 || end < begin || end > inside) return CheckBuffers(data);
    if (begin < end) elements.push_back({begin, end});
  }
  if (is_list) return CheckRows(*data.child_data[0], elements);
  for (const RowRange& bytes : elements) SHEAF_RETURN_NOT_OK(CheckBytes(*data.buffers[2], bytes.begin, bytes.end));
  return Status::OK();
}

Status HotPart::CheckRows(const arrow::ArrayData& data, const RowRanges& rows) const {
  // Whole, and small: who counts NULLs reads all of it.
  if (!data.buffers.empty() && data.buffers[0]) SHEAF_RETURN_NOT_OK(CheckBytes(*data.buffers[0], 0, data.buffers[0]->size()));
  switch (data.type->id()) {
    case arrow::Type::NA: return Status::OK();
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LIST:
    case arrow::Type::MAP: return CheckRowsByOffsets<int32_t>(data, rows);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::LARGE_LIST: return CheckRowsByOffsets<int64_t>(data, rows);
    case arrow::Type::STRUCT: {
      RowRanges inside = rows;
      for (RowRange& range : inside) range = {range.begin + data.offset, range.end + data.offset};
      for (const auto& child : data.child_data) SHEAF_RETURN_NOT_OK(CheckRows(*child, inside));
      return Status::OK();
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const int64_t size = static_cast<const arrow::FixedSizeListType&>(*data.type).list_size();
      RowRanges inside = rows;
      for (RowRange& range : inside) range = {(range.begin + data.offset) * size, (range.end + data.offset) * size};
      return CheckRows(*data.child_data[0], inside);
    }
    default: break;
  }
  const auto* fixed = dynamic_cast<const arrow::FixedWidthType*>(data.type.get());
  if (fixed == nullptr || data.buffers.size() != 2 || !data.buffers[1]) return CheckBuffers(data);
  for (const RowRange& range : rows) {
    const int64_t begin = (data.offset + range.begin) * fixed->bit_width() / 8;
    const int64_t end = ((data.offset + range.end) * fixed->bit_width() + 7) / 8;
    if (end > data.buffers[1]->size()) return CheckBuffers(data);
    SHEAF_RETURN_NOT_OK(CheckBytes(*data.buffers[1], begin, end));
  }
  return Status::OK();
}

template <typename CheckColumn>
Result<std::shared_ptr<arrow::RecordBatch>> HotPart::ReadChecked(int granule, const std::vector<int>& columns, CheckColumn&& check) const {
  SHEAF_ASSIGN_OR_RETURN(const auto whole, Whole(granule));
  arrow::FieldVector fields;
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
  for (const int column : columns) {
    SHEAF_CHECK(column >= 0 && column < schema_->num_fields());
    const Status checked = check(*whole->column_data(column));
    if (!checked.ok()) {
      return WithContext(checked, fmt::format("granule {}, column '{}'", granule, schema_->field(column)->name()));
    }
    fields.push_back(schema_->field(column));
    arrays.push_back(whole->column_data(column));
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), whole->num_rows(), std::move(arrays));
}

Result<std::shared_ptr<arrow::RecordBatch>> HotPart::Read(int granule, const std::vector<int>& columns) const {
  return ReadChecked(granule, columns, [this](const arrow::ArrayData& data) { return CheckBuffers(data); });
}

Result<std::shared_ptr<arrow::RecordBatch>> HotPart::ReadRows(int granule, const std::vector<int>& columns,
                                                              std::span<const int64_t> rows) const {
  RowRanges ranges;
  for (const int64_t row : rows) {
    if (ranges.empty() || ranges.back().end != row) ranges.push_back({row, row});
    ++ranges.back().end;
  }
  return ReadChecked(granule, columns, [&](const arrow::ArrayData& data) { return CheckRows(data, ranges); });
}

}  // namespace sheaf::parts
