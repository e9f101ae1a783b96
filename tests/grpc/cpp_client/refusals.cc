#include <string>

#include "cases.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

namespace grpc_cpp_client {
namespace {

constexpr const char* kExports[] = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
};
const std::string kTooLarge(3 << 20, '\0');

/// Details would hold a RetryInfo, which asks the client to send the same again.
void ExpectFinal(const std::string& name, const grpc::Status& status, grpc::StatusCode code) {
  ExpectCode(name, status, code);
  Expect(name + " is final", status.error_details().empty(), "it has details: " + status.error_details());
  Expect(name + " says why", !status.error_message().empty(), "no text");
}

/// Two good spans and four whose ids make them unusable: the good ones are kept.
void SendGoodAndBadSpans(const std::shared_ptr<grpc::Channel>& channel) {
  using opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
  using opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse;
  const std::string trace_id(16, 't'), span_id(8, 's');
  ExportTraceServiceRequest request;
  auto* spans = request.add_resource_spans()->add_scope_spans();
  const auto add = [&](const std::string& trace, const std::string& span) {
    auto* added = spans->add_spans();
    added->set_trace_id(trace);
    added->set_span_id(span);
    added->set_name("kept");
  };
  add(trace_id, span_id);
  add(std::string(16, '\0'), span_id);
  add(trace_id, std::string(8, '\0'));
  add(trace_id.substr(1), span_id);
  add(trace_id, span_id + "s");
  add(trace_id, "span-two");
  ExportTraceServiceResponse response;
  std::string reply;
  ExpectOk("good and bad spans", CallRaw(channel, kExports[0], request.SerializeAsString(), &reply));
  Expect("parse the partial success", response.ParseFromString(reply), "not a response");
  Expect("partial success counts the bad spans", response.partial_success().rejected_spans() == 4, response.ShortDebugString());
  Expect("partial success says why", !response.partial_success().error_message().empty(), response.ShortDebugString());
}

}  // namespace

void RunRefusals(const std::string& address) {
  const std::shared_ptr<grpc::Channel> channel = Connect(address);
  for (const std::string method : kExports) {
    ExpectFinal(method + " malformed", CallRaw(channel, method, "\xff\xff\xff"), grpc::StatusCode::INVALID_ARGUMENT);
    ExpectFinal(method + " cut off", CallRaw(channel, method, std::string("\x0a\x7f\x01", 3)), grpc::StatusCode::INVALID_ARGUMENT);
    ExpectFinal(method + " too large", CallRaw(channel, method, kTooLarge), grpc::StatusCode::RESOURCE_EXHAUSTED);
    ExpectFinal(method + " too large inflated", CallRaw(channel, method, kTooLarge, nullptr, {.compression = GRPC_COMPRESS_GZIP}),
                grpc::StatusCode::RESOURCE_EXHAUSTED);
    std::string reply = "unset";
    ExpectOk(method + " empty", CallRaw(channel, method, "", &reply));
    Expect(method + " answers an empty message", reply.empty(), reply);
  }
  ExpectCode("unknown method", CallRaw(channel, "/opentelemetry.proto.collector.trace.v1.TraceService/Import", ""),
             grpc::StatusCode::UNIMPLEMENTED);
  ExpectCode("unknown service", CallRaw(channel, "/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export", ""),
             grpc::StatusCode::UNIMPLEMENTED);
  SendGoodAndBadSpans(channel);
}

}  // namespace grpc_cpp_client
