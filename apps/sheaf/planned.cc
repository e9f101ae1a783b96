#include <cstdio>

#include <CLI/App.hpp>

#include "command.h"

namespace sheaf::cli {

void AddPlannedCommands(CLI::App* app, Action* chosen) {
  struct Planned {
    const char* name;
    const char* what;
  };
  static constexpr Planned kPlanned[] = {
      {"tail", "follows a table"},
      {"cluster", "shows and changes the replicas"},
  };
  for (const Planned& planned : kPlanned) {
    CLI::App* command = app->add_subcommand(planned.name, std::string(planned.what) + " (not there yet)")->group("Later");
    command->allow_extras();
    command->callback([chosen, name = planned.name] {
      *chosen = [name] {
        return Fail(MakeError(ErrorKind::kUnsupported,
                              "`sheaf {}` is not there yet in this version; see CHANGELOG.md for what is", name));
      };
    });
  }
}

}  // namespace sheaf::cli
