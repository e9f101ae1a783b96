#include <string>
#include <string_view>

#include "query/cell_text.h"
#include "query/format_writers.h"

namespace sheaf::query {

namespace {

constexpr size_t kFlushBytes = 64 << 10;

/// RFC 4180 with a header line. NULL is an empty field, empty text a quoted one.
class CsvWriter : public ResultWriter {
 public:
  CsvWriter(const std::shared_ptr<arrow::Schema>& schema, Sink sink) : sink_(std::move(sink)) {
    for (int i = 0; i < schema->num_fields(); ++i) {
      if (i > 0) text_ += ',';
      AppendField(schema->field(i)->name());
    }
    text_ += "\r\n";
  }

  Status Write(const arrow::RecordBatch& batch) override {
    std::string cell;
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      for (int i = 0; i < batch.num_columns(); ++i) {
        if (i > 0) text_ += ',';
        if (batch.column(i)->IsNull(row)) continue;
        cell.clear();
        AppendPlainCell(*batch.column(i), row, &cell);
        AppendField(cell);
      }
      text_ += "\r\n";
      if (text_.size() >= kFlushBytes) SHEAF_RETURN_NOT_OK(Flush());
    }
    return Flush();
  }
  Status Finish() override { return Flush(); }

 private:
  void AppendField(std::string_view text) {
    if (!text.empty() && text.find_first_of("\",\r\n") == std::string_view::npos) {
      text_ += text;
      return;
    }
    text_ += '"';
    for (char c : text) {
      if (c == '"') text_ += '"';
      text_ += c;
    }
    text_ += '"';
  }

  Status Flush() {
    if (text_.empty()) return Status::OK();
    const Status written = sink_(text_);
    text_.clear();
    return written;
  }

  const Sink sink_;
  std::string text_;
};

}  // namespace

MadeWriter MakeCsvWriter(std::shared_ptr<arrow::Schema> schema, Sink sink) {
  return std::make_unique<CsvWriter>(schema, std::move(sink));
}

}  // namespace sheaf::query
