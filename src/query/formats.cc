#include "query/formats.h"

#include <array>

#include "query/format_writers.h"

namespace sheaf::query {

namespace {

struct FormatName {
  Format format;
  std::string_view name;
  const char* media_type;
  MadeWriter (*make)(std::shared_ptr<arrow::Schema> schema, Sink sink);
};

constexpr std::array<FormatName, 6> kFormats = {{
    {Format::kJson, "json", "application/json", MakeJsonWriter},
    {Format::kNdjson, "ndjson", "application/x-ndjson", MakeNdjsonWriter},
    {Format::kCsv, "csv", "text/csv", MakeCsvWriter},
    {Format::kArrow, "arrow", "application/vnd.apache.arrow.stream", MakeArrowWriter},
    {Format::kParquet, "parquet", "application/vnd.apache.parquet", MakeParquetWriter},
    {Format::kTable, "table", "text/plain; charset=utf-8", MakeTableWriter},
}};

}  // namespace

Result<Format> ParseFormat(std::string_view name) {
  for (const FormatName& format : kFormats) {
    if (name == format.name || name == format.media_type) return format.format;
  }
  if (name == "text/plain") return Format::kTable;
  return MakeError(ErrorKind::kInvalid, "the format '{}' is not known: use json, ndjson, csv, arrow, parquet or table", name);
}

const char* MediaType(Format format) { return kFormats[static_cast<size_t>(format)].media_type; }

Result<std::unique_ptr<ResultWriter>> ResultWriter::Make(Format format, std::shared_ptr<arrow::Schema> schema, Sink sink) {
  return kFormats[static_cast<size_t>(format)].make(std::move(schema), std::move(sink));
}

}  // namespace sheaf::query
