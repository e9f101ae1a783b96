#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/App.hpp>

#include "command.h"
#include "core/log.h"
#include "io/posix.h"
#include "serve/server.h"
#include "stop_signals.h"

extern char** environ;

namespace sheaf::cli {
namespace {

struct ServeOptions {
  serve::ConfigSources sources;
  bool print_settings = false;
};

void PrintPorts(const serve::Config& config, const serve::ServerPorts& ports) {
  const bool is_ipv6 = config.server.bind.find(':') != std::string::npos && !config.server.bind.starts_with('[');
  const std::string host = is_ipv6 ? "[" + config.server.bind + "]" : config.server.bind;
  for (const auto& [name, port] : {std::pair("otlp-grpc", ports.otlp_grpc), std::pair("otlp-http", ports.otlp_http),
                                   std::pair("flight", ports.flight), std::pair("http", ports.http)}) {
    std::printf("%s %s:%u\n", name, host.c_str(), static_cast<unsigned>(port));
  }
  std::printf("ready\n");
  std::fflush(stdout);
}

int RunServe(ServeOptions options) {
  const sigset_t stop_signals = BlockStopSignals();
  for (char** variable = environ; *variable != nullptr; ++variable) options.sources.environment.emplace_back(*variable);
  const auto config = serve::LoadConfig(io::PosixFileSystem(), options.sources);
  if (!config.ok()) return Fail(config.status());
  if (options.print_settings) {
    std::printf("%s", serve::ConfigToToml(*config).c_str());
    return kDone;
  }

  auto server = serve::Server::Start(*config);
  if (!server.ok()) return Fail(server.status());
  PrintPorts(*config, (*server)->ports());

  const int first = WaitForStopSignal(stop_signals);
  LogInfo("server.signalled", {{"signal", first}});
  const Status stopped = (*server)->Stop();
  server->reset();
  return stopped.ok() ? kDone : Fail(stopped);
}

}  // namespace

void AddServe(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app->add_subcommand("serve", "Runs the server until SIGTERM or Ctrl-C");
  command->add_option("--config", options->sources.file, "TOML file of settings; docs/settings.md lists them")->type_name("FILE");
  const auto add = [&](const char* flag, const char* key, const char* help, const char* type) {
    auto* option = command->add_option_function<std::string>(
        flag, [options, key](const std::string& value) { options->sources.flags.emplace_back(key, value); }, help);
    option->type_name(type);
    return option;
  };
  add("--data", "storage.data", "Directory of the database (default ./sheaf-data)", "DIR");
  add("--bind", "server.bind", "Address to listen on (default 127.0.0.1)", "ADDR");
  const CLI::Range ports(0, 65'535);
  add("--port-otlp-grpc", "server.port_otlp_grpc", "OTLP over gRPC (default 4317; 0 picks a free port)", "N")->check(ports);
  add("--port-otlp-http", "server.port_otlp_http", "OTLP over HTTP (default 4318)", "N")->check(ports);
  add("--port-flight", "server.port_flight", "Arrow Flight and Flight SQL (default 8815)", "N")->check(ports);
  add("--port-http", "server.port_http", "SQL, metrics and health over HTTP (default 8080)", "N")->check(ports);
  command->add_flag("--print-settings", options->print_settings, "Prints the settings in effect as TOML and ends");
  command->callback([chosen, options] { *chosen = [options] { return RunServe(*options); }; });
}

}  // namespace sheaf::cli
