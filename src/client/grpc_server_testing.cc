#include "client/grpc_server_testing.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "core/check.h"
#include "wire/base64.h"
#include "wire/grpc_frames.h"
#include "wire/http_text.h"

namespace sheaf::client {
namespace {

namespace asio = boost::asio;
constexpr auto kRefusedStream = static_cast<wire::Http2Error>(7);

}  // namespace

/// One connection.
class ScriptedGrpcServer::Peer : public wire::Http2Events, public std::enable_shared_from_this<Peer> {
 public:
  Peer(ScriptedGrpcServer* server, asio::ip::tcp::socket socket)
      : server_(server), socket_(std::move(socket)),
        session_(wire::Http2Session::Make({}, this, std::chrono::steady_clock::now()).ValueOrDie()) {}

  void Start() {
    Read();
    Flush();
  }

  void OnRequest(int32_t stream, wire::Http2Request request) override {
    Call& call = calls_[stream];
    call.request.path = request.path;
    call.request.headers = request.headers;
  }

  void OnData(int32_t stream, std::span<const std::byte> data) override {
    session_->ConsumeConnection(data.size());
    session_->ConsumeStream(stream, data.size());
    Call& call = calls_[stream];
    call.body.append(reinterpret_cast<const char*>(data.data()), data.size());
    while (call.body.size() >= 5) {
      size_t size = 0;
      for (int i = 1; i < 5; ++i) size = size << 8 | static_cast<uint8_t>(call.body[static_cast<size_t>(i)]);
      if (call.body.size() < size + 5) return;
      call.request.compressed = call.body[0] == 1;
      call.request.message = call.body.substr(5, size);
      ++call.request.number;
      call.body.erase(0, size + 5);
      Act(stream, server_->Answer(call.request));
    }
  }

  void OnRequestEnd(int32_t stream) override {
    Call& call = calls_[stream];
    if (call.echoes) {
      call.done = true;
      call.trailers = {{"grpc-status", "0"}};
      session_->ResumeData(stream);
    }
  }
  void OnStreamClosed(int32_t stream) override { calls_.erase(stream); }

  Produced OnProduce(int32_t stream, std::span<std::byte> out) override {
    Call& call = calls_[stream];
    const size_t n = std::min(out.size(), call.out.size() - call.sent);
    std::copy_n(reinterpret_cast<const std::byte*>(call.out.data()) + call.sent, n, out.data());
    call.sent += n;
    if (call.sent < call.out.size()) return {.bytes = n};
    call.out.clear();
    call.sent = 0;
    if (!call.done) return {.bytes = n};
    session_->SubmitTrailers(stream, call.trailers);
    return {.bytes = n, .end = true, .trailers = true};
  }

 private:
  struct Call {
    Request request;
    std::string body, out;
    size_t sent = 0;  // Of `out`.
    wire::Http2Headers trailers;
    bool responded = false, done = false, echoes = false;
  };

  void Act(int32_t stream, const ScriptedAnswer& answer) {
    if (answer.goaway) session_->FinishDrain();
    Call& call = calls_[stream];
    switch (answer.what) {
      case ScriptedAnswer::kHang: return;
      case ScriptedAnswer::kDisconnect: closing_ = true; return;
      case ScriptedAnswer::kRefuse: return session_->Reset(stream, kRefusedStream);
      case ScriptedAnswer::kReset: return session_->Reset(stream, wire::Http2Error::kInternal);
      case ScriptedAnswer::kHttp:
        return session_->Respond(stream, {{":status", std::to_string(answer.code)}, {"content-type", "text/html"}}, false);
      case ScriptedAnswer::kEcho:
        wire::AppendGrpcFrame(call.request.compressed, call.request.message, &call.out);
        call.echoes = true;
        break;
      case ScriptedAnswer::kStream:
        if (!answer.reply.empty()) wire::AppendGrpcFrame(false, answer.reply, &call.out);
        for (const std::string& reply : answer.replies) wire::AppendGrpcFrame(false, reply, &call.out);
        call.echoes = true;
        break;
      case ScriptedAnswer::kAnswer:
        if (answer.code == 0) wire::AppendGrpcFrame(false, answer.reply, &call.out);
        call.done = true;
        call.trailers = {{"grpc-status", std::to_string(answer.code)}};
        if (!answer.message.empty()) call.trailers.emplace_back("grpc-message", wire::PercentEncodeGrpcMessage(answer.message));
        if (!answer.details.empty()) {
          call.trailers.emplace_back("grpc-status-details-bin", std::string());
          wire::AppendBase64(answer.details, &call.trailers.back().second);
        }
    }
    if (!std::exchange(call.responded, true)) {
      wire::Http2Headers head = {{":status", "200"}, {"content-type", "application/grpc"}};
      const std::string encoding = call.request.header("grpc-encoding");
      if (call.echoes && !encoding.empty()) head.emplace_back("grpc-encoding", encoding);
      session_->Respond(stream, head, true);
    }
    session_->ResumeData(stream);
  }

  void Read() {
    socket_.async_read_some(asio::buffer(in_), [self = shared_from_this()](boost::system::error_code error, size_t bytes) {
      if (error) return;
      const bool sound = self->session_->Receive(std::span(self->in_).first(bytes), std::chrono::steady_clock::now());
      if (self->closing_ || !sound) return self->socket_.close(error), void();
      self->Flush();
      self->Read();
    });
  }

  void Flush() {
    if (writing_) return;
    out_.clear();
    if (!session_->Fill(&out_, 1 << 20) || out_.empty()) return;
    writing_ = true;
    asio::async_write(socket_, asio::buffer(out_), [self = shared_from_this()](boost::system::error_code error, size_t) {
      self->writing_ = false;
      if (!error) self->Flush();
    });
  }

  ScriptedGrpcServer* const server_;
  asio::ip::tcp::socket socket_;
  std::map<int32_t, Call> calls_;
  std::unique_ptr<wire::Http2Session> session_;
  std::array<std::byte, 16 << 10> in_;
  std::vector<uint8_t> out_;
  bool writing_ = false, closing_ = false;
};

std::string ScriptedGrpcServer::Request::header(std::string_view name) const {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const auto& field) { return field.first == name; });
  return found == headers.end() ? std::string() : found->second;
}

ScriptedGrpcServer::ScriptedGrpcServer(Script script)
    : script_(std::move(script)), acceptor_(io_, {asio::ip::address_v4::loopback(), 0}) {
  Accept();
  thread_ = std::thread([this] { io_.run(); });
}

ScriptedGrpcServer::ScriptedGrpcServer(std::vector<ScriptedAnswer> answers)
    : ScriptedGrpcServer([left = std::deque<ScriptedAnswer>(answers.begin(), answers.end())](const Request&) mutable {
        const ScriptedAnswer answer = left.front();
        if (left.size() > 1) left.pop_front();
        return answer;
      }) {}

ScriptedGrpcServer::~ScriptedGrpcServer() {
  io_.stop();
  thread_.join();
}

void ScriptedGrpcServer::Accept() {
  acceptor_.async_accept([this](boost::system::error_code error, asio::ip::tcp::socket socket) {
    if (error) return;
    {
      MutexLock lock(&mutex_);
      ++connections_;
    }
    std::make_shared<Peer>(this, std::move(socket))->Start();
    Accept();
  });
}

ScriptedAnswer ScriptedGrpcServer::Answer(const Request& request) {
  {
    MutexLock lock(&mutex_);
    requests_.push_back(request);
  }
  return script_(request);
}

int ScriptedGrpcServer::connections() const {
  MutexLock lock(&mutex_);
  return connections_;
}

std::vector<ScriptedGrpcServer::Request> ScriptedGrpcServer::requests() const {
  MutexLock lock(&mutex_);
  return requests_;
}

}  // namespace sheaf::client
