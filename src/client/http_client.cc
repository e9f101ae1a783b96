#include "client/http_client.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <optional>
#include <random>
#include <variant>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

namespace sheaf::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Tcp = beast::tcp_stream;
using Tls = beast::ssl_stream<beast::tcp_stream>;
using Parser = http::response_parser<http::buffer_body>;

using Time = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kCancelPoll{100};
constexpr int kInterimAnswersMax = 16;

bool IsRetryable(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

/// One TCP or TLS connection, driven by one operation at a time.
class Connection {
 public:
  Connection(const Url& url, const HttpClientOptions& options, asio::ssl::context* tls)
      : url_(url), options_(options), tls_(tls) {}

  /// Every operation from now on ends by `end`; none: only by its own time-out.
  void SetEnd(std::optional<Time> end) { end_ = end; }

  /// Whether the next thing to be read will be the answer to the next request: nothing stands unread, such as a 408 that came while the
  /// connection was idle, and the server has not closed.
  bool ReadyForRequest() {
    if (buffer_.size() > 0) return false;
    if (url_.tls && SSL_pending(std::get<Tls>(stream_).native_handle()) > 0) return false;
    error_code error;
    auto& socket = lowest().socket();
    socket.non_blocking(true, error);
    if (error) return false;
    char byte = 0;
    socket.receive(asio::buffer(&byte, 1), asio::socket_base::message_peek, error);
    return error == asio::error::would_block || error == asio::error::try_again;
  }

  Status Open() {
    Time end = std::chrono::steady_clock::now() + options_.connect_timeout;
    if (end_) end = std::min(end, *end_);
    SHEAF_ASSIGN_OR_RETURN(const std::vector<std::string> addresses,
                           LookUpAndWait(options_.look_up, url_.host, end - std::chrono::steady_clock::now(), options_.cancelled));
    Status connected;
    for (size_t i = 0; i < addresses.size(); ++i) {
      // Each address that is left has the same share of the time that is left.
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      connected = ConnectTo(addresses[i], left / static_cast<int64_t>(addresses.size() - i));
      if (connected.ok() || KindOf(connected) == ErrorKind::kCancelled) break;
    }
    SHEAF_RETURN_NOT_OK(connected);
    error_code ignored;  // Only slower without.
    lowest().socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    if (!url_.tls) return Status::OK();
    Tls& stream = std::get<Tls>(stream_);
    NameServer(stream.native_handle(), url_.host);
    stream.set_verify_mode(asio::ssl::verify_peer);
    stream.set_verify_callback(asio::ssl::host_name_verification(url_.host));
    return Wait("TLS with", options_.connect_timeout,
                [&](auto done) { stream.async_handshake(asio::ssl::stream_base::client, std::move(done)); });
  }

  template <typename Message>
  Status Write(const Message& message) {
    return Wait("sending to", options_.response_timeout,
                [&](auto done) { Visit([&](auto& stream) { http::async_write(stream, message, std::move(done)); }); });
  }

  Status ReadHead(Parser* parser) {
    return Wait("waiting for", options_.response_timeout, [&](auto done) {
      Visit([&](auto& stream) { http::async_read_header(stream, buffer_, *parser, std::move(done)); });
    });
  }

  /// Reads into the parser's buffer; a full buffer is no error.
  Status ReadBody(Parser* parser) {
    return Wait("reading from", options_.response_timeout, [&](auto done) {
      Visit([&](auto& stream) { http::async_read_some(stream, buffer_, *parser, std::move(done)); });
    });
  }

 private:
  Status ConnectTo(const std::string& address, std::chrono::milliseconds timeout) {
    if (url_.tls) {
      stream_.emplace<Tls>(io_, *tls_);
    } else {
      stream_.emplace<Tcp>(io_);
    }
    error_code error;
    const asio::ip::tcp::endpoint endpoint(asio::ip::make_address(address, error), url_.port);
    if (error) return Failed("connecting to", error);
    return Wait("connecting to", timeout, [&](auto done) { lowest().async_connect(endpoint, std::move(done)); });
  }

  Tcp& lowest() { return url_.tls ? beast::get_lowest_layer(std::get<Tls>(stream_)) : std::get<Tcp>(stream_); }

  template <typename Action>
  void Visit(Action action) {
    if (url_.tls) {
      action(std::get<Tls>(stream_));
    } else {
      action(std::get<Tcp>(stream_));
    }
  }

  Status Failed(const char* doing, const error_code& error) const {
    if (error == beast::error::timeout) {
      return MakeError(ErrorKind::kTimeout, "{} {}: no answer in time", doing, url_.authority());
    }
    return MakeError(ErrorKind::kUnavailable, "{} {}: {}", doing, url_.authority(), error.message());
  }

  /// Starts an operation and runs it to its end, its time-out or the caller's cancel.
  template <typename Start>
  Status Wait(const char* doing, std::chrono::milliseconds timeout, Start start) {
    std::optional<error_code> result;
    const Time own_end = std::chrono::steady_clock::now() + timeout;
    lowest().expires_at(end_ ? std::min(own_end, *end_) : own_end);
    start([&result](error_code error, auto&&...) { result = error; });
    bool cancelled = false;
    io_.restart();
    while (!result) {
      io_.run_for(kCancelPoll);
      if (!result && !cancelled && options_.cancelled && options_.cancelled()) {
        cancelled = true;
        lowest().cancel();
      }
      if (io_.stopped()) io_.restart();
    }
    lowest().expires_never();
    if (cancelled) return MakeError(ErrorKind::kCancelled, "{} {}: cancelled", doing, url_.authority());
    if (*result && *result != http::error::need_buffer) return Failed(doing, *result);
    return Status::OK();
  }

  const Url& url_;
  const HttpClientOptions& options_;
  asio::io_context io_;
  asio::ssl::context* const tls_;
  std::variant<std::monostate, Tcp, Tls> stream_;
  beast::flat_buffer buffer_;
  std::optional<Time> end_;
};

class Client;

class Stream : public HttpResponseStream {
 public:
  Stream(Client* client, Connection* connection) : client_(client), connection_(connection) {
    StartParser();
  }
  ~Stream() override;

  Status ReadHead() {
    for (int interim = 0;; ++interim) {
      SHEAF_RETURN_NOT_OK(connection_->ReadHead(&*parser_));
      head_.status = parser_->get().result_int();
      if (head_.status / 100 != 1 || head_.status == 101) break;  // The answer itself is still to come.
      if (interim == kInterimAnswersMax) return MakeError(ErrorKind::kUnavailable, "the server sends interim answers without end");
      StartParser();
    }
    for (const auto& field : parser_->get()) {
      std::string name(field.name_string());
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      head_.headers.emplace_back(std::move(name), std::string(field.value()));
    }
    return Status::OK();
  }

  const HttpResponse& head() const override { return head_; }

  Result<int64_t> Read(std::span<char> out) override {
    auto& body = parser_->get().body();
    while (!parser_->is_done()) {
      body.data = out.data();
      body.size = out.size();
      SHEAF_RETURN_NOT_OK(connection_->ReadBody(&*parser_));
      const size_t read = out.size() - body.size;
      if (read > 0) return static_cast<int64_t>(read);
    }
    return 0;
  }

 private:
  void StartParser() {
    parser_.emplace();
    parser_->body_limit(boost::none);
    parser_->header_limit(64 << 10);
  }

  Client* const client_;
  Connection* const connection_;
  std::optional<Parser> parser_;
  HttpResponse head_;
};

class Client : public HttpClient {
 public:
  Client(const Url& url, HttpClientOptions options) : url_(url), options_(std::move(options)), random_(options_.jitter_seed) {}

  Status Prepare() {
    if (!url_.tls) return Status::OK();
    return MakeTlsContext(options_.tls).Value(&tls_);
  }

  Result<std::unique_ptr<HttpResponseStream>> Start(const HttpRequest& request) override {
    end_.reset();
    if (options_.call_timeout.count() > 0) end_ = std::chrono::steady_clock::now() + options_.call_timeout;
    for (int attempt = 1;; ++attempt) {
      bool may_repeat = false;
      Result<std::unique_ptr<Stream>> result = Try(request, &may_repeat);
      std::chrono::milliseconds wait{0};
      if (result.ok()) {
        const HttpResponse& head = (*result)->head();
        if (!IsRetryable(head.status) || attempt >= options_.attempts_max) return std::move(result).ValueUnsafe();
        wait = ParseRetryAfter(head.header("retry-after"), std::chrono::system_clock::now());
        result->reset();
      } else if (!may_repeat || attempt >= options_.attempts_max) {
        return result.status();
      }
      SHEAF_RETURN_NOT_OK(Pause(attempt, wait));
    }
  }

  Result<HttpResponse> Send(const HttpRequest& request) override {
    SHEAF_ASSIGN_OR_RETURN(auto stream, Start(request));
    HttpResponse response = stream->head();
    std::vector<char> chunk(64 << 10);
    for (;;) {
      SHEAF_ASSIGN_OR_RETURN(const int64_t bytes, stream->Read(chunk));
      if (bytes == 0) return response;
      if (static_cast<int64_t>(response.body.size()) + bytes > options_.response_bytes_max) {
        return MakeError(ErrorKind::kTooLarge, "the answer of {} is larger than {} bytes", url_.authority(),
                         options_.response_bytes_max);
      }
      response.body.append(chunk.data(), static_cast<size_t>(bytes));
    }
  }

  bool may_have_arrived() const override { return may_have_arrived_; }
  const Url& url() const override { return url_; }

  /// A stream says at its end whether the connection can serve another request.
  void Release(bool reusable) {
    if (!reusable) connection_.reset();
  }

 private:
  /// One attempt. A connection kept from before may have been closed meanwhile: then a fresh one is tried.
  Result<std::unique_ptr<Stream>> Try(const HttpRequest& request, bool* may_repeat) {
    const bool kept = connection_ != nullptr;
    Result<std::unique_ptr<Stream>> result = TryOnce(request, may_repeat);
    if (result.ok() || !kept || !*may_repeat || KindOf(result.status()) != ErrorKind::kUnavailable) return result;
    return TryOnce(request, may_repeat);
  }

  Result<std::unique_ptr<Stream>> TryOnce(const HttpRequest& request, bool* may_repeat) {
    *may_repeat = true;
    may_have_arrived_ = false;
    if (connection_ != nullptr && !connection_->ReadyForRequest()) connection_.reset();
    const bool fresh = connection_ == nullptr;
    if (fresh) connection_ = std::make_unique<Connection>(url_, options_, tls_.get());
    connection_->SetEnd(end_);
    if (fresh) {
      if (Status status = connection_->Open(); !status.ok()) {
        connection_.reset();
        *may_repeat = KindOf(status) != ErrorKind::kCancelled;
        return status;
      }
    }
    http::request<http::span_body<const char>> message(http::string_to_verb(request.method), url_.path + request.target, 11);
    message.set(http::field::host, url_.authority());
    message.set(http::field::user_agent, "sheaf");
    if (!options_.authorization.empty()) message.set(http::field::authorization, options_.authorization);
    for (const auto& [name, value] : request.headers) message.set(name, value);
    message.body() = boost::span<const char>(request.body.data(), request.body.size());
    message.prepare_payload();

    may_have_arrived_ = true;
    auto stream = std::make_unique<Stream>(this, connection_.get());
    Status status = connection_->Write(message);
    // A server may answer early and close before it has read all: the answer explains the broken write.
    if (status.ok() || KindOf(status) == ErrorKind::kUnavailable) {
      const Status read = stream->ReadHead();
      if (read.ok()) return stream;
      if (status.ok()) status = read;
    }
    stream.reset();
    connection_.reset();
    *may_repeat = request.repeatable && KindOf(status) == ErrorKind::kUnavailable;
    return status;
  }

  Status Pause(int attempt, std::chrono::milliseconds asked) {
    const int64_t doubled = options_.backoff_first.count() << std::min(attempt - 1, 20);
    const int64_t bound = std::min(doubled, options_.backoff_max.count());
    std::chrono::milliseconds wait(std::uniform_int_distribution<int64_t>(bound / 2, bound)(random_));
    wait = std::max(wait, std::min(asked, options_.backoff_max));
    if (options_.sleep) {
      options_.sleep(wait);
      return Status::OK();
    }
    while (wait.count() > 0) {
      if (options_.cancelled && options_.cancelled())
        return MakeError(ErrorKind::kCancelled, "cancelled while waiting to try again");
      const auto step = std::min(wait, kCancelPoll);
      asio::steady_timer(timers_, step).wait();
      wait -= step;
    }
    return Status::OK();
  }

  const Url url_;
  const HttpClientOptions options_;
  std::mt19937_64 random_;
  asio::io_context timers_;
  std::unique_ptr<asio::ssl::context> tls_;  // Null for cleartext.
  std::unique_ptr<Connection> connection_;
  std::optional<Time> end_;  // Of the call under way.
  bool may_have_arrived_ = false;
};

Stream::~Stream() { client_->Release(parser_->is_done() && parser_->get().keep_alive()); }

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::chrono::milliseconds ParseRetryAfter(std::string_view value, std::chrono::system_clock::time_point now) {
  if (value.empty()) return std::chrono::milliseconds(0);
  constexpr std::chrono::seconds kDay{86'400}, kUnreadable{1};
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error == std::errc::result_out_of_range) return value[0] == '-' ? kUnreadable : kDay;
  if (error == std::errc() && end == value.data() + value.size()) {
    return seconds < 0 ? kUnreadable : std::min(std::chrono::seconds(seconds), kDay);
  }
  std::tm date{};
  const std::string text(value);
  if (const char* rest = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date); rest == nullptr || *rest != '\0') return kUnreadable;
  const auto at = std::chrono::system_clock::from_time_t(timegm(&date));
  const auto left = std::clamp<std::chrono::system_clock::duration>(at - now, std::chrono::seconds(0), kDay);
  return std::chrono::ceil<std::chrono::milliseconds>(left);
}

Result<std::unique_ptr<HttpClient>> HttpClient::Make(const Url& url, HttpClientOptions options) {
  auto client = std::make_unique<Client>(url, std::move(options));
  SHEAF_RETURN_NOT_OK(client->Prepare());
  return client;
}

}  // namespace sheaf::client
