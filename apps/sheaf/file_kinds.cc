#include "file_kinds.h"

#include "io/posix.h"
#include "wal/segments.h"

namespace sheaf::cli {

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Result<FileKind> KindOfFile(const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const io::FileInfo info, io::PosixFileSystem()->Stat(path));
  if (info.is_directory) return MakeError(ErrorKind::kInvalid, "{} is a folder; `sheaf verify` looks at a whole database", path);
  const std::string name = NameOf(path);
  if (name.starts_with("MANIFEST-")) return FileKind::kManifest;
  if (name == "CURRENT") return FileKind::kCurrent;
  if (name == "LOCK") return FileKind::kLock;
  if (name == "SNAPSHOT") return FileKind::kSnapshotMark;
  if (name == "COMMIT") return FileKind::kLogCommit;
  if (wal::ParseSegmentName(name)) return FileKind::kLogSegment;
  if (name.starts_with("part-") && name.ends_with(".idx")) return FileKind::kPartIndex;
  if (name.starts_with("part-") && name.ends_with(".arrow")) return FileKind::kHotPart;
  if (name.starts_with("part-") && name.ends_with(".parquet")) return FileKind::kColdPart;
  if (name.starts_with("part-") && name.ends_with(".del")) return FileKind::kDeleteVector;
  if (name.starts_with("batch-ids") || FolderOf(path).ends_with("batch-ids")) return FileKind::kBatchIds;
  return MakeError(ErrorKind::kInvalid,
                   "{} has no name that Sheaf gives to its files (MANIFEST-…, CURRENT, wal-….log, COMMIT, part-…, SNAPSHOT)", path);
}

}  // namespace sheaf::cli
