/// One signal's way to a server of OTel-Arrow: a gRPC stream of batches, the server's status for each, and another stream where one
/// ends, breaks or can be built upon no more.
///
///   OtapLane::Sent sent;
///   lane.Write(tables, deadline, &sent);   // Several threads may be between these two: their batches are under way together.
///   ExportAnswer answer = lane.Await(deadline, &sent);
///
/// Nothing is sent twice by itself: a batch whose stream broke is lost, and its caller knows whether to send the rows again.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "client/export_target.h"
#include "client/grpc_client.h"
#include "core/mutex.h"
#include "decode/otap_encoder.h"

namespace sheaf::client {

/// Thread-safe.
class OtapLane {
  struct Stream;

 public:
  using Clock = std::chrono::steady_clock;

  /// Borrows `client`, which is destroyed first: it runs the callbacks of what is open.
  OtapLane(GrpcClient* client, wire::OtlpRequest kind, const ExportTargetOptions& options);
  ~OtapLane();

  /// A batch that is under way. Between Write() and Await() it must stay where it is.
  struct Sent {
    int64_t bytes = 0, inexact_rows = 0;

   private:
    friend class OtapLane;
    std::shared_ptr<Stream> stream;
    int64_t id = 0;
    Clock::time_point at;
    std::optional<ExportAnswer> answer;
  };

  /// Encodes the rows of `tables` (all of this lane's signal) and sends them. Waits for its turn, not for the server.
  void Write(std::span<const decode::TableBatch> tables, Clock::time_point deadline, Sent* sent) SHEAF_EXCLUDES(mutex_);
  /// Waits for the status of what Write() sent, the deadline or Cancel(). Always to be called.
  ExportAnswer Await(Clock::time_point deadline, Sent* sent) SHEAF_EXCLUDES(mutex_);
  /// Ends what is under way; later calls end at once.
  void Cancel() SHEAF_EXCLUDES(mutex_);

 private:
  bool TakeTurn(Clock::time_point deadline) SHEAF_EXCLUDES(mutex_);
  ExportAnswer EncodeAndWrite(std::span<const decode::TableBatch> tables, Sent* sent) SHEAF_EXCLUDES(mutex_);
  std::shared_ptr<Stream> Current() SHEAF_EXCLUDES(mutex_);
  void OnStatus(const std::shared_ptr<Stream>& stream, const std::string& bytes) SHEAF_EXCLUDES(mutex_);
  void OnEnd(const std::shared_ptr<Stream>& stream, const GrpcEnd& end) SHEAF_EXCLUDES(mutex_);
  void Break(const std::shared_ptr<Stream>& stream, const ExportAnswer& answer) SHEAF_REQUIRES(mutex_);
  void CloseIfDone(const std::shared_ptr<Stream>& stream) SHEAF_REQUIRES(mutex_);

  GrpcClient* const client_;
  const wire::OtlpRequest kind_;
  const ExportTargetOptions options_;
  // Of whoever has the turn:
  decode::OtapStreamEncoder encoder_;
  std::string message_;

  Mutex mutex_;
  CondVar changed_;
  bool writing_ SHEAF_GUARDED_BY(mutex_) = false;  // Somebody has the turn.
  bool cancelled_ SHEAF_GUARDED_BY(mutex_) = false;
  int alone_left_ SHEAF_GUARDED_BY(mutex_) = 0;    // So many batches go out one at a time.
  std::shared_ptr<Stream> current_ SHEAF_GUARDED_BY(mutex_);
};

/// What a status says of its batch, and what the end of a stream says of the batches that had none yet; `sole`: there was only one.
ExportAnswer AnswerOfBatchStatus(int code, std::string_view message);
ExportAnswer AnswerOfStreamEnd(const GrpcEnd& end, bool sole);

}  // namespace sheaf::client
