/// HTTP/2 on one connection: streams, flow control against memory, time-outs, drain.

#include <unordered_map>
#include <utility>

#include "serve/http2_stream.h"
#include "serve/transport_protocol.h"
#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

using std::chrono::milliseconds;

/// After the announcement of the end, requests already under way still get in for so long.
constexpr milliseconds kDrainNotice{200};

std::string_view Find(const wire::Http2Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

class Http2Connection final : public Protocol, private wire::Http2Events {
 public:
  Http2Connection(ContextPtr context, ProtocolHost* host, TimePoint now)
      : context_(std::move(context)), host_(host), started_(now), now_(now),
        last_input_(now), quiet_since_(now), last_check_(now) {}

  ~Http2Connection() override { *alive_ = nullptr; }

  Status Start() {
    const TransportOptions& options = context_->options();
    wire::Http2Limits limits;
    limits.streams_max = static_cast<uint32_t>(options.streams_max);
    limits.header_bytes_max = static_cast<uint32_t>(options.header_bytes_max);
    SHEAF_ASSIGN_OR_RETURN(session_, wire::Http2Session::Make(limits, this, now_));
    // Whatever thread gives memory back, the connection is asked on its own.
    context_->memory->set_relief([io = context_->io, alive = alive_] {
      io->Post([alive] {
        if (*alive != nullptr) (*alive)->ReopenWindow();
      });
    });
    return Status::OK();
  }

  bool Receive(std::span<const std::byte> bytes, TimePoint now) override {
    now_ = last_input_ = now;
    ping_sent_.reset();
    const bool ok = session_->Receive(bytes, now);
    host_->Changed();
    return ok;
  }

  void ReceiveEnd() override {
    input_ended_ = true;
    host_->Changed();
  }

  bool Fill(std::vector<uint8_t>* out, size_t bytes_max) override { return session_->Fill(out, bytes_max); }
  bool finished() const override { return input_ended_ || session_->finished(); }
  bool idle() const override { return streams_.empty() && !session_->header_block_since(); }
  bool wants_input() const override { return !input_ended_; }

  bool Check(TimePoint now) override {
    now_ = now;
    const TransportOptions& options = context_->options();
    if (!session_->established() && now - started_ > options.handshake_timeout) return false;
    if (session_->header_block_since() && now - *session_->header_block_since() > options.header_timeout) return false;
    if (ping_sent_ && now - *ping_sent_ > options.keepalive_timeout) return false;
    if (!ping_sent_ && now - last_input_ > options.keepalive_interval) {
      session_->Ping();
      ping_sent_ = now;
    }
    CheckStreams(now);
    session_->ResetOverdue(now);
    if (!streams_.empty()) quiet_since_ = now;
    if (!drain_since_ && now - quiet_since_ > options.idle_timeout) Drain(now);
    if (drain_since_ && !drain_finished_ && now - *drain_since_ > kDrainNotice) {
      session_->FinishDrain();
      drain_finished_ = true;
    }
    host_->Changed();
    return true;
  }

  void Drain(TimePoint now) override {
    if (drain_since_) return;
    drain_since_ = now;
    session_->BeginDrain();
    host_->Changed();
  }

  void Closed() override {
    *alive_ = nullptr;
    const auto streams = std::move(streams_);
    streams_.clear();
    for (const auto& [id, stream] : streams) stream->OnClosed();
  }

 private:
  void OnRequest(int32_t id, wire::Http2Request request) override {
    const Http2Link link(session_.get(), host_, id);
    const bool grpc = wire::IsGrpcContentType(Find(request.headers, "content-type"));
    streams_[id] = grpc && context_->listener->routes.has_grpc()
                       ? MakeGrpcStream(context_, link, std::move(request), now_)
                       : MakeHttp2Exchange(context_, link, std::move(request), now_);
  }

  void OnData(int32_t id, std::span<const std::byte> data) override {
    // Slow down a peer whose requests wait in handlers; never one whose messages are still incomplete (deadlock).
    if (withheld_bytes_ > 0 || context_->memory->pressed()) {
      withheld_bytes_ += data.size();
      context_->memory->AskForRelief();
      if (!context_->memory->pressed()) ReopenWindow();
    } else {
      session_->ConsumeConnection(data.size());
    }
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    found->second->OnData(data);
    if (found->second->receiving()) session_->ConsumeStream(id, data.size());
  }

  void OnRequestEnd(int32_t id) override {
    const auto found = streams_.find(id);
    if (found != streams_.end()) found->second->OnEnd();
  }

  void OnStreamClosed(int32_t id) override {
    const auto node = streams_.extract(id);
    if (!node.empty()) node.mapped()->OnClosed();
  }

  Produced OnProduce(int32_t id, std::span<std::byte> out) override {
    const auto found = streams_.find(id);
    return found == streams_.end() ? Produced{0, true, false} : found->second->OnProduce(out);
  }

  void ReopenWindow() {
    if (withheld_bytes_ == 0) return;
    if (context_->memory->pressed()) {
      context_->memory->AskForRelief();
      if (context_->memory->pressed()) return;
    }
    session_->ConsumeConnection(std::exchange(withheld_bytes_, 0));
    host_->Changed();
  }

  void CheckStreams(TimePoint now) {
    ReopenWindow();
    for (const auto& [id, stream] : streams_) {
      if (withheld_bytes_ > 0) stream->Excuse(now - last_check_);
      stream->Check(now);
    }
    last_check_ = now;
  }

  const ContextPtr context_;
  ProtocolHost* const host_;  // Owns this.
  const std::shared_ptr<Http2Connection*> alive_ = std::make_shared<Http2Connection*>(this);  // Null after the end.
  std::unique_ptr<wire::Http2Session> session_;
  std::unordered_map<int32_t, std::shared_ptr<Http2Stream>> streams_;
  size_t withheld_bytes_ = 0;  // Received, but the connection's window not yet reopened for them.

  const TimePoint started_;
  TimePoint now_, last_input_, quiet_since_, last_check_;
  std::optional<TimePoint> ping_sent_, drain_since_;
  bool drain_finished_ = false, input_ended_ = false;
};

}  // namespace

std::unique_ptr<Protocol> MakeHttp2Protocol(ContextPtr context, ProtocolHost* host, TimePoint now) {
  auto connection = std::make_unique<Http2Connection>(std::move(context), host, now);
  if (!connection->Start().ok()) return nullptr;
  return connection;
}

}  // namespace sheaf::serve
