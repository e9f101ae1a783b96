/// The protobuf messages of OTel-Arrow (OTAP): batches of Arrow payloads, a status for each; both read and written.
///
/// The protocol is opentelemetry.proto.experimental.arrow.v1: three bidirectional gRPC methods, one a signal. What stands in a
/// payload's `record` is Arrow IPC; arrow_ipc.h reads it. Syntax only: what payloads mean is decode's affair.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace sheaf::wire {

/// ArrowPayloadType: which table a payload holds.
enum class OtapPayload : int32_t {
  kResourceAttrs = 1,
  kScopeAttrs = 2,
  kMetrics = 10,
  kNumberPoints = 11,
  kSummaryPoints = 12,
  kHistogramPoints = 13,
  kExponentialHistogramPoints = 14,
  kNumberPointAttrs = 15,
  kSummaryPointAttrs = 16,
  kHistogramPointAttrs = 17,
  kExponentialHistogramPointAttrs = 18,
  kNumberExemplars = 19,
  kHistogramExemplars = 20,
  kExponentialHistogramExemplars = 21,
  kNumberExemplarAttrs = 22,
  kHistogramExemplarAttrs = 23,
  kExponentialHistogramExemplarAttrs = 24,
  kMultivariateMetrics = 25,
  kMetricAttrs = 26,
  kLogs = 30,
  kLogAttrs = 31,
  kSpans = 40,
  kSpanAttrs = 41,
  kSpanEvents = 42,
  kSpanLinks = 43,
  kSpanEventAttrs = 44,
  kSpanLinkAttrs = 45,
};

/// "SPAN_ATTRS", …; "payload type 99" for a number that the protocol does not define.
std::string OtapPayloadName(OtapPayload type);

/// ArrowPayload. Borrows the message.
struct ArrowPayload {
  std::string_view schema_id;
  OtapPayload type{};
  std::string_view record;  // Encapsulated Arrow IPC messages.
};

/// BatchArrowRecords. Borrows the message.
struct BatchArrowRecords {
  int64_t batch_id = 0;
  std::vector<ArrowPayload> payloads;
};

/// What a batch may hold at most: a batch has one payload a table.
inline constexpr size_t kOtapPayloadsMax = 64;

/// Reads `message` into `batch`, whose memory is used again. `headers` and unknown fields are passed over.
/// Errors: Invalid (not protobuf; the offset is named), TooLarge (more than kOtapPayloadsMax payloads). `batch->batch_id` is what
/// was read up to there, so that the error can be sent to it.
Status ReadBatchArrowRecords(std::string_view message, BatchArrowRecords* batch);

/// Appends a BatchArrowRecords to `out`. Borrows it. Not thread-safe.
///
///   BatchArrowRecordsWriter writer(batch_id, &out);
///   writer.Add({"S7", OtapPayload::kSpans, record});   // As often as there are tables.
class BatchArrowRecordsWriter {
 public:
  BatchArrowRecordsWriter(int64_t batch_id, std::string* out);
  void Add(const ArrowPayload& payload);

 private:
  std::string* const out_;
};

/// BatchStatus. Borrows the message.
struct BatchStatus {
  int64_t batch_id = 0;
  int status_code = 0;  // A gRPC code; 0 is OK.
  std::string_view message;
};

/// Serialises a BatchStatus; `status_code` is a gRPC code.
std::string EncodeBatchStatus(int64_t batch_id, int status_code, std::string_view message);

/// Reads `bytes`; unknown fields are passed over. Errors: Invalid (not protobuf; the offset is named).
Status ReadBatchStatus(std::string_view bytes, BatchStatus* status);

}  // namespace sheaf::wire
