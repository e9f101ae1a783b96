#include "store/order_monitor_testing.h"

#include <sstream>
#include <string_view>

#include <nlohmann/json.hpp>

#include "parts/manifest.h"
#include "parts/part.h"
#include "wal/segments.h"

namespace sheaf::store {
namespace {

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

OrderMonitor::OrderMonitor(io::SimFileSystem* disk, const std::string& directory) : disk_(disk), paths_(directory) {
  disk_->SetFaultHook([this](const io::SimOperation& operation) {
    See(operation);
    return Status::OK();
  });
}

OrderMonitor::~OrderMonitor() { disk_->SetFaultHook(nullptr); }

std::vector<std::string> OrderMonitor::violations() const {
  const MutexLock lock(&mutex_);
  return violations_;
}

int64_t OrderMonitor::switches() const {
  const MutexLock lock(&mutex_);
  return switches_;
}

int64_t OrderMonitor::removals() const {
  const MutexLock lock(&mutex_);
  return removals_;
}

void OrderMonitor::Note(const std::string& what) { violations_.push_back(what); }

void OrderMonitor::See(const io::SimOperation& operation) {
  const MutexLock lock(&mutex_);
  switch (operation.kind) {
    case io::SimOp::kWrite:
    case io::SimOp::kAllocate:
    case io::SimOp::kTruncate: return SeeWrite(operation);
    case io::SimOp::kSync:
      files_[operation.path].written = false;
      files_[operation.path].synced = true;
      return;
    case io::SimOp::kSyncDirectory: return SeeFolderSync(operation.path);
    case io::SimOp::kRename: return SeeRename(operation);
    case io::SimOp::kLink: {
      FileState linked = files_[operation.path];
      linked.name_synced = false;
      files_[operation.to] = linked;
      return;
    }
    case io::SimOp::kRemove:
      SeeLeaving(operation.path);
      files_.erase(operation.path);
      return;
    default: return;
  }
}

void OrderMonitor::SeeWrite(const io::SimOperation& operation) {
  FileState& file = files_[operation.path];
  const bool may_change = FolderOf(operation.path) == paths_.log || operation.path == paths_.lock;
  if (file.synced && !may_change) Note("written again after it was synced: " + operation.path);
  file.written = true;
}

void OrderMonitor::SeeRename(const io::SimOperation& operation) {
  const FileState state = files_[operation.path];
  if (state.written || !state.synced) Note("renamed before its bytes were synced: " + operation.path + " to " + operation.to);
  if (operation.to == io::Join(paths_.root, "CURRENT")) SeeSwitch(operation.path);
  SeeLeaving(operation.path);
  files_.erase(operation.path);
  files_[operation.to] = {state.written, state.synced, false};
}

void OrderMonitor::ExpectDurable(const std::string& path, const std::string& why) {
  const auto found = files_.find(path);
  if (found == files_.end()) return Note(why + " names a file that nobody made: " + path);
  const FileState& file = found->second;
  if (!file.synced || file.written) Note(why + " names a file that is not synced: " + path);
  if (!file.name_synced) Note(why + " names a file whose folder is not synced: " + path);
}

OrderMonitor::Named OrderMonitor::NamedBy(const std::string& manifest) {
  Named named;
  const std::string path = io::Join(paths_.root, manifest);
  named.files.insert(path);
  const auto bytes = disk_->Contents(path);
  const auto state = bytes.ok() ? parts::DecodeManifest(*bytes) : Result<parts::ManifestState>(bytes.status());
  if (!state.ok()) {
    Note("CURRENT names a manifest that cannot be read: " + state.status().ToString());
    return named;
  }
  named.covered = state->covered;
  for (const parts::PartInfo& part : state->parts) {
    named.files.insert(io::Join(paths_.parts, part.file_name));
    named.files.insert(io::Join(paths_.parts, parts::IndexFileName(part.id)));
    if (!part.dead_file.empty()) named.files.insert(io::Join(paths_.parts, part.dead_file));
  }
  const nlohmann::json extra = nlohmann::json::parse(state->extra_json, nullptr, false);
  if (extra.is_object() && extra.contains("batch_ids")) {
    for (const auto& name : extra["batch_ids"]) named.files.insert(io::Join(paths_.batch_ids, name.get<std::string>()));
  }
  return named;
}

/// CURRENT reads "MANIFEST-<n> <sum> MANIFEST-<n before> <sum> <sum>".
void OrderMonitor::SeeSwitch(const std::string& from) {
  ++switches_;
  std::istringstream words(disk_->Contents(from).ValueOr(""));
  std::string newest, before, sum;
  words >> newest >> sum >> before;
  coming_ = NamedBy(newest);
  coming_before_ = before.starts_with("MANIFEST-") ? NamedBy(before) : Named();
  for (const std::string& path : coming_.files) ExpectDurable(path, "CURRENT's " + newest);
  switching_ = true;
}

void OrderMonitor::SeeFolderSync(const std::string& folder) {
  for (auto& [path, file] : files_) file.name_synced |= FolderOf(path) == folder;
  if (folder != paths_.root || !switching_) return;
  switching_ = false;
  current_ = coming_;
  before_ = coming_before_;
}

/// A name goes: by removal, or by a rename to another.
void OrderMonitor::SeeLeaving(const std::string& path) {
  ++removals_;
  for (const Named* named : {&current_, &before_}) {
    if (named->files.contains(path)) Note("removed while a manifest that counts names it: " + path);
  }
  if (switching_ && (coming_.files.contains(path) || coming_before_.files.contains(path))) {
    Note("removed while the manifest that comes names it: " + path);
  }
  const auto first = FolderOf(path) == paths_.log ? wal::ParseSegmentName(NameOf(path)) : std::nullopt;
  if (!first) return;
  if (switching_) Note("a segment leaves the log while a switch of CURRENT is not durable: " + path);
  const auto next = files_.upper_bound(path);
  const bool in_log = next != files_.end() && FolderOf(next->first) == paths_.log;
  const auto next_first = in_log ? wal::ParseSegmentName(NameOf(next->first)) : std::nullopt;
  if (!next_first) return Note("the newest segment leaves the log: " + path);
  if (next_first->value - 1 > std::min(current_.covered, before_.covered).value) {
    Note(fmt::format("a segment with entries through {} leaves the log, but two manifests cover {} only: {}", next_first->value - 1,
                     std::min(current_.covered, before_.covered).value, path));
  }
}

}  // namespace sheaf::store
