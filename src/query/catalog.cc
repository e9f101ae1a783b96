#include "query/catalog.h"

#include <map>

#include "core/mutex.h"
#include "query/column_reader.h"
#include "query/models.h"
#include "query/scan.h"

namespace sheaf::query {

namespace {

using duckdb::CatalogEntry;
using duckdb::CatalogTransaction;
using duckdb::CatalogType;
using duckdb::ClientContext;
using duckdb::optional_ptr;

[[noreturn]] void RefuseWrite() {
  throw duckdb::PermissionException("SQL cannot change this database yet: tables are written through OTLP and the HTTP and Flight APIs");
}

/// A statement's view of the store.
class SnapshotTransaction : public duckdb::Transaction {
 public:
  SnapshotTransaction(duckdb::TransactionManager& manager, ClientContext& context, std::shared_ptr<const store::Snapshot> snapshot)
      : duckdb::Transaction(manager, context), snapshot_(std::move(snapshot)) {}
  const store::Snapshot& snapshot() const { return *snapshot_; }

 private:
  const std::shared_ptr<const store::Snapshot> snapshot_;
};

class SnapshotTransactions : public duckdb::TransactionManager {
 public:
  SnapshotTransactions(duckdb::AttachedDatabase& attached, store::Database* database)
      : duckdb::TransactionManager(attached), database_(database) {}

  duckdb::Transaction& StartTransaction(ClientContext& context) override {
    auto transaction = std::make_unique<SnapshotTransaction>(*this, context, database_->GetSnapshot());
    duckdb::Transaction& started = *transaction;
    MutexLock lock(&mutex_);
    open_.emplace(&started, std::move(transaction));
    return started;
  }
  duckdb::ErrorData CommitTransaction(ClientContext&, duckdb::Transaction& transaction) override {
    End(transaction);
    return duckdb::ErrorData();
  }
  void RollbackTransaction(duckdb::Transaction& transaction) override { End(transaction); }
  void Checkpoint(ClientContext&, bool) override {}

 private:
  void End(duckdb::Transaction& transaction) {
    std::unique_ptr<duckdb::Transaction> ended;  // Lets go of the snapshot outside the lock.
    MutexLock lock(&mutex_);
    auto node = open_.extract(&transaction);
    if (!node.empty()) ended = std::move(node.mapped());
  }

  store::Database* const database_;  // Borrowed.
  Mutex mutex_;
  std::map<duckdb::Transaction*, std::unique_ptr<duckdb::Transaction>> open_ SHEAF_GUARDED_BY(mutex_);
};

duckdb::virtual_column_map_t RowIdColumn() {
  duckdb::virtual_column_map_t columns;
  columns.insert({duckdb::COLUMN_IDENTIFIER_ROW_ID, duckdb::TableColumn("rowid", duckdb::LogicalType::BIGINT)});
  return columns;
}

/// One version of a table of the store.
class StoreTable : public duckdb::TableCatalogEntry {
 public:
  StoreTable(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema, duckdb::CreateTableInfo& create,
             std::shared_ptr<const store::TableInfo> info, std::shared_ptr<const LogicalTable> logical)
      : duckdb::TableCatalogEntry(catalog, schema, create), info_(std::move(info)), logical_(std::move(logical)) {}

  duckdb::unique_ptr<duckdb::BaseStatistics> GetStatistics(ClientContext&, duckdb::column_t) override { return nullptr; }

  duckdb::TableFunction GetScanFunction(ClientContext& context, duckdb::unique_ptr<duckdb::FunctionData>& data) override {
    auto& transaction = duckdb::Transaction::Get(context, catalog).Cast<SnapshotTransaction>();
    auto table = transaction.snapshot().Table(info_->id);
    if (!table.ok()) throw duckdb::IOException("%s", table.status().message());
    auto bind = duckdb::make_uniq<ScanBind>();
    bind->table = std::move(table).ValueUnsafe();
    bind->logical = logical_;
    bind->entry = this;
    data = std::move(bind);
    return MakeScanFunction();
  }

  duckdb::TableStorageInfo GetStorageInfo(ClientContext&) override { return duckdb::TableStorageInfo(); }

  duckdb::virtual_column_map_t GetVirtualColumns() const override {
    auto columns = RowIdColumn();
    for (size_t i = 0; i < logical_->hidden.size(); ++i) {
      const LogicalColumn& hidden = logical_->hidden[i];
      columns.insert({kHiddenBase + i, duckdb::TableColumn(hidden.name, LogicalColumnType(hidden, *info_->schema).ValueOrDie())});
    }
    return columns;
  }

 private:
  const std::shared_ptr<const store::TableInfo> info_;
  const std::shared_ptr<const LogicalTable> logical_;
};

class RowsTable : public duckdb::TableCatalogEntry {
 public:
  RowsTable(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema, duckdb::CreateTableInfo& create, const SystemTable& table)
      : duckdb::TableCatalogEntry(catalog, schema, create), table_(table) {}

  duckdb::unique_ptr<duckdb::BaseStatistics> GetStatistics(ClientContext&, duckdb::column_t) override { return nullptr; }
  duckdb::TableFunction GetScanFunction(ClientContext&, duckdb::unique_ptr<duckdb::FunctionData>& data) override {
    data = MakeRowsBind(table_);
    return MakeRowsFunction();
  }
  duckdb::TableStorageInfo GetStorageInfo(ClientContext&) override { return duckdb::TableStorageInfo(); }

 private:
  const SystemTable& table_;  // Lives as long as the engine.
};

/// Tables come from the snapshot; views and macros from models/ and system tables are fixed.
class StoreSchema : public duckdb::SchemaCatalogEntry {
 public:
  StoreSchema(duckdb::Catalog& catalog, duckdb::CreateSchemaInfo& create) : duckdb::SchemaCatalogEntry(catalog, create) {}

  void AddFixed(duckdb::unique_ptr<CatalogEntry> entry) { fixed_.push_back(std::move(entry)); }

  optional_ptr<CatalogEntry> LookupEntry(CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup) override {
    const std::string& wanted = lookup.GetEntryName();
    for (const auto& entry : fixed_) {
      if (duckdb::StringUtil::CIEquals(entry->name, wanted) && Answers(lookup.GetCatalogType(), entry->type)) return entry.get();
    }
    if (lookup.GetCatalogType() != CatalogType::TABLE_ENTRY || !transaction.transaction) return nullptr;
    for (const auto& info : transaction.transaction->Cast<SnapshotTransaction>().snapshot().tables()) {
      if (info->schema_name == name && duckdb::StringUtil::CIEquals(info->name, wanted)) return &Table(info);
    }
    return nullptr;
  }

  void Scan(ClientContext& context, CatalogType type, const std::function<void(CatalogEntry&)>& callback) override {
    Scan(type, callback);
    if (type != CatalogType::TABLE_ENTRY) return;
    auto& transaction = duckdb::Transaction::Get(context, catalog).Cast<SnapshotTransaction>();
    for (const auto& info : transaction.snapshot().tables()) {
      if (info->schema_name == name) callback(Table(info));
    }
  }
  void Scan(CatalogType type, const std::function<void(CatalogEntry&)>& callback) override {
    for (const auto& entry : fixed_) {
      if (Answers(type, entry->type)) callback(*entry);
    }
  }

  optional_ptr<CatalogEntry> CreateIndex(CatalogTransaction, duckdb::CreateIndexInfo&, duckdb::TableCatalogEntry&) override {
    RefuseWrite();
  }
  optional_ptr<CatalogEntry> CreateFunction(CatalogTransaction, duckdb::CreateFunctionInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreateTable(CatalogTransaction, duckdb::BoundCreateTableInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreateView(CatalogTransaction, duckdb::CreateViewInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreateSequence(CatalogTransaction, duckdb::CreateSequenceInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreateTableFunction(CatalogTransaction, duckdb::CreateTableFunctionInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreateCopyFunction(CatalogTransaction, duckdb::CreateCopyFunctionInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreatePragmaFunction(CatalogTransaction, duckdb::CreatePragmaFunctionInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreateCollation(CatalogTransaction, duckdb::CreateCollationInfo&) override { RefuseWrite(); }
  optional_ptr<CatalogEntry> CreateType(CatalogTransaction, duckdb::CreateTypeInfo&) override { RefuseWrite(); }
  void DropEntry(ClientContext&, duckdb::DropInfo&) override { RefuseWrite(); }
  void Alter(CatalogTransaction, duckdb::AlterInfo&) override { RefuseWrite(); }

 private:
  /// Whether an entry of type `have` is an answer to a look-up for `wanted`, as DuckDB's own sets have it.
  static bool Answers(CatalogType wanted, CatalogType have) {
    switch (wanted) {
      case CatalogType::TABLE_ENTRY:
      case CatalogType::VIEW_ENTRY: return have == CatalogType::TABLE_ENTRY || have == CatalogType::VIEW_ENTRY;
      case CatalogType::TABLE_FUNCTION_ENTRY:
      case CatalogType::TABLE_MACRO_ENTRY: return have == CatalogType::TABLE_MACRO_ENTRY;
      case CatalogType::SCALAR_FUNCTION_ENTRY:
      case CatalogType::MACRO_ENTRY: return have == CatalogType::MACRO_ENTRY;
      default: return false;
    }
  }

  /// The entry of a table version; made once and kept, since plans refer to it.
  StoreTable& Table(const std::shared_ptr<const store::TableInfo>& info) {
    MutexLock lock(&mutex_);
    auto& entry = tables_[info];
    if (entry) return *entry;
    auto made = MakeLogicalTable(*info);
    if (!made.ok()) throw duckdb::InternalException("%s", made.status().message());
    auto logical = std::make_shared<const LogicalTable>(std::move(made).ValueUnsafe());
    duckdb::CreateTableInfo create(*this, info->name);
    for (const LogicalColumn& column : logical->columns) {
      auto type = LogicalColumnType(column, *info->schema);
      if (!type.ok()) throw duckdb::NotImplementedException("%s.%s.%s: %s", name, info->name, column.name, type.status().message());
      create.columns.AddColumn(duckdb::ColumnDefinition(column.name, *type));
    }
    entry = std::make_unique<StoreTable>(catalog, *this, create, info, std::move(logical));
    return *entry;
  }

  std::vector<duckdb::unique_ptr<CatalogEntry>> fixed_;
  Mutex mutex_;
  std::map<std::shared_ptr<const store::TableInfo>, std::unique_ptr<StoreTable>> tables_ SHEAF_GUARDED_BY(mutex_);
};

class StoreCatalog : public duckdb::Catalog {
 public:
  StoreCatalog(duckdb::AttachedDatabase& attached, const SystemTables* system_tables)
      : duckdb::Catalog(attached), system_tables_(system_tables) {}

  void Initialize(bool) override {
    for (const char* schema : kSearchedSchemas) AddSchema(schema);
    StoreSchema& system = AddSchema("sheaf");
    for (const SystemTable& table : *system_tables_) {
      duckdb::CreateTableInfo create(system, table.name);
      for (size_t i = 0; i < table.columns.size(); ++i) {
        create.columns.AddColumn(duckdb::ColumnDefinition(table.columns[i], table.types[i]));
      }
      system.AddFixed(duckdb::make_uniq<RowsTable>(*this, system, create, table));
    }
    for (const Model& model : Models()) AddModel(model);
  }

  std::string GetCatalogType() override { return "sheaf"; }

  optional_ptr<duckdb::SchemaCatalogEntry> LookupSchema(CatalogTransaction, const duckdb::EntryLookupInfo& lookup,
                                                        duckdb::OnEntryNotFound if_not_found) override {
    for (const auto& schema : schemas_) {
      if (duckdb::StringUtil::CIEquals(schema->name, lookup.GetEntryName())) return schema.get();
    }
    if (if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return nullptr;
    throw duckdb::CatalogException(lookup.GetErrorContext(), "Schema with name %s does not exist!", lookup.GetEntryName());
  }
  void ScanSchemas(ClientContext&, std::function<void(duckdb::SchemaCatalogEntry&)> callback) override {
    for (const auto& schema : schemas_) callback(*schema);
  }

  optional_ptr<CatalogEntry> CreateSchema(CatalogTransaction, duckdb::CreateSchemaInfo&) override { RefuseWrite(); }
  void DropSchema(ClientContext&, duckdb::DropInfo&) override { RefuseWrite(); }
  duckdb::PhysicalOperator& PlanCreateTableAs(ClientContext&, duckdb::PhysicalPlanGenerator&, duckdb::LogicalCreateTable&,
                                              duckdb::PhysicalOperator&) override {
    RefuseWrite();
  }
  duckdb::PhysicalOperator& PlanInsert(ClientContext&, duckdb::PhysicalPlanGenerator&, duckdb::LogicalInsert&,
                                       optional_ptr<duckdb::PhysicalOperator>) override {
    RefuseWrite();
  }
  duckdb::PhysicalOperator& PlanDelete(ClientContext&, duckdb::PhysicalPlanGenerator&, duckdb::LogicalDelete&,
                                       duckdb::PhysicalOperator&) override {
    RefuseWrite();
  }
  duckdb::PhysicalOperator& PlanUpdate(ClientContext&, duckdb::PhysicalPlanGenerator&, duckdb::LogicalUpdate&,
                                       duckdb::PhysicalOperator&) override {
    RefuseWrite();
  }
  duckdb::DatabaseSize GetDatabaseSize(ClientContext&) override { return duckdb::DatabaseSize(); }
  bool InMemory() override { return true; }
  std::string GetDBPath() override { return ""; }

 private:
  StoreSchema& AddSchema(const std::string& name) {
    duckdb::CreateSchemaInfo create;
    create.schema = name;
    schemas_.push_back(duckdb::make_uniq<StoreSchema>(*this, create));
    return *schemas_.back();
  }

  StoreSchema& SchemaOf(const Model& model, const std::string& name) {
    const std::string& wanted = name.empty() ? "main" : name;
    for (const auto& schema : schemas_) {
      if (schema->name == wanted) return *schema;
    }
    throw duckdb::InternalException("models/%s names the unknown schema %s", std::string(model.path), name);
  }

  void AddModel(const Model& model) {
    duckdb::Parser parser;
    parser.ParseQuery(std::string(model.sql));
    for (auto& statement : parser.statements) {
      auto& info = *statement->Cast<duckdb::CreateStatement>().info;
      StoreSchema& schema = SchemaOf(model, info.schema);
      info.catalog = GetName();
      info.schema = schema.name;
      switch (info.type) {
        case CatalogType::VIEW_ENTRY:
          schema.AddFixed(duckdb::make_uniq<duckdb::ViewCatalogEntry>(*this, schema, info.Cast<duckdb::CreateViewInfo>()));
          break;
        case CatalogType::TABLE_MACRO_ENTRY:
          schema.AddFixed(duckdb::make_uniq<duckdb::TableMacroCatalogEntry>(*this, schema, info.Cast<duckdb::CreateMacroInfo>()));
          break;
        case CatalogType::MACRO_ENTRY:
          schema.AddFixed(duckdb::make_uniq<duckdb::ScalarMacroCatalogEntry>(*this, schema, info.Cast<duckdb::CreateMacroInfo>()));
          break;
        default: throw duckdb::InternalException("models/%s may hold views and macros only", std::string(model.path));
      }
    }
  }

  const SystemTables* const system_tables_;  // Borrowed.
  std::vector<duckdb::unique_ptr<StoreSchema>> schemas_;  // Fixed after Initialize().
};

struct StoreExtensionInfo : public duckdb::StorageExtensionInfo {
  store::Database* database = nullptr;
  const SystemTables* system_tables = nullptr;
};

}  // namespace

void RegisterCatalog(duckdb::DatabaseInstance* instance, store::Database* database, const SystemTables* system_tables) {
  auto info = duckdb::make_shared_ptr<StoreExtensionInfo>();
  info->database = database;
  info->system_tables = system_tables;
  auto extension = duckdb::make_shared_ptr<duckdb::StorageExtension>();
  extension->storage_info = info;
  extension->attach = [](optional_ptr<duckdb::StorageExtensionInfo> storage, ClientContext&, duckdb::AttachedDatabase& attached,
                         const std::string&, duckdb::AttachInfo&, duckdb::AttachOptions&) -> duckdb::unique_ptr<duckdb::Catalog> {
    const auto& ours = static_cast<const StoreExtensionInfo&>(*storage);
    return duckdb::make_uniq<StoreCatalog>(attached, ours.system_tables);
  };
  extension->create_transaction_manager = [](optional_ptr<duckdb::StorageExtensionInfo> storage, duckdb::AttachedDatabase& attached,
                                             duckdb::Catalog&) -> duckdb::unique_ptr<duckdb::TransactionManager> {
    return duckdb::make_uniq<SnapshotTransactions>(attached, static_cast<const StoreExtensionInfo&>(*storage).database);
  };
  duckdb::StorageExtension::Register(duckdb::DBConfig::GetConfig(*instance), "sheaf", std::move(extension));
}

}  // namespace sheaf::query
