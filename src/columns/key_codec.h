/// Primary keys as bytes that order as the keys do: what memtables, parts, compaction and look-ups compare.
///
/// A key of one or more columns becomes one run of bytes; memcmp() of two such runs (the shorter first where one
/// begins the other) gives the order of the keys, column by column. Used in memory and in part indexes, so the
/// encoding is part of the part format (docs/formats/part.md).

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::columns {

class ByteValues;
class RowCodec;

/// Longest encoded key, in bytes.
inline constexpr size_t kKeyBytesMax = 1024;

/// Encoded keys, one behind the other.
struct KeyColumn {
  std::string bytes;
  std::vector<uint32_t> ends;  // Of key i in `bytes`; it begins where the one before ends.

  int64_t size() const { return static_cast<int64_t>(ends.size()); }
  std::string_view operator[](int64_t i) const {
    const uint32_t begin = i == 0 ? 0 : ends[static_cast<size_t>(i) - 1];
    return std::string_view(bytes).substr(begin, ends[static_cast<size_t>(i)] - begin);
  }
  void Add(std::string_view key) {
    bytes.append(key);
    ends.push_back(static_cast<uint32_t>(bytes.size()));
  }
};

/// The encoding of one table's keys. Immutable, thread-safe.
///
/// Integers, dates, times, timestamps, durations and decimals: big-endian, with the sign bit flipped where they have one, in
/// their own width. Booleans: 00 or 01. Text and binary: as they are where they are the last column, else each 00 as 00 FF
/// and 00 00 behind. Fixed-size binary: as is.
class KeyCodec {
 public:
  /// `columns`: positions in `schema` of the key's columns, in key order. Errors: Invalid (none, twice the same, out
  /// of range), Unsupported (a type that cannot be a key: floating point, nested; names the column).
  static Result<std::shared_ptr<const KeyCodec>> Make(std::shared_ptr<arrow::Schema> schema, std::vector<int> columns);

  const std::vector<int>& columns() const { return columns_; }
  /// The key's columns alone, in key order: the schema of a delete. Plain types where the table has dictionaries.
  const std::shared_ptr<arrow::Schema>& key_schema() const { return key_schema_; }
  /// Bytes of every key, or 0 where they differ in length.
  size_t fixed_bytes() const { return fixed_bytes_; }

  /// Keys of a batch that has the table's schema (there may be more columns behind); dictionaries are looked through.
  /// Errors: Invalid (a NULL, another type; names column and row), TooLarge (a key above kKeyBytesMax, 4 GiB of keys),
  /// Corruption (an index outside its dictionary).
  Result<KeyColumn> Encode(const arrow::RecordBatch& batch) const;
  /// Keys of a batch that has key_schema(). Errors as above.
  Result<KeyColumn> EncodeKeys(const arrow::RecordBatch& keys) const;
  /// The key of one compact row; appends to `*key`. Errors as above.
  Status EncodeRow(const RowCodec& rows, std::string_view row, std::string* key) const;
  /// From one scalar a key column, in key order, cast to its type without loss. Errors: Invalid (NULL, wrong number, does not
  /// fit), TooLarge.
  Result<std::string> EncodeScalars(std::span<const std::shared_ptr<arrow::Scalar>> values) const;
  /// The beginning of all keys whose first columns have these values: at most as many as key columns. Below the key of every such row,
  /// and above those of smaller values. Errors as above.
  Result<std::string> EncodePrefix(std::span<const std::shared_ptr<arrow::Scalar>> values) const;
  /// From text, one a key column, as people write values in addresses: numbers, ISO times (or a number in the column's unit),
  /// hex for fixed-size binary. Errors: Invalid, TooLarge.
  Result<std::string> EncodeText(std::span<const std::string> values) const;

  /// Back to one scalar a key column. Error: Corruption (not what Encode() writes).
  Result<std::vector<std::shared_ptr<arrow::Scalar>>> Decode(std::string_view key) const;
  /// Keys as a batch of key_schema(). Error: Corruption.
  Result<std::shared_ptr<arrow::RecordBatch>> DecodeKeys(const KeyColumn& keys) const;
  /// For messages: `7` or `(7, 'a')`; bytes that are no key come as hex.
  std::string ToText(std::string_view key) const;

  /// Compares the key in row `row` of `keys`, which has key_schema() (dictionaries allowed), with an encoded one:
  /// below 0, 0 or above 0, as memcmp() would of the row's encoded key and `key`, whatever bytes that is: part of a key
  /// too. Allocates nothing. NULLs order first. Requires: the columns' types, and valid arrays.
  int Compare(const arrow::RecordBatch& keys, int64_t row, std::string_view key) const;

 private:
  /// How one key column is encoded.
  struct Part {
    enum class Kind : uint8_t { kUnsigned, kSigned, kBytes, kText } kind = Kind::kUnsigned;
    uint32_t width = 0;    // Bytes; 0: text.
    bool boolean = false;  // A bit in Arrow, a byte here.
    bool last = false;
  };
  class Writer;
  class Reader;

  KeyCodec(std::shared_ptr<arrow::Schema> schema, std::vector<int> columns)
      : schema_(std::move(schema)), columns_(std::move(columns)) {}
  static Result<Part> PartOf(const arrow::Field& field);
  Result<std::shared_ptr<arrow::ArrayData>> PlainColumn(const arrow::RecordBatch& batch, int column, size_t part) const;
  Result<KeyColumn> EncodeArrays(const arrow::RecordBatch& batch, std::span<const int> columns) const;
  KeyColumn EncodeFixed(std::span<const ByteValues> values, uint64_t rows) const;
  Result<KeyColumn> EncodeVariable(std::span<const ByteValues> values, uint64_t rows) const;
  /// Appends a value given as in RowCodec: little-endian, text as it is.
  void Append(size_t part, std::string_view value, std::string* key) const;
  Status AppendText(size_t part, const std::string& value, std::string* key) const;
  Status AppendScalar(size_t part, const arrow::Scalar& value, std::string* key) const;
  const std::string& NameOf(size_t part) const;
  Status TooLong(size_t bytes) const;
  Status TooMany(uint64_t rows) const;

  const std::shared_ptr<arrow::Schema> schema_;
  const std::vector<int> columns_;
  std::shared_ptr<arrow::Schema> key_schema_;
  std::vector<Part> parts_;
  size_t fixed_bytes_ = 0;
};

}  // namespace sheaf::columns
