#include "forwarder.h"

#include <algorithm>
#include <atomic>

#include "core/log.h"
#include "core/metrics.h"
#include "io/posix.h"
#include "serve/server.h"
#include "wire/otlp_records.h"

namespace sheaf::cli {
namespace {

/// One request on its way into several queues.
struct Pending {
  Pending(int queues, int64_t rows, serve::IngestAnswer answered) : left(queues), rows(rows), answer(std::move(answered)) {}

  void Done(const Status& status) {
    {
      MutexLock lock(&mutex);
      if (!status.ok() && error.ok()) error = status;
    }
    if (left.fetch_sub(1) != 1) return;
    Status outcome;
    {
      MutexLock lock(&mutex);
      outcome = error;
    }
    if (outcome.ok()) {
      answer(serve::IngestOutcome{.accepted = rows});
    } else {
      answer(outcome);
    }
  }

  std::atomic<int> left;
  const int64_t rows;
  const serve::IngestAnswer answer;
  Mutex mutex;
  Status error SHEAF_GUARDED_BY(mutex);
};

}  // namespace

std::string QueueFolderName(std::string_view address) {
  std::string name(address);
  for (char& c : name) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    if (!fine) c = '_';
  }
  return name;
}

Result<std::unique_ptr<Forwarder>> Forwarder::Open(const ForwarderOptions& options) {
  std::unique_ptr<Forwarder> forwarder(new Forwarder(options));
  for (const std::string& address : options.targets) {
    const Status opened = forwarder->OpenTarget(address);
    if (!opened.ok()) return opened;
  }
  forwarder->WarnOfForgottenQueues();
  return forwarder;
}

Status Forwarder::OpenTarget(const std::string& address) {
  SHEAF_ASSIGN_OR_RETURN(auto target, client::MakeExportTarget(address, options_.target));
  client::ExporterOptions exporter = options_.exporter;
  exporter.name = address;
  exporter.queue.directory = io::Join(options_.queue, QueueFolderName(address));
  SHEAF_ASSIGN_OR_RETURN(auto opened, client::Exporter::Open(std::move(exporter), std::move(target)));
  exporters_.push_back(std::move(opened));
  return Status::OK();
}

/// A target that is named no more, or spelled otherwise: what waits for it would lie there for ever.
void Forwarder::WarnOfForgottenQueues() const {
  const auto folders = io::PosixFileSystem()->List(options_.queue);
  if (!folders.ok()) return;  // It was made just now, so there is nothing to forget.
  for (const io::FileInfo& folder : *folders) {
    const bool known = std::any_of(options_.targets.begin(), options_.targets.end(),
                                   [&](const std::string& address) { return QueueFolderName(address) == folder.name; });
    if (folder.is_directory && !known) {
      LogWarn("forward.queue_without_target", {{"queue", io::Join(options_.queue, folder.name)},
                                               {"advice", "name its target once more to send what it holds, or remove it"}});
    }
  }
}

Forwarder::~Forwarder() {
  const Status stopped = Stop();
  if (!stopped.ok()) LogError("forward.stop_failed", {{"error", stopped.ToString()}});
}

void Forwarder::Take(wire::OtlpRequest kind, std::string_view request, serve::IngestAnswer answer) {
  const Result<int64_t> rows = wire::CountOtlpRecords(kind, request);
  if (!rows.ok()) return answer(rows.status());
  if (*rows == 0) return answer(serve::IngestOutcome());
  // All or none, as far as that can be known before.
  for (const auto& exporter : exporters_) {
    const Status admitted = exporter->Admit(static_cast<int64_t>(request.size()));
    if (!admitted.ok()) {
      ShowHealth();
      return answer(admitted);
    }
  }
  const auto pending = std::make_shared<Pending>(static_cast<int>(exporters_.size()), *rows, std::move(answer));
  for (const auto& exporter : exporters_) {
    const Status queued = exporter->Enqueue(kind, request, [this, pending](const Status& status) {
      if (!status.ok()) ShowHealth();
      pending->Done(status);
    });
    if (!queued.ok()) pending->Done(queued);
  }
}

void Forwarder::ShowHealth() {
  for (const auto& exporter : exporters_) {
    const Status health = exporter->health();
    if (!health.ok()) return health_.Set(false, false, health.message());
  }
}

Result<Forwarder::Ports> Forwarder::Listen() {
  if (!serve::IsLoopback(options_.bind) && options_.transport.tls_client_ca_file.empty()) {
    return MakeError(ErrorKind::kDenied,
                     "refusing to listen on {}: others could connect, and there is no authentication. Bind to 127.0.0.1, or give "
                     "--tls-certificate, --tls-key and --tls-client-ca so that clients must show a certificate",
                     options_.bind);
  }
  SHEAF_ASSIGN_OR_RETURN(transport_, serve::Transport::Make(options_.transport));
  receiver_.Register(transport_.get(), "otlp_grpc", "otlp_http");
  health_.Register(transport_.get(), "otlp_grpc", "http");
  ServeMetrics();
  Ports ports;
  SHEAF_ASSIGN_OR_RETURN(ports.otlp_grpc, transport_->Listen("otlp_grpc", options_.bind, options_.port_otlp_grpc));
  SHEAF_ASSIGN_OR_RETURN(ports.otlp_http, transport_->Listen("otlp_http", options_.bind, options_.port_otlp_http));
  SHEAF_ASSIGN_OR_RETURN(ports.http, transport_->Listen("http", options_.bind, options_.port_http));
  health_.Set(true, true, "");
  return ports;
}

void Forwarder::ServeMetrics() {
  transport_->HandleHttp("http", "GET", "/metrics", [this](std::shared_ptr<serve::HttpExchange> exchange) {
    exchange->Respond(200, {{"content-type", "text/plain; version=0.0.4; charset=utf-8"}},
                      Metrics().ToText() + client::ExporterMetricsText(stats()));
  });
}

bool Forwarder::Flush(std::chrono::milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  return std::all_of(exporters_.begin(), exporters_.end(), [&](const auto& exporter) {
    return exporter->Flush(std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()));
  });
}

Status Forwarder::Stop() {
  if (std::exchange(stopped_, true)) return Status::OK();
  health_.Set(false, false, "stopping");
  health_.EndWatches();
  if (transport_ != nullptr) transport_->Shutdown(options_.receive_grace);
  const auto end = std::chrono::steady_clock::now() + options_.drain;
  Status status;
  for (const auto& exporter : exporters_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    const Status stopped = exporter->Stop(std::max(left, std::chrono::milliseconds(0)));
    if (status.ok()) status = stopped;
  }
  transport_.reset();  // Closing the queues ended the last requests.
  return status;
}

std::vector<TargetStats> Forwarder::stats() const {
  std::vector<TargetStats> stats;
  for (size_t i = 0; i < exporters_.size(); ++i) stats.emplace_back(options_.targets[i], exporters_[i]->stats());
  return stats;
}

}  // namespace sheaf::cli
