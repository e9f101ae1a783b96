/// Places in the code where tests end the process, and faults that they seed to see whether the harnesses catch them. Both are
/// empty functions unless the build has tests; what is released has none. Not for code that runs once a row.
///
///   Failpoint("wal.block_written");                       // SHEAF_FAILPOINT=wal.block_written:3 kills at the third time.
///   if (!Mutant("no_sync")) SHEAF_RETURN_NOT_OK(Sync());  // SHEAF_MUTANT=no_sync leaves it out.
///
/// The kill loop (tests/e2e/test_kill_loop.py) finds the names of failpoints in the sources and kills at each of them;
/// tests/reliability/test_mutants.py does the same with mutants.

#pragma once

namespace sheaf {

/// Ends the process as SIGKILL does, where the environment asks for it here. Thread-safe.
void Failpoint(const char* name);
/// True where the environment asks for the fault. Thread-safe.
bool Mutant(const char* name);

}  // namespace sheaf
