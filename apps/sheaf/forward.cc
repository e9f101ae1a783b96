#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "client/request_headers.h"
#include "command.h"
#include "core/log.h"
#include "forwarder.h"
#include "import_files.h"
#include "io/posix.h"
#include "stop_signals.h"

namespace sheaf::cli {
namespace {

struct ForwardOptions {
  ForwarderOptions forwarder;
  std::vector<std::string> files, headers, header_files;
  std::string table, compression = "gzip", log_level = "info";
  int64_t flush_interval_ms = 200, latency_target_ms = 500, timeout_ms = 30'000, stop_timeout_ms = 10'000;
  bool json = false;
};

/// Each line a NAME:VALUE: secrets do not belong into a command line, which everybody on the machine can see.
Status ReadHeaderFile(const std::string& path, std::vector<std::string>* headers) {
  constexpr int64_t kBytesMax = 64 << 10;
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(io::PosixFileSystem(), path, kBytesMax));
  const std::string text = bytes->ToString();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r") != std::string::npos) headers->push_back(line);
    begin = end + 1;
  }
  return Status::OK();
}

/// Checks what the flags leave open, and fills in what they stand for.
Status Complete(ForwardOptions* options) {
  ForwarderOptions& forwarder = options->forwarder;
  forwarder.exporter.queue.batching.wait_ns_max = options->flush_interval_ms * 1'000'000;
  forwarder.exporter.queue.batching.latency_target_ns = options->latency_target_ms * 1'000'000;
  forwarder.target.timeout = std::chrono::milliseconds(options->timeout_ms);
  forwarder.drain = std::chrono::milliseconds(options->stop_timeout_ms);
  forwarder.target.compression = *wire::ParseEncoding(options->compression == "none" ? "" : options->compression);
  for (const std::string& file : options->header_files) SHEAF_RETURN_NOT_OK(ReadHeaderFile(file, &options->headers));
  for (const std::string& header : options->headers) {
    SHEAF_ASSIGN_OR_RETURN(auto parsed, client::ParseRequestHeader(header));
    forwarder.target.headers.push_back(std::move(parsed));
  }
  SHEAF_RETURN_NOT_OK(client::CheckRequestHeaders(forwarder.target.headers));
  for (size_t i = 0; i < forwarder.targets.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (QueueFolderName(forwarder.targets[i]) == QueueFolderName(forwarder.targets[k])) {
        return MakeError(ErrorKind::kInvalid, "--to '{}' is there twice", forwarder.targets[i]);
      }
    }
  }
  return Status::OK();
}

void PrintFigures(const Forwarder& forwarder, bool json) {
  for (const auto& [target, s] : forwarder.stats()) {
    if (json) {
      const nlohmann::json line = {{"target", target},
                                   {"sent_rows", s.sent_rows},
                                   {"sent_requests", s.sent_requests},
                                   {"sent_bytes", s.sent_bytes},
                                   {"retries", s.retries},
                                   {"rejected_rows", s.rejected_rows},
                                   {"refused_rows", s.refused_rows},
                                   {"unreadable_rows", s.unreadable_rows},
                                   {"inexact_rows", s.inexact_rows},
                                   {"perhaps_twice_rows", s.perhaps_twice_rows},
                                   {"queued_rows", s.queue.rows},
                                   {"queued_bytes", s.queue.bytes},
                                   {"last_error", s.last_error}};
      std::printf("%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
      continue;
    }
    std::printf("%s: %lld rows sent, %lld rejected, %lld refused, %lld perhaps twice, %lld left in the queue\n", target.c_str(),
                static_cast<long long>(s.sent_rows), static_cast<long long>(s.rejected_rows), static_cast<long long>(s.refused_rows),
                static_cast<long long>(s.perhaps_twice_rows), static_cast<long long>(s.queue.rows));
  }
  std::fflush(stdout);
}

/// Queues every request of the files; waits while the queue is full.
Status SendFiles(const ForwardOptions& options, Forwarder* forwarder) {
  for (const std::string& file : options.files) {
    const Status sent = ReadOtlpFile(file, options.table, [&](wire::OtlpRequest kind, const std::string& request) -> Status {
      for (;;) {
        std::promise<Status> done;
        forwarder->Take(kind, request, [&](const auto& outcome) { done.set_value(outcome.status()); });
        const Status taken = done.get_future().get();
        if (taken.ok() || KindOf(taken) != ErrorKind::kThrottled) return taken;
        if (Interrupted()) return MakeError(ErrorKind::kCancelled, "interrupted; what was queued is sent when the command runs again");
        forwarder->Flush(std::chrono::milliseconds(1'000));
      }
    });
    SHEAF_RETURN_NOT_OK(sent.ok() ? sent : WithContext(sent, file));
  }
  while (!forwarder->Flush(std::chrono::milliseconds(500))) {
    if (!Interrupted()) continue;
    return MakeError(ErrorKind::kCancelled, "interrupted; what is left in the queue is sent when the command runs again");
  }
  return Status::OK();
}

int RunFiles(const ForwardOptions& options) {
  CatchInterrupts();
  auto forwarder = Forwarder::Open(options.forwarder);
  if (!forwarder.ok()) return Fail(forwarder.status());
  Status status = SendFiles(options, forwarder->get());
  const Status stopped = (*forwarder)->Stop();
  if (status.ok()) status = stopped;
  PrintFigures(**forwarder, options.json);
  for (const auto& [target, stats] : (*forwarder)->stats()) {
    const int64_t left_out = stats.rejected_rows + stats.refused_rows + stats.unreadable_rows;
    if (status.ok() && left_out > 0) {
      status = MakeError(ErrorKind::kInvalid, "{} did not take {} rows; the log above says why", target, left_out);
    }
  }
  return status.ok() ? kDone : Fail(status);
}

int RunForward(ForwardOptions options) {
  ConfigureLog(options.log_level == "debug"  ? LogLevel::kDebug
               : options.log_level == "warn" ? LogLevel::kWarn
               : options.log_level == "error" ? LogLevel::kError
                                              : LogLevel::kInfo,
               false);
  const Status complete = Complete(&options);
  if (!complete.ok()) return Misused(complete.message());
  if (!options.files.empty()) return RunFiles(options);
  const sigset_t stop_signals = BlockStopSignals();
  auto forwarder = Forwarder::Open(options.forwarder);
  if (!forwarder.ok()) return Fail(forwarder.status());
  const auto ports = (*forwarder)->Listen();
  if (!ports.ok()) return Fail(ports.status());
  for (const auto& [name, port] :
       {std::pair("otlp-grpc", ports->otlp_grpc), std::pair("otlp-http", ports->otlp_http), std::pair("http", ports->http)}) {
    std::printf("%s %s:%u\n", name, options.forwarder.bind.c_str(), static_cast<unsigned>(port));
  }
  std::printf("ready\n");
  std::fflush(stdout);

  const int signal = WaitForStopSignal(stop_signals);
  LogInfo("forward.signalled", {{"signal", signal}});
  const Status stopped = (*forwarder)->Stop();
  PrintFigures(**forwarder, options.json);
  return stopped.ok() ? kDone : Fail(stopped);
}

}  // namespace

void AddForward(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<ForwardOptions>();
  ForwarderOptions& f = options->forwarder;
  f.queue = "./sheaf-forward";
  CLI::App* command = app->add_subcommand("forward", "Receives OTLP (or reads files), keeps it in a durable queue, sends it on");
  command->add_option("FILE", options->files, "OTLP files to send, as `sheaf import` reads them; none: receives until SIGTERM or Ctrl-C");
  command->add_option("--to", f.targets,
                      "grpc://HOST:4317, grpcs://, http://HOST:4318, https://, otap://HOST:4317 or otap+tls://; may be given again")
      ->required()
      ->type_name("URL");
  command->add_option("--queue", f.queue, "Folder of the queue (default ./sheaf-forward)")->type_name("DIR");
  command->add_option("--max-queue-bytes", f.exporter.queue.bytes_max,
                      "Undelivered bytes for each target; beyond, senders are asked to wait (default 1 GiB)")
      ->check(CLI::Range(int64_t{1} << 20, int64_t{1} << 50))
      ->type_name("BYTES");
  command->add_option("--max-memory-bytes", f.exporter.queue.memory_bytes_max, "Of those, kept in memory too (default 64 MiB)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->type_name("BYTES");
  command->add_option("--batch-rows", f.exporter.queue.batching.rows_max, "Spans, log records or data points sent together (default 8192)")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--batch-bytes", f.exporter.queue.batching.bytes_max, "Bytes sent together, before compression (default 2 MiB)")
      ->check(CLI::Range(int64_t{1}, int64_t{64} << 20));
  command->add_option("--flush-interval", options->flush_interval_ms,
                      "Milliseconds that a request waits for others at most (default 200)")
      ->check(CLI::Range(0, 3'600'000));
  command->add_option("--latency-target", options->latency_target_ms,
                      "Milliseconds from a request's coming to its target's answer: waits are shorter where those are slow (default 500)")
      ->check(CLI::Range(1, 3'600'000));
  command->add_option("--senders", f.exporter.senders, "Requests under way to each target (default 4)")->check(CLI::Range(1, 64));
  command->add_option("--compression", options->compression, "gzip (default), zstd or none")
      ->check(CLI::IsMember({"gzip", "zstd", "none"}));
  command->add_flag("--metric-metadata", f.target.metric_metadata,
                    "To otap:// targets: sends the metadata of metrics, which this program takes but some Collectors refuse");
  command->add_option("--header", options->headers, "Sent with every request, such as 'authorization: Bearer …'")->type_name("NAME:VALUE");
  command->add_option("--header-file", options->header_files, "File of such headers, one a line: for secrets")->type_name("FILE");
  command->add_option("--ca-file", f.target.tls.ca_file, "Certificates by which targets are known (default the system's)")
      ->type_name("PEM");
  command->add_option("--client-certificate", f.target.tls.certificate_file, "Certificate for targets that ask for one")->type_name("PEM");
  command->add_option("--client-key", f.target.tls.key_file, "Its key")->type_name("PEM");
  command->add_option("--timeout", options->timeout_ms, "Milliseconds to wait for a target's answer (default 30000)")
      ->check(CLI::Range(1, 3'600'000));
  command->add_option("--stop-timeout", options->stop_timeout_ms, "Milliseconds in which the queue is emptied at the end (default 10000)")
      ->check(CLI::Range(0, 3'600'000));
  command->add_option("--bind", f.bind, "Address to listen on (default 127.0.0.1)")->type_name("ADDR");
  const CLI::Range ports(0, 65'535);
  command->add_option("--port-otlp-grpc", f.port_otlp_grpc, "OTLP over gRPC (default 4317; 0 picks a free port)")->check(ports);
  command->add_option("--port-otlp-http", f.port_otlp_http, "OTLP over HTTP (default 4318)")->check(ports);
  command->add_option("--port-http", f.port_http, "Metrics and health over HTTP (default 8080)")->check(ports);
  command->add_option("--tls-certificate", f.transport.tls_certificate_file, "Certificate to listen with")->type_name("PEM");
  command->add_option("--tls-key", f.transport.tls_key_file, "Its key")->type_name("PEM");
  command->add_option("--tls-client-ca", f.transport.tls_client_ca_file, "Clients must show a certificate signed by it")->type_name("PEM");
  command->add_option("--table", options->table, "Of files: traces, logs or metrics; .json tells by itself")->type_name("T");
  command->add_option("--log-level", options->log_level, "debug, info (default), warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  command->add_flag("--json", options->json, "Prints the figures at the end as JSON, a line for each target");
  command->callback([chosen, options] { *chosen = [options] { return RunForward(*options); }; });
}

}  // namespace sheaf::cli
