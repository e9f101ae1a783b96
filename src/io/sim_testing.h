/// A file system in memory for tests, as unkind as the contract of file_system.h allows.
///
/// It keeps two images: what programs see, and what would survive a loss of power. Crash() makes a new
/// file system from the second: what was synced is there; of what was not, any part may be, torn into
/// sectors of 512 bytes; files and folders made, renamed or removed in a folder that was not synced may be lost
/// or come in any order. Faults can be put on any operation. Every operation is numbered, so that a test can
/// fail or cut the power at each in turn.
///
///   SimFileSystem disk(seed);
///   disk.PowerOffAfter(17);
///   RunWorkload(&disk);                    // Fails somewhere, with kIo.
///   auto after = disk.Crash(&random);      // What the next start finds.
///   EXPECT_THAT(disk.violations(), IsEmpty());

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "io/clock.h"
#include "io/file_system.h"

namespace sheaf::io {

enum class SimOp {
  kOpen, kRead, kWrite, kAllocate, kTruncate, kSync, kMap, kRename, kLink, kRemove, kMakeDirectories, kSyncDirectory, kList, kLock,
};

/// One call, as the operation log and the fault hook see it.
struct SimOperation {
  SimOp kind;
  std::string path;
  int64_t offset = 0, bytes = 0;  // Of reads and writes; bytes of allocate and truncate: the length.
  std::string to = {};            // Of a rename or a link: the new path.
  uint64_t number = 0;            // 1 for the first operation of the file system.
};

/// What a crash makes of bytes and names that were not synced.
enum class CrashKeeps { kNothing, kEverything, kAnything };

/// Thread-safe.
class SimFileSystem : public FileSystem {
 public:
  /// Says how an operation fails, or OK. May block; must not call the file system. A failing write has
  /// written some part; after a failing sync some part is durable, and the rest never will be.
  using FaultHook = std::function<Status(const SimOperation&)>;

  explicit SimFileSystem(uint64_t seed = 1);
  ~SimFileSystem() override;

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status MakeDirectories(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  Result<std::vector<FileInfo>> List(const std::string& path) override;
  Result<FileInfo> Stat(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  Result<int64_t> FreeBytes(const std::string& path) override;

  /// Sees every operation before it happens.
  void SetFaultHook(FaultHook hook);
  /// Fails the n-th operation of `kind` from now on (1: the next), once, with `error`.
  void FailNth(SimOp kind, uint64_t n, Status error);
  /// Every operation after the `count`-th of this file system fails with kIo and changes nothing.
  void PowerOffAfter(uint64_t count);
  /// Writes and allocations that would take more fail with kUnavailable. None: no limit.
  void SetCapacity(std::optional<int64_t> bytes);

  /// Returns what a start after a loss of power finds. This file system answers kIo from now on.
  std::unique_ptr<SimFileSystem> Crash(std::mt19937_64* random, CrashKeeps keeps = CrashKeeps::kAnything);
  /// Returns what a start after the death of the process alone finds: everything that was written, with
  /// what was not synced still unsynced. This file system answers kIo from now on.
  std::unique_ptr<SimFileSystem> Restart();

  /// Breaches of the rules that nobody may commit: syncing a file again after its sync failed.
  std::vector<std::string> violations() const;
  /// Operations so far; their number is that of the last.
  uint64_t operations() const;
  /// The last operations, oldest first, while recording is on.
  void Record(bool on);
  std::vector<SimOperation> recorded() const;

  /// Remembers from here on all that becomes of the disk, for CrashImages (crash_images_testing.h). No sync may be made to fail.
  void KeepJournal();
  /// What happened so far in it: the position of a moment.
  uint64_t journal_size() const;

  /// Whether this thread is in a call of such a file system: tests of allocations that fail leave those alone.
  static bool Busy();

  /// Whole contents, for tests that damage files. SetContents() makes the file if it is not there;
  /// what it sets is durable.
  Result<std::string> Contents(const std::string& path) const;
  void SetContents(const std::string& path, const std::string& bytes);

 private:
  friend class CrashImages;
  struct Node;
  struct JournalEntry;
  struct State;
  class SimFile;
  class SimLock;
  explicit SimFileSystem(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;  // Shared with open files, which may outlive this.
};

/// Stands still until told otherwise. Thread-safe.
class SimClock : public Clock {
 public:
  explicit SimClock(int64_t now_ns = 1'700'000'000'000'000'000) : now_ns_(now_ns) {}
  int64_t NowNs() override { return now_ns_.load(std::memory_order_relaxed); }
  int64_t MonotonicNs() override { return monotonic_ns_.load(std::memory_order_relaxed); }
  /// Both clocks go on.
  void Advance(int64_t ns) {
    now_ns_.fetch_add(ns, std::memory_order_relaxed);
    monotonic_ns_.fetch_add(ns, std::memory_order_relaxed);
  }
  /// Only the wall clock jumps, either way.
  void JumpTo(int64_t now_ns) { now_ns_.store(now_ns, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> now_ns_;
  std::atomic<int64_t> monotonic_ns_{1'000'000'000};
};

}  // namespace sheaf::io
