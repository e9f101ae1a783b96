#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "query/cell_text.h"
#include "query/format_writers.h"

namespace sheaf::query {

namespace {

constexpr size_t kFlushBytes = 64 << 10;

/// Rows as JSON objects. An object cannot hold a name twice, so a second column `a` becomes `a_2`.
class RowObjects {
 public:
  explicit RowObjects(const arrow::Schema& schema) {
    std::set<std::string> taken;
    for (const auto& field : schema.fields()) {
      std::string name = field->name();
      for (int i = 2; !taken.insert(name).second; ++i) name = fmt::format("{}_{}", field->name(), i);
      std::string prefix;
      AppendJsonString(name, &prefix);
      names_.push_back(prefix);
      is_json_.push_back(IsJson(*field));
    }
  }

  void Append(const arrow::RecordBatch& batch, int64_t row, std::string* out) const {
    *out += '{';
    for (size_t i = 0; i < names_.size(); ++i) {
      if (i > 0) *out += ',';
      *out += names_[i];
      *out += ':';
      AppendJsonCell(*batch.column(static_cast<int>(i)), row, is_json_[i], out);
    }
    *out += '}';
  }

  const std::string& quoted_name(size_t column) const { return names_[column]; }

 private:
  std::vector<std::string> names_;  // With quotes.
  std::vector<bool> is_json_;
};

class JsonWriter : public ResultWriter {
 public:
  JsonWriter(const std::shared_ptr<arrow::Schema>& schema, Sink sink) : objects_(*schema), sink_(std::move(sink)) {
    text_ = R"({"columns":[)";
    for (int i = 0; i < schema->num_fields(); ++i) {
      if (i > 0) text_ += ',';
      text_ += R"({"name":)" + objects_.quoted_name(static_cast<size_t>(i)) + R"(,"type":)";
      AppendJsonString(SqlTypeName(*schema->field(i)), &text_);
      text_ += '}';
    }
    text_ += R"(],"rows":[)";
  }

  Status Write(const arrow::RecordBatch& batch) override {
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      if (rows_++ > 0) text_ += ',';
      text_ += '\n';
      objects_.Append(batch, row, &text_);
      if (text_.size() >= kFlushBytes) SHEAF_RETURN_NOT_OK(Flush());
    }
    return Flush();
  }

  Status Finish() override {
    text_ += fmt::format("\n],\"row_count\":{}}}\n", rows_);
    return Flush();
  }

 private:
  Status Flush() {
    if (text_.empty()) return Status::OK();
    const Status written = sink_(text_);
    text_.clear();
    return written;
  }

  const RowObjects objects_;
  const Sink sink_;
  std::string text_;
  int64_t rows_ = 0;
};

class NdjsonWriter : public ResultWriter {
 public:
  NdjsonWriter(const std::shared_ptr<arrow::Schema>& schema, Sink sink) : objects_(*schema), sink_(std::move(sink)) {}

  Status Write(const arrow::RecordBatch& batch) override {
    std::string text;
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      objects_.Append(batch, row, &text);
      text += '\n';
      if (text.size() < kFlushBytes && row + 1 < batch.num_rows()) continue;
      SHEAF_RETURN_NOT_OK(sink_(text));
      text.clear();
    }
    return Status::OK();
  }
  Status Finish() override { return Status::OK(); }

 private:
  const RowObjects objects_;
  const Sink sink_;
};

}  // namespace

MadeWriter MakeJsonWriter(std::shared_ptr<arrow::Schema> schema, Sink sink) {
  return std::make_unique<JsonWriter>(schema, std::move(sink));
}
MadeWriter MakeNdjsonWriter(std::shared_ptr<arrow::Schema> schema, Sink sink) {
  return std::make_unique<NdjsonWriter>(schema, std::move(sink));
}

}  // namespace sheaf::query
