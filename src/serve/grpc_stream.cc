/// One gRPC call with a single request message: unary, or server-streaming.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "serve/gate.h"
#include "serve/grpc_answer.h"
#include "serve/http2_stream.h"
#include "serve/request_body.h"
#include "serve/upload_rate.h"
#include "wire/base64.h"
#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

constexpr const char* kAcceptEncoding = "identity, gzip, deflate, zstd";
constexpr int64_t kRetryAfterMs = 1000;
constexpr size_t kPrefixBytes = 5;
/// Clients limit their metadata, often to 8 KiB.
constexpr size_t kMessageTextBytesMax = 2048;

GrpcStatus RetryLater(std::string message) {
  std::string details = EncodeRpcStatus(GrpcCode::kUnavailable, message, kRetryAfterMs);
  return {GrpcCode::kUnavailable, std::move(message), std::move(details)};
}

/// What a handler holds. Letting go of it without an answer is an answer too.
class Call final : public GrpcStreamCall {
 public:
  explicit Call(std::shared_ptr<GrpcAnswer> answer, ContextPtr context) : answer_(std::move(answer)), context_(std::move(context)) {
    context_->handlers.fetch_add(1, std::memory_order_relaxed);
  }
  ~Call() override {
    message.reset();
    context_->handlers.fetch_sub(1, std::memory_order_relaxed);
    answer_->Finish({GrpcCode::kInternal, "the server did not answer", {}}, false, {});
  }
  void Finish(GrpcStatus status, std::string reply) override { answer_->Finish(std::move(status), has_reply, std::move(reply)); }
  void Write(std::string reply) override { answer_->Write(std::move(reply)); }
  bool Send(std::string reply) override { return answer_->Send(std::move(reply)); }
  void OnCancel(std::function<void()> action) override { answer_->OnCancel(std::move(action)); }
  bool cancelled() const override { return answer_->cancelled(); }

  bool has_reply = true;  // Of a unary call.
  std::shared_ptr<void> place;  // Among the user's requests.

 private:
  const std::shared_ptr<GrpcAnswer> answer_;
  const ContextPtr context_;
};

class GrpcStream final : public Http2Stream, public std::enable_shared_from_this<GrpcStream> {
 public:
  GrpcStream(ContextPtr context, Http2Link link, TimePoint now)
      : context_(std::move(context)), link_(link), start_(now), now_(now), progress_(now), message_(context_->memory), rate_(now),
        download_(now) {
    context_->listener->metrics.streams.Add(1);
  }
  ~GrpcStream() override {
    TransportMetrics& metrics = context_->listener->metrics;
    metrics.streams.Add(-1);
    metrics.request_seconds.Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  }

  void Start(wire::Http2Request request) {
    answer_ = std::make_shared<GrpcAnswer>(context_, [self = weak_from_this()] {
      if (const auto stream = self.lock()) stream->OnAnswer();
    });
    if (request.headers_too_large) return Refuse({GrpcCode::kResourceExhausted, "the request's metadata is too large", {}}, "headers");
    path_ = std::move(request.path);
    if (!ReadHeaders(&request.headers)) return;
    route_ = context_->listener->routes.FindGrpc(path_);
    if (route_ == nullptr) return Refuse({GrpcCode::kUnimplemented, "unknown method " + path_, {}}, "path");
    if (!route_->answers_in_overload && context_->overloaded()) {
      return Refuse(RetryLater("the server is overloaded; send the request again later"), "overload");
    }
    // Calls that a client began and reset run on in their handlers: they count, or resets would multiply them.
    if (context_->handlers.load(std::memory_order_relaxed) > 2 * context_->options().streams_max) {
      return Refuse(RetryLater("too many calls of this connection still run"), "handlers");
    }
    if (context_->shared->gate != nullptr && !PassGate()) return;
    if (route_->duplex && !must_enter_) receiver_ = route_->duplex(MakeCall());
  }

  void OnData(std::span<const std::byte> data) override {
    if (!receiving_) return;
    rate_.Add(static_cast<int64_t>(data.size()));
    unopened_bytes_ += data.size();
    while (!data.empty() && receiving_) {
      if (prefix_have_ < kPrefixBytes) {
        const size_t n = std::min(data.size(), kPrefixBytes - prefix_have_);
        std::memcpy(prefix_ + prefix_have_, data.data(), n);
        prefix_have_ += n;
        data = data.subspan(n);
        if (prefix_have_ == kPrefixBytes) OnPrefix();
        TakeMessage();
        continue;
      }
      if (message_.size() == message_bytes_) {
        return Refuse({GrpcCode::kUnimplemented, "more than one message in a unary request", {}}, "messages");
      }
      const size_t n = std::min(data.size(), static_cast<size_t>(message_bytes_ - message_.size()));
      if (must_enter_ && !unverified_.Add(static_cast<int64_t>(n))) return Refuse(RetryLater(kUnverifiedFull), "memory");
      if (!message_.Append(data.first(n))) {
        return Refuse(RetryLater("the server is short of memory; send the request again later"), "memory");
      }
      data = data.subspan(n);
      TakeMessage();
    }
    OpenWindow();
  }

  void OnEnd() override {
    if (!receiving_) return;
    if (duplex() && prefix_have_ == 0) {
      receiving_ = false;
      ended_ = true;
      return RunNext();
    }
    if (prefix_have_ == 0) return Refuse({GrpcCode::kUnimplemented, "the request has no message", {}}, "messages");
    if (prefix_have_ < kPrefixBytes || message_.size() < message_bytes_) {
      return Refuse({GrpcCode::kInternal, "the request ends inside a message", {}}, "messages");
    }
    receiving_ = false;
    if (route_->inline_on_io && !must_enter_) return Run();
    context_->listener->workers.Post([self = shared_from_this()] { self->Run(); });
  }

  bool receiving() const override { return receiving_ && !duplex(); }
  void Excuse(std::chrono::steady_clock::duration time) override { rate_.Excuse(time); }

  void OnClosed() override {
    closed_ = true;
    deadline_timer_.reset();
    answer_->PeerGone();
    Drop();
    receiver_.reset();
  }

  void Check(TimePoint now) override {
    now_ = now;
    if (duplex() && (prefix_have_ == 0 || !waiting_.empty())) rate_ = UploadRate(now);  // Between messages, or held back by us.
    if (receiving_ && rate_.TooSlow(now, context_->options())) {
      Refuse({GrpcCode::kDeadlineExceeded, "the request message arrives too slowly", {}}, "slow_upload");
    }
    if (pieces_.empty()) {
      progress_ = now;
      download_ = Download(now);
    }
    // Its window stays shut, or opens by so little that a handler would wait for ever.
    if (now - progress_ > context_->options().write_timeout || download_.TooSlow(now, context_->options())) {
      link_.Reset(wire::Http2Error::kCancel);
    }
  }

  wire::Http2Events::Produced OnProduce(std::span<std::byte> out) override {
    wire::Http2Events::Produced produced;
    while (!pieces_.empty() && produced.bytes < out.size()) {
      const std::string& piece = pieces_.front();
      const size_t n = std::min(piece.size() - piece_offset_, out.size() - produced.bytes);
      std::memcpy(out.data() + produced.bytes, piece.data() + piece_offset_, n);
      produced.bytes += n;
      piece_offset_ += n;
      if (piece_offset_ < piece.size()) break;
      pieces_.pop_front();
      piece_offset_ = 0;
    }
    if (produced.bytes != 0) {
      progress_ = now_;
      download_.bytes += static_cast<int64_t>(produced.bytes);
      answer_->Sent(static_cast<int64_t>(produced.bytes));
    }
    if (pieces_.empty() && finished_) {
      produced.end = produced.trailers = true;
      link_.SubmitTrailers(StatusHeaders());
    }
    return produced;
  }

 private:
  GateRequest AtGate() const {
    GateRequest request{.method = "POST", .path = path_, .peer = context_->peer};
    for (const auto& [name, value] : metadata_) {
      if (name != "authorization") continue;
      request.authorization = value;  // The first, as over HTTP.
      break;
    }
    return request;
  }

  /// Asks the gate. False: it refused, and so have we. Where it has to hash a password first, a worker does that: before the handler of
  /// a single message; of a bidirectional call now, while messages wait.
  bool PassGate() {
    std::optional<Entry> entry = context_->shared->gate->TryEnter(AtGate());
    if (entry) {
      const bool entered = Take(std::move(*entry));
      if (!entered) Drop();
      return entered;
    }
    must_enter_ = true;
    if (!route_->duplex) return true;
    context_->listener->workers.Post([self = shared_from_this()] {
      auto entered = std::make_shared<Entry>(self->context_->shared->gate->Enter(self->AtGate()));  // A task must be copyable.
      self->context_->io->Post([self, entered] { self->BeginDuplex(std::move(*entered)); });
    });
    return true;
  }

  void BeginDuplex(Entry entry) {
    must_enter_ = false;
    unverified_.Clear();
    if (closed_ || answer_->finished()) return;
    if (!Take(std::move(entry))) return Drop();
    receiver_ = route_->duplex(MakeCall());
    RunNext();
    OpenWindow();
  }

  /// Takes over the gate's answer. False: it refused, and the call is answered. On whatever thread has the request.
  bool Take(Entry entry) {
    if (auto* passage = std::get_if<Passage>(&entry)) {
      passage_ = std::move(*passage);
      std::erase_if(metadata_, [](const auto& each) { return each.first == "authorization"; });
      return true;
    }
    Refusal& refusal = std::get<Refusal>(entry);
    const auto Finish = [&](GrpcCode code, const char* reason, std::string details) {
      context_->listener->metrics.CountRefused(reason);
      answer_->Finish({code, std::move(refusal.text), std::move(details)}, false, {});
    };
    switch (refusal.kind) {
      case RefusalKind::kUnauthenticated: Finish(GrpcCode::kUnauthenticated, "credentials", {}); break;
      case RefusalKind::kDenied: Finish(GrpcCode::kPermissionDenied, "denied", {}); break;
      case RefusalKind::kThrottled:
        Finish(GrpcCode::kResourceExhausted, "throttled", EncodeRpcStatus(GrpcCode::kResourceExhausted, refusal.text, kRetryAfterMs));
        break;
      case RefusalKind::kUnavailable:
        Finish(GrpcCode::kUnavailable, "memory", EncodeRpcStatus(GrpcCode::kUnavailable, refusal.text, kRetryAfterMs));
        break;
    }
    return false;
  }

  /// Takes what is gRPC's own out of the headers; the rest is metadata.
  bool ReadHeaders(wire::Http2Headers* headers) {
    for (auto& [name, value] : *headers) {
      if (name == "grpc-encoding") {
        const std::optional<wire::Encoding> encoding = wire::ParseEncoding(value);
        if (!encoding) {
          Refuse({GrpcCode::kUnimplemented, "unknown grpc-encoding " + value + "; known are " + kAcceptEncoding, {}}, "encoding");
          return false;
        }
        encoding_ = *encoding;
      } else if (name == "grpc-timeout") {
        const auto timeout = wire::ParseGrpcTimeout(value);
        if (!timeout) {
          Refuse({GrpcCode::kInvalidArgument, "malformed grpc-timeout", {}}, "timeout");
          return false;
        }
        StartDeadline(*timeout);
      } else if (name != "te" && name != "content-type" && name != "grpc-accept-encoding") {
        metadata_.emplace_back(std::move(name), std::move(value));
      }
    }
    return true;
  }

  void StartDeadline(std::chrono::nanoseconds timeout) {
    deadline_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(timeout);
    deadline_timer_ = context_->io->At(*deadline_, [self = weak_from_this()] {
      const auto stream = self.lock();
      if (!stream || stream->closed_) return;
      stream->Drop();
      stream->answer_->Cancel({GrpcCode::kDeadlineExceeded, "the deadline passed", {}});
    });
  }

  void Drop() {
    waiting_.clear();
    if (!receiving_) return;  // A worker may have the message by now.
    receiving_ = false;
    message_ = MessageBuffer();
    unverified_.Clear();
  }

  bool duplex() const { return route_ != nullptr && route_->duplex != nullptr; }

  std::shared_ptr<Call> MakeCall() {
    auto call = std::make_shared<Call>(answer_, context_);
    call->path = path_;
    call->metadata = std::move(metadata_);
    call->peer = context_->peer;
    call->identity = std::move(passage_.identity);
    call->place = std::move(passage_.place);
    call->deadline = deadline_;
    call->has_reply = route_->unary != nullptr;
    return call;
  }

  /// Of a bidirectional call: puts a message that is complete in line.
  void TakeMessage() {
    if (!duplex() || !receiving_ || prefix_have_ < kPrefixBytes || message_.size() < message_bytes_) return;
    if (!message_.Append({})) return Refuse(RetryLater("too many messages wait"), "memory");  // Empty ones take room, too.
    waiting_.push_back({std::exchange(message_, MessageBuffer(context_->memory)), message_encoding_});
    prefix_have_ = 0;
    message_bytes_ = 0;
    RunNext();
  }

  /// Hands the receiver the next message, or the end, once it wants more.
  void RunNext() {
    if (running_ || receiver_ == nullptr || answer_->finished()) return;
    if (waiting_.empty() && !std::exchange(ended_, false)) return;
    running_ = true;
    if (waiting_.empty()) return context_->listener->workers.Post([receiver = receiver_] { receiver->OnEnd(); });
    auto message = std::make_shared<Waiting>(std::move(waiting_.front()));  // A task must be copyable.
    waiting_.pop_front();
    const auto next = [self = weak_from_this(), io = context_->io] {
      io->Post([self] {
        if (const auto stream = self.lock()) stream->OnNext();
      });
    };
    context_->listener->workers.Post([self = shared_from_this(), receiver = receiver_, message, next] {
      Result<std::unique_ptr<Body>> body = self->Inflate(std::move(message->buffer), message->encoding);
      if (!body.ok()) return self->Reject(body.status());
      receiver->OnMessage(std::move(*body), next);
    });
  }

  void OnNext() {
    running_ = false;
    if (closed_) return;
    RunNext();
    OpenWindow();
  }

  /// Of a bidirectional call: lets the peer send on, unless messages wait that the receiver does not want yet.
  void OpenWindow() {
    if (!duplex() || closed_ || !waiting_.empty()) return;
    if (unopened_bytes_ != 0) link_.ConsumeStream(std::exchange(unopened_bytes_, 0));
  }

  Result<std::unique_ptr<Body>> Inflate(MessageBuffer message, wire::Encoding encoding) const {
    const wire::InflateLimits limits{context_->options().message_bytes_max, context_->options().inflate_ratio_max};
    return MakeBody(std::move(message), encoding, limits);
  }

  void Refuse(GrpcStatus status, const char* reason) {
    Drop();
    context_->listener->metrics.CountRefused(reason);
    answer_->Finish(std::move(status), false, {});
  }

  void OnPrefix() {
    const auto byte = [this](int i) { return static_cast<int64_t>(prefix_[i]); };
    message_bytes_ = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
    const int64_t bytes_max = context_->options().message_bytes_max;
    if (byte(0) > 1 || (byte(0) == 1 && encoding_ == wire::Encoding::kIdentity)) {
      return Refuse({GrpcCode::kInternal, "the message is marked as compressed without a grpc-encoding", {}}, "encoding");
    }
    if (message_bytes_ > bytes_max) {
      return Refuse({GrpcCode::kResourceExhausted, "the message of " + std::to_string(message_bytes_) + " bytes is larger than " +
                                                       std::to_string(bytes_max) + "; send less at once", {}}, "too_large");
    }
    message_encoding_ = byte(0) == 0 ? wire::Encoding::kIdentity : encoding_;
    message_.Expect(message_bytes_);
  }

  /// On a worker, or on the I/O thread for inline handlers.
  void Run() {
    if (answer_->finished()) return;
    if (must_enter_) {
      Entry entry = context_->shared->gate->Enter(AtGate());
      unverified_.Clear();
      if (!Take(std::move(entry))) return;
    }
    Result<std::unique_ptr<Body>> body = Inflate(std::exchange(message_, MessageBuffer()), message_encoding_);
    if (!body.ok()) return Reject(body.status());
    const std::shared_ptr<Call> call = MakeCall();
    call->message = std::move(*body);
    if (route_->unary) route_->unary(call);
    else route_->streaming(call);
  }

  void Reject(const Status& error) {
    const ErrorKind kind = KindOf(error);
    const char* const other = kind == ErrorKind::kInvalid ? "encoding" : "memory";
    context_->listener->metrics.CountRefused(kind == ErrorKind::kTooLarge ? "too_large" : other);
    if (kind == ErrorKind::kTooLarge) return answer_->Finish({GrpcCode::kResourceExhausted, error.message(), {}}, false, {});
    if (kind == ErrorKind::kInvalid) return answer_->Finish({GrpcCode::kInternal, error.message(), {}}, false, {});
    answer_->Finish(RetryLater(error.message()), false, {});
  }

  void OnAnswer() {
    if (closed_) return;
    GrpcAnswer::Progress news = answer_->Take();
    for (std::string& piece : news.pieces) pieces_.push_back(std::move(piece));
    finished_ = news.finished;
    if (finished_) {
      deadline_timer_.reset();
      if (duplex()) Drop();  // What is still on its way nobody wants.
    }
    if (headers_sent_) return link_.ResumeData();
    headers_sent_ = true;
    wire::Http2Headers headers{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-accept-encoding", kAcceptEncoding}};
    const bool trailers_only = finished_ && pieces_.empty();
    if (trailers_only) {
      for (auto& header : StatusHeaders()) headers.push_back(std::move(header));
    }
    link_.Respond(headers, !trailers_only);
  }

  wire::Http2Headers StatusHeaders() const {
    const GrpcStatus& status = answer_->status();
    wire::Http2Headers headers{{"grpc-status", std::to_string(static_cast<int>(status.code))}};
    if (!status.message.empty()) {
      headers.emplace_back("grpc-message", wire::PercentEncodeGrpcMessage(status.message.substr(0, kMessageTextBytesMax)));
    }
    if (!status.details.empty()) {
      std::string details;
      wire::AppendBase64(status.details, &details);
      while (details.ends_with('=')) details.pop_back();  // As gRPC sends binary headers.
      headers.emplace_back("grpc-status-details-bin", std::move(details));
    }
    headers.insert(headers.end(), status.trailers.begin(), status.trailers.end());
    return headers;
  }

  const ContextPtr context_;
  Http2Link link_;
  const TimePoint start_;
  TimePoint now_, progress_;
  std::shared_ptr<GrpcAnswer> answer_;

  std::string path_;
  Headers metadata_;
  const GrpcRoute* route_ = nullptr;  // Of context_->listener.
  Passage passage_;
  bool must_enter_ = false;           // The gate has to hash a password yet.
  UnverifiedBytes unverified_{context_->shared->unverified};  // Of messages, while must_enter_.
  wire::Encoding encoding_ = wire::Encoding::kIdentity;          // Of the call.
  wire::Encoding message_encoding_ = wire::Encoding::kIdentity;  // Of the message under way.
  std::optional<TimePoint> deadline_;
  std::unique_ptr<IoTimer> deadline_timer_;

  std::byte prefix_[kPrefixBytes] = {};
  size_t prefix_have_ = 0;
  int64_t message_bytes_ = 0;
  MessageBuffer message_;
  UploadRate rate_;
  bool receiving_ = true;

  // Of a bidirectional call.
  struct Waiting {
    MessageBuffer buffer;
    wire::Encoding encoding;
  };
  std::shared_ptr<GrpcReceiver> receiver_;
  std::deque<Waiting> waiting_;   // Complete, and not yet wanted.
  size_t unopened_bytes_ = 0;     // Received, and the stream's window not yet opened for them.
  bool running_ = false;          // The receiver has a message and has not asked for the next.
  bool ended_ = false;            // The peer has sent its last one, and the receiver does not know yet.

  /// What the peer takes in one stretch of write_timeout after the other, as long as there is something to send: what it took
  /// before does not excuse it.
  struct Download {
    explicit Download(TimePoint now) : start(now) {}
    bool TooSlow(TimePoint now, const TransportOptions& options) {
      if (now - start < options.write_timeout) return false;
      const double least = std::chrono::duration<double>(now - start).count() * static_cast<double>(options.upload_bytes_per_second_min);
      const bool slow = static_cast<double>(bytes) < least;
      *this = Download(now);
      return slow;
    }
    TimePoint start;
    int64_t bytes = 0;
  };
  Download download_;

  std::deque<std::string> pieces_;  // To send.
  size_t piece_offset_ = 0;
  bool headers_sent_ = false, finished_ = false, closed_ = false;
};

}  // namespace

std::shared_ptr<Http2Stream> MakeGrpcStream(ContextPtr context, Http2Link link, wire::Http2Request request, TimePoint now) {
  auto stream = std::make_shared<GrpcStream>(std::move(context), link, now);
  stream->Start(std::move(request));
  return stream;
}

}  // namespace sheaf::serve
