/// Our side: rows to the columns of otel.traces, and what a reader of those columns gets.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "decode/column_buffers.h"
#include "decode/dictionary_column.h"
#include "decode/record_id.h"
#include "spans.h"

namespace sheaf::bench {

/// A column of attributes, filled row by row. Not thread-safe.
class AttributeLists {
 public:
  void Start(decode::RequestMemory* memory, int64_t rows);
  void ReserveRows(int64_t rows) { offsets_.Reserve(rows + 1); }
  void AddRow(int64_t row, const std::vector<AttributeRow>& attributes);
  decode::ArrayDataPtr Finish(const decode::TypePtr& type, int64_t rows) const;

 private:
  /// Rows have the same keys in the same order, mostly: what stood at this place of the row before is compared first.
  int32_t KeyNumber(size_t place, std::string_view key);
  void Grow(int64_t items);
  struct Expected {
    std::string_view key;
    int32_t number;
  };

  decode::Dictionary keys_;
  decode::Column<int32_t> offsets_, numbers_;
  decode::Column<uint8_t> types_;
  decode::Column<int64_t> nums_;
  decode::BytesColumn vals_;
  int64_t size_ = 0;
  std::vector<Expected> expected_;
};

/// Turns rows into a record batch with the schema of otel.traces, the same batch that the decoder makes of their OTLP request;
/// its memory is used again once the batch is gone. Not thread-safe.
class SpanColumns {
 public:
  SpanColumns();
  /// The batch may refer to this object's buffers: drop it before the next call, or they are made anew.
  std::shared_ptr<arrow::RecordBatch> Make(const RequestRows& rows);

 private:
  void Start(const RequestRows& rows);
  void AddSpan(const SpanRow& span);
  void AddEvents(const SpanRow& span);
  void AddLinks(const SpanRow& span);
  void EnterService(const ServiceRows& service);
  std::shared_ptr<arrow::RecordBatch> Finish() const;

  decode::RequestMemory memory_;
  std::shared_ptr<arrow::Buffer> zeros_;  // For columns that these rows never set.
  int64_t rows_ = 0, roots_ = 0, events_ = 0, links_ = 0;
  decode::Column<decode::TraceIdBytes> trace_id_, link_trace_id_;
  decode::Column<decode::SpanIdBytes> span_id_, parent_span_id_, link_span_id_;
  decode::BitColumn has_parent_, has_status_;
  decode::BytesColumn status_message_;
  decode::Dictionary names_, event_names_;
  decode::Column<int32_t> name_, event_name_, event_offsets_, link_offsets_;
  decode::EnumColumn kind_, status_code_;
  decode::Column<uint64_t> start_, end_, duration_, event_time_;
  AttributeLists attributes_, event_attributes_, link_attributes_;
  decode::RunColumn service_, resource_, scope_;
  std::string envelope_;
};

/// As DigestObjects(), from the columns.
uint64_t DigestColumns(const arrow::RecordBatch& spans);

}  // namespace sheaf::bench
