#include "io/sim_testing.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace sheaf::io {
namespace {

constexpr int64_t kSectorBytes = 512;

using Bytes = std::vector<std::byte>;

/// A change to a file that no sync has covered.
struct PendingChange {
  int64_t offset = 0;
  Bytes bytes;                          // Of a write.
  std::optional<int64_t> length;        // Of a truncation or allocation: the new length.
};

void WriteInto(Bytes* data, int64_t offset, std::span<const std::byte> bytes) {
  const auto end = static_cast<size_t>(offset) + bytes.size();
  if (data->size() < end) data->resize(end);
  std::copy(bytes.begin(), bytes.end(), data->begin() + offset);
}

void Apply(const PendingChange& change, Bytes* data) {
  if (change.length) {
    data->resize(static_cast<size_t>(*change.length));
  } else {
    WriteInto(data, change.offset, change.bytes);
  }
}

bool Coin(std::mt19937_64* random) { return ((*random)() >> 17 & 1) != 0; }

/// Applies what a loss of power may leave of `change`: for a write, any of its sectors.
void ApplyPart(const PendingChange& change, std::mt19937_64* random, Bytes* data) {
  if (change.length) {
    if (Coin(random)) Apply(change, data);
    return;
  }
  const auto end = change.offset + static_cast<int64_t>(change.bytes.size());
  if (Coin(random) && static_cast<int64_t>(data->size()) < end) data->resize(static_cast<size_t>(end));  // Size before data.
  if (Coin(random)) return;
  const bool most = Coin(random);  // A cut in few places, or shreds.
  for (int64_t at = change.offset; at < end;) {
    const int64_t next = std::min(end, (at / kSectorBytes + 1) * kSectorBytes);
    const bool keep = most ? (*random)() % 16 != 0 : Coin(random);
    if (keep) {
      WriteInto(data, at, std::span(change.bytes).subspan(static_cast<size_t>(at - change.offset), static_cast<size_t>(next - at)));
    }
    at = next;
  }
}

Status PowerIsOff(const std::string& path) { return MakeError(ErrorKind::kIo, "{}: the simulated power is off", path); }

std::pair<std::string, std::string> Split(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

/// A file or a folder.
struct SimFileSystem::Node {
  bool is_directory = false;

  // Of a file.
  Bytes data, durable;
  std::vector<PendingChange> pending;
  bool sync_failed = false;

  // Of a folder. A null node in a change removes the name.
  using Entries = std::map<std::string, std::shared_ptr<Node>>;
  using NameChange = std::vector<std::pair<std::string, std::shared_ptr<Node>>>;  // Happens whole or not at all.
  Entries entries, durable_entries;
  std::vector<NameChange> pending_names;

  void Change(NameChange change) {
    ApplyNames(change, &entries);
    pending_names.push_back(std::move(change));
  }
  void SyncNames() {
    for (const NameChange& change : pending_names) ApplyNames(change, &durable_entries);
    pending_names.clear();
  }
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

  /// Counts an operation and asks for its fault. Not called with the mutex held: the hook may block.
  Status Begin(SimOperation operation) SHEAF_EXCLUDES(mutex) {
    FaultHook asked;
    Status fault;
    {
      const MutexLock lock(&mutex);
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

  Node* Find(const std::string& path) SHEAF_REQUIRES(mutex) {
    Node* node = root.get();
    for (size_t at = 0; at < path.size();) {
      const size_t end = std::min(path.find('/', at), path.size());
      if (end > at) {
        const auto child = node->entries.find(path.substr(at, end - at));
        if (child == node->entries.end()) return nullptr;
        node = child->second.get();
      }
      at = end + 1;
    }
    return node;
  }

  Result<Node*> FindFolder(const std::string& path) SHEAF_REQUIRES(mutex) {
    Node* folder = Find(path);
    if (folder == nullptr || !folder->is_directory) return MakeError(ErrorKind::kNotFound, "{}: no such folder", path);
    return folder;
  }

  /// The entry of `path` in its folder.
  Result<std::shared_ptr<Node>> FindEntry(const std::string& path) SHEAF_REQUIRES(mutex) {
    const auto [folder_path, name] = Split(path);
    SHEAF_ASSIGN_OR_RETURN(Node* const folder, FindFolder(folder_path));
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

class SimFileSystem::SimFile : public File {
 public:
  SimFile(std::shared_ptr<State> state, std::shared_ptr<Node> node, std::string path, bool writable)
      : state_(std::move(state)), node_(std::move(node)), path_(std::move(path)), writable_(writable) {}

  Result<int64_t> ReadAt(int64_t offset, std::span<std::byte> out) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kRead, path_, offset, static_cast<int64_t>(out.size())}));
    SHEAF_RETURN_NOT_OK(CheckAlignment(offset, out));
    const MutexLock lock(&state_->mutex);
    const int64_t left = std::max<int64_t>(0, static_cast<int64_t>(node_->data.size()) - offset);
    const int64_t bytes = std::min(left, static_cast<int64_t>(out.size()));
    if (bytes > 0) std::copy_n(node_->data.begin() + offset, bytes, out.begin());
    return bytes;
  }

  using File::WriteAt;
  Status WriteAt(int64_t offset, std::span<const std::span<const std::byte>> parts) override {
    PendingChange change{offset, {}, {}};
    for (const std::span<const std::byte> part : parts) {
      SHEAF_RETURN_NOT_OK(CheckAlignment(offset, part));
      change.bytes.insert(change.bytes.end(), part.begin(), part.end());
    }
    const auto length = static_cast<int64_t>(change.bytes.size());
    const Status fault = state_->Begin({SimOp::kWrite, path_, offset, length});
    const MutexLock lock(&state_->mutex);
    if (state_->operations >= state_->power_off_after && !fault.ok()) return fault;
    if (!writable_) return MakeError(ErrorKind::kIo, "write {}: opened for reading", path_);
    SHEAF_RETURN_NOT_OK(state_->Grow(*node_, offset + length, path_));
    if (!fault.ok()) change.bytes.resize(state_->random() % (change.bytes.size() + 1));
    Apply(change, &node_->data);
    node_->pending.push_back(std::move(change));
    return fault;
  }

  Status Allocate(int64_t length) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kAllocate, path_, 0, length}));
    const MutexLock lock(&state_->mutex);
    SHEAF_RETURN_NOT_OK(state_->Grow(*node_, length, path_));
    if (length > static_cast<int64_t>(node_->data.size())) Resize(length);
    return Status::OK();
  }

  Status Truncate(int64_t length) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kTruncate, path_, 0, length}));
    const MutexLock lock(&state_->mutex);
    Resize(length);
    return Status::OK();
  }

  Status SyncData() override {
    const Status fault = state_->Begin({SimOp::kSync, path_});
    const MutexLock lock(&state_->mutex);
    if (state_->operations >= state_->power_off_after && !fault.ok()) return fault;
    if (node_->sync_failed) state_->violations.push_back("second sync after a failed one: " + path_);
    // After a failed sync the pages count as clean: what did not get to the disk never will.
    for (const PendingChange& change : node_->pending) {
      fault.ok() ? Apply(change, &node_->durable) : ApplyPart(change, &state_->random, &node_->durable);
    }
    node_->pending.clear();
    if (!fault.ok()) node_->sync_failed = true;
    return fault;
  }
  Status Sync() override { return SyncData(); }

  Result<int64_t> Size() override {
    const MutexLock lock(&state_->mutex);
    return static_cast<int64_t>(node_->data.size());
  }

  Result<std::shared_ptr<arrow::Buffer>> Map(int64_t length, Access) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kMap, path_, 0, length}));
    const MutexLock lock(&state_->mutex);
    if (length > static_cast<int64_t>(node_->data.size())) {
      return MakeError(ErrorKind::kInvalid, "map {}: {} bytes wanted, but the file has {}", path_, length, node_->data.size());
    }
    SHEAF_ASSIGN_OR_RETURN(std::unique_ptr<arrow::Buffer> copy, arrow::AllocateBuffer(length));
    if (length > 0) std::memcpy(copy->mutable_data(), node_->data.data(), static_cast<size_t>(length));
    return std::shared_ptr<arrow::Buffer>(std::move(copy));
  }

  /// Changes nothing but what is asked of callers.
  Status BypassCache() override {
    direct_ = true;
    return Status::OK();
  }

  Status Close() override { return Status::OK(); }
  const std::string& path() const override { return path_; }

 private:
  /// Of bytes that are read or written once BypassCache() was called.
  Status CheckAlignment(int64_t offset, std::span<const std::byte> bytes) const {
    const bool aligned = offset % kDirectAlignment == 0 && bytes.size() % kDirectAlignment == 0 &&
                         reinterpret_cast<uintptr_t>(bytes.data()) % kDirectAlignment == 0;
    if (!direct_ || aligned) return Status::OK();
    return MakeError(ErrorKind::kIo, "{}: direct I/O at offset {} of {} bytes that are not aligned to {}", path_, offset, bytes.size(),
                     kDirectAlignment);
  }

  void Resize(int64_t length) SHEAF_REQUIRES(state_->mutex) {
    const PendingChange change{0, {}, length};
    Apply(change, &node_->data);
    node_->pending.push_back(change);
  }

  const std::shared_ptr<State> state_;
  const std::shared_ptr<Node> node_;
  const std::string path_;
  const bool writable_;
  bool direct_ = false;
};

class SimFileSystem::SimLock : public FileLock {
 public:
  SimLock(std::shared_ptr<State> state, std::string path) : state_(std::move(state)), path_(std::move(path)) {}
  ~SimLock() override {
    const MutexLock lock(&state_->mutex);
    state_->locked.erase(path_);
  }

 private:
  const std::shared_ptr<State> state_;
  const std::string path_;
};

SimFileSystem::SimFileSystem(uint64_t seed) : SimFileSystem(std::make_shared<State>()) {
  const MutexLock lock(&state_->mutex);
  state_->random.seed(seed);
  state_->root->is_directory = true;
}

SimFileSystem::SimFileSystem(std::shared_ptr<State> state) : state_(std::move(state)) {}
SimFileSystem::~SimFileSystem() = default;

Result<std::unique_ptr<File>> SimFileSystem::Open(const std::string& path, OpenMode mode) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kOpen, path}));
  const MutexLock lock(&state_->mutex);
  const auto [folder_path, name] = Split(path);
  SHEAF_ASSIGN_OR_RETURN(Node* const folder, state_->FindFolder(folder_path));
  const auto entry = folder->entries.find(name);
  std::shared_ptr<Node> node;
  if (mode == OpenMode::kCreate) {
    if (entry != folder->entries.end()) return MakeError(ErrorKind::kAlreadyExists, "create {}: exists already", path);
    node = std::make_shared<Node>();
    folder->Change({{name, node}});
  } else {
    if (entry == folder->entries.end()) return MakeError(ErrorKind::kNotFound, "open {}: no such file or folder", path);
    node = entry->second;
    if (node->is_directory) return MakeError(ErrorKind::kIo, "open {}: is a folder", path);
  }
  return std::make_unique<SimFile>(state_, std::move(node), path, mode != OpenMode::kRead);
}

Status SimFileSystem::Rename(const std::string& from, const std::string& to) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kRename, from}));
  const MutexLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(from));
  const auto [from_path, from_name] = Split(from);
  const auto [to_path, to_name] = Split(to);
  SHEAF_ASSIGN_OR_RETURN(Node* const from_folder, state_->FindFolder(from_path));
  SHEAF_ASSIGN_OR_RETURN(Node* const to_folder, state_->FindFolder(to_path));
  if (from_folder == to_folder) {
    if (from_name != to_name) from_folder->Change({{from_name, nullptr}, {to_name, node}});
  } else {
    to_folder->Change({{to_name, node}});
    from_folder->Change({{from_name, nullptr}});
  }
  return Status::OK();
}

Status SimFileSystem::Link(const std::string& from, const std::string& to) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kLink, from}));
  const MutexLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(from));
  const auto [to_path, to_name] = Split(to);
  SHEAF_ASSIGN_OR_RETURN(Node* const folder, state_->FindFolder(to_path));
  if (folder->entries.contains(to_name)) return MakeError(ErrorKind::kAlreadyExists, "link {}: exists already", to);
  folder->Change({{to_name, node}});
  return Status::OK();
}

Status SimFileSystem::Remove(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kRemove, path}));
  const MutexLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(path));
  if (!node->entries.empty()) return MakeError(ErrorKind::kIo, "remove {}: the folder is not empty", path);
  const auto [folder_path, name] = Split(path);
  SHEAF_ASSIGN_OR_RETURN(Node* const folder, state_->FindFolder(folder_path));
  folder->Change({{name, nullptr}});
  return Status::OK();
}

Status SimFileSystem::MakeDirectories(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kMakeDirectories, path}));
  const MutexLock lock(&state_->mutex);
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder_path = path.substr(0, end);
    Node* const found = state_->Find(folder_path);
    if (found == nullptr) {
      const auto [parent_path, name] = Split(folder_path);
      SHEAF_ASSIGN_OR_RETURN(Node* const parent, state_->FindFolder(parent_path));
      auto made = std::make_shared<Node>();
      made->is_directory = true;
      parent->Change({{name, made}});
      parent->SyncNames();
    } else if (!found->is_directory) {
      return MakeError(ErrorKind::kIo, "make folder {}: a file is in the way", folder_path);
    }
    if (end == std::string::npos) return Status::OK();
  }
}

Status SimFileSystem::SyncDirectory(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kSyncDirectory, path}));
  const MutexLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(Node* const folder, state_->FindFolder(path));
  folder->SyncNames();
  return Status::OK();
}

Result<std::vector<FileInfo>> SimFileSystem::List(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kList, path}));
  const MutexLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const Node* const folder, state_->FindFolder(path));
  std::vector<FileInfo> files;
  for (const auto& [name, node] : folder->entries) {
    files.push_back({name, static_cast<int64_t>(node->data.size()), node->is_directory});
  }
  return files;
}

Result<FileInfo> SimFileSystem::Stat(const std::string& path) {
  const MutexLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(path));
  return FileInfo{Split(path).second, static_cast<int64_t>(node->data.size()), node->is_directory};
}

Result<std::unique_ptr<FileLock>> SimFileSystem::Lock(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kLock, path}));
  const MutexLock lock(&state_->mutex);
  SHEAF_RETURN_NOT_OK(state_->FindFolder(Split(path).first).status());
  if (!state_->locked.insert(path).second) return MakeError(ErrorKind::kUnavailable, "lock {}: held by this process", path);
  return std::make_unique<SimLock>(state_, path);
}

Result<int64_t> SimFileSystem::FreeBytes(const std::string&) {
  const MutexLock lock(&state_->mutex);
  if (!state_->capacity) return int64_t{1} << 40;
  return std::max<int64_t>(0, *state_->capacity - State::UsedBy(*state_->root));
}

void SimFileSystem::SetFaultHook(FaultHook hook) {
  const MutexLock lock(&state_->mutex);
  state_->hook = std::move(hook);
}

void SimFileSystem::FailNth(SimOp kind, uint64_t n, Status error) {
  const MutexLock lock(&state_->mutex);
  state_->nth_faults.emplace_back(kind, n, std::move(error));
}

void SimFileSystem::PowerOffAfter(uint64_t count) {
  const MutexLock lock(&state_->mutex);
  state_->power_off_after = count;
}

void SimFileSystem::SetCapacity(std::optional<int64_t> bytes) {
  const MutexLock lock(&state_->mutex);
  state_->capacity = bytes;
}

std::unique_ptr<SimFileSystem> SimFileSystem::Crash(std::mt19937_64* random, CrashKeeps keeps) {
  const MutexLock lock(&state_->mutex);
  state_->power_off_after = 0;
  std::map<const Node*, std::shared_ptr<Node>> survivors;  // Hard links stay links.
  const auto chance = [&] { return keeps == CrashKeeps::kEverything || (keeps == CrashKeeps::kAnything && Coin(random)); };
  const std::function<std::shared_ptr<Node>(const Node&)> survive = [&](const Node& node) {
    std::shared_ptr<Node>& copy = survivors[&node];
    if (copy) return copy;
    copy = std::make_shared<Node>();
    copy->is_directory = node.is_directory;
    copy->durable = node.durable;
    for (const PendingChange& change : node.pending) {
      if (keeps == CrashKeeps::kEverything) Apply(change, &copy->durable);
      if (keeps == CrashKeeps::kAnything) ApplyPart(change, random, &copy->durable);
    }
    copy->data = copy->durable;
    Node::Entries names = node.durable_entries;
    for (const Node::NameChange& change : node.pending_names) {
      if (chance()) Node::ApplyNames(change, &names);
    }
    const std::shared_ptr<Node> result = copy;
    for (const auto& [name, child] : names) result->entries[name] = survive(*child);
    result->durable_entries = result->entries;
    return result;
  };
  auto next = std::make_shared<State>();
  {
    const MutexLock next_lock(&next->mutex);
    next->root = survive(*state_->root);
    next->random.seed((*random)());
    next->capacity = state_->capacity;
  }
  return std::unique_ptr<SimFileSystem>(new SimFileSystem(std::move(next)));
}

std::unique_ptr<SimFileSystem> SimFileSystem::Restart() {
  const MutexLock lock(&state_->mutex);
  state_->power_off_after = 0;
  auto next = std::make_shared<State>();
  const MutexLock next_lock(&next->mutex);
  next->root = state_->root;
  next->random = state_->random;
  next->capacity = state_->capacity;
  return std::unique_ptr<SimFileSystem>(new SimFileSystem(next));
}

std::vector<std::string> SimFileSystem::violations() const {
  const MutexLock lock(&state_->mutex);
  return state_->violations;
}

uint64_t SimFileSystem::operations() const {
  const MutexLock lock(&state_->mutex);
  return state_->operations;
}

void SimFileSystem::Record(bool on) {
  const MutexLock lock(&state_->mutex);
  state_->recording = on;
  state_->recorded.clear();
}

std::vector<SimOperation> SimFileSystem::recorded() const {
  const MutexLock lock(&state_->mutex);
  return state_->recorded;
}

Result<std::string> SimFileSystem::Contents(const std::string& path) const {
  const MutexLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(path));
  return std::string(reinterpret_cast<const char*>(node->data.data()), node->data.size());
}

void SimFileSystem::SetContents(const std::string& path, const std::string& bytes) {
  const MutexLock lock(&state_->mutex);
  const auto [folder_path, name] = Split(path);
  const Result<Node*> folder = state_->FindFolder(folder_path);
  SHEAF_CHECK(folder.ok());
  std::shared_ptr<Node>& node = (*folder)->entries[name];
  if (!node) node = std::make_shared<Node>();
  (*folder)->durable_entries[name] = node;
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  node->data.assign(begin, begin + bytes.size());
  node->durable = node->data;
  node->pending.clear();
}

}  // namespace sheaf::io
