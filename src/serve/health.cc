#include "serve/health.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "wire/nested_writer.h"
#include "wire/protobuf_reader.h"

namespace sheaf::serve {
namespace {

constexpr const char* kIngestServices[] = {
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "opentelemetry.proto.experimental.arrow.v1.ArrowTracesService",
    "opentelemetry.proto.experimental.arrow.v1.ArrowLogsService",
    "opentelemetry.proto.experimental.arrow.v1.ArrowMetricsService",
};

constexpr size_t kWatchersMax = 1024;

/// HealthCheckRequest { string service = 1; }; nothing where it is malformed.
std::optional<std::string> ReadService(std::string_view request) {
  wire::ProtobufReader reader(request);
  std::string service;
  while (reader.Next()) {
    if (reader.tag() == wire::Tag(1, wire::WireType::kBytes)) {
      service = reader.Bytes();
    } else {
      reader.Skip();
    }
  }
  if (!reader.ok()) return std::nullopt;
  return service;
}

/// HealthCheckResponse { ServingStatus status = 1; }
std::string WriteResponse(Health::Serving status) {
  wire::NestedWriter writer;
  if (status != Health::Serving::kUnknown) writer.Varint(1, static_cast<uint64_t>(status));
  std::string response;
  writer.AppendTo(&response);
  return response;
}

GrpcStatus Malformed() { return {.code = GrpcCode::kInvalidArgument, .message = "not a HealthCheckRequest"}; }

void AnswerText(HttpExchange* exchange, int status, const std::string& text) {
  exchange->Respond(status, {{"content-type", "text/plain; charset=utf-8"}, {"cache-control", "no-store"}}, text + "\n");
}

}  // namespace

void Health::Register(Transport* transport, const std::string& grpc, const std::string& http) {
  transport->HandleGrpc(grpc, "/grpc.health.v1.Health/Check", [this](std::shared_ptr<GrpcCall> call) {
    const std::optional<std::string> service = ReadService(call->message->view());
    if (!service) return call->Finish(Malformed());
    const Serving status = Check(*service);
    if (status == Serving::kServiceUnknown) return call->Finish({.code = GrpcCode::kNotFound, .message = "no such service"});
    call->Finish({}, WriteResponse(status));
  });
  transport->HandleGrpcStream(grpc, "/grpc.health.v1.Health/Watch",
                              [this](std::shared_ptr<GrpcStreamCall> call) { Watch(std::move(call)); });
  // Inline, so that they answer even when every worker is busy.
  transport->HandleHttp(http, "GET", "/healthz", [](std::shared_ptr<HttpExchange> call) { AnswerText(call.get(), 200, "ok"); }, true);
  transport->HandleHttp(http, "GET", "/readyz", [this](std::shared_ptr<HttpExchange> call) { AnswerReady(call.get()); }, true);
}

void Health::AnswerReady(HttpExchange* exchange) const {
  bool ready = false;
  std::string reason;
  {
    MutexLock lock(&mutex_);
    ready = ready_;
    reason = reason_;
  }
  AnswerText(exchange, ready ? 200 : 503, !ready ? "not ready: " + reason : reason.empty() ? "ready" : "ready, but " + reason);
}

Health::Serving Health::Check(const std::string& service) const {
  MutexLock lock(&mutex_);
  return CheckLocked(service);
}

Health::Serving Health::CheckLocked(const std::string& service) const {
  if (service.empty()) return ready_ ? Serving::kServing : Serving::kNotServing;
  for (const char* known : kIngestServices) {
    if (service == known) return ready_ && writable_ ? Serving::kServing : Serving::kNotServing;
  }
  return Serving::kServiceUnknown;
}

void Health::Set(bool ready, bool writable, const std::string& reason) {
  MutexLock lock(&mutex_);
  ready_ = ready;
  writable_ = writable;
  reason_ = reason;
  // Write() only queues: holding the lock keeps two changes in order for each watcher.
  for (Watcher& watcher : watchers_) {
    const Serving now = CheckLocked(watcher.service);
    if (now != std::exchange(watcher.last, now)) watcher.call->Write(WriteResponse(now));
  }
}

void Health::Watch(std::shared_ptr<GrpcStreamCall> call) {
  const std::optional<std::string> service = ReadService(call->message->view());
  if (!service) return call->Finish(Malformed());
  call->message.reset();
  GrpcStreamCall* const watched = call.get();
  {
    MutexLock lock(&mutex_);
    if (ended_ || watchers_.size() >= kWatchersMax) {
      return call->Finish({.code = GrpcCode::kUnavailable, .message = ended_ ? "the server is stopping" : "too many watches"});
    }
    const Serving now = CheckLocked(*service);
    watchers_.push_back({.service = *service, .last = now, .call = call});
    call->Write(WriteResponse(now));
  }
  watched->OnCancel([this, watched] { Forget(watched); });
}

void Health::Forget(const GrpcStreamCall* call) {
  std::shared_ptr<GrpcStreamCall> last;  // Destroyed outside the lock.
  MutexLock lock(&mutex_);
  const auto watches = [call](const Watcher& watcher) { return watcher.call.get() == call; };
  const auto found = std::find_if(watchers_.begin(), watchers_.end(), watches);
  if (found == watchers_.end()) return;
  last = std::move(found->call);
  watchers_.erase(found);
}

void Health::EndWatches() {
  std::vector<Watcher> ended;
  {
    MutexLock lock(&mutex_);
    ended_ = true;
    ended.swap(watchers_);
  }
  const GrpcStatus stopping{.code = GrpcCode::kUnavailable, .message = "the server is stopping"};
  for (const Watcher& watcher : ended) watcher.call->Finish(stopping);
}

}  // namespace sheaf::serve
