#include "demo_requests.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include <fmt/format.h>

namespace sheaf::cli {
namespace {

using wire::NestedWriter;

constexpr std::string_view kScope = "sheaf.demo", kScopeVersion = "1";
constexpr std::string_view kSchemaUrl = "https://opentelemetry.io/schemas/1.37.0";
constexpr uint64_t kDelta = 1, kCumulative = 2;

OtlpAttributes ResourceOf(const std::string& service) {
  return {{"service.name", service},
          {"service.namespace", std::string("shop")},
          {"service.version", std::string("1.4.2")},
          {"service.instance.id", service + "-0"},
          {"deployment.environment.name", std::string("demo")},
          {"host.name", fmt::format("node-{}", std::hash<std::string>()(service) % 3)},
          {"telemetry.sdk.language", std::string(service == "frontend" ? "nodejs" : "cpp")}};
}

/// Opens Resource… and Scope…, calls `write` for the records, closes both. The layout is the same for all signals.
template <typename Write>
void WriteService(const std::string& service, NestedWriter* writer, Write write) {
  const size_t resource = writer->Begin(1);
  WriteResource(ResourceOf(service), writer);
  const size_t scope = writer->Begin(2);
  WriteScope(kScope, kScopeVersion, writer);
  write();
  writer->End(scope);
  writer->Bytes(3, kSchemaUrl);
  writer->End(resource);
}

template <typename Record>
std::map<std::string, std::vector<const Record*>> ByService(const std::vector<Record>& records) {
  std::map<std::string, std::vector<const Record*>> grouped;
  for (const Record& record : records) grouped[record.service].push_back(&record);
  return grouped;
}

void WriteSpan(const DemoSpan& span, NestedWriter* writer) {
  const size_t message = writer->Begin(2);
  writer->Bytes(1, span.trace_id);
  writer->Bytes(2, span.span_id);
  if (!span.parent_span_id.empty()) writer->Bytes(4, span.parent_span_id);
  writer->Bytes(5, span.name);
  writer->Varint(6, static_cast<uint64_t>(span.kind));
  writer->Fixed64(7, static_cast<uint64_t>(span.start_ns));
  writer->Fixed64(8, static_cast<uint64_t>(span.end_ns));
  WriteAttributes(9, span.attributes, writer);
  for (const DemoEvent& event : span.events) {
    const size_t inner = writer->Begin(11);
    writer->Fixed64(1, static_cast<uint64_t>(event.time_ns));
    writer->Bytes(2, event.name);
    WriteAttributes(3, event.attributes, writer);
    writer->End(inner);
  }
  if (!span.linked_trace_id.empty()) {
    const size_t link = writer->Begin(13);
    writer->Bytes(1, span.linked_trace_id);
    writer->Bytes(2, span.linked_span_id);
    WriteAttributes(4, {{"messaging.operation.type", std::string("process")}}, writer);
    writer->End(link);
  }
  if (span.failed) {
    const size_t status = writer->Begin(15);
    writer->Bytes(2, span.error);
    writer->Varint(3, 2);
    writer->End(status);
  }
  writer->Fixed32(16, 0x101);  // Sampled; whether the parent is remote is known (it is not).
  writer->End(message);
}

void WriteLog(const DemoLog& log, NestedWriter* writer) {
  const size_t message = writer->Begin(2);
  writer->Fixed64(1, static_cast<uint64_t>(log.time_ns));
  writer->Varint(2, static_cast<uint64_t>(log.severity));
  writer->Bytes(3, log.severity >= 17 ? "ERROR" : log.severity >= 13 ? "WARN" : "INFO");
  const size_t body = writer->Begin(5);
  if (log.structured_body.empty()) {
    WriteAnyValue(log.body, writer);
  } else {
    const size_t list = writer->Begin(6);
    WriteAttributes(1, log.structured_body, writer);
    writer->End(list);
  }
  writer->End(body);
  WriteAttributes(6, log.attributes, writer);
  writer->Fixed32(8, 1);
  writer->Bytes(9, log.trace_id);
  writer->Bytes(10, log.span_id);
  writer->Fixed64(11, static_cast<uint64_t>(log.time_ns) + 50'000);
  if (!log.event_name.empty()) writer->Bytes(12, log.event_name);
  writer->End(message);
}

/// Writes metrics of one service into the scope that is open.
class MetricWriter {
 public:
  MetricWriter(const MetricTimes& times, NestedWriter* writer) : times_(times), writer_(writer) {}

  void Gauge(std::string_view name, std::string_view unit, int64_t value) {
    Metric(name, unit, "A value at this moment", 5, [&] { Number(times_.now_ns, value, {}); });
  }

  void Sum(std::string_view name, std::string_view unit, const OtlpValue& value, bool since_start,
           const DemoShop::ServiceNumbers* sample) {
    Metric(name, unit, "Counted by the shop", 7, [&] {
      Number(since_start ? times_.start_ns : times_.period_ns, value,
             sample == nullptr ? OtlpAttributes{} : OtlpAttributes{{"outcome", std::string("all")}});
      writer_->Varint(2, since_start ? kCumulative : kDelta);
      writer_->Varint(3, 1);
    });
  }

  void Histogram(std::string_view name, const DemoShop::ServiceNumbers& numbers) {
    static constexpr double kBounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};
    std::vector<uint64_t> counts(std::size(kBounds) + 1);
    for (const double seconds : numbers.seconds)
      ++counts[static_cast<size_t>(std::lower_bound(std::begin(kBounds), std::end(kBounds), seconds) - kBounds)];
    Metric(name, "s", "How long requests took", 9, [&] {
      const size_t point = BeginPoint(numbers, 9);
      const size_t packed = writer_->Begin(6);
      for (const uint64_t count : counts) writer_->PackedFixed64(count);
      writer_->End(packed);
      const size_t bounds = writer_->Begin(7);
      for (const double bound : kBounds) writer_->PackedFixed64(std::bit_cast<uint64_t>(bound));
      writer_->End(bounds);
      const auto [low, high] = std::minmax_element(numbers.seconds.begin(), numbers.seconds.end());
      Exemplar(8, *high, numbers);
      WriteDouble(11, *low, writer_);
      WriteDouble(12, *high, writer_);
      writer_->End(point);
      writer_->Varint(2, kDelta);
    });
  }

  void ExponentialHistogram(std::string_view name, const DemoShop::ServiceNumbers& numbers) {
    constexpr int kScale = 2;  // Four buckets a doubling.
    std::map<int, uint64_t> counts;
    for (const double seconds : numbers.seconds) ++counts[static_cast<int>(std::ceil(std::log2(seconds) * (1 << kScale))) - 1];
    const int offset = counts.begin()->first, last = counts.rbegin()->first;
    Metric(name, "s", "How long requests took, in exponential buckets", 10, [&] {
      const size_t point = BeginPoint(numbers, 1);
      writer_->Varint(6, NestedWriter::ZigZag(kScale));
      writer_->Fixed64(7, 0);
      const size_t positive = writer_->Begin(8);
      writer_->Varint(1, NestedWriter::ZigZag(offset));
      const size_t packed = writer_->Begin(2);
      for (int bucket = offset; bucket <= last; ++bucket) writer_->PackedVarint(counts.count(bucket) != 0 ? counts[bucket] : 0);
      writer_->End(packed);
      writer_->End(positive);
      writer_->End(point);
      writer_->Varint(2, kDelta);
    });
  }

  void Summary(std::string_view name, const DemoShop::ServiceNumbers& numbers) {
    std::vector<double> sorted = numbers.seconds;
    std::sort(sorted.begin(), sorted.end());
    Metric(name, "s", "How long requests took, as quantiles", 11, [&] {
      const size_t point = BeginPoint(numbers, 7);
      for (const double quantile : {0.5, 0.9, 0.99}) {
        const size_t value = writer_->Begin(6);
        WriteDouble(1, quantile, writer_);
        WriteDouble(2, sorted[static_cast<size_t>(quantile * static_cast<double>(sorted.size() - 1))], writer_);
        writer_->End(value);
      }
      writer_->End(point);
    });
  }

 private:
  template <typename Write>
  void Metric(std::string_view name, std::string_view unit, std::string_view description, uint32_t data_field, Write write) {
    const size_t metric = writer_->Begin(2);
    writer_->Bytes(1, name);
    writer_->Bytes(2, description);
    writer_->Bytes(3, unit);
    const size_t data = writer_->Begin(data_field);
    write();
    writer_->End(data);
    writer_->End(metric);
  }

  void Number(int64_t since_ns, const OtlpValue& value, const OtlpAttributes& attributes) {
    const size_t point = writer_->Begin(1);
    writer_->Fixed64(2, static_cast<uint64_t>(since_ns));
    writer_->Fixed64(3, static_cast<uint64_t>(times_.now_ns));
    if (const auto* integer = std::get_if<int64_t>(&value)) {
      writer_->Fixed64(6, static_cast<uint64_t>(*integer));
    } else {
      WriteDouble(4, std::get<double>(value), writer_);
    }
    WriteAttributes(7, attributes, writer_);
    writer_->End(point);
  }

  /// Opens a data point of a distribution: attributes (their field differs by type), times, count and sum.
  size_t BeginPoint(const DemoShop::ServiceNumbers& numbers, uint32_t attributes_field) {
    double sum = 0;
    for (const double seconds : numbers.seconds) sum += seconds;
    const size_t point = writer_->Begin(1);
    WriteAttributes(attributes_field, {{"rpc.system", std::string("grpc")}}, writer_);
    writer_->Fixed64(2, static_cast<uint64_t>(times_.period_ns));
    writer_->Fixed64(3, static_cast<uint64_t>(times_.now_ns));
    writer_->Fixed64(4, numbers.seconds.size());
    WriteDouble(5, sum, writer_);
    return point;
  }

  void Exemplar(uint32_t field, double value, const DemoShop::ServiceNumbers& numbers) {
    const size_t exemplar = writer_->Begin(field);
    writer_->Fixed64(2, static_cast<uint64_t>(times_.now_ns));
    WriteDouble(3, value, writer_);
    writer_->Bytes(4, numbers.sample_span_id);
    writer_->Bytes(5, numbers.sample_trace_id);
    writer_->End(exemplar);
  }

  const MetricTimes& times_;
  NestedWriter* const writer_;
};

std::string BytesOf(const NestedWriter& writer) {
  std::string out;
  writer.AppendTo(&out);
  return out;
}

}  // namespace

std::string TracesRequest(const DemoStory& story) {
  NestedWriter writer;
  for (const auto& [service, spans] : ByService(story.spans)) {
    WriteService(service, &writer, [&] {
      for (const DemoSpan* span : spans) WriteSpan(*span, &writer);
    });
  }
  return BytesOf(writer);
}

std::string LogsRequest(const DemoStory& story) {
  NestedWriter writer;
  for (const auto& [service, logs] : ByService(story.logs)) {
    WriteService(service, &writer, [&] {
      for (const DemoLog* log : logs) WriteLog(*log, &writer);
    });
  }
  return BytesOf(writer);
}

std::string MetricsRequest(const DemoShop& shop, const MetricTimes& times) {
  NestedWriter writer;
  for (const auto& [service, numbers] : shop.services()) {
    WriteService(service, &writer, [&] {
      MetricWriter metrics(times, &writer);
      metrics.Gauge("process.memory.usage", "By", numbers.memory_bytes);
      metrics.Sum("shop.requests", "{request}", numbers.requests, true, &numbers);
      metrics.Sum("shop.errors", "{request}", numbers.errors, true, nullptr);
      metrics.Sum("process.cpu.time", "s", numbers.busy_seconds, true, nullptr);
      if (service == "checkout") metrics.Sum("shop.revenue", "EUR", shop.revenue(), true, nullptr);
      if (service == "fulfilment") metrics.Gauge("shop.queue.length", "{order}", shop.queue_length());
      if (numbers.seconds.empty()) return;
      metrics.Histogram("rpc.server.duration", numbers);
      metrics.ExponentialHistogram("shop.request.duration", numbers);
      metrics.Summary("shop.request.quantiles", numbers);
    });
  }
  return BytesOf(writer);
}

}  // namespace sheaf::cli
