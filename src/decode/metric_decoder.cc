#include "decode/metric_decoder.h"

#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using wire::FieldOf;
using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

/// Members of Metric's oneof data, by field number.
enum Kind : uint32_t { kGaugeField = 5, kSumField = 7, kHistogramField = 9, kExponentialHistogramField = 10, kSummaryField = 11 };

bool IsData(uint32_t tag) {
  switch (tag) {
    case Tag(kGaugeField, WireType::kBytes):
    case Tag(kSumField, WireType::kBytes):
    case Tag(kHistogramField, WireType::kBytes):
    case Tag(kExponentialHistogramField, WireType::kBytes):
    case Tag(kSummaryField, WireType::kBytes):
      return true;
    default:
      return false;
  }
}

/// Which of a message's data members count: of a oneof's members the last one wins, and its pieces are
/// merged back to where another member stood.
struct DataRun {
  uint32_t tag = 0;  // 0: the metric has no data.
  const char* begin = nullptr;
  bool Contains(uint32_t field_tag, const char* position) const { return field_tag == tag && position >= begin; }
};

bool FindData(std::string_view message, RequestContext* context, DataRun* run) {
  ProtobufReader reader(message);
  while (reader.Next()) {
    if (IsData(reader.tag()) && reader.tag() != run->tag) *run = {reader.tag(), reader.position()};
    reader.Skip();
  }
  return reader.ok() || context->Malformed(reader.position(), "Metric");
}

/// Reads a data message's own fields, and appends it to the envelope without its points.
bool ReadData(uint32_t tag, std::string_view data, RequestContext* context, std::string* envelope, MetricFacts* facts) {
  constexpr size_t kFramingBytesMax = 16;  // Tag, room for a length, and what Close() adds to it.
  wire::ProtobufWriter writer(envelope);
  context->memory->Reserve(envelope, kFramingBytesMax);
  const size_t mark = writer.Open(FieldOf(tag));
  ProtobufReader reader(data);
  const char* field_begin = data.data();
  const bool has_temporality = tag != Tag(kGaugeField, WireType::kBytes) && tag != Tag(kSummaryField, WireType::kBytes);
  while (reader.Next()) {
    const bool is_point = reader.tag() == Tag(1, WireType::kBytes);
    if (has_temporality && reader.tag() == Tag(2, WireType::kVarint)) {
      facts->temporality = static_cast<int32_t>(reader.Varint());
    } else if (tag == Tag(kSumField, WireType::kBytes) && reader.tag() == Tag(3, WireType::kVarint)) {
      facts->is_monotonic = reader.Varint() != 0;
    } else {
      reader.Skip();
    }
    if (!reader.ok()) break;
    if (!is_point) {
      const std::string_view field(field_begin, static_cast<size_t>(reader.position() - field_begin));
      context->memory->Reserve(envelope, field.size() + kFramingBytesMax);
      writer.Raw(field);
    }
    field_begin = reader.position();
  }
  writer.Close(mark);
  return reader.ok() || context->Malformed(reader.position(), "metric data");
}

/// Sets the metric's part of `envelopes` and `facts`.
bool ReadMetricEnvelope(std::string_view message, const DataRun& run, RequestContext* context, Envelopes* envelopes, MetricFacts* facts) {
  envelopes->metric.clear();
  envelopes->metric_name = envelopes->unit = {};
  ProtobufReader reader(message);
  const char* field_begin = message.data();
  while (reader.Next()) {
    const char* const position = reader.position();
    const bool is_data = IsData(reader.tag());
    if (is_data || reader.tag() == Tag(1, WireType::kBytes) || reader.tag() == Tag(3, WireType::kBytes)) {
      const uint32_t tag = reader.tag();
      const std::string_view bytes = reader.Bytes();
      if (tag == Tag(1, WireType::kBytes)) envelopes->metric_name = bytes;
      if (tag == Tag(3, WireType::kBytes)) envelopes->unit = bytes;
      if (run.Contains(tag, position) && !ReadData(tag, bytes, context, &envelopes->metric, facts)) return false;
    } else {
      reader.Skip();
    }
    if (!is_data) {
      context->memory->Reserve(&envelopes->metric, static_cast<size_t>(reader.position() - field_begin));
      envelopes->metric.append(field_begin, reader.position());
    }
    field_begin = reader.position();
  }
  ++envelopes->serial;
  return CheckAttributeHolder(message, 12, context, nullptr);
}

}  // namespace

void MetricDecoder::Start(RequestMemory* memory) {
  memory_ = memory;
  started_.fill(false);
}

template <typename Points>
Points* MetricDecoder::Started(Signal signal, Points* points) {
  bool& started = started_[static_cast<size_t>(signal)];
  if (!started) points->Start(memory_);
  started = true;
  return points;
}

bool MetricDecoder::Metric(std::string_view message, Envelopes* envelopes, RequestContext* context) {
  DataRun run;
  if (!FindData(message, context, &run)) return false;
  MetricFacts facts;
  if (!ReadMetricEnvelope(message, run, context, envelopes, &facts)) return false;
  ProtobufReader reader(message);
  while (reader.Next()) {
    if (!run.Contains(reader.tag(), reader.position())) {
      reader.Skip();
      continue;
    }
    ProtobufReader points(reader.Bytes());
    while (points.Next()) {
      if (points.tag() != Tag(1, WireType::kBytes)) {
        points.Skip();
      } else if (!Point(FieldOf(run.tag), points.Bytes(), facts, *envelopes, context)) {
        return false;
      }
    }
  }
  return true;
}

bool MetricDecoder::Point(uint32_t kind, std::string_view message, const MetricFacts& facts, const Envelopes& envelopes,
                          RequestContext* context) {
  switch (kind) {
    case kGaugeField:
      return Started(Signal::kGauge, &gauge_)->Point(message, facts, envelopes, context);
    case kSumField:
      return Started(Signal::kSum, &sum_)->Point(message, facts, envelopes, context);
    case kHistogramField:
      return Started(Signal::kHistogram, &histogram_)->Point(message, facts, envelopes, context);
    case kExponentialHistogramField:
      return Started(Signal::kExponentialHistogram, &exponential_histogram_)->Point(message, facts, envelopes, context);
    default:
      return Started(Signal::kSummary, &summary_)->Point(message, facts, envelopes, context);
  }
}

namespace {

bool IsStarted(const std::array<bool, kSignals>& started, Signal signal) { return started[static_cast<size_t>(signal)]; }

}  // namespace

bool MetricDecoder::TextIsUtf8() const {
  const auto check = [&](Signal signal, const auto& points) { return !IsStarted(started_, signal) || points.points().TextIsUtf8(); };
  return check(Signal::kGauge, gauge_) && check(Signal::kSum, sum_) && check(Signal::kHistogram, histogram_) &&
         check(Signal::kExponentialHistogram, exponential_histogram_) && check(Signal::kSummary, summary_);
}

int64_t MetricDecoder::rows() const {
  int64_t rows = 0;
  const auto add = [&](Signal signal, const auto& points) { rows += IsStarted(started_, signal) ? points.points().rows() : 0; };
  add(Signal::kGauge, gauge_);
  add(Signal::kSum, sum_);
  add(Signal::kHistogram, histogram_);
  add(Signal::kExponentialHistogram, exponential_histogram_);
  add(Signal::kSummary, summary_);
  return rows;
}

std::vector<TableBatch> MetricDecoder::Finish() {
  std::vector<TableBatch> batches;
  const auto finish = [&](Signal signal, auto* points) {
    if (IsStarted(started_, signal) && points->points().rows() > 0) batches.push_back({signal, points->Finish()});
  };
  finish(Signal::kGauge, &gauge_);
  finish(Signal::kSum, &sum_);
  finish(Signal::kHistogram, &histogram_);
  finish(Signal::kExponentialHistogram, &exponential_histogram_);
  finish(Signal::kSummary, &summary_);
  return batches;
}

void MetricDecoder::Trim(int64_t bytes_max) {
  gauge_.Trim(bytes_max);
  sum_.Trim(bytes_max);
  histogram_.Trim(bytes_max);
  exponential_histogram_.Trim(bytes_max);
  summary_.Trim(bytes_max);
}

}  // namespace sheaf::decode
