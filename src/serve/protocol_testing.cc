#include "serve/protocol_testing.h"

#include <algorithm>
#include <utility>

namespace sheaf::serve {

ProtocolRig::ProtocolRig(Version version, const TransportOptions& options) {
  context_->shared = std::make_shared<TransportShared>();
  context_->shared->unverified = std::make_shared<UnverifiedBudget>(int64_t{1} << 20);
  context_->shared->options = options;
  context_->shared->memory = std::make_shared<MemoryBudget>(options.memory_bytes_max);
  context_->shared->overloaded = [this] { return overloaded_; };
  context_->listener = std::make_shared<TransportListener>("rig", 1);
  context_->io = executor_;
  context_->memory = std::make_shared<MemoryAccount>(context_->shared->memory, options.connection_memory_bytes_max);
  context_->peer = "127.0.0.1:1";
  TransportRoutes& routes = context_->listener->routes;
  const HttpHandler echo = [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond(200, {}, std::string(exchange->request.body->view()));
  };
  routes.AddHttp("POST", "/echo", {echo, true});
  routes.AddHttp("GET", "/hello", {[](std::shared_ptr<HttpExchange> exchange) { exchange->Respond(200, {}, "hello"); }, true});
  routes.AddHttp("GET", "/stream", {[](std::shared_ptr<HttpExchange> exchange) {
    exchange->Begin(200, {});
    for (int i = 0; i < 3; ++i) exchange->Write("piece");
    exchange->End();
  }, true});
  routes.AddGrpc("/demo.Echo/Echo", {.unary = [](std::shared_ptr<GrpcCall> call) {
    call->Finish({}, std::string(call->message->view()));
  }, .inline_on_io = true});
  protocol_ = version == Version::kHttp1 ? MakeHttp1Protocol(context_, this, now_) : MakeHttp2Protocol(context_, this, now_);
}

ProtocolRig::~ProtocolRig() {
  protocol_->Closed();
  executor_->RunAll();
  executor_->Close();
}

std::string ProtocolRig::Collect() {
  std::vector<uint8_t> out;
  for (size_t before = SIZE_MAX; before != out.size();) {
    before = out.size();
    executor_->RunAll();
    if (!protocol_->Fill(&out, out.size() + (128 << 10))) open_ = false;
    if (!open_) break;
  }
  if (protocol_->finished()) open_ = false;
  return {out.begin(), out.end()};
}

std::string ProtocolRig::Feed(std::string_view bytes, size_t piece_bytes) {
  std::string sent;
  while (!bytes.empty() && open_ && protocol_->wants_input()) {
    const std::string_view piece = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(piece.size());
    if (!protocol_->Receive(std::as_bytes(std::span(piece)), now_)) open_ = false;
    sent += Collect();
  }
  return sent;
}

std::string ProtocolRig::Pass(std::chrono::milliseconds time) {
  now_ += time;
  if (open_ && !protocol_->Check(now_)) open_ = false;
  return Collect();
}

void ProtocolRig::EndInput() {
  if (open_) protocol_->ReceiveEnd();
}

}  // namespace sheaf::serve
