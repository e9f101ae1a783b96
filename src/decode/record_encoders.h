/// One row of a telemetry table to the fields of its OTLP message. encoder.h is the way in.

#pragma once

#include <arrow/record_batch.h>

#include "core/status.h"
#include "decode/batch_reader.h"
#include "decode/schemas.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {

// Each borrows its batch, whose schema is SignalSchema(signal). Encode() appends the fields of the row's
// record; proto3 defaults are left out. Error: Invalid (an enum column holds neither a name nor a number).

class SpanEncoder {
 public:
  SpanEncoder(Signal signal, const arrow::RecordBatch& batch);
  Status Encode(int64_t row, wire::ProtobufWriter* writer) const;

 private:
  void EncodeEvents(int64_t row, wire::ProtobufWriter* writer) const;
  void EncodeLinks(int64_t row, wire::ProtobufWriter* writer) const;

  IdView trace_id_, span_id_, parent_span_id_;
  BytesView trace_state_, status_message_;
  NumberView<uint32_t> flags_, dropped_attributes_, dropped_events_, dropped_links_;
  DictionaryView name_, kind_, status_code_;
  NumberView<uint64_t> start_time_, end_time_;
  BoolView has_status_;
  AttributesView attributes_;
  ListView events_, links_;
  NumberView<uint64_t> event_time_;
  DictionaryView event_name_;
  AttributesView event_attributes_;
  NumberView<uint32_t> event_dropped_;
  IdView link_trace_id_, link_span_id_;
  BytesView link_trace_state_;
  NumberView<uint32_t> link_flags_, link_dropped_;
  AttributesView link_attributes_;
};

class LogEncoder {
 public:
  LogEncoder(Signal signal, const arrow::RecordBatch& batch);
  Status Encode(int64_t row, wire::ProtobufWriter* writer) const;

 private:
  NumberView<uint64_t> time_, observed_time_;
  IdView trace_id_, span_id_;
  NumberView<uint32_t> flags_, dropped_attributes_;
  NumberView<int32_t> severity_number_;
  DictionaryView severity_text_, event_name_;
  BytesView body_, body_value_;
  AttributesView attributes_;
};

/// What every data point has, under the field numbers of its message.
class PointEncoder {
 public:
  PointEncoder(Signal signal, const arrow::RecordBatch& batch);
  void EncodeTimes(int64_t row, wire::ProtobufWriter* writer) const;
  void EncodeAttributes(int64_t row, uint32_t field, wire::ProtobufWriter* writer) const;
  void EncodeExemplars(int64_t row, uint32_t field, wire::ProtobufWriter* writer) const;
  void EncodeFlags(int64_t row, uint32_t field, wire::ProtobufWriter* writer) const;

 private:
  NumberView<uint64_t> time_, start_time_;
  NumberView<uint32_t> flags_;
  AttributesView attributes_;
  ListView exemplars_;
  NumberView<uint64_t> exemplar_time_;
  NumberView<double> exemplar_value_;
  NumberView<int64_t> exemplar_value_int_;
  IdView exemplar_trace_id_, exemplar_span_id_;
  AttributesView exemplar_attributes_;
};

class NumberEncoder {
 public:
  NumberEncoder(Signal signal, const arrow::RecordBatch& batch);
  Status Encode(int64_t row, wire::ProtobufWriter* writer) const;

 private:
  PointEncoder point_;
  NumberView<double> value_;
  NumberView<int64_t> value_int_;
};

class HistogramEncoder {
 public:
  HistogramEncoder(Signal signal, const arrow::RecordBatch& batch);
  Status Encode(int64_t row, wire::ProtobufWriter* writer) const;

 private:
  PointEncoder point_;
  NumberView<uint64_t> count_;
  NumberView<double> sum_, min_, max_;
  ListView bucket_counts_, explicit_bounds_;
  NumberView<uint64_t> bucket_count_, bound_bits_;
};

class ExponentialHistogramEncoder {
 public:
  ExponentialHistogramEncoder(Signal signal, const arrow::RecordBatch& batch);
  Status Encode(int64_t row, wire::ProtobufWriter* writer) const;

 private:
  struct Buckets {
    BoolView present;
    NumberView<int32_t> offset;
    ListView counts;
    NumberView<uint64_t> count;
    void Encode(int64_t row, uint32_t field, wire::ProtobufWriter* writer) const;
  };
  PointEncoder point_;
  NumberView<uint64_t> count_, zero_count_;
  NumberView<double> sum_, min_, max_, zero_threshold_;
  NumberView<int32_t> scale_;
  Buckets positive_, negative_;
};

class SummaryEncoder {
 public:
  SummaryEncoder(Signal signal, const arrow::RecordBatch& batch);
  Status Encode(int64_t row, wire::ProtobufWriter* writer) const;

 private:
  PointEncoder point_;
  NumberView<uint64_t> count_;
  NumberView<double> sum_;
  ListView quantile_values_;
  NumberView<double> quantile_, value_;
};

}  // namespace sheaf::decode
