#include "wire/otap_messages.h"

#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::wire {
namespace {

bool ReadPayload(ProtobufReader* message, ArrowPayload* payload) {
  ProtobufReader reader(message->Bytes());
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): payload->schema_id = reader.Bytes(); break;
      case Tag(2, WireType::kVarint): payload->type = static_cast<OtapPayload>(static_cast<int32_t>(reader.Varint())); break;
      case Tag(3, WireType::kBytes): payload->record = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  return reader.ok() && message->ok();
}

const char* KnownName(OtapPayload type) {
  switch (type) {
    case OtapPayload::kResourceAttrs: return "RESOURCE_ATTRS";
    case OtapPayload::kScopeAttrs: return "SCOPE_ATTRS";
    case OtapPayload::kMetrics: return "UNIVARIATE_METRICS";
    case OtapPayload::kNumberPoints: return "NUMBER_DATA_POINTS";
    case OtapPayload::kSummaryPoints: return "SUMMARY_DATA_POINTS";
    case OtapPayload::kHistogramPoints: return "HISTOGRAM_DATA_POINTS";
    case OtapPayload::kExponentialHistogramPoints: return "EXP_HISTOGRAM_DATA_POINTS";
    case OtapPayload::kNumberPointAttrs: return "NUMBER_DP_ATTRS";
    case OtapPayload::kSummaryPointAttrs: return "SUMMARY_DP_ATTRS";
    case OtapPayload::kHistogramPointAttrs: return "HISTOGRAM_DP_ATTRS";
    case OtapPayload::kExponentialHistogramPointAttrs: return "EXP_HISTOGRAM_DP_ATTRS";
    case OtapPayload::kNumberExemplars: return "NUMBER_DP_EXEMPLARS";
    case OtapPayload::kHistogramExemplars: return "HISTOGRAM_DP_EXEMPLARS";
    case OtapPayload::kExponentialHistogramExemplars: return "EXP_HISTOGRAM_DP_EXEMPLARS";
    case OtapPayload::kNumberExemplarAttrs: return "NUMBER_DP_EXEMPLAR_ATTRS";
    case OtapPayload::kHistogramExemplarAttrs: return "HISTOGRAM_DP_EXEMPLAR_ATTRS";
    case OtapPayload::kExponentialHistogramExemplarAttrs: return "EXP_HISTOGRAM_DP_EXEMPLAR_ATTRS";
    case OtapPayload::kMultivariateMetrics: return "MULTIVARIATE_METRICS";
    case OtapPayload::kMetricAttrs: return "METRIC_ATTRS";
    case OtapPayload::kLogs: return "LOGS";
    case OtapPayload::kLogAttrs: return "LOG_ATTRS";
    case OtapPayload::kSpans: return "SPANS";
    case OtapPayload::kSpanAttrs: return "SPAN_ATTRS";
    case OtapPayload::kSpanEvents: return "SPAN_EVENTS";
    case OtapPayload::kSpanLinks: return "SPAN_LINKS";
    case OtapPayload::kSpanEventAttrs: return "SPAN_EVENT_ATTRS";
    case OtapPayload::kSpanLinkAttrs: return "SPAN_LINK_ATTRS";
  }
  return nullptr;
}

}  // namespace

std::string OtapPayloadName(OtapPayload type) {
  const char* name = KnownName(type);
  return name != nullptr ? name : fmt::format("payload type {}", static_cast<int32_t>(type));
}

Status ReadBatchArrowRecords(std::string_view message, BatchArrowRecords* batch) {
  batch->batch_id = 0;
  batch->payloads.clear();
  ProtobufReader reader(message);
  bool payloads_ok = true;
  while (payloads_ok && reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint): batch->batch_id = static_cast<int64_t>(reader.Varint()); break;
      case Tag(2, WireType::kBytes):
        if (batch->payloads.size() == kOtapPayloadsMax) {
          return MakeError(ErrorKind::kTooLarge, "a batch of more than {} payloads; each table comes once", kOtapPayloadsMax);
        }
        payloads_ok = ReadPayload(&reader, &batch->payloads.emplace_back());
        break;
      default: reader.Skip();
    }
  }
  if (payloads_ok && reader.ok()) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "malformed BatchArrowRecords at or before byte {}", reader.position() - message.data());
}

BatchArrowRecordsWriter::BatchArrowRecordsWriter(int64_t batch_id, std::string* out) : out_(out) {
  if (batch_id != 0) ProtobufWriter(out_).Varint(1, static_cast<uint64_t>(batch_id));
}

void BatchArrowRecordsWriter::Add(const ArrowPayload& payload) {
  // Its length is told before it, not written over it: records are large, and closing a message moves what it holds.
  std::string head;
  ProtobufWriter fields(&head);
  fields.Bytes(1, payload.schema_id);
  fields.Int32(2, static_cast<int32_t>(payload.type));
  fields.RawVarint(Tag(3, WireType::kBytes));
  fields.RawVarint(payload.record.size());
  ProtobufWriter message(out_);
  message.RawVarint(Tag(2, WireType::kBytes));
  message.RawVarint(head.size() + payload.record.size());
  message.Raw(head);
  message.Raw(payload.record);
}

std::string EncodeBatchStatus(int64_t batch_id, int status_code, std::string_view message) {
  std::string out;
  ProtobufWriter writer(&out);
  if (batch_id != 0) writer.Varint(1, static_cast<uint64_t>(batch_id));
  if (status_code != 0) writer.Int32(2, status_code);
  if (!message.empty()) writer.Bytes(3, message);
  return out;
}

Status ReadBatchStatus(std::string_view bytes, BatchStatus* status) {
  *status = {};
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint): status->batch_id = static_cast<int64_t>(reader.Varint()); break;
      case Tag(2, WireType::kVarint): status->status_code = static_cast<int>(reader.Varint()); break;
      case Tag(3, WireType::kBytes): status->message = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  if (reader.ok()) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "malformed BatchStatus at byte {}", reader.position() - bytes.data());
}

}  // namespace sheaf::wire
