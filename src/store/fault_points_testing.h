/// Faults at each kind of place once: for tests of calls that make thousands of file operations of a few dozen sorts.
///
/// A sort is what is done to which file, numbers in its name left out: "read /db/parts/part-#.arrow". Of each sort the first and the
/// last operation fail in turn, so that every place in the code that touches files meets an error, in seconds.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "core/status.h"
#include "io/sim_testing.h"

namespace sheaf::store {

/// All files of a disk by path, so that each try begins with the same ones.
using DiskImage = std::map<std::string, std::string>;
DiskImage ImageOf(io::SimFileSystem* disk, const std::string& folder);
std::unique_ptr<io::SimFileSystem> DiskOf(const DiskImage& image);

/// Goes on to a simulated disk, whose fault hook it takes. Files are allocated a mebibyte at most, as what restores and salvages has
/// large segments, and memory for hundreds of them takes time. Thread-safe.
class FaultPoints : public io::FileSystem {
 public:
  using Which = std::function<bool(const std::string& sort)>;

  /// Runs `body` without a fault; then once for each sort that `which` takes, and once more where the last operation of a sort is not
  /// the first. What is asked of the files between Begin() and End() counts. `body` sees from failed() whether the fault has come.
  void Each(ErrorKind error, const Which& which, const std::function<void()>& body) { Run(error, which, /*last=*/true, body); }
  /// The same, of each sort the first operation alone.
  void EachFirst(ErrorKind error, const Which& which, const std::function<void()>& body) { Run(error, which, /*last=*/false, body); }

  /// `disk` is borrowed until End().
  void Begin(io::SimFileSystem* disk);
  void End();
  bool failed() const;
  /// The sort of what failed; empty where nothing has.
  std::string what() const;

  Result<std::unique_ptr<io::File>> Open(const std::string& path, io::OpenMode mode) override;
  Status Rename(const std::string& from, const std::string& to) override { return disk_->Rename(from, to); }
  Status Link(const std::string& from, const std::string& to) override { return disk_->Link(from, to); }
  Status Remove(const std::string& path) override { return disk_->Remove(path); }
  Status MakeDirectories(const std::string& path) override { return disk_->MakeDirectories(path); }
  Status SyncDirectory(const std::string& path) override { return disk_->SyncDirectory(path); }
  Result<std::vector<io::FileInfo>> List(const std::string& path) override { return disk_->List(path); }
  Result<io::FileInfo> Stat(const std::string& path) override;
  Result<std::unique_ptr<io::FileLock>> Lock(const std::string& path) override { return disk_->Lock(path); }
  Result<int64_t> FreeBytes(const std::string& path) override { return disk_->FreeBytes(path); }

 private:
  void Run(ErrorKind error, const Which& which, bool last, const std::function<void()>& body);
  Status See(const std::string& sort);

  struct Fault {
    std::string sort;
    int nth = 1;
    ErrorKind error;
  };
  io::SimFileSystem* disk_ = nullptr;
  mutable Mutex mutex_;
  std::optional<Fault> fault_ SHEAF_GUARDED_BY(mutex_);
  std::map<std::string, int> seen_ SHEAF_GUARDED_BY(mutex_);
  bool counting_ SHEAF_GUARDED_BY(mutex_) = false;
  bool failed_ SHEAF_GUARDED_BY(mutex_) = false;
};

/// Sorts that only read.
bool OnlyReads(const std::string& sort);

}  // namespace sheaf::store
