#include <cstdio>
#include <memory>
#include <vector>

#include <unistd.h>
#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "command.h"
#include "io/posix.h"
#include "store/verify.h"

namespace sheaf::cli {
namespace {

int RunVerify(const std::string& directory, bool json, bool snapshots) {
  const auto check = store::VerifyDirectory(io::PosixFileSystem(), directory, [](const std::string& path) {
    if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\x1b[K%s", path.c_str());
  }, snapshots);
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\x1b[K");
  if (!check.ok()) return Fail(WithContext(check.status(), "verifying " + directory));
  if (json) {
    nlohmann::ordered_json problems = nlohmann::ordered_json::array();
    for (const store::DirectoryProblem& problem : check->problems) problems.push_back({{"file", problem.file}, {"error", problem.error}});
    const nlohmann::ordered_json report = {
        {"ok", check->problems.empty()}, {"files", check->files}, {"bytes", check->bytes}, {"problems", problems}};
    std::printf("%s\n", report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  }
  for (const store::DirectoryProblem& problem : check->problems)
    std::fprintf(stderr, "sheaf: %s: %s\n", problem.file.c_str(), problem.error.c_str());
  if (!check->problems.empty()) {
    std::fprintf(stderr, "sheaf: %zu of %lld files are damaged; keep a copy of %s before anything else\n", check->problems.size(),
                 static_cast<long long>(check->files), directory.c_str());
    return kFailed;
  }
  if (!json)
    std::printf("%lld files, %lld bytes: all sound\n", static_cast<long long>(check->files),
                static_cast<long long>(check->bytes));
  return kDone;
}

}  // namespace

void AddVerify(CLI::App* app, Action* chosen) {
  struct Options {
    std::string directory;
    bool json = false, without_snapshots = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand("verify", "Checks every checksum of a database that no server holds");
  command->add_option("DIR", options->directory, "The data directory")->required();
  command->add_flag("--without-snapshots", options->without_snapshots, "Leaves out snapshots and the archived log");
  command->add_flag("--json", options->json, "Prints the outcome as JSON");
  command->callback([chosen, options] {
    *chosen = [options] { return RunVerify(options->directory, options->json, !options->without_snapshots); };
  });
}

}  // namespace sheaf::cli
