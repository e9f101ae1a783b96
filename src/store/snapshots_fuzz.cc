/// Marks of snapshots of whatever bytes: the snapshot is listed or refused, never a crash, and what is listed is what was
/// marked with it again.
///
/// The first byte: bit 0 puts the right checksum behind the first line, so that what it protects is reached.

#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>

#include "core/check.h"
#include "core/crc32c.h"
#include "io/sim_testing.h"
#include "store/snapshots.h"

namespace {

constexpr char kFolder[] = "/db/snapshots/here";

std::string Mended(const std::string& mark) {
  const std::string line = mark.substr(0, mark.find('\n'));
  return fmt::format("{}\n{:08x}\n", line, sheaf::Crc32c(std::as_bytes(std::span(line))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace store = sheaf::store;
  if (size == 0) return 0;
  std::string mark(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 1) != 0) mark = Mended(mark);
  sheaf::io::SimFileSystem disk;
  SHEAF_CHECK(disk.MakeDirectories(kFolder).ok());
  disk.SetContents(fmt::format("{}/SNAPSHOT", kFolder), mark);
  const auto list = store::ListSnapshots(&disk, "/db");
  if (!list.ok()) {
    const sheaf::ErrorKind kind = sheaf::KindOf(list.status());
    SHEAF_CHECK(kind == sheaf::ErrorKind::kCorruption || kind == sheaf::ErrorKind::kUnsupported);
    return 0;
  }
  SHEAF_CHECK(list->size() == 1);
  store::SnapshotInfo info = list->front();
  SHEAF_CHECK(store::CheckSnapshotId(info.id).ok());  // A folder's name is made of it.
  SHEAF_CHECK(disk.MakeDirectories("/db/snapshots/" + info.id).ok());
  SHEAF_CHECK(store::MarkSnapshot(&disk, "/db", info).ok());
  (void)store::VerifySnapshot(&disk, "/db", info.id);
  const auto again = store::ListSnapshots(&disk, "/db");
  SHEAF_CHECK(again.ok() && again->back().lsn == info.lsn && again->back().created_ns == info.created_ns);
  SHEAF_CHECK(again->back().parts == info.parts && again->back().bytes == info.bytes);
  return 0;
}
