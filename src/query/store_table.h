/// A table of the store as an entry of DuckDB's catalog: one version of its definition.

#pragma once

#include <memory>

#include "query/duckdb_headers.h"
#include "query/logical_schema.h"
#include "store/table.h"

namespace sheaf::query {

/// Immutable; kept as long as the catalog, since plans refer to it.
class StoreTable : public duckdb::TableCatalogEntry {
 public:
  /// Throws duckdb::Exception where SQL cannot show one of the columns.
  static duckdb::unique_ptr<StoreTable> Make(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
                                             std::shared_ptr<const store::TableInfo> info);

  const std::shared_ptr<const store::TableInfo>& info() const { return info_; }
  bool is_keyed() const { return info_->kind == store::TableKind::kKeyed; }

  duckdb::unique_ptr<duckdb::BaseStatistics> GetStatistics(duckdb::ClientContext&, duckdb::column_t) override { return nullptr; }
  duckdb::TableFunction GetScanFunction(duckdb::ClientContext& context, duckdb::unique_ptr<duckdb::FunctionData>& data) override;
  /// Names the primary key, without which DuckDB binds no ON CONFLICT.
  duckdb::TableStorageInfo GetStorageInfo(duckdb::ClientContext& context) override;
  duckdb::virtual_column_map_t GetVirtualColumns() const override;
  /// An UPDATE brings whole new rows. Throws where it sets a column of the key.
  void BindUpdateConstraints(duckdb::Binder& binder, duckdb::LogicalGet& get, duckdb::LogicalProjection& projection,
                             duckdb::LogicalUpdate& update, duckdb::ClientContext& context) override;

 private:
  StoreTable(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema, duckdb::CreateTableInfo& create,
             std::shared_ptr<const store::TableInfo> info, std::shared_ptr<const LogicalTable> logical)
      : duckdb::TableCatalogEntry(catalog, schema, create), info_(std::move(info)), logical_(std::move(logical)) {}

  const std::shared_ptr<const store::TableInfo> info_;
  const std::shared_ptr<const LogicalTable> logical_;
};

}  // namespace sheaf::query
