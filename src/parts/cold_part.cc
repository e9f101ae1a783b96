#include "parts/cold_part.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include <arrow/io/interfaces.h>
#include <arrow/array/util.h>
#include <arrow/chunked_array.h>
#include <arrow/table.h>
#include <parquet/arrow/schema.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include "columns/dictionaries.h"
#include "columns/leaves.h"
#include "core/check.h"
#include "core/memory.h"
#include "core/out_of_memory.h"
#include "parts/conform.h"

namespace sheaf::parts {
namespace {

constexpr int kZstdLevel = 3;
constexpr double kBloomFalsePositives = 0.01;
constexpr size_t kIdleReadersMax = 4;
constexpr columns::EncodingLimits kLimits;

/// Of columns that queries read, and of the pages on the way there.
TrackingPool& ReadPool() {
  static TrackingPool& pool = NamedPool("cold_read");
  return pool;
}

struct PoolExhausted : std::bad_alloc {};

/// For Parquet, whose encoders and dictionaries go on after an allocation that failed, into memory that is not theirs: throws
/// PoolExhausted where other pools return a status. What was being read or written is of no use afterwards.
class ThrowingPool : public arrow::ProxyMemoryPool {
 public:
  using arrow::ProxyMemoryPool::ProxyMemoryPool;
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override {
    return OrThrow(arrow::ProxyMemoryPool::Allocate(size, alignment, out));
  }
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) override {
    return OrThrow(arrow::ProxyMemoryPool::Reallocate(old_size, new_size, alignment, ptr));
  }

 private:
  static arrow::Status OrThrow(arrow::Status status) { return status.ok() ? status : throw PoolExhausted(); }
};
arrow::MemoryPool& WritePool() {
  static ThrowingPool* const pool = new ThrowingPool(&NamedPool("cold_write"));  // Never destroyed, as its parent.
  return *pool;
}
arrow::MemoryPool& DecodePool() {
  static ThrowingPool* const pool = new ThrowingPool(&ReadPool());
  return *pool;
}

/// Runs `write`, a call of Parquet's writer. Columns that found no memory are an error, and the writer can be destroyed. Where
/// operator new fails its own lists are left half-made, and its destructor, which finishes the file, would follow them: the process
/// ends here, as it does for other changes (core/out_of_memory.h).
template <typename Write>
auto EndWhereMemoryIsOut(Write&& write) -> decltype(write()) {
  try {
    return write();
  } catch (const PoolExhausted&) {
    return MakeStatus(ErrorKind::kOutOfMemory, "out of memory");
  } catch (const std::bad_alloc&) {
    std::terminate();
  }
}

/// Leaves of the Parquet schema under one column.
void AddLeaves(const parquet::arrow::SchemaField& field, std::vector<int>* leaves) {
  if (field.is_leaf()) leaves->push_back(field.column_index);
  for (const auto& child : field.children) AddLeaves(child, leaves);
}

Result<std::vector<std::vector<int>>> LeavesByColumn(const parquet::SchemaDescriptor& descriptor,
                                                     const std::shared_ptr<const arrow::KeyValueMetadata>& metadata) {
  parquet::arrow::SchemaManifest manifest;
  SHEAF_RETURN_NOT_OK(parquet::arrow::SchemaManifest::Make(&descriptor, metadata, parquet::ArrowReaderProperties(), &manifest));
  std::vector<std::vector<int>> out;
  for (const auto& field : manifest.schema_fields) AddLeaves(field, &out.emplace_back());
  return out;
}

/// What Parquet's writer is told of a leaf. Where it says nothing it makes a dictionary, and plain values once that is full.
void SetEncoding(const columns::EncodingChoice& choice, bool is_text, const std::shared_ptr<parquet::schema::ColumnPath>& path,
                 parquet::WriterProperties::Builder* builder) {
  if (choice.encoding == columns::Encoding::kDelta) {
    builder->disable_dictionary(path);
    builder->encoding(path, is_text ? parquet::Encoding::DELTA_BYTE_ARRAY : parquet::Encoding::DELTA_BINARY_PACKED);
  }
  if (choice.encoding == columns::Encoding::kPlain) builder->disable_dictionary(path)->encoding(path, parquet::Encoding::PLAIN);
}

/// `leaves`: what was chosen for them, in the order of the file.
Result<std::shared_ptr<parquet::WriterProperties>> MakeProperties(const arrow::Schema& schema, const Layout& layout,
                                                                  const std::vector<StoredLeaf>& leaves) {
  parquet::WriterProperties::Builder builder;
  builder.memory_pool(&WritePool());
  builder.compression(parquet::Compression::ZSTD)->compression_level(kZstdLevel);
  builder.enable_page_checksum()->enable_write_page_index()->data_page_version(parquet::ParquetDataPageVersion::V1);
  builder.max_row_group_length(std::max<int64_t>(layout.granule_rows, 1));
  builder.enable_store_decimal_as_integer();
  builder.dictionary_pagesize_limit(kLimits.dictionary_bytes_max);
  const auto defaults = parquet::WriterProperties::Builder().build();
  std::shared_ptr<parquet::SchemaDescriptor> descriptor;
  SHEAF_RETURN_NOT_OK(parquet::arrow::ToParquetSchema(&schema, *defaults, &descriptor));
  if (descriptor->num_columns() != static_cast<int>(leaves.size())) {
    return MakeError(ErrorKind::kInternal, "Parquet makes {} leaves of {}", descriptor->num_columns(), leaves.size());
  }
  for (int leaf = 0; leaf < descriptor->num_columns(); ++leaf) {
    const auto* column = descriptor->Column(leaf);
    SetEncoding(leaves[static_cast<size_t>(leaf)].stored, column->physical_type() == parquet::Type::BYTE_ARRAY, column->path(), &builder);
  }
  SHEAF_ASSIGN_OR_RETURN(const auto by_column, LeavesByColumn(*descriptor, nullptr));
  for (const int c : layout.filter_columns) {
    const auto& mine = by_column[static_cast<size_t>(c)];
    if (mine.size() != 1 || schema.field(c)->type()->id() != arrow::Type::FIXED_SIZE_BINARY) continue;
    parquet::BloomFilterOptions bloom;
    bloom.fpp = kBloomFalsePositives;
    builder.enable_bloom_filter(descriptor->Column(mine[0])->path()->ToDotString(), bloom);
  }
  return builder.build();
}

/// Whether values stand in a chunk that were to be indexes of its dictionary.
bool HasPlainPages(const parquet::ColumnChunkMetaData& chunk) {
  const auto& pages = chunk.encoding_stats();
  return std::any_of(pages.begin(), pages.end(), [](const parquet::PageEncodingStats& page) {
    return page.page_type == parquet::PageType::DATA_PAGE && page.encoding == parquet::Encoding::PLAIN;
  });
}

/// The mapped file as Parquet wants it; every block is checked before its bytes are given out.
class CheckedFile : public arrow::io::RandomAccessFile {
 public:
  explicit CheckedFile(const CheckedBytes* bytes) : bytes_(bytes) {}

  arrow::Result<int64_t> GetSize() override { return bytes_->size(); }
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t bytes) override {
    const int64_t now = Clip(position, bytes);
    SHEAF_RETURN_NOT_OK(bytes_->Check(position, now));
    return arrow::SliceBuffer(bytes_->buffer(), position, now);
  }
  arrow::Result<int64_t> ReadAt(int64_t position, int64_t bytes, void* out) override {
    const int64_t now = Clip(position, bytes);
    SHEAF_RETURN_NOT_OK(bytes_->Check(position, now));
    if (now > 0) std::memcpy(out, bytes_->data() + position, static_cast<size_t>(now));
    return now;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    SHEAF_ASSIGN_OR_RETURN(auto out, ReadAt(position_, bytes));
    position_ += out->size();
    return out;
  }
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    SHEAF_ASSIGN_OR_RETURN(const int64_t read, ReadAt(position_, bytes, out));
    position_ += read;
    return read;
  }
  arrow::Status Seek(int64_t position) override {
    position_ = position;
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> Tell() const override { return position_; }
  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  bool closed() const override { return closed_; }

 private:
  int64_t Clip(int64_t position, int64_t bytes) const {
    return position < 0 || position >= bytes_->size() ? 0 : std::clamp<int64_t>(bytes, 0, bytes_->size() - position);
  }

  const CheckedBytes* const bytes_;  // Outlives the readers of its part.
  int64_t position_ = 0;
  bool closed_ = false;
};

parquet::ReaderProperties CheckingProperties() {
  parquet::ReaderProperties properties;
  properties.set_page_checksum_verification(true);
  properties.set_thrift_string_size_limit(16 << 20);
  return properties;
}

}  // namespace

Result<std::unique_ptr<PartWriter>> ColdWriter::Make(std::shared_ptr<SummingStream> stream, const std::shared_ptr<arrow::Schema>& schema,
                                                     const Layout& layout) {
  return std::unique_ptr<PartWriter>(new ColdWriter(std::move(stream), schema, layout));
}

Status ColdWriter::Choose(const std::vector<columns::ColumnAnalysis>& first) {
  const std::vector<columns::Leaf> leaves = columns::LeavesOf(*schema_);
  SHEAF_CHECK(leaves.size() == first.size());
  for (size_t i = 0; i < leaves.size(); ++i) leaves_.push_back({columns::ChooseEncoding(*leaves[i].type, first[i], kLimits), 0});
  return Status::OK();
}

Status ColdWriter::Open() {
  SHEAF_ASSIGN_OR_RETURN(auto properties, MakeProperties(*schema_, layout_, leaves_));
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  SHEAF_ASSIGN_OR_RETURN(writer_, parquet::arrow::FileWriter::Open(*schema_, &WritePool(), stream_, properties, arrow_properties));
  return schema_->metadata() ? writer_->AddKeyValueMetadata(schema_->metadata()) : Status::OK();
}

Result<WrittenGranule> ColdWriter::Write(const std::shared_ptr<arrow::RecordBatch>& granule) {
  return EndWhereMemoryIsOut([&] { return Encode(granule); });
}

Result<WrittenGranule> ColdWriter::Encode(const std::shared_ptr<arrow::RecordBatch>& granule) {
  std::vector<std::shared_ptr<arrow::ChunkedArray>> columns;
  for (int c = 0; c < granule->num_columns(); ++c) {
    SHEAF_ASSIGN_OR_RETURN(auto data, columns::CompactDictionaries(granule->column_data(c), &WritePool()));
    columns.push_back(std::make_shared<arrow::ChunkedArray>(arrow::MakeArray(data)));
  }
  if (!writer_) SHEAF_RETURN_NOT_OK(Open());
  WrittenGranule out;
  SHEAF_ASSIGN_OR_RETURN(out.place.offset, stream_->Tell());
  const auto table = arrow::Table::Make(schema_, std::move(columns), granule->num_rows());
  SHEAF_RETURN_NOT_OK(writer_->WriteTable(*table, std::max<int64_t>(granule->num_rows(), 1)));
  SHEAF_ASSIGN_OR_RETURN(const int64_t end, stream_->Tell());
  out.place.rows = granule->num_rows();
  out.place.bytes = end - out.place.offset;
  granules_.push_back(out);
  return out;
}

Status ColdWriter::Finish() {
  if (!writer_) return MakeError(ErrorKind::kInvalid, "a part needs at least one row");
  SHEAF_RETURN_NOT_OK(EndWhereMemoryIsOut([&]() -> Status { return writer_->Close(); }));
  const std::shared_ptr<parquet::FileMetaData> footer = writer_->metadata();
  if (footer->num_row_groups() != static_cast<int>(granules_.size())) {
    return MakeError(ErrorKind::kInternal, "{} granules became {} row groups", granules_.size(), footer->num_row_groups());
  }
  SHEAF_ASSIGN_OR_RETURN(const auto leaves, LeavesByColumn(*footer->schema(), footer->key_value_metadata()));
  for (size_t g = 0; g < granules_.size(); ++g) {
    const auto group = footer->RowGroup(static_cast<int>(g));
    for (const auto& mine : leaves) {
      int64_t bytes = 0;
      for (const int leaf : mine) {
        const auto chunk = group->ColumnChunk(leaf);
        StoredLeaf& stored = leaves_[static_cast<size_t>(leaf)];
        bytes += chunk->total_compressed_size();
        stored.bytes += chunk->total_compressed_size();
        if (stored.stored.encoding != columns::Encoding::kDictionary || !HasPlainPages(*chunk)) continue;
        stored.stored = {columns::Encoding::kDictionaryThenPlain, columns::EncodingReason::kOutgrown};
      }
      granules_[g].column_bytes.push_back(bytes);
    }
  }
  return Status::OK();
}

std::vector<WrittenGranule> ColdWriter::FinalGranules() { return std::move(granules_); }

ColdPart::ColdPart(PartInfo info, PartSchema schema, std::unique_ptr<PartIndex> index,
                   std::unique_ptr<CheckedBytes> data)
    : PartSource(std::move(info), std::move(schema), std::move(index), std::move(data)) {}

Result<std::unique_ptr<parquet::arrow::FileReader>> ColdPart::TakeReader() const {
  std::shared_ptr<parquet::FileMetaData> footer;
  {
    MutexLock lock(&mutex_);
    if (!idle_.empty()) {
      auto reader = std::move(idle_.back());
      idle_.pop_back();
      return reader;
    }
    footer = footer_;
  }
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  properties.set_pre_buffer(false);
  properties.set_batch_size(std::max<int64_t>(index_->info().rows, 1));
  parquet::arrow::FileReaderBuilder builder;
  builder.memory_pool(&DecodePool());
  SHEAF_RETURN_NOT_OK(builder.Open(std::make_shared<CheckedFile>(data_.get()), CheckingProperties(), footer));
  std::unique_ptr<parquet::arrow::FileReader> reader;
  SHEAF_RETURN_NOT_OK(builder.properties(properties)->Build(&reader));
  const auto& metadata = *reader->parquet_reader()->metadata();
  if (metadata.num_row_groups() != index_->granules() ||
      static_cast<int>(reader->manifest().schema_fields.size()) != schema_->num_fields()) {
    return MakeError(ErrorKind::kCorruption, "holds {} row groups of {} columns; expected are {} of {}", metadata.num_row_groups(),
                     reader->manifest().schema_fields.size(), index_->granules(), schema_->num_fields());
  }
  if (!footer) {
    MutexLock lock(&mutex_);
    footer_ = reader->parquet_reader()->metadata();
  }
  return reader;
}

void ColdPart::GiveBack(std::unique_ptr<parquet::arrow::FileReader> reader) const {
  MutexLock lock(&mutex_);
  if (idle_.size() < kIdleReadersMax) idle_.push_back(std::move(reader));
}

Result<std::shared_ptr<arrow::RecordBatch>> ColdPart::Read(int granule, const std::vector<int>& columns) const {
  SHEAF_CHECK(granule >= 0 && granule < index_->granules());
  const auto failed = [&](const Status& error) {
    const std::string where = fmt::format("{}: granule {}", name(), granule);
    if (IsOutOfMemory(error)) return MakeError(ErrorKind::kOutOfMemory, "{}: {}", where, error.message());
    if (KindOf(error) == ErrorKind::kCorruption) return WithContext(error, where);
    return MakeError(ErrorKind::kCorruption, "{}: {}", where, error.message());  // Its bytes are not what Parquet expects.
  };
  auto reader = CatchOutOfMemory([&] { return TakeReader(); });
  if (!reader.ok()) return failed(reader.status());

  // Parquet wants rising leaves and answers in the file's order; each column once.
  std::vector<int> sorted(columns);
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::vector<int> leaves;
  for (const int column : sorted) {
    SHEAF_CHECK(column >= 0 && column < schema_->num_fields());
    AddLeaves((*reader)->manifest().schema_fields[static_cast<size_t>(column)], &leaves);
  }
  const int64_t rows = index_->granule(granule).rows;
  std::vector<std::shared_ptr<arrow::ArrayData>> read(static_cast<size_t>(schema_->num_fields()));
  if (!leaves.empty()) {
    auto table = CatchOutOfMemory([&] { return (*reader)->ReadRowGroup(granule, leaves); });
    if (!table.ok()) return failed(table.status());
    if ((*table)->num_rows() != rows || (*table)->num_columns() != static_cast<int>(sorted.size())) {
      return MakeError(ErrorKind::kCorruption, "{}: granule {} has {} rows, its index says {}", name(), granule,
                       (*table)->num_rows(), rows);
    }
    for (size_t i = 0; i < sorted.size(); ++i) {
      auto column = Conform(*(*table)->column(static_cast<int>(i)), schema_->field(sorted[i])->type(), &ReadPool());
      if (!column.ok()) return failed(column.status());
      read[static_cast<size_t>(sorted[i])] = std::move(*column);
    }
  }
  GiveBack(std::move(*reader));
  arrow::FieldVector fields;
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
  for (const int column : columns) {
    fields.push_back(schema_->field(column));
    arrays.push_back(read[static_cast<size_t>(column)]);
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows, std::move(arrays));
}

}  // namespace sheaf::parts
