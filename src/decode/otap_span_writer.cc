/// Rows of otel.traces to SPANS, SPAN_EVENTS, SPAN_LINKS and their attributes.

#include "decode/otap_signal_writers.h"
#include "decode/record_id.h"

namespace sheaf::decode {
namespace {

using wire::OtapPayload;

constexpr OtapColumnRule kSpanColumns[] = {
    {OtapField::kId, "id", OtapForm::kU16, kOtapOptional},
    {OtapField::kStartTime, "start_time_unix_nano", OtapForm::kTime, kOtapAlways},
    {OtapField::kDuration, "duration_time_unix_nano", OtapForm::kDuration, kOtapAlways},
    {OtapField::kTraceId, "trace_id", OtapForm::kFixed16, kOtapAlways},
    {OtapField::kSpanId, "span_id", OtapForm::kFixed8, kOtapAlways},
    {OtapField::kTraceState, "trace_state", OtapForm::kText, kOtapDictionary},
    {OtapField::kParentSpanId, "parent_span_id", OtapForm::kFixed8, kOtapOptional},
    {OtapField::kFlags, "flags", OtapForm::kU32},
    {OtapField::kName, "name", OtapForm::kText, kOtapAlways | kOtapDictionary},
    {OtapField::kKind, "kind", OtapForm::kI32},
    {OtapField::kDroppedAttributes, "dropped_attributes_count", OtapForm::kU32},
    {OtapField::kDroppedEvents, "dropped_events_count", OtapForm::kU32},
    {OtapField::kDroppedLinks, "dropped_links_count", OtapForm::kU32},
    {OtapField::kStatus, "status", OtapForm::kStruct},
    {OtapField::kStatusCode, "code", OtapForm::kI32, kOtapAlways | kOtapChild},
    {OtapField::kStatusMessage, "status_message", OtapForm::kText, kOtapDictionary | kOtapChild},
};
constexpr auto kSpanRules = OtapRootRules(kSpanColumns);

constexpr OtapColumnRule kEventRules[] = {
    {OtapField::kId, "id", OtapForm::kU32, kOtapOptional},
    {OtapField::kParentId, "parent_id", OtapForm::kU16, kOtapAlways},
    {OtapField::kTime, "time_unix_nano", OtapForm::kTime},
    {OtapField::kName, "name", OtapForm::kText, kOtapAlways | kOtapDictionary},
    {OtapField::kDroppedAttributes, "dropped_attributes_count", OtapForm::kU32},
};

constexpr OtapColumnRule kLinkRules[] = {
    {OtapField::kId, "id", OtapForm::kU32, kOtapOptional},
    {OtapField::kParentId, "parent_id", OtapForm::kU16, kOtapAlways},
    {OtapField::kTraceId, "trace_id", OtapForm::kFixed16, kOtapAlways},
    {OtapField::kSpanId, "span_id", OtapForm::kFixed8, kOtapAlways},
    {OtapField::kTraceState, "trace_state", OtapForm::kText, kOtapDictionary},
    {OtapField::kDroppedAttributes, "dropped_attributes_count", OtapForm::kU32},
    {OtapField::kFlags, "flags", OtapForm::kU32},
};

bool NoMore(int32_t, int64_t, uint32_t) { return false; }

class SpanWriter : public OtapSignalWriter {
 public:
  SpanWriter() {
    Own({&spans_});
    OwnEnvelopes();
    Own({&attributes_, &event_attributes_, &link_attributes_});
    Own({&events_, &links_});
  }

  Status Fill(std::span<const TableBatch> batches, const OtapWriteContext& context) override {
    envelopes_.Order(batches, false, context.memory, context.dictionary_bytes_max);
    const OtapRuns& rows = envelopes_.rows();
    spans_.Start(context.memory, rows.rows(), context.dictionary_bytes_max);
    for (OtapAttributeWriter* writer : {&attributes_, &event_attributes_, &link_attributes_})
      writer->Start(context.memory, context.dictionary_bytes_max);
    SHEAF_RETURN_NOT_OK(envelopes_.Fill(true, &spans_));
    SHEAF_RETURN_NOT_OK(FillSpans(batches, rows));
    SHEAF_RETURN_NOT_OK(FillChildren(batches, rows));
    attributes_.Fill();
    SHEAF_RETURN_NOT_OK(FillEvents(batches, context));
    return FillLinks(batches, context);
  }

 private:
  Status FillSpans(std::span<const TableBatch> batches, const OtapRuns& rows) {
    const auto numbers = [&]<typename T>(OtapField field, const char* name, T) {
      T* out = spans_[field].Values<T>();
      CopyNumbers<T>(ColumnsOf(batches, name), rows, out);
      return out;
    };
    numbers(OtapField::kTraceId, "trace_id", TraceIdBytes{});
    numbers(OtapField::kSpanId, "span_id", SpanIdBytes{});
    CopyOptional<SpanIdBytes>(ColumnsOf(batches, "parent_span_id"), rows, &spans_[OtapField::kParentSpanId]);
    const uint64_t* start = numbers(OtapField::kStartTime, "start_time", uint64_t{});
    uint64_t* duration = numbers(OtapField::kDuration, "end_time", uint64_t{});
    for (int64_t i = 0; i < rows.rows(); ++i) duration[i] -= start[i];
    numbers(OtapField::kFlags, "flags", uint32_t{});
    numbers(OtapField::kDroppedAttributes, "dropped_attributes_count", uint32_t{});
    numbers(OtapField::kDroppedEvents, "dropped_events_count", uint32_t{});
    numbers(OtapField::kDroppedLinks, "dropped_links_count", uint32_t{});
    CopyText(ColumnsOf(batches, "trace_state"), rows, &spans_[OtapField::kTraceState]);
    CopyRepeatedText(ColumnsOf(batches, "name"), rows, &spans_[OtapField::kName]);
    CopyBools(ColumnsOf(batches, "has_status"), rows, spans_[OtapField::kStatus].Presence());
    CopyText(ColumnsOf(batches, "status_message"), rows, &spans_[OtapField::kStatusMessage]);
    Status status = CopyEnum(ColumnsOf(batches, "kind"), rows, SpanKindNames(), spans_[OtapField::kKind].Values<int32_t>());
    if (!status.ok()) return WithContext(status, "column kind");
    status =
        CopyEnum(ColumnsOf(batches, "status_code"), rows, StatusCodeNames(), spans_[OtapField::kStatusCode].Values<int32_t>());
    return status.ok() ? status : WithContext(status, "column status_code");
  }

  /// Gives spans their ids, and finds what belongs to them.
  Status FillChildren(std::span<const TableBatch> batches, const OtapRuns& rows) {
    event_rows_.Clear();
    link_rows_.Clear();
    std::vector<ListView> events, links;
    for (const arrow::Array* array : ColumnsOf(batches, "events")) events.emplace_back(*array);
    for (const arrow::Array* array : ColumnsOf(batches, "links")) links.emplace_back(*array);
    return FillIds<uint16_t>(ColumnsOf(batches, "attributes"), rows, &attributes_, &spans_[OtapField::kId],
                             [&](int32_t source, int64_t row, uint32_t id) {
                               const ListView &event = events[static_cast<size_t>(source)],
                                              &link = links[static_cast<size_t>(source)];
                               if (event.begin(row) == event.end(row) && link.begin(row) == link.end(row)) return false;
                               event_rows_.Add(source, event, row, id);
                               link_rows_.Add(source, link, row, id);
                               return true;
                             });
  }

  Status FillEvents(std::span<const TableBatch> batches, const OtapWriteContext& context) {
    const OtapRuns& rows = event_rows_.rows;
    events_.Start(context.memory, rows.rows(), context.dictionary_bytes_max);
    if (rows.rows() == 0) return Status::OK();
    const OtapArrays lists = ColumnsOf(batches, "events");
    CopyNumbers<uint64_t>(ItemFieldsOf(lists, 0), rows, events_[OtapField::kTime].Values<uint64_t>());
    const OtapArrays names = ItemFieldsOf(lists, 1);
    CopyRepeatedText(names, rows, &events_[OtapField::kName]);
    CopyNumbers<uint32_t>(ItemFieldsOf(lists, 3), rows, events_[OtapField::kDroppedAttributes].Values<uint32_t>());
    std::vector<uint8_t> same;
    same.reserve(static_cast<size_t>(rows.rows()));
    std::string_view before;
    for (const OtapRun& run : rows.runs()) {
      const DictionaryView view(*names[static_cast<size_t>(run.source)]);
      for (int64_t i = run.begin; i < run.begin + run.n; ++i) {
        const std::string_view name = view[i];
        same.push_back(name == before);
        before = name;
      }
    }
    event_rows_.FillParents<uint16_t>(&events_[OtapField::kParentId],
                                      [&](int64_t i) { return same[static_cast<size_t>(i)] != 0; });
    SHEAF_RETURN_NOT_OK(FillIds<uint32_t>(ItemFieldsOf(lists, 2), rows, &event_attributes_, &events_[OtapField::kId], NoMore));
    event_attributes_.Fill();
    return Status::OK();
  }

  Status FillLinks(std::span<const TableBatch> batches, const OtapWriteContext& context) {
    const OtapRuns& rows = link_rows_.rows;
    links_.Start(context.memory, rows.rows(), context.dictionary_bytes_max);
    if (rows.rows() == 0) return Status::OK();
    const OtapArrays lists = ColumnsOf(batches, "links");
    auto* trace_ids = links_[OtapField::kTraceId].Values<TraceIdBytes>();
    CopyNumbers<TraceIdBytes>(ItemFieldsOf(lists, 0), rows, trace_ids);
    CopyNumbers<SpanIdBytes>(ItemFieldsOf(lists, 1), rows, links_[OtapField::kSpanId].Values<SpanIdBytes>());
    CopyText(ItemFieldsOf(lists, 2), rows, &links_[OtapField::kTraceState]);
    CopyNumbers<uint32_t>(ItemFieldsOf(lists, 3), rows, links_[OtapField::kFlags].Values<uint32_t>());
    CopyNumbers<uint32_t>(ItemFieldsOf(lists, 5), rows, links_[OtapField::kDroppedAttributes].Values<uint32_t>());
    link_rows_.FillParents<uint16_t>(&links_[OtapField::kParentId],
                                     [&](int64_t i) { return i > 0 && trace_ids[i] == trace_ids[i - 1]; });
    SHEAF_RETURN_NOT_OK(FillIds<uint32_t>(ItemFieldsOf(lists, 4), rows, &link_attributes_, &links_[OtapField::kId], NoMore));
    link_attributes_.Fill();
    return Status::OK();
  }

  OtapTableWriter spans_{OtapPayload::kSpans, kSpanRules};
  OtapTableWriter events_{OtapPayload::kSpanEvents, kEventRules}, links_{OtapPayload::kSpanLinks, kLinkRules};
  OtapAttributeWriter attributes_{OtapPayload::kSpanAttrs, 2};
  OtapAttributeWriter event_attributes_{OtapPayload::kSpanEventAttrs, 4}, link_attributes_{OtapPayload::kSpanLinkAttrs, 4};
  OtapChildren event_rows_, link_rows_;
};

}  // namespace

int64_t OtapSignalWriter::held_bytes() const {
  int64_t bytes = envelopes_.held_bytes();
  for (const OtapAttributeWriter* writer : attributes_) bytes += writer->held_bytes();
  return bytes;
}

void OtapSignalWriter::Trim() {
  envelopes_.Trim();
  for (OtapAttributeWriter* writer : attributes_) writer->Trim();
  for (OtapTableWriter* table : tables_) table->Trim();
}

std::unique_ptr<OtapSignalWriter> MakeOtapSpanWriter() { return std::make_unique<SpanWriter>(); }

}  // namespace sheaf::decode
