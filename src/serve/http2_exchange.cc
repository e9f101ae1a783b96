/// An HTTP request and its answer on an HTTP/2 stream.

#include <algorithm>
#include <cstring>
#include <utility>

#include "serve/http2_stream.h"
#include "serve/http_transaction.h"

namespace sheaf::serve {
namespace {

class Http2Exchange final : public Http2Stream, public std::enable_shared_from_this<Http2Exchange> {
 public:
  Http2Exchange(ContextPtr context, Http2Link link, TimePoint now) : context_(std::move(context)), link_(link), now_(now), progress_(now) {}

  void Start(wire::Http2Request request) {
    transaction_ = std::make_shared<HttpTransaction>(
        context_, [self = weak_from_this()] {
          if (const auto exchange = self.lock()) exchange->OnAnswer();
        }, now_);
    if (request.headers_too_large) return transaction_->Refuse(431, "header", "the request's header is too large");
    head_only_ = request.method == "HEAD";
    HttpHead head{std::move(request.method), std::move(request.path), std::move(request.headers), std::nullopt};
    if (!request.authority.empty()) head.headers.emplace_back("host", std::move(request.authority));
    for (const auto& [name, value] : head.headers) {
      // nghttp2 has checked its form, and that the body is as long.
      if (name == "content-length") head.content_length = static_cast<int64_t>(std::strtoull(value.c_str(), nullptr, 10));
    }
    transaction_->OnHead(std::move(head));
    if (transaction_->receiving() && transaction_->header("expect") == "100-continue") link_.SendContinue();
  }

  void OnData(std::span<const std::byte> data) override { transaction_->OnBody(data); }
  void OnEnd() override { transaction_->OnEnd(); }
  bool receiving() const override { return transaction_->receiving(); }
  void Excuse(std::chrono::steady_clock::duration time) override { transaction_->Excuse(time); }

  void OnClosed() override {
    closed_ = true;
    transaction_->answer().PeerGone();
  }

  void Check(TimePoint now) override {
    now_ = now;
    transaction_->Check(now);
    if (chunks_.empty()) progress_ = now;
    if (now - progress_ > context_->options().write_timeout) link_.Reset(wire::Http2Error::kCancel);  // Its window stays shut.
  }

  wire::Http2Events::Produced OnProduce(std::span<std::byte> out) override {
    wire::Http2Events::Produced produced;
    while (!chunks_.empty() && produced.bytes < out.size()) {
      const std::string& chunk = chunks_.front();
      const size_t n = std::min(chunk.size() - chunk_offset_, out.size() - produced.bytes);
      std::memcpy(out.data() + produced.bytes, chunk.data() + chunk_offset_, n);
      produced.bytes += n;
      chunk_offset_ += n;
      if (chunk_offset_ < chunk.size()) break;
      chunks_.pop_front();
      chunk_offset_ = 0;
    }
    if (produced.bytes != 0) {
      progress_ = now_;
      transaction_->answer().Sent(static_cast<int64_t>(produced.bytes));
    }
    produced.end = chunks_.empty() && ended_;
    return produced;
  }

 private:
  void OnAnswer() {
    if (closed_) return;
    HttpAnswer::Progress news = transaction_->answer().Take();
    if (news.aborted) return link_.Reset(wire::Http2Error::kInternal);
    for (std::string& chunk : news.chunks) chunks_.push_back(std::move(chunk));
    ended_ = news.ended;
    if (!news.head) return link_.ResumeData();
    wire::Http2Headers headers{{":status", std::to_string(news.status)}};
    for (auto& header : news.headers) headers.push_back(std::move(header));
    const bool no_content = news.status == 204 || news.status == 304;
    if (news.length && !no_content) headers.emplace_back("content-length", std::to_string(*news.length));
    if (no_content || head_only_) {
      chunks_.clear();
      ended_ = true;
    }
    link_.Respond(headers, !(ended_ && chunks_.empty()));
  }

  const ContextPtr context_;
  Http2Link link_;
  TimePoint now_, progress_;
  std::shared_ptr<HttpTransaction> transaction_;
  bool head_only_ = false, closed_ = false, ended_ = false;
  std::deque<std::string> chunks_;
  size_t chunk_offset_ = 0;
};

}  // namespace

std::shared_ptr<Http2Stream> MakeHttp2Exchange(ContextPtr context, Http2Link link, wire::Http2Request request, TimePoint now) {
  auto exchange = std::make_shared<Http2Exchange>(std::move(context), link, now);
  exchange->Start(std::move(request));
  return exchange;
}

}  // namespace sheaf::serve
