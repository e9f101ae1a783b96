#include "serve/transport_metrics.h"

#include <utility>

namespace sheaf::serve {
namespace {

Counter& RequestCounter(const std::string& listener, const char* protocol, const std::string& code) {
  return Metrics().AddCounter("sheaf_transport_requests_total", "Requests answered, by HTTP status or gRPC code.",
                              {{"listener", listener}, {"protocol", protocol}, {"code", code}});
}

}  // namespace

TransportMetrics::TransportMetrics(std::string listener)
    : connections(Metrics().AddGauge("sheaf_transport_connections", "Open connections.", {{"listener", listener}})),
      streams(Metrics().AddGauge("sheaf_transport_requests_open", "Requests under way.", {{"listener", listener}})),
      connections_total(Metrics().AddCounter("sheaf_transport_connections_total", "Connections accepted.", {{"listener", listener}})),
      received_bytes(Metrics().AddCounter("sheaf_transport_received_bytes_total", "Bytes received, after TLS.", {{"listener", listener}})),
      sent_bytes(Metrics().AddCounter("sheaf_transport_sent_bytes_total", "Bytes sent, before TLS.", {{"listener", listener}})),
      request_seconds(Metrics().AddHistogram("sheaf_transport_request_seconds", "From a request's head to its answer's end.",
                                             {{"listener", listener}})),
      listener_(std::move(listener)) {}

void TransportMetrics::CountHttp(int status) {
  std::atomic<Counter*>& slot = http_[status >= 100 && status < 600 ? static_cast<size_t>(status) : 0];
  Counter* counter = slot.load(std::memory_order_acquire);
  if (counter == nullptr) {
    counter = &RequestCounter(listener_, "http", std::to_string(status));
    slot.store(counter, std::memory_order_release);
  }
  counter->Add();
}

void TransportMetrics::CountGrpc(int code) {
  std::atomic<Counter*>& slot = grpc_[code >= 0 && code < 17 ? static_cast<size_t>(code) : 2];
  Counter* counter = slot.load(std::memory_order_acquire);
  if (counter == nullptr) {
    counter = &RequestCounter(listener_, "grpc", std::to_string(code));
    slot.store(counter, std::memory_order_release);
  }
  counter->Add();
}

void TransportMetrics::CountRefused(const char* reason) {
  Metrics().AddCounter("sheaf_transport_refused_total", "Connections and requests refused early.",
                       {{"listener", listener_}, {"reason", reason}}).Add();
}

}  // namespace sheaf::serve
