#include "parts/conform_source.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/type_traits.h>
#include <arrow/util/key_value_metadata.h>

#include "columns/column_report.h"
#include "core/check.h"

namespace sheaf::parts {
namespace {

using arrow::DataType;
using columns::GranuleSource;

/// Digits that the values of an integer type may have.
int Digits(const DataType& type) {
  switch (type.id()) {
    case arrow::Type::INT8:
    case arrow::Type::UINT8: return 3;
    case arrow::Type::INT16:
    case arrow::Type::UINT16: return 5;
    case arrow::Type::INT32:
    case arrow::Type::UINT32: return 10;
    case arrow::Type::INT64: return 19;
    default: return 20;
  }
}

bool IsText(const DataType& type) { return type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING; }
bool IsBytes(const DataType& type) { return arrow::is_base_binary_like(type.id()); }

bool CanWidenInteger(const DataType& from, const DataType& to) {
  const int bits = from.bit_width();
  if (arrow::is_integer(to.id())) {
    const bool same_sign = arrow::is_signed_integer(from.id()) == arrow::is_signed_integer(to.id());
    return to.bit_width() > bits && (same_sign || arrow::is_signed_integer(to.id()));
  }
  if (to.id() == arrow::Type::DOUBLE) return bits <= 32;
  if (!arrow::is_decimal(to.id())) return false;
  const auto& decimal = static_cast<const arrow::DecimalType&>(to);
  return decimal.scale() >= 0 && decimal.precision() - decimal.scale() >= Digits(from);
}

/// Whether a zone of the old type is one of the new, value for value.
bool KeepsZones(const DataType& from, const DataType& to) {
  if (from.Equals(to) || IsBytes(from)) return true;
  if (arrow::is_integer(from.id()) && arrow::is_integer(to.id())) {
    return arrow::is_signed_integer(from.id()) == arrow::is_signed_integer(to.id());
  }
  if (arrow::is_decimal(from.id()) && from.id() == to.id()) {
    return static_cast<const arrow::DecimalType&>(from).scale() == static_cast<const arrow::DecimalType&>(to).scale();
  }
  return from.id() == arrow::Type::FLOAT && to.id() == arrow::Type::DOUBLE;
}

std::optional<std::string> ColumnId(const arrow::Field& field) {
  if (!field.metadata()) return {};
  auto id = field.metadata()->Get(kColumnIdKey);
  return id.ok() ? std::optional<std::string>(std::move(*id)) : std::nullopt;
}

/// The position of the field's column in an older schema, or -1.
int FindColumn(const arrow::Field& field, const arrow::Schema& older) {
  const auto id = ColumnId(field);
  for (int c = 0; c < older.num_fields(); ++c) {
    const auto other = ColumnId(*older.field(c));
    if (id && other ? *id == *other : !id && !other && field.name() == older.field(c)->name()) return c;
  }
  return -1;
}

/// One column of the current schema.
struct Column {
  int from = -1;                          // Position in the source; -1: filled.
  bool cast = false;
  bool keeps_zones = false, keeps_filter = false;
  std::shared_ptr<arrow::Scalar> fill;    // Null pointer: NULL.
};

class Conformed : public GranuleSource, public columns::ColumnReportSource {
 public:
  Conformed(std::shared_ptr<const GranuleSource> source, std::shared_ptr<arrow::Schema> schema, std::vector<Column> columns)
      : source_(std::move(source)), reports_(dynamic_cast<const columns::ColumnReportSource*>(source_.get())),
        schema_(std::move(schema)), columns_(std::move(columns)), all_columns_(schema_) {
    if (source_->attributes() != nullptr) ConformAttributes(*source_->attributes());
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  const std::string& name() const override { return source_->name(); }
  uint64_t ordinal() const override { return source_->ordinal(); }
  int64_t rows() const override { return source_->rows(); }
  Lsn min_lsn() const override { return source_->min_lsn(); }
  Lsn max_lsn() const override { return source_->max_lsn(); }
  int num_granules() const override { return source_->num_granules(); }
  int64_t granule_rows(int granule) const override { return source_->granule_rows(granule); }
  const columns::AttributeKeys* attributes() const override { return attributes_ ? &*attributes_ : nullptr; }
  const columns::Zone* source_zone(int column) const override {
    return at(column).keeps_zones ? source_->source_zone(at(column).from) : nullptr;
  }
  const columns::Zone* granule_zone(int granule, int column) const override {
    return at(column).keeps_zones ? source_->granule_zone(granule, at(column).from) : nullptr;
  }
  bool has_filter(int column) const override { return at(column).keeps_filter && source_->has_filter(at(column).from); }
  Status FindGranules(int column, std::string_view value, std::vector<int>* granules) const override {
    SHEAF_CHECK(at(column).keeps_filter);
    return source_->FindGranules(at(column).from, value, granules);
  }
  bool has_tokens(int column) const override { return at(column).keeps_filter && source_->has_tokens(at(column).from); }
  Status FindTokens(int column, std::span<const uint64_t> needs, std::vector<int>* granules) const override {
    SHEAF_CHECK(at(column).keeps_filter);
    return source_->FindTokens(at(column).from, needs, granules);
  }
  int64_t granule_bytes(int granule, const std::vector<int>& columns) const override {
    return source_->granule_bytes(granule, FromSource(columns));
  }

  void ReadAhead(int granule, const std::vector<int>& columns) const override { source_->ReadAhead(granule, FromSource(columns)); }

  /// Of the columns as stored, under the names that they have now; those that are gone keep theirs.
  Result<std::vector<columns::ColumnReport>> ReportColumns() const override {
    if (reports_ == nullptr) return std::vector<columns::ColumnReport>();
    SHEAF_ASSIGN_OR_RETURN(auto reports, reports_->ReportColumns());
    for (columns::ColumnReport& report : reports) {
      const auto now = std::find_if(columns_.begin(), columns_.begin() + schema_->num_fields(),
                                    [&](const Column& column) { return column.from == report.column; });
      if (now == columns_.begin() + schema_->num_fields()) continue;
      const std::string& before = source_->schema()->field(report.column)->name();
      const std::string& name = schema_->field(static_cast<int>(now - columns_.begin()))->name();
      if (report.path.starts_with(before)) report.path.replace(0, before.size(), name);
    }
    return reports;
  }

  int64_t DistinctValues(int column) const override {
    return reports_ == nullptr || at(column).from < 0 ? -1 : reports_->DistinctValues(at(column).from);
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const override {
    SHEAF_ASSIGN_OR_RETURN(const auto read, source_->Read(granule, FromSource(columns)));
    arrow::FieldVector fields;
    arrow::ArrayVector arrays;
    int next = 0;
    for (const int column : columns) {
      fields.push_back(all_columns_->field(column));
      auto array = at(column).from < 0 ? Fill(column, read->num_rows()) : Cast(column, read->column(next++));
      if (!array.ok()) {
        const std::string& of = all_columns_->field(column)->name();
        return WithContext(array.status(), fmt::format("{}: granule {}, column '{}'", name(), granule, of));
      }
      arrays.push_back(std::move(*array));
    }
    return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), read->num_rows(), std::move(arrays));
  }

 private:
  const Column& at(int column) const { return columns_[static_cast<size_t>(column)]; }

  /// Keys of lists that are still there, and their columns behind those of the schema.
  void ConformAttributes(const columns::AttributeKeys& older) {
    columns::AttributeKeys& keys = attributes_.emplace();
    keys.complete = older.complete;
    for (columns::AttributeKey key : older.keys) {
      const auto now = std::find_if(columns_.begin(), columns_.begin() + schema_->num_fields(),
                                    [&](const Column& column) { return column.from == key.column && !column.cast; });
      if (now == columns_.begin() + schema_->num_fields()) continue;
      key.column = static_cast<int>(now - columns_.begin());
      if (key.position >= 0) {
        Column column{.from = key.position, .keeps_zones = true, .keeps_filter = true};
        key.position = static_cast<int>(columns_.size());
        columns_.push_back(std::move(column));
      }
      keys.keys.push_back(std::move(key));
    }
    all_columns_ = columns::WithAttributeColumns(*schema_, keys.keys);
  }

  std::vector<int> FromSource(const std::vector<int>& columns) const {
    std::vector<int> out;
    for (const int column : columns) {
      SHEAF_CHECK(column >= 0 && column < all_columns_->num_fields());
      if (at(column).from >= 0) out.push_back(at(column).from);
    }
    return out;
  }

  Result<std::shared_ptr<arrow::Array>> Fill(int column, int64_t rows) const {
    if (!at(column).fill) return arrow::MakeArrayOfNull(schema_->field(column)->type(), rows);
    return arrow::MakeArrayFromScalar(*at(column).fill, rows);
  }

  Result<std::shared_ptr<arrow::Array>> Cast(int column, std::shared_ptr<arrow::Array> array) const {
    if (!at(column).cast) return array;
    return arrow::compute::Cast(*array, schema_->field(column)->type());
  }

  const std::shared_ptr<const GranuleSource> source_;
  const columns::ColumnReportSource* const reports_;   // Of source_; null: it has none.
  const std::shared_ptr<arrow::Schema> schema_;
  std::vector<Column> columns_;                        // Of all_columns_.
  std::shared_ptr<arrow::Schema> all_columns_;         // Those of attributes, too.
  std::optional<columns::AttributeKeys> attributes_;
};

Result<Column> MakeFilled(const arrow::Field& field, std::shared_ptr<arrow::Scalar> fill) {
  Column out;
  if (fill && fill->is_valid) {
    if (!fill->type->Equals(*field.type())) {
      auto cast = arrow::compute::Cast(fill, field.type());
      if (!cast.ok()) {
        return MakeError(ErrorKind::kInvalid, "column '{}' of type {} cannot be filled with {}: {}", field.name(), field.type()->ToString(),
                         fill->ToString(), cast.status().message());
      }
      fill = cast->scalar();
    }
    out.fill = std::move(fill);
  } else if (!field.nullable()) {
    return MakeError(ErrorKind::kInvalid, "column '{}', which allows no NULL, has no value for older rows", field.name());
  }
  return out;
}

}  // namespace

bool CanWiden(const DataType& from, const DataType& to) {
  if (from.Equals(to)) return false;
  if (arrow::is_integer(from.id())) return CanWidenInteger(from, to);
  if (from.id() == arrow::Type::FLOAT) return to.id() == arrow::Type::DOUBLE;
  if (arrow::is_decimal(from.id()) && arrow::is_decimal(to.id())) {
    const auto& a = static_cast<const arrow::DecimalType&>(from);
    const auto& b = static_cast<const arrow::DecimalType&>(to);
    return b.byte_width() >= a.byte_width() && b.scale() >= a.scale() && b.precision() - b.scale() >= a.precision() - a.scale();
  }
  if (!IsBytes(from) || !IsBytes(to) || IsText(from) != IsText(to)) return false;
  return arrow::is_large_binary_like(to.id());
}

Result<std::shared_ptr<const GranuleSource>> ConformSource(std::shared_ptr<const GranuleSource> source,
                                                           std::shared_ptr<arrow::Schema> schema,
                                                           const std::vector<std::shared_ptr<arrow::Scalar>>& fills) {
  const arrow::Schema& older = *source->schema();
  std::vector<Column> columns;
  bool same = older.num_fields() == schema->num_fields();
  for (int c = 0; c < schema->num_fields(); ++c) {
    const arrow::Field& field = *schema->field(c);
    Column& column = columns.emplace_back();
    column.from = FindColumn(field, older);
    if (column.from < 0) {
      const auto i = static_cast<size_t>(c);
      SHEAF_ASSIGN_OR_RETURN(column, MakeFilled(field, i < fills.size() ? fills[i] : nullptr));
      same = false;
      continue;
    }
    const DataType& from = *older.field(column.from)->type();
    column.cast = !from.Equals(*field.type());
    if (column.cast && !CanWiden(from, *field.type())) {
      return MakeError(ErrorKind::kUnsupported, "{}: column '{}' was written as {} and cannot be read as {}", source->name(), field.name(),
                       from.ToString(), field.type()->ToString());
    }
    column.keeps_zones = KeepsZones(from, *field.type());
    column.keeps_filter = !column.cast || IsBytes(from);
    same &= !column.cast && column.from == c && field.name() == older.field(c)->name();
  }
  if (same) return source;
  return std::make_shared<const Conformed>(std::move(source), std::move(schema), std::move(columns));
}

}  // namespace sheaf::parts
