#include "columns/sort_keys.h"

#include <algorithm>
#include <array>
#include <atomic>
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
#include "core/parallel.h"

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
uint64_t BigEndian(const char* bytes) {
  uint64_t out;
  std::memcpy(&out, bytes, sizeof out);
  return __builtin_bswap64(out);
}
uint64_t BigEndian(const char* bytes, size_t n) {
  uint64_t out = 0;
  for (size_t i = 0; i < 8; ++i) out = out << 8 | (i < n ? static_cast<uint8_t>(bytes[i]) : 0);
  return out;
}

/// Walks all batches of a column on up to `threads` threads: visit(piece, number of its first row).
template <typename Visit>
void EachPiece(const ColumnUnion& column, int threads, const Visit& visit) {
  const std::vector<ColumnUnion::Piece>& pieces = column.pieces();
  std::vector<size_t> first(pieces.size());
  size_t rows = 0;
  for (size_t p = 0; p < pieces.size(); ++p) first[p] = std::exchange(rows, rows + static_cast<size_t>(pieces[p].length));
  constexpr size_t kFewRows = 65'536;  // Not worth a thread's start.
  const size_t slices = rows < kFewRows ? 1 : std::min(static_cast<size_t>(std::max(threads, 1)), pieces.size());
  RunPieces(threads, slices, [&](size_t s) {
    for (size_t p = pieces.size() * s / slices; p < pieces.size() * (s + 1) / slices; ++p) visit(pieces[p], first[p]);
  });
}

/// Sets keys[row] to order(value) for every row of a column of T.
template <typename T, typename Order>
void FillKeys(const ColumnUnion& column, const Order& order, int threads, Keys* keys) {
  EachPiece(column, threads, [&order, keys](const ColumnUnion::Piece& piece, size_t row) {
    uint64_t* key = keys->data() + row;
    for (int64_t i = 0; i < piece.length; ++i) {
      T value;
      std::memcpy(&value, piece.values + i * static_cast<int64_t>(sizeof(T)), sizeof value);
      *key++ = order(value);
    }
  });
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

KeyWords FixedBytesKeys(const ColumnUnion& column, int64_t rows, size_t width, int threads) {
  KeyWords out;
  for (size_t at = 0; at < width; at += 8) {
    const size_t bytes = std::min<size_t>(8, width - at);
    Keys& word = out.words.emplace_back(static_cast<size_t>(rows));
    EachPiece(column, threads, [&](const ColumnUnion::Piece& piece, size_t row) {
      const auto* from = reinterpret_cast<const char*>(piece.values) + at;
      uint64_t* key = word.data() + row;
      for (int64_t i = 0; i < piece.length; ++i, from += width) key[i] = bytes == 8 ? BigEndian(from) : BigEndian(from, bytes);
    });
  }
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
Status FillNumberKeys(const ColumnUnion& column, int threads, Keys* keys) {
  switch (column.type()->storage_id()) {
    case arrow::Type::INT8: FillKeys<int8_t>(column, OrderedInt, threads, keys); break;
    case arrow::Type::INT16: FillKeys<int16_t>(column, OrderedInt, threads, keys); break;
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32: FillKeys<int32_t>(column, OrderedInt, threads, keys); break;
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION: FillKeys<int64_t>(column, OrderedInt, threads, keys); break;
    case arrow::Type::UINT8: FillKeys<uint8_t>(column, std::identity(), threads, keys); break;
    case arrow::Type::UINT16: FillKeys<uint16_t>(column, std::identity(), threads, keys); break;
    case arrow::Type::UINT32: FillKeys<uint32_t>(column, std::identity(), threads, keys); break;
    case arrow::Type::UINT64: FillKeys<uint64_t>(column, std::identity(), threads, keys); break;
    case arrow::Type::HALF_FLOAT:
      FillKeys<uint16_t>(column, [](uint16_t v) { return OrderedDouble(arrow::util::Float16::FromBits(v).ToFloat()); }, threads, keys);
      break;
    case arrow::Type::FLOAT: FillKeys<float>(column, OrderedDouble, threads, keys); break;
    case arrow::Type::DOUBLE: FillKeys<double>(column, OrderedDouble, threads, keys); break;
    default: return MakeError(ErrorKind::kUnsupported, "cannot sort by values of type {}", column.type()->ToString());
  }
  return Status::OK();
}

Result<KeyWords> NumberKeys(const ColumnUnion& column, int64_t rows, int threads) {
  KeyWords out;
  Keys& keys = out.words.emplace_back(static_cast<size_t>(rows));
  if (column.kind() == ColumnUnion::Kind::kBits) {
    EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
      keys[row] = arrow::bit_util::GetBit(piece.values, piece.offset + i) ? 1 : 0;
    });
    return out;
  }
  SHEAF_RETURN_NOT_OK(FillNumberKeys(column, threads, &keys));
  return out;
}

}  // namespace

Result<KeyWords> KeysOf(const ColumnUnion& column, int64_t rows, int threads) {
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
        out = FixedBytesKeys(column, rows, static_cast<size_t>(column.type()->byte_width()), threads);
      } else if (arrow::is_decimal(id) && column.type()->byte_width() >= 8) {
        out = DecimalKeys(column, rows, static_cast<size_t>(column.type()->byte_width()) / 8);
      } else {
        SHEAF_ASSIGN_OR_RETURN(out, NumberKeys(column, rows, threads));
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

constexpr size_t kFewRows = 24;          // Sorted by comparing each with each.
constexpr int kDigitBitsMax = 12;        // 4,096 counters stay in the nearest cache.
constexpr int kSpareBits = 4;            // Beyond log2 of the rows: so that few of them agree in all bits looked at.
constexpr size_t kCachedRows = 8'192;    // These and their copy stay in a core's own cache.
constexpr int kPartitionBits = 9;        // The lines that rows are moved to, 512 of them, stay in the nearest cache.
constexpr size_t kPartitions = size_t{1} << kPartitionBits;

/// Every row's place is how many come before it: no branch depends on the keys, which would be guessed wrongly for every row.
void SortFew(std::span<KeyedRow> rows) {
  const size_t n = rows.size();
  std::array<KeyedRow, kFewRows> from;
  std::array<uint32_t, kFewRows> place{};
  size_t i = 1;
  while (i < n && rows[i - 1].key <= rows[i].key) ++i;
  if (i >= n) return;
  std::copy(rows.begin(), rows.end(), from.begin());
  for (i = 0; i < n; ++i) {
    const uint64_t key = from[i].key;
    uint32_t before = place[i];
    for (size_t k = i + 1; k < n; ++k) {
      const uint32_t less = from[k].key < key ? 1 : 0;
      before += less;
      place[k] += 1 - less;
    }
    rows[before] = from[i];
  }
}

/// Where the rows of each digit begin. The digit is `bits` bits of key - low from `shift` on.
struct Digits {
  uint64_t low;
  int shift;
  uint64_t mask;
  size_t operator()(uint64_t key) const { return ((key - low) >> shift) & mask; }
};

void CountDigits(std::span<const KeyedRow> rows, const Digits& digit, std::span<uint32_t> counts) {
  for (const KeyedRow& one : rows) ++counts[digit(one.key)];
}
void MoveByDigit(std::span<const KeyedRow> from, const Digits& digit, std::span<uint32_t> begins, KeyedRow* to) {
  for (const KeyedRow& one : from) to[begins[digit(one.key)]++] = one;
}

/// Sorts `from` into `to` by a digit of at most kDigitBitsMax bits.
void SortByDigit(std::span<const KeyedRow> from, std::span<KeyedRow> to, const Digits& digit) {
  std::array<uint32_t, size_t{1} << kDigitBitsMax> memory;
  const std::span<uint32_t> begins = std::span(memory).first(digit.mask + 1);
  std::fill(begins.begin(), begins.end(), 0u);
  CountDigits(from, digit, begins);
  uint32_t sum = 0;
  for (uint32_t& begin : begins) sum += std::exchange(begin, sum);
  MoveByDigit(from, digit, begins, to.data());
}

/// The least and the greatest key, and whether the rows are sorted.
struct KeyRange {
  uint64_t low = std::numeric_limits<uint64_t>::max(), high = 0;
  bool sorted = true;
};
KeyRange RangeOf(std::span<const KeyedRow> rows) {
  KeyRange out;
  uint64_t last = 0;
  for (const KeyedRow& one : rows) {
    out.low = std::min(out.low, one.key);
    out.high = std::max(out.high, one.key);
    out.sorted &= one.key >= last;
    last = one.key;
  }
  return out;
}

/// Sets the keys of rows.
void LookUp(const Keys& keys, std::span<KeyedRow> rows) {
  for (KeyedRow& one : rows) one.key = keys[one.row];
}

/// By the highest digit, so that rows lie in parts that the cache holds.
Digits PartitionOf(const KeyRange& range) {
  return {range.low, std::max(0, static_cast<int>(std::bit_width(range.high - range.low)) - kPartitionBits), kPartitions - 1};
}

void SortRun(std::span<KeyedRow> rows, std::span<KeyedRow> other, bool into_other);

/// SortRun() of few enough rows: by digits from the least, but only as many of the highest bits as tell that many rows apart.
void SortCached(std::span<KeyedRow> rows, std::span<KeyedRow> other, bool into_other, const KeyRange& range) {
  const int all = std::bit_width(range.high - range.low);
  const int wanted = static_cast<int>(std::bit_width(rows.size())) + kSpareBits;
  const int bits = std::min({all, wanted, into_other ? kDigitBitsMax : all});  // There in one pass.
  const int rest = all - bits;
  const int passes = (bits + kDigitBitsMax - 1) / kDigitBitsMax;
  std::span<KeyedRow> from = rows, to = other;
  for (int pass = 0, shift = rest; pass < passes; ++pass) {
    const int digit = (bits - (shift - rest)) / (passes - pass);
    SortByDigit(from, to, {range.low, shift, (uint64_t{1} << digit) - 1});
    shift += digit;
    std::swap(from, to);
  }
  const std::span<KeyedRow> out = into_other ? other : rows, spare = into_other ? rows : other;
  if (from.data() != out.data()) std::copy(from.begin(), from.end(), out.begin());
  if (rest == 0) return;
  for (size_t begin = 0, end; begin < out.size(); begin = end) {  // Some bits less to look at.
    const uint64_t top = (out[begin].key - range.low) >> rest;
    for (end = begin + 1; end < out.size() && (out[end].key - range.low) >> rest == top;) ++end;
    if (end - begin > 1) SortRun(out.subspan(begin, end - begin), spare.subspan(begin, end - begin), false);
  }
}

/// Stable. Both have the same size; the sorted rows are left in `other` where that is asked for, else in `rows`.
void SortRun(std::span<KeyedRow> rows, std::span<KeyedRow> other, bool into_other) {
  KeyRange range{.sorted = true};
  if (rows.size() <= kFewRows) {
    SortFew(rows);
  } else {
    range = RangeOf(rows);
  }
  if (range.sorted) {
    if (into_other) std::copy(rows.begin(), rows.end(), other.begin());
    return;
  }
  if (rows.size() <= kCachedRows) return SortCached(rows, other, into_other, range);
  const Digits digit = PartitionOf(range);
  std::array<uint32_t, kPartitions> ends{};
  CountDigits(rows, digit, ends);
  uint32_t sum = 0;
  for (uint32_t& end : ends) sum += std::exchange(end, sum);
  MoveByDigit(rows, digit, ends, other.data());
  size_t begin = 0;
  for (const size_t end : ends) {
    const size_t n = end - begin;
    if (n > 0) SortRun(other.subspan(begin, n), rows.subspan(begin, n), !into_other);
    begin = end;
  }
}

}  // namespace

void StableSortBy(const Keys& keys, std::vector<uint32_t>* order) {
  const bool sorted = std::is_sorted(order->begin(), order->end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
  if (sorted) return;
  std::vector<KeyedRow> rows(order->size()), scratch(order->size());
  for (size_t i = 0; i < order->size(); ++i) rows[i] = {keys[(*order)[i]], (*order)[i]};
  SortRun(rows, scratch, /*into_other=*/false);
  for (size_t i = 0; i < order->size(); ++i) (*order)[i] = rows[i].row;
}

WordSorter::WordSorter(int64_t rows, int threads)
    : threads_(std::max(threads, 1)),
      entries_(static_cast<size_t>(rows)),
      scratch_(entries_.size()),
      begins_(entries_.size(), 0),
      ties_(rows > 1) {
  for (size_t i = 0; i < entries_.size(); ++i) entries_[i].row = static_cast<uint32_t>(i);
  if (rows > 0) begins_[0] = 1;
}

void WordSorter::Add(const Keys& keys) {
  const std::vector<Piece> pieces = Split(keys);
  std::atomic<bool> ties = false;
  RunPieces(threads_, pieces.size(), [&](size_t i) {
    if (SortPiece(keys, pieces[i])) ties.store(true, std::memory_order_relaxed);
  });
  ties_ = ties.load(std::memory_order_relaxed);
}

std::vector<WordSorter::Piece> WordSorter::Split(const Keys& keys) {
  std::vector<Piece> out;
  const size_t n = entries_.size();
  for (size_t first = 0, end; first < n; first = end) {
    // The run in which the piece would end: a longer one than that of this piece has its end in it, too.
    size_t begin = std::min(first + kCachedRows, n - 1);
    const auto* next = static_cast<const uint8_t*>(std::memchr(begins_.data() + begin + 1, 1, n - begin - 1));
    end = next == nullptr ? n : static_cast<size_t>(next - begins_.data());
    while (begins_[begin] == 0) --begin;
    if (end - begin <= kCachedRows) {
      out.push_back({Piece::Kind::kRuns, first, end});
      continue;
    }
    if (first < begin) out.push_back({Piece::Kind::kRuns, first, begin});
    Partition(keys, begin, end, &out);
  }
  return out;
}

/// A slice for each thread: each counts its digits, so that all know their places and may move their rows at once, and keeps the order.
void WordSorter::Partition(const Keys& keys, size_t begin, size_t end, std::vector<Piece>* pieces) {
  struct Slice {
    std::span<KeyedRow> rows;
    KeyRange range;
    std::array<uint32_t, kPartitions> places{};
  };
  std::vector<Slice> slices(static_cast<size_t>(threads_));
  for (size_t s = 0; s < slices.size(); ++s) {
    const size_t from = begin + (end - begin) * s / slices.size(), to = begin + (end - begin) * (s + 1) / slices.size();
    slices[s].rows = std::span(entries_).subspan(from, to - from);
  }
  RunPieces(threads_, slices.size(), [&](size_t s) {
    LookUp(keys, slices[s].rows);
    slices[s].range = RangeOf(slices[s].rows);
  });
  KeyRange all;
  uint64_t last = 0;
  for (const Slice& slice : slices) {
    all.low = std::min(all.low, slice.range.low);
    all.high = std::max(all.high, slice.range.high);
    all.sorted &= slice.range.sorted && slice.rows.front().key >= last;
    last = slice.rows.back().key;
  }
  if (all.sorted) return pieces->push_back({Piece::Kind::kSorted, begin, end});
  const Digits digit = PartitionOf(all);
  RunPieces(threads_, slices.size(), [&](size_t s) { CountDigits(slices[s].rows, digit, slices[s].places); });
  auto sum = static_cast<uint32_t>(begin);
  for (size_t d = 0; d < kPartitions; ++d) {
    const uint32_t first = sum;
    for (Slice& slice : slices) sum += std::exchange(slice.places[d], sum);
    if (sum == first) continue;
    pieces->push_back({Piece::Kind::kPartition, first, sum});
    begins_[first] = 1;
  }
  RunPieces(threads_, slices.size(), [&](size_t s) { MoveByDigit(slices[s].rows, digit, slices[s].places, scratch_.data()); });
}

bool WordSorter::SortPiece(const Keys& keys, const Piece& piece) {
  const std::span rows = std::span(entries_).subspan(piece.begin, piece.end - piece.begin);
  const std::span scratch = std::span(scratch_).subspan(piece.begin, piece.end - piece.begin);
  switch (piece.kind) {
    case Piece::Kind::kSorted: return MarkBegins(piece.begin, piece.end);
    case Piece::Kind::kPartition:
      SortRun(scratch, rows, /*into_other=*/true);
      return MarkBegins(piece.begin, piece.end);
    case Piece::Kind::kRuns: break;
  }
  LookUpTied(keys, piece.begin, piece.end);
  bool ties = false;
  for (size_t begin = piece.begin, end; begin < piece.end; begin = end) {
    end = std::min(RunEnd(begin), piece.end);
    if (end - begin == 1) continue;
    SortRun(rows.subspan(begin - piece.begin, end - begin), scratch.subspan(begin - piece.begin, end - begin), /*into_other=*/false);
    ties |= MarkBegins(begin, end);
  }
  return ties;
}

size_t WordSorter::RunEnd(size_t begin) const {
  size_t end = begin + 1;
  while (end < begins_.size() && begins_[end] == 0) ++end;
  return end;
}

void WordSorter::LookUpTied(const Keys& keys, size_t begin, size_t end) {
  constexpr size_t kBlock = 64;  // Looked up at once, so that many rows' cache misses are under way; not at all without a tie.
  for (size_t at = begin; at < end; at += kBlock) {
    const size_t n = std::min(kBlock, end - at), seen = std::min(n + 1, begins_.size() - at);
    if (std::memchr(begins_.data() + at, 0, seen) != nullptr) LookUp(keys, std::span(entries_).subspan(at, n));
  }
}

bool WordSorter::MarkBegins(size_t begin, size_t end) {
  bool ties = false;
  for (size_t i = begin + 1; i < end; ++i) {
    const bool differs = entries_[i].key != entries_[i - 1].key;
    begins_[i] = differs ? 1 : 0;
    ties |= !differs;
  }
  return ties;
}

std::vector<uint32_t> WordSorter::Order() const {
  std::vector<uint32_t> order(entries_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = entries_[i].row;
  return order;
}

}  // namespace sheaf::columns
