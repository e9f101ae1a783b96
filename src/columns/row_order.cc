#include "columns/row_order.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include <arrow/util/bit_util.h>
#include <arrow/util/float16.h>

#include "columns/byte_values.h"
#include "columns/dictionaries.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

using Keys = std::vector<uint64_t>;

/// A column as unsigned numbers that sort as its values do: words[0] counts most.
struct KeyWords {
  std::vector<Keys> words;
};

struct Entry {
  uint64_t key;
  uint32_t row;
};

/// Sorts `order` by keys[row], keeping equal rows in order: least digit first, only as many digits as the
/// keys' spread needs, nothing at all where they are in order already.
void StableSortBy(const Keys& keys, std::vector<uint32_t>* order) {
  if (order->empty()) return;
  uint64_t low = std::numeric_limits<uint64_t>::max(), high = 0, last = 0;
  bool sorted = true;
  for (const uint32_t row : *order) {
    low = std::min(low, keys[row]);
    high = std::max(high, keys[row]);
    sorted &= keys[row] >= last;
    last = keys[row];
  }
  if (sorted) return;
  constexpr int kDigitBits = 11;
  constexpr uint64_t kDigits = uint64_t{1} << kDigitBits;
  const int bits = std::bit_width(high - low);
  std::vector<Entry> from(order->size()), to(order->size());
  for (size_t i = 0; i < order->size(); ++i) from[i] = {keys[(*order)[i]] - low, (*order)[i]};
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    std::array<uint32_t, kDigits> begin{};
    for (const Entry& e : from) ++begin[(e.key >> shift) & (kDigits - 1)];
    uint32_t sum = 0;
    for (uint32_t& b : begin) sum += std::exchange(b, sum);
    for (const Entry& e : from) to[begin[(e.key >> shift) & (kDigits - 1)]++] = e;
    from.swap(to);
  }
  for (size_t i = 0; i < order->size(); ++i) (*order)[i] = from[i].row;
}

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

/// Reads value i of a fixed-width array as an ordered number, or nothing where the type is none.
std::optional<uint64_t> OrderedNumber(arrow::Type::type type, const uint8_t* values, int64_t i) {
  const auto load = [&]<typename T>(T out) {
    std::memcpy(&out, values + i * static_cast<int64_t>(sizeof(T)), sizeof out);
    return out;
  };
  switch (type) {
    case arrow::Type::INT8: return OrderedInt(load(int8_t{}));
    case arrow::Type::INT16: return OrderedInt(load(int16_t{}));
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32: return OrderedInt(load(int32_t{}));
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION: return OrderedInt(load(int64_t{}));
    case arrow::Type::UINT8: return load(uint8_t{});
    case arrow::Type::UINT16: return load(uint16_t{});
    case arrow::Type::UINT32: return load(uint32_t{});
    case arrow::Type::UINT64: return load(uint64_t{});
    case arrow::Type::HALF_FLOAT: return OrderedDouble(arrow::util::Float16::FromBits(load(uint16_t{})).ToFloat());
    case arrow::Type::FLOAT: return OrderedDouble(load(float{}));
    case arrow::Type::DOUBLE: return OrderedDouble(load(double{}));
    default: return {};
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

Result<KeyWords> KeysOf(const ColumnUnion& column, int64_t rows);

/// Walks all rows of a column: visit(piece, row inside it, row number). Stops at an error.
template <typename Visit>
Status EachRow(const ColumnUnion& column, const Visit& visit) {
  size_t row = 0;
  for (const ColumnUnion::Piece& piece : column.pieces()) {
    for (int64_t i = 0; i < piece.data->length; ++i, ++row) SHEAF_RETURN_NOT_OK(visit(piece, i, row));
  }
  return Status::OK();
}

Result<KeyWords> DictionaryKeys(const ColumnUnion& column, int64_t rows) {
  const std::shared_ptr<arrow::ArrayData>& dictionary = column.dictionary();
  SHEAF_ASSIGN_OR_RETURN(auto values, ColumnUnion::Make(dictionary->type, {dictionary}, arrow::default_memory_pool()));
  SHEAF_ASSIGN_OR_RETURN(const KeyWords value_keys, KeysOf(*values, dictionary->length));
  KeyWords out;
  out.words.assign(value_keys.words.size(), Keys(static_cast<size_t>(rows), 0));
  SHEAF_RETURN_NOT_OK(EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) -> Status {
    SHEAF_ASSIGN_OR_RETURN(const int32_t number, column.DictionaryNumber(piece, i));
    if (number < 0) return Status::OK();
    for (size_t w = 0; w < out.words.size(); ++w) out.words[w][row] = value_keys.words[w][static_cast<size_t>(number)];
    return Status::OK();
  }));
  return out;
}

Result<KeyWords> TextKeys(const ColumnUnion& column, int64_t rows) {
  DictionaryUnion all(column.type());
  KeyWords out;
  Keys& keys = out.words.emplace_back();
  keys.reserve(static_cast<size_t>(rows));
  std::vector<int32_t> numbers;
  for (const ColumnUnion::Piece& piece : column.pieces()) {
    SHEAF_RETURN_NOT_OK(all.Add(*piece.data, &numbers));
    for (const int32_t number : numbers) keys.push_back(static_cast<uint64_t>(std::max(number, 0)));
  }
  const std::vector<uint64_t> ranks = Ranks(all.values());
  if (!ranks.empty()) {
    for (uint64_t& key : keys) key = ranks[key];
  }
  return out;
}

Result<KeyWords> FixedBytesKeys(const ColumnUnion& column, int64_t rows, size_t width) {
  KeyWords out;
  out.words.assign((width + 7) / 8, Keys(static_cast<size_t>(rows), 0));
  SHEAF_RETURN_NOT_OK(EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    const auto* bytes = reinterpret_cast<const char*>(piece.values) + i * static_cast<int64_t>(width);
    for (size_t w = 0; w < out.words.size(); ++w) out.words[w][row] = BigEndian(bytes + w * 8, std::min<size_t>(8, width - w * 8));
    return Status::OK();
  }));
  return out;
}

Result<KeyWords> DecimalKeys(const ColumnUnion& column, int64_t rows, size_t words) {
  KeyWords out;
  out.words.assign(words, Keys(static_cast<size_t>(rows), 0));
  SHEAF_RETURN_NOT_OK(EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    for (size_t w = 0; w < words; ++w) {  // Little-endian words of two's complement; the last holds the sign.
      uint64_t word;
      std::memcpy(&word, piece.values + (static_cast<size_t>(i) * words + (words - 1 - w)) * 8, sizeof word);
      out.words[w][row] = w == 0 ? word ^ kSign : word;
    }
    return Status::OK();
  }));
  return out;
}

Result<KeyWords> NumberKeys(const ColumnUnion& column, int64_t rows) {
  KeyWords out;
  Keys& keys = out.words.emplace_back();
  keys.resize(static_cast<size_t>(rows));
  const arrow::Type::type type = column.type()->storage_id();
  SHEAF_RETURN_NOT_OK(EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    if (column.kind() == ColumnUnion::Kind::kBits) {
      keys[row] = arrow::bit_util::GetBit(piece.values, piece.offset + i) ? 1 : 0;
      return Status::OK();
    }
    const std::optional<uint64_t> key = OrderedNumber(type, piece.values, i);
    if (!key) return MakeError(ErrorKind::kUnsupported, "cannot sort by values of type {}", column.type()->ToString());
    keys[row] = *key;
    return Status::OK();
  }));
  return out;
}

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
        SHEAF_ASSIGN_OR_RETURN(out, FixedBytesKeys(column, rows, static_cast<size_t>(column.type()->byte_width())));
      } else if (arrow::is_decimal(id) && column.type()->byte_width() >= 8) {
        SHEAF_ASSIGN_OR_RETURN(out, DecimalKeys(column, rows, static_cast<size_t>(column.type()->byte_width()) / 8));
      } else {
        SHEAF_ASSIGN_OR_RETURN(out, NumberKeys(column, rows));
      }
      break;
    }
    default: return MakeError(ErrorKind::kUnsupported, "cannot sort by values of type {}", column.type()->ToString());
  }
  bool nulls = column.kind() == Kind::kDictionary;
  for (const ColumnUnion::Piece& piece : column.pieces()) nulls |= piece.validity != nullptr;
  if (!nulls) return out;
  Keys valid(static_cast<size_t>(rows), 1);
  bool any = false;
  SHEAF_RETURN_NOT_OK(EachRow(column, [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) -> Status {
    bool null = piece.IsNull(i);
    if (!null && column.kind() == Kind::kDictionary) {
      SHEAF_ASSIGN_OR_RETURN(const int32_t number, column.DictionaryNumber(piece, i));
      null = number < 0;
    }
    if (!null) return Status::OK();
    any = true;
    valid[row] = 0;
    for (Keys& word : out.words) word[row] = 0;
    return Status::OK();
  }));
  if (any) out.words.insert(out.words.begin(), std::move(valid));
  return out;
}

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

/// What decides where a trace goes.
struct Trace {
  uint32_t root = kNone;   // Row of its root so far.
  bool rooted = false;     // The root has no parent, that is.
  uint64_t first = std::numeric_limits<uint64_t>::max();
  uint64_t service = 0;
};

std::vector<Trace> FindRoots(const std::vector<uint32_t>& trace_of, size_t traces, const Keys& times, const std::vector<bool>& parentless) {
  std::vector<Trace> out(traces);
  for (uint32_t row = 0; row < trace_of.size(); ++row) {
    Trace& trace = out[trace_of[row]];
    trace.first = std::min(trace.first, times[row]);
    const bool rooted = parentless[row];
    if (trace.root == kNone || (rooted && !trace.rooted) || (rooted == trace.rooted && times[row] < times[trace.root])) {
      trace.root = row;
      trace.rooted = rooted;
    }
  }
  return out;
}

/// One number a row, in value order; for columns whose keys are one word.
Result<Keys> OneWord(const ColumnUnion& column, int64_t rows) {
  SHEAF_ASSIGN_OR_RETURN(KeyWords keys, KeysOf(column, rows));
  if (keys.words.empty()) return Keys(static_cast<size_t>(rows), 0);
  if (keys.words.size() == 2) {  // NULLs first: shift the values up by one; none is the largest of 64 bits.
    for (size_t i = 0; i < keys.words[1].size(); ++i) keys.words[1][i] = keys.words[0][i] == 0 ? 0 : keys.words[1][i] + 1;
  }
  return std::move(keys.words.back());
}

}  // namespace

Result<std::vector<uint32_t>> SortRows(const RowUnion& rows, const std::vector<int>& columns) {
  std::vector<uint32_t> order(static_cast<size_t>(rows.rows()));
  std::iota(order.begin(), order.end(), 0u);
  for (auto column = columns.rbegin(); column != columns.rend(); ++column) {
    auto keys = KeysOf(rows.column(*column), rows.rows());
    if (!keys.ok()) return WithContext(keys.status(), "column '" + rows.schema()->field(*column)->name() + "'");
    for (auto word = keys->words.rbegin(); word != keys->words.rend(); ++word) StableSortBy(*word, &order);
  }
  return order;
}

Result<std::vector<uint32_t>> SortTraces(const RowUnion& rows, const TraceColumns& columns) {
  SHEAF_ASSIGN_OR_RETURN(const Keys times, OneWord(rows.column(columns.time), rows.rows()));
  SHEAF_ASSIGN_OR_RETURN(const Keys services, OneWord(rows.column(columns.service), rows.rows()));

  const auto n = static_cast<size_t>(rows.rows());
  std::vector<uint32_t> trace_of;
  trace_of.reserve(n);
  DictionaryUnion traces(rows.column(columns.trace).type());
  std::vector<int32_t> numbers;
  for (const ColumnUnion::Piece& piece : rows.column(columns.trace).pieces()) {
    SHEAF_RETURN_NOT_OK(traces.Add(*piece.data, &numbers));
    for (const int32_t number : numbers) trace_of.push_back(static_cast<uint32_t>(number + 1));  // 0: spans without a trace.
  }
  std::vector<bool> parentless(n);
  SHEAF_RETURN_NOT_OK(EachRow(rows.column(columns.parent), [&](const ColumnUnion::Piece& piece, int64_t i, size_t row) {
    parentless[row] = piece.IsNull(i);
    return Status::OK();
  }));

  std::vector<Trace> found = FindRoots(trace_of, static_cast<size_t>(traces.size()) + 1, times, parentless);
  Keys trace_service(found.size(), 0), trace_first(found.size(), 0);
  for (size_t t = 0; t < found.size(); ++t) {
    if (found[t].root == kNone) continue;
    trace_service[t] = services[found[t].root];
    trace_first[t] = found[t].first;
  }
  std::vector<uint32_t> trace_order(found.size());
  std::iota(trace_order.begin(), trace_order.end(), 0u);
  StableSortBy(trace_first, &trace_order);
  StableSortBy(trace_service, &trace_order);
  std::vector<uint32_t> place(found.size());
  for (uint32_t i = 0; i < trace_order.size(); ++i) place[trace_order[i]] = i;

  Keys row_place(n);
  for (size_t row = 0; row < n; ++row) row_place[row] = place[trace_of[row]];
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  StableSortBy(times, &order);
  StableSortBy(row_place, &order);
  return order;
}

}  // namespace sheaf::columns
