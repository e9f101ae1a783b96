#include "decode/point_columns.h"

#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

constexpr int64_t kRowsMin = 64, kNestedMin = 32;

}  // namespace

void NumberListColumn::Start(RequestMemory* memory, int64_t rows) {
  offsets_.Start(memory, rows + 1);
  values_.Start(memory, std::max(kNestedMin, values_.capacity()));
  size_ = 0;
  offsets_[0] = 0;
}

void NumberListColumn::Grow(int64_t wanted) {
  CheckOffset(wanted);
  values_.Reserve(wanted);
}

bool NumberListColumn::AppendFixed(std::string_view run, RequestContext* context) {
  if (run.size() % 8 != 0) return context->Malformed(run.data(), "packed 64-bit numbers of a broken length");
  const auto n = static_cast<int64_t>(run.size() / 8);
  if (size_ + n > values_.capacity()) Grow(size_ + n);
  if (n > 0) std::memcpy(values_.data() + size_, run.data(), run.size());
  size_ += n;
  return true;
}

bool NumberListColumn::AppendVarints(std::string_view run, RequestContext* context) {
  wire::PackedReader reader(run);
  uint64_t value;
  while (reader.NextVarint(&value)) Append(value);
  return reader.ok() || context->Malformed(reader.position(), "packed numbers");
}

void ExemplarColumn::Start(RequestMemory* memory, int64_t rows) {
  const int64_t exemplars = std::max(kNestedMin, time_.capacity());
  offsets_.Start(memory, rows + 1);
  offsets_[0] = 0;
  size_ = 0;
  time_.Start(memory, exemplars);
  value_.Start(memory, exemplars);
  value_int_.Start(memory, exemplars);
  trace_id_.Start(memory, exemplars);
  span_id_.Start(memory, exemplars);
  attributes_.Start(memory, exemplars);
  capacity_ = exemplars;
}

void ExemplarColumn::Grow() {
  const int64_t exemplars = capacity_ * 2;
  CheckOffset(exemplars);
  time_.Reserve(exemplars);
  value_.Reserve(exemplars);
  value_int_.Reserve(exemplars);
  trace_id_.Reserve(exemplars);
  span_id_.Reserve(exemplars);
  attributes_.ReserveRows(exemplars);
  capacity_ = exemplars;
}

bool ExemplarColumn::Add(std::string_view message, RequestContext* context) {
  if (size_ == capacity_) [[unlikely]] Grow();
  attributes_.BeginRow();
  uint64_t time = 0;
  NumberValue number;
  std::string_view trace_id, span_id;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(2, WireType::kFixed64):
        time = reader.Fixed64();
        break;
      case Tag(3, WireType::kFixed64):
        number.SetDouble(reader.Double());
        break;
      case Tag(4, WireType::kBytes):
        span_id = reader.Bytes();
        break;
      case Tag(5, WireType::kBytes):
        trace_id = reader.Bytes();
        break;
      case Tag(6, WireType::kFixed64):
        number.SetInt(static_cast<int64_t>(reader.Fixed64()));
        break;
      case Tag(7, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !attributes_.Add(bytes, context)) return false;
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "Exemplar");
  time_[size_] = time;
  value_.Put(size_, number.value);
  value_int_.Put(size_, number.value_int);
  trace_id_.Put(size_, trace_id, context);
  span_id_.Put(size_, span_id, context);
  attributes_.EndRow(size_);
  ++size_;
  return true;
}

ArrayDataPtr ExemplarColumn::Finish(const TypePtr& type, int64_t rows) const {
  const int64_t n = size_;
  return MakeList(type, rows, offsets_,
                  MakeStruct(ItemType(type), n,
                             {MakeArray(FieldType(type, 0), n, time_.View(n)), value_.Finish(FieldType(type, 1), n),
                              value_int_.Finish(FieldType(type, 2), n), trace_id_.Finish(FieldType(type, 3), n),
                              span_id_.Finish(FieldType(type, 4), n), attributes_.Finish(FieldType(type, 5), n)}));
}

void ExemplarColumn::Trim(int64_t bytes_max) {
  offsets_.Trim(bytes_max);
  time_.Trim(bytes_max);
  value_.Trim(bytes_max);
  value_int_.Trim(bytes_max);
  trace_id_.Trim(bytes_max);
  span_id_.Trim(bytes_max);
  attributes_.Trim(bytes_max);
}

void PointColumns::Start(RequestMemory* memory) {
  const int64_t rows = std::max(kRowsMin, time_.capacity());
  rows_ = metrics_filled_ = 0;
  serial_ = 0;
  for (RunColumn* column : {&metric_name_, &unit_, &metric_}) column->Start(memory, rows);
  time_.Start(memory, rows);
  start_time_.Start(memory, rows);
  flags_.Start(memory, rows);
  attributes_.Start(memory, rows);
  exemplars_.Start(memory, rows);
  envelopes_.Start(memory, rows);
  original_.Start(memory, rows);
  rows_capacity_ = rows;
}

bool PointColumns::Grow() {
  if (rows_ < rows_capacity_) return false;
  const int64_t rows = rows_capacity_ * 2;
  time_.Reserve(rows);
  start_time_.Reserve(rows);
  flags_.Reserve(rows);
  attributes_.ReserveRows(rows);
  exemplars_.ReserveRows(rows);
  original_.Reserve(rows);
  rows_capacity_ = rows;
  return true;
}

bool PointColumns::Begin(const Envelopes& envelopes, RequestContext* context) {
  if (!context->CountRecord()) return false;
  context->odd = false;
  attributes_.BeginRow();
  attributes_before_ = attributes_.size() + exemplars_.attributes();
  time = start_time = 0;
  flags = 0;
  if (envelopes.serial != serial_) EnterMetric(envelopes, context);
  return true;
}

void PointColumns::EnterMetric(const Envelopes& envelopes, RequestContext* context) {
  envelopes_.Enter(envelopes, rows_, context);
  for (RunColumn* column : {&metric_name_, &unit_, &metric_}) column->Fill(metrics_filled_, rows_);
  metrics_filled_ = rows_;
  serial_ = envelopes.serial;
  const auto text = [&](std::string_view raw) { return IsUtf8(raw) ? raw : context->Repaired(raw); };
  metric_name_.Set(text(envelopes.metric_name));
  unit_.Set(text(envelopes.unit));
  metric_.Set(envelopes.metric);
}

bool PointColumns::End(std::string_view message, RequestContext* context) {
  if (!context->CheckAttributes(attributes_.size() + exemplars_.attributes() - attributes_before_)) return false;
  time_[rows_] = time;
  start_time_[rows_] = start_time;
  flags_[rows_] = flags;
  attributes_.EndRow(rows_);
  exemplars_.EndRow(rows_);
  original_.Put(rows_, message, context->odd);
  ++rows_;
  return true;
}

void PointColumns::Finish(const arrow::Schema& schema, bool with_exemplars, std::vector<ArrayDataPtr>* columns) {
  const int64_t n = rows_;
  envelopes_.Fill(n);
  for (RunColumn* column : {&metric_name_, &unit_, &metric_}) column->Fill(metrics_filled_, n);
  metrics_filled_ = n;
  const auto next_type = [&]() -> const TypePtr& { return schema.field(static_cast<int>(columns->size()))->type(); };
  columns->push_back(metric_name_.Finish(next_type(), n));
  columns->push_back(unit_.Finish(next_type(), n));
  columns->push_back(MakeArray(next_type(), n, time_.View(n)));
  columns->push_back(MakeArray(next_type(), n, start_time_.View(n)));
  columns->push_back(MakeArray(next_type(), n, flags_.View(n)));
  columns->push_back(envelopes_.FinishService(next_type(), n));
  columns->push_back(attributes_.Finish(next_type(), n));
  if (with_exemplars) columns->push_back(exemplars_.Finish(next_type(), n));
  columns->push_back(envelopes_.FinishResource(next_type(), n));
  columns->push_back(envelopes_.FinishScope(next_type(), n));
  columns->push_back(metric_.Finish(next_type(), n));
  columns->push_back(original_.Finish(next_type(), n));
}

void PointColumns::Trim(int64_t bytes_max) {
  for (RunColumn* column : {&metric_name_, &unit_, &metric_}) column->Trim(bytes_max);
  time_.Trim(bytes_max);
  start_time_.Trim(bytes_max);
  flags_.Trim(bytes_max);
  attributes_.Trim(bytes_max);
  exemplars_.Trim(bytes_max);
  envelopes_.Trim(bytes_max);
  original_.Trim(bytes_max);
}

}  // namespace sheaf::decode
