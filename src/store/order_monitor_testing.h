/// Watches in which order a database touches its files, while it runs on a simulated disk, and notes what breaks the rules
/// that survival of a power cut rests on (docs/reliability.md, "Order of operations"):
///
/// 1. CURRENT comes to name a manifest only when the manifest, and each file that it names, is synced, and its name too.
/// 2. A file that the durable manifest, or the one before it, names is never removed; nothing at all is removed or taken out of the
///    log while a switch of CURRENT is not durable yet.
/// 3. No file is written again once it is synced, but for the log's segments and COMMIT.
/// 4. A segment leaves the log only when two manifests cover all that is in it.
///
///   OrderMonitor monitor(&disk, "/db");
///   …
///   EXPECT_THAT(monitor.violations(), IsEmpty());

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/mutex.h"
#include "io/sim_testing.h"
#include "store/layout.h"

namespace sheaf::store {

/// Takes the disk's fault hook. Only where no fault is injected: it sees operations before they happen. Thread-safe.
class OrderMonitor {
 public:
  OrderMonitor(io::SimFileSystem* disk, const std::string& directory);
  ~OrderMonitor();

  std::vector<std::string> violations() const;
  /// How often CURRENT was switched, files were removed and segments left the log: what the rules were tried on.
  int64_t switches() const;
  int64_t removals() const;

 private:
  struct FileState {
    bool written = false;      // Since it was synced.
    bool synced = false;       // Ever.
    bool name_synced = false;
  };

  /// What a manifest names; itself too.
  struct Named {
    std::set<std::string> files;
    Lsn covered;
  };

  void See(const io::SimOperation& operation) SHEAF_EXCLUDES(mutex_);
  void SeeWrite(const io::SimOperation& operation) SHEAF_REQUIRES(mutex_);
  void SeeRename(const io::SimOperation& operation) SHEAF_REQUIRES(mutex_);
  void SeeSwitch(const std::string& from) SHEAF_REQUIRES(mutex_);
  void SeeLeaving(const std::string& path) SHEAF_REQUIRES(mutex_);
  void SeeFolderSync(const std::string& folder) SHEAF_REQUIRES(mutex_);
  void ExpectDurable(const std::string& path, const std::string& why) SHEAF_REQUIRES(mutex_);
  Named NamedBy(const std::string& manifest) SHEAF_REQUIRES(mutex_);
  void Note(const std::string& what) SHEAF_REQUIRES(mutex_);

  io::SimFileSystem* const disk_;
  const DirectoryLayout paths_;
  mutable Mutex mutex_;
  std::map<std::string, FileState> files_ SHEAF_GUARDED_BY(mutex_);
  Named current_ SHEAF_GUARDED_BY(mutex_), before_ SHEAF_GUARDED_BY(mutex_);          // By what CURRENT durably says.
  Named coming_ SHEAF_GUARDED_BY(mutex_), coming_before_ SHEAF_GUARDED_BY(mutex_);    // By what it is to say.
  bool switching_ SHEAF_GUARDED_BY(mutex_) = false;  // CURRENT was renamed, and its folder not synced since.
  std::vector<std::string> violations_ SHEAF_GUARDED_BY(mutex_);
  int64_t switches_ SHEAF_GUARDED_BY(mutex_) = 0, removals_ SHEAF_GUARDED_BY(mutex_) = 0;
};

}  // namespace sheaf::store
