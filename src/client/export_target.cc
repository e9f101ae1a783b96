#include "client/export_target.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "client/http_client.h"
#include "client/learned_compression.h"
#include "client/otap_target.h"
#include "client/otlp_exporter.h"
#include "client/otlp_response.h"
#include "core/log.h"
#include "core/mutex.h"
#include "wire/http2_client.h"
#include "wire/otlp_records.h"

namespace sheaf::client {
namespace {

constexpr size_t kAnswerBytesMax = 1 << 20;
constexpr uint16_t kGrpcPort = 4317, kHttpPort = 4318;

const char* GrpcPath(wire::OtlpRequest kind) {
  switch (kind) {
    case wire::OtlpRequest::kTraces: return "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    case wire::OtlpRequest::kLogs: return "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    case wire::OtlpRequest::kMetrics: break;
  }
  return "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
}

/// Reads what servers say of requests that they took. The request is taken whatever that is: to send it again would only make it
/// come twice, for ever. Thread-safe.
class TakenReader {
 public:
  void Read(std::string_view bytes, ExportAnswer* answer) {
    const Result<ExportResult> result = ReadOtlpResponse(bytes);
    if (!result.ok()) return Unreadable(result.status().message());
    answer->rejected = result->rejected;
    answer->message = result->message;
  }

  void Unreadable(const std::string& why) {
    if (said_.exchange(true)) return;
    LogWarn("export.answer_unreadable", {{"error", why}, {"effect", "records that the server leaves out are not counted"}});
  }

 private:
  std::atomic<bool> said_ = false;
};

/// A request was taken; says once of a signal that it is sent plain from now on.
void NoteTaken(LearnedCompression* compression, wire::OtlpRequest kind, wire::Encoding encoding, const ExportTargetOptions& options) {
  if (!compression->NoteTaken(kind, encoding)) return;
  LogWarn("export.compression_off", {{"signal", wire::OtlpSignalName(kind)},
                                     {"compression", wire::EncodingName(options.compression)},
                                     {"reason", "the server takes requests without it only"}});
}

class GrpcTarget : public ExportTarget {
 public:
  GrpcTarget(std::unique_ptr<GrpcClient> client, ExportTargetOptions options)
      : client_(std::move(client)), options_(std::move(options)), compression_(options_.compression) {}

  ExportAnswer Send(const ExportRequest& request) override {
    if (cancelled_) return {.verdict = ExportVerdict::kCancelled};
    wire::Encoding encoding = compression_.Next(request.kind);
    GrpcClient::Reply reply = Call(request, encoding);
    int64_t sent_bytes = reply.end.sent_bytes;
    // So says a server that has not the compression, and one that has not the service: sent plain, it tells which it is.
    const bool unknown = reply.end.from_server && reply.end.code == GrpcCode::kUnimplemented && !compression_.works(request.kind);
    if (unknown && encoding != wire::Encoding::kIdentity) {
      encoding = wire::Encoding::kIdentity;
      reply = Call(request, encoding);
      sent_bytes += reply.end.sent_bytes;
    }
    ExportAnswer answer = AnswerOfGrpc(reply.end);
    answer.sent_bytes = sent_bytes;
    if (reply.end.ok()) taken_.Read(reply.message, &answer);
    if (reply.end.answered) taken_.Unreadable(reply.end.message);
    if (answer.verdict == ExportVerdict::kTaken) NoteTaken(&compression_, request.kind, encoding, options_);
    if (reply.end.reset) compression_.NoteBrokenOff(request.kind);
    if (cancelled_ && answer.verdict == ExportVerdict::kLost) answer.verdict = ExportVerdict::kCancelled;
    return answer;
  }

  void Cancel() override {
    cancelled_ = true;
    client_->CancelAll();
  }

 private:
  GrpcClient::Reply Call(const ExportRequest& request, wire::Encoding encoding) {
    return client_->Call(
        {.path = GrpcPath(request.kind), .metadata = options_.headers, .compression = encoding, .timeout = options_.timeout},
        request.bytes);
  }

  const std::unique_ptr<GrpcClient> client_;
  const ExportTargetOptions options_;
  LearnedCompression compression_;
  TakenReader taken_;
  std::atomic<bool> cancelled_ = false;
};

class HttpTarget : public ExportTarget {
 public:
  HttpTarget(const Url& url, ExportTargetOptions options)
      : url_(url), options_(std::move(options)), compression_(options_.compression) {}

  ExportAnswer Send(const ExportRequest& request) override {
    Result<std::unique_ptr<HttpClient>> client = Borrow();
    if (!client.ok()) return {.verdict = ExportVerdict::kLater, .message = client.status().message()};
    wire::Encoding encoding = compression_.Next(request.kind);
    int status = 0;
    ExportAnswer answer = SendBy(client->get(), request, encoding, &status);
    if (status == kUnsupportedMediaType && encoding != wire::Encoding::kIdentity) {  // Perhaps only the compression.
      const int64_t sent_bytes = answer.sent_bytes;
      encoding = wire::Encoding::kIdentity;
      answer = SendBy(client->get(), request, encoding, &status);
      answer.sent_bytes += sent_bytes;
    }
    if (answer.verdict == ExportVerdict::kTaken) NoteTaken(&compression_, request.kind, encoding, options_);
    GiveBack(*std::move(client));
    return answer;
  }

  void Cancel() override { cancelled_ = true; }

  /// A first client, to see early what is wrong with the options.
  Status Prepare() {
    SHEAF_ASSIGN_OR_RETURN(auto client, Borrow());
    GiveBack(std::move(client));
    return Status::OK();
  }

 private:
  /// Each request under way has a connection of its own.
  Result<std::unique_ptr<HttpClient>> Borrow() SHEAF_EXCLUDES(mutex_) {
    {
      MutexLock lock(&mutex_);
      if (!idle_.empty()) {
        auto client = std::move(idle_.back());
        idle_.pop_back();
        return client;
      }
    }
    HttpClientOptions options;
    options.connect_timeout = options_.connect_timeout;
    options.response_timeout = options.call_timeout = options_.timeout;
    options.attempts_max = 1;
    options.tls = options_.tls;
    options.cancelled = [this] { return cancelled_.load(); };
    return HttpClient::Make(url_, std::move(options));
  }

  void GiveBack(std::unique_ptr<HttpClient> client) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    idle_.push_back(std::move(client));
  }

  /// One attempt. `*status`: of the answer; 0 where there is none.
  ExportAnswer SendBy(HttpClient* client, const ExportRequest& request, wire::Encoding encoding, int* status) {
    *status = 0;
    HttpRequest http{.target = std::string("/v1/") + wire::OtlpSignalName(request.kind),
                     .headers = {{"content-type", "application/x-protobuf"}}};
    if (encoding == wire::Encoding::kIdentity) {
      http.body = request.bytes;
    } else {
      Result<std::string> compressed = wire::Compress(encoding, request.bytes);
      if (!compressed.ok()) return {.verdict = ExportVerdict::kLater, .message = compressed.status().message()};
      http.body = *std::move(compressed);
      http.headers.emplace_back("content-encoding", wire::EncodingName(encoding));
    }
    http.headers.insert(http.headers.end(), options_.headers.begin(), options_.headers.end());
    ExportAnswer answer{.sent_bytes = static_cast<int64_t>(http.body.size())};
    Result<std::unique_ptr<HttpResponseStream>> stream = client->Start(http);
    if (!stream.ok()) {
      const bool cancelled = KindOf(stream.status()) == ErrorKind::kCancelled;
      answer.verdict = cancelled                     ? ExportVerdict::kCancelled
                       : client->may_have_arrived() ? ExportVerdict::kLost
                                                     : ExportVerdict::kLater;
      answer.message = stream.status().message();
      if (!client->may_have_arrived()) answer.sent_bytes = 0;
      return answer;
    }
    HttpResponse response = (*stream)->head();
    const Status whole = ReadBody(stream->get(), &response.body);
    *status = response.status;
    answer.verdict = VerdictOfHttp(response.status);
    if (answer.verdict == ExportVerdict::kTaken) {
      ReadTaken(response, whole, &answer);
      return answer;
    }
    answer.message = ErrorOfResponse(response).message();
    const std::string_view retry_after = response.header("retry-after");
    if (!retry_after.empty()) answer.retry_after = ParseRetryAfter(retry_after, std::chrono::system_clock::now());
    return answer;
  }

  /// Reads as much of an answer as anybody wants to know. Errors: TooLarge, those of HttpResponseStream::Read().
  static Status ReadBody(HttpResponseStream* stream, std::string* body) {
    std::vector<char> chunk(16 << 10);
    for (;;) {
      SHEAF_ASSIGN_OR_RETURN(const int64_t bytes, stream->Read(chunk));
      if (bytes == 0) return Status::OK();
      body->append(chunk.data(), static_cast<size_t>(bytes));
      if (body->size() > kAnswerBytesMax) return MakeError(ErrorKind::kTooLarge, "the answer has more than {} bytes", kAnswerBytesMax);
    }
  }

  void ReadTaken(const HttpResponse& response, const Status& whole, ExportAnswer* answer) {
    const std::string_view type = response.header("content-type");
    if (!whole.ok()) return taken_.Unreadable(whole.message());
    if (response.body.empty()) return;
    if (!type.empty() && type.find("protobuf") == std::string_view::npos) {
      return taken_.Unreadable(fmt::format("it is '{}', not protobuf", type));
    }
    taken_.Read(response.body, answer);
  }

  static constexpr int kUnsupportedMediaType = 415;

  const Url url_;
  const ExportTargetOptions options_;
  LearnedCompression compression_;
  std::atomic<bool> cancelled_ = false;
  Mutex mutex_;
  TakenReader taken_;
  std::vector<std::unique_ptr<HttpClient>> idle_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace

ExportAnswer AnswerOfGrpc(const GrpcEnd& end) {
  ExportAnswer answer;
  if (end.ok() || end.answered) return answer;
  answer.message = fmt::format("{}: {}", GrpcCodeName(end.code), end.message);
  if (end.retry_after_ms) answer.retry_after = std::chrono::milliseconds(*end.retry_after_ms);
  if (!end.from_server) {
    answer.verdict = end.perhaps_processed ? ExportVerdict::kLost : ExportVerdict::kLater;
    return answer;
  }
  switch (end.code) {
    // The server's way to say that it gave up, or lost sight: part of the work may be done.
    case GrpcCode::kCancelled:
    case GrpcCode::kDeadlineExceeded:
    case GrpcCode::kAborted:
    case GrpcCode::kDataLoss: answer.verdict = ExportVerdict::kLost; break;
    // With RetryInfo a server that is full. Without, as gateways say it too that lost sight of the server behind them.
    case GrpcCode::kUnavailable: answer.verdict = end.retry_after_ms ? ExportVerdict::kLater : ExportVerdict::kLost; break;
    case GrpcCode::kOutOfRange: answer.verdict = ExportVerdict::kLater; break;
    // UNIMPLEMENTED is not among these: a target may lack one signal's service, which must not hold up the others.
    case GrpcCode::kUnauthenticated:
    case GrpcCode::kPermissionDenied: answer.verdict = ExportVerdict::kHeld; break;
    // With RetryInfo a server that is full, without a request that is too large.
    case GrpcCode::kResourceExhausted:
      answer.verdict = end.retry_after_ms ? ExportVerdict::kLater : ExportVerdict::kTooLarge;
      break;
    default: answer.verdict = ExportVerdict::kRefused;
  }
  return answer;
}

ExportVerdict VerdictOfHttp(int status) {
  if (status / 100 == 2) return ExportVerdict::kTaken;
  switch (status) {
    case 413: return ExportVerdict::kTooLarge;
    case 401:
    case 403: return ExportVerdict::kHeld;
    case 408:  // It waited for the request, and has not got it.
    case 429:
    case 503: return ExportVerdict::kLater;
    // Of a gateway that lost sight of the server behind it.
    case 502:
    case 504: return ExportVerdict::kLost;
    default: return ExportVerdict::kRefused;
  }
}

namespace {

void WarnOfSecretsInClear(const Url& url, const RequestHeaders& headers) {
  if (url.tls || url.host == "localhost" || url.host == "::1" || url.host.starts_with("127.")) return;
  for (const auto& [name, value] : headers) {
    if (!wire::IsSecretHeader(name)) continue;
    LogWarn("export.secret_in_clear", {{"target", url.authority()},
                                       {"header", name},
                                       {"advice", "send by TLS: grpcs://, https:// or otap+tls://"}});
  }
}

}  // namespace

Result<std::unique_ptr<ExportTarget>> MakeExportTarget(std::string_view address, const ExportTargetOptions& options) {
  SHEAF_RETURN_NOT_OK(CheckRequestHeaders(options.headers));
  if (options.compression == wire::Encoding::kDeflate) return MakeError(ErrorKind::kInvalid, "compression is none, gzip or zstd");
  for (const std::string_view flight : {"flight://", "flights://"}) {
    if (!address.starts_with(flight)) continue;
    return MakeError(ErrorKind::kUnsupported,
                     "'{}': telemetry is not sent by Flight: its tables take OTLP and OTel-Arrow only; write grpc://, http:// or otap://",
                     address);
  }
  const std::string_view scheme = address.substr(0, std::min(address.size(), address.find("://")));
  const bool otap = scheme == "otap" || scheme == "otap+tls";
  if (otap || scheme == "grpc" || scheme == "grpcs") {
    const bool tls = scheme == "grpcs" || scheme == "otap+tls";
    const std::string as_http = (tls ? "https://" : "http://") + std::string(address.substr(scheme.size() + 3));
    const Result<Url> url = ParseUrl(as_http, kGrpcPort);
    if (!url.ok()) return url.status();
    WarnOfSecretsInClear(*url, options.headers);
    if (otap) return MakeOtapTarget(*url, options);
    SHEAF_ASSIGN_OR_RETURN(auto client,
                           GrpcClient::Make(*url, {.connect_timeout = options.connect_timeout, .tls = options.tls}));
    return std::make_unique<GrpcTarget>(std::move(client), options);
  }
  if (!address.starts_with("http://") && !address.starts_with("https://")) {
    return MakeError(ErrorKind::kInvalid, "'{}' is no address to send to; write grpc://HOST:4317, http://HOST:4318 or otap://HOST:4317",
                     address.find('@') == std::string_view::npos ? address : "…");
  }
  SHEAF_ASSIGN_OR_RETURN(const Url url, ParseUrl(address, kHttpPort));
  WarnOfSecretsInClear(url, options.headers);
  auto target = std::make_unique<HttpTarget>(url, options);
  SHEAF_RETURN_NOT_OK(target->Prepare());
  return target;
}

}  // namespace sheaf::client
