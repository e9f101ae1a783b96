#include "columns/id_filter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include <arrow/type_traits.h>
#define XXH_INLINE_ALL  // Ids are so short that the call would cost as much as the hash.
#include <xxhash.h>

#include "columns/byte_values.h"
#include "columns/dictionaries.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr size_t kHeaderBytes = IdFilterView::kHeadBytes;  // cell_bytes, bucket_bits, granule_bits, 0: u8 each; cells: u32.
constexpr uint32_t kCellsPerBucket = 16;
constexpr int kFingerprintBitsMin = 14;  // 16 cells a bucket: a false hit in 1,000 look-ups at worst.
constexpr int kBucketBitsMax = 28;

uint64_t HashOf(std::string_view value) { return XXH3_64bits(value.data(), value.size()); }

struct Place {
  uint64_t bucket;
  uint32_t fingerprint;  // Already above the granule's bits.
};

Place PlaceOf(const IdFilterShape& shape, uint64_t hash) {
  const int fingerprint_bits = shape.cell_bytes * 8 - shape.granule_bits;
  const uint64_t rest = hash << shape.bucket_bits;
  return {shape.bucket_bits == 0 ? 0 : hash >> (64 - shape.bucket_bits),
          static_cast<uint32_t>((rest >> (64 - fingerprint_bits)) << shape.granule_bits)};
}

uint32_t Load32(const uint8_t* at) {
  uint32_t out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

IdFilterShape ShapeFor(size_t entries, uint32_t granules) {
  IdFilterShape shape;
  shape.granule_bits = std::bit_width(granules == 0 ? 0u : granules - 1);
  shape.cell_bytes = 24 - shape.granule_bits >= kFingerprintBitsMin ? 3 : 4;
  shape.bucket_bits = std::min<int>(kBucketBitsMax, std::bit_width(entries / kCellsPerBucket));
  return shape;
}

}  // namespace

bool CanFilter(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DICTIONARY) return CanFilter(*static_cast<const arrow::DictionaryType&>(type).value_type());
  return arrow::is_base_binary_like(type.storage_id()) || type.storage_id() == arrow::Type::FIXED_SIZE_BINARY;
}

void IdFilterBuilder::Add(std::string_view value, uint32_t granule) {
  const uint64_t hash = HashOf(value);
  if (!entries_.empty() && entries_.back().hash == hash && entries_.back().granule == granule) return;
  entries_.push_back({hash, granule});
}

void IdFilterBuilder::AddValue(std::string_view value, uint32_t granule) {
  granules_ = std::max(granules_, granule + 1);
  Add(value, granule);
}

Status IdFilterBuilder::Add(const arrow::ArrayData& column, uint32_t granule) {
  if (!CanFilter(*column.type)) return MakeError(ErrorKind::kUnsupported, "columns of type {} take no id filter", column.type->ToString());
  granules_ = std::max(granules_, granule + 1);
  if (column.type->id() == arrow::Type::DICTIONARY) {
    SHEAF_ASSIGN_OR_RETURN(const std::vector<int64_t> used, UsedIndexes(column));
    const std::optional<ByteValues> values = ByteValues::Of(*column.dictionary);
    for (const int64_t i : used) {
      if (!values->IsNull(i)) Add((*values)[i], granule);
    }
    return Status::OK();
  }
  const std::optional<ByteValues> values = ByteValues::Of(column);
  std::optional<std::string_view> last;  // A trace's spans lie together.
  for (int64_t i = 0; i < values->size(); ++i) {
    if (values->IsNull(i)) continue;
    const std::string_view value = (*values)[i];
    if (value == last) continue;
    last = value;
    Add(value, granule);
  }
  return Status::OK();
}

std::string IdFilterBuilder::Finish() {
  const IdFilterShape shape = ShapeFor(entries_.size(), granules_);
  const size_t buckets = size_t{1} << shape.bucket_bits;
  std::vector<uint32_t> begin(buckets + 1, 0);
  for (const Entry& e : entries_) ++begin[PlaceOf(shape, e.hash).bucket + 1];
  for (size_t b = 1; b <= buckets; ++b) begin[b] += begin[b - 1];
  std::vector<uint32_t> cells(entries_.size());
  std::vector<uint32_t> next(begin.begin(), begin.end() - 1);
  for (const Entry& e : entries_) {
    const Place place = PlaceOf(shape, e.hash);
    cells[next[place.bucket]++] = place.fingerprint | e.granule;
  }
  uint32_t kept = 0;
  for (size_t b = 0; b < buckets; ++b) {
    const auto first = cells.begin() + begin[b], last = cells.begin() + begin[b + 1];
    std::sort(first, last);
    const auto end = std::unique(first, last);
    begin[b] = kept;
    std::move(first, end, cells.begin() + kept);
    kept += static_cast<uint32_t>(end - first);
  }
  begin[buckets] = kept;

  std::string out;
  out.reserve(kHeaderBytes + begin.size() * 4 + size_t{kept} * static_cast<size_t>(shape.cell_bytes));
  for (const int byte : {shape.cell_bytes, shape.bucket_bits, shape.granule_bits, 0}) out.push_back(static_cast<char>(byte));
  out.append(reinterpret_cast<const char*>(&kept), sizeof kept);
  out.append(reinterpret_cast<const char*>(begin.data()), begin.size() * sizeof(uint32_t));
  for (uint32_t i = 0; i < kept; ++i) out.append(reinterpret_cast<const char*>(&cells[i]), static_cast<size_t>(shape.cell_bytes));
  entries_.clear();
  granules_ = 0;
  return out;
}

Result<IdFilterShape> ShapeOfFilter(std::span<const uint8_t> filter) {
  if (filter.size() < kHeaderBytes) return MakeError(ErrorKind::kCorruption, "an id filter of {} bytes", filter.size());
  IdFilterShape shape{filter[0], filter[1], filter[2], Load32(filter.data() + 4)};
  const bool sane = (shape.cell_bytes == 3 || shape.cell_bytes == 4) && shape.bucket_bits <= kBucketBitsMax &&
                    shape.granule_bits < shape.cell_bytes * 8 && filter[3] == 0;
  const uint64_t bytes = kHeaderBytes + ((uint64_t{1} << (sane ? shape.bucket_bits : 0)) + 1) * 4 +
                         uint64_t{shape.cells} * static_cast<uint64_t>(shape.cell_bytes);
  if (!sane || bytes != filter.size()) {
    return MakeError(ErrorKind::kCorruption, "an id filter of {} bytes says it has {} cells of {} bytes", filter.size(), shape.cells,
                     shape.cell_bytes);
  }
  return shape;
}

double IdFilterShape::false_hits() const {
  const double per_bucket = static_cast<double>(cells) / std::exp2(bucket_bits);
  return per_bucket / std::exp2(cell_bytes * 8 - granule_bits);
}

Result<IdFilterView> IdFilterView::Make(std::span<const uint8_t> filter) {
  IdFilterView out;
  SHEAF_ASSIGN_OR_RETURN(out.shape_, ShapeOfFilter(filter));
  out.filter_ = filter;
  out.cells_at_ = kHeadBytes + ((size_t{1} << out.shape_.bucket_bits) + 1) * sizeof(uint32_t);
  out.granule_mask_ = out.shape_.granule_bits == 0 ? 0 : (uint32_t{1} << out.shape_.granule_bits) - 1;
  return out;
}

IdFilterView::Probe IdFilterView::ProbeOf(std::string_view value) const {
  const Place place = PlaceOf(shape_, HashOf(value));
  return {kHeadBytes + place.bucket * sizeof(uint32_t), place.fingerprint};
}

Status IdFilterView::OutOfOrder(const Probe& probe) const {
  return MakeError(ErrorKind::kCorruption, "bucket {} of an id filter is out of order", (probe.bucket_at - kHeadBytes) / sizeof(uint32_t));
}

Status FindInFilter(std::span<const uint8_t> filter, std::string_view value, const BeforeRead& before_read, std::vector<int>* granules) {
  SHEAF_RETURN_NOT_OK(before_read(0, std::min(IdFilterView::kHeadBytes, filter.size())));
  SHEAF_ASSIGN_OR_RETURN(const IdFilterView view, IdFilterView::Make(filter));
  return view.Find(value, before_read, [&](int granule) { granules->push_back(granule); });
}

}  // namespace sheaf::columns
