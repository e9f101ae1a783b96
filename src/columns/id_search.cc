#include "columns/id_search.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include <arrow/util/bit_util.h>

#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr int kBitmapBitsMin = 16, kBitmapBitsMax = 24;  // As powers of 2: 8 KiB to 2 MiB, which stay in a core's own caches.
constexpr int kBitmapBitsPerId = 6;                      // 64 bits an id: a row that is not wanted passes once in 64.

/// One multiplication: ids are random already, or few and made by the one who asks.
uint64_t HashOf(uint64_t head, uint64_t tail) {
  const auto product = static_cast<unsigned __int128>(head ^ 0x9E3779B97F4A7C15) * (tail ^ 0xD6E8FEB86659FD93);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

template <typename T>
T LoadAs(const uint8_t* at) {
  T out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

}  // namespace

struct IdSearch::Rows {
  const uint8_t* ids;
  size_t count;
  int64_t first;            // Number of the first.
  const uint8_t* validity;  // Null: no row is NULL.
  int64_t validity_offset;  // Of row 0.

  bool IsNull(int64_t row) const { return validity != nullptr && !arrow::bit_util::GetBit(validity, validity_offset + row); }
};

bool IdSearch::CanSearch(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::INT64:
    case arrow::Type::UINT64: return true;
    case arrow::Type::FIXED_SIZE_BINARY: return type.byte_width() == 16 || type.byte_width() == 8;
    default: return false;
  }
}

Result<IdSearch> IdSearch::Make(const arrow::DataType& type, std::span<const std::string> ids) {
  if (!CanSearch(type)) return MakeError(ErrorKind::kUnsupported, "columns of type {} are not searched for ids", type.ToString());
  if (ids.size() > kIdsMax) return MakeError(ErrorKind::kTooLarge, "{} ids to search for, of at most {}", ids.size(), kIdsMax);
  IdSearch out;
  out.width_ = static_cast<size_t>(type.byte_width());
  out.layout_ = type.id() != arrow::Type::FIXED_SIZE_BINARY ? IdLayout::kNumbers
                : out.width_ == 16                          ? IdLayout::kBytes16
                                                            : IdLayout::kBytes8;
  out.ids_.reserve(ids.size());
  for (const std::string& id : ids) {
    if (id.size() != out.width_)
      return MakeError(ErrorKind::kInvalid, "an id of {} bytes, where they have {}", id.size(), out.width_);
    out.ids_.push_back(out.Load(reinterpret_cast<const uint8_t*>(id.data())));
  }
  out.Index();
  return out;
}

IdSearch::Id IdSearch::Load(const uint8_t* at) const {
  return {.head = LoadAs<uint64_t>(at), .tail = width_ == 16 ? LoadAs<uint64_t>(at + 8) : 0};
}

uint32_t IdSearch::WordOf(const Id& id) const {
  switch (layout_) {
    case IdLayout::kBytes16: return static_cast<uint32_t>(id.tail >> 32);
    case IdLayout::kBytes8: return static_cast<uint32_t>(id.head >> 32);
    case IdLayout::kNumbers: break;
  }
  return static_cast<uint32_t>(id.head);
}

void IdSearch::Index() {
  const auto key = [](const Id& id) { return std::array{HashOf(id.head, id.tail), id.head, id.tail}; };
  std::sort(ids_.begin(), ids_.end(), [&](const Id& a, const Id& b) { return key(a) < key(b); });
  ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());

  const int bucket_bits = std::max(1, static_cast<int>(std::bit_width(ids_.size())));  // One id a bucket at most, on average.
  bucket_shift_ = 64 - bucket_bits;
  buckets_.assign((size_t{1} << bucket_bits) + 1, 0);
  for (const Id& id : ids_) ++buckets_[(HashOf(id.head, id.tail) >> bucket_shift_) + 1];
  for (size_t b = 1; b < buckets_.size(); ++b) buckets_[b] += buckets_[b - 1];

  if (ids_.empty()) return;
  if (ids_.size() <= kIdWordsMax) {
    for (const Id& id : ids_) words_.push_back(WordOf(id));
    words_.resize(PaddedIdWords(words_.size()), words_.front());
    return;
  }
  const int bits =
      std::clamp(static_cast<int>(std::bit_width(ids_.size() - 1)) + kBitmapBitsPerId, kBitmapBitsMin, kBitmapBitsMax);
  bitmap_shift_ = 32 - bits;
  bits_.assign((size_t{1} << bits) / 32, 0);
  for (const Id& id : ids_) {
    const uint32_t bit = IdBitmap::HashOf(WordOf(id)) >> bitmap_shift_;
    bits_[bit / 32] |= uint32_t{1} << (bit % 32);
  }
}

bool IdSearch::Has(const Id& id) const {
  const uint64_t bucket = HashOf(id.head, id.tail) >> bucket_shift_;
  for (uint32_t i = buckets_[bucket]; i < buckets_[bucket + 1]; ++i) {
    if (ids_[i] == id) return true;
  }
  return false;
}

bool IdSearch::Contains(std::string_view id) const {
  return id.size() == width_ && Has(Load(reinterpret_cast<const uint8_t*>(id.data())));
}

Status IdSearch::Find(const arrow::ArrayData& column, int64_t first, int64_t count, std::vector<int64_t>* rows) const {
  SHEAF_CHECK(first >= 0 && count >= 0 && first + count <= column.length);
  const bool is_bytes = column.type->id() == arrow::Type::FIXED_SIZE_BINARY;
  if (!CanSearch(*column.type) || is_bytes == (layout_ == IdLayout::kNumbers) ||
      static_cast<size_t>(column.type->byte_width()) != width_) {
    return MakeError(ErrorKind::kInvalid, "ids of {} bytes are searched for in a column of type {}", width_,
                     column.type->ToString());
  }
  if (count == 0 || ids_.empty()) return Status::OK();
  const Rows in{.ids = column.buffers[1]->data() + static_cast<size_t>(column.offset + first) * width_,
                .count = static_cast<size_t>(count),
                .first = first,
                .validity = column.buffers[0] != nullptr ? column.buffers[0]->data() : nullptr,
                .validity_offset = column.offset};
  if (words_.empty()) {
    FindByBitmap(in, rows);
  } else {
    FindByWords(in, rows);
  }
  return Status::OK();
}

/// Blocks that the kernel passes over are not looked at again; of the others, and of rows behind the last whole block, every row
/// is.
void IdSearch::FindByWords(const Rows& in, std::vector<int64_t>* rows) const {
  const bool one = ids_.size() == 1;
  for (size_t at = 0; at < in.count;) {
    const size_t whole = (in.count - at) / kIdBlockRows * kIdBlockRows;
    at += FindIdBlock(layout_, in.ids + at * width_, whole, words_.data(), words_.size());
    const size_t end = std::min(at + kIdBlockRows, in.count);
    for (; at < end; ++at) {
      const Id id = Load(in.ids + at * width_);
      const int64_t row = in.first + static_cast<int64_t>(at);
      if ((one ? id == ids_.front() : Has(id)) && !in.IsNull(row)) rows->push_back(row);
    }
  }
}

/// Of the rows that pass the bitmap, some at a time, few are not wanted.
void IdSearch::FindByBitmap(const Rows& in, std::vector<int64_t>* rows) const {
  constexpr size_t kRows = 8 * kIdBlockRows;
  std::array<uint32_t, kRows + kIdLanesMax> passed;
  const IdBitmap bitmap{.bits = bits_.data(), .shift = bitmap_shift_};
  for (size_t begin = 0; begin < in.count; begin += kRows) {
    const uint8_t* const ids = in.ids + begin * width_;
    const size_t count = std::min(kRows, in.count - begin), whole = count / kIdBlockRows * kIdBlockRows;
    size_t found = FilterIds(layout_, ids, whole, bitmap, passed.data());
    for (size_t i = whole; i < count; ++i) {
      if (bitmap.Has(WordOf(Load(ids + i * width_)))) passed[found++] = static_cast<uint32_t>(i);
    }
    for (size_t i = 0; i < found; ++i) {
      const int64_t row = in.first + static_cast<int64_t>(begin + passed[i]);
      if (Has(Load(ids + passed[i] * width_)) && !in.IsNull(row)) rows->push_back(row);
    }
  }
}

}  // namespace sheaf::columns
