/// What `sheaf forward` runs: OTLP is received, kept in a durable queue for each target, acknowledged, and sent on.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/exporter.h"
#include "core/mutex.h"
#include "core/status.h"
#include "serve/health.h"
#include "serve/otlp_receiver.h"
#include "serve/transport.h"

namespace sheaf::cli {

struct ForwarderOptions {
  std::vector<std::string> targets;      // As of client::MakeExportTarget().
  std::string queue;                     // Folder; each target has one below it.
  client::ExporterOptions exporter;      // But for its name and the queue's folder.
  client::ExportTargetOptions target;
  std::string bind = "127.0.0.1";
  uint16_t port_otlp_grpc = 4317, port_otlp_http = 4318, port_http = 8080;
  serve::TransportOptions transport;
  int64_t retry_after_ms = 1000;         // What senders are asked to wait while a queue is full.
  std::chrono::milliseconds receive_grace{5'000}, drain{10'000};
};

/// The figures of a target.
using TargetStats = std::pair<std::string, client::ExporterStats>;

/// One thread may call Stop(); everything else is thread-safe.
class Forwarder {
 public:
  /// Opens the queues, begins to send what they hold. Errors: those of MakeExportTarget() and Exporter::Open().
  static Result<std::unique_ptr<Forwarder>> Open(const ForwarderOptions& options);
  ~Forwarder();

  struct Ports {
    uint16_t otlp_grpc = 0, otlp_http = 0, http = 0;
  };
  /// Receives from now on. Errors: Denied (an address that others can reach, without client certificates), those of Transport.
  Result<Ports> Listen();

  /// Queues a request for all targets; `answer` is run once, when it is durable for each or failed for one. One that failed for one
  /// target only is sent by the others: whoever hands it in again makes it come there twice.
  void Take(wire::OtlpRequest kind, std::string_view request, serve::IngestAnswer answer);

  /// Waits until everything queued is delivered. False: not in that time.
  bool Flush(std::chrono::milliseconds timeout);

  /// Receives no more, sends what is queued for at most ForwarderOptions::drain, closes. What is left stays in the queue.
  Status Stop();

  std::vector<TargetStats> stats() const;

 private:
  explicit Forwarder(const ForwarderOptions& options)
      : options_(options), receiver_([this](wire::OtlpRequest kind, std::unique_ptr<serve::Body> request, serve::IngestAnswer answer) {
          Take(kind, request->view(), std::move(answer));
        }, options.retry_after_ms) {}
  Status OpenTarget(const std::string& address);
  /// A queue that cannot be written any more is told by /readyz and grpc.health.v1: only a new start helps.
  void ShowHealth();
  void WarnOfForgottenQueues() const;
  void ServeMetrics();

  const ForwarderOptions options_;
  std::vector<std::unique_ptr<client::Exporter>> exporters_;
  serve::OtlpReceiver receiver_;
  serve::Health health_;
  std::unique_ptr<serve::Transport> transport_;
  bool stopped_ = false;
};

/// The folder's name of a target's queue: its address, with what does not belong into a name as '_'.
std::string QueueFolderName(std::string_view address);

}  // namespace sheaf::cli
