/// What a simulated disk consists of. Only for sim_testing.cc and crash_images_testing.cc.

#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "io/sim_testing.h"

namespace sheaf::io {

inline constexpr int64_t kSectorBytes = 512;  // What a disk writes whole or not at all.

/// The folder of a path, and its last component.
std::pair<std::string, std::string> SplitPath(const std::string& path);
Status PowerIsOff(const std::string& path);

/// A change to a file that no sync has covered.
struct PendingChange {
  using Bytes = std::vector<std::byte>;
  int64_t offset = 0;
  Bytes bytes;                    // Of a write.
  std::optional<int64_t> length;  // Of a truncation or allocation: the new length.

  int64_t end() const { return offset + static_cast<int64_t>(bytes.size()); }
  /// Sectors that a write touches, the first and the last perhaps in part.
  int64_t sectors() const { return bytes.empty() ? 0 : (end() - 1) / kSectorBytes - offset / kSectorBytes + 1; }
  void ApplyTo(Bytes* data) const;
  /// Of a write: sectors [first, last) only.
  void ApplySectors(int64_t first, int64_t last, Bytes* data) const;
  /// Of a write: the file's length, but not the bytes.
  void ApplyLength(Bytes* data) const;
  /// What a loss of power may leave: of a write any of its sectors, of a change of length all or nothing.
  void ApplyPart(std::mt19937_64* random, Bytes* data) const;
};

/// A file or a folder.
struct SimFileSystem::Node {
  bool is_directory = false;

  // Of a file.
  using Bytes = PendingChange::Bytes;
  Bytes data, durable;
  std::vector<std::shared_ptr<const PendingChange>> pending;
  bool sync_failed = false;

  // Of a folder. A null node in a change removes the name.
  using Entries = std::map<std::string, std::shared_ptr<Node>>;
  using NameChange = std::vector<std::pair<std::string, std::shared_ptr<Node>>>;  // Happens whole or not at all.
  Entries entries, durable_entries;
  std::vector<std::shared_ptr<const NameChange>> pending_names;

  static void ApplyNames(const NameChange& change, Entries* to) {
    for (const auto& [name, node] : change) {
      if (node) {
        (*to)[name] = node;
      } else {
        to->erase(name);
      }
    }
  }
};

/// One thing that became of the disk, in the order in which it did.
struct SimFileSystem::JournalEntry {
  std::shared_ptr<Node> node;                      // Changed, or synced where both of what follows are null.
  std::shared_ptr<const PendingChange> change;
  std::shared_ptr<const Node::NameChange> names;
};

/// Holds a file system's state.
class SHEAF_THREAD_ANNOTATION(scoped_lockable) StateLock {
 public:
  explicit StateLock(Mutex* mutex) SHEAF_THREAD_ANNOTATION(acquire_capability(mutex)) : mutex_(mutex) { mutex_->Lock(), ++busy; }
  ~StateLock() SHEAF_THREAD_ANNOTATION(release_capability()) { --busy, mutex_->Unlock(); }
  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;

  static inline thread_local int busy = 0;  // How many this thread holds.

 private:
  Mutex* const mutex_;
};

struct SimFileSystem::State {
  mutable Mutex mutex;
  std::shared_ptr<Node> root SHEAF_GUARDED_BY(mutex) = std::make_shared<Node>();
  std::mt19937_64 random SHEAF_GUARDED_BY(mutex);
  FaultHook hook SHEAF_GUARDED_BY(mutex);
  std::vector<std::tuple<SimOp, uint64_t, Status>> nth_faults SHEAF_GUARDED_BY(mutex);
  uint64_t operations SHEAF_GUARDED_BY(mutex) = 0;
  uint64_t power_off_after SHEAF_GUARDED_BY(mutex) = UINT64_MAX;
  std::optional<int64_t> capacity SHEAF_GUARDED_BY(mutex);
  std::vector<std::string> violations SHEAF_GUARDED_BY(mutex);
  bool recording SHEAF_GUARDED_BY(mutex) = false;
  std::vector<SimOperation> recorded SHEAF_GUARDED_BY(mutex);
  std::set<std::string> locked SHEAF_GUARDED_BY(mutex);
  bool keeps_journal SHEAF_GUARDED_BY(mutex) = false;
  std::vector<JournalEntry> journal SHEAF_GUARDED_BY(mutex);
  size_t journal_begin SHEAF_GUARDED_BY(mutex) = 0;  // Entries before this one make what was there already.

  /// Counts an operation and asks for its fault. Not called with the mutex held: the hook may block.
  Status Begin(SimOperation operation) SHEAF_EXCLUDES(mutex) {
    FaultHook asked;
    Status fault;
    {
      const StateLock lock(&mutex);
      if (operations >= power_off_after) return PowerIsOff(operation.path);
      operation.number = ++operations;
      if (recording) recorded.push_back(operation);
      for (auto& [kind, left, error] : nth_faults) {
        if (kind == operation.kind && left > 0 && --left == 0) fault = error;
      }
      asked = hook;
    }
    return !fault.ok() || !asked ? fault : asked(operation);
  }

  void Change(const std::shared_ptr<Node>& file, PendingChange change) SHEAF_REQUIRES(mutex) {
    change.ApplyTo(&file->data);
    file->pending.push_back(std::make_shared<const PendingChange>(std::move(change)));
    if (keeps_journal) journal.push_back({file, file->pending.back(), nullptr});
  }

  void ChangeNames(const std::shared_ptr<Node>& folder, Node::NameChange change) SHEAF_REQUIRES(mutex) {
    Node::ApplyNames(change, &folder->entries);
    folder->pending_names.push_back(std::make_shared<const Node::NameChange>(std::move(change)));
    if (keeps_journal) journal.push_back({folder, nullptr, folder->pending_names.back()});
  }

  /// What is there, as if it had been made and synced now; then what was not synced.
  void AddToJournal(const std::shared_ptr<Node>& node, std::set<const Node*>* visited) SHEAF_REQUIRES(mutex);

  void SyncNames(const std::shared_ptr<Node>& folder) SHEAF_REQUIRES(mutex) {
    for (const auto& change : folder->pending_names) Node::ApplyNames(*change, &folder->durable_entries);
    folder->pending_names.clear();
    Synced(folder);
  }

  void Synced(const std::shared_ptr<Node>& node) SHEAF_REQUIRES(mutex) {
    if (keeps_journal) journal.push_back({node, nullptr, nullptr});
  }

  std::shared_ptr<Node> Find(const std::string& path) SHEAF_REQUIRES(mutex) {
    std::shared_ptr<Node> node = root;
    for (size_t at = 0; at < path.size();) {
      const size_t end = std::min(path.find('/', at), path.size());
      if (end > at) {
        const auto child = node->entries.find(path.substr(at, end - at));
        if (child == node->entries.end()) return nullptr;
        node = child->second;
      }
      at = end + 1;
    }
    return node;
  }

  Result<std::shared_ptr<Node>> FindFolder(const std::string& path) SHEAF_REQUIRES(mutex) {
    std::shared_ptr<Node> folder = Find(path);
    if (folder == nullptr || !folder->is_directory) return MakeError(ErrorKind::kNotFound, "{}: no such folder", path);
    return folder;
  }

  /// The entry of `path` in its folder.
  Result<std::shared_ptr<Node>> FindEntry(const std::string& path) SHEAF_REQUIRES(mutex) {
    const auto [folder_path, name] = SplitPath(path);
    SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> folder, FindFolder(folder_path));
    const auto entry = folder->entries.find(name);
    if (entry == folder->entries.end()) return MakeError(ErrorKind::kNotFound, "{}: no such file or folder", path);
    return entry->second;
  }

  static int64_t UsedBy(const Node& node) {
    int64_t bytes = static_cast<int64_t>(node.data.size());
    for (const auto& [name, child] : node.entries) bytes += UsedBy(*child);
    return bytes;
  }

  /// Unavailable if `node` cannot grow to `length`.
  Status Grow(const Node& node, int64_t length, const std::string& path) SHEAF_REQUIRES(mutex) {
    const int64_t more = length - static_cast<int64_t>(node.data.size());
    if (!capacity || more <= 0) return Status::OK();
    const int64_t free = std::max<int64_t>(0, *capacity - UsedBy(*root));
    if (more <= free) return Status::OK();
    return MakeError(ErrorKind::kUnavailable, "write {}: no space left on the disk; free bytes there: {}", path, free);
  }
};

}  // namespace sheaf::io
