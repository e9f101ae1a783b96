/// Reads the columns of a telemetry batch row by row, for the way back to OTLP.
///
/// Columns are found by name and checked once; then access is without checks on types. A batch read from
/// the log or a part may have other buffers than a decoder's, but the same schema.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "core/status.h"
#include "decode/attributes.h"

namespace sheaf::decode {

/// A dictionary column of text or bytes.
class DictionaryView {
 public:
  DictionaryView() = default;
  explicit DictionaryView(const arrow::Array& array)
      : ids_(&static_cast<const arrow::DictionaryArray&>(array)), values_(&static_cast<const arrow::BinaryArray&>(*ids_->dictionary())) {}
  int64_t id(int64_t row) const { return ids_->GetValueIndex(row); }
  std::string_view operator[](int64_t row) const { return values_->GetView(id(row)); }
  const arrow::BinaryArray& values() const { return *values_; }

 private:
  const arrow::DictionaryArray* ids_ = nullptr;
  const arrow::BinaryArray* values_ = nullptr;  // utf8 has the same layout.
};

/// Text or bytes, some of which may be absent.
class BytesView {
 public:
  BytesView() = default;
  explicit BytesView(const arrow::Array& array) : array_(&static_cast<const arrow::BinaryArray&>(array)) {}
  std::optional<std::string_view> operator[](int64_t row) const {
    return array_->IsNull(row) ? std::nullopt : std::optional(array_->GetView(row));
  }

 private:
  const arrow::BinaryArray* array_ = nullptr;
};

/// Ids of 8 or 16 bytes; empty where NULL.
class IdView {
 public:
  IdView() = default;
  explicit IdView(const arrow::Array& array) : array_(&static_cast<const arrow::FixedSizeBinaryArray&>(array)) {}
  std::string_view operator[](int64_t row) const { return array_->IsNull(row) ? std::string_view() : array_->GetView(row); }

 private:
  const arrow::FixedSizeBinaryArray* array_ = nullptr;
};

/// Numbers of one width, some of which may be absent.
template <typename T>
class NumberView {
 public:
  NumberView() = default;
  explicit NumberView(const arrow::Array& array) : array_(&array), values_(array.data()->GetValues<T>(1)) {}
  T operator[](int64_t row) const { return values_[row]; }
  std::optional<T> get(int64_t row) const { return array_->IsNull(row) ? std::nullopt : std::optional(values_[row]); }

 private:
  const arrow::Array* array_ = nullptr;
  const T* values_ = nullptr;
};

class BoolView {
 public:
  BoolView() = default;
  explicit BoolView(const arrow::Array& array) : array_(&static_cast<const arrow::BooleanArray&>(array)) {}
  bool operator[](int64_t row) const { return array_->Value(row); }

 private:
  const arrow::BooleanArray* array_ = nullptr;
};

/// A list column: where a row's items stand in its child.
class ListView {
 public:
  ListView() = default;
  explicit ListView(const arrow::Array& array) : list_(&static_cast<const arrow::ListArray&>(array)) {}
  int64_t begin(int64_t row) const { return list_->value_offset(row); }
  int64_t end(int64_t row) const { return list_->value_offset(row + 1); }
  const arrow::Array& items() const { return *list_->values(); }
  /// A field of the structs in the list.
  const arrow::Array& field(int i) const { return *static_cast<const arrow::StructArray&>(items()).field(i); }

 private:
  const arrow::ListArray* list_ = nullptr;
};

/// An attributes column.
class AttributesView {
 public:
  AttributesView() = default;
  explicit AttributesView(const arrow::Array& array)
      : list_(array), key_(list_.field(0)), type_(list_.field(1)), num_(list_.field(2)), val_(list_.field(3)) {}
  int64_t begin(int64_t row) const { return list_.begin(row); }
  int64_t end(int64_t row) const { return list_.end(row); }
  /// Item `i`, counted over all rows: from begin(row) to end(row).
  Attribute item(int64_t i) const { return {key_[i], value(i)}; }
  AttributeValue value(int64_t i) const { return {static_cast<ValueType>(type_[i]), num_[i], val_[i].value_or(std::string_view())}; }
  /// The key of item `i` as a number in keys(); not checked.
  int64_t key_number(int64_t i) const { return key_.id(i); }
  const arrow::BinaryArray& keys() const { return key_.values(); }

 private:
  ListView list_;
  DictionaryView key_;
  NumberView<uint8_t> type_;
  NumberView<int64_t> num_;
  BytesView val_;
};

}  // namespace sheaf::decode
