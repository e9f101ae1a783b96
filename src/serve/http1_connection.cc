/// HTTP/1.0 and HTTP/1.1 on one connection: one request at a time, in order; what the peer sends ahead waits.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "serve/http_transaction.h"
#include "serve/transport_protocol.h"
#include "wire/http1_parser.h"
#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

/// A refused body up to this length is read and dropped, so that the connection can be used again.
constexpr int64_t kDroppedBodyBytesMax = 1 << 20;

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return status < 400 ? "OK" : "Error";
  }
}

void Append(std::vector<uint8_t>* out, std::string_view text) { out->insert(out->end(), text.begin(), text.end()); }

/// A request lives in `transaction_` from its head until it is read to its end and its answer is sent.
class Http1Connection final : public Protocol, private wire::Http1Events {
 public:
  Http1Connection(ContextPtr context, ProtocolHost* host, TimePoint now)
      : context_(std::move(context)), host_(host), now_(now), quiet_since_(now), head_since_(now) {
    NextParser();
  }

  bool Receive(std::span<const std::byte> bytes, TimePoint now) override {
    now_ = now;
    if (input_.empty()) {
      if (!transaction_) head_since_ = now;
      Keep(bytes.subspan(Parse(bytes)));
    } else {
      Keep(bytes);
      ParseInput();
    }
    return true;
  }

  void ReceiveEnd() override {
    input_ended_ = true;
    if (!transaction_) return;
    if (!parser_->done()) return Close();  // Cut off: nobody waits for an answer.
    // The peer may only have finished sending: its answer still goes out, if the handler gives one.
    transaction_->answer().Cancel();
  }

  bool Fill(std::vector<uint8_t>* out, size_t bytes_max) override {
    if (std::exchange(send_continue_, false)) Append(out, "HTTP/1.1 100 Continue\r\n\r\n");
    while (transaction_ && !close_ && out->size() < bytes_max) {
      if (!answer_sent_) answer_sent_ = FillAnswer(out, bytes_max);
      if (!answer_sent_ || !RequestRead()) break;
      NextRequest();
    }
    return !broken_;
  }

  bool finished() const override {
    if (close_) return true;
    return !transaction_ && (input_ended_ || (context_->shared->draining && input_.empty()));
  }

  bool cut_off() const override { return broken_ && version_ < 11; }

  bool idle() const override { return !transaction_ && !close_ && input_.empty(); }

  bool wants_input() const override { return !input_ended_ && static_cast<int64_t>(input_.size()) <= input_bytes_max(); }

  bool Check(TimePoint now) override {
    now_ = now;
    const TransportOptions& options = context_->options();
    if (transaction_) {
      transaction_->Check(now);
      return !answer_sent_ || now - answered_at_ <= options.header_timeout;  // Dropping the rest of a refused body.
    }
    if (!input_.empty()) return now - head_since_ <= options.header_timeout;
    return now - quiet_since_ <= options.idle_timeout;
  }

  void Drain(TimePoint) override { host_->Changed(); }

  void Closed() override {
    if (transaction_) transaction_->answer().PeerGone();
  }

 private:
  int64_t input_bytes_max() const { return context_->options().header_bytes_max; }
  bool RequestRead() const { return close_after_answer_ || parser_->done(); }
  void NextParser() {
    wire::Http1Events* const events = this;
    parser_.emplace(static_cast<uint32_t>(context_->options().header_bytes_max), events);
  }

  void Keep(std::span<const std::byte> bytes) { input_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }

  void ParseInput() {
    const std::string input = std::move(input_);
    input_.clear();
    const auto bytes = std::as_bytes(std::span(input));
    Keep(bytes.subspan(Parse(bytes)));
  }

  /// Feeds the parser until it has a whole request. Returns the bytes used.
  size_t Parse(std::span<const std::byte> bytes) {
    if (close_ || close_after_answer_) return bytes.size();
    if (parser_->done()) return 0;  // Sent ahead: waits for the answer to the one before.
    const size_t used = parser_->Receive(bytes);
    const bool endless = parser_->head_done() && !parser_->done() && static_cast<int64_t>(bytes.size() - used) > input_bytes_max();
    host_->Changed();
    if (!parser_->fault() && !endless) return used;
    RefuseMalformed(parser_->fault().value_or(wire::Http1Fault{400, "a chunk's header is too long"}));
    return bytes.size();
  }

  void RefuseMalformed(const wire::Http1Fault& fault) {
    close_after_answer_ = true;
    if (transaction_ && transaction_->answer().begun()) {  // Refused already; only the end is worse now.
      return context_->listener->metrics.CountRefused("malformed");
    }
    if (!context_->listener->routes.has_http()) {  // Not HTTP/1 either: a port that speaks only gRPC has nothing to say to it.
      context_->listener->metrics.CountRefused("malformed");
      return Close();
    }
    if (!transaction_) {
      StartTransaction();
      head_only_ = false;
    }
    transaction_->Refuse(fault.status, "malformed", fault.reason);
  }

  void StartTransaction() {
    answer_sent_ = answer_ended_ = false;
    chunks_.clear();
    chunk_offset_ = 0;
    transaction_ = std::make_shared<HttpTransaction>(context_, [this] { host_->Changed(); }, now_);
  }

  void OnHead(wire::Http1Request request) override {
    StartTransaction();
    head_only_ = request.method == "HEAD";
    version_ = request.version;
    keep_alive_ = request.keep_alive;
    body_missing_ = request.chunked ? INT64_MAX : 0;
    HttpHead head{std::move(request.method), std::move(request.target), std::move(request.headers), std::nullopt};
    if (request.content_length) {
      body_missing_ = static_cast<int64_t>(std::min<uint64_t>(*request.content_length, INT64_MAX));
      head.content_length = body_missing_;
    }
    transaction_->OnHead(std::move(head));
    send_continue_ = request.expects_continue && transaction_->receiving();
    // Refused after "Expect": the peer may or may not send its body, so nothing can follow it.
    if (request.expects_continue && !send_continue_) close_after_answer_ = true;
  }

  void OnBody(std::span<const std::byte> data) override {
    body_missing_ -= static_cast<int64_t>(data.size());
    send_continue_ = false;
    transaction_->OnBody(data);
  }

  void OnEnd() override { transaction_->OnEnd(); }

  /// Appends what there is of the answer. True when that was all of it.
  bool FillAnswer(std::vector<uint8_t>* out, size_t bytes_max) {
    HttpAnswer::Progress news = transaction_->answer().Take();
    if (news.head) FillHead(news, out);
    for (std::string& chunk : news.chunks) chunks_.push_back(std::move(chunk));
    answer_ended_ = news.ended;
    broken_ = news.aborted;
    FillBody(out, bytes_max);
    if (broken_ || !answer_ended_ || !chunks_.empty()) return false;
    if (chunked_answer_ && !bodiless_) Append(out, "0\r\n\r\n");
    answered_at_ = now_;
    return true;
  }

  void FillHead(const HttpAnswer::Progress& news, std::vector<uint8_t>* out) {
    const bool no_content = news.status == 204 || news.status == 304;
    bodiless_ = head_only_ || no_content;
    chunked_answer_ = !news.length && version_ >= 11;
    // Without a length, only the end of the connection ends an HTTP/1.0 body.
    if (!news.length && version_ < 11) close_after_answer_ = true;
    if (!parser_->done() && body_missing_ > kDroppedBodyBytesMax) close_after_answer_ = true;
    if (!keep_alive_ || (input_ended_ && input_.empty()) || context_->shared->draining) close_after_answer_ = true;

    std::string head = fmt::format("HTTP/1.1 {} {}\r\n", news.status, ReasonPhrase(news.status));
    for (const auto& [name, value] : news.headers) head += name + ": " + value + "\r\n";
    if (news.length && !no_content) head += fmt::format("content-length: {}\r\n", *news.length);
    if (chunked_answer_ && !no_content) head += "transfer-encoding: chunked\r\n";
    if (close_after_answer_) head += "connection: close\r\n";
    else if (version_ < 11) head += "connection: keep-alive\r\n";
    Append(out, head + "\r\n");
  }

  void FillBody(std::vector<uint8_t>* out, size_t bytes_max) {
    while (!chunks_.empty() && out->size() < bytes_max) {
      const std::string& chunk = chunks_.front();
      const size_t n = bodiless_ ? chunk.size() : std::min(chunk.size() - chunk_offset_, bytes_max - out->size());
      if (!bodiless_) {
        if (chunked_answer_) Append(out, fmt::format("{:x}\r\n", n));
        Append(out, std::string_view(chunk).substr(chunk_offset_, n));
        if (chunked_answer_) Append(out, "\r\n");
      }
      transaction_->answer().Sent(static_cast<int64_t>(n));
      chunk_offset_ += n;
      if (chunk_offset_ < chunk.size()) continue;
      chunks_.pop_front();
      chunk_offset_ = 0;
    }
  }

  void NextRequest() {
    if (close_after_answer_) return Close();
    transaction_->answer().PeerGone();
    transaction_ = nullptr;
    quiet_since_ = head_since_ = now_;
    NextParser();
    if (!input_.empty()) ParseInput();
  }

  void Close() {
    close_ = true;
    if (transaction_) transaction_->answer().PeerGone();
    transaction_ = nullptr;
    host_->Changed();
  }

  const ContextPtr context_;
  ProtocolHost* const host_;  // Owns this.
  TimePoint now_, quiet_since_, head_since_, answered_at_;
  std::optional<wire::Http1Parser> parser_;
  std::string input_;  // Received, not yet parsed: an incomplete head, or requests sent ahead.
  bool input_ended_ = false;

  std::shared_ptr<HttpTransaction> transaction_;
  bool head_only_ = false, keep_alive_ = true, send_continue_ = false;
  int version_ = 11;
  int64_t body_missing_ = 0;

  bool bodiless_ = false, chunked_answer_ = false, answer_ended_ = false, answer_sent_ = false;
  std::deque<std::string> chunks_;
  size_t chunk_offset_ = 0;
  bool close_after_answer_ = false, close_ = false, broken_ = false;
};

}  // namespace

std::unique_ptr<Protocol> MakeHttp1Protocol(ContextPtr context, ProtocolHost* host, TimePoint now) {
  return std::make_unique<Http1Connection>(std::move(context), host, now);
}

}  // namespace sheaf::serve
