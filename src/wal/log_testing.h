/// What the tests, the fuzz target and the benchmarks of the log share.

#pragma once

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "wal/log.h"

namespace sheaf::wal {

Entry MakeEntry(const std::string& payload, const std::string& batch_id = {}, uint8_t type = 1);
std::string PayloadText(const LoggedEntry& entry);

/// A log opened on a folder, with what was replayed into it.
struct OpenedLog {
  std::unique_ptr<Log> log;
  RecoveryReport report;
  std::vector<std::string> replayed;  // Payloads.
};

/// Opens the log of `options` and collects what it replays.
Result<OpenedLog> OpenLog(io::FileSystem* files, io::Clock* clock, const LogOptions& options, Lsn applied = {}, Lsn durable_floor = {},
                          Log::VisibleCallback on_visible = nullptr);

/// Appends and waits for `done`.
Result<Lsn> AppendAndWait(Log* log, Entry entry);
/// Appends; the future gets what `done` got, or the error of Append() itself.
std::future<Result<Lsn>> AppendLater(Log* log, Entry entry);

/// Payloads of the entries in (after, through].
Result<std::vector<std::string>> ReadPayloads(Log* log, Lsn after, Lsn through);

/// Writes a log without threads: each inner list becomes one block. Starts a new segment before the
/// blocks whose index is in `rolls`, besides the first. No COMMIT file. Returns the names of the segments.
std::vector<std::string> BuildLog(io::FileSystem* files, const LogOptions& options, const std::vector<std::vector<Entry>>& blocks,
                                  const std::vector<size_t>& rolls = {});

/// What recovery alone makes of a log: payloads, or the error.
Result<std::vector<std::string>> RecoverPayloads(io::FileSystem* files, const LogOptions& options, Lsn applied, Lsn durable_floor);

}  // namespace sheaf::wal
