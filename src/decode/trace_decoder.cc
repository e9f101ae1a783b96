#include "decode/trace_decoder.h"

#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

constexpr int64_t kRowsMin = 256, kNestedMin = 32, kTextBytesMin = 256;

}  // namespace

struct TraceDecoder::Fields {
  std::string_view trace_id, span_id, parent_span_id, trace_state, name, status_message;
  uint64_t start_time = 0, end_time = 0;
  uint32_t flags = 0, dropped_attributes = 0, dropped_events = 0, dropped_links = 0;
  int32_t kind = 0, status_code = 0;
  bool has_status = false;
};

TraceDecoder::TraceDecoder() : kind_(SpanKindNames()), status_code_(StatusCodeNames()) {}

void TraceDecoder::Start(RequestMemory* memory) {
  const int64_t rows = std::max(kRowsMin, trace_id_.capacity());
  const int64_t events = std::max(kNestedMin, event_time_.capacity());
  const int64_t links = std::max(kNestedMin, link_trace_id_.capacity());
  rows_ = roots_ = events_ = links_ = 0;
  trace_id_.Start(memory, rows);
  span_id_.Start(memory, rows);
  parent_span_id_.Start(memory, rows);
  has_parent_.Start(memory, rows);
  has_status_.Start(memory, rows);
  trace_state_.Start(memory, rows, kTextBytesMin);
  status_message_.Start(memory, rows, kTextBytesMin);
  for (Column<uint32_t>* column : {&flags_, &dropped_attributes_, &dropped_events_, &dropped_links_}) column->Start(memory, rows);
  for (Column<uint64_t>* column : {&start_time_, &end_time_, &duration_}) column->Start(memory, rows);
  name_.Start(memory, rows);
  kind_.Start(memory, rows);
  status_code_.Start(memory, rows);
  attributes_.Start(memory, rows);
  envelopes_.Start(memory, rows);
  original_.Start(memory, rows);
  event_offsets_.Start(memory, rows + 1);
  link_offsets_.Start(memory, rows + 1);
  event_offsets_[0] = link_offsets_[0] = 0;
  rows_capacity_ = rows;

  event_time_.Start(memory, events);
  event_name_.Start(memory, events);
  event_attributes_.Start(memory, events);
  event_dropped_.Start(memory, events);
  events_capacity_ = events;

  link_trace_id_.Start(memory, links);
  link_span_id_.Start(memory, links);
  link_trace_state_.Start(memory, links, kTextBytesMin);
  link_flags_.Start(memory, links);
  link_dropped_.Start(memory, links);
  link_attributes_.Start(memory, links);
  links_capacity_ = links;
}

void TraceDecoder::GrowRows() {
  const int64_t rows = rows_capacity_ * 2;
  trace_id_.Reserve(rows);
  span_id_.Reserve(rows);
  parent_span_id_.Reserve(rows);
  has_parent_.Reserve(rows);
  has_status_.Reserve(rows);
  trace_state_.Reserve(rows);
  status_message_.Reserve(rows);
  for (Column<uint32_t>* column : {&flags_, &dropped_attributes_, &dropped_events_, &dropped_links_}) column->Reserve(rows);
  for (Column<uint64_t>* column : {&start_time_, &end_time_, &duration_}) column->Reserve(rows);
  name_.Reserve(rows);
  kind_.Reserve(rows);
  status_code_.Reserve(rows);
  attributes_.ReserveRows(rows);
  original_.Reserve(rows);
  event_offsets_.Reserve(rows + 1);
  link_offsets_.Reserve(rows + 1);
  rows_capacity_ = rows;
}

void TraceDecoder::GrowEvents() {
  const int64_t events = events_capacity_ * 2;
  CheckOffset(events);
  event_time_.Reserve(events);
  event_name_.Reserve(events);
  event_attributes_.ReserveRows(events);
  event_dropped_.Reserve(events);
  events_capacity_ = events;
}

void TraceDecoder::GrowLinks() {
  const int64_t links = links_capacity_ * 2;
  CheckOffset(links);
  link_trace_id_.Reserve(links);
  link_span_id_.Reserve(links);
  link_trace_state_.Reserve(links);
  link_flags_.Reserve(links);
  link_dropped_.Reserve(links);
  link_attributes_.ReserveRows(links);
  links_capacity_ = links;
}

bool TraceDecoder::Span(std::string_view message, const Envelopes& envelopes, RequestContext* context) {
  if (!context->CountRecord()) return false;
  if (rows_ == rows_capacity_) [[unlikely]] GrowRows();
  context->odd = false;
  attributes_.BeginRow();
  const int64_t attributes_before = attributes_.size() + event_attributes_.size() + link_attributes_.size();
  Fields fields;
  if (!ReadSpan(message, context, &fields)) return false;
  const int64_t attributes_now = attributes_.size() + event_attributes_.size() + link_attributes_.size();
  if (!context->CheckAttributes(attributes_now - attributes_before)) return false;

  const char* wrong = nullptr;
  if (!IsId<TraceIdBytes>(fields.trace_id)) [[unlikely]] {
    wrong = "trace_id must be 16 bytes and not all zero";
  } else if (!IsId<SpanIdBytes>(fields.span_id)) [[unlikely]] {
    wrong = "span_id must be 8 bytes and not all zero";
  } else if (!fields.parent_span_id.empty() && fields.parent_span_id.size() != sizeof(SpanIdBytes)) [[unlikely]] {
    wrong = "parent_span_id must be empty or 8 bytes";
  }
  if (wrong != nullptr) [[unlikely]] {
    context->Reject(wrong);
    RewindRow();
    return true;
  }
  envelopes_.Enter(envelopes, rows_, context);
  StoreRow(fields, context);
  original_.Put(rows_, message, context->odd);
  ++rows_;
  return true;
}

bool TraceDecoder::ReadSpan(std::string_view message, RequestContext* context, Fields* f) {
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(9, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !attributes_.Add(bytes, context)) return false;
        break;
      case Tag(1, WireType::kBytes):
        f->trace_id = reader.Bytes();
        break;
      case Tag(2, WireType::kBytes):
        f->span_id = reader.Bytes();
        break;
      case Tag(3, WireType::kBytes):
        f->trace_state = reader.Bytes();
        break;
      case Tag(4, WireType::kBytes):
        f->parent_span_id = reader.Bytes();
        break;
      case Tag(5, WireType::kBytes):
        f->name = reader.Bytes();
        break;
      case Tag(6, WireType::kVarint):
        f->kind = static_cast<int32_t>(reader.Varint());
        break;
      case Tag(7, WireType::kFixed64):
        f->start_time = reader.Fixed64();
        break;
      case Tag(8, WireType::kFixed64):
        f->end_time = reader.Fixed64();
        break;
      case Tag(10, WireType::kVarint):
        f->dropped_attributes = static_cast<uint32_t>(reader.Varint());
        break;
      case Tag(11, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !ReadEvent(bytes, context)) return false;
        break;
      case Tag(12, WireType::kVarint):
        f->dropped_events = static_cast<uint32_t>(reader.Varint());
        break;
      case Tag(13, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !ReadLink(bytes, context)) return false;
        break;
      case Tag(14, WireType::kVarint):
        f->dropped_links = static_cast<uint32_t>(reader.Varint());
        break;
      case Tag(15, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !ReadStatus(bytes, context, f)) return false;
        break;
      case Tag(16, WireType::kFixed32):
        f->flags = reader.Fixed32();
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  return reader.ok() || context->Malformed(reader.position(), "Span");
}

bool TraceDecoder::ReadStatus(std::string_view message, RequestContext* context, Fields* f) {
  f->has_status = true;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(2, WireType::kBytes):
        f->status_message = reader.Bytes();
        break;
      case Tag(3, WireType::kVarint):
        f->status_code = static_cast<int32_t>(reader.Varint());
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  return reader.ok() || context->Malformed(reader.position(), "Status");
}

void TraceDecoder::StoreRow(const Fields& f, RequestContext* context) {
  const int64_t row = rows_;
  trace_id_[row] = ToId<TraceIdBytes>(f.trace_id);
  span_id_[row] = ToId<SpanIdBytes>(f.span_id);
  const bool has_parent = IsId<SpanIdBytes>(f.parent_span_id);
  if (!has_parent && !f.parent_span_id.empty()) context->odd = true;  // Eight zeros: a root all the same.
  parent_span_id_[row] = ToId<SpanIdBytes>(f.parent_span_id);
  has_parent_.Set(row, has_parent);
  roots_ += !has_parent;
  trace_state_.Put(row, context->Text(f.trace_state), context->readable_end);
  flags_[row] = f.flags;
  name_.Put(row, f.name, context);
  kind_.Put(row, f.kind);
  start_time_[row] = f.start_time;
  end_time_[row] = f.end_time;
  duration_[row] = f.end_time - f.start_time;
  status_code_.Put(row, f.status_code);
  status_message_.Put(row, context->Text(f.status_message), context->readable_end);
  has_status_.Set(row, f.has_status);
  attributes_.EndRow(row);
  dropped_attributes_[row] = f.dropped_attributes;
  event_offsets_[row + 1] = static_cast<int32_t>(events_);
  dropped_events_[row] = f.dropped_events;
  link_offsets_[row + 1] = static_cast<int32_t>(links_);
  dropped_links_[row] = f.dropped_links;
}

void TraceDecoder::RewindRow() {
  attributes_.Rewind(rows_);
  events_ = event_offsets_[rows_];
  links_ = link_offsets_[rows_];
  event_attributes_.Rewind(events_);
  link_attributes_.Rewind(links_);
  link_trace_state_.Rewind(links_);
}

bool TraceDecoder::ReadEvent(std::string_view message, RequestContext* context) {
  if (events_ == events_capacity_) [[unlikely]] GrowEvents();
  event_attributes_.BeginRow();
  uint64_t time = 0;
  uint32_t dropped = 0;
  std::string_view name;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kFixed64):
        time = reader.Fixed64();
        break;
      case Tag(2, WireType::kBytes):
        name = reader.Bytes();
        break;
      case Tag(3, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !event_attributes_.Add(bytes, context)) return false;
        break;
      case Tag(4, WireType::kVarint):
        dropped = static_cast<uint32_t>(reader.Varint());
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "Event");
  event_time_[events_] = time;
  event_name_.Put(events_, name, context);
  event_dropped_[events_] = dropped;
  event_attributes_.EndRow(events_);
  ++events_;
  return true;
}

bool TraceDecoder::ReadLink(std::string_view message, RequestContext* context) {
  if (links_ == links_capacity_) [[unlikely]] GrowLinks();
  link_attributes_.BeginRow();
  std::string_view trace_id, span_id, trace_state;
  uint32_t dropped = 0, flags = 0;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes):
        trace_id = reader.Bytes();
        break;
      case Tag(2, WireType::kBytes):
        span_id = reader.Bytes();
        break;
      case Tag(3, WireType::kBytes):
        trace_state = reader.Bytes();
        break;
      case Tag(4, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !link_attributes_.Add(bytes, context)) return false;
        break;
      case Tag(5, WireType::kVarint):
        dropped = static_cast<uint32_t>(reader.Varint());
        break;
      case Tag(6, WireType::kFixed32):
        flags = reader.Fixed32();
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "Link");
  if (trace_id.size() != sizeof(TraceIdBytes) || span_id.size() != sizeof(SpanIdBytes)) context->odd = true;
  link_trace_id_[links_] = ToId<TraceIdBytes>(trace_id);
  link_span_id_[links_] = ToId<SpanIdBytes>(span_id);
  link_trace_state_.Put(links_, context->Text(trace_state), context->readable_end);
  link_flags_[links_] = flags;
  link_dropped_[links_] = dropped;
  link_attributes_.EndRow(links_);
  ++links_;
  return true;
}

bool TraceDecoder::TextIsUtf8() const {
  return trace_state_.TextIsUtf8(rows_) && status_message_.TextIsUtf8(rows_) && link_trace_state_.TextIsUtf8(links_) &&
         attributes_.TextIsUtf8() && event_attributes_.TextIsUtf8() && link_attributes_.TextIsUtf8();
}

std::shared_ptr<arrow::RecordBatch> TraceDecoder::Finish() {
  const auto& schema = SignalSchema(Signal::kTraces);
  envelopes_.Fill(rows_);
  std::vector<ArrayDataPtr> columns;
  columns.reserve(static_cast<size_t>(schema->num_fields()));
  const auto next_type = [&]() -> const TypePtr& { return schema->field(static_cast<int>(columns.size()))->type(); };
  const int64_t n = rows_;
  columns.push_back(MakeArray(next_type(), n, trace_id_.View(n)));
  columns.push_back(MakeArray(next_type(), n, span_id_.View(n)));
  columns.push_back(MakeArray(next_type(), n, parent_span_id_.View(n), has_parent_, roots_));
  columns.push_back(MakeArray(next_type(), n, trace_state_));
  columns.push_back(MakeArray(next_type(), n, flags_.View(n)));
  columns.push_back(name_.Finish(next_type(), n));
  columns.push_back(kind_.Finish(next_type(), n));
  columns.push_back(MakeArray(next_type(), n, start_time_.View(n)));
  columns.push_back(MakeArray(next_type(), n, end_time_.View(n)));
  columns.push_back(MakeArray(next_type(), n, duration_.View(n)));
  columns.push_back(status_code_.Finish(next_type(), n));
  columns.push_back(MakeArray(next_type(), n, status_message_));
  columns.push_back(MakeArray(next_type(), n, has_status_.View(n)));
  columns.push_back(envelopes_.FinishService(next_type(), n));
  columns.push_back(attributes_.Finish(next_type(), n));
  columns.push_back(MakeArray(next_type(), n, dropped_attributes_.View(n)));
  columns.push_back(FinishEvents(next_type()));
  columns.push_back(MakeArray(next_type(), n, dropped_events_.View(n)));
  columns.push_back(FinishLinks(next_type()));
  columns.push_back(MakeArray(next_type(), n, dropped_links_.View(n)));
  columns.push_back(envelopes_.FinishResource(next_type(), n));
  columns.push_back(envelopes_.FinishScope(next_type(), n));
  columns.push_back(original_.Finish(next_type(), n));
  return arrow::RecordBatch::Make(schema, n, std::move(columns));
}

ArrayDataPtr TraceDecoder::FinishEvents(const TypePtr& type) const {
  const int64_t n = events_;
  return MakeList(type, rows_, event_offsets_,
                  MakeStruct(ItemType(type), n,
                             {MakeArray(FieldType(type, 0), n, event_time_.View(n)), event_name_.Finish(FieldType(type, 1), n),
                              event_attributes_.Finish(FieldType(type, 2), n), MakeArray(FieldType(type, 3), n, event_dropped_.View(n))}));
}

ArrayDataPtr TraceDecoder::FinishLinks(const TypePtr& type) const {
  const int64_t n = links_;
  return MakeList(type, rows_, link_offsets_,
                  MakeStruct(ItemType(type), n,
                             {MakeArray(FieldType(type, 0), n, link_trace_id_.View(n)),
                              MakeArray(FieldType(type, 1), n, link_span_id_.View(n)),
                              MakeArray(FieldType(type, 2), n, link_trace_state_), MakeArray(FieldType(type, 3), n, link_flags_.View(n)),
                              link_attributes_.Finish(FieldType(type, 4), n), MakeArray(FieldType(type, 5), n, link_dropped_.View(n))}));
}

void TraceDecoder::Trim(int64_t bytes_max) {
  trace_id_.Trim(bytes_max);
  span_id_.Trim(bytes_max);
  parent_span_id_.Trim(bytes_max);
  has_parent_.Trim(bytes_max);
  has_status_.Trim(bytes_max);
  for (BytesColumn* column : {&trace_state_, &status_message_, &link_trace_state_}) column->Trim(bytes_max);
  for (Column<uint32_t>* column : {&flags_, &dropped_attributes_, &dropped_events_, &dropped_links_, &event_dropped_, &link_flags_,
                                   &link_dropped_}) {
    column->Trim(bytes_max);
  }
  for (Column<uint64_t>* column : {&start_time_, &end_time_, &duration_, &event_time_}) column->Trim(bytes_max);
  for (TextColumn* column : {&name_, &event_name_}) column->Trim(bytes_max);
  for (EnumColumn* column : {&kind_, &status_code_}) column->Trim(bytes_max);
  for (AttributeColumn* column : {&attributes_, &event_attributes_, &link_attributes_}) column->Trim(bytes_max);
  for (Column<int32_t>* column : {&event_offsets_, &link_offsets_}) column->Trim(bytes_max);
  link_trace_id_.Trim(bytes_max);
  link_span_id_.Trim(bytes_max);
  envelopes_.Trim(bytes_max);
  original_.Trim(bytes_max);
}

}  // namespace sheaf::decode
