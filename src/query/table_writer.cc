#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "query/cell_text.h"
#include "query/format_writers.h"

namespace sheaf::query {

namespace {

constexpr size_t kMeasuredRows = 1000;  // Column widths are taken from these; later rows are cut to them.
constexpr size_t kCellWidthMax = 60;

/// Characters, not bytes.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// Cuts `text` to `width` characters, the last of them an ellipsis where something was cut.
std::string Cut(const std::string& text, size_t width) {
  if (Width(text) <= width) return text;
  size_t bytes = 0, seen = 0;
  while (bytes < text.size()) {
    if ((text[bytes] & 0xC0) != 0x80 && seen++ == width - 1) break;
    ++bytes;
  }
  return text.substr(0, bytes) + "…";
}

bool IsNumber(const arrow::DataType& type) { return arrow::is_numeric(type.id()) || arrow::is_decimal(type.id()); }

/// A drawn table for terminals: names, types, rows, and how many rows there are.
class TableWriter : public ResultWriter {
 public:
  TableWriter(const std::shared_ptr<arrow::Schema>& schema, Sink sink) : sink_(std::move(sink)) {
    for (const auto& field : schema->fields()) {
      const std::string type = SqlTypeName(*field);
      names_.push_back(Cut(OneLine(field->name()), kCellWidthMax));
      types_.push_back(Cut(type, std::max<size_t>(12, Width(names_.back()))));
      right_.push_back(IsNumber(*field->type()));
      widths_.push_back(std::max(Width(names_.back()), Width(types_.back())));
    }
  }

  Status Write(const arrow::RecordBatch& batch) override {
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      std::vector<std::string> cells;
      for (int i = 0; i < batch.num_columns(); ++i) {
        std::string text;
        if (batch.column(i)->IsNull(row)) {
          text = "NULL";
        } else {
          AppendPlainCell(*batch.column(i), row, &text);
        }
        cells.push_back(Cut(OneLine(std::move(text)), kCellWidthMax));
      }
      ++rows_;
      if (!header_written_) {
        for (size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], Width(cells[i]));
        measured_.push_back(std::move(cells));
        if (measured_.size() == kMeasuredRows) SHEAF_RETURN_NOT_OK(WriteHeader());
      } else {
        SHEAF_RETURN_NOT_OK(sink_(Line(cells)));
      }
    }
    return Status::OK();
  }

  Status Finish() override {
    if (!header_written_) SHEAF_RETURN_NOT_OK(WriteHeader());
    return sink_(Rule("└", "┴", "┘") + fmt::format("{} {}\n", rows_, rows_ == 1 ? "row" : "rows"));
  }

 private:
  static std::string OneLine(std::string text) {
    if (text.find_first_of("\n\r\t") == std::string::npos) return text;
    std::string shown;
    for (char c : text) {
      switch (c) {
        case '\n': shown += "\\n"; break;
        case '\r': shown += "\\r"; break;
        case '\t': shown += "\\t"; break;
        default: shown += c;
      }
    }
    return shown;
  }

  Status WriteHeader() {
    header_written_ = true;
    std::string text = Rule("┌", "┬", "┐") + Line(names_) + Line(types_) + Rule("├", "┼", "┤");
    for (const auto& cells : measured_) text += Line(cells);
    measured_.clear();
    return sink_(text);
  }

  std::string Rule(const char* left, const char* middle, const char* right) const {
    std::string text = left;
    for (size_t i = 0; i < widths_.size(); ++i) {
      if (i > 0) text += middle;
      for (size_t k = 0; k < widths_[i] + 2; ++k) text += "─";
    }
    return text + right + "\n";
  }

  std::string Line(const std::vector<std::string>& cells) const {
    std::string text = "│";
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string cell = Cut(cells[i], widths_[i]);
      const std::string padding(widths_[i] - Width(cell), ' ');
      text += right_[i] ? " " + padding + cell + " │" : " " + cell + padding + " │";
    }
    return text + "\n";
  }

  const Sink sink_;
  std::vector<std::string> names_, types_;
  std::vector<bool> right_;
  std::vector<size_t> widths_;
  std::vector<std::vector<std::string>> measured_;
  bool header_written_ = false;
  int64_t rows_ = 0;
};

}  // namespace

MadeWriter MakeTableWriter(std::shared_ptr<arrow::Schema> schema, Sink sink) {
  return std::make_unique<TableWriter>(schema, std::move(sink));
}

}  // namespace sheaf::query
