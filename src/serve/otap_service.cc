#include "serve/otap_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "serve/error_codes.h"
#include "wire/otap_messages.h"

namespace sheaf::serve {
namespace {

using wire::OtlpRequest;

constexpr OtlpRequest kSignals[] = {OtlpRequest::kTraces, OtlpRequest::kLogs, OtlpRequest::kMetrics};

const char* GrpcPath(OtlpRequest kind) {
  switch (kind) {
    case OtlpRequest::kTraces: return "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces";
    case OtlpRequest::kLogs: return "/opentelemetry.proto.experimental.arrow.v1.ArrowLogsService/ArrowLogs";
    case OtlpRequest::kMetrics: break;
  }
  return "/opentelemetry.proto.experimental.arrow.v1.ArrowMetricsService/ArrowMetrics";
}

decode::OtapSignal SignalOf(OtlpRequest kind) {
  switch (kind) {
    case OtlpRequest::kTraces: return decode::OtapSignal::kTraces;
    case OtlpRequest::kLogs: return decode::OtapSignal::kLogs;
    case OtlpRequest::kMetrics: break;
  }
  return decode::OtapSignal::kMetrics;
}

/// A batch's status knows fewer codes than gRPC: what it does not know is the client's mistake.
GrpcCode StatusCodeOf(const Status& error) {
  const GrpcCode code = CodesOf(error).grpc;
  switch (code) {
    case GrpcCode::kNotFound:
    case GrpcCode::kAlreadyExists:
    case GrpcCode::kUnimplemented: return GrpcCode::kInvalidArgument;
    default: return code;
  }
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

GrpcStatus Stopping() { return {.code = GrpcCode::kUnavailable, .message = "the server is stopping"}; }

}  // namespace

/// One stream. OnMessage() and OnEnd() run one at a time; statuses are written by the log's thread meanwhile.
class OtapService::Stream final : public GrpcReceiver, public std::enable_shared_from_this<Stream> {
 public:
  Stream(OtapService* service, OtlpRequest kind, std::shared_ptr<GrpcStreamCall> call)
      : service_(service), kind_(kind), call_(std::move(call)), state_(SignalOf(kind), service->options_.limits) {}
  ~Stream() override {
    service_->memory_->Add(-counted_bytes_);
    service_->Forget(this);
  }

  void OnMessage(std::unique_ptr<Body> message, std::function<void()> next) override {
    const auto start = std::chrono::steady_clock::now();
    {
      MutexLock lock(&mutex_);
      if (finished_ || stopping_) return;
      ++unanswered_;
    }
    (*service_->otlp_->metrics())[kind_].bytes->Add(message->bytes().size());
    TakeBatch(message->view(), start);
    message.reset();
    CountMemory();
    if (state_.lost()) {  // A new stream brings it again; on this one all that comes would be refused.
      Stop({.code = GrpcCode::kUnavailable,
            .message = "memory ran out and with it the state of the stream; begin a new one and send again what was not taken"});
    }
    bool wants_more = false;
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
      wants_more = unanswered_ < service_->options_.unanswered_batches_max;
      if (!wants_more) next_ = std::move(next);
    }
    if (wants_more) next();
  }

  void OnEnd() override {
    MutexLock lock(&mutex_);
    input_ended_ = true;
    FinishIfDone();
  }

  /// Takes no more batches, and ends with `why` once those it has are answered.
  void Stop(GrpcStatus why) {
    MutexLock lock(&mutex_);
    if (!std::exchange(stopping_, true)) why_ = std::move(why);
    FinishIfDone();
  }

 private:
  void TakeBatch(std::string_view message, std::chrono::steady_clock::time_point start) {
    const Status read = wire::ReadBatchArrowRecords(message, &batch_);
    const auto answer = [self = shared_from_this(), id = batch_.batch_id, start](Result<IngestOutcome> outcome) {
      self->Answer(id, outcome, start);
    };
    if (!read.ok()) return answer(read);
    BorrowedDecoder decoder(&service_->decoders_);
    const Status admitted = service_->otlp_->Admit();
    if (!admitted.ok()) {
      decoder->Skip(&state_, batch_);  // Later batches build on it.
      return answer(admitted);
    }
    const auto decode_start = std::chrono::steady_clock::now();
    Result<decode::DecodeResult> decoded = decoder->Decode(&state_, batch_);
    (*service_->otlp_->metrics())[kind_].decode_seconds->Observe(SecondsSince(decode_start));
    if (!decoded.ok()) return answer(decoded.status());
    service_->otlp_->Append(kind_, std::move(*decoded), answer);
  }

  void Answer(int64_t batch_id, const Result<IngestOutcome>& outcome, std::chrono::steady_clock::time_point start) {
    GrpcCode code = GrpcCode::kOk;
    std::string text;
    if (!outcome.ok()) {
      code = StatusCodeOf(outcome.status());
      text = ClientMessage(outcome.status());
    } else if (outcome->rejected > 0) {
      text = ClientMessage(fmt::format("{} of {} records left out: {}", outcome->rejected, outcome->rejected + outcome->accepted,
                                       outcome->rejected_reason));
    }
    IngestMetrics* const metrics = service_->otlp_->metrics();
    metrics->CountRequest(kind_, code);
    (*metrics)[kind_].answer_seconds->Observe(SecondsSince(start));
    std::function<void()> next;
    {
      MutexLock lock(&mutex_);
      // Write() only queues: under the lock, so that no status comes after the end.
      if (!finished_) call_->Write(wire::EncodeBatchStatus(batch_id, static_cast<int>(code), text));
      --unanswered_;
      next = std::exchange(next_, nullptr);
      FinishIfDone();
    }
    if (next) next();
  }

  void FinishIfDone() SHEAF_REQUIRES(mutex_) {
    if (finished_ || unanswered_ > 0 || !(input_ended_ || stopping_)) return;
    finished_ = true;
    call_->Finish(stopping_ && !input_ended_ ? why_ : GrpcStatus());
  }

  /// Counts what the stream keeps; ends it where all of them together keep too much, and this one more than its share: others need not
  /// pay for what it keeps. Called from OnMessage() only.
  void CountMemory() {
    const int64_t held = state_.held_bytes();
    const int64_t all = service_->memory_->Add(held - std::exchange(counted_bytes_, held));
    const int64_t most = service_->options_.memory_bytes_max;
    if (all <= most || held <= most / std::max<int64_t>(1, service_->streams())) return;
    Stop({.code = GrpcCode::kUnavailable,
          .message = "the dictionaries of all OTel-Arrow streams take too much memory; begin a new stream later"});
  }

  OtapService* const service_;
  const OtlpRequest kind_;
  const std::shared_ptr<GrpcStreamCall> call_;
  decode::OtapStream state_;  // Of OnMessage() alone, as are these:
  wire::BatchArrowRecords batch_;
  int64_t counted_bytes_ = 0;

  Mutex mutex_;
  int64_t unanswered_ SHEAF_GUARDED_BY(mutex_) = 0;
  std::function<void()> next_ SHEAF_GUARDED_BY(mutex_);  // To be run once a batch is answered.
  bool input_ended_ SHEAF_GUARDED_BY(mutex_) = false, stopping_ SHEAF_GUARDED_BY(mutex_) = false;
  GrpcStatus why_ SHEAF_GUARDED_BY(mutex_);  // It is stopping.
  bool finished_ SHEAF_GUARDED_BY(mutex_) = false;
};

OtapService::OtapService(OtlpService* otlp, const OtapOptions& options)
    : otlp_(otlp),
      options_(options),
      decoders_(options.limits),
      memory_(std::make_shared<MemoryCounter>("otap_streams", options.memory_bytes_max)) {
  AddMemorySource(memory_);
}
OtapService::~OtapService() = default;

void OtapService::Register(Transport* transport, const std::string& grpc) {
  for (const OtlpRequest kind : kSignals) {
    transport->HandleGrpcDuplex(grpc, GrpcPath(kind),
                                [this, kind](std::shared_ptr<GrpcStreamCall> call) { return Begin(kind, std::move(call)); });
  }
}

std::shared_ptr<GrpcReceiver> OtapService::Begin(OtlpRequest kind, std::shared_ptr<GrpcStreamCall> call) {
  auto stream = std::make_shared<Stream>(this, kind, call);
  {
    MutexLock lock(&mutex_);
    if (!ended_) {
      streams_.emplace_back(stream.get(), stream);
      return stream;
    }
  }
  call->Finish(Stopping());
  return nullptr;
}

void OtapService::Forget(const Stream* stream) {
  MutexLock lock(&mutex_);
  std::erase_if(streams_, [stream](const auto& each) { return each.first == stream; });
}

void OtapService::EndStreams() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    MutexLock lock(&mutex_);
    ended_ = true;
    for (const auto& [key, each] : streams_) {
      if (auto stream = each.lock()) streams.push_back(std::move(stream));
    }
  }
  for (const auto& stream : streams) stream->Stop(Stopping());
}

int64_t OtapService::streams() const {
  MutexLock lock(&mutex_);
  return static_cast<int64_t>(streams_.size());
}

}  // namespace sheaf::serve
