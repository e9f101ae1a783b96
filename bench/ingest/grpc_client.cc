#include "grpc_client.h"

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

namespace sheaf::bench {
namespace {

using Time = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kRetryPause{50};

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

}  // namespace

struct GrpcClient::Connection {
  struct Call {
    int slot = 0;
    const std::string* message = nullptr;
    size_t sent = 0;  // Of the five-byte prefix and the message.
    Time start;
    bool ok = false;
    std::string error;
  };

  int socket = -1;
  nghttp2_session* session = nullptr;
  std::map<int32_t, Call> calls;
  std::vector<int> free_slots;
  std::vector<double> latencies;
  std::vector<std::pair<int, const std::string*>> waiting;  // Throttled calls that will be sent again, by slot.
  Time resume;
  int64_t retried = 0;
  int64_t refused = 0;
  std::string first_error;

  static ssize_t Read(nghttp2_session*, int32_t id, uint8_t* out, size_t length, uint32_t* flags, nghttp2_data_source*, void* self) {
    Call& call = static_cast<Connection*>(self)->calls.at(id);
    const size_t total = call.message->size() + 5;
    size_t copied = 0;
    if (call.sent < 5) {
      const uint32_t size = htonl(static_cast<uint32_t>(call.message->size()));
      uint8_t prefix[5] = {0};
      std::memcpy(prefix + 1, &size, 4);
      copied = std::min<size_t>(5 - call.sent, length);
      std::memcpy(out, prefix + call.sent, copied);
    }
    const size_t body = std::min(length - copied, total - call.sent - copied);
    std::memcpy(out + copied, call.message->data() + (call.sent + copied - 5), body);
    call.sent += copied + body;
    if (call.sent == total) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(copied + body);
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value,
                      size_t value_size, uint8_t, void* self) {
    const auto found = static_cast<Connection*>(self)->calls.find(frame->hd.stream_id);
    if (found == static_cast<Connection*>(self)->calls.end()) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size), text(reinterpret_cast<const char*>(value), value_size);
    if (key == "grpc-status") found->second.ok = text == "0";
    if (key == "grpc-message" || (key == "grpc-status" && text != "0")) found->second.error.append(text).append(" ");
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t, void* self_pointer) {
    auto* self = static_cast<Connection*>(self_pointer);
    const auto found = self->calls.find(id);
    if (found == self->calls.end()) return 0;
    const Call& call = found->second;
    if (!call.ok && call.error.starts_with("14 ")) {  // UNAVAILABLE: a client that follows OTLP waits and tries again.
      ++self->retried;
      self->waiting.emplace_back(call.slot, call.message);
      self->resume = std::chrono::steady_clock::now() + kRetryPause;
      self->calls.erase(found);
      return 0;
    }
    if (!call.ok) {
      ++self->refused;
      if (self->first_error.empty()) self->first_error = call.error.empty() ? "stream closed without a status" : call.error;
    } else {
      self->latencies.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - call.start).count());
    }
    self->free_slots.push_back(call.slot);
    self->calls.erase(found);
    return 0;
  }

  void Submit(const std::string& path, int slot, const std::string* message) {
    const auto header = [](std::string_view name, std::string_view value) {
      return nghttp2_nv{reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NONE};
    };
    const nghttp2_nv headers[] = {header(":method", "POST"),
                                  header(":scheme", "http"),
                                  header(":path", path),
                                  header(":authority", "localhost"),
                                  header("content-type", "application/grpc"),
                                  header("te", "trailers")};
    nghttp2_data_provider provider{};
    provider.read_callback = Read;
    const int32_t id = nghttp2_submit_request(session, nullptr, headers, std::size(headers), &provider, nullptr);
    if (id < 0) Fail("submit");
    calls[id] = {.slot = slot, .message = message, .start = std::chrono::steady_clock::now()};
  }

  /// Sends what can be sent without waiting, receives what is there, waits for either. False: the peer closed.
  bool Turn(std::string* unsent) {
    const uint8_t* data = nullptr;
    while (unsent->size() < (256 << 10)) {
      const ssize_t size = nghttp2_session_mem_send(session, &data);
      if (size <= 0) break;
      unsent->append(reinterpret_cast<const char*>(data), size);
    }
    pollfd wait{socket, static_cast<short>(POLLIN | (unsent->empty() ? 0 : POLLOUT)), 0};
    const int ready = poll(&wait, 1, waiting.empty() ? 10'000 : static_cast<int>(kRetryPause.count()));
    if (ready < 0 || (ready == 0 && waiting.empty())) Fail("no answer in 10 s");
    if (ready == 0) return true;
    if (wait.revents & POLLOUT) {
      const ssize_t sent = send(socket, unsent->data(), unsent->size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) unsent->erase(0, sent);
    }
    if (wait.revents & (POLLIN | POLLHUP | POLLERR)) {
      uint8_t buffer[16 << 10];
      const ssize_t size = recv(socket, buffer, sizeof buffer, MSG_DONTWAIT);
      if (size == 0) return false;
      if (size > 0 && nghttp2_session_mem_recv(session, buffer, size) < 0) Fail("HTTP/2");
    }
    return true;
  }
};

GrpcClient::GrpcClient(uint16_t port) : connection_(std::make_unique<Connection>()) {
  Connection& c = *connection_;
  c.socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(c.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail("connect");
  const int on = 1;
  setsockopt(c.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Connection::OnHeader);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Connection::OnClose);
  nghttp2_session_client_new(&c.session, callbacks, &c);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(c.session, NGHTTP2_FLAG_NONE, nullptr, 0);
}

GrpcClient::~GrpcClient() {
  nghttp2_session_del(connection_->session);
  close(connection_->socket);
}

void GrpcClient::Run(const std::string& path, int streams, const std::function<const std::string*(int slot)>& next) {
  Connection& c = *connection_;
  c.free_slots.clear();
  for (int slot = streams; slot-- > 0;) c.free_slots.push_back(slot);
  std::string unsent;
  for (bool more = true; more || !c.calls.empty() || !c.waiting.empty();) {
    if (!c.waiting.empty() && std::chrono::steady_clock::now() >= c.resume) {
      for (const auto& [slot, message] : std::exchange(c.waiting, {})) c.Submit(path, slot, message);
    }
    while (more && !c.free_slots.empty()) {
      const std::string* message = next(c.free_slots.back());
      if (message == nullptr) {
        more = false;
        break;
      }
      const int slot = c.free_slots.back();
      c.free_slots.pop_back();
      c.Submit(path, slot, message);
    }
    if (!more && c.calls.empty() && c.waiting.empty()) break;
    if (!c.Turn(&unsent)) {
      c.first_error = "the server closed the connection";
      c.refused += static_cast<int64_t>(c.calls.size());
      return;
    }
  }
}

const std::vector<double>& GrpcClient::latencies() const { return connection_->latencies; }
int64_t GrpcClient::retried() const { return connection_->retried; }
int64_t GrpcClient::refused() const { return connection_->refused; }
const std::string& GrpcClient::first_error() const { return connection_->first_error; }

}  // namespace sheaf::bench
