#include "decode/log_decoder.h"

#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

constexpr int64_t kRowsMin = 256, kTextBytesMin = 4096;

}  // namespace

struct LogDecoder::Fields {
  std::string_view trace_id, span_id, severity_text, event_name, body;
  uint64_t time = 0, observed_time = 0;
  uint32_t flags = 0, dropped_attributes = 0;
  int32_t severity_number = 0;
  bool has_body = false;
};

void LogDecoder::Start(RequestMemory* memory) {
  memory_ = memory;
  const int64_t rows = std::max(kRowsMin, time_.capacity());
  rows_ = bodies_ = body_values_ = 0;
  time_.Start(memory, rows);
  observed_time_.Start(memory, rows);
  trace_id_.Start(memory, rows);
  span_id_.Start(memory, rows);
  flags_.Start(memory, rows);
  dropped_attributes_.Start(memory, rows);
  severity_number_.Start(memory, rows);
  severity_text_.Start(memory, rows);
  event_name_.Start(memory, rows);
  body_.Start(memory, rows, kTextBytesMin);
  body_value_.Start(memory, rows, kTextBytesMin);
  has_body_.Start(memory, rows);
  has_body_value_.Start(memory, rows);
  attributes_.Start(memory, rows);
  envelopes_.Start(memory, rows);
  original_.Start(memory, rows);
  rows_capacity_ = rows;
}

void LogDecoder::GrowRows() {
  const int64_t rows = rows_capacity_ * 2;
  time_.Reserve(rows);
  observed_time_.Reserve(rows);
  trace_id_.Reserve(rows);
  span_id_.Reserve(rows);
  flags_.Reserve(rows);
  dropped_attributes_.Reserve(rows);
  severity_number_.Reserve(rows);
  severity_text_.Reserve(rows);
  event_name_.Reserve(rows);
  body_.Reserve(rows);
  body_value_.Reserve(rows);
  has_body_.Reserve(rows);
  has_body_value_.Reserve(rows);
  attributes_.ReserveRows(rows);
  original_.Reserve(rows);
  rows_capacity_ = rows;
}

bool LogDecoder::Record(std::string_view message, const Envelopes& envelopes, RequestContext* context) {
  if (!context->CountRecord()) return false;
  if (rows_ == rows_capacity_) [[unlikely]] GrowRows();
  context->odd = false;
  attributes_.BeginRow();
  const int64_t attributes_before = attributes_.size();
  Fields f;
  if (!ReadRecord(message, context, &f)) return false;
  if (!context->CheckAttributes(attributes_.size() - attributes_before)) return false;

  const int64_t row = rows_;
  envelopes_.Enter(envelopes, row, context);
  if (!StoreBody(f, context)) return false;
  time_[row] = f.time;
  observed_time_[row] = f.observed_time;
  trace_id_.Put(row, f.trace_id, context);
  span_id_.Put(row, f.span_id, context);
  flags_[row] = f.flags;
  severity_number_[row] = f.severity_number;
  severity_text_.Put(row, f.severity_text, context);
  event_name_.Put(row, f.event_name, context);
  attributes_.EndRow(row);
  dropped_attributes_[row] = f.dropped_attributes;
  original_.Put(row, message, context->odd);
  ++rows_;
  return true;
}

bool LogDecoder::ReadRecord(std::string_view message, RequestContext* context, Fields* f) {
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kFixed64):
        f->time = reader.Fixed64();
        break;
      case Tag(2, WireType::kVarint):
        f->severity_number = static_cast<int32_t>(reader.Varint());
        break;
      case Tag(3, WireType::kBytes):
        f->severity_text = reader.Bytes();
        break;
      case Tag(5, WireType::kBytes):
        Merge(reader.Bytes(), &f->has_body, &f->body, context);
        break;
      case Tag(6, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !attributes_.Add(bytes, context)) return false;
        break;
      case Tag(7, WireType::kVarint):
        f->dropped_attributes = static_cast<uint32_t>(reader.Varint());
        break;
      case Tag(8, WireType::kFixed32):
        f->flags = reader.Fixed32();
        break;
      case Tag(9, WireType::kBytes):
        f->trace_id = reader.Bytes();
        break;
      case Tag(10, WireType::kBytes):
        f->span_id = reader.Bytes();
        break;
      case Tag(11, WireType::kFixed64):
        f->observed_time = reader.Fixed64();
        break;
      case Tag(12, WireType::kBytes):
        f->event_name = reader.Bytes();
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  return reader.ok() || context->Malformed(reader.position(), "LogRecord");
}

bool LogDecoder::StoreBody(const Fields& f, RequestContext* context) {
  AttributeValue value;
  if (f.has_body && !ReadAnyValue(f.body, 1, context, &value)) return false;
  const int64_t row = rows_;
  const bool is_text = value.type == ValueType::kString;
  bool has_text = is_text;
  if (is_text) {
    body_.Put(row, value.val, context->readable_end);
  } else {
    body_text_.clear();
    has_text = AppendChargedText(value, context, &body_text_);
    body_.Put(row, body_text_, 0);
  }
  has_body_.Set(row, has_text);
  bodies_ += has_text;
  const bool has_value = f.has_body && !is_text;
  body_value_.Put(row, has_value ? f.body : std::string_view(), 0);
  has_body_value_.Set(row, has_value);
  body_values_ += has_value;
  return true;
}

std::shared_ptr<arrow::RecordBatch> LogDecoder::Finish() {
  const auto& schema = SignalSchema(Signal::kLogs);
  envelopes_.Fill(rows_);
  std::vector<ArrayDataPtr> columns;
  columns.reserve(static_cast<size_t>(schema->num_fields()));
  const auto next_type = [&]() -> const TypePtr& { return schema->field(static_cast<int>(columns.size()))->type(); };
  const int64_t n = rows_;
  columns.push_back(MakeArray(next_type(), n, time_.View(n)));
  columns.push_back(MakeArray(next_type(), n, observed_time_.View(n)));
  columns.push_back(trace_id_.Finish(next_type(), n));
  columns.push_back(span_id_.Finish(next_type(), n));
  columns.push_back(MakeArray(next_type(), n, flags_.View(n)));
  columns.push_back(MakeArray(next_type(), n, severity_number_.View(n)));
  columns.push_back(severity_text_.Finish(next_type(), n));
  columns.push_back(event_name_.Finish(next_type(), n));
  columns.push_back(MakeArray(next_type(), n, body_, has_body_, n - bodies_));
  columns.push_back(MakeArray(next_type(), n, body_value_, has_body_value_, n - body_values_));
  columns.push_back(envelopes_.FinishService(next_type(), n));
  columns.push_back(attributes_.Finish(next_type(), n));
  columns.push_back(MakeArray(next_type(), n, dropped_attributes_.View(n)));
  columns.push_back(envelopes_.FinishResource(next_type(), n));
  columns.push_back(envelopes_.FinishScope(next_type(), n));
  columns.push_back(original_.Finish(next_type(), n));
  return arrow::RecordBatch::Make(schema, n, std::move(columns));
}

void LogDecoder::Trim(int64_t bytes_max) {
  time_.Trim(bytes_max);
  observed_time_.Trim(bytes_max);
  trace_id_.Trim(bytes_max);
  span_id_.Trim(bytes_max);
  flags_.Trim(bytes_max);
  dropped_attributes_.Trim(bytes_max);
  severity_number_.Trim(bytes_max);
  severity_text_.Trim(bytes_max);
  event_name_.Trim(bytes_max);
  body_.Trim(bytes_max);
  body_value_.Trim(bytes_max);
  has_body_.Trim(bytes_max);
  has_body_value_.Trim(bytes_max);
  attributes_.Trim(bytes_max);
  envelopes_.Trim(bytes_max);
  original_.Trim(bytes_max);
  if (memory_ != nullptr && static_cast<int64_t>(body_text_.capacity()) > bytes_max) memory_->Forget(&body_text_);
}

}  // namespace sheaf::decode
