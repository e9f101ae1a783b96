#include <cstdio>
#include <memory>
#include <string>

#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "command.h"
#include "core/log.h"
#include "io/posix.h"
#include "store/salvage.h"

namespace sheaf::cli {
namespace {

struct Options {
  std::string directory, to;
  bool json = false;
};

int RunSalvage(const Options& options) {
  ConfigureLog(LogLevel::kError, false);
  const auto report = store::Salvage(io::PosixFileSystem(), io::SystemClock(), options.directory, options.to,
                                     [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
  if (!report.ok()) return Fail(WithContext(report.status(), "salvaging " + options.directory));
  if (options.json) {
    const nlohmann::ordered_json json = {{"parts_whole", report->parts_whole},   {"parts_rewritten", report->parts_rewritten},
                                         {"parts_lost", report->parts_lost},     {"rows_lost", report->rows_lost},
                                         {"entries", report->entries},           {"entries_lost", report->entries_lost},
                                         {"losses", report->losses}};
    std::printf("%s\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    std::printf("%s: %lld parts whole, %lld rewritten, %lld lost with %lld rows in all; %lld log entries done again, %lld lost\n",
                options.to.c_str(), static_cast<long long>(report->parts_whole), static_cast<long long>(report->parts_rewritten),
                static_cast<long long>(report->parts_lost), static_cast<long long>(report->rows_lost),
                static_cast<long long>(report->entries), static_cast<long long>(report->entries_lost));
  }
  return report->losses.empty() ? kDone : kFailed;
}

}  // namespace

void AddSalvage(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand("salvage", "Makes a new database of all that can be read of a damaged one");
  command->add_option("DIR", options->directory, "The damaged data directory, which is only read")->required();
  command->add_option("--to", options->to, "The new data directory")->required();
  command->add_flag("--json", options->json, "Prints the outcome as JSON");
  command->footer("Ends with 0 where nothing was lost, with 1 where something was: standard error says what.");
  command->callback([chosen, options] { *chosen = [options] { return RunSalvage(*options); }; });
}

}  // namespace sheaf::cli
