/// Made-up but plausible spans in the physical schema of otel.traces, for tests and benchmarks of parts.

#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>

#include "parts/part.h"

namespace sheaf::parts {

/// Layout of otel.traces: traces together, filters on ids, service and name.
Layout SpanLayout();

/// `batches` batches of `batch_rows` spans each: about ten spans a trace, interleaved as requests arrive, twelve
/// services, six attributes a span, some events and links. The same seed gives the same spans.
std::vector<std::shared_ptr<arrow::RecordBatch>> MakeSpans(uint64_t seed, int batches, int64_t batch_rows);

/// Collects lists of attributes (decode/schemas.h), row by row. Types are decode::ValueType.
struct AttributeLists {
  std::vector<int32_t> offsets{0};
  std::vector<std::string> keys, vals;
  std::vector<uint8_t> types;
  std::vector<int64_t> nums;

  void String(const char* key, std::string value) { Add(key, 1, 0, std::move(value)); }
  void Int(const char* key, int64_t value) { Add(key, 3, value, ""); }
  void Add(const char* key, uint8_t type, int64_t num, std::string value) {
    keys.emplace_back(key);
    types.push_back(type);
    nums.push_back(num);
    vals.push_back(std::move(value));
  }
  void EndRow() { offsets.push_back(static_cast<int32_t>(keys.size())); }
  /// The column; call once.
  std::shared_ptr<arrow::ArrayData> Finish();
};

}  // namespace sheaf::parts
