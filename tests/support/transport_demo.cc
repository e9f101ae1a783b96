/// A server with echoing handlers on the real transport, for the clients under tests/grpc.
///
///   transport_demo [--tls-cert FILE --tls-key FILE [--client-ca FILE]] [--io-threads N] [--workers N] [--option=VALUE]...
///
/// Prints "grpc PORT" and "http PORT", then "ready". SIGTERM drains for up to 3 seconds; SIGUSR1 switches overload
/// on and off. Exits 0 after a clean shutdown, 2 on wrong usage.

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "core/metrics.h"
#include "serve/transport.h"

namespace sheaf::serve {
namespace {

std::atomic<bool> overloaded{false};

std::string ToString(std::string_view text) { return std::string(text); }

void AddGrpc(Transport* transport) {
  transport->HandleGrpc("grpc", "/demo.Echo/Echo", [](std::shared_ptr<GrpcCall> call) {
    call->Finish({}, ToString(call->message->view()));
  });
  transport->HandleGrpc("grpc", "/demo.Echo/InlineEcho", [](std::shared_ptr<GrpcCall> call) {
    call->Finish({}, ToString(call->message->view()));
  }, true);
  transport->HandleGrpc("grpc", "/demo.Echo/Sink", [](std::shared_ptr<GrpcCall> call) { call->Finish({}, {}); }, true);
  // Answers with the value of the metadata named by the message.
  transport->HandleGrpc("grpc", "/demo.Echo/Metadata", [](std::shared_ptr<GrpcCall> call) {
    std::string found;
    for (const auto& [name, value] : call->metadata) {
      if (name == call->message->view()) found += value;
    }
    call->Finish({}, found);
  });
  // Fails with the code in the first byte and the rest as text.
  transport->HandleGrpc("grpc", "/demo.Echo/Fail", [](std::shared_ptr<GrpcCall> call) {
    const std::string_view text = call->message->view();
    const auto code = static_cast<GrpcCode>(text.empty() ? 2 : text[0]);
    const std::string message = ToString(text.substr(text.empty() ? 0 : 1));
    call->Finish({code, message, EncodeRpcStatus(code, message, 1500)});  // grpc-go shows the text of the details.
  });
  // Answers after as many milliseconds as the message says.
  transport->HandleGrpc("grpc", "/demo.Echo/Sleep", [](std::shared_ptr<GrpcCall> call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(ToString(call->message->view()).c_str())));
    call->Finish({}, "slept");
  });
  transport->HandleGrpc("grpc", "/demo.Echo/NoAnswer", [](std::shared_ptr<GrpcCall>) {});
  transport->HandleGrpc("grpc", "/demo.Echo/Large", [](std::shared_ptr<GrpcCall> call) {
    call->Finish({}, std::string(static_cast<size_t>(std::atoll(ToString(call->message->view()).c_str())), 'x'));
  });
  transport->HandleGrpcStream("grpc", "/demo.Echo/Count", [](std::shared_ptr<GrpcStreamCall> call) {
    for (int i = 0; i < std::atoi(ToString(call->message->view()).c_str()); ++i) call->Write(std::to_string(i));
    call->Finish({});
  });
}

void AddHttp(Transport* transport) {
  const auto echo = [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond(200, {{"content-type", "application/octet-stream"}, {"x-query", exchange->request.query}},
                      ToString(exchange->request.body->view()));
  };
  transport->HandleHttp("http", "POST", "/echo", echo);
  transport->HandleHttp("http", "PUT", "/echo", echo);
  transport->HandleHttp("http", "GET", "/hello", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond(200, {{"content-type", "text/plain"}}, "hello\n");
  }, true);
  transport->HandleHttp("http", "GET", "/metrics", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond(200, {{"content-type", "text/plain"}}, Metrics().ToText());
  });
  transport->HandleHttp("http", "GET", "/files/*", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond(200, {}, exchange->request.path);
  });
  // Streams as many bytes as the query says, in pieces of 64 KiB.
  transport->HandleHttp("http", "GET", "/stream", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Begin(200, {{"content-type", "application/octet-stream"}});
    for (long long left = std::atoll(exchange->request.query.c_str()); left > 0; left -= 65536) {
      if (!exchange->Write(std::string(static_cast<size_t>(std::min(left, 65536LL)), 's'))) return;
    }
    exchange->End();
  });
  transport->HandleHttp("http", "GET", "/abort", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Begin(200, {});
    exchange->Write("half");
    exchange->Abort();
  });
  // Waits for the client to go away; /cancelled counts those that did.
  static std::atomic<int> cancelled{0};
  transport->HandleHttp("http", "GET", "/wait", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->OnCancel([] { cancelled.fetch_add(1); });
    for (int i = 0; i < 1000 && !exchange->cancelled(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    exchange->Respond(200, {}, "waited");
  });
  transport->HandleHttp("http", "GET", "/cancelled", [](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond(200, {}, std::to_string(cancelled.load()));
  });
  transport->HandleHttp("http", "GET", "/noanswer", [](std::shared_ptr<HttpExchange>) {});
}

int Usage(const std::string& argument) {
  std::fprintf(stderr, "transport_demo: cannot use '%s'\n", argument.c_str());
  return 2;
}

bool SetOption(const std::string& name, const std::string& value, TransportOptions* options) {
  const std::map<std::string, std::function<void(long long)>> numbers = {
      {"io-threads", [&](long long v) { options->io_threads = static_cast<int>(v); }},
      {"workers", [&](long long v) { options->worker_threads = static_cast<int>(v); }},
      {"message-bytes-max", [&](long long v) { options->message_bytes_max = v; }},
      {"memory-bytes-max", [&](long long v) { options->memory_bytes_max = v; }},
      {"connection-memory-bytes-max", [&](long long v) { options->connection_memory_bytes_max = v; }},
      {"connections-max", [&](long long v) { options->connections_max = static_cast<int>(v); }},
      {"connections-per-address-max", [&](long long v) { options->connections_per_address_max = static_cast<int>(v); }},
      {"handshake-timeout-ms", [&](long long v) { options->handshake_timeout = std::chrono::milliseconds(v); }},
      {"header-timeout-ms", [&](long long v) { options->header_timeout = std::chrono::milliseconds(v); }},
      {"idle-timeout-ms", [&](long long v) { options->idle_timeout = std::chrono::milliseconds(v); }},
      {"write-timeout-ms", [&](long long v) { options->write_timeout = std::chrono::milliseconds(v); }},
      {"keepalive-interval-ms", [&](long long v) { options->keepalive_interval = std::chrono::milliseconds(v); }},
      {"keepalive-timeout-ms", [&](long long v) { options->keepalive_timeout = std::chrono::milliseconds(v); }},
      {"upload-grace-ms", [&](long long v) { options->upload_grace = std::chrono::milliseconds(v); }},
  };
  if (name == "tls-cert") options->tls_certificate_file = value;
  else if (name == "tls-key") options->tls_key_file = value;
  else if (name == "client-ca") options->tls_client_ca_file = value;
  else if (numbers.contains(name)) numbers.at(name)(std::atoll(value.c_str()));
  else return false;
  return true;
}

int Main(int argc, char** argv) {
  TransportOptions options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::string_view(argv[i]).starts_with("--") || !SetOption(argv[i] + 2, argv[i + 1], &options)) return Usage(argv[i]);
  }
  if (argc % 2 == 0) return Usage(argv[argc - 1]);

  // Signals are taken by sigwait() below: blocked before any thread starts.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  auto transport = Transport::Make(options);
  if (!transport.ok()) return Usage(transport.status().ToString());
  (*transport)->SetOverloaded([] { return overloaded.load(); });
  AddGrpc(transport->get());
  AddHttp(transport->get());
  for (const char* listener : {"grpc", "http"}) {
    const Result<uint16_t> port = (*transport)->Listen(listener, "127.0.0.1", 0);
    if (!port.ok()) return Usage(port.status().ToString());
    std::printf("%s %d\n", listener, *port);
  }
  std::printf("ready\n");
  std::fflush(stdout);

  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGUSR1) break;
    overloaded = !overloaded;
  }
  (*transport)->Shutdown(std::chrono::seconds(3));
  return 0;
}

}  // namespace
}  // namespace sheaf::serve

int main(int argc, char** argv) { return sheaf::serve::Main(argc, argv); }
