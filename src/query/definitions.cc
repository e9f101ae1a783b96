#include "query/definitions.h"

#include <algorithm>
#include <utility>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>

#include "query/catalog.h"

namespace sheaf::query {

namespace {

constexpr char kTable[] = "definitions";
constexpr size_t kDefinitionsMax = 10'000;                 // Each is read at the start, and a change reads all.
constexpr size_t kTextBytesMax = size_t{64} << 10;         // Of views and macros, which are copied wherever a statement uses them.

std::shared_ptr<arrow::Schema> TableSchema() {
  return arrow::schema({arrow::field("kind", arrow::utf8(), false), arrow::field("schema_name", arrow::utf8(), false),
                        arrow::field("name", arrow::utf8(), false), arrow::field("definition", arrow::utf8(), false),
                        arrow::field("refresh_ms", arrow::int64()),
                        arrow::field("created_at", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), false)});
}

Result<std::shared_ptr<arrow::Array>> Text(const std::string& value) {
  arrow::StringBuilder builder;
  SHEAF_RETURN_NOT_OK(builder.Append(value));
  return builder.Finish();
}

/// The row of a definition, or its key alone.
Result<std::shared_ptr<arrow::RecordBatch>> ToRow(const Definition& definition, bool key_only) {
  arrow::ArrayVector columns(3);
  SHEAF_ASSIGN_OR_RETURN(columns[0], Text(definition.kind));
  SHEAF_ASSIGN_OR_RETURN(columns[1], Text(definition.schema_name));
  SHEAF_ASSIGN_OR_RETURN(columns[2], Text(definition.name));
  const auto schema = TableSchema();
  if (key_only) {
    return arrow::RecordBatch::Make(arrow::schema({schema->field(0), schema->field(1), schema->field(2)}), 1, std::move(columns));
  }
  SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), Text(definition.text));
  arrow::Int64Builder refresh;
  SHEAF_RETURN_NOT_OK(definition.refresh_ms ? refresh.Append(*definition.refresh_ms) : refresh.AppendNull());
  SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), refresh.Finish());
  arrow::TimestampBuilder created(schema->field(5)->type(), arrow::default_memory_pool());
  SHEAF_RETURN_NOT_OK(created.Append(definition.created_ns));
  SHEAF_ASSIGN_OR_RETURN(columns.emplace_back(), created.Finish());
  return arrow::RecordBatch::Make(schema, 1, std::move(columns));
}

void AddRows(const arrow::RecordBatch& rows, std::vector<Definition>* definitions) {
  const auto text = [&rows](int column, int64_t row) {
    return std::string(static_cast<const arrow::StringArray&>(*rows.column(column)).GetView(row));
  };
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    Definition definition{.kind = text(0, row), .schema_name = text(1, row), .name = text(2, row), .text = text(3, row)};
    const auto& refresh = static_cast<const arrow::Int64Array&>(*rows.column(4));
    if (refresh.IsValid(row)) definition.refresh_ms = refresh.Value(row);
    definition.created_ns = static_cast<const arrow::TimestampArray&>(*rows.column(5)).Value(row);
    definitions->push_back(std::move(definition));
  }
}

const Definition* FindIn(const std::vector<Definition>& all, const std::string& kind, const std::string& schema_name,
                         const std::string& name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Definition& each) {
    using duckdb::StringUtil;
    return each.kind == kind && StringUtil::CIEquals(each.schema_name, schema_name) && StringUtil::CIEquals(each.name, name);
  });
  return found == all.end() ? nullptr : &*found;
}

bool IsView(const std::string& kind) { return kind == kViewKind || kind == kMaterializedViewKind; }

}  // namespace

Result<TableId> Definitions::Table() {
  const auto found = database_->FindTable(kSystemSchema, kTable);
  if (found.ok()) return (*found)->id;
  store::NewTable wanted{.schema_name = kSystemSchema, .name = kTable, .schema = TableSchema(),
                         .primary_key = {"kind", "schema_name", "name"}};
  wanted.if_not_exists = wanted.internal = true;
  SHEAF_ASSIGN_OR_RETURN(const auto made, database_->CreateTable(wanted));
  return made->id;
}

Result<std::vector<Definition>> Definitions::Read() const {
  std::vector<Definition> definitions;
  const auto table = database_->FindTable(kSystemSchema, kTable);
  if (!table.ok()) return definitions;
  const auto snapshot = database_->GetSnapshot();
  SHEAF_ASSIGN_OR_RETURN(const auto rows, snapshot->Scan((*table)->id, {}, {}));
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, rows->Next());
    if (!batch) return definitions;
    AddRows(*batch, &definitions);
  }
}

Result<std::optional<Definition>> Definitions::Find(const std::string& kind, const std::string& schema_name,
                                                    const std::string& name) const {
  SHEAF_ASSIGN_OR_RETURN(const auto all, Read());
  const Definition* const found = FindIn(all, kind, schema_name, name);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

Status Definitions::CheckName(const Definition& wanted, const std::vector<Definition>& all) const {
  if (!IsView(wanted.kind)) return Status::OK();
  for (const char* kind : {kViewKind, kMaterializedViewKind}) {
    if (wanted.kind != kind && FindIn(all, kind, wanted.schema_name, wanted.name) != nullptr) {
      return MakeError(ErrorKind::kAlreadyExists, "{} is a {}: take another name", wanted.full_name(), kind);
    }
  }
  const auto snapshot = database_->GetSnapshot();
  for (const auto& table : snapshot->tables()) {
    if (duckdb::StringUtil::CIEquals(table->schema_name, wanted.schema_name) && duckdb::StringUtil::CIEquals(table->name, wanted.name)) {
      return MakeError(ErrorKind::kAlreadyExists, "{} is a table: take another name", wanted.full_name());
    }
  }
  return Status::OK();
}

Status Definitions::CheckFree(const Definition& wanted) const {
  SHEAF_ASSIGN_OR_RETURN(const auto all, Read());
  return CheckName(wanted, all);
}

Status Definitions::Put(const Definition& definition) {
  if (definition.kind != kMaterializedViewKind && definition.text.size() > kTextBytesMax) {
    return MakeError(ErrorKind::kTooLarge, "the definition of {} has {} bytes, the limit is {}", definition.full_name(),
                     definition.text.size(), kTextBytesMax);
  }
  MutexLock lock(&mutex_);
  SHEAF_ASSIGN_OR_RETURN(const auto all, Read());
  SHEAF_RETURN_NOT_OK(CheckName(definition, all));
  const Definition* const before = FindIn(all, definition.kind, definition.schema_name, definition.name);
  if (before == nullptr && all.size() >= kDefinitionsMax) {
    return MakeError(ErrorKind::kTooLarge, "there are {} views and macros already: drop some", all.size());
  }
  SHEAF_ASSIGN_OR_RETURN(const TableId table, Table());
  SHEAF_ASSIGN_OR_RETURN(const auto row, ToRow(definition, false));
  if (before == nullptr || before->name == definition.name) return database_->Append({{.table = table, .batch = row}}).status();
  SHEAF_ASSIGN_OR_RETURN(const auto key, ToRow(*before, true));  // To the table a name in other letters is another one.
  return database_->Append({{.table = table, .batch = key, .op = store::RowOp::kDelete}, {.table = table, .batch = row}}).status();
}

Result<bool> Definitions::Remove(const std::string& kind, const std::string& schema_name, const std::string& name) {
  MutexLock lock(&mutex_);
  SHEAF_ASSIGN_OR_RETURN(const auto known, Find(kind, schema_name, name));
  if (!known) return false;
  SHEAF_ASSIGN_OR_RETURN(const TableId table, Table());
  SHEAF_ASSIGN_OR_RETURN(const auto key, ToRow(*known, true));
  SHEAF_RETURN_NOT_OK(database_->Append({{.table = table, .batch = key, .op = store::RowOp::kDelete}}).status());
  return true;
}

}  // namespace sheaf::query
