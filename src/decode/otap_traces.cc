/// SPANS, SPAN_EVENTS, SPAN_LINKS and their attributes to rows of otel.traces.

#include "decode/otap_signals.h"
#include "decode/record_id.h"

namespace sheaf::decode {
namespace {

using wire::OtapPayload;

/// Events or links: which belong to which span, and where the attributes of each find it.
struct Children {
  const OtapTable* table = nullptr;
  Groups groups;                    // By span.
  IdIndex index;                    // By their own ids.
  const int32_t* places = nullptr;  // Of the table's rows among all children in their order.
};

Status GroupChildren(const OtapTable* table, const IdIndex& spans, int64_t rows, OtapContext* context, Children* out,
                     const uint8_t* (*same_as_before)(const OtapTable&, OtapColumns*)) {
  OtapColumns* columns = &context->columns;
  out->table = table;
  const int64_t n = table == nullptr ? 0 : table->rows;
  auto* parents = columns->Scratch<uint32_t>(n);
  auto* ids = columns->Scratch<uint32_t>(n);
  if (table != nullptr) {
    SHEAF_RETURN_NOT_OK(ReadParentIds(*table, parents));
    SHEAF_RETURN_NOT_OK(FindQuasiDeltaParents(*table, same_as_before(*table, columns), spans, parents));
    const Status status = DecodeIds(table->Find(OtapField::kId), n, ids);
    if (!status.ok()) return WithContext(status, wire::OtapPayloadName(table->type));
  }
  const auto count = static_cast<size_t>(n);
  out->groups = GroupRows({parents, count}, nullptr, rows, &context->buffers);
  out->places = PlacesOf(out->groups.order, n, columns);
  return out->index.Build({ids, count}, &context->buffers);
}

const uint8_t* SameEventNames(const OtapTable& table, OtapColumns* columns) {
  auto* names = columns->Scratch<int32_t>(table.rows);
  columns->NumberTexts(table.Find(OtapField::kName), {nullptr, table.rows}, columns->buffers()->NextDictionary(), names);
  auto* same = columns->Scratch<uint8_t>(table.rows);
  for (int64_t i = 0; i < table.rows; ++i) same[i] = i > 0 && names[i] == names[i - 1];
  return same;
}

const uint8_t* SameLinkTraces(const OtapTable& table, OtapColumns* columns) {
  auto* ids = columns->Scratch<TraceIdBytes>(table.rows);
  ReadNumbers<TraceIdBytes>(table.Find(OtapField::kTraceId), {nullptr, table.rows}, ids);
  auto* same = columns->Scratch<uint8_t>(table.rows);
  for (int64_t i = 0; i < table.rows; ++i) same[i] = i > 0 && ids[i] == ids[i - 1];
  return same;
}

const OtapColumn* Find(const OtapTable* table, OtapField field) { return table == nullptr ? nullptr : table->Find(field); }

Result<ArrayDataPtr> MakeList(const TypePtr& type, int64_t rows, const Groups& groups, std::vector<ArrayDataPtr> fields) {
  return arrow::ArrayData::Make(type, rows, {nullptr, groups.offsets_buffer->View((rows + 1) * 4)},
                                {MakeStruct(ItemType(type), groups.order.size, std::move(fields))}, 0);
}

Result<ArrayDataPtr> MakeEvents(const TypePtr& type, const OtapTables& tables, const IdIndex& spans, OtapContext* context) {
  Children events;
  SHEAF_RETURN_NOT_OK(
      GroupChildren(tables.Get(OtapPayload::kSpanEvents), spans, tables.root->rows, context, &events, SameEventNames));
  OtapColumns* columns = &context->columns;
  const RowOrder& order = events.groups.order;
  SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr attributes, MakeOtapAttributes(tables, OtapPayload::kSpanEventAttrs, events.index,
                                                                     events.places, order.size, FieldType(type, 2), context));
  return MakeList(type, tables.root->rows, events.groups,
                  {columns->Numbers<uint64_t>(FieldType(type, 0), Find(events.table, OtapField::kTime), order),
                   columns->RepeatedText(FieldType(type, 1), Find(events.table, OtapField::kName), order), std::move(attributes),
                   columns->Numbers<uint32_t>(FieldType(type, 3), Find(events.table, OtapField::kDroppedAttributes), order)});
}

Result<ArrayDataPtr> MakeLinks(const TypePtr& type, const OtapTables& tables, const IdIndex& spans, OtapContext* context) {
  Children links;
  SHEAF_RETURN_NOT_OK(
      GroupChildren(tables.Get(OtapPayload::kSpanLinks), spans, tables.root->rows, context, &links, SameLinkTraces));
  OtapColumns* columns = &context->columns;
  const RowOrder& order = links.groups.order;
  SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr attributes, MakeOtapAttributes(tables, OtapPayload::kSpanLinkAttrs, links.index,
                                                                     links.places, order.size, FieldType(type, 4), context));
  return MakeList(
      type, tables.root->rows, links.groups,
      {columns->Numbers<TraceIdBytes>(FieldType(type, 0), Find(links.table, OtapField::kTraceId), order),
       columns->Numbers<SpanIdBytes>(FieldType(type, 1), Find(links.table, OtapField::kSpanId), order),
       columns->Text(FieldType(type, 2), Find(links.table, OtapField::kTraceState), order),
       columns->Numbers<uint32_t>(FieldType(type, 3), Find(links.table, OtapField::kFlags), order), std::move(attributes),
       columns->Numbers<uint32_t>(FieldType(type, 5), Find(links.table, OtapField::kDroppedAttributes), order)});
}

template <typename Id>
bool AnyZero(const arrow::ArrayData& ids) {
  bool any = false;
  for (int64_t i = 0; i < ids.length; ++i) any |= LoadAt<Id>(ids.buffers[1]->data(), i) == Id{};
  return any;
}

}  // namespace

int32_t* PlacesOf(const RowOrder& order, int64_t rows, OtapColumns* columns) {
  auto* places = columns->Scratch<int32_t>(rows);
  std::fill(places, places + rows, -1);
  for (int64_t i = 0; i < order.size; ++i) places[order[i]] = static_cast<int32_t>(i);
  return places;
}

Result<ArrayDataPtr> MakeOtapAttributes(const OtapTables& tables, wire::OtapPayload type, const IdIndex& parents,
                                        const int32_t* places, int64_t rows, const TypePtr& column_type, OtapContext* context) {
  static const OtapTable no_attributes;
  const OtapTable* table = tables.Get(type);
  OtapAttributes attributes;
  SHEAF_RETURN_NOT_OK(attributes.Read(table == nullptr ? no_attributes : *table, parents, context->limits, &context->columns));
  return attributes.Column(column_type, places, rows);
}

Status MakeOtapSpans(const OtapTables& tables, OtapContext* context, std::vector<TableBatch>* batches) {
  const OtapTable& root = *tables.root;
  const int64_t n = root.rows;
  const RowOrder rows{nullptr, n};
  OtapColumns& columns = context->columns;
  const auto find = [&root](OtapField field) { return root.Find(field); };
  auto* ids = columns.Scratch<uint32_t>(n);
  SHEAF_RETURN_NOT_OK(DecodeIds(find(OtapField::kId), n, ids));
  IdIndex spans;
  SHEAF_RETURN_NOT_OK(spans.Build({ids, static_cast<size_t>(n)}, &context->buffers));
  SHEAF_RETURN_NOT_OK(context->envelopes.Read(tables, context->limits, &columns));

  OtapBatch batch(Signal::kTraces);
  batch.Add(columns.Numbers<TraceIdBytes>(batch.next_type(), find(OtapField::kTraceId), rows));
  context->has_invalid_ids = AnyZero<TraceIdBytes>(*batch.last());
  batch.Add(columns.Numbers<SpanIdBytes>(batch.next_type(), find(OtapField::kSpanId), rows));
  context->has_invalid_ids |= AnyZero<SpanIdBytes>(*batch.last());
  batch.Add(columns.OptionalIds<SpanIdBytes>(batch.next_type(), find(OtapField::kParentSpanId), rows));
  batch.Add(columns.Text(batch.next_type(), find(OtapField::kTraceState), rows));
  batch.Add(columns.Numbers<uint32_t>(batch.next_type(), find(OtapField::kFlags), rows));
  batch.Add(columns.RepeatedText(batch.next_type(), find(OtapField::kName), rows));
  batch.Add(columns.Enum(batch.next_type(), SpanKindNames(), find(OtapField::kKind), rows));
  batch.Add(columns.Numbers<uint64_t>(batch.next_type(), find(OtapField::kStartTime), rows));
  const uint8_t* start_times = batch.last()->buffers[1]->data();
  ColumnBuffer* end_time_buffer = context->buffers.Next(n * 8, false);
  auto* end_times = reinterpret_cast<uint64_t*>(end_time_buffer->data());
  ReadNumbers<uint64_t>(find(OtapField::kDuration), rows, end_times);
  for (int64_t i = 0; i < n; ++i) end_times[i] += LoadAt<uint64_t>(start_times, i);
  batch.Add(MakeArray(batch.next_type(), n, end_time_buffer->View(n * 8)));
  batch.Add(columns.Numbers<uint64_t>(batch.next_type(), find(OtapField::kDuration), rows));
  batch.Add(columns.Enum(batch.next_type(), StatusCodeNames(), find(OtapField::kStatusCode), rows));
  batch.Add(columns.Text(batch.next_type(), find(OtapField::kStatusMessage), rows));
  batch.Add(columns.Presence(batch.next_type(), find(OtapField::kStatus), rows));
  batch.Add(context->envelopes.Service(batch.next_type(), rows));
  SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr attributes,
                         MakeOtapAttributes(tables, OtapPayload::kSpanAttrs, spans, nullptr, n, batch.next_type(), context));
  batch.Add(std::move(attributes));
  batch.Add(columns.Numbers<uint32_t>(batch.next_type(), find(OtapField::kDroppedAttributes), rows));
  SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr events, MakeEvents(batch.next_type(), tables, spans, context));
  batch.Add(std::move(events));
  batch.Add(columns.Numbers<uint32_t>(batch.next_type(), find(OtapField::kDroppedEvents), rows));
  SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr links, MakeLinks(batch.next_type(), tables, spans, context));
  batch.Add(std::move(links));
  batch.Add(columns.Numbers<uint32_t>(batch.next_type(), find(OtapField::kDroppedLinks), rows));
  batch.Add(context->envelopes.Resource(batch.next_type(), rows));
  batch.Add(context->envelopes.Scope(batch.next_type(), rows));
  batch.Add(columns.Nulls(batch.next_type(), n));
  batches->push_back(batch.Finish(n));
  return Status::OK();
}

}  // namespace sheaf::decode
