#include "build_versions.h"

#include <cstdio>
#include <memory>

#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "command.h"

namespace sheaf::cli {

void AddVersion(CLI::App* app, Action* chosen) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app->add_subcommand("version", "Prints the versions of the program and its libraries");
  command->add_flag("--json", *json, "Prints them as JSON");
  command->callback([chosen, json] {
    *chosen = [json] {
      nlohmann::ordered_json object;
      for (const auto& [name, version] : BuildVersions()) {
        object[name] = version;
        if (!*json) std::printf("%-10s %s\n", name.c_str(), version.c_str());
      }
      if (*json) std::printf("%s\n", object.dump(2).c_str());
      return kDone;
    };
  });
}

}  // namespace sheaf::cli
