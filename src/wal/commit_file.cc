#include "wal/commit_file.h"

#include <cstring>
#include <utility>
#include <vector>

#include "core/test_hooks.h"

namespace sheaf::wal {
namespace {

std::array<std::byte, kPageBytes> Encode(uint64_t sequence, Lsn durable, bool closed, const std::array<uint8_t, 16>& database_id) {
  CommitSlot slot{};
  slot.sequence = sequence;
  slot.durable_lsn = durable.value;
  slot.closed = closed ? 1 : 0;
  slot.database_id = database_id;
  return EncodeCommitSlot(slot);
}

}  // namespace

Result<std::optional<CommitState>> ReadCommitFile(io::FileSystem* files, const std::string& path,
                                                  const std::array<uint8_t, 16>& database_id) {
  const Result<std::shared_ptr<arrow::Buffer>> read = io::ReadFile(files, path, 1 << 20);
  if (!read.ok() && KindOf(read.status()) == ErrorKind::kNotFound) return std::optional<CommitState>();
  if (!read.ok() && KindOf(read.status()) == ErrorKind::kTooLarge) return MakeStatus(ErrorKind::kCorruption, read.status().message());
  SHEAF_RETURN_NOT_OK(read.status());
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>((*read)->data()), static_cast<size_t>((*read)->size()));
  std::optional<CommitState> best;
  for (size_t slot = 0; slot < 2 && bytes.size() > slot * kPageBytes; ++slot) {
    const std::optional<CommitSlot> found = DecodeCommitSlot(bytes.subspan(slot * kPageBytes));
    if (!found || found->sequence % 2 != slot) continue;
    if (!SameDatabase(found->database_id, database_id)) {
      return MakeError(ErrorKind::kCorruption, "{} belongs to another database; was it copied here?", path);
    }
    if (!best || found->sequence > best->sequence) best = CommitState{Lsn(found->durable_lsn), found->closed == 1, found->sequence};
  }
  if (!best) {
    return MakeError(ErrorKind::kCorruption,
                     "{}: neither slot is valid, so the end of the log cannot be told. Restore a copy of the database", path);
  }
  return best;
}

Result<std::unique_ptr<CommitFile>> CommitFile::Create(io::FileSystem* files, const std::string& path,
                                                       const std::array<uint8_t, 16>& database_id, Lsn durable, uint64_t sequence) {
  std::vector<std::byte> bytes(2 * kPageBytes);
  for (const uint64_t s : {sequence + 1, sequence + 2}) {
    const auto page = Encode(s, durable, false, database_id);
    std::memcpy(bytes.data() + s % 2 * kPageBytes, page.data(), page.size());
  }
  SHEAF_RETURN_NOT_OK(io::WriteFileAtomically(files, path, bytes));
  SHEAF_ASSIGN_OR_RETURN(std::unique_ptr<io::File> file, files->Open(path, io::OpenMode::kReadWrite));
  return std::unique_ptr<CommitFile>(new CommitFile(std::move(file), database_id, sequence + 2));
}

Status CommitFile::Write(Lsn durable, bool closed) {
  SHEAF_RETURN_NOT_OK(failed_);
  const uint64_t sequence = sequence_ + 1;
  const auto page = Encode(sequence, durable, closed, database_id_);
  failed_ = file_->WriteAt(static_cast<int64_t>(sequence % 2) * kPageBytes, page);
  Failpoint("wal.commit_written");
  if (failed_.ok()) failed_ = file_->SyncData();
  SHEAF_RETURN_NOT_OK(failed_);
  sequence_ = sequence;
  Failpoint("wal.commit_synced");
  return Status::OK();
}

}  // namespace sheaf::wal
