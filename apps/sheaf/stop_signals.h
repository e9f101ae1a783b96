/// How programs that run until they are told to end are told: SIGINT and SIGTERM, taken by one thread that waits for them.

#pragma once

#include <signal.h>

namespace sheaf::cli {

/// Call before any thread starts: they inherit the mask.
sigset_t BlockStopSignals();

/// Waits for one of them; returns its number. From then on a second one ends the program at once with 130: someone who asks twice does
/// not want to wait, and what was acknowledged is on disk.
int WaitForStopSignal(const sigset_t& signals);

}  // namespace sheaf::cli
