/// OTLP's Export over gRPC and over HTTP, for whoever takes the requests: paths, encodings, how answers and errors are worded.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "serve/transport.h"
#include "wire/otlp_json.h"

namespace sheaf::serve {

/// What became of a request that went well.
struct IngestOutcome {
  int64_t accepted = 0, rejected = 0;
  std::string rejected_reason;
};

using IngestAnswer = std::function<void(Result<IngestOutcome>)>;

/// Thread-safe. Must outlive the transport it is registered with, and every request that is not answered.
class OtlpReceiver {
 public:
  /// Takes one protobuf request, on a worker; `answer` is to be run once, on any thread.
  using Take = std::function<void(wire::OtlpRequest kind, std::unique_ptr<Body> request, IngestAnswer answer)>;
  /// Told of each answer, just before or after it goes out, with the seconds since the request was there.
  using OnAnswer = std::function<void(wire::OtlpRequest kind, GrpcCode code, double seconds)>;

  /// `retry_after_ms`: what senders are asked to wait where trying again may help.
  OtlpReceiver(Take take, int64_t retry_after_ms, OnAnswer answered = {})
      : take_(std::move(take)), retry_after_ms_(retry_after_ms), answered_(std::move(answered)) {}

  /// Registers the three Export methods on listener `grpc` and the three paths on listener `http`, whose errors are worded as
  /// OTLP wants it also where the transport refuses a request.
  void Register(Transport* transport, const std::string& grpc, const std::string& http);

 private:
  void Export(wire::OtlpRequest kind, std::shared_ptr<GrpcCall> call);
  void Post(wire::OtlpRequest kind, std::shared_ptr<HttpExchange> exchange);
  void Answered(wire::OtlpRequest kind, GrpcCode code, std::chrono::steady_clock::time_point start) const;

  const Take take_;
  const int64_t retry_after_ms_;
  const OnAnswer answered_;
};

}  // namespace sheaf::serve
