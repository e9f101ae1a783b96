/// Spans to rows of otel.traces.

#pragma once

#include <array>
#include <memory>
#include <string_view>

#include <arrow/record_batch.h>

#include "decode/attribute_column.h"
#include "decode/column_buffers.h"
#include "decode/dictionary_column.h"
#include "decode/envelopes.h"
#include "decode/record_id.h"
#include "decode/request_context.h"

namespace sheaf::decode {

/// Not thread-safe. Start(), Span() for each, Finish().
class TraceDecoder {
 public:
  TraceDecoder();
  void Start(RequestMemory* memory);
  /// Adds one Span message, or counts it as rejected. Returns false where the request must fail.
  bool Span(std::string_view message, const Envelopes& envelopes, RequestContext* context);
  int64_t rows() const { return rows_; }
  /// Whether all text in columns is UTF-8 (plain pass).
  bool TextIsUtf8() const;
  std::shared_ptr<arrow::RecordBatch> Finish();
  void Trim(int64_t bytes_max);

 private:
  struct Fields;
  bool ReadSpan(std::string_view message, RequestContext* context, Fields* fields);
  bool ReadStatus(std::string_view message, RequestContext* context, Fields* fields);
  bool ReadEvent(std::string_view message, RequestContext* context);
  bool ReadLink(std::string_view message, RequestContext* context);
  void StoreRow(const Fields& fields, RequestContext* context);
  /// Forgets what the span under way has added.
  void RewindRow();
  void GrowRows();
  void GrowEvents();
  void GrowLinks();
  ArrayDataPtr FinishEvents(const TypePtr& type) const;
  ArrayDataPtr FinishLinks(const TypePtr& type) const;

  int64_t rows_ = 0, rows_capacity_ = 0;
  Column<TraceIdBytes> trace_id_;
  Column<SpanIdBytes> span_id_, parent_span_id_;
  BitColumn has_parent_, has_status_;
  int64_t roots_ = 0;
  BytesColumn trace_state_, status_message_;
  Column<uint32_t> flags_, dropped_attributes_, dropped_events_, dropped_links_;
  TextColumn name_;
  EnumColumn kind_, status_code_;
  Column<uint64_t> start_time_, end_time_, duration_;
  AttributeColumn attributes_;
  EnvelopeColumns envelopes_;
  OriginalColumn original_;

  int64_t events_ = 0, events_capacity_ = 0;
  Column<int32_t> event_offsets_;
  Column<uint64_t> event_time_;
  TextColumn event_name_;
  AttributeColumn event_attributes_;
  Column<uint32_t> event_dropped_;

  int64_t links_ = 0, links_capacity_ = 0;
  Column<int32_t> link_offsets_;
  Column<TraceIdBytes> link_trace_id_;
  Column<SpanIdBytes> link_span_id_;
  BytesColumn link_trace_state_;
  Column<uint32_t> link_flags_, link_dropped_;
  AttributeColumn link_attributes_;
};

}  // namespace sheaf::decode
