/// Manifests and CURRENT of whatever bytes: read or refused, never a crash, never more memory than the file
/// could fill; and what was read is written and read back the same.
///
/// The first byte says what to do with the rest: bit 0 mends the checksums, so that the records behind them
/// are reached; bit 1 takes it for the CURRENT of a folder with two intact manifests.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <xxhash.h>

#include "core/check.h"
#include "core/crc32c.h"
#include "io/sim_testing.h"
#include "parts/manifest.h"

namespace {

using sheaf::Lsn;
namespace parts = sheaf::parts;

constexpr size_t kPrefixBytes = 12;  // Magic, version.
constexpr size_t kFrameBytes = 12;   // CRC, length, kind.
constexpr size_t kDigestBytes = 16;

void Mend(std::string* file) {
  if (file->size() < kPrefixBytes + kDigestBytes) return;
  const size_t end = file->size() - kDigestBytes;
  for (size_t at = kPrefixBytes; end - at >= kFrameBytes;) {
    uint32_t length = 0;
    std::memcpy(&length, file->data() + at + sizeof(uint32_t), sizeof length);
    if (length > end - at - kFrameBytes) break;
    const auto framed = std::span(*file).subspan(at + sizeof(uint32_t), kFrameBytes - sizeof(uint32_t) + length);
    const uint32_t crc = sheaf::Crc32c(std::as_bytes(framed));
    std::memcpy(file->data() + at, &crc, sizeof crc);
    at += kFrameBytes + length;
  }
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(file->data(), end));
  std::memcpy(file->data() + end, digest.digest, sizeof digest.digest);
}

void ReadAsManifest(const std::string& file) {
  const auto first = parts::DecodeManifest(file);
  if (!first.ok()) return;
  const std::string written = parts::EncodeManifest(*first);
  const auto second = parts::DecodeManifest(written);
  SHEAF_CHECK(second.ok());
  SHEAF_CHECK(parts::EncodeManifest(*second) == written);
  if (file[8] != written[8]) return;           // An older version has fewer fields.
  SHEAF_CHECK(written.size() == file.size());  // No byte of an accepted file is without meaning.
}

void ReadAsCurrent(const std::string& current) {
  sheaf::io::SimFileSystem disk;
  SHEAF_CHECK(disk.MakeDirectories("/db").ok());
  parts::ManifestState state;
  state.database_uuid = "0123456789abcdef";
  for (state.number = 1; state.number <= 2; ++state.number) {
    state.covered = Lsn(state.number * 10);
    SHEAF_CHECK(parts::CommitManifest(&disk, "/db", state).ok());
  }
  disk.SetContents("/db/CURRENT", current);
  const auto load = parts::LoadManifest(&disk, "/db");
  if (load.ok()) SHEAF_CHECK(load->state.number <= 2 && load->truncatable <= load->state.covered);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string file(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 1) != 0) Mend(&file);
  if ((data[0] & 2) != 0) {
    ReadAsCurrent(file);
  } else {
    ReadAsManifest(file);
  }
  return 0;
}
