#include "serve/ingest_metrics.h"

#include "serve/error_codes.h"
#include "wire/otlp_records.h"

namespace sheaf::serve {

IngestMetrics::IngestMetrics() {
  MetricRegistry& all = Metrics();
  for (size_t i = 0; i < kKinds; ++i) {
    const Labels labels = {{"signal", wire::OtlpSignalName(static_cast<wire::OtlpRequest>(i))}};
    signals_[i] = {
        .rows = &all.AddCounter("sheaf_ingest_rows_total", "Spans, log records and data points made durable.", labels),
        .rejected = &all.AddCounter("sheaf_ingest_rejected_rows_total", "Records left out of requests otherwise kept.", labels),
        .sampled_out = &all.AddCounter("sheaf_ingest_sampled_out_rows_total", "Records that sampling left out.", labels),
        .bytes = &all.AddCounter("sheaf_ingest_request_bytes_total", "Bytes of OTLP requests (protobuf) and OTel-Arrow batches.", labels),
        .decode_seconds = &all.AddHistogram("sheaf_ingest_decode_seconds", "Decoding a request into record batches.", labels),
        .answer_seconds = &all.AddHistogram("sheaf_ingest_answer_seconds", "From a request to its durable answer.", labels),
    };
  }
}

void IngestMetrics::CountRequest(wire::OtlpRequest kind, GrpcCode code) {
  std::atomic<Counter*>& slot = requests_[static_cast<size_t>(kind)][static_cast<size_t>(code)];
  Counter* counter = slot.load(std::memory_order_acquire);
  if (counter == nullptr) {
    // The registry gives every caller the same one.
    counter = &Metrics().AddCounter("sheaf_ingest_requests_total",
                                    "OTLP requests and OTel-Arrow batches by the code they were answered with.",
                                    {{"signal", wire::OtlpSignalName(kind)}, {"code", GrpcCodeName(code)}});
    slot.store(counter, std::memory_order_release);
  }
  counter->Add();
}

}  // namespace sheaf::serve
