/// COMMIT files of whatever bytes: read or refused, never a crash; what is read is the valid slot with the highest sequence,
/// and the file that goes on from it is read back.
///
/// The first byte: bits 0 and 1 mend the checksum of slot 0 and 1, so that what stands behind it counts.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "core/check.h"
#include "io/sim_testing.h"
#include "wal/commit_file.h"

namespace {

using sheaf::Lsn;
namespace wal = sheaf::wal;

constexpr char kPath[] = "/COMMIT";

void Mend(std::string* file, size_t slot) {
  const size_t at = slot * wal::kPageBytes;
  if (file->size() < at + wal::kPageBytes) return;
  wal::CommitSlot mended{};
  std::memcpy(&mended, file->data() + at, sizeof mended);
  const auto page = wal::EncodeCommitSlot(mended);
  std::memcpy(file->data() + at, page.data(), page.size());
}

std::optional<wal::CommitSlot> Slot(const std::string& file, size_t slot) {
  if (file.size() <= slot * wal::kPageBytes) return std::nullopt;
  auto found = wal::DecodeCommitSlot(std::as_bytes(std::span(file)).subspan(slot * wal::kPageBytes));
  return found && found->sequence % 2 == slot ? found : std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string file(reinterpret_cast<const char*>(data + 1), size - 1);
  for (size_t slot = 0; slot < 2; ++slot) {
    if ((data[0] >> slot & 1) != 0) Mend(&file, slot);
  }
  sheaf::io::SimFileSystem disk;
  disk.SetContents(kPath, file);
  const auto first = Slot(file, 0), second = Slot(file, 1);
  const auto& best = first && (!second || first->sequence > second->sequence) ? first : second;
  const std::array<uint8_t, 16> database_id = best ? best->database_id : std::array<uint8_t, 16>{};
  const auto read = wal::ReadCommitFile(&disk, kPath, database_id);
  if (!read.ok()) {
    SHEAF_CHECK(sheaf::KindOf(read.status()) == sheaf::ErrorKind::kCorruption);
    return 0;
  }
  SHEAF_CHECK(best && read->has_value());
  SHEAF_CHECK((*read)->durable.value == best->durable_lsn && (*read)->sequence == best->sequence);
  SHEAF_CHECK((*read)->closed == (best->closed == 1));

  const Lsn next(best->durable_lsn + 1);
  const auto commit = wal::CommitFile::Create(&disk, kPath, database_id, next, best->sequence);
  SHEAF_CHECK(commit.ok() && (*commit)->Write(next, /*closed=*/true).ok());
  const auto again = wal::ReadCommitFile(&disk, kPath, database_id);
  SHEAF_CHECK(again.ok() && *again && (*again)->durable == next && (*again)->closed);
  return 0;
}
