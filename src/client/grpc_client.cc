#include "client/grpc_client.h"

#include <atomic>
#include <future>
#include <optional>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "client/grpc_connection.h"

namespace sheaf::client {
namespace {

namespace asio = boost::asio;

/// What the calls of a client share; outlived by none of them.
struct Loop {
  asio::io_context io;
  bool stopping = false;  // On the I/O thread: no more calls.
};

/// What the caller holds. The call itself is touched on the I/O thread only.
class Stream : public GrpcStream {
 public:
  Stream(std::shared_ptr<Loop> loop, std::shared_ptr<OpenCall> call, wire::Encoding compression)
      : loop_(std::move(loop)), call_(std::move(call)), compression_(compression) {}

  ~Stream() override {
    if (!finished_) Cancel();
  }

  Status Write(std::string_view message) override {
    std::string frame;
    if (compression_ == wire::Encoding::kIdentity) {
      frame.reserve(message.size() + 5);
      wire::AppendGrpcFrame(false, message, &frame);
    } else {
      SHEAF_ASSIGN_OR_RETURN(const std::string compressed, wire::Compress(compression_, message));
      wire::AppendGrpcFrame(true, compressed, &frame);
    }
    Post([frame = std::move(frame)](OpenCall* call) mutable { call->call.Push(std::move(frame)); });
    return Status::OK();
  }

  void Finish() override {
    finished_ = true;
    Post([](OpenCall* call) { call->call.Finish(); });
  }

  void Pause() override { Hold(true); }
  void Resume() override { Hold(false); }

  void Cancel() override {
    asio::post(loop_->io, [call = call_] {
      call->call.Decide({.code = GrpcCode::kCancelled, .message = "cancelled", .perhaps_processed = true});
      if (const auto connection = call->connection.lock()) connection->Drop(call);
    });
  }

 private:
  void Hold(bool paused) {
    asio::post(loop_->io, [call = call_, paused] {
      if (const auto connection = call->connection.lock()) connection->Hold(*call, paused);
    });
  }

  template <typename Change>
  void Post(Change change) {
    asio::post(loop_->io, [call = call_, change = std::move(change)]() mutable {
      change(call.get());
      if (const auto connection = call->connection.lock()) connection->Resume(*call);
    });
  }

  const std::shared_ptr<Loop> loop_;
  const std::shared_ptr<OpenCall> call_;
  const wire::Encoding compression_;
  std::atomic<bool> finished_ = false;
};

class Client : public GrpcClient {
 public:
  Client(const Url& url, GrpcClientOptions options) : url_(url), options_(std::move(options)), work_(loop_->io.get_executor()) {}

  Status Prepare() {
    if (url_.tls) SHEAF_RETURN_NOT_OK(MakeTlsContext(options_.tls).Value(&tls_));
    thread_ = std::thread([this] { loop_->io.run(); });
    return Status::OK();
  }

  ~Client() override {
    if (!thread_.joinable()) return;
    CancelAll();
    work_.reset();
    thread_.join();
  }

  std::unique_ptr<GrpcStream> Open(const GrpcRequest& request, OnMessage on_message, OnEnd on_end) override {
    auto call = std::make_shared<OpenCall>(
        &loop_->io, GrpcCall(request, options_.reply_bytes_max, std::move(on_message), std::move(on_end)));
    asio::post(loop_->io, [this, call] { Begin(call); });
    return std::make_unique<Stream>(loop_, std::move(call), request.compression);
  }

  void CancelAll() override {
    asio::post(loop_->io, [this] {
      loop_->stopping = true;  // A call that is on its way here ends too.
      CloseAll();
    });
  }

  const Url& url() const override { return url_; }

 private:
  // On the I/O thread from here on.

  void Begin(const std::shared_ptr<OpenCall>& call) {
    if (loop_->stopping) return call->call.Close("cancelled", false, GrpcCode::kCancelled);
    call->began = std::chrono::steady_clock::now();
    if (const auto& timeout = call->call.request().timeout) {
      call->timer.expires_after(*timeout);
      call->timer.async_wait([this, call](boost::system::error_code error) {
        if (!error) Expire(call);
      });
    }
    if (current_ == nullptr || !current_->usable()) {
      std::erase_if(draining_, [](const auto& old) { return old.expired(); });
      if (current_ != nullptr) draining_.push_back(current_);  // Its last calls keep it.
      const std::shared_ptr<asio::io_context> io(loop_, &loop_->io);
      current_ = std::make_shared<GrpcConnection>(io, url_, options_, tls_.get());
      current_->Start();
    }
    current_->Add(call);
  }

  void Expire(const std::shared_ptr<OpenCall>& call) {
    call->call.Decide({.code = GrpcCode::kDeadlineExceeded,
                       .message = fmt::format("no answer of {} in {} ms", url_.authority(), call->call.request().timeout->count()),
                       .perhaps_processed = true});
    const auto connection = call->connection.lock();
    if (connection == nullptr) return;
    const bool silent = connection->last_received() < call->began;
    connection->Drop(call);
    // Nothing at all came in that time: the way to the server is broken, and later calls had better find another.
    if (silent) connection->Close("no sign of " + url_.authority());
  }

  void CloseAll() {
    for (const auto& old : draining_) {
      if (const auto connection = old.lock()) connection->Close("cancelled", GrpcCode::kCancelled);
    }
    if (current_ != nullptr) current_->Close("cancelled", GrpcCode::kCancelled);
  }

  const Url url_;
  const GrpcClientOptions options_;
  const std::shared_ptr<Loop> loop_ = std::make_shared<Loop>();
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::unique_ptr<asio::ssl::context> tls_;  // Null for cleartext.
  std::shared_ptr<GrpcConnection> current_;
  std::vector<std::weak_ptr<GrpcConnection>> draining_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<GrpcClient>> GrpcClient::Make(const Url& url, GrpcClientOptions options) {
  auto client = std::make_unique<Client>(url, std::move(options));
  SHEAF_RETURN_NOT_OK(client->Prepare());
  return client;
}

GrpcClient::Reply GrpcClient::Call(const GrpcRequest& request, std::string_view message) {
  std::promise<Reply> done;
  std::string reply;
  int replies = 0;
  const auto stream = Open(
      request,
      [&](std::string bytes) {
        reply = std::move(bytes);
        ++replies;
      },
      [&](GrpcEnd end) {
        if (end.ok() && replies != 1) {
          end = {.code = GrpcCode::kInternal, .message = fmt::format("the server sent {} messages in place of one", replies),
                 .answered = true, .perhaps_processed = true};
        }
        done.set_value({.end = std::move(end), .message = std::move(reply)});
      });
  auto answer = done.get_future();
  const Status written = stream->Write(message);
  if (written.ok()) {
    stream->Finish();
  } else {
    stream->Cancel();
  }
  Reply result = answer.get();
  if (!written.ok()) result.end = {.code = GrpcCode::kResourceExhausted, .message = written.message()};
  return result;
}

}  // namespace sheaf::client
