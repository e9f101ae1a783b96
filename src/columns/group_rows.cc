#include "columns/group_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <random>

#include "columns/dictionaries.h"

namespace sheaf::columns {
namespace {

/// Drawn once per process.
const std::array<uint64_t, 2>& Seeds() {
  static const std::array<uint64_t, 2> seeds = [] {
    std::random_device random;
    const auto word = [&random] { return uint64_t{random()} << 32 | random(); };
    return std::array<uint64_t, 2>{word(), word()};
  }();
  return seeds;
}

/// A value of kWords words of 8 bytes.
template <size_t kWords>
using Value = std::array<uint64_t, kWords>;

/// Numbers values from 1 on, in order of first sight.
template <size_t kWords>
class ValueNumbers {
 public:
  /// For values of `rows` rows.
  explicit ValueNumbers(size_t rows) : slots_(std::bit_ceil(std::max(rows / kRowsASlot, kSlotsMin))) {}

  /// Sets the number of every row of `piece`; 0 for NULL.
  void Add(const ColumnUnion::Piece& piece, uint32_t* numbers) {
    constexpr size_t kBlock = 64;  // Rows whose slots are on their way at once.
    std::array<Value<kWords>, kBlock> values;
    std::array<uint64_t, kBlock> hashes;
    std::array<uint8_t, kBlock> missed;  // Rows whose value does not stand where it is looked for first.
    const bool nulls = piece.validity != nullptr;
    for (int64_t begin = 0; begin < piece.length; begin += kBlock) {
      uint32_t* const number = numbers + begin;
      const auto n = static_cast<size_t>(std::min<int64_t>(kBlock, piece.length - begin));
      for (size_t i = 0; i < n; ++i) {
        std::memcpy(&values[i], piece.values + (begin + static_cast<int64_t>(i)) * kWidth, kWidth);
        hashes[i] = HashOf(values[i]);
        __builtin_prefetch(&slots_[hashes[i] & (slots_.size() - 1)]);
      }
      size_t misses = 0;
      for (size_t i = 0; i < n; ++i) {  // No branch depends on what is found.
        const Slot& slot = slots_[hashes[i] & (slots_.size() - 1)];
        number[i] = slot.number;
        missed[misses] = static_cast<uint8_t>(i);
        misses += slot.number != 0 && Same(slot.value, values[i]) ? 0 : 1;
      }
      for (size_t m = 0; m < misses; ++m) {
        const size_t i = missed[m];
        if (!nulls || !piece.IsNull(begin + static_cast<int64_t>(i))) number[i] = NumberOf(values[i], hashes[i]);
      }
      for (size_t i = 0; nulls && i < n; ++i) number[i] = piece.IsNull(begin + static_cast<int64_t>(i)) ? 0 : number[i];
    }
  }
  uint32_t size() const { return size_; }

 private:
  static constexpr int64_t kWidth = static_cast<int64_t>(kWords) * 8;
  static constexpr size_t kSlotsMin = 1024;
  static constexpr size_t kRowsASlot = 4;  // So that it seldom grows.
  struct Slot {
    Value<kWords> value;
    uint32_t number = 0;  // 0: free.
  };

  uint64_t HashOf(const Value<kWords>& value) const {  // Multiply and fold.
    const uint64_t other = kWords == 1 ? 0 : value[kWords - 1];
    const auto product = static_cast<unsigned __int128>(value[0] ^ seeds_[0]) * (other ^ seeds_[1]);
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  static bool Same(const Value<kWords>& a, const Value<kWords>& b) {  // Without a call, as comparing arrays would be.
    uint64_t differs = 0;
    for (size_t w = 0; w < kWords; ++w) differs |= a[w] ^ b[w];
    return differs == 0;
  }
  uint32_t NumberOf(const Value<kWords>& value, uint64_t hash) {
    const size_t mask = slots_.size() - 1;
    size_t at = hash & mask;
    for (; slots_[at].number != 0; at = (at + 1) & mask) {
      if (Same(slots_[at].value, value)) return slots_[at].number;
    }
    const uint32_t number = ++size_;
    slots_[at] = {value, number};
    if (size_t{size_} * 2 > slots_.size()) Grow();
    return number;
  }
  void Grow() {
    std::vector<Slot> old(slots_.size() * 4);
    old.swap(slots_);
    const size_t mask = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.number == 0) continue;
      size_t at = HashOf(slot.value) & mask;
      while (slots_[at].number != 0) at = (at + 1) & mask;
      slots_[at] = slot;
    }
  }

  const std::array<uint64_t, 2> seeds_ = Seeds();
  std::vector<Slot> slots_;  // Open addressing; a power of two, at most half full.
  uint32_t size_ = 0;
};

template <size_t kWords>
RowGroups GroupWords(const ColumnUnion& column, int64_t rows) {
  RowGroups out;
  out.of_row.resize(static_cast<size_t>(rows));
  ValueNumbers<kWords> values(out.of_row.size());
  uint32_t* numbers = out.of_row.data();
  for (const ColumnUnion::Piece& piece : column.pieces()) {
    values.Add(piece, numbers);
    numbers += piece.length;
  }
  out.groups = values.size();
  return out;
}

}  // namespace

Result<RowGroups> GroupRows(const ColumnUnion& column, int64_t rows) {
  if (column.kind() == ColumnUnion::Kind::kFixed) {
    const int width = column.type()->byte_width();
    if (width == 8) return GroupWords<1>(column, rows);
    if (width == 16) return GroupWords<2>(column, rows);
  }
  DictionaryUnion values(column.type());
  std::vector<int32_t> numbers;
  RowGroups out;
  out.of_row.reserve(static_cast<size_t>(rows));
  for (const auto& array : column.arrays()) {
    SHEAF_RETURN_NOT_OK(values.Add(*array, &numbers));
    for (const int32_t number : numbers) out.of_row.push_back(static_cast<uint32_t>(number + 1));
  }
  out.groups = static_cast<uint32_t>(values.size());
  return out;
}

}  // namespace sheaf::columns
