#include "query/row_reader.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>
#include <arrow/csv/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/json/api.h>
#include <arrow/table.h>
#include <parquet/arrow/reader.h>

#include "columns/decimal_texts.h"
#include "core/memory.h"
#include "query/text_rows.h"
#include "wire/dictionary_indexes.h"
#include "wire/ipc_schema_limits.h"

namespace sheaf::query {
namespace {

/// Blocks that the text readers cut a document into. A line of NDJSON must fit.
constexpr int32_t kBlockBytes = 16 << 20;

/// Of a Parquet file's description of itself. A few bytes of it become an object of hundreds, outside of any pool.
constexpr uint32_t kFooterBytesMax = 256 << 10;
constexpr int32_t kFooterItemsMax = 100'000;

Status TooManyRows(int64_t rows) {
  return MakeError(ErrorKind::kTooLarge, "the request has {} rows; at most {} at once", rows, kRowsReadMax);
}

Status Wrong(const char* what, const Status& why) {
  return MakeError(ErrorKind::kInvalid, "the {} cannot be read: {}", what, why.message());
}

/// Types whose text the readers of CSV and JSON understand; others are read as text and cast.
std::shared_ptr<arrow::DataType> TextType(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case arrow::Type::FIXED_SIZE_BINARY:
    case arrow::Type::DICTIONARY: return arrow::utf8();
    default: return type;
  }
}

/// The same for JSON, whose reader takes a date as a number of days only; everybody else writes 2026-11-30.
std::shared_ptr<arrow::DataType> JsonTextType(const std::shared_ptr<arrow::DataType>& type) {
  return type->id() == arrow::Type::DATE32 ? arrow::utf8() : TextType(type);
}

Result<std::shared_ptr<arrow::Table>> ReadArrow(const std::shared_ptr<arrow::Buffer>& bytes, arrow::MemoryPool* pool) {
  SHEAF_RETURN_NOT_OK(wire::CheckIpcStreamSchema(std::string_view(*bytes)));
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  SHEAF_ASSIGN_OR_RETURN(
      const auto reader, arrow::ipc::RecordBatchStreamReader::Open(std::make_shared<arrow::io::BufferReader>(bytes), options));
  arrow::RecordBatchVector batches;
  int64_t rows = 0;
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    SHEAF_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    SHEAF_RETURN_NOT_OK(batch->ValidateFull());
    if (batch->num_rows() > kRowsReadMax - rows) return TooManyRows(rows + batch->num_rows());
    rows += batch->num_rows();
    SHEAF_ASSIGN_OR_RETURN(batch, wire::ZeroNullIndexes(batch, pool));
    batches.push_back(std::move(batch));
  }
  return arrow::Table::FromRecordBatches(reader->schema(), batches);
}

Status CheckFooter(const arrow::Buffer& bytes) {
  uint32_t footer = 0;
  if (bytes.size() < 12) return Status::OK();  // The reader says what is wrong.
  std::memcpy(&footer, bytes.data() + bytes.size() - 8, sizeof footer);
  if (footer <= kFooterBytesMax || footer > bytes.size()) return Status::OK();
  return MakeError(ErrorKind::kTooLarge, "the file describes itself in {} bytes; at most {}: use fewer row groups, or leave out what "
                   "the writing program adds", footer, kFooterBytesMax);
}

Result<std::shared_ptr<arrow::Table>> ReadParquet(const std::shared_ptr<arrow::Buffer>& bytes, arrow::MemoryPool* pool) {
  SHEAF_RETURN_NOT_OK(CheckFooter(*bytes));
  parquet::ReaderProperties properties(pool);
  properties.set_thrift_string_size_limit(kFooterBytesMax);
  properties.set_thrift_container_size_limit(kFooterItemsMax);
  properties.set_page_checksum_verification(true);
  parquet::arrow::FileReaderBuilder builder;
  SHEAF_RETURN_NOT_OK(builder.Open(std::make_shared<arrow::io::BufferReader>(bytes), properties));
  SHEAF_ASSIGN_OR_RETURN(const auto reader, builder.memory_pool(pool)->Build());
  const int64_t rows = reader->parquet_reader()->metadata()->num_rows();
  if (rows > kRowsReadMax) return TooManyRows(rows);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<arrow::Table> table, reader->ReadTable());
  SHEAF_RETURN_NOT_OK(table->ValidateFull());
  return table;
}

/// Arrow's reader makes objects of a column that are in no pool; a head line of millions would cost hundreds of megabytes.
Status CheckHead(std::string_view text, const arrow::Schema& schema) {
  const auto head = TextRows(Format::kCsv, text).Next();
  if (!head) return Status::OK();
  const size_t columns = CsvFields(text.substr(head->begin, head->end - head->begin), head->line).size();
  if (columns <= static_cast<size_t>(schema.num_fields())) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "the head line names more columns than the {} of the table", schema.num_fields());
}

/// `names` empty: the document has a head line. Not `all`: only the columns of `schema`.
/// Arrow's reader takes what stands behind a quote that is never closed, as in a document that was cut off, for a text.
Status CheckQuotes(std::string_view text) {
  if (std::ranges::count(text, '"') % 2 == 0) return Status::OK();  // As nearly always, and soon counted.
  const auto line = OpenQuoteLine(text);
  return line ? MakeError(ErrorKind::kInvalid, "line {}: a quote is opened and never closed: the document may be cut off", *line)
              : Status::OK();
}

Result<std::shared_ptr<arrow::Table>> ReadCsv(const std::shared_ptr<arrow::Buffer>& bytes, const std::vector<std::string>& names,
                                              const arrow::Schema& schema, bool all, arrow::MemoryPool* pool) {
  if (names.empty()) {
    SHEAF_RETURN_NOT_OK(CheckHead(std::string_view(*bytes), schema));
    SHEAF_RETURN_NOT_OK(CheckQuotes(std::string_view(*bytes)));
  }
  auto read = arrow::csv::ReadOptions::Defaults();
  read.use_threads = false;
  read.block_size = kBlockBytes;
  read.column_names = names;
  auto convert = arrow::csv::ConvertOptions::Defaults();
  for (const auto& field : schema.fields()) convert.column_types[field->name()] = TextType(field->type());
  if (!all) convert.include_columns = schema.field_names();
  convert.strings_can_be_null = true;
  convert.quoted_strings_can_be_null = false;
  convert.null_values = {""};
  auto parse = arrow::csv::ParseOptions::Defaults();
  parse.newlines_in_values = true;
  SHEAF_ASSIGN_OR_RETURN(const auto reader,
                         arrow::csv::TableReader::Make(arrow::io::IOContext(pool), std::make_shared<arrow::io::BufferReader>(bytes),
                                                       read, parse, convert));
  return reader->Read();
}

/// Arrow's reader runs into memory that is not there where a row is `null`, a number or a text. What is not JSON it finds itself.
Status CheckRowsAreObjects(std::string_view text) {
  int64_t depth = 0, line = 1;
  bool in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    line += c == '\n' ? 1 : 0;
    if (in_text) {
      if (c == '\\') ++i;
      in_text = c != '"';
    } else if (c == '{' || (c == '[' && depth > 0)) {
      ++depth;
    } else if (depth > 0) {
      if (c == '}' || c == ']') --depth;
      in_text = c == '"';
    } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
      return MakeError(ErrorKind::kInvalid, "line {}: a row is an object, {{\"column\": value, …}}, and begins with {{", line);
    }
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::Table>> ReadNdjson(const std::shared_ptr<arrow::Buffer>& bytes, const arrow::Schema& schema, bool all,
                                                 arrow::MemoryPool* pool) {
  SHEAF_RETURN_NOT_OK(CheckRowsAreObjects(std::string_view(*bytes)));
  auto read = arrow::json::ReadOptions::Defaults();
  read.use_threads = false;
  read.block_size = kBlockBytes;
  auto parse = arrow::json::ParseOptions::Defaults();
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) fields.push_back(arrow::field(field->name(), JsonTextType(field->type())));
  parse.explicit_schema = arrow::schema(std::move(fields));
  using Unexpected = arrow::json::UnexpectedFieldBehavior;
  parse.unexpected_field_behavior = all ? Unexpected::Error : Unexpected::Ignore;
  SHEAF_ASSIGN_OR_RETURN(const auto reader,
                         arrow::json::TableReader::Make(pool, std::make_shared<arrow::io::BufferReader>(bytes), read, parse));
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<arrow::Table> table, reader->Read());
  SHEAF_RETURN_NOT_OK(table->ValidateFull());  // The reader takes texts that are not UTF-8.
  return table;
}

Result<std::shared_ptr<arrow::Table>> Read(Format format, const std::shared_ptr<arrow::Buffer>& bytes,
                                           const arrow::Schema& schema, arrow::MemoryPool* pool) {
  const auto Named = [](const char* what, Result<std::shared_ptr<arrow::Table>> read) -> Result<std::shared_ptr<arrow::Table>> {
    if (read.ok() || KindOf(read.status()) == ErrorKind::kTooLarge || KindOf(read.status()) == ErrorKind::kOutOfMemory) return read;
    return Wrong(what, read.status());
  };
  switch (format) {
    case Format::kArrow: return Named("Arrow stream", ReadArrow(bytes, pool));
    case Format::kParquet: return Named("Parquet file", ReadParquet(bytes, pool));
    case Format::kCsv: return Named("CSV", ReadCsv(bytes, {}, schema, true, pool));
    case Format::kNdjson: return Named("NDJSON", ReadNdjson(bytes, schema, true, pool));
    default: return MakeError(ErrorKind::kUnsupported, "rows come as an Arrow stream, Parquet, NDJSON or CSV");
  }
}

Result<std::shared_ptr<arrow::RecordBatch>> ReadWhole(Format format, const std::shared_ptr<arrow::Buffer>& bytes,
                                                      const std::shared_ptr<arrow::Schema>& schema, arrow::MemoryPool* pool) {
  SHEAF_ASSIGN_OR_RETURN(const auto read, Read(format, bytes, *schema, pool));
  if (read->num_rows() > kRowsReadMax) return TooManyRows(read->num_rows());
  SHEAF_ASSIGN_OR_RETURN(const auto table, ConformRows(*read, schema, pool));
  return table->CombineChunksToBatch(pool);
}

}  // namespace

Result<std::shared_ptr<arrow::Table>> ReadTextRows(Format format, const std::shared_ptr<arrow::Buffer>& bytes,
                                                   const std::vector<std::string>& names, const arrow::Schema& columns, bool all,
                                                   arrow::MemoryPool* pool) {
  if (format == Format::kCsv) return ReadCsv(bytes, names, columns, all, pool);
  return ReadNdjson(bytes, columns, all, pool);
}

namespace {

/// Safe casts, but for what Arrow's lets through.
Result<std::shared_ptr<arrow::ChunkedArray>> CastColumn(std::shared_ptr<arrow::ChunkedArray> column,
                                                        const std::shared_ptr<arrow::DataType>& type,
                                                        arrow::compute::ExecContext* context) {
  const auto id = column->type()->id();
  const bool texts = arrow::is_base_binary_like(id) || arrow::is_binary_view_like(id) || id == arrow::Type::DICTIONARY;
  if (texts && arrow::is_decimal(type->id())) {
    SHEAF_ASSIGN_OR_RETURN(const auto plain, arrow::compute::Cast(column, arrow::compute::CastOptions::Safe(arrow::utf8()), context));
    column = plain.chunked_array();
    for (const auto& chunk : column->chunks()) SHEAF_RETURN_NOT_OK(columns::CheckDecimalTexts(*chunk));
  }
  SHEAF_ASSIGN_OR_RETURN(const auto cast, arrow::compute::Cast(column, arrow::compute::CastOptions::Safe(type), context));
  return cast.chunked_array();
}

}  // namespace

Result<std::shared_ptr<arrow::Table>> ConformRows(const arrow::Table& rows, const std::shared_ptr<arrow::Schema>& schema,
                                                  arrow::MemoryPool* pool) {
  arrow::compute::ExecContext context(pool);
  for (const auto& field : rows.schema()->fields()) {
    if (rows.schema()->GetFieldIndex(field->name()) < 0) {
      return MakeError(ErrorKind::kInvalid, "the rows have several columns '{}'", field->name());
    }
    if (schema->GetFieldIndex(field->name()) >= 0) continue;
    std::string names;
    for (const auto& known : schema->fields()) names += (names.empty() ? "" : ", ") + known->name();
    return MakeError(ErrorKind::kInvalid, "the table has no column '{}'; its columns are {}", field->name(), names);
  }
  std::vector<std::shared_ptr<arrow::ChunkedArray>> columns;
  for (const auto& field : schema->fields()) {
    const auto column = rows.GetColumnByName(field->name());
    if (column == nullptr) {
      SHEAF_ASSIGN_OR_RETURN(const auto nulls, arrow::MakeArrayOfNull(field->type(), rows.num_rows(), pool));
      columns.push_back(std::make_shared<arrow::ChunkedArray>(nulls));
      continue;
    }
    if (column->type()->Equals(field->type())) {
      columns.push_back(column);
      continue;
    }
    const auto cast = CastColumn(column, field->type(), &context);
    if (!cast.ok()) {
      if (KindOf(cast.status()) == ErrorKind::kOutOfMemory) return cast.status();
      return MakeError(ErrorKind::kInvalid, "column '{}' is {} and comes as {}: {}", field->name(), field->type()->ToString(),
                       column->type()->ToString(), cast.status().message());
    }
    columns.push_back(*cast);
  }
  return arrow::Table::Make(schema, std::move(columns), rows.num_rows());
}

Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadRows(Format format, std::shared_ptr<arrow::Buffer> bytes,
                                                                  const std::shared_ptr<arrow::Schema>& schema, TrackingPool* pool) {
  const auto whole = ReadWhole(format, bytes, schema, pool);
  if (!whole.ok() && pool->refused()) {
    return MakeError(ErrorKind::kTooLarge, "the request's {} bytes inflate to more than the {} allowed for them; send fewer rows at once",
                     bytes->size(), pool->limit());
  }
  SHEAF_RETURN_NOT_OK(whole.status());
  if ((*whole)->num_rows() == 0) return std::vector<std::shared_ptr<arrow::RecordBatch>>();
  return std::vector<std::shared_ptr<arrow::RecordBatch>>{*whole};
}

}  // namespace sheaf::query
