#include "client/otap_target.h"

#include <array>
#include <atomic>
#include <span>
#include <utility>
#include <vector>

#include "client/grpc_client.h"
#include "client/otap_lane.h"
#include "core/log.h"
#include "core/mutex.h"
#include "decode/decoder.h"
#include "decode/otap_encoder.h"

namespace sheaf::client {
namespace {

constexpr wire::OtlpRequest kKinds[] = {wire::OtlpRequest::kTraces, wire::OtlpRequest::kLogs, wire::OtlpRequest::kMetrics};

class OtapTarget : public ExportTarget {
 public:
  OtapTarget(std::unique_ptr<GrpcClient> client, const ExportTargetOptions& options) : options_(options), client_(std::move(client)) {
    for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i] = std::make_unique<OtapLane>(client_.get(), kKinds[i], options_);
  }

  int64_t rows_max() const override { return decode::kOtapRowsMax; }

  ExportAnswer Send(const ExportRequest& request) override {
    const auto deadline = OtapLane::Clock::now() + options_.timeout;
    OtapLane* const lane = LaneOf(request.kind);
    OtapLane::Sent sent;
    decode::RecordCounts counts;
    {
      // Lent until the batch is encoded; while its status is awaited, the rows take no memory.
      std::unique_ptr<decode::Decoder> decoder = Borrow();
      Result<decode::DecodeResult> decoded = Decode(decoder.get(), request);
      if (decoded.ok() && decoded->accepted > 0 && decoded->accepted <= rows_max()) lane->Write(decoded->batches, deadline, &sent);
      if (decoded.ok()) {
        counts = *decoded;
        decoded->batches.clear();
      }
      GiveBack(std::move(decoder));
      if (!decoded.ok()) return AnswerOfDecoding(decoded.status());
    }
    if (counts.accepted > rows_max()) {
      return {.verdict = ExportVerdict::kTooLarge,
              .message = fmt::format("{} rows in one batch; OTel-Arrow numbers at most {}", counts.accepted, rows_max())};
    }
    ExportAnswer answer;
    if (counts.accepted > 0) answer = lane->Await(deadline, &sent);
    answer.sent_bytes = sent.bytes;
    if (answer.verdict != ExportVerdict::kTaken) return answer;
    if (counts.rejected > 0) {  // They have no place in the columns, as they have none at a server.
      answer.rejected += counts.rejected;
      answer.message = counts.rejected_reason;
    }
    answer.inexact = sent.inexact_rows;
    if (answer.inexact > 0 && !told_.exchange(true)) {
      LogWarn("export.inexact", {{"target", client_->url().authority()},
                                 {"rows", answer.inexact},
                                 {"reason", "OTel-Arrow has no columns for unknown fields, text that is not UTF-8 and some metadata"},
                                 {"advice", "send OTLP where that matters; later ones are counted only"}});
    }
    return answer;
  }

  void Cancel() override {
    for (const auto& lane : lanes_) lane->Cancel();
    client_->CancelAll();
  }

 private:
  OtapLane* LaneOf(wire::OtlpRequest kind) const {
    size_t i = 0;
    while (kKinds[i] != kind) ++i;
    return lanes_[i].get();
  }

  static Result<decode::DecodeResult> Decode(decode::Decoder* decoder, const ExportRequest& request) {
    const auto bytes = std::as_bytes(std::span(request.bytes));
    switch (request.kind) {
      case wire::OtlpRequest::kTraces: return decoder->Traces(bytes);
      case wire::OtlpRequest::kLogs: return decoder->Logs(bytes);
      case wire::OtlpRequest::kMetrics: break;
    }
    return decoder->Metrics(bytes);
  }

  static ExportAnswer AnswerOfDecoding(const Status& error) {
    ExportAnswer answer{.verdict = ExportVerdict::kRefused, .message = error.message()};
    if (KindOf(error) == ErrorKind::kTooLarge) answer.verdict = ExportVerdict::kTooLarge;
    if (KindOf(error) == ErrorKind::kOutOfMemory) answer.verdict = ExportVerdict::kLater;
    return answer;
  }

  /// As many as requests are decoded at once.
  std::unique_ptr<decode::Decoder> Borrow() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    if (idle_.empty()) return std::make_unique<decode::Decoder>();
    auto decoder = std::move(idle_.back());
    idle_.pop_back();
    return decoder;
  }
  void GiveBack(std::unique_ptr<decode::Decoder> decoder) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    idle_.push_back(std::move(decoder));
  }

  const ExportTargetOptions options_;
  std::atomic<bool> told_ = false;
  Mutex mutex_;
  std::vector<std::unique_ptr<decode::Decoder>> idle_ SHEAF_GUARDED_BY(mutex_);
  std::array<std::unique_ptr<OtapLane>, std::size(kKinds)> lanes_;
  const std::unique_ptr<GrpcClient> client_;  // Goes first: its callbacks need the lanes.
};

}  // namespace

Result<std::unique_ptr<ExportTarget>> MakeOtapTarget(const Url& url, const ExportTargetOptions& options) {
  SHEAF_ASSIGN_OR_RETURN(auto client,
                         GrpcClient::Make(url, {.connect_timeout = options.connect_timeout, .tls = options.tls}));
  return std::make_unique<OtapTarget>(std::move(client), options);
}

}  // namespace sheaf::client
