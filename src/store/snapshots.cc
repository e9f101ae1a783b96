#include "store/snapshots.h"

#include <algorithm>
#include <charconv>
#include <future>
#include <memory>
#include <set>
#include <span>
#include <type_traits>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/crc32c.h"
#include "core/test_hooks.h"
#include "parts/delete_vector.h"
#include "parts/manifest.h"
#include "parts/part.h"
#include "store/batch_id_file.h"
#include "store/layout.h"
#include "store/local_database.h"
#include "wal/archive.h"

namespace sheaf::store {
namespace {

using nlohmann::json;

constexpr char kMark[] = "SNAPSHOT";
constexpr uint64_t kMarkVersion = 1;
constexpr int64_t kMarkBytesMax = 1 << 16;
constexpr int64_t kCopyBytes = int64_t{1} << 20;

std::string SnapshotsOf(const std::string& directory) { return DirectoryLayout(directory).snapshots; }
std::string FolderOf(const std::string& directory, const std::string& id) { return io::Join(SnapshotsOf(directory), id); }

Result<bool> IsThere(io::FileSystem* files, const std::string& path) {
  const auto info = files->Stat(path);
  if (info.ok()) return true;
  if (KindOf(info.status()) == ErrorKind::kNotFound) return false;
  return info.status();
}

/// The mark: one line of JSON, and on a second one the CRC32C of the first.
std::string EncodeMark(const SnapshotInfo& info) {
  json mark = json::object();
  mark["version"] = kMarkVersion;
  mark["id"] = info.id;
  mark["lsn"] = info.lsn.value;
  mark["created_ns"] = info.created_ns;
  mark["parts"] = info.parts;
  mark["bytes"] = info.bytes;
  const std::string line = mark.dump();
  return fmt::format("{}\n{:08x}\n", line, Crc32c(std::as_bytes(std::span(line))));
}

/// Whole numbers of a mark. Remembers whether all were there.
class MarkNumbers {
 public:
  explicit MarkNumbers(const json& mark) : mark_(mark) {}
  template <typename T>
  T Take(const char* key) {
    const auto found = mark_.find(key);
    const bool sound = found != mark_.end() && (std::is_unsigned_v<T> ? found->is_number_unsigned() : found->is_number_integer());
    sound_ = sound_ && sound;
    return sound ? found->template get<T>() : T();
  }
  bool sound() const { return sound_; }

 private:
  const json& mark_;
  bool sound_ = true;
};

/// The mark of snapshot `id`, which lies in the folder of that name.
Result<SnapshotInfo> ReadMark(io::FileSystem* files, const std::string& directory, const std::string& id) {
  const std::string path = io::Join(FolderOf(directory, id), kMark);
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(files, path, kMarkBytesMax));
  const std::string_view text(*bytes);
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  const bool sound =
      end != std::string_view::npos && text.substr(end + 1) == fmt::format("{:08x}\n", Crc32c(std::as_bytes(std::span(line))));
  const json mark = sound ? json::parse(line, nullptr, false) : json();
  if (!mark.is_object()) return MakeError(ErrorKind::kCorruption, "{} is damaged", path);
  MarkNumbers numbers(mark);
  const auto version = numbers.Take<uint64_t>("version");
  if (version > kMarkVersion) {
    return MakeError(ErrorKind::kUnsupported, "{} was written by a newer version of this program", path);
  }
  SnapshotInfo info;
  info.id = id;
  info.lsn = Lsn(numbers.Take<uint64_t>("lsn"));
  info.created_ns = numbers.Take<int64_t>("created_ns");
  info.parts = numbers.Take<int64_t>("parts");
  info.bytes = numbers.Take<int64_t>("bytes");
  if (!numbers.sound() || version == 0) return MakeError(ErrorKind::kCorruption, "{} is damaged: numbers are missing", path);
  if (const json marked = mark.value("id", json()); marked != id) {
    return MakeError(ErrorKind::kCorruption, "{} is the mark of another snapshot, {}; was the folder renamed?", path, marked.dump());
  }
  return info;
}

Result<SnapshotInfo> Find(io::FileSystem* files, const std::string& directory, const std::string& id) {
  SHEAF_RETURN_NOT_OK(CheckSnapshotId(id));
  auto mark = ReadMark(files, directory, id);
  if (mark.ok() || KindOf(mark.status()) != ErrorKind::kNotFound) return mark;
  SHEAF_ASSIGN_OR_RETURN(const auto all, ListSnapshots(files, directory));
  std::vector<std::string> ids;
  for (const SnapshotInfo& info : all) ids.push_back(info.id);
  return MakeError(ErrorKind::kNotFound, "there is no snapshot {} in {}; there {}", id, directory,
                   ids.empty() ? std::string("are none") : fmt::format("are {}", fmt::join(ids, ", ")));
}

Status CopyFile(io::FileSystem* files, const std::string& from, const std::string& to) {
  const std::string temporary = to + ".tmp";
  SHEAF_ASSIGN_OR_RETURN(const auto source, files->Open(from, io::OpenMode::kRead));
  SHEAF_ASSIGN_OR_RETURN(const int64_t size, source->Size());
  if (const Status removed = files->Remove(temporary); !removed.ok() && KindOf(removed) != ErrorKind::kNotFound) return removed;
  SHEAF_ASSIGN_OR_RETURN(const auto target, files->Open(temporary, io::OpenMode::kCreate));
  std::vector<std::byte> chunk(static_cast<size_t>(std::clamp<int64_t>(size, 1, kCopyBytes)));
  for (int64_t at = 0; at < size;) {
    SHEAF_ASSIGN_OR_RETURN(const int64_t read, source->ReadAt(at, chunk));
    if (read == 0) return MakeError(ErrorKind::kIo, "{} became shorter while it was copied", from);
    SHEAF_RETURN_NOT_OK(target->WriteAt(at, std::span(chunk).first(static_cast<size_t>(read))));
    at += read;
  }
  SHEAF_RETURN_NOT_OK(target->Sync());
  SHEAF_RETURN_NOT_OK(target->Close());
  return files->Rename(temporary, to);
}

/// The folders of a snapshot that hold files, relative to it; the first is its own.
constexpr const char* kFolders[] = {"", "parts", "batch-ids"};

std::string Under(const std::string& root, const char* folder) { return *folder == '\0' ? root : io::Join(root, folder); }

/// Copies one snapshot's files into a backup, or links those that `sibling`, an older one there, has.
class SnapshotCopy {
 public:
  SnapshotCopy(io::FileSystem* files, std::string from, std::string to, std::vector<std::string> siblings,
               const BackupProgress& progress)
      : files_(files), from_(std::move(from)), to_(std::move(to)), siblings_(std::move(siblings)), progress_(progress) {}

  Result<BackupReport> Run() {
    for (const char* folder : {"parts", "batch-ids", ""}) SHEAF_RETURN_NOT_OK(CopyFolder(folder));
    return report_;
  }

 private:
  Status CopyFolder(const char* folder) {
    const std::string from = Under(from_, folder), to = Under(to_, folder);
    SHEAF_RETURN_NOT_OK(files_->MakeDirectories(to));
    SHEAF_ASSIGN_OR_RETURN(const auto list, ListIfThere(files_, from));
    for (const io::FileInfo& file : list) {
      if (file.is_directory || file.name == kMark) continue;
      SHEAF_RETURN_NOT_OK(CopyOne(folder, file));
      ++report_.files;
      if (progress_) progress_(report_);
    }
    return files_->SyncDirectory(to);
  }

  Status CopyOne(const char* folder, const io::FileInfo& file) {
    const std::string to = io::Join(Under(to_, folder), file.name);
    if (const auto there = files_->Stat(to); there.ok() && there->bytes == file.bytes)
      return Status::OK();  // Of a copy that was interrupted.
    if (*folder != '\0') {
      for (const std::string& sibling : siblings_) {
        const std::string same = io::Join(Under(sibling, folder), file.name);
        const auto there = files_->Stat(same);
        if (there.ok() && there->bytes == file.bytes && files_->Link(same, to).ok()) return Status::OK();
      }
    }
    SHEAF_RETURN_NOT_OK(CopyFile(files_, io::Join(Under(from_, folder), file.name), to));
    ++report_.files_copied;
    report_.bytes_copied += file.bytes;
    return Status::OK();
  }

  io::FileSystem* const files_;
  const std::string from_, to_;
  const std::vector<std::string> siblings_;
  const BackupProgress& progress_;
  BackupReport report_;
};

Result<std::string> UuidOf(io::FileSystem* files, const std::string& folder) {
  SHEAF_ASSIGN_OR_RETURN(const parts::ManifestLoad manifest, parts::LoadManifest(files, folder));
  return manifest.state.database_uuid;
}

/// The newest snapshot from which the target can be reached.
Result<SnapshotInfo> Choose(io::FileSystem* files, const std::string& directory, const std::string& id,
                            const RestoreTarget& target) {
  if (!id.empty()) {
    SHEAF_ASSIGN_OR_RETURN(SnapshotInfo chosen, Find(files, directory, id));
    if ((target.lsn && *target.lsn < chosen.lsn) || (target.time_ns && *target.time_ns < chosen.created_ns)) {
      return MakeError(ErrorKind::kInvalid, "snapshot {} is of LSN {}, which is behind the target; name an older one, or none",
                       id, chosen.lsn);
    }
    return chosen;
  }
  SHEAF_ASSIGN_OR_RETURN(const auto all, ListSnapshots(files, directory));
  for (size_t i = all.size(); i-- > 0;) {
    const bool late = (target.lsn && all[i].lsn > *target.lsn) || (target.time_ns && all[i].created_ns > *target.time_ns);
    if (!late) return all[i];
  }
  if (all.empty()) return MakeError(ErrorKind::kNotFound, "there is no snapshot in {}", directory);
  return MakeError(ErrorKind::kInvalid, "the oldest snapshot in {} is {} of LSN {}, which is behind the target", directory,
                   all.front().id, all.front().lsn);
}

/// Links or copies the snapshot's files to `to` and makes a manifest there. Its parts say whose they are, so the identity stays.
Status PlaceSnapshot(io::FileSystem* files, const std::string& from, const std::string& to) {
  SHEAF_ASSIGN_OR_RETURN(parts::ManifestLoad manifest, parts::LoadManifest(files, from));
  for (const char* folder : {"parts", "batch-ids"}) {
    const std::string source = io::Join(from, folder), target = io::Join(to, folder);
    SHEAF_RETURN_NOT_OK(files->MakeDirectories(target));
    SHEAF_ASSIGN_OR_RETURN(const auto list, ListIfThere(files, source));
    for (const io::FileInfo& file : list)
      SHEAF_RETURN_NOT_OK(PlaceFile(files, io::Join(source, file.name), io::Join(target, file.name)));
    SHEAF_RETURN_NOT_OK(files->SyncDirectory(target));
  }
  manifest.state.number = 1;
  return parts::CommitManifest(files, to, manifest.state);
}

/// Appends entries of another log to a database that was at the LSN before the first, so that LSNs stay.
class Forward {
 public:
  Forward(LocalDatabase* database, const RestoreTarget& target) : database_(database), target_(target) {}

  Status Visit(const wal::LoggedEntry& entry) {
    const bool later = (target_.time_ns && entry.time_ns > *target_.time_ns) || (target_.lsn && entry.lsn > *target_.lsn);
    if (later) return reached_ = MakeError(ErrorKind::kCancelled, "the target is reached");
    SHEAF_RETURN_NOT_OK(database_->AppendLogged(entry));
    last_ = entry.lsn;
    ++entries_;
    return Status::OK();
  }
  /// Goes through one folder of segments. True: the target was reached.
  Result<bool> Through(io::FileSystem* files, const std::string& folder, Lsn after) {
    SHEAF_ASSIGN_OR_RETURN(const bool there, IsThere(files, folder));
    if (!there) return false;
    const auto read = wal::ReadArchived(files, folder, std::max(after, last_), wal::kLsnMax,
                                        [this](const wal::LoggedEntry& entry) { return Visit(entry); });
    if (!reached_.ok()) return true;
    SHEAF_RETURN_NOT_OK(read.status());
    return target_.lsn && last_ == *target_.lsn;
  }
  Lsn last() const { return last_; }
  int64_t entries() const { return entries_; }

 private:
  LocalDatabase* const database_;
  const RestoreTarget target_;
  Status reached_;
  Lsn last_;
  int64_t entries_ = 0;
};

}  // namespace

Status PlaceFile(io::FileSystem* files, const std::string& from, const std::string& to) {
  const Status linked = files->Link(from, to);
  if (linked.ok() || KindOf(linked) == ErrorKind::kNotFound || KindOf(linked) == ErrorKind::kAlreadyExists) return linked;
  return CopyFile(files, from, to);
}

Status CheckSnapshotId(const std::string& id) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  };
  if (!id.empty() && id.size() <= 100 && std::all_of(id.begin(), id.end(), allowed)) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "'{}' cannot name a snapshot: letters, digits, - and _ can, 100 at most", id);
}

Result<std::vector<SnapshotInfo>> ListSnapshots(io::FileSystem* files, const std::string& directory) {
  std::vector<SnapshotInfo> snapshots;
  SHEAF_ASSIGN_OR_RETURN(const auto list, ListIfThere(files, SnapshotsOf(directory)));
  for (const io::FileInfo& folder : list) {
    auto mark = ReadMark(files, directory, folder.name);
    if (!mark.ok() && KindOf(mark.status()) == ErrorKind::kNotFound) continue;
    SHEAF_RETURN_NOT_OK(mark.status());
    snapshots.push_back(*std::move(mark));
  }
  std::sort(snapshots.begin(), snapshots.end(),
            [](const auto& a, const auto& b) { return std::tie(a.lsn, a.created_ns) < std::tie(b.lsn, b.created_ns); });
  return snapshots;
}

Status MarkSnapshot(io::FileSystem* files, const std::string& directory, const SnapshotInfo& info) {
  const std::string mark = EncodeMark(info);
  return io::WriteFileAtomically(files, io::Join(FolderOf(directory, info.id), kMark), std::as_bytes(std::span(mark)));
}

Status VerifySnapshot(io::FileSystem* files, const std::string& directory, const std::string& id) {
  SHEAF_ASSIGN_OR_RETURN(const SnapshotInfo info, Find(files, directory, id));
  const DirectoryLayout paths(FolderOf(directory, id));
  SHEAF_ASSIGN_OR_RETURN(const parts::ManifestLoad manifest, parts::LoadManifest(files, paths.root));
  if (manifest.fell_back || manifest.current_damaged || manifest.state.covered != info.lsn) {
    return MakeError(ErrorKind::kCorruption, "the manifest of snapshot {} in {} is damaged, or another's", id, paths.root);
  }
  for (const parts::PartInfo& part : manifest.state.parts) SHEAF_RETURN_NOT_OK(parts::VerifyPart(files, paths.parts, part));
  SHEAF_ASSIGN_OR_RETURN(const auto list, ListIfThere(files, paths.batch_ids));
  for (const io::FileInfo& file : list) {
    SHEAF_RETURN_NOT_OK(ReadBatchIds(files, io::Join(paths.batch_ids, file.name)).status());
  }
  return Status::OK();
}

Status RemoveTree(io::FileSystem* files, const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const auto list, ListIfThere(files, path));
  for (const io::FileInfo& file : list) {
    const std::string inside = io::Join(path, file.name);
    SHEAF_RETURN_NOT_OK(file.is_directory ? RemoveTree(files, inside) : files->Remove(inside));
  }
  const Status removed = files->Remove(path);
  return removed.ok() || KindOf(removed) != ErrorKind::kNotFound ? removed : Status::OK();
}

Status RemoveSnapshot(io::FileSystem* files, const std::string& directory, const std::string& id) {
  SHEAF_RETURN_NOT_OK(Find(files, directory, id).status());
  const std::string folder = FolderOf(directory, id);
  SHEAF_RETURN_NOT_OK(files->Remove(io::Join(folder, kMark)));
  Failpoint("store.snapshot_unmarked_again");
  SHEAF_RETURN_NOT_OK(files->SyncDirectory(folder));
  return RemoveTree(files, folder);
}

Result<BackupReport> Backup(io::FileSystem* files, const std::string& directory, const std::string& id, const std::string& target,
                            const BackupProgress& progress) {
  SHEAF_ASSIGN_OR_RETURN(const SnapshotInfo info, Find(files, directory, id));
  SHEAF_ASSIGN_OR_RETURN(const std::string uuid, UuidOf(files, FolderOf(directory, id)));
  SHEAF_ASSIGN_OR_RETURN(const auto there, ListSnapshots(files, target));
  std::vector<std::string> siblings;  // Newest first: it has most in common.
  for (size_t i = there.size(); i-- > 0;) {
    SHEAF_ASSIGN_OR_RETURN(const std::string other, UuidOf(files, FolderOf(target, there[i].id)));
    if (other != uuid) {
      return MakeError(ErrorKind::kAlreadyExists, "{} holds backups of another database; choose another folder", target);
    }
    if (there[i].id == id) return BackupReport{};
    siblings.push_back(FolderOf(target, there[i].id));
  }
  SHEAF_ASSIGN_OR_RETURN(BackupReport report,
                         SnapshotCopy(files, FolderOf(directory, id), FolderOf(target, id), std::move(siblings), progress).Run());
  // Segments of the archive never change; those that begin before the snapshot's end may matter to older ones in the backup.
  const std::string archive = DirectoryLayout(directory).archive, to = DirectoryLayout(target).archive;
  SHEAF_ASSIGN_OR_RETURN(const auto segments, ListIfThere(files, archive));
  if (!segments.empty()) SHEAF_RETURN_NOT_OK(files->MakeDirectories(to));
  for (const io::FileInfo& segment : segments) {
    const auto copied = files->Stat(io::Join(to, segment.name));
    if (copied.ok() && copied->bytes == segment.bytes) continue;
    SHEAF_RETURN_NOT_OK(CopyFile(files, io::Join(archive, segment.name), io::Join(to, segment.name)));
    ++report.files_copied;
    report.bytes_copied += segment.bytes;
  }
  if (!segments.empty()) SHEAF_RETURN_NOT_OK(files->SyncDirectory(to));
  SHEAF_RETURN_NOT_OK(MarkSnapshot(files, target, info));
  return report;
}

Result<RestoreReport> Restore(io::FileSystem* files, io::Clock* clock, const std::string& directory, const std::string& id,
                              const std::string& to, const RestoreTarget& target) {
  if (target.lsn && target.time_ns) return MakeError(ErrorKind::kInvalid, "a restore stops at an LSN or at a time, not at both");
  SHEAF_ASSIGN_OR_RETURN(const auto there, ListIfThere(files, to));
  if (!there.empty()) return MakeError(ErrorKind::kAlreadyExists, "{} is not empty; restore to a new directory", to);
  SHEAF_ASSIGN_OR_RETURN(const SnapshotInfo snapshot, Choose(files, directory, id, target));
  const DirectoryLayout from(directory);
  std::unique_ptr<io::FileLock> lock;  // Only the log of a database that is open must not be read beside it.
  const bool forward = target.time_ns || (target.lsn && *target.lsn > snapshot.lsn);
  if (forward) {
    SHEAF_ASSIGN_OR_RETURN(const bool is_database, IsThere(files, from.log));
    if (is_database) {
      SHEAF_ASSIGN_OR_RETURN(lock, files->Lock(from.lock));
    }
  }
  SHEAF_RETURN_NOT_OK(files->MakeDirectories(to));
  SHEAF_RETURN_NOT_OK(PlaceSnapshot(files, FolderOf(directory, snapshot.id), to));
  Options options;
  options.directory = to;
  options.snapshot_interval_ms = 0;
  SHEAF_ASSIGN_OR_RETURN(const auto opened, LocalDatabase::Open(files, clock, options));
  auto* const database = static_cast<LocalDatabase*>(opened.get());
  RestoreReport report{snapshot.id, snapshot.lsn, 0};
  if (forward) {
    Forward entries(database, target);
    SHEAF_ASSIGN_OR_RETURN(bool done, entries.Through(files, from.archive, snapshot.lsn));
    if (!done) {
      SHEAF_ASSIGN_OR_RETURN(done, entries.Through(files, from.log, snapshot.lsn));
    }
    report.lsn = std::max(snapshot.lsn, entries.last());
    report.entries = entries.entries();
    if (target.lsn && report.lsn != *target.lsn) {
      return MakeError(ErrorKind::kNotFound, "the log reaches to LSN {} only, not to {}", report.lsn, *target.lsn);
    }
  }
  SHEAF_RETURN_NOT_OK(database->Close());
  return report;
}

}  // namespace sheaf::store
