/// Files of batch ids of whatever bytes: read or refused, never more memory than the file could fill; what is read is
/// written the same.
///
/// The first byte: bit 0 mends the checksum, so that what it protects is reached.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "core/check.h"
#include "core/crc32c.h"
#include "store/batch_id_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace store = sheaf::store;
  if (size == 0) return 0;
  std::string file(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 1) != 0 && file.size() >= sizeof(uint32_t)) {
    const size_t end = file.size() - sizeof(uint32_t);
    const uint32_t crc = sheaf::Crc32c(std::as_bytes(std::span(file)).first(end));
    std::memcpy(file.data() + end, &crc, sizeof crc);
  }
  const auto records = store::DecodeBatchIds(file, "fuzz");
  if (!records.ok()) {
    const sheaf::ErrorKind kind = sheaf::KindOf(records.status());
    SHEAF_CHECK(kind == sheaf::ErrorKind::kCorruption || kind == sheaf::ErrorKind::kUnsupported);
    return 0;
  }
  if (!file.empty()) SHEAF_CHECK(store::EncodeBatchIds(*records) == file);  // An empty one stands for "no ids".
  return 0;
}
