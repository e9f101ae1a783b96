#include "store/batch_id_file.h"

#include <cstring>
#include <span>

#include "core/check.h"
#include "core/crc32c.h"

namespace sheaf::store {
namespace {

constexpr uint32_t kMagic = 0x49424853;  // "SHBI"
constexpr uint32_t kVersion = 1;
constexpr int64_t kFileBytesMax = int64_t{256} << 20;

struct Header {
  uint32_t magic, version;
  uint64_t records;
};
static_assert(sizeof(Header) == 16);

template <typename T>
void Put(const T& value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
bool Take(std::string_view* bytes, T* value) {
  if (bytes->size() < sizeof(T)) return false;
  std::memcpy(value, bytes->data(), sizeof(T));
  bytes->remove_prefix(sizeof(T));
  return true;
}

bool TakeRecord(std::string_view* bytes, BatchIdRecord* record) {
  uint8_t length = 0;
  if (!Take(bytes, &length) || bytes->size() < length) return false;
  record->id.assign(bytes->substr(0, length));
  bytes->remove_prefix(length);
  return Take(bytes, &record->lsn.value) && Take(bytes, &record->time_ns);
}

uint32_t CrcOf(std::string_view bytes) { return Crc32c(std::as_bytes(std::span(bytes.data(), bytes.size()))); }

}  // namespace

std::string EncodeBatchIds(const std::vector<BatchIdRecord>& records) {
  std::string out;
  Put(Header{kMagic, kVersion, records.size()}, &out);
  for (const BatchIdRecord& record : records) {
    SHEAF_CHECK(record.id.size() <= UINT8_MAX);
    Put(static_cast<uint8_t>(record.id.size()), &out);
    out += record.id;
    Put(record.lsn.value, &out);
    Put(record.time_ns, &out);
  }
  Put(CrcOf(out), &out);
  return out;
}

Result<std::vector<BatchIdRecord>> DecodeBatchIds(std::string_view bytes, const std::string& path) {
  const auto Damaged = [&](const char* what) {
    return MakeError(ErrorKind::kCorruption,
                     "{}: {}; the ids of batches already stored are lost with it. To open all the same, and accept that a batch sent "
                     "again is stored twice, put an empty file in its place",
                     path, what);
  };
  if (bytes.empty()) return std::vector<BatchIdRecord>();
  if (bytes.size() < sizeof(Header) + sizeof(uint32_t)) return Damaged("too short");
  uint32_t crc = 0;
  std::memcpy(&crc, bytes.data() + bytes.size() - sizeof(crc), sizeof(crc));
  bytes.remove_suffix(sizeof(crc));
  if (CrcOf(bytes) != crc) return Damaged("checksum does not match");
  Header header;
  Take(&bytes, &header);
  if (header.magic != kMagic) return Damaged("not a file of batch ids");
  if (header.version == 0) return Damaged("has no format version");
  if (header.version > kVersion) {
    return MakeError(ErrorKind::kUnsupported, "{}: has format version {}, this program reads up to {}; use a newer one", path,
                     header.version, kVersion);
  }
  std::vector<BatchIdRecord> records;
  for (uint64_t i = 0; i < header.records; ++i) {
    if (!TakeRecord(&bytes, &records.emplace_back())) return Damaged("ends early");
  }
  if (!bytes.empty()) return Damaged("has bytes after its end");
  return records;
}

Result<std::vector<BatchIdRecord>> ReadBatchIds(io::FileSystem* files, const std::string& path) {
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(files, path, kFileBytesMax));
  return DecodeBatchIds(std::string_view(*bytes), path);
}

}  // namespace sheaf::store
