/// OTLP's Export, over gRPC and over HTTP: bytes in, durable rows, then the answer.
///
/// A request is decoded on a worker, small ones together with others that came at the same time (request_batcher.h), and handed to the
/// log; the worker is free again at once. The answer goes out when the rows are on disk and visible to queries, from the log's thread.
/// Bad records (ids of wrong length or all
/// zero) are left out and counted in partial_success; the rest is kept. A request without records is answered without an append.
/// Spans that sampling leaves out are accepted, as the sender cannot do better, and counted in a metric.

#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "decode/decoder.h"
#include "serve/decoder_pool.h"
#include "serve/head_sampler.h"
#include "serve/ingest_metrics.h"
#include "serve/otlp_receiver.h"
#include "serve/request_batcher.h"
#include "serve/tail_sampler.h"
#include "serve/transport.h"
#include "store/database.h"
#include "wire/otlp_json.h"

namespace sheaf::serve {

struct OtlpOptions {
  decode::Limits limits;
  SamplingRules sampling;  // Of spans.
  TailRules tail;          // Which of those that `sampling` leaves out are kept all the same.
  io::Clock* clock = io::SystemClock();
  int64_t retry_after_ms = 1000;     // What an overloaded server asks senders to wait.
  std::function<bool()> overloaded;  // True refuses requests before they are decoded; may be empty.
  RequestBatcherOptions batching;
};

using DecoderPool = DecoderPoolOf<decode::Decoder, decode::Limits>;

/// Thread-safe. Must outlive the transport it is registered with, and every append that it started: close the database first.
class OtlpService {
 public:
  using Answer = IngestAnswer;

  /// Borrows `database`. NotFound if it lacks the ready tables.
  static Result<std::unique_ptr<OtlpService>> Make(store::Database* database, const OtlpOptions& options);

  /// Registers the three Export methods on listener `grpc` and the three paths on listener `http`, whose errors are worded as
  /// OTLP wants it also where the transport refuses a request.
  void Register(Transport* transport, const std::string& grpc, const std::string& http);

  /// Takes one protobuf request. `answer` is run once: on a worker on failure or where there is nothing to log, else on the log's
  /// thread after the rows are durable. `request` is let go once it is in the log's queue.
  void Ingest(wire::OtlpRequest kind, std::unique_ptr<Body> request, Answer answer);

  // For other protocols that bring the same rows (OtapService).

  /// Throttled while recent rows fill their memory: nothing is to be decoded then.
  Status Admit() const;
  /// Hands decoded rows to the log. `answer` is run as Ingest() does.
  void Append(wire::OtlpRequest kind, decode::DecodeResult decoded, Answer answer);
  IngestMetrics* metrics() { return &metrics_; }

 private:
  OtlpService(store::Database* database, const OtlpOptions& options);

  struct Sampled {
    std::shared_ptr<const TailSampler::Taken> taken;  // Null where tail sampling takes part in nothing.
    int64_t left_out = 0;                             // Spans, by head sampling. To be counted once the others are in the log.
  };
  /// Leaves of spans those that are kept, and adds what tail sampling takes.
  Result<Sampled> Sample(std::vector<decode::TableBatch>* spans);
  void IngestAlone(wire::OtlpRequest kind, WaitingRequest* request, decode::Decoder* decoder);
  /// Of requests of several senders. Not OK, and nothing done, where they do not go together.
  Status TryTogether(wire::OtlpRequest kind, std::vector<WaitingRequest>* requests, decode::Decoder* decoder);
  void WorkOff(wire::OtlpRequest kind, std::vector<WaitingRequest> requests);
  /// Samples and hands to the log. Not OK where nothing will run `answer`.
  Status Log(wire::OtlpRequest kind, decode::DecodeResult decoded, const Answer& answer);
  Status TryAppend(wire::OtlpRequest kind, const IngestOutcome& outcome, std::vector<decode::TableBatch> batches,
                   const std::shared_ptr<const TailSampler::Taken>& taken, const Answer& answer);

  store::Database* const database_;  // Borrowed.
  const OtlpOptions options_;
  DecoderPool decoders_;
  TailSampler tail_;
  std::array<std::unique_ptr<RequestBatcher>, 3> batchers_;  // By kind of request.
  TableId tables_[decode::kSignals];
  IngestMetrics metrics_;
  OtlpReceiver receiver_;
};

}  // namespace sheaf::serve
