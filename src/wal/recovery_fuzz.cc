/// Recovery of whatever bytes a segment and a COMMIT file may hold: it accepts or refuses, never crashes,
/// never allocates more than the file could fill, and says the same twice.
///
/// The first byte says what to do with the rest: bit 0 mends the checksums, so that the bytes behind them
/// are reached; bits 1 to 3 are the floor; bit 4 makes the last 8 KiB the COMMIT file.

#include <cstdint>
#include <cstring>
#include <string>

#include "core/check.h"
#include "core/crc32c.h"
#include "io/sim_testing.h"
#include "wal/format.h"
#include "wal/inspect.h"
#include "wal/archive.h"
#include "wal/log_testing.h"

namespace {

using sheaf::Crc32c;
using sheaf::Lsn;
namespace wal = sheaf::wal;

std::span<const std::byte> BytesOf(const std::string& text, size_t from, size_t to) {
  return std::as_bytes(std::span(text)).subspan(from, to - from);
}

void Mend(std::string* image) {
  if (image->size() < wal::kPageBytes) return;
  wal::SegmentHeader header{};
  std::memcpy(&header, image->data(), sizeof header);
  header.first_lsn = 1;
  const auto page = wal::EncodeSegmentHeader(header);
  std::memcpy(image->data(), page.data(), page.size());
  for (size_t at = wal::kPageBytes; at + wal::kPageBytes <= image->size(); at += wal::kPageBytes) {
    wal::BlockHeader block{};
    std::memcpy(&block, image->data() + at, sizeof block);
    if (block.magic != wal::kBlockMagic && block.magic != wal::kBlockMagicVersion1) continue;
    block.salt = header.salt;
    block.position = at;
    std::memcpy(image->data() + at, &block, sizeof block);
    block.crc = Crc32c(BytesOf(*image, at + 8, at + sizeof block));
    std::memcpy(image->data() + at, &block, sizeof block);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t mode = data[0];
  std::string image(reinterpret_cast<const char*>(data + 1), size - 1);
  sheaf::io::SimFileSystem disk;
  wal::LogOptions options;
  options.directory = "/wal";
  SHEAF_CHECK(disk.MakeDirectories("/wal").ok());
  if ((mode & 16) != 0 && image.size() >= 8192) {
    disk.SetContents("/wal/COMMIT", image.substr(image.size() - 8192));
    image.resize(image.size() - 8192);
  }
  if ((mode & 1) != 0) Mend(&image);
  const std::string path = "/wal/wal-0000000000000001.log";
  disk.SetContents(path, image);
  const Lsn floor(mode >> 1 & 7);
  const auto first = wal::RecoverPayloads(&disk, options, Lsn(0), floor);
  const auto second = wal::RecoverPayloads(&disk, options, Lsn(0), floor);
  SHEAF_CHECK(first.ok() == second.ok() && (!first.ok() || *first == *second));
  if (first.ok()) SHEAF_CHECK(first->size() >= floor.value);
  SHEAF_CHECK(wal::VerifyLog(&disk, "/wal").ok());
  uint64_t archived = 0;
  const auto end = wal::ReadArchived(&disk, "/wal", Lsn(0), wal::kLsnMax, [&](const wal::LoggedEntry& entry) {
    SHEAF_CHECK(entry.lsn.value == ++archived);
    return sheaf::Status::OK();
  });
  if (end.ok()) SHEAF_CHECK(end->value == archived);
  // A damaged header is what a crash left to recovery, where nothing was promised, and damage to a reader of the archive.
  if (first.ok() && !first->empty()) SHEAF_CHECK(end.ok() && archived == first->size());
  return 0;
}
