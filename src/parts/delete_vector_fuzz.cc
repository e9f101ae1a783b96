/// Delete vectors of whatever bytes: read or refused, never a crash; what was read names rows of the part, rising, and is
/// written and read back the same.
///
/// The first byte says what to do with the rest: bit 0 mends the digest, so that what it protects is reached.

#include <cstdint>
#include <cstring>
#include <string>

#include <xxhash.h>

#include "core/check.h"
#include "parts/delete_vector.h"

namespace {

namespace parts = sheaf::parts;

void Mend(std::string* file) {
  XXH128_canonical_t digest;
  if (file->size() < sizeof digest) return;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(file->data(), file->size() - sizeof digest));
  std::memcpy(file->data() + file->size() - sizeof digest, digest.digest, sizeof digest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 1) != 0) Mend(&bytes);
  const auto file = parts::DecodeDeadFile(bytes, "fuzz.del");
  if (!file.ok()) return 0;
  for (size_t i = 0; i < file->rows.size(); ++i) {
    SHEAF_CHECK(file->rows[i] < file->part_rows && (i == 0 || file->rows[i - 1] < file->rows[i]));
  }
  const auto again = parts::DecodeDeadFile(*parts::EncodeDeadFile(*file), "again.del");
  SHEAF_CHECK(again.ok() && again->rows == file->rows && again->through == file->through && again->part == file->part);
  return 0;
}
