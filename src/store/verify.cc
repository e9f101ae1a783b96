#include "store/verify.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "parts/manifest.h"
#include "store/batch_id_file.h"
#include "store/layout.h"
#include "store/snapshots.h"
#include "wal/archive.h"
#include "wal/format.h"
#include "wal/inspect.h"
#include "wal/recovery.h"
#include "wal/segments.h"

namespace sheaf::store {
namespace {

constexpr int64_t kSmallFileBytesMax = int64_t{1} << 30;

class Checker {
 public:
  Checker(io::FileSystem* files, const std::string& directory, const std::function<void(const std::string&)>& progress, bool snapshots)
      : paths_(directory), progress_(progress), files_(files), snapshots_(snapshots) {}

  Result<DirectoryCheck> Run() {
    SHEAF_RETURN_NOT_OK(files_->Stat(paths_.root).status());
    // A folder without a database is told before a lock is made in it.
    Result<parts::ManifestLoad> load = parts::LoadManifest(files_, paths_.root);
    if (!load.ok() && KindOf(load.status()) == ErrorKind::kNotFound) {
      return MakeError(ErrorKind::kNotFound, "there is no database in {} (no CURRENT)", paths_.root);
    }
    SHEAF_ASSIGN_OR_RETURN(const auto lock, files_->Lock(paths_.lock));
    load = parts::LoadManifest(files_, paths_.root);
    SHEAF_RETURN_NOT_OK(CheckManifests(load));
    if (load.ok()) {
      for (const parts::PartInfo& part : load->state.parts) CheckPart(part);
      SHEAF_RETURN_NOT_OK(CheckBatchIds(load->state.extra_json));
      SHEAF_RETURN_NOT_OK(CheckLog(load->state));
    }
    if (snapshots_) SHEAF_RETURN_NOT_OK(CheckSnapshots());
    if (snapshots_) SHEAF_RETURN_NOT_OK(CheckArchive());
    return std::move(check_);
  }

 private:
  void Count(const std::string& path, int64_t bytes) {
    if (progress_) progress_(path);
    ++check_.files;
    check_.bytes += bytes;
  }

  void Note(const std::string& path, const Status& status) {
    if (!status.ok()) check_.problems.push_back({path, status.message()});
  }

  Status CheckManifests(const Result<parts::ManifestLoad>& load) {
    const std::string current = io::Join(paths_.root, "CURRENT");
    SHEAF_ASSIGN_OR_RETURN(const auto listed, files_->List(paths_.root));
    for (const io::FileInfo& file : listed) {
      if (!file.name.starts_with("MANIFEST-") || file.is_directory) continue;
      const std::string path = io::Join(paths_.root, file.name);
      Count(path, file.bytes);
      SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(files_, path, kSmallFileBytesMax));
      Note(path,
           parts::DecodeManifest({reinterpret_cast<const char*>(bytes->data()), static_cast<size_t>(bytes->size())}).status());
    }
    Count(current, 0);
    if (!load.ok()) {
      Note(current, load.status());
    } else if (load->current_damaged) {
      Note(current, MakeError(ErrorKind::kCorruption, "it is damaged; {} would be used",
                              parts::ManifestFileName(load->state.number)));
    } else if (load->fell_back && check_.problems.empty()) {
      Note(current,
           MakeError(ErrorKind::kCorruption, "the manifest that it names is damaged; the one before would be used"));
    }
    return Status::OK();
  }

  void CheckPart(const parts::PartInfo& part) {
    const std::string path = io::Join(paths_.parts, part.file_name);
    Count(path, part.data_bytes + part.index_bytes);
    if (!part.dead_file.empty()) {
      const std::string dead = io::Join(paths_.parts, part.dead_file);
      const auto stat = files_->Stat(dead);
      Count(dead, stat.ok() ? stat->bytes : 0);
    }
    Note(path, parts::VerifyPart(files_, paths_.parts, part));
  }

  /// The manifest's extra_json names the files of batch ids in "batch_ids".
  Status CheckBatchIds(const std::string& extra_json) {
    const nlohmann::json extra = nlohmann::json::parse(extra_json, nullptr, false);
    if (!extra.is_object() || !extra.contains("batch_ids") || !extra["batch_ids"].is_array()) return Status::OK();
    for (const nlohmann::json& name : extra["batch_ids"]) {
      if (!name.is_string()) continue;
      const std::string path = io::Join(paths_.batch_ids, name.get<std::string>());
      const auto bytes = io::ReadFile(files_, path, kSmallFileBytesMax);
      Count(path, bytes.ok() ? (*bytes)->size() : 0);
      Note(path, !bytes.ok() ? bytes.status()
                             : DecodeBatchIds(
                                   {reinterpret_cast<const char*>((*bytes)->data()), static_cast<size_t>((*bytes)->size())}, path)
                                   .status());
    }
    return Status::OK();
  }

  /// Every segment on its own and the chain through them; then what recovery would say, which knows from the
  /// manifest how far the log must reach: it tells a torn tail, which a crash leaves and which is no damage, from lost entries.
  Status CheckLog(const parts::ManifestState& state) {
    SHEAF_RETURN_NOT_OK(CheckCommit());
    SHEAF_ASSIGN_OR_RETURN(const auto segments, wal::ListSegments(files_, paths_.log));
    for (const wal::SegmentFile& segment : segments) Count(segment.path, segment.bytes);
    SHEAF_ASSIGN_OR_RETURN(const wal::LogVerification log, wal::VerifyLog(files_, paths_.log));
    for (const std::string& problem : log.problems) check_.problems.push_back({paths_.log, problem});
    wal::LogOptions options;
    options.directory = paths_.log;
    if (state.database_uuid.size() == options.database_id.size()) {
      std::copy(state.database_uuid.begin(), state.database_uuid.end(), options.database_id.begin());
    }
    const Status recovered = wal::Recover(files_, options, state.covered, state.durable, [](const wal::LoggedEntry&) {
                               return Status::OK();
                             }).status();
    if (!recovered.ok() && KindOf(recovered) != ErrorKind::kCorruption) return recovered;
    if (check_.problems.empty()) Note(paths_.log, recovered);
    return Status::OK();
  }

  Status CheckSnapshots() {
    const auto list = files_->List(paths_.snapshots);
    if (!list.ok()) return KindOf(list.status()) == ErrorKind::kNotFound ? Status::OK() : list.status();
    for (const io::FileInfo& folder : *list) {
      const std::string path = io::Join(paths_.snapshots, folder.name), mark = io::Join(path, "SNAPSHOT");
      if (!folder.is_directory) continue;
      const Status marked = files_->Stat(mark).status();
      if (!marked.ok() && KindOf(marked) == ErrorKind::kNotFound) continue;  // It never became one.
      Count(mark, 0);
      Note(path, VerifySnapshot(files_, paths_.root, folder.name));
    }
    return Status::OK();
  }

  /// As restoring reads it; its end is the last segment that the log has let go of.
  Status CheckArchive() {
    SHEAF_ASSIGN_OR_RETURN(const auto segments, wal::ListSegments(files_, paths_.archive));
    if (segments.empty()) return Status::OK();
    for (const wal::SegmentFile& segment : segments) Count(segment.path, segment.bytes);
    const Lsn before(segments.front().first.value - 1);
    Note(paths_.archive, wal::ReadArchived(files_, paths_.archive, before, wal::kLsnMax, [](const wal::LoggedEntry&) {
                           return Status::OK();
                         }).status());
    return Status::OK();
  }

  Status CheckCommit() {
    const std::string path = io::Join(paths_.log, "COMMIT");
    const auto bytes = io::ReadFile(files_, path, kSmallFileBytesMax);
    if (!bytes.ok()) return KindOf(bytes.status()) == ErrorKind::kNotFound ? Status::OK() : bytes.status();
    Count(path, (*bytes)->size());
    const auto page_bytes = static_cast<size_t>(wal::kPageBytes);
    const std::span<const std::byte> whole(reinterpret_cast<const std::byte*>((*bytes)->data()),
                                           static_cast<size_t>((*bytes)->size()));
    for (size_t offset = 0; offset + page_bytes <= whole.size(); offset += page_bytes) {
      const std::span<const std::byte> page = whole.subspan(offset, page_bytes);
      const auto slot = wal::DecodeCommitSlot(page);
      if (!slot || !std::ranges::equal(wal::EncodeCommitSlot(*slot), page)) {
        Note(path, MakeError(ErrorKind::kCorruption, "the slot at offset {} is damaged; the other one would be used", offset));
      }
    }
    return Status::OK();
  }

  const DirectoryLayout paths_;
  const std::function<void(const std::string&)>& progress_;
  io::FileSystem* const files_;
  const bool snapshots_;
  DirectoryCheck check_;
};

}  // namespace

Result<DirectoryCheck> VerifyDirectory(io::FileSystem* files, const std::string& directory,
                                       const std::function<void(const std::string& path)>& progress, bool snapshots) {
  return Checker(files, directory, progress, snapshots).Run();
}

}  // namespace sheaf::store
