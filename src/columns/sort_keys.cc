#include "columns/sort_keys.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/float16.h>

#include "columns/dictionaries.h"

namespace sheaf::columns {
namespace {

constexpr uint64_t kSign = uint64_t{1} << 63;
uint64_t OrderedInt(int64_t v) { return static_cast<uint64_t>(v) ^ kSign; }
uint64_t OrderedDouble(double v) {
  if (v != v) return std::numeric_limits<uint64_t>::max();
  if (v == 0) v = 0;  // -0 and 0 are one value.
  const auto bits = std::bit_cast<uint64_t>(v);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}
uint64_t BigEndian(const char* bytes, size_t n) {
  uint64_t out = 0;
  for (size_t i = 0; i < 8; ++i) out = out << 8 | (i < n ? static_cast<uint8_t>(bytes[i]) : 0);
  return out;
}

/// Sets keys[row] to order(value) for every row of a column of T.
template <typename T, typename Order>
void FillKeys(const ColumnUnion& column, const Order& order, Keys* keys) {
  uint64_t* key = keys->data();
  for (const ColumnUnion::Piece& piece : column.pieces()) {
    for (int64_t i = 0; i < piece.length; ++i) {
      T value;
      std::memcpy(&value, piece.values + i * static_cast<int64_t>(sizeof(T)), sizeof value);
      *key++ = order(value);
    }
  }
}

/// Ranks of distinct values in bytewise order.
std::vector<uint64_t> Ranks(const std::vector<std::string_view>& values) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return values[a] < values[b]; });
  std::vector<uint64_t> ranks(values.size());
  for (size_t i = 0; i < order.size(); ++i) ranks[order[i]] = i;
  return ranks;
}

/// Walks all rows of a column: visit(piece, row inside it, row number).
template <typename Visit>
void EachRow(const ColumnUnion& column, const Visit& visit) {
  size_t row = 0;
  for (const ColumnUnion::Piece& piece : column.pieces()) {
    for (int64_t i = 0; i < piece.length; ++i, ++row) visit(piece, i, row);
  }
}

Result<KeyWords> DictionaryKeys(const ColumnUnion& column, int64_t rows) {
  const std::shared_ptr<arrow::ArrayData>& dictionary = column.dictionary();
  SHEAF_ASSIGN_OR_RETURN(auto values, ColumnUnion::Make(dictionary->type, {dictionary}, arrow::default_memory_pool()));
  SHEAF_ASSIGN_OR_RETURN(const KeyWords value_keys, KeysOf(*values, dictionary->length));
  KeyWords out;
  out.words.assign(value_keys.words.size(), Keys(static_cast<size_t>(rows), 0));
  EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    const int32_t number = column.DictionaryNumber(piece, i);
    if (number < 0) return;
    for (size_t w = 0; w < out.words.size(); ++w) out.words[w][row] = value_keys.words[w][static_cast<size_t>(number)];
  });
  return out;
}

Result<KeyWords> TextKeys(const ColumnUnion& column, int64_t rows) {
  DictionaryUnion all(column.type());
  KeyWords out;
  Keys& keys = out.words.emplace_back();
  keys.reserve(static_cast<size_t>(rows));
  std::vector<int32_t> numbers;
  for (const auto& array : column.arrays()) {
    SHEAF_RETURN_NOT_OK(all.Add(*array, &numbers));
    for (const int32_t number : numbers) keys.push_back(static_cast<uint64_t>(std::max(number, 0)));
  }
  const std::vector<uint64_t> ranks = Ranks(all.values());
  if (!ranks.empty()) {
    for (uint64_t& key : keys) key = ranks[key];
  }
  return out;
}

KeyWords FixedBytesKeys(const ColumnUnion& column, int64_t rows, size_t width) {
  KeyWords out;
  out.words.assign((width + 7) / 8, Keys(static_cast<size_t>(rows), 0));
  EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    const auto* bytes = reinterpret_cast<const char*>(piece.values) + i * static_cast<int64_t>(width);
    size_t w = 0;
    for (; (w + 1) * 8 <= width; ++w) {
      std::memcpy(&out.words[w][row], bytes + w * 8, 8);
      out.words[w][row] = __builtin_bswap64(out.words[w][row]);
    }
    if (w < out.words.size()) out.words[w][row] = BigEndian(bytes + w * 8, width - w * 8);
  });
  return out;
}

KeyWords DecimalKeys(const ColumnUnion& column, int64_t rows, size_t words) {
  KeyWords out;
  out.words.assign(words, Keys(static_cast<size_t>(rows), 0));
  EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    for (size_t w = 0; w < words; ++w) {  // Little-endian words of two's complement; the last holds the sign.
      uint64_t word;
      std::memcpy(&word, piece.values + (static_cast<size_t>(i) * words + (words - 1 - w)) * 8, sizeof word);
      out.words[w][row] = w == 0 ? word ^ kSign : word;
    }
  });
  return out;
}

/// Error: Unsupported (values that are no numbers).
Status FillNumberKeys(const ColumnUnion& column, Keys* keys) {
  switch (column.type()->storage_id()) {
    case arrow::Type::INT8: FillKeys<int8_t>(column, OrderedInt, keys); break;
    case arrow::Type::INT16: FillKeys<int16_t>(column, OrderedInt, keys); break;
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32: FillKeys<int32_t>(column, OrderedInt, keys); break;
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION: FillKeys<int64_t>(column, OrderedInt, keys); break;
    case arrow::Type::UINT8: FillKeys<uint8_t>(column, std::identity(), keys); break;
    case arrow::Type::UINT16: FillKeys<uint16_t>(column, std::identity(), keys); break;
    case arrow::Type::UINT32: FillKeys<uint32_t>(column, std::identity(), keys); break;
    case arrow::Type::UINT64: FillKeys<uint64_t>(column, std::identity(), keys); break;
    case arrow::Type::HALF_FLOAT:
      FillKeys<uint16_t>(column, [](uint16_t v) { return OrderedDouble(arrow::util::Float16::FromBits(v).ToFloat()); }, keys);
      break;
    case arrow::Type::FLOAT: FillKeys<float>(column, OrderedDouble, keys); break;
    case arrow::Type::DOUBLE: FillKeys<double>(column, OrderedDouble, keys); break;
    default: return MakeError(ErrorKind::kUnsupported, "cannot sort by values of type {}", column.type()->ToString());
  }
  return Status::OK();
}

Result<KeyWords> NumberKeys(const ColumnUnion& column, int64_t rows) {
  KeyWords out;
  Keys& keys = out.words.emplace_back(static_cast<size_t>(rows));
  if (column.kind() == ColumnUnion::Kind::kBits) {
    EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
      keys[row] = arrow::bit_util::GetBit(piece.values, piece.offset + i) ? 1 : 0;
    });
    return out;
  }
  SHEAF_RETURN_NOT_OK(FillNumberKeys(column, &keys));
  return out;
}

}  // namespace

Result<KeyWords> KeysOf(const ColumnUnion& column, int64_t rows) {
  using Kind = ColumnUnion::Kind;
  KeyWords out;
  switch (column.kind()) {
    case Kind::kNull: return out;
    case Kind::kDictionary: {
      SHEAF_ASSIGN_OR_RETURN(out, DictionaryKeys(column, rows));
      break;
    }
    case Kind::kBinary:
    case Kind::kLargeBinary: {
      SHEAF_ASSIGN_OR_RETURN(out, TextKeys(column, rows));
      break;
    }
    case Kind::kBits:
    case Kind::kFixed: {
      const auto id = column.type()->storage_id();
      if (id == arrow::Type::FIXED_SIZE_BINARY) {
        out = FixedBytesKeys(column, rows, static_cast<size_t>(column.type()->byte_width()));
      } else if (arrow::is_decimal(id) && column.type()->byte_width() >= 8) {
        out = DecimalKeys(column, rows, static_cast<size_t>(column.type()->byte_width()) / 8);
      } else {
        SHEAF_ASSIGN_OR_RETURN(out, NumberKeys(column, rows));
      }
      break;
    }
    default: return MakeError(ErrorKind::kUnsupported, "cannot sort by values of type {}", column.type()->ToString());
  }
  if (!column.may_have_nulls()) return out;
  Keys valid(static_cast<size_t>(rows), 1);
  bool any = false;
  EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    const bool null = column.kind() == Kind::kDictionary ? column.DictionaryNumber(piece, i) < 0 : piece.IsNull(i);
    if (!null) return;
    any = true;
    valid[row] = 0;
    for (Keys& word : out.words) word[row] = 0;
  });
  if (any) out.words.insert(out.words.begin(), std::move(valid));
  return out;
}

Result<Keys> OneWord(const ColumnUnion& column, int64_t rows) {
  SHEAF_ASSIGN_OR_RETURN(KeyWords keys, KeysOf(column, rows));
  if (keys.words.empty()) return Keys(static_cast<size_t>(rows), 0);
  if (keys.words.size() == 2) {  // NULLs first: shift the values up by one; none is the largest of 64 bits.
    for (size_t i = 0; i < keys.words[1].size(); ++i) keys.words[1][i] = keys.words[0][i] == 0 ? 0 : keys.words[1][i] + 1;
  }
  return std::move(keys.words.back());
}

Status CheckSortable(const ColumnUnion& column) {
  SHEAF_ASSIGN_OR_RETURN(const auto no_rows, ColumnUnion::Make(column.type(), {}, arrow::default_memory_pool()));
  return KeysOf(*no_rows, 0).status();
}

namespace {

constexpr size_t kFewRows = 24;          // Sorted by insertion.
constexpr int kDigitBitsMax = 12;        // 4,096 counters stay in the nearest cache.
constexpr int kSpareBits = 4;            // Beyond log2 of the rows: so that few of them agree in all bits looked at.

void SortFew(std::span<KeyedRow> rows) {
  for (size_t i = 1; i < rows.size(); ++i) {
    const KeyedRow one = rows[i];
    size_t at = i;
    for (; at > 0 && one.key < rows[at - 1].key; --at) rows[at] = rows[at - 1];
    rows[at] = one;
  }
}

/// Sorts `from` into `to` by `bits` bits of key - low from `shift` on, which are at most kDigitBitsMax.
void SortByDigit(std::span<const KeyedRow> from, std::span<KeyedRow> to, uint64_t low, int shift, int bits) {
  std::array<uint32_t, size_t{1} << kDigitBitsMax> begin;
  std::fill_n(begin.begin(), size_t{1} << bits, 0u);
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  for (const KeyedRow& one : from) ++begin[((one.key - low) >> shift) & mask];
  uint32_t sum = 0;
  for (size_t digit = 0; digit <= mask; ++digit) sum += std::exchange(begin[digit], sum);
  for (const KeyedRow& one : from) to[begin[((one.key - low) >> shift) & mask]++] = one;
}

/// Stable. `scratch` has the size of `rows`.
void SortRun(std::span<KeyedRow> rows, std::span<KeyedRow> scratch) {
  if (rows.size() <= kFewRows) return SortFew(rows);
  uint64_t low = rows[0].key, high = low, last = low;
  bool sorted = true;
  for (const KeyedRow& one : rows) {
    low = std::min(low, one.key);
    high = std::max(high, one.key);
    sorted &= one.key >= last;
    last = one.key;
  }
  if (sorted) return;
  const int all = std::bit_width(high - low);
  const int bits = std::min(all, static_cast<int>(std::bit_width(rows.size())) + kSpareBits), rest = all - bits;
  const int passes = (bits + kDigitBitsMax - 1) / kDigitBitsMax;
  std::span<KeyedRow> from = rows, to = scratch;
  for (int pass = 0, shift = rest; pass < passes; ++pass) {
    const int digit = (bits - (shift - rest)) / (passes - pass);
    SortByDigit(from, to, low, shift, digit);
    shift += digit;
    std::swap(from, to);
  }
  if (from.data() != rows.data()) std::copy(from.begin(), from.end(), rows.begin());
  if (rest == 0) return;
  for (size_t begin = 0, end; begin < rows.size(); begin = end) {  // At least 9 bits less to look at: see kSpareBits.
    const uint64_t top = (rows[begin].key - low) >> rest;
    for (end = begin + 1; end < rows.size() && (rows[end].key - low) >> rest == top;) ++end;
    if (end - begin > 1) SortRun(rows.subspan(begin, end - begin), scratch.subspan(begin, end - begin));
  }
}

}  // namespace

void StableSortBy(const Keys& keys, std::vector<uint32_t>* order) {
  const bool sorted = std::is_sorted(order->begin(), order->end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
  if (sorted) return;
  std::vector<KeyedRow> rows(order->size()), scratch(order->size());
  for (size_t i = 0; i < order->size(); ++i) rows[i] = {keys[(*order)[i]], (*order)[i]};
  SortRun(rows, scratch);
  for (size_t i = 0; i < order->size(); ++i) (*order)[i] = rows[i].row;
}

WordSorter::WordSorter(int64_t rows)
    : entries_(static_cast<size_t>(rows)), scratch_(entries_.size()), begins_(entries_.size()), ties_(rows > 1) {
  for (size_t i = 0; i < entries_.size(); ++i) entries_[i].row = static_cast<uint32_t>(i);
  if (rows > 0) begins_[0] = 1;
}

void WordSorter::Add(const Keys& keys) {
  ties_ = false;
  for (size_t begin = 0, end; begin < entries_.size(); begin = end) {
    for (end = begin + 1; end < entries_.size() && begins_[end] == 0;) ++end;
    if (end - begin == 1) continue;
    for (size_t i = begin; i < end; ++i) entries_[i].key = keys[entries_[i].row];
    SortRun(std::span(entries_).subspan(begin, end - begin), std::span(scratch_).subspan(begin, end - begin));
    for (size_t i = begin + 1; i < end; ++i) {
      const bool differs = entries_[i].key != entries_[i - 1].key;
      begins_[i] = differs ? 1 : 0;
      ties_ |= !differs;
    }
  }
}

std::vector<uint32_t> WordSorter::Order() const {
  std::vector<uint32_t> order(entries_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = entries_[i].row;
  return order;
}

}  // namespace sheaf::columns
