#include "sheaf/exporter.h"

#include <future>
#include <utility>

#include "client/exporter.h"
#include "core/status.h"
#include "wire/otlp_json.h"

namespace sheaf {
namespace {

wire::OtlpRequest KindOf(TelemetrySignal signal) {
  switch (signal) {
    case TelemetrySignal::kTraces: return wire::OtlpRequest::kTraces;
    case TelemetrySignal::kLogs: return wire::OtlpRequest::kLogs;
    case TelemetrySignal::kMetrics: break;
  }
  return wire::OtlpRequest::kMetrics;
}

Result<client::ExportTargetOptions> TargetOptionsOf(const ExportOptions& options) {
  const auto encoding = wire::ParseEncoding(options.compression == "none" ? "" : options.compression);
  if (!encoding) return MakeError(ErrorKind::kInvalid, "compression '{}': write gzip, zstd or none", options.compression);
  if (options.timeout.count() <= 0) return MakeError(ErrorKind::kInvalid, "a timeout of {} ms", options.timeout.count());
  return client::ExportTargetOptions{
      .compression = *encoding,
      .timeout = options.timeout,
      .tls = {.ca_file = options.ca_file, .certificate_file = options.certificate_file, .key_file = options.key_file},
      .headers = options.headers};
}

Result<client::ExporterOptions> ExporterOptionsOf(const std::string& address, const ExportOptions& options) {
  if (options.senders < 1 || options.senders > 64) return MakeError(ErrorKind::kInvalid, "{} senders; write 1 to 64", options.senders);
  if (options.queue_bytes_max <= 0 || options.memory_bytes_max < 0 || options.batch_rows_max <= 0 || options.batch_bytes_max <= 0) {
    return MakeError(ErrorKind::kInvalid, "sizes of the queue and of batches are positive");
  }
  client::ExporterOptions out;
  out.name = address;
  out.senders = options.senders;
  out.queue.directory = options.queue_directory;
  out.queue.bytes_max = options.queue_bytes_max;
  out.queue.memory_bytes_max = options.memory_bytes_max;
  out.queue.batching.rows_max = options.batch_rows_max;
  out.queue.batching.bytes_max = options.batch_bytes_max;
  out.queue.batching.wait_ns_max = std::chrono::nanoseconds(options.wait_max).count();
  out.queue.batching.latency_target_ns = std::chrono::nanoseconds(options.latency_target).count();
  return out;
}

}  // namespace

class Exporter::Inner {
 public:
  Inner(std::string name, std::unique_ptr<client::Exporter> made) : address(std::move(name)), exporter(std::move(made)) {}
  const std::string address;
  const std::unique_ptr<client::Exporter> exporter;
};

Exporter::Exporter(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}
Exporter::~Exporter() = default;

arrow::Result<std::shared_ptr<Exporter>> Exporter::Open(const std::string& address, const ExportOptions& options) {
  SHEAF_ASSIGN_OR_RETURN(const auto target_options, TargetOptionsOf(options));
  SHEAF_ASSIGN_OR_RETURN(auto exporter_options, ExporterOptionsOf(address, options));
  SHEAF_ASSIGN_OR_RETURN(auto target, client::MakeExportTarget(address, target_options));
  SHEAF_ASSIGN_OR_RETURN(auto exporter, client::Exporter::Open(std::move(exporter_options), std::move(target)));
  return std::shared_ptr<Exporter>(new Exporter(std::make_unique<Inner>(address, std::move(exporter))));
}

arrow::Status Exporter::ExportAsync(TelemetrySignal signal, std::string_view request, TelemetryFormat format, ExportDone done) {
  if (format == TelemetryFormat::kProtobuf) return inner_->exporter->Enqueue(KindOf(signal), request, std::move(done));
  std::string protobuf;
  SHEAF_RETURN_NOT_OK(wire::OtlpJsonToProtobuf(KindOf(signal), request, &protobuf));
  return inner_->exporter->Enqueue(KindOf(signal), protobuf, std::move(done));
}

arrow::Status Exporter::Export(TelemetrySignal signal, std::string_view request, TelemetryFormat format) {
  std::promise<arrow::Status> queued;
  SHEAF_RETURN_NOT_OK(ExportAsync(signal, request, format, [&](arrow::Status status) { queued.set_value(std::move(status)); }));
  return queued.get_future().get();
}

bool Exporter::Flush(std::chrono::milliseconds timeout) { return inner_->exporter->Flush(timeout); }
arrow::Status Exporter::Stop(std::chrono::milliseconds drain) { return inner_->exporter->Stop(drain); }

ExportFigures Exporter::figures() const {
  client::ExporterStats stats = inner_->exporter->stats();
  return {.queued_requests = stats.queue.requests,
          .queued_rows = stats.queue.rows,
          .queued_bytes = stats.queue.bytes,
          .oldest_age_ms = stats.oldest_age_ms,
          .sent_rows = stats.sent_rows,
          .rejected_rows = stats.rejected_rows,
          .refused_rows = stats.refused_rows,
          .unreadable_rows = stats.unreadable_rows,
          .dropped_rows = stats.dropped_rows,
          .perhaps_twice_rows = stats.perhaps_twice_rows,
          .retries = stats.retries,
          .last_error = std::move(stats.last_error)};
}

std::string Exporter::MetricsText() const {
  const std::pair<std::string, client::ExporterStats> figures[] = {{inner_->address, inner_->exporter->stats()}};
  return client::ExporterMetricsText(figures);
}

}  // namespace sheaf
