#include "query/view_states.h"

#include <array>
#include <charconv>
#include <map>
#include <utility>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <fmt/format.h>

#include "query/catalog.h"

namespace sheaf::query {

namespace {

constexpr char kTable[] = "view_states";
constexpr std::string_view kFormat = "sheaf view state 1\n";
constexpr size_t kEntryBytes = size_t{4} << 20;  // Chunks of about this much are written together.
constexpr int kContent = 4;  // Behind the columns of the key.

std::shared_ptr<arrow::Schema> TableSchema() {
  return arrow::schema({arrow::field("schema_name", arrow::utf8(), false), arrow::field("name", arrow::utf8(), false),
                        arrow::field("generation", arrow::int64(), false), arrow::field("chunk", arrow::int64(), false),
                        arrow::field("content", arrow::binary(), false)});
}

/// Rows of the table, or keys of rows.
class Rows {
 public:
  Status Add(const std::string& schema_name, const std::string& name, int64_t generation, int64_t chunk, std::string_view content) {
    SHEAF_RETURN_NOT_OK(schema_names_.Append(schema_name));
    SHEAF_RETURN_NOT_OK(names_.Append(name));
    SHEAF_RETURN_NOT_OK(generations_.Append(generation));
    SHEAF_RETURN_NOT_OK(chunks_.Append(chunk));
    SHEAF_RETURN_NOT_OK(contents_.Append(content));
    bytes_ += content.size();
    return Status::OK();
  }
  size_t bytes() const { return bytes_; }
  int64_t size() const { return chunks_.length(); }

  Result<std::shared_ptr<arrow::RecordBatch>> Take(bool keys_only) {
    arrow::ArrayVector columns;
    std::array<arrow::ArrayBuilder*, 5> builders = {&schema_names_, &names_, &generations_, &chunks_, &contents_};
    for (arrow::ArrayBuilder* builder : builders) {
      SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), builder->Finish());
    }
    const int64_t rows = columns[0]->length();
    bytes_ = 0;
    const auto schema = TableSchema();
    if (!keys_only) return arrow::RecordBatch::Make(schema, rows, std::move(columns));
    columns.pop_back();
    return arrow::RecordBatch::Make(arrow::schema({schema->field(0), schema->field(1), schema->field(2), schema->field(3)}), rows,
                                    std::move(columns));
  }

 private:
  arrow::StringBuilder schema_names_, names_;
  arrow::Int64Builder generations_, chunks_;
  arrow::BinaryBuilder contents_;
  size_t bytes_ = 0;
};

std::string HeadText(const ViewStates::Head& head) {
  return fmt::format("{}{} {} {} {} {} {}\n{}", kFormat, head.lsn.value, head.generation, head.chunks, head.bytes, head.progress.value_us,
                     head.progress.late_rows, head.identity);
}

Result<ViewStates::Head> ParseHead(std::string_view text, const std::string& view) {
  const auto damaged = [&view] { return MakeError(ErrorKind::kCorruption, "the head of the state of view {} cannot be read", view); };
  if (text.substr(0, kFormat.size()) != kFormat) return damaged();
  text.remove_prefix(kFormat.size());
  std::array<int64_t, 6> numbers{};
  for (int64_t& number : numbers) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const auto read = static_cast<size_t>(end - text.data());
    if (error != std::errc() || read == text.size()) return damaged();
    text.remove_prefix(read + 1);
  }
  return ViewStates::Head{.lsn = Lsn(static_cast<uint64_t>(numbers[0])), .generation = numbers[1], .chunks = numbers[2],
                          .bytes = numbers[3], .progress = {.value_us = numbers[4], .late_rows = numbers[5]},
                          .identity = std::string(text)};
}

const store::TableInfo* FindTableIn(const store::Snapshot& snapshot) {
  for (const auto& table : snapshot.tables()) {
    if (table->schema_name == kSystemSchema && table->name == kTable) return table.get();
  }
  return nullptr;
}

/// The content of one row; none: there is no such row.
Result<std::optional<std::string>> ReadChunk(const store::Snapshot& snapshot, const store::TableInfo& table, const std::string& schema_name,
                                             const std::string& name, int64_t generation, int64_t chunk) {
  Rows key;
  SHEAF_RETURN_NOT_OK(key.Add(schema_name, name, generation, chunk, {}));
  SHEAF_ASSIGN_OR_RETURN(const auto batch, key.Take(/*keys_only=*/true));
  SHEAF_ASSIGN_OR_RETURN(const auto keys, table.keys->EncodeKeys(*batch));
  SHEAF_ASSIGN_OR_RETURN(const auto found, snapshot.Get(table.id, keys[0]));
  if (!found) return std::nullopt;
  const auto row = found.Slice();
  return std::string(static_cast<const arrow::BinaryArray&>(*row->column(kContent)).GetView(0));
}

}  // namespace

Result<TableId> ViewStates::Table() {
  const auto found = database_->FindTable(kSystemSchema, kTable);
  if (found.ok()) return (*found)->id;
  store::NewTable wanted{.schema_name = kSystemSchema, .name = kTable, .schema = TableSchema(),
                         .primary_key = {"schema_name", "name", "generation", "chunk"}};
  wanted.if_not_exists = wanted.internal = true;
  SHEAF_ASSIGN_OR_RETURN(const auto made, database_->CreateTable(wanted));
  return made->id;
}

Result<std::optional<ViewStates::Head>> ViewStates::Find(const store::Snapshot& snapshot, const Owner& owner) const {
  const store::TableInfo* const table = FindTableIn(snapshot);
  if (table == nullptr) return std::nullopt;
  SHEAF_ASSIGN_OR_RETURN(const auto text, ReadChunk(snapshot, *table, owner.schema_name, owner.name, 0, 0));
  if (!text) return std::nullopt;
  SHEAF_ASSIGN_OR_RETURN(Head head, ParseHead(*text, owner.schema_name + "." + owner.name));
  if (head.identity != owner.identity) return std::nullopt;
  return head;
}

Status ViewStates::Read(const store::Snapshot& snapshot, const Owner& owner, const Head& head,
                        const std::function<Status(std::string_view)>& take) const {
  const store::TableInfo* const table = FindTableIn(snapshot);
  for (int64_t chunk = 1; chunk <= head.chunks; ++chunk) {
    std::optional<std::string> content;
    if (table != nullptr) {
      SHEAF_ASSIGN_OR_RETURN(content, ReadChunk(snapshot, *table, owner.schema_name, owner.name, head.generation, chunk));
    }
    if (!content) {
      return MakeError(ErrorKind::kCorruption, "chunk {} of {} of the state of view {}.{} is missing", chunk, head.chunks,
                       owner.schema_name, owner.name);
    }
    SHEAF_RETURN_NOT_OK(take(*content));
  }
  return Status::OK();
}

Result<ViewStates::Head> ViewStates::Write(const Owner& owner, Lsn lsn, const Watermark::Progress& progress, const NextChunk& next) {
  SHEAF_ASSIGN_OR_RETURN(const TableId table, Table());
  Head head{.lsn = lsn, .progress = progress, .identity = owner.identity};
  int64_t old_generation = 0, old_chunks = 0;
  const auto snapshot = database_->GetSnapshot();
  SHEAF_ASSIGN_OR_RETURN(const auto before, ReadChunk(*snapshot, *FindTableIn(*snapshot), owner.schema_name, owner.name, 0, 0));
  if (before) {
    if (const auto old = ParseHead(*before, owner.name); old.ok()) {
      old_generation = old->generation;
      old_chunks = old->chunks;
    }
  }
  head.generation = old_generation + 1;
  Rows rows;
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const std::string content, next());
    if (!content.empty()) {
      SHEAF_RETURN_NOT_OK(rows.Add(owner.schema_name, owner.name, head.generation, ++head.chunks, content));
      head.bytes += static_cast<int64_t>(content.size());
    }
    if (rows.size() > 0 && (content.empty() || rows.bytes() >= kEntryBytes)) {
      SHEAF_ASSIGN_OR_RETURN(const auto batch, rows.Take(/*keys_only=*/false));
      SHEAF_RETURN_NOT_OK(database_->Append({{.table = table, .batch = batch}}).status());
    }
    if (content.empty()) break;
  }
  Rows named, gone;
  SHEAF_RETURN_NOT_OK(named.Add(owner.schema_name, owner.name, 0, 0, HeadText(head)));
  std::vector<store::TableRows> changes(1, {.table = table});
  SHEAF_ASSIGN_OR_RETURN(changes[0].batch, named.Take(/*keys_only=*/false));
  for (int64_t chunk = 1; chunk <= old_chunks; ++chunk) {
    SHEAF_RETURN_NOT_OK(gone.Add(owner.schema_name, owner.name, old_generation, chunk, {}));
  }
  if (old_chunks > 0) {
    changes.push_back({.table = table, .op = store::RowOp::kDelete});
    SHEAF_ASSIGN_OR_RETURN(changes[1].batch, gone.Take(/*keys_only=*/true));
  }
  SHEAF_RETURN_NOT_OK(database_->Append(changes).status());
  return head;
}

Status ViewStates::Advance(const Owner& owner, Lsn lsn, const Watermark::Progress& progress, Head* head) {
  Head next = *head;
  next.lsn = lsn;
  next.progress = progress;
  SHEAF_ASSIGN_OR_RETURN(const TableId table, Table());
  Rows named;
  SHEAF_RETURN_NOT_OK(named.Add(owner.schema_name, owner.name, 0, 0, HeadText(next)));
  SHEAF_ASSIGN_OR_RETURN(const auto batch, named.Take(/*keys_only=*/false));
  SHEAF_RETURN_NOT_OK(database_->Append({{.table = table, .batch = batch}}).status());
  *head = next;
  return Status::OK();
}

Result<std::optional<Lsn>> ViewStates::SavedLsn(const store::Snapshot& snapshot, const std::string& schema_name,
                                                const std::string& name) const {
  const store::TableInfo* const table = FindTableIn(snapshot);
  if (table == nullptr) return std::nullopt;
  SHEAF_ASSIGN_OR_RETURN(const auto text, ReadChunk(snapshot, *table, schema_name, name, 0, 0));
  if (!text) return std::nullopt;
  SHEAF_ASSIGN_OR_RETURN(const Head head, ParseHead(*text, schema_name + "." + name));
  return head.lsn;
}

Status ViewStates::RemoveOthers(const std::vector<std::pair<std::string, std::string>>& known) const {
  const auto snapshot = database_->GetSnapshot();
  const store::TableInfo* const table = FindTableIn(*snapshot);
  if (table == nullptr) return Status::OK();
  std::map<std::pair<std::string, std::string>, Head> heads;
  for (const auto& name : known) {
    SHEAF_ASSIGN_OR_RETURN(const auto text, ReadChunk(*snapshot, *table, name.first, name.second, 0, 0));
    if (!text) continue;
    if (auto head = ParseHead(*text, name.second); head.ok()) heads.emplace(name, *std::move(head));
  }
  store::ScanOptions options;
  for (int column = 0; column < kContent; ++column) options.columns.push_back(column);
  SHEAF_ASSIGN_OR_RETURN(const auto cursor, snapshot->Scan(table->id, {}, options));
  Rows gone;
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, cursor->Next());
    if (!batch) break;
    const auto text = [&batch](int column, int64_t row) {
      return std::string(static_cast<const arrow::StringArray&>(*batch->column(column)).GetView(row));
    };
    const auto number = [&batch](int column, int64_t row) {
      return static_cast<const arrow::Int64Array&>(*batch->column(column)).Value(row);
    };
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      const auto head = heads.find({text(0, row), text(1, row)});
      const int64_t generation = number(2, row), chunk = number(3, row);
      if (head != heads.end() && (generation == 0 || (generation == head->second.generation && chunk <= head->second.chunks))) continue;
      SHEAF_RETURN_NOT_OK(gone.Add(text(0, row), text(1, row), generation, chunk, {}));
    }
  }
  if (gone.size() == 0) return Status::OK();
  SHEAF_ASSIGN_OR_RETURN(const auto keys, gone.Take(/*keys_only=*/true));
  return database_->Append({{.table = table->id, .batch = keys, .op = store::RowOp::kDelete}}).status();
}

}  // namespace sheaf::query
