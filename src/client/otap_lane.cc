#include "client/otap_lane.h"

#include <charconv>
#include <utility>

#include "wire/otap_messages.h"

namespace sheaf::client {
namespace {

/// Then another stream is begun, so that connections can move to where there is room, and leave servers that wait for them to.
constexpr std::chrono::minutes kStreamLifetime{5};
/// After a stream was ended for one of its batches, so many go out one at a time: the one that it is for is then found.
constexpr int kAloneBatches = 16;
/// A stream that breaks while its batch is encoded is tried anew so many times.
constexpr int kStreamsOfBatch = 3;

const char* PathOf(wire::OtlpRequest kind) {
  switch (kind) {
    case wire::OtlpRequest::kTraces: return "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces";
    case wire::OtlpRequest::kLogs: return "/opentelemetry.proto.experimental.arrow.v1.ArrowLogsService/ArrowLogs";
    case wire::OtlpRequest::kMetrics: break;
  }
  return "/opentelemetry.proto.experimental.arrow.v1.ArrowMetricsService/ArrowMetrics";
}

decode::OtapSignal SignalOf(wire::OtlpRequest kind) {
  switch (kind) {
    case wire::OtlpRequest::kTraces: return decode::OtapSignal::kTraces;
    case wire::OtlpRequest::kLogs: return decode::OtapSignal::kLogs;
    case wire::OtlpRequest::kMetrics: break;
  }
  return decode::OtapSignal::kMetrics;
}

ExportAnswer AnswerOfEncoding(const Status& error) {
  ExportAnswer answer{.verdict = ExportVerdict::kRefused, .message = "as OTel-Arrow: " + error.message()};
  if (KindOf(error) == ErrorKind::kTooLarge) answer.verdict = ExportVerdict::kTooLarge;
  if (KindOf(error) == ErrorKind::kOutOfMemory) answer.verdict = ExportVerdict::kLater;
  return answer;
}

}  // namespace

ExportAnswer AnswerOfBatchStatus(int code, std::string_view message) {
  if (code == 0) {
    ExportAnswer answer{.message = std::string(message)};
    // "3 of 5 records left out: …" is how this project's server says it; the protocol has no field for that.
    int64_t rejected = 0;
    const auto [after, error] = std::from_chars(message.data(), message.data() + message.size(), rejected);
    const std::string_view rest = message.substr(static_cast<size_t>(after - message.data()));
    if (error == std::errc() && rejected > 0 && rest.starts_with(" of ")) answer.rejected = rejected;
    return answer;
  }
  const GrpcCode known = code > 0 && code <= 16 ? static_cast<GrpcCode>(code) : GrpcCode::kUnknown;
  ExportAnswer answer = AnswerOfGrpc({.code = known, .message = std::string(message), .from_server = true});
  // A batch's status is the server's own word: no gateway that lost sight of it could say so.
  if (known == GrpcCode::kUnavailable) answer.verdict = ExportVerdict::kLater;
  return answer;
}

ExportAnswer AnswerOfStreamEnd(const GrpcEnd& end, bool sole) {
  if (end.ok()) return {.verdict = ExportVerdict::kLost, .message = "the server ended the stream without a status for the batch"};
  ExportAnswer answer = AnswerOfGrpc(end);
  if (end.from_server && end.code == GrpcCode::kUnimplemented) {
    answer.verdict = ExportVerdict::kLater;
    answer.message += "; the server takes no OTel-Arrow: send OTLP to it, with grpc://";
    return answer;
  }
  // It speaks of the stream: which batches were taken before is open, and for which of several it is.
  if (end.from_server && (!sole || answer.verdict == ExportVerdict::kLater)) answer.verdict = ExportVerdict::kLost;
  return answer;
}

/// Under the lane's mutex. Its callbacks hold it until its end.
struct OtapLane::Stream {
  std::unique_ptr<GrpcStream> call;
  std::map<int64_t, Sent*> unanswered;
  int64_t next_id = 0;
  bool ended = false;    // Nothing more comes of it.
  bool retired = false;  // Nothing more is sent on it.
  bool refused = false;  // A batch was: what the server made of its schemas and dictionaries is open.
  Clock::time_point began = Clock::now(), last_status = began;
};

OtapLane::OtapLane(GrpcClient* client, wire::OtlpRequest kind, const ExportTargetOptions& options)
    : client_(client),
      kind_(kind),
      options_(options),
      encoder_(SignalOf(kind),
               {.codec = options.compression == wire::Encoding::kIdentity ? wire::IpcCodec::kNone : wire::IpcCodec::kZstd,
                .metric_metadata = options.metric_metadata}) {}
OtapLane::~OtapLane() = default;

// --- Out ---

void OtapLane::Write(std::span<const decode::TableBatch> tables, Clock::time_point deadline, Sent* sent) {
  if (!TakeTurn(deadline)) return;  // Nothing was sent: Await() says so.
  ExportAnswer answer = EncodeAndWrite(tables, sent);
  MutexLock lock(&mutex_);
  writing_ = false;
  if (sent->stream == nullptr) sent->answer = std::move(answer);
  changed_.NotifyAll();
}

bool OtapLane::TakeTurn(Clock::time_point deadline) {
  MutexLock lock(&mutex_);
  const auto must_wait = [this]() SHEAF_REQUIRES(mutex_) {
    return writing_ || (alone_left_ > 0 && current_ != nullptr && !current_->unanswered.empty());
  };
  while (!cancelled_ && must_wait()) {
    const auto left = deadline - Clock::now();
    if (left.count() <= 0) return false;
    changed_.WaitFor(&mutex_, left);
  }
  writing_ = !cancelled_;
  return writing_;
}

ExportAnswer OtapLane::EncodeAndWrite(std::span<const decode::TableBatch> tables, Sent* sent) {
  for (int i = 0; i < kStreamsOfBatch; ++i) {
    const std::shared_ptr<Stream> stream = Current();
    message_.clear();
    const Result<decode::OtapEncoded> encoded = encoder_.Encode(tables, &message_);
    if (!encoded.ok()) return AnswerOfEncoding(encoded.status());
    MutexLock lock(&mutex_);
    if (cancelled_) return {.verdict = ExportVerdict::kCancelled};
    if (stream->ended || stream->refused) continue;  // What was made for it is good for no other stream.
    const Status written = stream->call->Write(message_);
    if (!written.ok()) {
      Break(stream, {.verdict = ExportVerdict::kLost, .message = written.message()});
      return {.verdict = ExportVerdict::kLater, .message = written.message()};
    }
    stream->next_id = encoded->batch_id + 1;
    stream->unanswered.emplace(encoded->batch_id, sent);
    sent->stream = stream;
    sent->id = encoded->batch_id;
    sent->at = Clock::now();
    sent->bytes = static_cast<int64_t>(message_.size());
    sent->inexact_rows = encoded->inexact_rows;
    return {};
  }
  return {.verdict = ExportVerdict::kLater, .message = "the stream to " + client_->url().authority() + " broke again and again"};
}

/// The stream that the encoder stands for; another one where that is of no use any more. With the turn.
std::shared_ptr<OtapLane::Stream> OtapLane::Current() {
  MutexLock lock(&mutex_);
  if (current_ != nullptr && !current_->refused && Clock::now() - current_->began < kStreamLifetime) return current_;
  if (current_ != nullptr) {
    current_->retired = true;
    current_->call->Finish();
    CloseIfDone(current_);
  }
  encoder_.Restart();
  current_ = std::make_shared<Stream>();
  // The callbacks wait for the mutex.
  current_->call = client_->Open({.path = PathOf(kind_), .metadata = options_.headers},
                                 [this, stream = current_](const std::string& bytes) { OnStatus(stream, bytes); },
                                 [this, stream = current_](const GrpcEnd& end) { OnEnd(stream, end); });
  return current_;
}

// --- In ---

ExportAnswer OtapLane::Await(Clock::time_point deadline, Sent* sent) {
  MutexLock lock(&mutex_);
  while (!sent->answer && !cancelled_ && sent->stream != nullptr) {
    const auto left = deadline - Clock::now();
    if (left.count() <= 0) break;
    changed_.WaitFor(&mutex_, left);
  }
  if (sent->answer) return *sent->answer;
  if (sent->stream != nullptr) sent->stream->unanswered.erase(sent->id);
  if (cancelled_) return {.verdict = ExportVerdict::kCancelled};
  const std::string& server = client_->url().authority();
  if (sent->stream == nullptr) return {.verdict = ExportVerdict::kLater, .message = "batches before it wait for " + server};
  const ExportAnswer lost{.verdict = ExportVerdict::kLost,
                          .message = fmt::format("no status of {} in {} ms", server, options_.timeout.count())};
  // Where the server answers others, only this one took too long.
  if (sent->stream->last_status < sent->at) {
    Break(sent->stream, lost);
  } else {
    CloseIfDone(sent->stream);
  }
  return lost;
}

void OtapLane::OnStatus(const std::shared_ptr<Stream>& stream, const std::string& bytes) {
  wire::BatchStatus status;
  const Status read = wire::ReadBatchStatus(bytes, &status);
  MutexLock lock(&mutex_);
  if (stream->ended) return;
  if (!read.ok()) return Break(stream, {.verdict = ExportVerdict::kLost, .message = "a batch's status: " + read.message()});
  if (status.batch_id < 0 || status.batch_id >= stream->next_id) {
    return Break(stream, {.verdict = ExportVerdict::kLost,
                          .message = fmt::format("the server sent a status of batch {}, which it was not sent", status.batch_id)});
  }
  stream->last_status = Clock::now();
  if (alone_left_ > 0) --alone_left_;
  const auto found = stream->unanswered.find(status.batch_id);
  if (found == stream->unanswered.end()) return;  // It came too late: that batch counts as lost.
  ExportAnswer answer = AnswerOfBatchStatus(status.status_code, status.message);
  if (answer.verdict == ExportVerdict::kRefused || answer.verdict == ExportVerdict::kTooLarge) {
    // After the first refusal of a stream, others may be for what that batch left behind.
    if (std::exchange(stream->refused, true)) answer.verdict = ExportVerdict::kLater;
  }
  found->second->answer = std::move(answer);
  stream->unanswered.erase(found);
  CloseIfDone(stream);
  changed_.NotifyAll();
}

void OtapLane::OnEnd(const std::shared_ptr<Stream>& stream, const GrpcEnd& end) {
  MutexLock lock(&mutex_);
  if (stream->ended) return;
  const size_t left = stream->unanswered.size();
  const ExportAnswer answer = AnswerOfStreamEnd(end, left == 1);
  const bool for_a_batch = end.reset || (end.from_server && !end.ok() && end.code != GrpcCode::kUnavailable);
  if (left > 1 && for_a_batch) alone_left_ = kAloneBatches;
  if (left == 1 && for_a_batch && answer.verdict != ExportVerdict::kLost) alone_left_ = 0;
  Break(stream, answer);
}

/// Answers all batches that have no status yet.
void OtapLane::Break(const std::shared_ptr<Stream>& stream, const ExportAnswer& answer) {
  if (std::exchange(stream->ended, true)) return;
  for (const auto& [id, sent] : std::exchange(stream->unanswered, {})) sent->answer = answer;
  stream->call->Cancel();
  stream->call.reset();
  if (current_ == stream) current_.reset();
  changed_.NotifyAll();
}

/// A stream on which nothing is sent any more, and nothing awaited, need not wait for the server to end it.
void OtapLane::CloseIfDone(const std::shared_ptr<Stream>& stream) {
  if (!stream->retired || stream->ended || !stream->unanswered.empty()) return;
  stream->ended = true;
  stream->call->Cancel();
  stream->call.reset();
}

void OtapLane::Cancel() {
  MutexLock lock(&mutex_);
  cancelled_ = true;
  if (current_ != nullptr) Break(std::shared_ptr<Stream>(current_), {.verdict = ExportVerdict::kCancelled});
  changed_.NotifyAll();
}

}  // namespace sheaf::client
