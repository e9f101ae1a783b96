#include "decode/record_encoders.h"

#include <bit>

#include "decode/dictionary_column.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufWriter;

const arrow::Array& ColumnOf(const arrow::RecordBatch& batch, const char* name) { return *batch.GetColumnByName(name); }

// proto3 leaves out what has its default.
void PutBytes(uint32_t field, std::string_view bytes, ProtobufWriter* writer) {
  if (!bytes.empty()) writer->Bytes(field, bytes);
}
void PutVarint(uint32_t field, uint64_t value, ProtobufWriter* writer) {
  if (value != 0) writer->Varint(field, value);
}
void PutInt32(uint32_t field, int32_t value, ProtobufWriter* writer) {
  if (value != 0) writer->Int32(field, value);
}
void PutSInt32(uint32_t field, int32_t value, ProtobufWriter* writer) {
  if (value != 0) writer->SInt32(field, value);
}
void PutFixed64(uint32_t field, uint64_t value, ProtobufWriter* writer) {
  if (value != 0) writer->Fixed64(field, value);
}
void PutFixed32(uint32_t field, uint32_t value, ProtobufWriter* writer) {
  if (value != 0) writer->Fixed32(field, value);
}
/// Negative zero is not the default.
void PutDouble(uint32_t field, double value, ProtobufWriter* writer) { PutFixed64(field, std::bit_cast<uint64_t>(value), writer); }
void PutOptional(uint32_t field, const std::optional<double>& value, ProtobufWriter* writer) {
  if (value) writer->Double(field, *value);
}

Status PutEnum(uint32_t field, const EnumNames& names, std::string_view text, ProtobufWriter* writer) {
  int32_t number = 0;
  if (!names.Parse(text, &number)) return MakeError(ErrorKind::kInvalid, "'{}' is neither an enum's name nor a number", text);
  PutInt32(field, number, writer);
  return Status::OK();
}

void PutAnyValue(const AttributeValue& value, ProtobufWriter* writer) {
  const auto field = static_cast<uint32_t>(value.type);
  switch (value.type) {
    case ValueType::kEmpty:
      return;
    case ValueType::kBool:
    case ValueType::kInt:
      writer->Varint(field, static_cast<uint64_t>(value.num));
      return;
    case ValueType::kDouble:
      writer->Fixed64(field, static_cast<uint64_t>(value.num));
      return;
    default:
      writer->Bytes(field, value.val);
  }
}

void PutAttributes(const AttributesView& attributes, int64_t row, uint32_t field, ProtobufWriter* writer) {
  for (int64_t i = attributes.begin(row); i < attributes.end(row); ++i) {
    const Attribute attribute = attributes.item(i);
    const size_t mark = writer->Open(field);
    PutBytes(1, attribute.key, writer);
    const size_t value_mark = writer->Open(2);
    PutAnyValue(attribute.value, writer);
    writer->Close(value_mark);
    writer->Close(mark);
  }
}

/// An integer where one was sent, a double where one was, or neither.
void PutNumber(uint32_t double_field, uint32_t int_field, const NumberView<double>& value, const NumberView<int64_t>& value_int,
               int64_t row, ProtobufWriter* writer) {
  if (const auto number = value_int.get(row)) {
    writer->Fixed64(int_field, static_cast<uint64_t>(*number));
  } else {
    PutOptional(double_field, value.get(row), writer);
  }
}

void PutPackedFixed64(uint32_t field, const ListView& list, const NumberView<uint64_t>& values, int64_t row, ProtobufWriter* writer) {
  if (list.begin(row) == list.end(row)) return;
  const size_t mark = writer->Open(field);
  for (int64_t i = list.begin(row); i < list.end(row); ++i) writer->RawFixed64(values[i]);
  writer->Close(mark);
}

}  // namespace

SpanEncoder::SpanEncoder(Signal, const arrow::RecordBatch& batch)
    : trace_id_(ColumnOf(batch, "trace_id")),
      span_id_(ColumnOf(batch, "span_id")),
      parent_span_id_(ColumnOf(batch, "parent_span_id")),
      trace_state_(ColumnOf(batch, "trace_state")),
      status_message_(ColumnOf(batch, "status_message")),
      flags_(ColumnOf(batch, "flags")),
      dropped_attributes_(ColumnOf(batch, "dropped_attributes_count")),
      dropped_events_(ColumnOf(batch, "dropped_events_count")),
      dropped_links_(ColumnOf(batch, "dropped_links_count")),
      name_(ColumnOf(batch, "name")),
      kind_(ColumnOf(batch, "kind")),
      status_code_(ColumnOf(batch, "status_code")),
      start_time_(ColumnOf(batch, "start_time")),
      end_time_(ColumnOf(batch, "end_time")),
      has_status_(ColumnOf(batch, "has_status")),
      attributes_(ColumnOf(batch, "attributes")),
      events_(ColumnOf(batch, "events")),
      links_(ColumnOf(batch, "links")),
      event_time_(events_.field(0)),
      event_name_(events_.field(1)),
      event_attributes_(events_.field(2)),
      event_dropped_(events_.field(3)),
      link_trace_id_(links_.field(0)),
      link_span_id_(links_.field(1)),
      link_trace_state_(links_.field(2)),
      link_flags_(links_.field(3)),
      link_dropped_(links_.field(5)),
      link_attributes_(links_.field(4)) {}

Status SpanEncoder::Encode(int64_t row, ProtobufWriter* writer) const {
  writer->Bytes(1, trace_id_[row]);
  writer->Bytes(2, span_id_[row]);
  PutBytes(3, trace_state_[row].value_or(""), writer);
  PutBytes(4, parent_span_id_[row], writer);
  PutBytes(5, name_[row], writer);
  SHEAF_RETURN_NOT_OK(PutEnum(6, SpanKindNames(), kind_[row], writer));
  PutFixed64(7, start_time_[row], writer);
  PutFixed64(8, end_time_[row], writer);
  PutAttributes(attributes_, row, 9, writer);
  PutVarint(10, dropped_attributes_[row], writer);
  EncodeEvents(row, writer);
  PutVarint(12, dropped_events_[row], writer);
  EncodeLinks(row, writer);
  PutVarint(14, dropped_links_[row], writer);
  if (has_status_[row]) {
    const size_t mark = writer->Open(15);
    PutBytes(2, status_message_[row].value_or(""), writer);
    SHEAF_RETURN_NOT_OK(PutEnum(3, StatusCodeNames(), status_code_[row], writer));
    writer->Close(mark);
  }
  PutFixed32(16, flags_[row], writer);
  return Status::OK();
}

void SpanEncoder::EncodeEvents(int64_t row, ProtobufWriter* writer) const {
  for (int64_t i = events_.begin(row); i < events_.end(row); ++i) {
    const size_t mark = writer->Open(11);
    PutFixed64(1, event_time_[i], writer);
    PutBytes(2, event_name_[i], writer);
    PutAttributes(event_attributes_, i, 3, writer);
    PutVarint(4, event_dropped_[i], writer);
    writer->Close(mark);
  }
}

void SpanEncoder::EncodeLinks(int64_t row, ProtobufWriter* writer) const {
  for (int64_t i = links_.begin(row); i < links_.end(row); ++i) {
    const size_t mark = writer->Open(13);
    writer->Bytes(1, link_trace_id_[i]);
    writer->Bytes(2, link_span_id_[i]);
    PutBytes(3, link_trace_state_[i].value_or(""), writer);
    PutAttributes(link_attributes_, i, 4, writer);
    PutVarint(5, link_dropped_[i], writer);
    PutFixed32(6, link_flags_[i], writer);
    writer->Close(mark);
  }
}

LogEncoder::LogEncoder(Signal, const arrow::RecordBatch& batch)
    : time_(ColumnOf(batch, "time")),
      observed_time_(ColumnOf(batch, "observed_time")),
      trace_id_(ColumnOf(batch, "trace_id")),
      span_id_(ColumnOf(batch, "span_id")),
      flags_(ColumnOf(batch, "flags")),
      dropped_attributes_(ColumnOf(batch, "dropped_attributes_count")),
      severity_number_(ColumnOf(batch, "severity_number")),
      severity_text_(ColumnOf(batch, "severity_text")),
      event_name_(ColumnOf(batch, "event_name")),
      body_(ColumnOf(batch, "body")),
      body_value_(ColumnOf(batch, "body_value")),
      attributes_(ColumnOf(batch, "attributes")) {}

Status LogEncoder::Encode(int64_t row, ProtobufWriter* writer) const {
  PutFixed64(1, time_[row], writer);
  PutInt32(2, severity_number_[row], writer);
  PutBytes(3, severity_text_[row], writer);
  if (const auto value = body_value_[row]) {
    writer->Bytes(5, *value);
  } else if (const auto text = body_[row]) {
    const size_t mark = writer->Open(5);
    writer->Bytes(1, *text);
    writer->Close(mark);
  }
  PutAttributes(attributes_, row, 6, writer);
  PutVarint(7, dropped_attributes_[row], writer);
  PutFixed32(8, flags_[row], writer);
  PutBytes(9, trace_id_[row], writer);
  PutBytes(10, span_id_[row], writer);
  PutFixed64(11, observed_time_[row], writer);
  PutBytes(12, event_name_[row], writer);
  return Status::OK();
}

PointEncoder::PointEncoder(Signal signal, const arrow::RecordBatch& batch)
    : time_(ColumnOf(batch, "time")),
      start_time_(ColumnOf(batch, "start_time")),
      flags_(ColumnOf(batch, "flags")),
      attributes_(ColumnOf(batch, "attributes")) {
  if (signal == Signal::kSummary) return;
  exemplars_ = ListView(ColumnOf(batch, "exemplars"));
  exemplar_time_ = NumberView<uint64_t>(exemplars_.field(0));
  exemplar_value_ = NumberView<double>(exemplars_.field(1));
  exemplar_value_int_ = NumberView<int64_t>(exemplars_.field(2));
  exemplar_trace_id_ = IdView(exemplars_.field(3));
  exemplar_span_id_ = IdView(exemplars_.field(4));
  exemplar_attributes_ = AttributesView(exemplars_.field(5));
}

void PointEncoder::EncodeTimes(int64_t row, ProtobufWriter* writer) const {
  PutFixed64(2, start_time_[row], writer);
  PutFixed64(3, time_[row], writer);
}

void PointEncoder::EncodeAttributes(int64_t row, uint32_t field, ProtobufWriter* writer) const {
  PutAttributes(attributes_, row, field, writer);
}

void PointEncoder::EncodeFlags(int64_t row, uint32_t field, ProtobufWriter* writer) const { PutVarint(field, flags_[row], writer); }

void PointEncoder::EncodeExemplars(int64_t row, uint32_t field, ProtobufWriter* writer) const {
  for (int64_t i = exemplars_.begin(row); i < exemplars_.end(row); ++i) {
    const size_t mark = writer->Open(field);
    PutFixed64(2, exemplar_time_[i], writer);
    PutNumber(3, 6, exemplar_value_, exemplar_value_int_, i, writer);
    PutBytes(4, exemplar_span_id_[i], writer);
    PutBytes(5, exemplar_trace_id_[i], writer);
    PutAttributes(exemplar_attributes_, i, 7, writer);
    writer->Close(mark);
  }
}

NumberEncoder::NumberEncoder(Signal signal, const arrow::RecordBatch& batch)
    : point_(signal, batch), value_(ColumnOf(batch, "value")), value_int_(ColumnOf(batch, "value_int")) {}

Status NumberEncoder::Encode(int64_t row, ProtobufWriter* writer) const {
  point_.EncodeTimes(row, writer);
  PutNumber(4, 6, value_, value_int_, row, writer);
  point_.EncodeExemplars(row, 5, writer);
  point_.EncodeAttributes(row, 7, writer);
  point_.EncodeFlags(row, 8, writer);
  return Status::OK();
}

HistogramEncoder::HistogramEncoder(Signal signal, const arrow::RecordBatch& batch)
    : point_(signal, batch),
      count_(ColumnOf(batch, "count")),
      sum_(ColumnOf(batch, "sum")),
      min_(ColumnOf(batch, "min")),
      max_(ColumnOf(batch, "max")),
      bucket_counts_(ColumnOf(batch, "bucket_counts")),
      explicit_bounds_(ColumnOf(batch, "explicit_bounds")),
      bucket_count_(bucket_counts_.items()),
      bound_bits_(explicit_bounds_.items()) {}

Status HistogramEncoder::Encode(int64_t row, ProtobufWriter* writer) const {
  point_.EncodeTimes(row, writer);
  PutFixed64(4, count_[row], writer);
  PutOptional(5, sum_.get(row), writer);
  PutPackedFixed64(6, bucket_counts_, bucket_count_, row, writer);
  PutPackedFixed64(7, explicit_bounds_, bound_bits_, row, writer);
  point_.EncodeExemplars(row, 8, writer);
  point_.EncodeAttributes(row, 9, writer);
  point_.EncodeFlags(row, 10, writer);
  PutOptional(11, min_.get(row), writer);
  PutOptional(12, max_.get(row), writer);
  return Status::OK();
}

ExponentialHistogramEncoder::ExponentialHistogramEncoder(Signal signal, const arrow::RecordBatch& batch)
    : point_(signal, batch),
      count_(ColumnOf(batch, "count")),
      zero_count_(ColumnOf(batch, "zero_count")),
      sum_(ColumnOf(batch, "sum")),
      min_(ColumnOf(batch, "min")),
      max_(ColumnOf(batch, "max")),
      zero_threshold_(ColumnOf(batch, "zero_threshold")),
      scale_(ColumnOf(batch, "scale")) {
  const auto side = [&](const char* present, const char* offset, const char* counts) {
    const ListView list(ColumnOf(batch, counts));
    return Buckets{BoolView(ColumnOf(batch, present)), NumberView<int32_t>(ColumnOf(batch, offset)), list,
                   NumberView<uint64_t>(list.items())};
  };
  positive_ = side("has_positive", "positive_offset", "positive_bucket_counts");
  negative_ = side("has_negative", "negative_offset", "negative_bucket_counts");
}

void ExponentialHistogramEncoder::Buckets::Encode(int64_t row, uint32_t field, ProtobufWriter* writer) const {
  if (!present[row]) return;
  const size_t mark = writer->Open(field);
  PutSInt32(1, offset[row], writer);
  if (counts.begin(row) != counts.end(row)) {
    const size_t run = writer->Open(2);
    for (int64_t i = counts.begin(row); i < counts.end(row); ++i) writer->RawVarint(count[i]);
    writer->Close(run);
  }
  writer->Close(mark);
}

Status ExponentialHistogramEncoder::Encode(int64_t row, ProtobufWriter* writer) const {
  point_.EncodeAttributes(row, 1, writer);
  point_.EncodeTimes(row, writer);
  PutFixed64(4, count_[row], writer);
  PutOptional(5, sum_.get(row), writer);
  PutSInt32(6, scale_[row], writer);
  PutFixed64(7, zero_count_[row], writer);
  positive_.Encode(row, 8, writer);
  negative_.Encode(row, 9, writer);
  point_.EncodeFlags(row, 10, writer);
  point_.EncodeExemplars(row, 11, writer);
  PutOptional(12, min_.get(row), writer);
  PutOptional(13, max_.get(row), writer);
  PutDouble(14, zero_threshold_[row], writer);
  return Status::OK();
}

SummaryEncoder::SummaryEncoder(Signal signal, const arrow::RecordBatch& batch)
    : point_(signal, batch),
      count_(ColumnOf(batch, "count")),
      sum_(ColumnOf(batch, "sum")),
      quantile_values_(ColumnOf(batch, "quantile_values")),
      quantile_(quantile_values_.field(0)),
      value_(quantile_values_.field(1)) {}

Status SummaryEncoder::Encode(int64_t row, ProtobufWriter* writer) const {
  point_.EncodeTimes(row, writer);
  PutFixed64(4, count_[row], writer);
  PutDouble(5, sum_[row], writer);
  for (int64_t i = quantile_values_.begin(row); i < quantile_values_.end(row); ++i) {
    const size_t mark = writer->Open(6);
    PutDouble(1, quantile_[i], writer);
    PutDouble(2, value_[i], writer);
    writer->Close(mark);
  }
  point_.EncodeAttributes(row, 7, writer);
  point_.EncodeFlags(row, 8, writer);
  return Status::OK();
}

}  // namespace sheaf::decode
