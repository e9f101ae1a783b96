/// What every command of the program shares: how it is registered, how it fails, how it is interrupted.
///
/// A command is one file with one Add…() function: it describes its flags to CLI11 and says what is to
/// be done once they are read. main() runs that after parsing.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/status.h"

namespace CLI {
class App;
}

namespace sheaf::cli {

inline constexpr int kDone = 0, kFailed = 1, kWrongUsage = 2;

/// Runs the chosen command and returns the program's exit code.
using Action = std::function<int()>;

void AddServe(CLI::App* app, Action* chosen);
void AddSql(CLI::App* app, Action* chosen);
void AddTrace(CLI::App* app, Action* chosen);
void AddImport(CLI::App* app, Action* chosen);
void AddExport(CLI::App* app, Action* chosen);
void AddForward(CLI::App* app, Action* chosen);
void AddDemo(CLI::App* app, Action* chosen);
void AddInspect(CLI::App* app, Action* chosen);
void AddVerify(CLI::App* app, Action* chosen);
void AddSalvage(CLI::App* app, Action* chosen);
void AddSnapshot(CLI::App* app, Action* chosen);
void AddBackup(CLI::App* app, Action* chosen);
void AddRestore(CLI::App* app, Action* chosen);
void AddUser(CLI::App* app, Action* chosen);
void AddBench(CLI::App* app, Action* chosen);
void AddDoctor(CLI::App* app, Action* chosen);
void AddVersion(CLI::App* app, Action* chosen);
/// Commands that come with later work: they are known, and say that they are not there yet.
void AddPlannedCommands(CLI::App* app, Action* chosen);

/// Prints "sheaf: <message>" on standard error. Returns kFailed.
int Fail(const Status& error);
/// The same for a wrong use of flags that only the command could see. Returns kWrongUsage.
int Misused(std::string_view message);

/// From here on SIGINT (and SIGTERM) only set a flag, which commands ask; a second one ends the program
/// at once with 130.
void CatchInterrupts();
bool Interrupted();
/// Forgets an interrupt: the prompt goes on after a cancelled statement.
void ClearInterrupt();

}  // namespace sheaf::cli
