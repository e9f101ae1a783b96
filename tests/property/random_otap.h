/// An OTel-Arrow sender that makes every choice that the protocol leaves to senders, at random. For kBadText it sends kBadBytes.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "property/random_otap_payload.h"
#include "property/random_otlp.h"
#include "wire/otap_messages.h"

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

namespace sheaf::property {

/// One gRPC stream's sender. Batches of one signal only. Not thread-safe.
class RandomOtapSender {
 public:
  explicit RandomOtapSender(Random* random);
  ~RandomOtapSender();

  /// Serialises a BatchArrowRecords of the request's records.
  std::string Traces(const opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest& request);
  std::string Logs(const opentelemetry::proto::collector::logs::v1::ExportLogsServiceRequest& request);
  std::string Metrics(const opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest& request);

 private:
  std::string Serialize(const std::map<wire::OtapPayload, std::vector<OtapCells>>& tables);

  Random* const random_;
  int64_t batches_ = 0;
  std::map<wire::OtapPayload, std::unique_ptr<OtapPayloadStream>> streams_;
};

}  // namespace sheaf::property
