/// Which of our files a path names: by its name, which our code gave it.

#pragma once

#include <string>

#include "core/status.h"

namespace sheaf::cli {

enum class FileKind {
  kManifest, kCurrent, kLogSegment, kLogCommit, kPartIndex, kHotPart, kColdPart, kDeleteVector, kBatchIds, kSnapshotMark, kLock,
};

/// NotFound (no such file), Invalid (none of ours).
Result<FileKind> KindOfFile(const std::string& path);

/// The folder of a path, "." where it has none, and its last component.
std::string FolderOf(const std::string& path);
std::string NameOf(const std::string& path);

}  // namespace sheaf::cli
