/// What the five metric tables share: the columns around a data point's values.

#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "decode/attribute_column.h"
#include "decode/column_buffers.h"
#include "decode/dictionary_column.h"
#include "decode/envelopes.h"
#include "decode/record_id.h"
#include "decode/request_context.h"

namespace sheaf::decode {

/// Fixed-width values that may be absent.
template <typename T>
class OptionalColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows) {
    values_.Start(memory, rows);
    valid_.Start(memory, rows);
    count_ = 0;
  }
  void Reserve(int64_t rows) {
    values_.Reserve(rows);
    valid_.Reserve(rows);
  }
  int64_t capacity() const { return values_.capacity(); }
  void Put(int64_t row, const std::optional<T>& value) {
    values_[row] = value.value_or(T{});
    valid_.Set(row, value.has_value());
    count_ += value.has_value();
  }
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const { return MakeArray(type, rows, values_.View(rows), valid_, rows - count_); }
  void Trim(int64_t bytes_max) {
    values_.Trim(bytes_max);
    valid_.Trim(bytes_max);
  }

 private:
  Column<T> values_;
  BitColumn valid_;
  int64_t count_ = 0;
};

/// A list of 64-bit numbers a row (counts, or the bits of doubles).
class NumberListColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows);
  void ReserveRows(int64_t rows) { offsets_.Reserve(rows + 1); }
  void EndRow(int64_t row) { offsets_[row + 1] = static_cast<int32_t>(size_); }
  void Append(uint64_t value) {
    if (size_ == values_.capacity()) [[unlikely]] Grow(size_ + 1);
    values_[size_++] = value;
  }
  /// Appends a packed run of fixed64, or of varints. False where it is malformed.
  bool AppendFixed(std::string_view run, RequestContext* context);
  bool AppendVarints(std::string_view run, RequestContext* context);
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const {
    return MakeList(type, rows, offsets_, MakeArray(ItemType(type), size_, values_.View(size_)));
  }
  void Trim(int64_t bytes_max) {
    offsets_.Trim(bytes_max);
    values_.Trim(bytes_max);
  }

 private:
  void Grow(int64_t wanted);
  Column<int32_t> offsets_;
  Column<uint64_t> values_;
  int64_t size_ = 0;
};

/// A number data point's or exemplar's value: a double, an integer, or neither.
struct NumberValue {
  std::optional<double> value;  // An integer's too, as near as a double comes.
  std::optional<int64_t> value_int;

  void SetDouble(double v) { *this = {v, std::nullopt}; }
  void SetInt(int64_t v) { *this = {static_cast<double>(v), v}; }
};

/// The exemplars column.
class ExemplarColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows);
  void ReserveRows(int64_t rows) { offsets_.Reserve(rows + 1); }
  /// Adds one Exemplar message to the row. Returns false where the request must fail.
  bool Add(std::string_view message, RequestContext* context);
  void EndRow(int64_t row) { offsets_[row + 1] = static_cast<int32_t>(size_); }
  int64_t attributes() const { return attributes_.size(); }
  bool TextIsUtf8() const { return attributes_.TextIsUtf8(); }
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const;
  void Trim(int64_t bytes_max);

 private:
  void Grow();

  Column<int32_t> offsets_;
  Column<uint64_t> time_;
  OptionalColumn<double> value_;
  OptionalColumn<int64_t> value_int_;
  IdColumn<TraceIdBytes> trace_id_;
  IdColumn<SpanIdBytes> span_id_;
  AttributeColumn attributes_;
  int64_t size_ = 0, capacity_ = 0;
};

/// The columns every metric table begins with. Filled point by point: Begin(), then the point's own
/// fields into `time`, `start_time`, `flags`, AddAttribute, AddExemplar; End().
class PointColumns {
 public:
  void Start(RequestMemory* memory);
  /// Makes room for the next point. True where the table's other columns must follow to `rows_capacity()`.
  bool Grow();
  bool Begin(const Envelopes& envelopes, RequestContext* context);
  bool End(std::string_view message, RequestContext* context);

  bool AddAttribute(std::string_view bytes, RequestContext* context) { return attributes_.Add(bytes, context); }
  bool AddExemplar(std::string_view bytes, RequestContext* context) { return exemplars_.Add(bytes, context); }

  int64_t rows() const { return rows_; }
  int64_t rows_capacity() const { return rows_capacity_; }
  bool TextIsUtf8() const { return attributes_.TextIsUtf8() && exemplars_.TextIsUtf8(); }
  /// Appends the columns from metric_name to original, in the schema's order.
  void Finish(const arrow::Schema& schema, bool with_exemplars, std::vector<ArrayDataPtr>* columns);
  void Trim(int64_t bytes_max);

  uint64_t time = 0, start_time = 0;
  uint32_t flags = 0;

 private:
  void EnterMetric(const Envelopes& envelopes, RequestContext* context);

  int64_t rows_ = 0, rows_capacity_ = 0;
  RunColumn metric_name_, unit_, metric_;
  int64_t metrics_filled_ = 0;
  uint64_t serial_ = 0;
  Column<uint64_t> time_, start_time_;
  Column<uint32_t> flags_;
  AttributeColumn attributes_;
  ExemplarColumn exemplars_;
  EnvelopeColumns envelopes_;
  OriginalColumn original_;
  int64_t attributes_before_ = 0;
};

}  // namespace sheaf::decode
