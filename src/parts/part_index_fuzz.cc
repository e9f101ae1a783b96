/// Part indexes of whatever bytes: opened or refused, and every question to an open one is answered or
/// refused, without a crash and without more memory than the file could fill.
///
/// The first byte says what to do with the rest: bit 0 mends the checksums, so that what they protect is
/// reached.

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <xxhash.h>

#include "columns/id_filter.h"
#include "columns/tokens.h"
#include "core/check.h"
#include "parts/part_index.h"

namespace {

namespace parts = sheaf::parts;
using sheaf::columns::HashOfGram;
using sheaf::columns::HashOfToken;

constexpr size_t kHeadBytesAt = 12, kBodyBytesAt = 136, kSectionCountAt = 152, kDataBlocksAt = 160, kSectionsAt = 168;
constexpr size_t kSectionBytes = 24;

template <typename T>
T Load(const std::string& file, size_t at) {
  T out{};
  std::memcpy(&out, file.data() + at, sizeof out);
  return out;
}

template <typename T>
void Store(T value, size_t at, std::string* file) {
  std::memcpy(file->data() + at, &value, sizeof value);
}

void Mend(std::string* file) {
  if (file->size() < kSectionsAt + sizeof(uint64_t)) return;
  const size_t head_bytes = Load<uint32_t>(*file, kHeadBytesAt);
  if (head_bytes < kSectionsAt + sizeof(uint64_t) || head_bytes > file->size()) return;
  const std::vector<uint64_t> sums = parts::BlockSums(std::string_view(*file).substr(head_bytes));
  Store(static_cast<uint64_t>(file->size() - head_bytes), kBodyBytesAt, file);
  Store(static_cast<uint32_t>(sums.size()), kSectionCountAt + sizeof(uint32_t), file);
  const uint64_t before = uint64_t{Load<uint32_t>(*file, kSectionCountAt)} * kSectionBytes;
  const uint64_t data_sums = Load<uint64_t>(*file, kDataBlocksAt);
  const uint64_t room = head_bytes - sizeof(uint64_t) - kSectionsAt;
  if (before <= room && data_sums <= (room - before) / sizeof(uint64_t) &&
      sums.size() <= (room - before) / sizeof(uint64_t) - data_sums) {
    const size_t at = kSectionsAt + before + data_sums * sizeof(uint64_t);
    for (size_t i = 0; i < sums.size(); ++i) Store(sums[i], at + i * sizeof(uint64_t), file);
  }
  Store(static_cast<uint64_t>(XXH3_64bits(file->data(), head_bytes - sizeof(uint64_t))), head_bytes - sizeof(uint64_t), file);
}

void AskAll(const parts::PartIndex& index) {
  int64_t rows = 0;
  for (int g = 0; g < index.granules(); ++g) {
    const parts::GranulePlace& place = index.granule(g);
    SHEAF_CHECK(place.rows >= 0 && place.offset >= 0 && place.bytes >= 0);
    SHEAF_CHECK(place.offset + place.bytes <= index.info().data_bytes);
    rows += place.rows;
  }
  SHEAF_CHECK(rows == index.info().rows);
  for (int c = 0; c < index.columns(); ++c) {
    for (int g = -1; g < index.granules(); ++g) (void)index.zone(g, c);
    for (int g = 0; g < index.granules(); ++g) (void)index.column_bytes(g, c);
    if (index.has_tokens(c)) {
      const std::vector<uint64_t> needs = {HashOfToken("message"), HashOfGram("ssa")};
      std::vector<int> found;
      if (index.FindTokens(c, needs, &found).ok()) {
        for (const int g : found) SHEAF_CHECK(g >= 0 && g < index.granules());
      }
      (void)index.TokenFilterBytes(c);
    }
    if (!index.has_filter(c)) continue;
    for (const std::string_view value : {"", "cart", "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"}) {
      std::vector<int> found;
      if (!index.Find(c, value, &found).ok()) continue;
      for (const int g : found) SHEAF_CHECK(g >= 0 && g < index.granules());
    }
    const auto filter = index.FilterBytes(c);
    if (filter.ok()) (void)sheaf::columns::ShapeOfFilter({reinterpret_cast<const uint8_t*>(filter->data()), filter->size()});
  }
  if (index.has_reports()) (void)index.ReportBytes();
  if (index.attributes() != nullptr) {
    for (const auto& key : index.attributes()->keys) {
      SHEAF_CHECK(key.column >= 0 && key.column < index.columns() && key.position < index.columns());
    }
  }
  if (index.keys() == nullptr) return;
  for (const std::string_view key : {"", "bid", "bid\x80", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"}) {
    const int bound = index.granules() > 0 ? index.GranuleOfLowerBound(key) : 0;
    SHEAF_CHECK(bound >= 0 && bound <= index.granules());
    const auto found = index.FindKey(key);
    if (found.ok()) SHEAF_CHECK(*found >= -1 && *found < index.granules());
  }
  (void)index.KeyFilterBytes();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string file(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 1) != 0) Mend(&file);
  const auto index = parts::PartIndex::Open(arrow::Buffer::FromString(std::move(file)), "fuzz.idx");
  if (!index.ok()) return 0;
  AskAll(**index);
  (void)(*index)->Verify();
  return 0;
}
