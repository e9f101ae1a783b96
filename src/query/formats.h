/// Results as bytes: what HTTP answers and the command line prints. Streaming, one batch at a time.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <arrow/record_batch.h>

#include "core/status.h"

namespace sheaf::query {

enum class Format { kJson, kNdjson, kCsv, kArrow, kParquet, kTable };

/// "json", "ndjson", "csv", "arrow", "parquet", "table"; or a media type of the contract.
Result<Format> ParseFormat(std::string_view name);
const char* MediaType(Format format);

/// Receives bytes in order; an error stops the writer.
using Sink = std::function<Status(std::string_view bytes)>;

/// Ids are lower-case hex in text formats, fixed_size_binary in Arrow. Times are RFC 3339 with nine digits, in UTC.
class ResultWriter {
 public:
  static Result<std::unique_ptr<ResultWriter>> Make(Format format, std::shared_ptr<arrow::Schema> schema, Sink sink);
  virtual ~ResultWriter() = default;
  virtual Status Write(const arrow::RecordBatch& batch) = 0;
  /// Ends the document. Without it, it is visibly incomplete.
  virtual Status Finish() = 0;
};

}  // namespace sheaf::query
