#include "query/store_table.h"

#include <algorithm>
#include <utility>

#include "query/column_reader.h"
#include "query/scan.h"
#include "query/statement_state.h"
#include "query/store_transaction.h"
#include "query/table_definitions.h"

namespace sheaf::query {

duckdb::unique_ptr<StoreTable> StoreTable::Make(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
                                                std::shared_ptr<const store::TableInfo> info) {
  auto made = MakeLogicalTable(*info);
  if (!made.ok()) throw duckdb::InternalException("%s", made.status().message());
  auto logical = std::make_shared<const LogicalTable>(std::move(made).ValueUnsafe());
  auto create = Describe(schema, *info, *logical);
  if (!create.ok()) throw duckdb::NotImplementedException("%s.%s: %s", info->schema_name, info->name, create.status().message());
  return duckdb::unique_ptr<StoreTable>(new StoreTable(catalog, schema, **create, std::move(info), std::move(logical)));
}

duckdb::TableFunction StoreTable::GetScanFunction(duckdb::ClientContext& context, duckdb::unique_ptr<duckdb::FunctionData>& data) {
  auto& transaction = StoreTransaction::Get(context, catalog);
  auto table = transaction.Table(info_->id);
  if (!table.ok()) ThrowStatus(context, table.status());
  auto bind = duckdb::make_uniq<ScanBind>();
  bind->table = std::move(table).ValueUnsafe();
  bind->logical = logical_;
  bind->entry = this;
  data = std::move(bind);
  return MakeScanFunction(!SessionState::Of(context).writes());
}

duckdb::TableStorageInfo StoreTable::GetStorageInfo(duckdb::ClientContext&) {
  duckdb::TableStorageInfo storage;
  if (!is_keyed()) return storage;
  duckdb::IndexInfo key;
  key.is_unique = key.is_primary = true;
  key.is_foreign = false;
  for (const int column : info_->key_columns) key.column_set.insert(static_cast<duckdb::column_t>(column));
  storage.index_info.push_back(std::move(key));
  return storage;
}

duckdb::virtual_column_map_t StoreTable::GetVirtualColumns() const {
  duckdb::virtual_column_map_t columns;
  columns.insert({duckdb::COLUMN_IDENTIFIER_ROW_ID, duckdb::TableColumn("rowid", duckdb::LogicalType::BIGINT)});
  for (size_t i = 0; i < logical_->hidden.size(); ++i) {
    const LogicalColumn& hidden = logical_->hidden[i];
    columns.insert({kHiddenBase + i, duckdb::TableColumn(hidden.name, LogicalColumnType(hidden, *info_->schema).ValueOrDie())});
  }
  return columns;
}

void StoreTable::BindUpdateConstraints(duckdb::Binder&, duckdb::LogicalGet& get, duckdb::LogicalProjection& projection,
                                       duckdb::LogicalUpdate& update, duckdb::ClientContext&) {
  for (const duckdb::PhysicalIndex set : update.columns) {
    const auto column = static_cast<int>(set.index);
    if (std::find(info_->key_columns.begin(), info_->key_columns.end(), column) == info_->key_columns.end()) continue;
    throw duckdb::BinderException("%s.%s.%s is part of the primary key, which stays as it is: delete the row and insert another",
                                  info_->schema_name, info_->name, info_->schema->field(column)->name());
  }
  duckdb::physical_index_set_t all;
  for (const auto& column : GetColumns().Physical()) all.insert(column.Physical());
  duckdb::LogicalUpdate::BindExtraColumns(*this, get, projection, update, all);
  update.update_is_del_and_insert = true;
}

}  // namespace sheaf::query
