#include "io/sim_testing.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "io/sim_state_testing.h"

namespace sheaf::io {
namespace {

void WriteInto(PendingChange::Bytes* data, int64_t offset, std::span<const std::byte> bytes) {
  const auto end = static_cast<size_t>(offset) + bytes.size();
  if (data->size() < end) data->resize(end);
  std::copy(bytes.begin(), bytes.end(), data->begin() + offset);
}

bool Coin(std::mt19937_64* random) { return ((*random)() >> 17 & 1) != 0; }

}  // namespace

std::pair<std::string, std::string> SplitPath(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

Status PowerIsOff(const std::string& path) { return MakeError(ErrorKind::kIo, "{}: the simulated power is off", path); }

void PendingChange::ApplyTo(Bytes* data) const {
  if (length) {
    data->resize(static_cast<size_t>(*length));
  } else {
    WriteInto(data, offset, bytes);
  }
}

void PendingChange::ApplyLength(Bytes* data) const {
  if (static_cast<int64_t>(data->size()) < end()) data->resize(static_cast<size_t>(end()));
}

void PendingChange::ApplySectors(int64_t first, int64_t last, Bytes* data) const {
  const int64_t from = std::max(offset, (offset / kSectorBytes + first) * kSectorBytes);
  const int64_t to = std::min(end(), (offset / kSectorBytes + last) * kSectorBytes);
  if (from < to) WriteInto(data, from, std::span(bytes).subspan(static_cast<size_t>(from - offset), static_cast<size_t>(to - from)));
}

void PendingChange::ApplyPart(std::mt19937_64* random, Bytes* data) const {
  if (length) {
    if (Coin(random)) ApplyTo(data);
    return;
  }
  if (Coin(random)) ApplyLength(data);  // Size before data.
  if (Coin(random)) return;
  const bool most = Coin(random);  // A cut in few places, or shreds.
  for (int64_t sector = 0; sector < sectors(); ++sector) {
    const bool keep = most ? (*random)() % 16 != 0 : Coin(random);
    if (keep) ApplySectors(sector, sector + 1, data);
  }
}

class SimFileSystem::SimFile : public File {
 public:
  SimFile(std::shared_ptr<State> state, std::shared_ptr<Node> node, std::string path, bool writable)
      : state_(std::move(state)), node_(std::move(node)), path_(std::move(path)), writable_(writable) {}

  Result<int64_t> ReadAt(int64_t offset, std::span<std::byte> out) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kRead, path_, offset, static_cast<int64_t>(out.size())}));
    SHEAF_RETURN_NOT_OK(CheckAlignment(offset, out));
    const StateLock lock(&state_->mutex);
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
    const StateLock lock(&state_->mutex);
    if (state_->operations >= state_->power_off_after && !fault.ok()) return fault;
    if (!writable_) return MakeError(ErrorKind::kIo, "write {}: opened for reading", path_);
    SHEAF_RETURN_NOT_OK(state_->Grow(*node_, offset + length, path_));
    if (!fault.ok()) change.bytes.resize(state_->random() % (change.bytes.size() + 1));
    state_->Change(node_, std::move(change));
    return fault;
  }

  Status Allocate(int64_t length) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kAllocate, path_, 0, length}));
    const StateLock lock(&state_->mutex);
    SHEAF_RETURN_NOT_OK(state_->Grow(*node_, length, path_));
    if (length > static_cast<int64_t>(node_->data.size())) Resize(length);
    return Status::OK();
  }

  Status Truncate(int64_t length) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kTruncate, path_, 0, length}));
    const StateLock lock(&state_->mutex);
    Resize(length);
    return Status::OK();
  }

  Status SyncData() override {
    const Status fault = state_->Begin({SimOp::kSync, path_});
    const StateLock lock(&state_->mutex);
    if (state_->operations >= state_->power_off_after && !fault.ok()) return fault;
    if (node_->sync_failed) state_->violations.push_back("second sync after a failed one: " + path_);
    // After a failed sync the pages count as clean: what did not get to the disk never will.
    for (const auto& change : node_->pending) {
      fault.ok() ? change->ApplyTo(&node_->durable) : change->ApplyPart(&state_->random, &node_->durable);
    }
    node_->pending.clear();
    if (!fault.ok()) node_->sync_failed = true;
    SHEAF_CHECK(fault.ok() || !state_->keeps_journal);
    state_->Synced(node_);
    return fault;
  }
  Status Sync() override { return SyncData(); }

  Result<int64_t> Size() override {
    const StateLock lock(&state_->mutex);
    return static_cast<int64_t>(node_->data.size());
  }

  Result<std::shared_ptr<arrow::Buffer>> Map(int64_t length, Access) override {
    SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kMap, path_, 0, length}));
    const StateLock lock(&state_->mutex);
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
    state_->Change(node_, PendingChange{0, {}, length});
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
    const StateLock lock(&state_->mutex);
    state_->locked.erase(path_);
  }

 private:
  const std::shared_ptr<State> state_;
  const std::string path_;
};

SimFileSystem::SimFileSystem(uint64_t seed) : SimFileSystem(std::make_shared<State>()) {
  const StateLock lock(&state_->mutex);
  state_->random.seed(seed);
  state_->root->is_directory = true;
}

SimFileSystem::SimFileSystem(std::shared_ptr<State> state) : state_(std::move(state)) {}
SimFileSystem::~SimFileSystem() = default;

Result<std::unique_ptr<File>> SimFileSystem::Open(const std::string& path, OpenMode mode) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kOpen, path}));
  const StateLock lock(&state_->mutex);
  const auto [folder_path, name] = SplitPath(path);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> folder, state_->FindFolder(folder_path));
  const auto entry = folder->entries.find(name);
  std::shared_ptr<Node> node;
  if (mode == OpenMode::kCreate) {
    if (entry != folder->entries.end()) return MakeError(ErrorKind::kAlreadyExists, "create {}: exists already", path);
    node = std::make_shared<Node>();
    state_->ChangeNames(folder, {{name, node}});
  } else {
    if (entry == folder->entries.end()) return MakeError(ErrorKind::kNotFound, "open {}: no such file or folder", path);
    node = entry->second;
    if (node->is_directory) return MakeError(ErrorKind::kIo, "open {}: is a folder", path);
  }
  return std::make_unique<SimFile>(state_, std::move(node), path, mode != OpenMode::kRead);
}

Status SimFileSystem::Rename(const std::string& from, const std::string& to) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kRename, from, 0, 0, to}));
  const StateLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(from));
  const auto [from_path, from_name] = SplitPath(from);
  const auto [to_path, to_name] = SplitPath(to);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> from_folder, state_->FindFolder(from_path));
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> to_folder, state_->FindFolder(to_path));
  if (from_folder == to_folder) {
    if (from_name != to_name) state_->ChangeNames(from_folder, {{from_name, nullptr}, {to_name, node}});
  } else {
    state_->ChangeNames(to_folder, {{to_name, node}});
    state_->ChangeNames(from_folder, {{from_name, nullptr}});
  }
  return Status::OK();
}

Status SimFileSystem::Link(const std::string& from, const std::string& to) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kLink, from, 0, 0, to}));
  const StateLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(from));
  const auto [to_path, to_name] = SplitPath(to);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> folder, state_->FindFolder(to_path));
  if (folder->entries.contains(to_name)) return MakeError(ErrorKind::kAlreadyExists, "link {}: exists already", to);
  state_->ChangeNames(folder, {{to_name, node}});
  return Status::OK();
}

Status SimFileSystem::Remove(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kRemove, path}));
  const StateLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(path));
  if (!node->entries.empty()) return MakeError(ErrorKind::kIo, "remove {}: the folder is not empty", path);
  const auto [folder_path, name] = SplitPath(path);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> folder, state_->FindFolder(folder_path));
  state_->ChangeNames(folder, {{name, nullptr}});
  return Status::OK();
}

Status SimFileSystem::MakeDirectories(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kMakeDirectories, path}));
  const StateLock lock(&state_->mutex);
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder_path = path.substr(0, end);
    const std::shared_ptr<Node> found = state_->Find(folder_path);
    if (found == nullptr) {
      const auto [parent_path, name] = SplitPath(folder_path);
      SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> parent, state_->FindFolder(parent_path));
      auto made = std::make_shared<Node>();
      made->is_directory = true;
      state_->ChangeNames(parent, {{name, made}});
      state_->SyncNames(parent);
    } else if (!found->is_directory) {
      return MakeError(ErrorKind::kIo, "make folder {}: a file is in the way", folder_path);
    }
    if (end != std::string::npos) continue;
    if (found != nullptr) state_->SyncNames(state_->Find(SplitPath(folder_path).first));
    return Status::OK();
  }
}

Status SimFileSystem::SyncDirectory(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kSyncDirectory, path}));
  const StateLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> folder, state_->FindFolder(path));
  state_->SyncNames(folder);
  return Status::OK();
}

Result<std::vector<FileInfo>> SimFileSystem::List(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kList, path}));
  const StateLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> folder, state_->FindFolder(path));
  std::vector<FileInfo> files;
  for (const auto& [name, node] : folder->entries) {
    files.push_back({name, static_cast<int64_t>(node->data.size()), node->is_directory});
  }
  return files;
}

Result<FileInfo> SimFileSystem::Stat(const std::string& path) {
  const StateLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(path));
  return FileInfo{SplitPath(path).second, static_cast<int64_t>(node->data.size()), node->is_directory};
}

Result<std::unique_ptr<FileLock>> SimFileSystem::Lock(const std::string& path) {
  SHEAF_RETURN_NOT_OK(state_->Begin({SimOp::kLock, path}));
  const StateLock lock(&state_->mutex);
  SHEAF_RETURN_NOT_OK(state_->FindFolder(SplitPath(path).first).status());
  if (!state_->locked.insert(path).second) return MakeError(ErrorKind::kUnavailable, "lock {}: held by this process", path);
  return std::make_unique<SimLock>(state_, path);
}

Result<int64_t> SimFileSystem::FreeBytes(const std::string&) {
  const StateLock lock(&state_->mutex);
  if (!state_->capacity) return int64_t{1} << 40;
  return std::max<int64_t>(0, *state_->capacity - State::UsedBy(*state_->root));
}

void SimFileSystem::SetFaultHook(FaultHook hook) {
  const StateLock lock(&state_->mutex);
  state_->hook = std::move(hook);
}

void SimFileSystem::FailNth(SimOp kind, uint64_t n, Status error) {
  const StateLock lock(&state_->mutex);
  state_->nth_faults.emplace_back(kind, n, std::move(error));
}

void SimFileSystem::PowerOffAfter(uint64_t count) {
  const StateLock lock(&state_->mutex);
  state_->power_off_after = count;
}

void SimFileSystem::SetCapacity(std::optional<int64_t> bytes) {
  const StateLock lock(&state_->mutex);
  state_->capacity = bytes;
}

std::unique_ptr<SimFileSystem> SimFileSystem::Crash(std::mt19937_64* random, CrashKeeps keeps) {
  const StateLock lock(&state_->mutex);
  state_->power_off_after = 0;
  std::map<const Node*, std::shared_ptr<Node>> survivors;  // Hard links stay links.
  const auto chance = [&] { return keeps == CrashKeeps::kEverything || (keeps == CrashKeeps::kAnything && Coin(random)); };
  const std::function<std::shared_ptr<Node>(const Node&)> survive = [&](const Node& node) {
    std::shared_ptr<Node>& copy = survivors[&node];
    if (copy) return copy;
    copy = std::make_shared<Node>();
    copy->is_directory = node.is_directory;
    copy->durable = node.durable;
    for (const auto& change : node.pending) {
      if (keeps == CrashKeeps::kEverything) change->ApplyTo(&copy->durable);
      if (keeps == CrashKeeps::kAnything) change->ApplyPart(random, &copy->durable);
    }
    copy->data = copy->durable;
    Node::Entries names = node.durable_entries;
    for (const auto& change : node.pending_names) {
      if (chance()) Node::ApplyNames(*change, &names);
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
  const StateLock lock(&state_->mutex);
  state_->power_off_after = 0;
  auto next = std::make_shared<State>();
  const MutexLock next_lock(&next->mutex);
  next->root = state_->root;
  next->random = state_->random;
  next->capacity = state_->capacity;
  return std::unique_ptr<SimFileSystem>(new SimFileSystem(next));
}

bool SimFileSystem::Busy() { return StateLock::busy > 0; }

std::vector<std::string> SimFileSystem::violations() const {
  const StateLock lock(&state_->mutex);
  return state_->violations;
}

uint64_t SimFileSystem::operations() const {
  const StateLock lock(&state_->mutex);
  return state_->operations;
}

void SimFileSystem::State::AddToJournal(const std::shared_ptr<Node>& node, std::set<const Node*>* visited) {
  if (node == nullptr || !visited->insert(node.get()).second) return;
  if (node->is_directory) {
    Node::NameChange names(node->durable_entries.begin(), node->durable_entries.end());
    journal.push_back({node, nullptr, std::make_shared<const Node::NameChange>(std::move(names))});
  } else {
    journal.push_back({node, std::make_shared<const PendingChange>(PendingChange{0, node->durable, {}}), nullptr});
  }
  journal.push_back({node, nullptr, nullptr});
  for (const auto& change : node->pending) journal.push_back({node, change, nullptr});
  for (const auto& change : node->pending_names) journal.push_back({node, nullptr, change});
  for (const auto& [name, child] : node->entries) AddToJournal(child, visited);
  for (const auto& [name, child] : node->durable_entries) AddToJournal(child, visited);
}

void SimFileSystem::KeepJournal() {
  const StateLock lock(&state_->mutex);
  SHEAF_CHECK(!state_->keeps_journal);
  state_->keeps_journal = true;
  std::set<const Node*> visited;
  state_->AddToJournal(state_->root, &visited);
  state_->journal_begin = state_->journal.size();
}

uint64_t SimFileSystem::journal_size() const {
  const StateLock lock(&state_->mutex);
  return state_->journal.size();
}

void SimFileSystem::Record(bool on) {
  const StateLock lock(&state_->mutex);
  state_->recording = on;
  state_->recorded.clear();
}

std::vector<SimOperation> SimFileSystem::recorded() const {
  const StateLock lock(&state_->mutex);
  return state_->recorded;
}

Result<std::string> SimFileSystem::Contents(const std::string& path) const {
  const StateLock lock(&state_->mutex);
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, state_->FindEntry(path));
  return std::string(reinterpret_cast<const char*>(node->data.data()), node->data.size());
}

void SimFileSystem::SetContents(const std::string& path, const std::string& bytes) {
  const StateLock lock(&state_->mutex);
  const auto [folder_path, name] = SplitPath(path);
  const Result<std::shared_ptr<Node>> folder = state_->FindFolder(folder_path);
  SHEAF_CHECK(folder.ok() && !state_->keeps_journal);
  std::shared_ptr<Node>& node = (*folder)->entries[name];
  if (!node) node = std::make_shared<Node>();
  (*folder)->durable_entries[name] = node;
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  node->data.assign(begin, begin + bytes.size());
  node->durable = node->data;
  node->pending.clear();
}

}  // namespace sheaf::io
