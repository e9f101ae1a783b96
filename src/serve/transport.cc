#include "serve/transport.h"

#include <map>
#include <unordered_map>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "core/check.h"
#include "core/mutex.h"
#include "serve/tls.h"
#include "serve/transport_connection.h"
#include "serve/transport_io_thread.h"
#include "serve/transport_protocol.h"

namespace sheaf::serve {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
namespace {

/// Pause after a failed accept (no descriptors left), instead of spinning.
constexpr std::chrono::milliseconds kAcceptPause{100};

TimePoint Now() { return std::chrono::steady_clock::now(); }

/// Counts connections, in all and by address. Thread-safe.
class ConnectionCount {
 public:
  bool TryAdd(const std::string& address, const TransportOptions& options) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    if (total_ >= options.connections_max) return false;
    int& here = by_address_[address];
    if (here >= options.connections_per_address_max) return false;
    ++here;
    ++total_;
    return true;
  }
  void Remove(const std::string& address) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    const auto here = by_address_.find(address);
    if (--here->second == 0) by_address_.erase(here);
    --total_;
    changed_.NotifyAll();
  }
  /// Waits until there are none, for at most `grace`.
  void WaitForNone(std::chrono::milliseconds grace) SHEAF_EXCLUDES(mutex_) {
    const TimePoint until = Now() + grace;
    MutexLock lock(&mutex_);
    while (total_ > 0 && Now() < until) changed_.WaitFor(&mutex_, until - Now());
  }
  int64_t total() const SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return total_;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::unordered_map<std::string, int> by_address_ SHEAF_GUARDED_BY(mutex_);
  int64_t total_ SHEAF_GUARDED_BY(mutex_) = 0;
};

/// One listening socket; used on the first I/O thread.
struct Acceptor {
  Acceptor(asio::io_context* context, std::shared_ptr<TransportListener> what)
      : socket(*context), pause(*context), listener(std::move(what)) {}
  tcp::acceptor socket;
  asio::steady_timer pause;
  const std::shared_ptr<TransportListener> listener;
};

class TransportServer final : public Transport {
 public:
  explicit TransportServer(const TransportOptions& options) {
    shared_->options = options;
    shared_->memory = std::make_shared<MemoryBudget>(options.memory_bytes_max);
    shared_->unverified = std::make_shared<UnverifiedBudget>(options.memory_bytes_max / 8);
    AddMemorySource(shared_->memory);
  }
  ~TransportServer() override { Shutdown(std::chrono::milliseconds(0)); }

  Status Start() {
    const TransportOptions& options = shared_->options;
    if (!options.tls_certificate_file.empty()) {
      SHEAF_RETURN_NOT_OK(ReloadTls());
    }
    for (int i = 0; i < std::max(options.io_threads, 1); ++i) {
      io_.push_back(std::make_unique<IoThread>());
      IoThread* io = io_.back().get();
      io->Start([this, io, first = i == 0] { Tick(io, first); });
    }
    return Status::OK();
  }

  void HandleHttp(const std::string& listener, const std::string& method, const std::string& path, HttpHandler handler,
                  bool inline_on_io) override {
    Unstarted(listener)->routes.AddHttp(method, path, {std::move(handler), inline_on_io});
  }
  void HandleGrpc(const std::string& listener, const std::string& path, GrpcHandler handler, bool inline_on_io) override {
    Unstarted(listener)->routes.AddGrpc(path, {.unary = std::move(handler), .inline_on_io = inline_on_io});
  }
  void HandleGrpcStream(const std::string& listener, const std::string& path, GrpcStreamHandler handler) override {
    Unstarted(listener)->routes.AddGrpc(path, {.streaming = std::move(handler)});
  }
  void HandleGrpcDuplex(const std::string& listener, const std::string& path, GrpcDuplexHandler handler) override {
    Unstarted(listener)->routes.AddGrpc(path, {.duplex = std::move(handler)});
  }
  void FormatErrors(const std::string& listener, ErrorFormatter formatter) override {
    Unstarted(listener)->error_formatter = std::move(formatter);
  }
  void CheckHeads(const std::string& listener, HeadChecker checker) override {
    Unstarted(listener)->head_checker = std::move(checker);
  }
  void SetOverloaded(std::function<bool()> overloaded) override {
    SHEAF_CHECK(started_.empty());  // Connections read it without a lock.
    shared_->overloaded = std::move(overloaded);
  }
  void SetGate(Gate* gate) override {
    SHEAF_CHECK(started_.empty());
    shared_->gate = gate;
  }

  Status ReloadTls() override {
    SHEAF_ASSIGN_OR_RETURN(auto loaded, TlsContext::Load(shared_->options));
    MutexLock lock(&mutex_);
    tls_ = std::move(loaded);
    return Status::OK();
  }

  Result<uint16_t> Listen(const std::string& listener, const std::string& address, uint16_t port) override;
  void Shutdown(std::chrono::milliseconds grace) override;
  int64_t connections() const override { return count_.total(); }
  int64_t memory_bytes() const override { return shared_->memory->bytes(); }

 private:
  std::shared_ptr<TransportListener> FindListener(const std::string& name) SHEAF_REQUIRES(mutex_) {
    std::shared_ptr<TransportListener>& listener = listeners_[name];
    const int workers = std::max(shared_->options.worker_threads, 1);
    if (!listener) listener = std::make_shared<TransportListener>(name, static_cast<size_t>(workers));
    return listener;
  }
  /// What a listener serves may only change before it serves.
  std::shared_ptr<TransportListener> Unstarted(const std::string& name) {
    MutexLock lock(&mutex_);
    std::shared_ptr<TransportListener> listener = FindListener(name);
    for (const auto& started : started_) SHEAF_CHECK(started->listener != listener);
    return listener;
  }
  void Accept(const std::shared_ptr<Acceptor>& acceptor);
  void OnAccepted(const std::shared_ptr<Acceptor>& acceptor, IoThread* io, tcp::socket socket);
  void Adopt(const std::shared_ptr<Acceptor>& acceptor, IoThread* io, tcp::socket socket, const tcp::endpoint& peer);
  void Tick(IoThread* io, bool first);
  /// Runs `task` on every I/O thread.
  void OnEach(const std::function<void(IoThread*)>& task) {
    for (const auto& io : io_) asio::post(io->context, [io = io.get(), task] { task(io); });
  }

  std::shared_ptr<const TlsContext> tls() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return tls_;
  }

  const std::shared_ptr<TransportShared> shared_ = std::make_shared<TransportShared>();
  ConnectionCount count_;
  Mutex mutex_;
  std::shared_ptr<const TlsContext> tls_ SHEAF_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<TransportListener>> listeners_ SHEAF_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<IoThread>> io_;  // Before what lives in their contexts.
  std::vector<std::shared_ptr<Acceptor>> started_;
  size_t next_io_ = 0;  // First I/O thread only.
  bool stopped_ = false;
};

Result<tcp::endpoint> FindEndpoint(asio::io_context* context, const std::string& address, uint16_t port) {
  error_code error;
  const asio::ip::address numeric = asio::ip::make_address(address, error);
  if (!error) return tcp::endpoint(numeric, port);
  tcp::resolver resolver(*context);
  const auto found = resolver.resolve(address, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    return MakeError(ErrorKind::kInvalid, "cannot listen on '{}': {}; give an IP address or a name of this machine", address,
                     error.message());
  }
  return found.begin()->endpoint();
}

Result<uint16_t> TransportServer::Listen(const std::string& name, const std::string& address, uint16_t port) {
  asio::io_context& context = io_[0]->context;
  SHEAF_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, FindEndpoint(&context, address, port));
  std::shared_ptr<Acceptor> acceptor;
  {
    MutexLock lock(&mutex_);
    acceptor = std::make_shared<Acceptor>(&context, FindListener(name));
  }
  error_code error;
  const auto failed = [&](const char* what) {
    const ErrorKind kind = error == asio::error::address_in_use ? ErrorKind::kUnavailable : ErrorKind::kIo;
    return MakeError(kind, "cannot listen on {}:{}: {}: {}; is another server running there?", address, port, what, error.message());
  };
  acceptor->socket.open(endpoint.protocol(), error);
  if (error) return failed("socket");
  acceptor->socket.set_option(asio::socket_base::reuse_address(true), error);
  acceptor->socket.bind(endpoint, error);
  if (error) return failed("bind");
  acceptor->socket.listen(asio::socket_base::max_listen_connections, error);
  if (error) return failed("listen");
  const tcp::endpoint bound = acceptor->socket.local_endpoint(error);
  if (error) return failed("address");
  started_.push_back(acceptor);
  asio::post(context, [this, acceptor] { Accept(acceptor); });
  return bound.port();
}

void TransportServer::Accept(const std::shared_ptr<Acceptor>& acceptor) {
  if (!acceptor->socket.is_open()) return;
  IoThread* io = io_[next_io_++ % io_.size()].get();
  acceptor->socket.async_accept(io->context, [this, acceptor, io](const error_code& error, tcp::socket socket) {
    if (!acceptor->socket.is_open()) return;
    if (error) {
      acceptor->pause.expires_after(kAcceptPause);
      acceptor->pause.async_wait([this, acceptor](const error_code&) { Accept(acceptor); });
      return;
    }
    OnAccepted(acceptor, io, std::move(socket));
    Accept(acceptor);
  });
}

void TransportServer::OnAccepted(const std::shared_ptr<Acceptor>& acceptor, IoThread* io, tcp::socket socket) {
  error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return;  // Gone already.
  if (!count_.TryAdd(peer.address().to_string(), shared_->options)) {
    acceptor->listener->metrics.CountRefused("connections");
    return;  // Its destructor closes it.
  }
  asio::post(io->context, [this, acceptor, io, peer, socket = std::move(socket)]() mutable {
    Adopt(acceptor, io, std::move(socket), peer);
  });
}

void TransportServer::Adopt(const std::shared_ptr<Acceptor>& acceptor, IoThread* io, tcp::socket socket, const tcp::endpoint& peer) {
  const std::string address = peer.address().to_string();
  std::unique_ptr<TlsSession> session;
  const std::shared_ptr<const TlsContext> current = tls();
  if (current) {
    Result<std::unique_ptr<TlsSession>> made = TlsSession::Make(current);
    if (!made.ok()) return count_.Remove(address);
    session = std::move(*made);
  }
  const auto context = std::make_shared<ConnectionContext>();
  context->shared = shared_;
  context->listener = acceptor->listener;
  context->io = io->executor;
  context->memory = std::make_shared<MemoryAccount>(shared_->memory, shared_->options.connection_memory_bytes_max);
  context->peer = (peer.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(peer.port());
  context->tls = current != nullptr;
  const auto connection = std::make_shared<TransportConnection>(std::move(socket), io, context, std::move(session),
                                                                [this, address] { count_.Remove(address); });
  io->connections.insert(connection);
  connection->Start();
  if (shared_->draining) connection->Drain(Now());
}

void TransportServer::Tick(IoThread* io, bool first) {
  const TimePoint now = Now();
  const std::vector<std::shared_ptr<TransportConnection>> all(io->connections.begin(), io->connections.end());  // Checks erase.
  for (const auto& connection : all) connection->Check(now);
  if (!first) return;
  MutexLock lock(&mutex_);
  for (const auto& [name, listener] : listeners_) listener->workers.Check();
}

void TransportServer::Shutdown(std::chrono::milliseconds grace) {
  if (std::exchange(stopped_, true)) return;
  shared_->draining = true;
  OnEach([this](IoThread* io) {
    if (io == io_[0].get()) {
      for (const auto& acceptor : started_) {
        error_code ignored;  // Nothing more can be done with it.
        acceptor->socket.close(ignored);
        acceptor->pause.cancel();
      }
    }
    const std::vector<std::shared_ptr<TransportConnection>> all(io->connections.begin(), io->connections.end());
    for (const auto& connection : all) connection->Drain(Now());
    io->HurryTicks();
  });
  if (grace.count() > 0) count_.WaitForNone(grace);
  OnEach([](IoThread* io) {
    const std::vector<std::shared_ptr<TransportConnection>> all(io->connections.begin(), io->connections.end());
    for (const auto& connection : all) connection->Close();
  });
  // Now nobody waits for a reader any more, so that handlers can end.
  std::vector<std::shared_ptr<TransportListener>> listeners;
  {
    MutexLock lock(&mutex_);
    for (const auto& [name, listener] : listeners_) listeners.push_back(listener);
  }
  for (const auto& listener : listeners) listener->workers.Stop();
  for (const auto& io : io_) io->Stop();
}

}  // namespace

Result<std::unique_ptr<Transport>> Transport::Make(const TransportOptions& options) {
  auto server = std::make_unique<TransportServer>(options);
  SHEAF_RETURN_NOT_OK(server->Start());
  return server;
}

}  // namespace sheaf::serve
