#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "cases.h"
#include "opentelemetry/proto/collector/logs/v1/logs_service.grpc.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.grpc.pb.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"

namespace grpc_cpp_client {
namespace {

namespace collector = opentelemetry::proto::collector;
using collector::logs::v1::ExportLogsServiceRequest;
using collector::logs::v1::ExportLogsServiceResponse;
using collector::logs::v1::LogsService;
using collector::metrics::v1::ExportMetricsServiceRequest;
using collector::metrics::v1::ExportMetricsServiceResponse;
using collector::metrics::v1::MetricsService;
using collector::trace::v1::ExportTraceServiceRequest;
using collector::trace::v1::ExportTraceServiceResponse;
using collector::trace::v1::TraceService;

void SetDeadline(grpc::ClientContext* context) { context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60)); }

template <typename Request>
Request Read(const std::string& path) {
  Request request;
  Expect("parse " + path, request.ParseFromString(ReadFile(path)), "not a message of that kind");
  return request;
}

/// Sends the request with gzip and without; each must be taken whole.
template <typename Service, typename Request, typename Response>
void Export(const std::shared_ptr<grpc::Channel>& channel, const std::string& path) {
  const auto stub = Service::NewStub(channel);
  const auto request = Read<Request>(path);
  for (const grpc_compression_algorithm compression : {GRPC_COMPRESS_NONE, GRPC_COMPRESS_GZIP}) {
    grpc::ClientContext context;
    SetDeadline(&context);
    context.set_compression_algorithm(compression);
    Response response;
    const std::string name = "export " + path + (compression == GRPC_COMPRESS_GZIP ? " in gzip" : "");
    ExpectOk(name, stub->Export(&context, request, &response));
    Expect(name + " whole", !response.has_partial_success(), response.ShortDebugString());
  }
}

/// One export of one span, named after its number.
struct Call {
  grpc::ClientContext context;
  ExportTraceServiceRequest request;
  ExportTraceServiceResponse response;
  grpc::Status status;
};

ExportTraceServiceRequest OneSpan(int number) {
  ExportTraceServiceRequest request;
  auto* span = request.add_resource_spans()->add_scope_spans()->add_spans();
  std::string id(16, '\x22');
  id[14] = static_cast<char>(number >> 8);
  id[15] = static_cast<char>(number);
  span->set_trace_id(id);
  span->set_span_id(id.substr(8));
  span->set_name("concurrent " + std::to_string(number));
  return request;
}

void ExportAtOnce(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = TraceService::NewStub(channel);
  std::vector<Call> calls(kConcurrentCalls);
  std::mutex mutex;
  std::condition_variable changed;
  int open = kConcurrentCalls;
  for (int i = 0; i < kConcurrentCalls; ++i) {
    Call* call = &calls[static_cast<size_t>(i)];
    call->request = OneSpan(i);
    SetDeadline(&call->context);
    stub->async()->Export(&call->context, &call->request, &call->response, [&, call](grpc::Status status) {
      const std::lock_guard lock(mutex);
      call->status = std::move(status);
      if (--open == 0) changed.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return open == 0; });  // Each has a deadline.
  int failed = 0;
  for (const Call& call : calls) {
    if (call.status.ok() && !call.response.has_partial_success()) continue;
    if (++failed <= 3) ExpectOk("one of many calls at once", call.status);
  }
  Expect("many calls at once on one channel", failed == 0, std::to_string(failed) + " failed");
}

}  // namespace

void RunExport(const std::string& address, const std::string& folder) {
  const std::shared_ptr<grpc::Channel> channel = Connect(address);
  Export<TraceService, ExportTraceServiceRequest, ExportTraceServiceResponse>(channel, folder + "/traces.pb");
  Export<LogsService, ExportLogsServiceRequest, ExportLogsServiceResponse>(channel, folder + "/logs.pb");
  Export<MetricsService, ExportMetricsServiceRequest, ExportMetricsServiceResponse>(channel, folder + "/metrics.pb");
}

void RunConcurrent(const std::string& address) { ExportAtOnce(Connect(address)); }

}  // namespace grpc_cpp_client
