#include "span_columns.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "../must.h"
#include "decode/attributes.h"
#include "decode/schemas.h"
#include "wire/protobuf_writer.h"

namespace sheaf::bench {
namespace {

using decode::ArrayDataPtr;
using decode::FieldType;
using decode::ItemType;
using decode::MakeArray;
using decode::MakeList;
using decode::MakeStruct;
using decode::TypePtr;
using decode::ValueType;
using wire::ProtobufWriter;

constexpr int64_t kTextBytes = 4096, kItemsMin = 64;  // Of a column to begin with.

void WriteAttribute(ProtobufWriter* writer, std::string_view key, std::string_view value) {
  const size_t pair = writer->Open(1);
  writer->Bytes(1, key);
  const size_t any = writer->Open(2);
  writer->Bytes(1, value);
  writer->Close(any);
  writer->Close(pair);
}

}  // namespace

void AttributeLists::Start(decode::RequestMemory* memory, int64_t rows) {
  const int64_t items = std::max(kItemsMin, types_.capacity());
  keys_.Start(memory);
  offsets_.Start(memory, rows + 1);
  numbers_.Start(memory, items);
  types_.Start(memory, items);
  nums_.Start(memory, items);
  vals_.Start(memory, items, kTextBytes);
  offsets_[0] = 0;
  size_ = 0;
  expected_.clear();
}

void AttributeLists::Grow(int64_t items) {
  items = std::max(items, types_.capacity() * 2);
  numbers_.Reserve(items);
  types_.Reserve(items);
  nums_.Reserve(items);
  vals_.Reserve(items);
}

int32_t AttributeLists::KeyNumber(size_t place, std::string_view key) {
  if (place < expected_.size() && expected_[place].key == key) return expected_[place].number;
  if (place >= expected_.size()) expected_.resize(place + 1);
  expected_[place] = {key, keys_.Id(key)};
  return expected_[place].number;
}

void AttributeLists::AddRow(int64_t row, const std::vector<AttributeRow>& attributes) {
  // The types' memory is the first to be full: the others were given as much, of wider values.
  if (size_ + std::ssize(attributes) > types_.capacity()) Grow(size_ + std::ssize(attributes));
  for (size_t place = 0; place < attributes.size(); ++place, ++size_) {
    const auto& [key, value] = attributes[place];
    numbers_[size_] = KeyNumber(place, key);
    if (const auto* text = std::get_if<std::string>(&value)) {
      types_[size_] = static_cast<uint8_t>(ValueType::kString);
      nums_[size_] = 0;
      vals_.Put(size_, *text, 0);
      continue;
    }
    const auto* number = std::get_if<int64_t>(&value);
    types_[size_] = static_cast<uint8_t>(number != nullptr ? ValueType::kInt : ValueType::kDouble);
    nums_[size_] = number != nullptr ? *number : std::bit_cast<int64_t>(std::get<double>(value));
    vals_.PutNone(size_);
  }
  offsets_[row + 1] = static_cast<int32_t>(size_);
}

ArrayDataPtr AttributeLists::Finish(const TypePtr& type, int64_t rows) const {
  const int64_t n = size_;
  return MakeList(
      type, rows, offsets_,
      MakeStruct(ItemType(type), n,
                 {keys_.MakeColumn(FieldType(type, 0), n, numbers_.View(n)), MakeArray(FieldType(type, 1), n, types_.View(n)),
                  MakeArray(FieldType(type, 2), n, nums_.View(n)), MakeArray(FieldType(type, 3), n, vals_)}));
}

SpanColumns::SpanColumns()
    : memory_(arrow::default_memory_pool()), kind_(decode::SpanKindNames()), status_code_(decode::StatusCodeNames()) {
  memory_.set_bytes_max(int64_t{1} << 30);
}

void SpanColumns::Start(const RequestRows& rows) {
  int64_t spans = 0;
  for (const ServiceRows& service : rows) spans += std::ssize(service.spans);
  const int64_t events = std::max(kItemsMin, event_time_.capacity()), links = std::max(kItemsMin, link_trace_id_.capacity());
  rows_ = roots_ = events_ = links_ = 0;
  decode::RequestMemory* const memory = &memory_;
  trace_id_.Start(memory, spans);
  span_id_.Start(memory, spans);
  parent_span_id_.Start(memory, spans);
  has_parent_.Start(memory, spans);
  has_status_.Start(memory, spans);
  status_message_.Start(memory, spans, kTextBytes);
  names_.Start(memory);
  name_.Start(memory, spans);
  kind_.Start(memory, spans);
  status_code_.Start(memory, spans);
  for (decode::Column<uint64_t>* column : {&start_, &end_, &duration_}) column->Start(memory, spans);
  attributes_.Start(memory, spans);
  for (decode::RunColumn* column : {&service_, &resource_, &scope_}) column->Start(memory, spans);
  event_offsets_.Start(memory, spans + 1);
  event_time_.Start(memory, events);
  event_names_.Start(memory);
  event_name_.Start(memory, events);
  event_attributes_.Start(memory, events);
  link_offsets_.Start(memory, spans + 1);
  link_trace_id_.Start(memory, links);
  link_span_id_.Start(memory, links);
  link_attributes_.Start(memory, links);
  event_offsets_[0] = link_offsets_[0] = 0;
}

void SpanColumns::EnterService(const ServiceRows& service) {
  envelope_.clear();
  ProtobufWriter writer(&envelope_);
  const size_t resource = writer.Open(1);
  WriteAttribute(&writer, "service.name", service.name);
  for (const AttributeRow& row : service.resource) WriteAttribute(&writer, row.key, std::get<std::string>(row.value));
  writer.Close(resource);
  resource_.Set(envelope_);
  envelope_.clear();
  if (!service.scope_name.empty()) {
    const size_t scope = writer.Open(1);
    writer.Bytes(1, service.scope_name);
    writer.Bytes(2, service.scope_version);
    writer.Close(scope);
  }
  scope_.Set(envelope_);
  service_.Set(service.name);
}

void SpanColumns::AddSpan(const SpanRow& span) {
  const int64_t row = rows_++;
  trace_id_[row] = span.trace_id;
  span_id_[row] = span.span_id;
  parent_span_id_[row] = span.parent_span_id;
  const bool has_parent = span.parent_span_id != SpanIdRow{};
  has_parent_.Set(row, has_parent);
  roots_ += !has_parent;
  name_[row] = names_.Id(span.name);
  kind_.Put(row, span.kind);
  start_[row] = span.start_ns;
  end_[row] = span.end_ns;
  duration_[row] = span.end_ns - span.start_ns;
  status_code_.Put(row, span.status_code);
  status_message_.Put(row, span.status_message, 0);
  has_status_.Set(row, span.status_code != 0 || !span.status_message.empty());
  attributes_.AddRow(row, span.attributes);
  if (!span.events.empty()) AddEvents(span);
  if (!span.links.empty()) AddLinks(span);
  event_offsets_[row + 1] = static_cast<int32_t>(events_);
  link_offsets_[row + 1] = static_cast<int32_t>(links_);
}

void SpanColumns::AddEvents(const SpanRow& span) {
  const int64_t events = events_ + std::ssize(span.events);
  if (events > event_time_.capacity()) {
    event_time_.Reserve(events * 2);
    event_name_.Reserve(events * 2);
    event_attributes_.ReserveRows(events * 2);
  }
  for (const EventRow& event : span.events) {
    event_time_[events_] = event.time_ns;
    event_name_[events_] = event_names_.Id(event.name);
    event_attributes_.AddRow(events_, event.attributes);
    ++events_;
  }
}

void SpanColumns::AddLinks(const SpanRow& span) {
  const int64_t links = links_ + std::ssize(span.links);
  if (links > link_trace_id_.capacity()) {
    link_trace_id_.Reserve(links * 2);
    link_span_id_.Reserve(links * 2);
    link_attributes_.ReserveRows(links * 2);
  }
  for (const LinkRow& link : span.links) {
    link_trace_id_[links_] = link.trace_id;
    link_span_id_[links_] = link.span_id;
    link_attributes_.AddRow(links_, link.attributes);
    ++links_;
  }
}

std::shared_ptr<arrow::RecordBatch> SpanColumns::Make(const RequestRows& rows) {
  Start(rows);
  for (const ServiceRows& service : rows) {
    if (service.spans.empty()) continue;
    EnterService(service);
    const int64_t first = rows_;
    for (size_t i = 0; i < service.spans.size(); ++i) {
      PrefetchAfter(service.spans, i);
      AddSpan(service.spans[i]);
    }
    for (decode::RunColumn* column : {&service_, &resource_, &scope_}) column->Fill(first, rows_);
  }
  const int64_t zeros = (std::max({rows_, events_, links_}) + 1) * 8;
  if (!zeros_ || zeros_->size() < zeros) {
    zeros_ = Must(Result<std::shared_ptr<arrow::Buffer>>(arrow::AllocateBuffer(zeros)));
    std::memset(zeros_->mutable_data(), 0, static_cast<size_t>(zeros));
  }
  return Finish();
}

std::shared_ptr<arrow::RecordBatch> SpanColumns::Finish() const {
  const auto& schema = decode::SignalSchema(decode::Signal::kTraces);
  std::vector<ArrayDataPtr> columns;
  columns.reserve(static_cast<size_t>(schema->num_fields()));
  const auto type = [&]() -> const TypePtr& { return schema->field(static_cast<int>(columns.size()))->type(); };
  const int64_t n = rows_, e = events_, l = links_;
  const auto zeros = [&](const TypePtr& of, int64_t rows) {
    return MakeArray(of, rows, arrow::SliceBuffer(zeros_, 0, rows * 4));
  };
  const auto no_text = [&](const TypePtr& of, int64_t rows, int64_t nulls) {
    return arrow::ArrayData::Make(of, rows, {nulls == 0 ? nullptr : zeros_, zeros_, zeros_}, nulls);
  };
  const auto fixed = [&](const auto& column) { columns.push_back(MakeArray(type(), n, column.View(n))); };
  fixed(trace_id_);
  fixed(span_id_);
  columns.push_back(MakeArray(type(), n, parent_span_id_.View(n), has_parent_, roots_));
  columns.push_back(no_text(type(), n, 0));  // trace_state
  columns.push_back(zeros(type(), n));       // flags
  columns.push_back(names_.MakeColumn(type(), n, name_.View(n)));
  columns.push_back(kind_.Finish(type(), n));
  fixed(start_);
  fixed(end_);
  fixed(duration_);
  columns.push_back(status_code_.Finish(type(), n));
  columns.push_back(MakeArray(type(), n, status_message_));
  fixed(has_status_);
  columns.push_back(service_.Finish(type(), n));
  columns.push_back(attributes_.Finish(type(), n));
  columns.push_back(zeros(type(), n));
  const TypePtr& events = type();
  columns.push_back(MakeList(events, n, event_offsets_,
                             MakeStruct(ItemType(events), e,
                                        {MakeArray(FieldType(events, 0), e, event_time_.View(e)),
                                         event_names_.MakeColumn(FieldType(events, 1), e, event_name_.View(e)),
                                         event_attributes_.Finish(FieldType(events, 2), e), zeros(FieldType(events, 3), e)})));
  columns.push_back(zeros(type(), n));
  const TypePtr& links = type();
  columns.push_back(MakeList(links, n, link_offsets_,
                             MakeStruct(ItemType(links), l,
                                        {MakeArray(FieldType(links, 0), l, link_trace_id_.View(l)),
                                         MakeArray(FieldType(links, 1), l, link_span_id_.View(l)),
                                         no_text(FieldType(links, 2), l, 0), zeros(FieldType(links, 3), l),
                                         link_attributes_.Finish(FieldType(links, 4), l), zeros(FieldType(links, 5), l)})));
  columns.push_back(zeros(type(), n));
  columns.push_back(resource_.Finish(type(), n));
  columns.push_back(scope_.Finish(type(), n));
  columns.push_back(no_text(type(), n, n));  // original
  return arrow::RecordBatch::Make(schema, n, std::move(columns));
}

}  // namespace sheaf::bench
