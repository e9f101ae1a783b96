#include "io/file_system.h"

#include <arrow/buffer.h>

#include "core/test_hooks.h"

namespace sheaf::io {

Result<int64_t> FileSystem::TotalBytes(const std::string& path) {
  return MakeError(ErrorKind::kUnsupported, "{}: this file system has no size", path);
}

Result<std::shared_ptr<arrow::Buffer>> ReadFile(FileSystem* files, const std::string& path, int64_t bytes_max) {
  SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files->Open(path, OpenMode::kRead));
  SHEAF_ASSIGN_OR_RETURN(const int64_t size, file->Size());
  if (size > bytes_max) {
    return MakeError(ErrorKind::kTooLarge, "read {}: {} bytes, but at most {} are expected here", path, size, bytes_max);
  }
  SHEAF_ASSIGN_OR_RETURN(std::unique_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(size));
  SHEAF_ASSIGN_OR_RETURN(const int64_t read,
                         file->ReadAt(0, {reinterpret_cast<std::byte*>(buffer->mutable_data()), static_cast<size_t>(size)}));
  if (read != size) return MakeError(ErrorKind::kIo, "read {}: {} bytes came, {} were there before", path, read, size);
  return std::shared_ptr<arrow::Buffer>(std::move(buffer));
}

namespace {

Status WriteNewFile(FileSystem* files, const std::string& path, std::span<const std::byte> bytes) {
  SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files->Open(path, OpenMode::kCreate));
  SHEAF_RETURN_NOT_OK(file->WriteAt(0, bytes));
  Failpoint("io.temporary_written");
  SHEAF_RETURN_NOT_OK(file->Sync());
  Failpoint("io.temporary_synced");
  return file->Close();
}

}  // namespace

Status WriteFileAtomically(FileSystem* files, const std::string& path, std::span<const std::byte> bytes) {
  const std::string temporary = path + ".tmp";
  const Status removed = files->Remove(temporary);  // Left by a crash.
  if (!removed.ok() && KindOf(removed) != ErrorKind::kNotFound) return removed;
  SHEAF_RETURN_NOT_OK(WriteNewFile(files, temporary, bytes));
  SHEAF_RETURN_NOT_OK(files->Rename(temporary, path));
  Failpoint("io.temporary_renamed");
  if (Mutant("no_folder_sync")) return Status::OK();
  const size_t slash = path.rfind('/');
  return files->SyncDirectory(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

}  // namespace sheaf::io
