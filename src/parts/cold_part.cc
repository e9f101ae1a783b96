#include "parts/cold_part.h"

#include <algorithm>
#include <exception>
#include <new>
#include <string_view>
#include <unordered_set>
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

#include "columns/byte_values.h"
#include "columns/dictionaries.h"
#include "core/check.h"
#include "core/memory.h"
#include "core/out_of_memory.h"
#include "parts/conform.h"

namespace sheaf::parts {
namespace {

constexpr int kZstdLevel = 3;
constexpr double kBloomFalsePositives = 0.01;
constexpr size_t kIdleReadersMax = 4;

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

bool IsTimeOrInteger64(const arrow::DataType& type) { return type.id() == arrow::Type::TIMESTAMP || type.id() == arrow::Type::INT64; }

/// Whether a dictionary would hold nearly as many texts as there are rows: ids of orders and trades, say.
/// Never of columns that are dictionaries in Arrow, which Parquet's reader makes of dictionaries and plain texts only.
bool IsMostlyDistinct(const arrow::Array& array) {
  if (!arrow::is_base_binary_like(array.type_id())) return false;
  const auto values = columns::ByteValues::Of(*array.data());
  std::unordered_set<std::string_view> distinct;
  for (int64_t i = 0; i < values->size(); ++i) {
    if (!values->IsNull(i)) distinct.insert((*values)[i]);
  }
  return static_cast<int64_t>(distinct.size()) * 2 > array.length();
}

bool IsStoredAsInteger(const arrow::DataType& type) {
  return type.id() == arrow::Type::DECIMAL128 && static_cast<const arrow::DecimalType&>(type).precision() <= 18;
}

/// `first` are the columns of the first granule.
Result<std::shared_ptr<parquet::WriterProperties>> MakeProperties(const arrow::Schema& schema, const Layout& layout,
                                                                  const arrow::ArrayVector& first) {
  parquet::WriterProperties::Builder builder;
  builder.memory_pool(&WritePool());
  builder.compression(parquet::Compression::ZSTD)->compression_level(kZstdLevel);
  builder.enable_page_checksum()->enable_write_page_index()->data_page_version(parquet::ParquetDataPageVersion::V1);
  builder.max_row_group_length(std::max<int64_t>(layout.granule_rows, 1));
  builder.enable_store_decimal_as_integer();
  const auto defaults = parquet::WriterProperties::Builder().build();
  std::shared_ptr<parquet::SchemaDescriptor> descriptor;
  SHEAF_RETURN_NOT_OK(parquet::arrow::ToParquetSchema(&schema, *defaults, &descriptor));
  SHEAF_ASSIGN_OR_RETURN(const auto leaves, LeavesByColumn(*descriptor, nullptr));
  for (int c = 0; c < schema.num_fields(); ++c) {
    const arrow::DataType& type = *schema.field(c)->type();
    const auto& mine = leaves[static_cast<size_t>(c)];
    if (mine.size() != 1) continue;
    const auto path = descriptor->Column(mine[0])->path();
    if (IsTimeOrInteger64(type) || IsStoredAsInteger(type) || schema.field(c)->name() == kLsnColumn) {
      builder.disable_dictionary(path)->encoding(path, parquet::Encoding::DELTA_BINARY_PACKED);
    }
    if (IsMostlyDistinct(*first[static_cast<size_t>(c)])) {
      builder.disable_dictionary(path)->encoding(path, parquet::Encoding::DELTA_BYTE_ARRAY);
    }
    if (type.id() != arrow::Type::FIXED_SIZE_BINARY) continue;
    // Ids are all different but for the one that rows are clustered by.
    if (c != layout.trace_column) builder.disable_dictionary(path)->encoding(path, parquet::Encoding::PLAIN);
    if (std::find(layout.filter_columns.begin(), layout.filter_columns.end(), c) != layout.filter_columns.end()) {
      parquet::BloomFilterOptions bloom;
      bloom.fpp = kBloomFalsePositives;
      builder.enable_bloom_filter(path->ToDotString(), bloom);
    }
  }
  return builder.build();
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

Status ColdWriter::Open(const arrow::ArrayVector& first) {
  SHEAF_ASSIGN_OR_RETURN(auto properties, MakeProperties(*schema_, layout_, first));
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  SHEAF_ASSIGN_OR_RETURN(writer_, parquet::arrow::FileWriter::Open(*schema_, &WritePool(), stream_, properties, arrow_properties));
  return schema_->metadata() ? writer_->AddKeyValueMetadata(schema_->metadata()) : Status::OK();
}

Result<WrittenGranule> ColdWriter::Write(const std::shared_ptr<arrow::RecordBatch>& granule) {
  return EndWhereMemoryIsOut([&] { return Encode(granule); });
}

Result<WrittenGranule> ColdWriter::Encode(const std::shared_ptr<arrow::RecordBatch>& granule) {
  arrow::ArrayVector arrays;
  std::vector<std::shared_ptr<arrow::ChunkedArray>> columns;
  for (int c = 0; c < granule->num_columns(); ++c) {
    SHEAF_ASSIGN_OR_RETURN(auto data, columns::CompactDictionaries(granule->column_data(c), &WritePool()));
    arrays.push_back(arrow::MakeArray(data));
    columns.push_back(std::make_shared<arrow::ChunkedArray>(arrays.back()));
  }
  if (!writer_) SHEAF_RETURN_NOT_OK(Open(arrays));
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
      for (const int leaf : mine) bytes += group->ColumnChunk(leaf)->total_compressed_size();
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
