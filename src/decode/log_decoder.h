/// Log records to rows of otel.logs.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <arrow/record_batch.h>

#include "decode/attribute_column.h"
#include "decode/column_buffers.h"
#include "decode/dictionary_column.h"
#include "decode/envelopes.h"
#include "decode/record_id.h"
#include "decode/request_context.h"

namespace sheaf::decode {

/// Not thread-safe. Start(), Record() for each, Finish().
class LogDecoder {
 public:
  void Start(RequestMemory* memory);
  /// Adds one LogRecord message. Returns false where the request must fail.
  bool Record(std::string_view message, const Envelopes& envelopes, RequestContext* context);
  int64_t rows() const { return rows_; }
  /// Whether all text in columns is UTF-8 (plain pass).
  bool TextIsUtf8() const { return body_.TextIsUtf8(rows_) && attributes_.TextIsUtf8(); }
  std::shared_ptr<arrow::RecordBatch> Finish();
  void Trim(int64_t bytes_max);

 private:
  struct Fields;
  bool ReadRecord(std::string_view message, RequestContext* context, Fields* fields);
  bool StoreBody(const Fields& fields, RequestContext* context);
  void GrowRows();

  RequestMemory* memory_ = nullptr;  // Borrowed.
  int64_t rows_ = 0, rows_capacity_ = 0;
  Column<uint64_t> time_, observed_time_;
  IdColumn<TraceIdBytes> trace_id_;
  IdColumn<SpanIdBytes> span_id_;
  Column<uint32_t> flags_, dropped_attributes_;
  Column<int32_t> severity_number_;
  TextColumn severity_text_, event_name_;
  BytesColumn body_, body_value_;
  BitColumn has_body_, has_body_value_;
  int64_t bodies_ = 0, body_values_ = 0;
  AttributeColumn attributes_;
  EnvelopeColumns envelopes_;
  OriginalColumn original_;
  std::string body_text_;  // Of the record under way, where its body is not text.
};

}  // namespace sheaf::decode
