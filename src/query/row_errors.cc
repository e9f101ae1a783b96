#include "query/row_errors.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <arrow/table.h>
#include <arrow/util/utf8.h>

#include "query/cell_text.h"
#include "query/row_reader.h"
#include "query/text_rows.h"

namespace sheaf::query {
namespace {

/// Rows that are read at once before it is known that one of them is wrong.
constexpr size_t kPieceRows = 1024;
constexpr size_t kQuotedBytesMax = 64;

/// How the messages about text that is no JSON begin; others are about a column.
constexpr std::string_view kJsonFaults[] = {"Miss",         "Invalid value", "Invalid escape", "Invalid encoding",
                                            "The document", "The surrogate", "Incorrect hex",  "Number too",
                                            "Unspecific"};

/// A value as a message quotes it.
std::string Quote(std::string_view text) {
  const bool cut = text.size() > kQuotedBytesMax;
  text = text.substr(0, kQuotedBytesMax);
  while (cut && !text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.remove_suffix(1);
  if (cut && !text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.remove_suffix(1);
  return std::string(text) + (cut ? "…" : "");
}

/// "CSV parse error: Row #2: …" and "JSON parse error: … in row 0" without what only their reader knows.
std::string WithoutReader(std::string message) {
  for (const std::string_view prefix :
       {"the CSV cannot be read: ", "the NDJSON cannot be read: ", "CSV parse error: ", "JSON parse error: "}) {
    if (message.starts_with(prefix)) message.erase(0, prefix.size());
  }
  if (const size_t row = message.find(" in row "); row != std::string::npos) message.resize(row);
  return message;
}

class RowErrorFinder {
 public:
  RowErrorFinder(Format format, std::shared_ptr<arrow::Buffer> bytes, std::shared_ptr<arrow::Schema> schema, TrackingPool* pool)
      : format_(format), bytes_(std::move(bytes)), schema_(std::move(schema)), pool_(pool) {}

  RowErrors Find() {
    TextRows rows(format_, text());
    if (format_ == Format::kCsv) {
      const auto head = rows.Next();
      if (!head || !ReadHead(*head)) return std::move(found_);
    }
    while (!Over()) {
      rows_.clear();
      while (rows_.size() < kPieceRows) {
        const auto row = rows.Next();
        if (!row) break;
        rows_.push_back(*row);
      }
      if (rows_.empty()) break;
      Search(0, rows_.size());
    }
    return std::move(found_);
  }

 private:
  std::string_view text() const { return std::string_view(*bytes_); }
  std::string_view TextOf(const TextRow& row) const { return text().substr(row.begin, row.end - row.begin); }
  bool Over() const { return found_.rows_wrong >= kRowsWrongMax || pool_->refused(); }

  void Add(int64_t line, std::string column, std::string message) {
    if (found_.first.size() < kRowErrorsToldMax) found_.first.push_back({line, std::move(column), std::move(message)});
  }

  /// False where it is wrong itself.
  bool ReadHead(const TextRow& head) {
    std::set<std::string> seen;
    for (const TextValue& field : CsvFields(TextOf(head), head.line)) {
      std::string name = CsvText(field.text);
      if (!seen.insert(name).second) {
        Add(field.line, name, "the column comes twice");
      } else if (schema_->GetFieldIndex(name) < 0) {
        Add(field.line, name, "the table has no such column");
      }
      names_.push_back(std::move(name));
    }
    for (const auto& field : schema_->fields()) {
      if (!field->nullable() && !seen.contains(field->name())) Add(head.line, field->name(), "the column is NOT NULL and absent");
    }
    if (found_.first.empty()) return true;
    found_.rows_wrong = 1;
    return false;
  }

  Result<std::shared_ptr<arrow::Table>> Read(size_t first, size_t last, const std::shared_ptr<arrow::Schema>& columns) const {
    const size_t begin = rows_[first].begin;
    size_t end = rows_[last - 1].end;
    // With its line break, as the whole document has it: without one Arrow takes an object of several lines apart.
    for (const char c : {'\r', '\n'}) end += end < text().size() && text()[end] == c ? 1 : 0;
    const auto piece = arrow::SliceBuffer(bytes_, static_cast<int64_t>(begin), static_cast<int64_t>(end - begin));
    SHEAF_ASSIGN_OR_RETURN(const auto read, ReadTextRows(format_, piece, names_, *columns, columns == schema_, pool_));
    return ConformRows(*read, columns, pool_);
  }

  /// Whether the rows are as they should be.
  bool IsGood(size_t first, size_t last) const {
    const auto read = Read(first, last, schema_);
    if (!read.ok()) return false;
    for (int i = 0; i < schema_->num_fields(); ++i) {
      if (!schema_->field(i)->nullable() && (*read)->column(i)->null_count() > 0) return false;
    }
    return true;
  }

  void Search(size_t first, size_t last) {
    if (Over() || IsGood(first, last) || pool_->refused()) return;
    if (last - first > 1) {
      const size_t middle = first + (last - first) / 2;
      Search(first, middle);
      Search(middle, last);
      return;
    }
    ++found_.rows_wrong;
    if (found_.first.size() < kRowErrorsToldMax) Explain(first);
  }

  void Explain(size_t index) {
    const TextRow& row = rows_[index];
    const size_t before = found_.first.size();
    const bool whole = format_ == Format::kCsv ? ExplainCsvRow(row) : ExplainObject(row);
    if (whole) ExplainValues(index, format_ == Format::kCsv ? NamedFields(row) : ObjectMembers(TextOf(row), row.line));
    if (found_.first.size() > before) return;
    Add(row.line, "", WithoutReader(Read(index, index + 1, schema_).status().message()));
  }

  /// False where its form is wrong, and was told.
  bool ExplainCsvRow(const TextRow& row) {
    const size_t fields = CsvFields(TextOf(row), row.line).size();
    if (fields == names_.size()) return true;
    Add(row.line, "",
        fmt::format("the row has {}{} fields, the head line {}", fields < kRowValuesMax ? "" : "at least ", fields,
                    names_.size()));
    return false;
  }

  bool ExplainObject(const TextRow& row) {
    if (TextOf(row).starts_with('{')) return true;
    Add(row.line, "", "a row is an object, {\"column\": value, …}");
    return false;
  }

  std::vector<TextValue> NamedFields(const TextRow& row) const {
    std::vector<TextValue> fields = CsvFields(TextOf(row), row.line);
    for (size_t i = 0; i < fields.size(); ++i) fields[i].name = names_[i];
    return fields;
  }

  /// Tells what is wrong with each value of a row that stands alone.
  void ExplainValues(size_t index, const std::vector<TextValue>& values) {
    if (format_ == Format::kNdjson && IsMalformed(index)) return;
    std::set<std::string> seen;
    for (const TextValue& value : values) {
      if (!seen.insert(value.name).second) {
        Add(value.line, value.name, "the column comes twice in this row");
        continue;
      }
      const auto field = schema_->GetFieldByName(value.name);
      if (field == nullptr) {
        if (value.name.find('\\') == std::string::npos) Add(value.line, value.name, "the table has no such column");
      } else if (value.is_null && !field->nullable()) {
        Add(value.line, value.name, "the column is NOT NULL");
      } else if (!IsTwice(values, value.name) && !Read(index, index + 1, arrow::schema({field})).ok()) {
        Add(value.line, value.name, fmt::format("{} is no {}", Quote(value.text), SqlTypeName(*field)));
      }
    }
    for (const auto& field : schema_->fields()) {
      if (!field->nullable() && !seen.contains(field->name()))
        Add(rows_[index].line, field->name(), "the column is NOT NULL and absent");
    }
  }

  static bool IsTwice(const std::vector<TextValue>& values, const std::string& name) {
    return std::ranges::count(values, name, &TextValue::name) > 1;
  }

  /// Whether the row is no JSON, so that no column of it can be read.
  bool IsMalformed(size_t index) const {
    const std::string message = WithoutReader(Read(index, index + 1, schema_).status().message());
    return std::ranges::any_of(kJsonFaults, [&](std::string_view begin) { return message.starts_with(begin); });
  }

  const Format format_;
  const std::shared_ptr<arrow::Buffer> bytes_;
  const std::shared_ptr<arrow::Schema> schema_;
  TrackingPool* const pool_;
  std::vector<std::string> names_;  // Of CSV's head line.
  std::vector<TextRow> rows_;       // The piece that is looked at.
  RowErrors found_;
};

}  // namespace

RowErrors FindRowErrors(Format format, const std::shared_ptr<arrow::Buffer>& bytes, const std::shared_ptr<arrow::Schema>& schema,
                        TrackingPool* pool) {
  if (format != Format::kCsv && format != Format::kNdjson) return {};
  return RowErrorFinder(format, bytes, schema, pool).Find();
}

}  // namespace sheaf::query
