#include "query/insert_conflicts.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "query/store_table.h"

namespace sheaf::query {

namespace {

using duckdb::StatementType;

/// The table of ours that the INSERT names; null where it is another's or not there, which binding will tell.
const StoreTable* FindTarget(duckdb::ClientContext& context, const duckdb::InsertStatement& insert) {
  const StoreTable* found = nullptr;
  context.RunFunctionInTransaction([&] {
    std::string catalog = insert.catalog, schema = insert.schema;
    duckdb::Binder::BindSchemaOrCatalog(context, catalog, schema);
    auto entry = duckdb::Catalog::GetEntry<duckdb::TableCatalogEntry>(context, catalog, schema, insert.table,
                                                                      duckdb::OnEntryNotFound::RETURN_NULL);
    if (entry) found = dynamic_cast<const StoreTable*>(entry.get());
  });
  return found;
}

std::vector<std::string> Lowered(std::vector<std::string> names) {
  for (std::string& name : names) name = duckdb::StringUtil::Lower(name);
  std::sort(names.begin(), names.end());
  return names;
}

Status CheckConflictColumns(const store::TableInfo& info, const duckdb::OnConflictInfo& conflict) {
  std::vector<std::string> key;
  for (const int column : info.key_columns) key.push_back(info.schema->field(column)->name());
  if (key.empty()) {
    return MakeError(ErrorKind::kInvalid,
                     "{}.{} has no primary key: nothing there can conflict, leave OR REPLACE, OR IGNORE or ON CONFLICT away",
                     info.schema_name, info.name);
  }
  if (conflict.indexed_columns.empty() || Lowered({conflict.indexed_columns.begin(), conflict.indexed_columns.end()}) == Lowered(key)) {
    return Status::OK();
  }
  return MakeError(ErrorKind::kInvalid, "ON CONFLICT must name the primary key of {}.{}, ({})", info.schema_name, info.name,
                   fmt::join(key, ", "));
}

}  // namespace

Result<Writing> SimplifyInsert(duckdb::ClientContext& context, duckdb::SQLStatement* statement) {
  switch (statement->type) {
    case StatementType::EXPLAIN_STATEMENT: return SimplifyInsert(context, statement->Cast<duckdb::ExplainStatement>().stmt.get());
    case StatementType::UPDATE_STATEMENT:
    case StatementType::DELETE_STATEMENT:
    case StatementType::MERGE_INTO_STATEMENT: return Writing{.writes = true};
    case StatementType::INSERT_STATEMENT: break;
    default: return Writing{};
  }
  auto& insert = statement->Cast<duckdb::InsertStatement>();
  Writing writing{.writes = true};
  if (!insert.on_conflict_info) return writing;
  const StoreTable* table = FindTarget(context, insert);
  if (table == nullptr) return writing;
  const duckdb::OnConflictInfo& conflict = *insert.on_conflict_info;
  SHEAF_RETURN_NOT_OK(CheckConflictColumns(*table->info(), conflict));
  if (conflict.condition) {
    return MakeError(ErrorKind::kUnsupported,
                     "ON CONFLICT … WHERE is not possible: the key is over all rows; MERGE INTO can decide row by row");
  }
  switch (conflict.action_type) {
    case duckdb::OnConflictAction::REPLACE: break;
    case duckdb::OnConflictAction::NOTHING: writing.insert_missing = true; break;
    default: return writing;  // DO UPDATE stays a MERGE.
  }
  insert.on_conflict_info.reset();
  return writing;
}

}  // namespace sheaf::query
