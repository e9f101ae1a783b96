#include "columns/key_codec.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/utf8.h>
#include <fmt/ranges.h>

#include "columns/byte_values.h"
#include "columns/row_codec.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

using arrow::ArrayData;
using ArrayDataPtr = std::shared_ptr<ArrayData>;

constexpr uint64_t kTotalBytesMax = std::numeric_limits<uint32_t>::max();
constexpr char kSignBit = static_cast<char>(0x80);
constexpr std::string_view kZero("\0\xFF", 2);  // A 00 inside text that is not the last column…
constexpr std::string_view kEnd("\0\0", 2);     // …and its end, which orders before every byte that could follow.

void CopyBytes(std::string_view from, char* to) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

/// Little-endian bytes in the order of their value.
void ReverseInto(const char* value, size_t width, bool is_signed, char* out) {
  for (size_t b = 0; b < width; ++b) out[b] = value[width - 1 - b];
  if (is_signed && width > 0) out[0] = static_cast<char>(out[0] ^ kSignBit);
}

template <typename T>
T ByteSwap(T value) {
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  return value;
}

/// The row's index in its dictionary.
int64_t IndexAt(const ArrayData& data, int64_t row) {
  const auto at = [&]<typename T>(T) { return static_cast<int64_t>(data.GetValues<T>(1)[row]); };
  switch (static_cast<const arrow::DictionaryType&>(*data.type).index_type()->id()) {
    case arrow::Type::INT8: return at(int8_t());
    case arrow::Type::UINT8: return at(uint8_t());
    case arrow::Type::INT16: return at(int16_t());
    case arrow::Type::UINT16: return at(uint16_t());
    case arrow::Type::INT32: return at(int32_t());
    case arrow::Type::UINT32: return at(uint32_t());
    default: return at(int64_t());  // Also of uint64: what is too large for int64 is outside its dictionary and negative here.
  }
}

bool IsNullAt(const ArrayData& data, int64_t row) {
  return data.buffers[0] && !arrow::bit_util::GetBit(data.buffers[0]->data(), data.offset + row);
}

/// Booleans as bytes.
ArrayDataPtr Widened(const ArrayData& data) {
  std::string bytes(static_cast<size_t>(data.length), '\0');
  const uint8_t* bits = data.buffers[1] ? data.buffers[1]->data() : nullptr;
  for (int64_t i = 0; i < data.length; ++i)
    bytes[static_cast<size_t>(i)] = arrow::bit_util::GetBit(bits, data.offset + i) ? 1 : 0;
  return ArrayData::Make(arrow::uint8(), data.length, {nullptr, arrow::Buffer::FromString(std::move(bytes))}, 0);
}

/// The values behind a dictionary's indexes, NULL ones excepted. `is_boolean`: the dictionary's values are.
Result<ArrayDataPtr> LookedUp(const ArrayData& data, const std::string& name, uint32_t width, bool is_boolean) {
  const ArrayDataPtr dictionary = is_boolean ? Widened(*data.dictionary) : data.dictionary;
  const auto values = ByteValues::Of(*dictionary);
  SHEAF_CHECK(values.has_value());
  std::string bytes, ends(sizeof(int64_t), '\0');
  if (width > 0) bytes.reserve(static_cast<size_t>(data.length) * width);
  for (int64_t i = 0; i < data.length; ++i) {
    const int64_t index = IndexAt(data, i);
    if (index < 0 || index >= values->size()) {
      return MakeError(ErrorKind::kCorruption, "key column '{}', row {}: index {} of a dictionary of {}", name, i, index,
                       values->size());
    }
    if (IsNullAt(*data.dictionary, index)) return MakeError(ErrorKind::kInvalid, "key column '{}' is NULL in row {}", name, i);
    bytes += (*values)[index];
    const auto end = static_cast<int64_t>(bytes.size());
    if (width == 0) ends.append(reinterpret_cast<const char*>(&end), sizeof end);
  }
  auto buffer = arrow::Buffer::FromString(std::move(bytes));
  if (width > 0) return ArrayData::Make(arrow::fixed_size_binary(static_cast<int32_t>(width)), data.length, {nullptr, buffer}, 0);
  return ArrayData::Make(arrow::large_binary(), data.length, {nullptr, arrow::Buffer::FromString(std::move(ends)), buffer}, 0);
}

}  // namespace

/// Puts column by column into keys whose places are known.
class KeyCodec::Writer {
 public:
  /// Where a row's key has its next byte: keys of one length…
  struct Stride {
    char* base;
    size_t stride;
    char* operator()(int64_t row, size_t) const { return base + static_cast<size_t>(row) * stride; }
  };
  /// …or of any, whose places move on as columns are written.
  struct Cursors {
    char* base;
    uint32_t* at;
    char* operator()(int64_t row, size_t bytes) const {
      char* out = base + at[row];
      at[row] += static_cast<uint32_t>(bytes);
      return out;
    }
  };

  template <typename Place>
  static void Fixed(const Part& part, const ByteValues& values, const Place& place) {
    const bool is_signed = part.kind == Part::Kind::kSigned;
    if (part.kind == Part::Kind::kBytes) {
      for (int64_t i = 0; i < values.size(); ++i) CopyBytes(values[i], place(i, part.width));
      return;
    }
    switch (part.width) {
      case 1: return Numbers<uint8_t>(values, is_signed, place);
      case 2: return Numbers<uint16_t>(values, is_signed, place);
      case 4: return Numbers<uint32_t>(values, is_signed, place);
      case 8: return Numbers<uint64_t>(values, is_signed, place);
      default:
        for (int64_t i = 0; i < values.size(); ++i) ReverseInto(values[i].data(), part.width, is_signed, place(i, part.width));
    }
  }

  /// Bytes of a text that is not the last column.
  static size_t EscapedBytes(std::string_view text) {
    return text.size() + kEnd.size() + static_cast<size_t>(std::count(text.begin(), text.end(), '\0'));
  }
  static void Escaped(std::string_view text, char* out) {
    while (const void* zero = text.empty() ? nullptr : std::memchr(text.data(), 0, text.size())) {
      const auto before = static_cast<size_t>(static_cast<const char*>(zero) - text.data());
      CopyBytes(text.substr(0, before), out);
      CopyBytes(kZero, out + before);
      out += before + kZero.size();
      text.remove_prefix(before + 1);
    }
    CopyBytes(text, out);
    CopyBytes(kEnd, out + text.size());
  }

 private:
  template <typename T, typename Place>
  static void Numbers(const ByteValues& values, bool is_signed, const Place& place) {
    if (values.size() == 0) return;
    const T flip = is_signed ? static_cast<T>(T{1} << (sizeof(T) * 8 - 1)) : T{0};
    const char* in = values[0].data();
    for (int64_t i = 0; i < values.size(); ++i, in += sizeof(T)) {
      T value;
      std::memcpy(&value, in, sizeof value);
      value = ByteSwap(static_cast<T>(value ^ flip));
      std::memcpy(place(i, sizeof value), &value, sizeof value);
    }
  }
};

Result<KeyCodec::Part> KeyCodec::PartOf(const arrow::Field& field) {
  const arrow::DataType& type = *field.type();
  const auto fixed = [&](Part::Kind kind) { return Part{.kind = kind, .width = static_cast<uint32_t>(type.byte_width())}; };
  switch (type.id()) {
    case arrow::Type::BOOL: return Part{.kind = Part::Kind::kUnsigned, .width = 1, .boolean = true};
    case arrow::Type::UINT8:
    case arrow::Type::UINT16:
    case arrow::Type::UINT32:
    case arrow::Type::UINT64: return fixed(Part::Kind::kUnsigned);
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256: return fixed(Part::Kind::kSigned);
    case arrow::Type::FIXED_SIZE_BINARY:
      if (type.byte_width() == 0 || static_cast<size_t>(type.byte_width()) > kKeyBytesMax) break;
      return fixed(Part::Kind::kBytes);
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY: return Part{.kind = Part::Kind::kText};
    default: break;
  }
  return MakeError(
      ErrorKind::kUnsupported,
      "column '{}' of type {} cannot be part of a primary key: take integers, decimals, times, booleans, text or binary",
      field.name(), type.ToString());
}

Result<std::shared_ptr<const KeyCodec>> KeyCodec::Make(std::shared_ptr<arrow::Schema> schema, std::vector<int> columns) {
  arrow::util::InitializeUTF8();
  if (columns.empty()) return MakeError(ErrorKind::kInvalid, "a primary key needs at least one column");
  std::shared_ptr<KeyCodec> out(new KeyCodec(std::move(schema), std::move(columns)));
  arrow::FieldVector fields;
  size_t fixed = 0;
  bool text = false;
  for (size_t i = 0; i < out->columns_.size(); ++i) {
    const int column = out->columns_[i];
    if (column < 0 || column >= out->schema_->num_fields()) {
      return MakeError(ErrorKind::kInvalid, "a primary key names column {} of {}", column, out->schema_->num_fields());
    }
    std::shared_ptr<arrow::Field> field = out->schema_->field(column);
    if (std::count(out->columns_.begin(), out->columns_.end(), column) > 1) {
      return MakeError(ErrorKind::kInvalid, "a primary key names column '{}' twice", field->name());
    }
    if (field->type()->id() == arrow::Type::DICTIONARY) {
      field = field->WithType(static_cast<const arrow::DictionaryType&>(*field->type()).value_type());
    }
    SHEAF_ASSIGN_OR_RETURN(Part part, PartOf(*field));
    part.last = i + 1 == out->columns_.size();
    fixed += part.width;
    text |= part.kind == Part::Kind::kText;
    out->parts_.push_back(part);
    fields.push_back(std::move(field));
  }
  if (fixed > kKeyBytesMax) {
    return MakeError(ErrorKind::kUnsupported, "keys of this primary key take {} bytes, at most {} are possible", fixed,
                     kKeyBytesMax);
  }
  out->fixed_bytes_ = text ? 0 : fixed;
  out->key_schema_ = arrow::schema(std::move(fields));
  return out;
}

const std::string& KeyCodec::NameOf(size_t part) const { return key_schema_->field(static_cast<int>(part))->name(); }

Status KeyCodec::TooMany(uint64_t rows) const {
  return MakeError(ErrorKind::kTooLarge, "the keys of {} rows take over 4 GiB: send fewer at once", rows);
}

Status KeyCodec::TooLong(size_t bytes) const {
  return MakeError(ErrorKind::kTooLarge, "a key of {} bytes is above the limit of {}; key columns: {}", bytes, kKeyBytesMax,
                   fmt::join(key_schema_->field_names(), ", "));
}

Result<KeyColumn> KeyCodec::Encode(const arrow::RecordBatch& batch) const { return EncodeArrays(batch, columns_); }

Result<KeyColumn> KeyCodec::EncodeKeys(const arrow::RecordBatch& keys) const {
  std::vector<int> columns(parts_.size());
  for (size_t i = 0; i < columns.size(); ++i) columns[i] = static_cast<int>(i);
  return EncodeArrays(keys, columns);
}

/// A key column of a batch as plain values without NULLs.
Result<ArrayDataPtr> KeyCodec::PlainColumn(const arrow::RecordBatch& batch, int column, size_t part) const {
  if (column >= batch.num_columns()) {
    return MakeError(ErrorKind::kInvalid, "a batch of {} columns has no key column '{}'", batch.num_columns(), NameOf(part));
  }
  const ArrayDataPtr& data = batch.column_data(column);
  const bool in_dictionary = data->type->id() == arrow::Type::DICTIONARY;
  const auto& type = in_dictionary ? static_cast<const arrow::DictionaryType&>(*data->type).value_type() : data->type;
  const auto& want = key_schema_->field(static_cast<int>(part))->type();
  if (!type->Equals(*want)) {
    return MakeError(ErrorKind::kInvalid, "key column '{}' is of type {}, not {}", NameOf(part), want->ToString(),
                     type->ToString());
  }
  if (data->GetNullCount() > 0) {
    int64_t row = 0;
    while (!IsNullAt(*data, row)) ++row;
    return MakeError(ErrorKind::kInvalid, "key column '{}' is NULL in row {}", NameOf(part), row);
  }
  if (in_dictionary) return LookedUp(*data, NameOf(part), parts_[part].width, parts_[part].boolean);
  return parts_[part].boolean ? Widened(*data) : data;
}

Result<KeyColumn> KeyCodec::EncodeArrays(const arrow::RecordBatch& batch, std::span<const int> columns) const {
  std::vector<ArrayDataPtr> keep;
  std::vector<ByteValues> values;
  for (size_t p = 0; p < parts_.size(); ++p) {
    SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr plain, PlainColumn(batch, columns[p], p));
    values.push_back(*ByteValues::Of(*plain));
    keep.push_back(std::move(plain));
  }
  const auto rows = static_cast<uint64_t>(batch.num_rows());
  if (rows * std::max<uint64_t>(fixed_bytes_, 1) > kTotalBytesMax) return TooMany(rows);
  return fixed_bytes_ > 0 ? EncodeFixed(values, rows) : EncodeVariable(values, rows);
}

KeyColumn KeyCodec::EncodeFixed(std::span<const ByteValues> values, uint64_t rows) const {
  KeyColumn out;
  out.bytes.resize(rows * fixed_bytes_);
  out.ends.resize(rows);
  for (size_t i = 0; i < rows; ++i) out.ends[i] = static_cast<uint32_t>((i + 1) * fixed_bytes_);
  char* at = out.bytes.data();
  for (size_t p = 0; p < parts_.size(); at += parts_[p].width, ++p)
    Writer::Fixed(parts_[p], values[p], Writer::Stride{at, fixed_bytes_});
  return out;
}

/// Lengths first, then each key's place, then column by column into place.
Result<KeyColumn> KeyCodec::EncodeVariable(std::span<const ByteValues> values, uint64_t rows) const {
  KeyColumn out;
  out.ends.resize(rows);
  std::vector<uint32_t> at(rows);
  uint64_t total = 0;
  for (size_t i = 0; i < rows; ++i) {
    size_t bytes = 0;
    for (size_t p = 0; p < parts_.size(); ++p) {
      if (parts_[p].width > 0) {
        bytes += parts_[p].width;
      } else {
        const std::string_view text = values[p][static_cast<int64_t>(i)];
        bytes += parts_[p].last ? text.size() : Writer::EscapedBytes(text);
      }
    }
    if (bytes > kKeyBytesMax) return TooLong(bytes);
    at[i] = static_cast<uint32_t>(total);
    total += bytes;
    if (total > kTotalBytesMax) return TooMany(rows);
    out.ends[i] = static_cast<uint32_t>(total);
  }
  if (parts_.size() == 1) {  // One text column: its bytes lie there as the keys want them.
    const char* begin = nullptr;
    for (int64_t i = 0; total > 0 && begin == nullptr; ++i) begin = values[0][i].data();  // An empty text has no address.
    if (total > 0) out.bytes.assign(begin, total);
    return out;
  }
  out.bytes.resize(total);
  const Writer::Cursors cursors{out.bytes.data(), at.data()};
  for (size_t p = 0; p < parts_.size(); ++p) {
    if (parts_[p].width > 0) {
      Writer::Fixed(parts_[p], values[p], cursors);
    } else if (parts_[p].last) {
      for (int64_t i = 0; i < values[p].size(); ++i) CopyBytes(values[p][i], cursors(i, values[p][i].size()));
    } else {
      for (int64_t i = 0; i < values[p].size(); ++i)
        Writer::Escaped(values[p][i], cursors(i, Writer::EscapedBytes(values[p][i])));
    }
  }
  return out;
}

void KeyCodec::Append(size_t part, std::string_view value, std::string* key) const {
  const Part& p = parts_[part];
  const size_t before = key->size();
  if (p.kind == Part::Kind::kBytes || (p.kind == Part::Kind::kText && p.last)) {
    key->append(value);
  } else if (p.kind == Part::Kind::kText) {
    key->resize(before + Writer::EscapedBytes(value));
    Writer::Escaped(value, key->data() + before);
  } else if (p.width == 8) {
    uint64_t word;
    std::memcpy(&word, value.data(), sizeof word);
    if (p.kind == Part::Kind::kSigned) word ^= uint64_t{1} << 63;
    word = __builtin_bswap64(word);
    key->append(reinterpret_cast<const char*>(&word), sizeof word);
  } else {
    key->resize(before + p.width);
    ReverseInto(value.data(), p.width, p.kind == Part::Kind::kSigned, key->data() + before);
  }
}

Status KeyCodec::EncodeRow(const RowCodec& rows, std::string_view row, std::string* key) const {
  const size_t before = key->size();
  for (size_t p = 0; p < parts_.size(); ++p) {
    if (rows.IsNull(row, columns_[p])) return MakeError(ErrorKind::kInvalid, "key column '{}' is NULL", NameOf(p));
    Append(p, rows.Value(row, columns_[p]), key);
  }
  if (const size_t bytes = key->size() - before; bytes > kKeyBytesMax) {
    key->resize(before);
    return TooLong(bytes);
  }
  return Status::OK();
}

namespace {

/// Compares piece by piece what an encoded key would be with one that is there.
class Comparison {
 public:
  explicit Comparison(std::string_view key) : rest_(key) {}
  /// Not 0: that is the answer.
  int Next(std::string_view piece) {
    const size_t n = std::min(piece.size(), rest_.size());
    const int order = n == 0 ? 0 : std::memcmp(piece.data(), rest_.data(), n);
    if (order != 0) return order;
    if (piece.size() > n) return 1;
    rest_.remove_prefix(n);
    return 0;
  }
  int NextEscaped(std::string_view text) {
    while (const void* zero = text.empty() ? nullptr : std::memchr(text.data(), 0, text.size())) {
      const auto before = static_cast<size_t>(static_cast<const char*>(zero) - text.data());
      if (const int order = Next(text.substr(0, before)); order != 0) return order;
      if (const int order = Next(kZero); order != 0) return order;
      text.remove_prefix(before + 1);
    }
    const int order = Next(text);
    return order != 0 ? order : Next(kEnd);
  }
  int End() const { return rest_.empty() ? 0 : -1; }

 private:
  std::string_view rest_;
};

constexpr size_t kNumberBytesMax = 32;  // Of decimal256.

}  // namespace

int KeyCodec::Compare(const arrow::RecordBatch& keys, int64_t row, std::string_view key) const {
  Comparison comparison(key);
  for (size_t p = 0; p < parts_.size(); ++p) {
    const ArrayData* data = keys.column_data(static_cast<int>(p)).get();
    int64_t at = row;
    if (IsNullAt(*data, at)) return -1;
    if (data->type->id() == arrow::Type::DICTIONARY) {
      at = IndexAt(*data, row);
      data = data->dictionary.get();
      SHEAF_CHECK(at >= 0 && at < data->length);
      if (IsNullAt(*data, at)) return -1;
    }
    const Part& part = parts_[p];
    int order = 0;
    if (part.boolean) {
      const char byte = arrow::bit_util::GetBit(data->buffers[1]->data(), data->offset + at) ? 1 : 0;
      order = comparison.Next({&byte, 1});
    } else {
      const std::string_view value = (*ByteValues::Of(*data))[at];
      if (part.kind == Part::Kind::kBytes || (part.kind == Part::Kind::kText && part.last)) {
        order = comparison.Next(value);
      } else if (part.kind == Part::Kind::kText) {
        order = comparison.NextEscaped(value);
      } else {
        char bytes[kNumberBytesMax];
        ReverseInto(value.data(), part.width, part.kind == Part::Kind::kSigned, bytes);
        order = comparison.Next({bytes, part.width});
      }
    }
    if (order != 0) return order;
  }
  return comparison.End();
}

}  // namespace sheaf::columns
