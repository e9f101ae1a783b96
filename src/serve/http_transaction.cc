#include "serve/http_transaction.h"

#include <utility>

#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

constexpr int64_t kRetryAfterSeconds = 1;

std::string_view Find(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

/// What a handler holds. Letting go of it without an answer is an answer too.
class Exchange final : public HttpExchange {
 public:
  Exchange(std::shared_ptr<HttpAnswer> answer, ContextPtr context, std::shared_ptr<void> place)
      : answer_(std::move(answer)), context_(std::move(context)), place_(std::move(place)) {
    context_->handlers.fetch_add(1, std::memory_order_relaxed);
  }
  ~Exchange() override {
    context_->handlers.fetch_sub(1, std::memory_order_relaxed);
    answer_->Abandon();
  }

  void Respond(int status, Headers headers, std::string body) override { answer_->Respond(status, std::move(headers), std::move(body)); }
  void Begin(int status, Headers headers) override { answer_->Begin(status, std::move(headers)); }
  bool Write(std::string chunk) override { return answer_->Write(std::move(chunk)); }
  void End() override { answer_->End(); }
  void Abort() override { answer_->Abort(); }
  bool cancelled() const override { return answer_->cancelled(); }
  void OnCancel(std::function<void()> action) override { answer_->OnCancel(std::move(action)); }

 private:
  const std::shared_ptr<HttpAnswer> answer_;
  const ContextPtr context_;
  const std::shared_ptr<void> place_;  // Among the user's requests.
};

/// What RFC 9110 asks a 401 to name.
const Headers& Challenges() {
  static const Headers headers = {{"www-authenticate", "Basic realm=\"sheaf\", charset=\"UTF-8\""},
                                  {"www-authenticate", "Bearer realm=\"sheaf\""}};
  return headers;
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const { return Find(headers, name); }

HttpTransaction::HttpTransaction(ContextPtr context, std::function<void()> wake, TimePoint now)
    : context_(std::move(context)),
      answer_(std::make_shared<HttpAnswer>(context_, std::move(wake))),
      start_(now),
      body_(context_->memory),
      unverified_(context_->shared->unverified),
      rate_(now) {
  context_->listener->metrics.streams.Add(1);
}

HttpTransaction::~HttpTransaction() {
  context_->listener->metrics.streams.Add(-1);
  context_->listener->metrics.request_seconds.Observe(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
}

std::string_view HttpTransaction::header(std::string_view name) const { return Find(head_.headers, name); }

void HttpTransaction::Refuse(int status, const char* reason, std::string text, Headers headers) {
  Drop();
  Reject(status, reason, std::move(text), std::move(headers));
}

void HttpTransaction::Drop() {
  if (!receiving_) return;  // A worker may have the body by now.
  receiving_ = false;
  body_ = MessageBuffer();
  unverified_.Clear();
}

void HttpTransaction::Reject(int status, const char* reason, std::string text, Headers headers) {
  context_->listener->metrics.CountRefused(reason);
  if (status < 400) return answer_->Respond(status, std::move(headers), "");
  RefusedRequest refused{.status = status, .content_type = header("content-type"), .reason = text};
  if (status == 503 || status == 429) {
    headers.emplace_back("retry-after", std::to_string(kRetryAfterSeconds));
    refused.retry_after_ms = kRetryAfterSeconds * 1000;
  }
  const ErrorFormatter& format = context_->listener->error_formatter;
  ErrorBody body = format ? format(refused) : ErrorBody{"text/plain; charset=utf-8", text + "\n"};
  headers.emplace_back("content-type", std::move(body.content_type));
  answer_->Respond(status, std::move(headers), std::move(body.bytes));
}

bool HttpTransaction::ReadTarget() {
  std::string_view target = head_.target;
  const size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos) {  // Absolute form, as sent to proxies.
    const size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  const size_t question = target.find('?');
  if (question != std::string_view::npos) query_ = target.substr(question + 1);
  std::optional<std::string> path = wire::PercentDecode(target.substr(0, question));
  if (!path || !(path->starts_with('/') || *path == "*")) return false;
  path_ = std::move(*path);
  return true;
}

bool HttpTransaction::ReadEncoding() {
  const std::optional<wire::Encoding> encoding = wire::ParseEncoding(wire::LowerCase(header("content-encoding")));
  if (encoding) encoding_ = *encoding;
  return encoding.has_value();
}

void HttpTransaction::OnHead(HttpHead head) {
  head_ = std::move(head);
  if (const HeadChecker& check = context_->listener->head_checker) {
    HeadVerdict verdict = check(head_.method, &head_.headers);
    answer_->SetCommonHeaders(std::move(verdict.answer));
    if (!verdict.refused.empty()) return Refuse(403, "origin", std::move(verdict.refused));
  }
  if (!ReadTarget()) return Refuse(400, "target", "malformed request target");
  if (!context_->listener->routes.has_http()) {
    if (head_.method != "POST") return Refuse(405, "method", "this port takes POST", {{"allow", "POST"}});
    return Refuse(415, "not_grpc", "this port speaks gRPC; send content-type application/grpc over HTTP/2");
  }
  TransportRoutes::Match match = context_->listener->routes.FindHttp(head_.method, path_);
  if (match.route == nullptr && match.allow.empty()) return Refuse(404, "path", "nothing is served at " + path_);
  if (match.route == nullptr && head_.method == "OPTIONS") return Refuse(204, "options", "", {{"allow", match.allow}});
  if (match.route == nullptr) {
    return Refuse(405, "method", path_ + " takes " + match.allow, {{"allow", match.allow}});
  }
  route_ = match.route;
  if (!PassGate()) return;
  const bool reads_only = head_.method == "GET" || head_.method == "HEAD";
  const bool crowded = context_->handlers.load(std::memory_order_relaxed) > 2 * context_->options().streams_max;
  if (crowded || (!reads_only && context_->overloaded())) {
    return Refuse(503, "overload", "the server is overloaded; send the request again later");
  }
  if (!ReadEncoding()) {
    return Refuse(415, "encoding", "unknown Content-Encoding; gzip, deflate and zstd are read",
                  {{"accept-encoding", "gzip, deflate, zstd"}});
  }
  if (head_.content_length) {
    if (*head_.content_length > context_->options().message_bytes_max) {
      return Refuse(413, "too_large", "the request body is larger than " + std::to_string(context_->options().message_bytes_max) +
                                          " bytes; send less at once");
    }
    body_.Expect(*head_.content_length);
  }
}

bool HttpTransaction::PassGate() {
  if (context_->shared->gate == nullptr) return true;
  std::optional<Entry> entry = context_->shared->gate->TryEnter(
      {.method = head_.method, .path = path_, .authorization = header("authorization"), .peer = context_->peer});
  must_enter_ = !entry.has_value();
  if (must_enter_ || Take(std::move(*entry))) return true;
  Drop();
  return false;
}

bool HttpTransaction::Take(Entry entry) {
  if (auto* passage = std::get_if<Passage>(&entry)) {
    passage_ = std::move(*passage);
    std::erase_if(head_.headers, [](const auto& each) { return each.first == "authorization"; });
    return true;
  }
  const Refusal& refusal = std::get<Refusal>(entry);
  switch (refusal.kind) {
    case RefusalKind::kUnauthenticated: Reject(401, "credentials", refusal.text, Challenges()); break;
    case RefusalKind::kDenied: Reject(403, "denied", refusal.text); break;
    case RefusalKind::kThrottled: Reject(429, "throttled", refusal.text); break;
    case RefusalKind::kUnavailable: Reject(503, "memory", refusal.text); break;
  }
  return false;
}

void HttpTransaction::OnBody(std::span<const std::byte> data) {
  if (!receiving_) return;
  rate_.Add(static_cast<int64_t>(data.size()));
  if (body_.size() + static_cast<int64_t>(data.size()) > context_->options().message_bytes_max) {
    return Refuse(413, "too_large", "the request body is larger than " + std::to_string(context_->options().message_bytes_max) +
                                        " bytes; send less at once");
  }
  if (must_enter_ && !unverified_.Add(static_cast<int64_t>(data.size()))) return Refuse(503, "memory", kUnverifiedFull);
  if (!body_.Append(data)) {
    return Refuse(503, "memory", "the server is short of memory; send the request again later");
  }
}

void HttpTransaction::OnEnd() {
  if (!receiving_) return;
  receiving_ = false;
  if (route_->inline_on_io && !must_enter_) return Run();
  context_->listener->workers.Post([self = shared_from_this()] { self->Run(); });
}

void HttpTransaction::Run() {
  if (must_enter_) {
    Entry entry = context_->shared->gate->Enter(
        {.method = head_.method, .path = path_, .authorization = header("authorization"), .peer = context_->peer});
    unverified_.Clear();
    if (!Take(std::move(entry))) return;
  }
  const wire::InflateLimits limits{context_->options().message_bytes_max, context_->options().inflate_ratio_max};
  Result<std::unique_ptr<Body>> body = MakeBody(std::exchange(body_, MessageBuffer()), encoding_, limits);
  if (!body.ok()) {
    const ErrorKind kind = KindOf(body.status());
    const std::string text = body.status().message();
    if (kind == ErrorKind::kTooLarge) return Reject(413, "too_large", text);
    if (kind == ErrorKind::kInvalid) return Reject(400, "encoding", text);
    return Reject(503, "memory", text);
  }
  auto exchange = std::make_shared<Exchange>(answer_, context_, std::move(passage_.place));
  exchange->request = {head_.method,   path_,         query_, head_.headers, std::move(*body), context_->peer,
                       context_->tls, std::move(passage_.identity)};
  route_->handler(std::move(exchange));
}

void HttpTransaction::Check(TimePoint now) {
  if (receiving_ && rate_.TooSlow(now, context_->options())) Refuse(408, "slow_upload", "the request body arrives too slowly");
}

}  // namespace sheaf::serve
