#include <cstdio>
#include <memory>

#include <parquet/exception.h>
#include <CLI/App.hpp>

#include "command.h"
#include "describe_file.h"

namespace sheaf::cli {
namespace {

int RunInspect(const std::string& path, bool json) {
  const auto description = [&]() -> Result<nlohmann::ordered_json> {
    try {
      return DescribeFile(path);
    } catch (const parquet::ParquetException& error) {
      return MakeError(ErrorKind::kCorruption, "{}: {}", path, error.what());
    }
  }();
  if (!description.ok()) return Fail(WithContext(description.status(), "inspecting " + path));
  const std::string text =
      json ? description->dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n" : AsText(*description);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kDone;
}

}  // namespace

void AddInspect(CLI::App* app, Action* chosen) {
  struct Options {
    std::string path;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand("inspect", "Prints one of our files in readable form");
  command->add_option("FILE", options->path, "A log segment, COMMIT, manifest, CURRENT, part, part index or batch ids")
      ->required();
  command->add_flag("--json", options->json, "Prints it as JSON");
  command->callback([chosen, options] { *chosen = [options] { return RunInspect(options->path, options->json); }; });
}

}  // namespace sheaf::cli
