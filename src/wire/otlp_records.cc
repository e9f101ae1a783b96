#include "wire/otlp_records.h"

#include <span>

#include "wire/protobuf_reader.h"

namespace sheaf::wire {
namespace {

constexpr uint32_t kField1 = Tag(1, WireType::kBytes), kField2 = Tag(2, WireType::kBytes);

/// Walks down `path`, the tags of messages in messages, and counts what lies at its end. False: malformed at `*at`.
bool Count(std::string_view message, std::span<const uint32_t> path, int64_t* records, const char** at);

/// A Metric's points lie in one of five messages (5 gauge, 7 sum, 9 histogram, 10 exponential_histogram, 11 summary), in field 1.
bool CountPoints(std::string_view metric, int64_t* records, const char** at) {
  ProtobufReader reader(metric);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(5, WireType::kBytes):
      case Tag(7, WireType::kBytes):
      case Tag(9, WireType::kBytes):
      case Tag(10, WireType::kBytes):
      case Tag(11, WireType::kBytes):
        if (!Count(reader.Bytes(), std::span(&kField1, 1), records, at)) return false;
        break;
      default: reader.Skip();
    }
  }
  *at = reader.position();
  return reader.ok();
}

bool Count(std::string_view message, std::span<const uint32_t> path, int64_t* records, const char** at) {
  ProtobufReader reader(message);
  while (reader.Next()) {
    if (reader.tag() != path.front()) {
      reader.Skip();
      continue;
    }
    const std::string_view inner = reader.Bytes();
    if (!reader.ok()) break;
    if (path.size() == 1) {
      ++*records;
    } else if (path[1] == 0) {
      if (!CountPoints(inner, records, at)) return false;
    } else if (!Count(inner, path.subspan(1), records, at)) {
      return false;
    }
  }
  if (!reader.ok()) *at = reader.position();
  return reader.ok();
}

}  // namespace

const char* OtlpSignalName(OtlpRequest kind) {
  switch (kind) {
    case OtlpRequest::kTraces: return "traces";
    case OtlpRequest::kLogs: return "logs";
    case OtlpRequest::kMetrics: break;
  }
  return "metrics";
}

Result<int64_t> CountOtlpRecords(OtlpRequest kind, std::string_view request) {
  // resource_… = 1 { scope_… = 2 { spans, log_records or metrics = 2 { … } } }; 0 stands for what CountPoints() does.
  static constexpr uint32_t kRecords[] = {kField1, kField2, kField2}, kMetrics[] = {kField1, kField2, kField2, 0};
  int64_t records = 0;
  const char* at = request.data();
  const bool metrics = kind == OtlpRequest::kMetrics;
  if (Count(request, metrics ? std::span<const uint32_t>(kMetrics) : std::span<const uint32_t>(kRecords), &records, &at)) return records;
  return MakeError(ErrorKind::kInvalid, "not a protobuf export request of {}: malformed at byte {}", OtlpSignalName(kind),
                   at - request.data());
}

}  // namespace sheaf::wire
