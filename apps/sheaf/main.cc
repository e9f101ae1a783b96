/// The program `sheaf`: parses the command line and runs the command that was chosen.

#include <csignal>
#include <cstdio>

#include <unistd.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "command.h"
#include "core/out_of_memory.h"

namespace {

int Run(int argc, char** argv) {
  using namespace sheaf::cli;
  CLI::App app("Sheaf: OpenTelemetry in, Arrow on disk, SQL out.", "sheaf");
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  app.get_formatter()->column_width(34);
  Action chosen;
  AddServe(&app, &chosen);
  AddSql(&app, &chosen);
  AddTrace(&app, &chosen);
  AddImport(&app, &chosen);
  AddExport(&app, &chosen);
  AddForward(&app, &chosen);
  AddDemo(&app, &chosen);
  AddInspect(&app, &chosen);
  AddVerify(&app, &chosen);
  AddSalvage(&app, &chosen);
  AddSnapshot(&app, &chosen);
  AddBackup(&app, &chosen);
  AddRestore(&app, &chosen);
  AddUser(&app, &chosen);
  AddBench(&app, &chosen);
  AddDoctor(&app, &chosen);
  AddVersion(&app, &chosen);
  AddPlannedCommands(&app, &chosen);
  app.footer("Exit codes: 0 done, 1 failed, 2 wrong usage. `sheaf COMMAND --help` describes a command.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for_help) {
    return app.exit(asked_for_help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "sheaf: %s\nRun with --help for the commands and their flags.\n", error.what());
    return kWrongUsage;
  }
  return chosen();
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  sheaf::ExplainTermination();
  int code = sheaf::cli::kFailed;
  try {
    code = Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sheaf: %s; this is a bug, please report it\n", error.what());
  }
  // Everything has been closed in order by now. Libraries in this process may crash in their own exit
  // handlers, after our work is done: leave without them.
  const bool flushed = std::fflush(stdout) == 0;
  std::fflush(stderr);
  _exit(flushed || code != sheaf::cli::kDone ? code : sheaf::cli::kFailed);
}
