#include "decode/otap_rows.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace sheaf::decode {
namespace {

/// An index may be so much larger than its ids are many.
constexpr uint32_t kDenseIdsMin = 65'536;
constexpr int64_t kDenseFactor = 8;

template <typename T>
void ReadWidened(const OtapColumn& column, int64_t rows, uint32_t* out) {
  const uint8_t* values = column.dictionary != nullptr ? column.dictionary->fixed() : column.values;
  WithIndex(column, [&](auto index_of) {
    if (!column.MayHaveNulls(0, rows)) {
      for (int64_t i = 0; i < rows; ++i) out[i] = static_cast<uint32_t>(LoadAt<T>(values, index_of(i)));
      return;
    }
    for (int64_t i = 0; i < rows; ++i) out[i] = column.IsNullValue(i) ? 0 : static_cast<uint32_t>(LoadAt<T>(values, index_of(i)));
  });
}

/// Unsigned numbers of up to four bytes; zero where NULL.
Status ReadUnsigned(const OtapColumn& column, int64_t rows, uint32_t* out) {
  switch (column.width) {
    case 1: ReadWidened<uint8_t>(column, rows, out); break;
    case 2: ReadWidened<uint16_t>(column, rows, out); break;
    case 4: ReadWidened<uint32_t>(column, rows, out); break;
    default: return MakeError(ErrorKind::kInvalid, "an id column of {} bytes; ids have two or four", column.width);
  }
  return Status::OK();
}

Status NoParent(const OtapTable& table, int64_t row, uint32_t id) {
  return MakeError(ErrorKind::kInvalid, "{}, row {}: no row of the batch has the id {} of its parent",
                   wire::OtapPayloadName(table.type), row, id);
}

}  // namespace

void ReadPresence(const OtapColumn* column, const RowOrder& order, uint8_t* out) {
  if (column == nullptr || !column->MayHaveNulls()) {
    std::fill(out, out + order.size, static_cast<uint8_t>(column != nullptr));
    return;
  }
  for (int64_t i = 0; i < order.size; ++i) out[i] = !column->IsNullValue(order[i]);
}

void ReadBools(const OtapColumn* column, const RowOrder& order, uint8_t* out) {
  if (column == nullptr) {
    std::fill(out, out + order.size, uint8_t{0});
    return;
  }
  for (int64_t i = 0; i < order.size; ++i) {
    const int64_t row = order[i];
    if (column->IsNullValue(row)) {
      out[i] = 0;
    } else if (column->dictionary != nullptr) {
      out[i] = column->dictionary->Bit(column->Index(row));
    } else {
      out[i] = (column->values[row >> 3] >> (row & 7)) & 1;
    }
  }
}

int64_t PackBits(const uint8_t* bytes, int64_t n, uint8_t* bits) {
  int64_t ones = 0, i = 0;
  for (; i + 8 <= n; i += 8) {  // Each byte's lowest bit times a power of two that moves it into the highest byte.
    const auto eight = LoadAt<uint64_t>(bytes + i, 0);
    ones += std::popcount(eight);
    bits[i / 8] = static_cast<uint8_t>(eight * 0x0102040810204080 >> 56);
  }
  if (i == n) return n - ones;
  uint8_t packed = 0;
  for (int64_t j = i; j < n; ++j) {
    packed = static_cast<uint8_t>(packed | bytes[j] << (j - i));
    ones += bytes[j];
  }
  bits[i / 8] = packed;
  return n - ones;
}

Status DecodeIds(const OtapColumn* column, int64_t rows, uint32_t* ids) {
  if (column == nullptr) {
    std::fill(ids, ids + rows, kNoId);
    return Status::OK();
  }
  SHEAF_RETURN_NOT_OK(ReadUnsigned(*column, rows, ids));
  if (column->encoding == IdEncoding::kQuasiDelta)
    return MakeError(ErrorKind::kInvalid, "an id column with the encoding of parent ids");
  const bool plain = column->encoding == IdEncoding::kPlain;
  const uint64_t largest = std::min<uint64_t>(LargestId(*column), kNoId - 1);
  const bool nulls = column->MayHaveNulls(0, rows);
  uint64_t id = 0;
  for (int64_t i = 0; i < rows; ++i) {
    if (nulls && column->IsNullValue(i)) {
      ids[i] = kNoId;
      continue;
    }
    id = plain ? ids[i] : id + ids[i];
    if (id > largest) return MakeError(ErrorKind::kInvalid, "row {}: id {} is more than its column can hold", i, id);
    ids[i] = static_cast<uint32_t>(id);
  }
  return Status::OK();
}

Status ReadParentIds(const OtapTable& table, uint32_t* ids) {
  const OtapColumn* column = table.Find(OtapField::kParentId);
  const std::string name = wire::OtapPayloadName(table.type);
  if (column == nullptr) return MakeError(ErrorKind::kInvalid, "{} has no column parent_id", name);
  const bool nulls = column->MayHaveNulls(0, table.rows);
  for (int64_t i = 0; nulls && i < table.rows; ++i) {
    if (column->IsNullValue(i)) return MakeError(ErrorKind::kInvalid, "{}, row {}: parent_id is NULL", name, i);
  }
  const Status status = ReadUnsigned(*column, table.rows, ids);
  return status.ok() ? status : WithContext(status, name + ", parent_id");
}

Status IdOverflow(const OtapTable& table, int64_t row) {
  return MakeError(ErrorKind::kInvalid,
                   "{}, row {}: parent_id overflows: the sum of differences is more than its column can hold",
                   wire::OtapPayloadName(table.type), row);
}

Status DecodeDeltas(const OtapTable& table, uint32_t* ids) {
  const OtapColumn& column = *table.Find(OtapField::kParentId);
  if (column.encoding == IdEncoding::kPlain) return Status::OK();
  const uint64_t largest = LargestId(column);
  uint64_t id = 0;
  for (int64_t i = 0; i < table.rows; ++i) {
    id += ids[i];
    if (id > largest) [[unlikely]]
      return IdOverflow(table, i);
    ids[i] = static_cast<uint32_t>(id);
  }
  return Status::OK();
}

Status IdIndex::Build(std::span<const uint32_t> ids, RecycledBuffers* buffers) {
  dense_size_ = 0;
  sparse_ = {};
  uint32_t end = 0;
  for (const uint32_t id : ids) end = id == kNoId ? end : std::max(end, id + 1);
  if (end <= std::max<int64_t>(kDenseIdsMin, kDenseFactor * static_cast<int64_t>(ids.size()))) {
    auto* rows = reinterpret_cast<int32_t*>(buffers->Next(int64_t{end} * 4, false)->data());
    std::fill(rows, rows + end, -1);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] == kNoId) continue;
      if (rows[ids[i]] >= 0) return MakeError(ErrorKind::kInvalid, "rows {} and {} have the same id {}", rows[ids[i]], i, ids[i]);
      rows[ids[i]] = static_cast<int32_t>(i);
    }
    dense_ = rows;
    dense_size_ = end;
    return Status::OK();
  }
  auto* entries = reinterpret_cast<uint64_t*>(buffers->Next(static_cast<int64_t>(ids.size()) * 8, false)->data());
  size_t n = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != kNoId) entries[n++] = uint64_t{ids[i]} << 32 | i;
  }
  sparse_ = {entries, n};
  std::sort(entries, entries + n);
  for (size_t i = 1; i < n; ++i) {
    if (entries[i] >> 32 == entries[i - 1] >> 32)
      return MakeError(ErrorKind::kInvalid, "two rows have the same id {}", entries[i] >> 32);
  }
  return Status::OK();
}

int32_t IdIndex::FindSparse(uint32_t id) const {
  const auto at = std::lower_bound(sparse_.begin(), sparse_.end(), uint64_t{id} << 32);
  return at != sparse_.end() && *at >> 32 == id ? static_cast<int32_t>(*at & 0xffffffff) : -1;
}

Status FindQuasiDeltaParents(const OtapTable& table, const uint8_t* same, const IdIndex& parents, uint32_t* ids) {
  const OtapColumn& column = *table.Find(OtapField::kParentId);
  if (column.encoding == IdEncoding::kPlain || column.encoding == IdEncoding::kDelta) {
    SHEAF_RETURN_NOT_OK(DecodeDeltas(table, ids));
    return FindParents(table, parents, ids);
  }
  const uint64_t largest = LargestId(column);
  const IdIndex index = parents;  // Of its own, so that it stays in registers.
  const int64_t rows = table.rows;
  uint64_t id = 0;
  for (int64_t i = 0; i < rows; ++i) {
    id = ids[i] + (same[i] != 0 ? id : 0);
    if (id > largest) [[unlikely]]
      return IdOverflow(table, i);
    const int32_t row = index.Find(static_cast<uint32_t>(id));
    if (row < 0) [[unlikely]]
      return NoParent(table, i, static_cast<uint32_t>(id));
    ids[i] = static_cast<uint32_t>(row);
  }
  return Status::OK();
}

Status FindParents(const OtapTable& table, const IdIndex& parents, uint32_t* ids) {
  for (int64_t i = 0; i < table.rows; ++i) {
    const int32_t row = parents.Find(ids[i]);
    if (row < 0) [[unlikely]]
      return NoParent(table, i, ids[i]);
    ids[i] = static_cast<uint32_t>(row);
  }
  return Status::OK();
}

namespace {

/// The counting sort of GroupRows(); place_of(parent) is negative where a row is left out. `next` is all zero.
template <typename PlaceOf>
void SortByPlace(std::span<const uint32_t> parents, int64_t groups, PlaceOf&& place_of, int32_t* next, int32_t* offsets,
                 int32_t* order) {
  for (const uint32_t parent : parents) {
    if (const int32_t place = place_of(parent); place >= 0) ++next[place];
  }
  int32_t begin = 0;
  for (int64_t i = 0; i < groups; ++i) {
    offsets[i] = begin;
    begin += std::exchange(next[i], begin);
  }
  offsets[groups] = begin;
  const auto rows = static_cast<int32_t>(parents.size());
  for (int32_t row = 0; row < rows; ++row) {
    if (const int32_t place = place_of(parents[static_cast<size_t>(row)]); place >= 0) order[next[place]++] = row;
  }
}

}  // namespace

Groups GroupRows(std::span<const uint32_t> parents, const int32_t* places, int64_t groups, RecycledBuffers* buffers) {
  Groups out;
  out.offsets_buffer = buffers->Next((groups + 1) * 4, parents.empty());
  out.offsets = reinterpret_cast<int32_t*>(out.offsets_buffer->data());
  if (parents.empty()) return out;  // No parent has children.
  auto* next = reinterpret_cast<int32_t*>(buffers->Next(groups * 4, true)->data());
  auto* order = reinterpret_cast<int32_t*>(buffers->Next(static_cast<int64_t>(parents.size()) * 4, false)->data());
  if (places == nullptr) {
    SortByPlace(parents, groups, [](uint32_t parent) { return static_cast<int32_t>(parent); }, next, out.offsets, order);
  } else {
    SortByPlace(parents, groups, [places](uint32_t parent) { return places[parent]; }, next, out.offsets, order);
  }
  out.order = {order, out.offsets[groups]};
  return out;
}

}  // namespace sheaf::decode
