#include "wire/http1_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "wire/http_text.h"

namespace sheaf::wire {

namespace beast = boost::beast;
namespace http = beast::http;

class Http1Parser::Machine final : public http::basic_parser<true> {
 public:
  Machine(uint32_t header_bytes_max, Http1Events* events) : events_(events) {
    eager(true);
    header_limit(header_bytes_max);
    body_limit(boost::none);  // The connection limits bodies as they arrive.
  }

  size_t Receive(std::span<const std::byte> bytes) {
    size_t used = 0;
    while (!fault && !is_done() && used < bytes.size()) {
      beast::error_code error;
      const size_t n = put(boost::asio::buffer(bytes.data() + used, bytes.size() - used), error);
      used += n;
      if (error == http::error::need_more || (!error && n == 0)) break;
      if (error && !fault) SetFault(error);
    }
    return used;
  }

  std::optional<Http1Fault> fault;

 private:
  using error_code = beast::error_code;

  void SetFault(const error_code& error) {
    if (error == http::error::header_limit) {
      fault = Http1Fault{431, "the request's header is too large"};
    } else if (error == http::error::bad_version) {
      fault = Http1Fault{505, "only HTTP/1.0 and HTTP/1.1 are spoken here, and HTTP/2 with its preface"};
    } else {
      fault = Http1Fault{400, "malformed HTTP/1.1 request: " + error.message()};
    }
  }

  void Refuse(int status, std::string reason, error_code* error) {
    fault = Http1Fault{status, std::move(reason)};
    *error = http::error::bad_field;
  }

  void on_request_impl(http::verb, beast::string_view method, beast::string_view target, int version, error_code&) override {
    request_.method = std::string(method);
    request_.target = std::string(target);
    request_.version = version;
  }

  void on_field_impl(http::field name, beast::string_view name_text, beast::string_view value, error_code& error) override {
    if (head_done) return;  // Trailer fields of a chunked body mean nothing to us.
    const std::string_view text(value.data(), value.size());
    switch (name) {
      case http::field::transfer_encoding:
        if (!EqualsIgnoringCase(text, "chunked")) return Refuse(501, "Transfer-Encoding other than chunked", &error);
        if (request_.version < 11) return Refuse(400, "Transfer-Encoding in HTTP/1.0", &error);
        break;
      case http::field::content_length:
        if (lengths_++ > 0 || text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) {
          return Refuse(400, "malformed or repeated Content-Length", &error);
        }
        break;
      case http::field::host:
        if (hosts_++ > 0) return Refuse(400, "more than one Host", &error);
        break;
      case http::field::expect:
        if (!EqualsIgnoringCase(text, "100-continue")) return Refuse(417, "unknown expectation", &error);
        request_.expects_continue = request_.version >= 11;
        break;
      default:
        break;
    }
    request_.headers.emplace_back(LowerCase({name_text.data(), name_text.size()}), text);
  }

  void on_header_impl(error_code& error) override {
    if (request_.version >= 11 && hosts_ == 0) return Refuse(400, "no Host", &error);
    head_done = true;
    request_.chunked = chunked();
    request_.keep_alive = keep_alive();
    const auto length = content_length();
    if (length.has_value()) request_.content_length = *length;
    events_->OnHead(std::move(request_));
  }

  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  size_t on_body_impl(beast::string_view body, error_code&) override {
    events_->OnBody(std::as_bytes(std::span(body.data(), body.size())));
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, error_code&) override {
    events_->OnBody(std::as_bytes(std::span(body.data(), body.size())));
    return body.size();
  }
  void on_finish_impl(error_code&) override { events_->OnEnd(); }
  void on_response_impl(int, beast::string_view, int, error_code&) override {}

  Http1Events* const events_;  // Borrowed.
  Http1Request request_;
  int lengths_ = 0, hosts_ = 0;

 public:
  bool head_done = false;
};

Http1Parser::Http1Parser(uint32_t header_bytes_max, Http1Events* events)
    : machine_(std::make_unique<Machine>(header_bytes_max, events)) {}
Http1Parser::~Http1Parser() = default;

size_t Http1Parser::Receive(std::span<const std::byte> bytes) { return machine_->Receive(bytes); }
const std::optional<Http1Fault>& Http1Parser::fault() const { return machine_->fault; }
bool Http1Parser::head_done() const { return machine_->head_done; }
bool Http1Parser::done() const { return machine_->is_done(); }

}  // namespace sheaf::wire
