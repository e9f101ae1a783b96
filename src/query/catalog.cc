#include "query/catalog.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "core/mutex.h"
#include "query/kept_sql.h"
#include "query/models.h"
#include "query/statement_rights.h"
#include "query/statement_state.h"
#include "query/store_table.h"
#include "query/store_transaction.h"
#include "query/table_definitions.h"
#include "query/views.h"
#include "query/write_operators.h"

namespace sheaf::query {

namespace {

using duckdb::CatalogEntry;
using duckdb::CatalogTransaction;
using duckdb::CatalogType;
using duckdb::ClientContext;
using duckdb::optional_ptr;

[[noreturn]] void Refuse(const char* what, const char* instead) {
  throw duckdb::NotImplementedException("%s: %s", what, instead);
}

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

/// Shown as what made it, though it is read as a view over what is kept.
class MaterializedViewEntry : public duckdb::ViewCatalogEntry {
 public:
  MaterializedViewEntry(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema, duckdb::CreateViewInfo& info, std::string sql)
      : duckdb::ViewCatalogEntry(catalog, schema, info), sql_(std::move(sql)) {}
  std::string ToSQL() const override { return sql_; }

 private:
  const std::string sql_;
};

/// The system table that tells no more than SHOW VIEWS to whoever may read everything.
constexpr const char* kViewsTable = "views";

/// Tables come from the snapshot; views and macros from models/ and system tables are fixed. Whatever SQL reads is found here and whatever
/// it defines made here, so rights to that are asked for here.
class StoreSchema : public duckdb::SchemaCatalogEntry {
 public:
  StoreSchema(duckdb::Catalog& catalog, duckdb::CreateSchemaInfo& create, store::Database* database, const CatalogSources& sources)
      : duckdb::SchemaCatalogEntry(catalog, create), database_(database), views_(sources.views), kept_(sources.kept) {}

  /// Throws where a table of that name cannot be made here.
  void CheckFree(const std::string& table) const {
    if (name == kSystemSchema) throw duckdb::PermissionException("the schema sheaf holds system tables: take main");
    if (IsBuiltIn(CatalogType::TABLE_ENTRY, table)) {
      throw duckdb::CatalogException("%s.%s is a view that is built in: take another name", name, table);
    }
    if (views_->Find(name, table)) throw duckdb::CatalogException("%s.%s is a materialized view: take another name", name, table);
    if (kept_->Get()->Find(CatalogType::VIEW_ENTRY, name, table)) {
      throw duckdb::CatalogException("%s.%s is a view: take another name", name, table);
    }
  }

  void AddFixed(duckdb::unique_ptr<CatalogEntry> entry) { fixed_.push_back(std::move(entry)); }

  /// Throws where there is such an entry, and whoever asks may not read it.
  optional_ptr<CatalogEntry> LookupEntry(CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup) override {
    const auto found = Find(transaction, lookup);
    if (found && transaction.HasContext()) CheckReadable(transaction.GetContext(), *found);
    return found;
  }
  optional_ptr<CatalogEntry> Find(CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup) {
    const std::string& wanted = lookup.GetEntryName();
    for (const auto& entry : fixed_) {
      if (duckdb::StringUtil::CIEquals(entry->name, wanted) && Answers(lookup.GetCatalogType(), entry->type)) return entry.get();
    }
    if (!kept_->empty()) {
      if (auto* entry = Kept(lookup.GetCatalogType(), wanted)) return entry;
    }
    if (lookup.GetCatalogType() != CatalogType::TABLE_ENTRY && lookup.GetCatalogType() != CatalogType::VIEW_ENTRY) return nullptr;
    if (const auto view = views_->Find(name, wanted)) return &Entry(view);
    if (lookup.GetCatalogType() != CatalogType::TABLE_ENTRY || !transaction.transaction) return nullptr;
    for (const auto& info : transaction.transaction->Cast<StoreTransaction>().snapshot().tables()) {
      if (duckdb::StringUtil::CIEquals(info->schema_name, name) && duckdb::StringUtil::CIEquals(info->name, wanted)) return &Table(info);
    }
    return nullptr;
  }

  /// What whoever asks may not read is not there.
  void Scan(ClientContext& context, CatalogType type, const std::function<void(CatalogEntry&)>& callback) override {
    if (!HasRight(context, access::Action::kRead, name)) return;
    Scan(type, callback);
    if (type != CatalogType::TABLE_ENTRY && type != CatalogType::VIEW_ENTRY) return;
    for (const auto& view : views_->All()) {
      if (duckdb::StringUtil::CIEquals(view->definition().schema_name, name)) callback(Entry(view));
    }
    if (type != CatalogType::TABLE_ENTRY) return;
    auto& transaction = duckdb::Transaction::Get(context, catalog).Cast<StoreTransaction>();
    for (const auto& info : transaction.snapshot().tables()) {
      if (duckdb::StringUtil::CIEquals(info->schema_name, name)) callback(Table(info));
    }
  }
  void Scan(CatalogType type, const std::function<void(CatalogEntry&)>& callback) override {
    for (const auto& entry : fixed_) {
      if (Answers(type, entry->type)) callback(*entry);
    }
    kept_->Get()->ForEachIn(name, [&](const std::shared_ptr<const KeptEntry>& entry) {
      if (Answers(type, entry->info->type)) callback(Entry(entry));
    });
  }

  /// Definitions are durable and visible to others when these return; a statement that fails later does not undo them.
  optional_ptr<CatalogEntry> CreateTable(CatalogTransaction transaction, duckdb::BoundCreateTableInfo& create) override {
    ClientContext& context = transaction.GetContext();
    RequireRight(context, access::Action::kDefine, name);
    CheckFree(create.Base().table);
    CheckTakesNoPlace(context, create.Base().table);
    auto wanted = ToNewTable(context, create.Base());
    if (!wanted.ok()) ThrowStatus(context, wanted.status());
    if (wanted->or_replace) {
      if (const auto there = database_->FindTable(name, create.Base().table); there.ok()) CheckUnused(context, **there);
    }
    auto made = database_->CreateTable(*wanted);
    if (!made.ok()) ThrowStatus(context, made.status());
    return &Table(*made);
  }
  void DropEntry(ClientContext& context, duckdb::DropInfo& drop) override {
    RequireRight(context, access::Action::kDefine, name);
    if (drop.type != CatalogType::TABLE_ENTRY) {
      RequireRight(context, access::Action::kDefine);
      return DropKept(context, drop);
    }
    auto* table = Wanted(context, drop.name, drop.if_not_found);
    if (table == nullptr) return;
    CheckUnused(context, *table->info());
    const Status dropped = database_->DropTable(table->info()->id);
    if (!dropped.ok() && !(KindOf(dropped) == ErrorKind::kNotFound && drop.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL)) {
      ThrowStatus(context, dropped);
    }
  }
  void Alter(CatalogTransaction transaction, duckdb::AlterInfo& alter) override {
    ClientContext& context = transaction.GetContext();
    RequireRight(context, access::Action::kDefine, name);
    if (alter.type != duckdb::AlterType::ALTER_TABLE) Refuse("COMMENT and other changes of entries", "ALTER TABLE is what there is");
    auto* table = Wanted(context, alter.name, alter.if_not_found);
    if (table == nullptr) return;
    auto change = ToAlterTable(context, alter.Cast<duckdb::AlterTableInfo>(), *table->info());
    if (!change.ok()) ThrowStatus(context, change.status());
    using Kind = store::AlterTable::Kind;
    const bool harmless = change->kind == Kind::kAddColumn || change->kind == Kind::kSetDefault || change->kind == Kind::kSetSettings;
    if (!harmless) CheckUnused(context, *table->info());
    const auto altered = database_->Alter(table->info()->id, *change);
    if (!altered.ok()) ThrowStatus(context, altered.status());
  }

  optional_ptr<CatalogEntry> CreateIndex(CatalogTransaction, duckdb::CreateIndexInfo&, duckdb::TableCatalogEntry&) override {
    Refuse("CREATE INDEX", "rows are found by PRIMARY KEY, and WITH (filters = 'a, b') gives columns an index for =");
  }
  optional_ptr<CatalogEntry> CreateView(CatalogTransaction transaction, duckdb::CreateViewInfo& create) override {
    return CreateKept(transaction, create, create.view_name);
  }
  optional_ptr<CatalogEntry> CreateSequence(CatalogTransaction, duckdb::CreateSequenceInfo&) override {
    Refuse("CREATE SEQUENCE", "make keys where the rows are made");
  }
  optional_ptr<CatalogEntry> CreateType(CatalogTransaction, duckdb::CreateTypeInfo&) override {
    Refuse("CREATE TYPE", "name the type in each column");
  }
  optional_ptr<CatalogEntry> CreateFunction(CatalogTransaction transaction, duckdb::CreateFunctionInfo& create) override {
    if (create.type != CatalogType::MACRO_ENTRY && create.type != CatalogType::TABLE_MACRO_ENTRY) RefuseFunction();
    return CreateKept(transaction, create, create.name);
  }
  optional_ptr<CatalogEntry> CreateTableFunction(CatalogTransaction, duckdb::CreateTableFunctionInfo&) override { RefuseFunction(); }
  optional_ptr<CatalogEntry> CreateCopyFunction(CatalogTransaction, duckdb::CreateCopyFunctionInfo&) override { RefuseFunction(); }
  optional_ptr<CatalogEntry> CreatePragmaFunction(CatalogTransaction, duckdb::CreatePragmaFunctionInfo&) override { RefuseFunction(); }
  optional_ptr<CatalogEntry> CreateCollation(CatalogTransaction, duckdb::CreateCollationInfo&) override { RefuseFunction(); }

 private:
  void CheckReadable(ClientContext& context, const CatalogEntry& entry) const {
    const bool is_macro = entry.type == CatalogType::MACRO_ENTRY || entry.type == CatalogType::TABLE_MACRO_ENTRY;
    if (is_macro && IsBuiltIn(entry.type, entry.name)) return;  // Says nothing by itself; the tables it names are looked up in turn.
    if (name == kSystemSchema && entry.name == kViewsTable) return RequireRight(context, access::Action::kRead);
    RequireRight(context, access::Action::kRead, name);
  }
  [[noreturn]] static void RefuseFunction() { Refuse("CREATE FUNCTION", "functions are registered from C++; SQL has CREATE MACRO"); }

  optional_ptr<CatalogEntry> CreateKept(CatalogTransaction transaction, const duckdb::CreateInfo& create, const std::string& wanted) {
    ClientContext& context = transaction.GetContext();
    RequireRight(context, access::Action::kDefine);  // Names without a schema are looked for in all: what they stand for is everybody's.
    if (IsBuiltIn(create.type, wanted)) throw duckdb::CatalogException("%s.%s is built in: take another name", name, wanted);
    if (create.type == CatalogType::VIEW_ENTRY) CheckNotInTheWay(wanted);
    if (create.type != CatalogType::VIEW_ENTRY) {  // Wherever it is, so that a ready query stays what it is.
      catalog.ScanSchemas(context, [&](duckdb::SchemaCatalogEntry& schema) {
        if (!static_cast<const StoreSchema&>(schema).IsBuiltIn(create.type, wanted)) return;
        throw duckdb::CatalogException("%s.%s is built in: take another name", schema.name, wanted);
      });
    }
    const Status made = kept_->Create(context, create);
    if (!made.ok()) ThrowStatus(context, made);
    return nullptr;
  }
  /// Names without a schema are looked for in several. Who may define things in this one only must not take the place of what others
  /// mean by a name.
  void CheckTakesNoPlace(ClientContext& context, const std::string& wanted) const {
    if (HasRight(context, access::Action::kDefine, {})) return;
    const auto snapshot = database_->GetSnapshot();
    for (const auto& info : snapshot->tables()) {
      if (!duckdb::StringUtil::CIEquals(info->name, wanted) || duckdb::StringUtil::CIEquals(info->schema_name, name)) continue;
      throw duckdb::PermissionException("a table of that name is in another schema: take another name, or ask an administrator of the "
                                        "whole database");
    }
  }
  /// Materialised views name their tables as their SQL does, maybe without the schema: a view of that name would take a table's place.
  void CheckNotInTheWay(const std::string& wanted) const {
    const auto snapshot = database_->GetSnapshot();
    for (const auto& info : snapshot->tables()) {
      if (!duckdb::StringUtil::CIEquals(info->name, wanted)) continue;
      const auto view = views_->MadeOf(info->id);
      if (view) throw duckdb::CatalogException("%s is made of the table %s: take another name", view->definition().full_name(), info->name);
    }
  }
  bool IsBuiltIn(CatalogType type, const std::string& wanted) const {
    return std::any_of(fixed_.begin(), fixed_.end(), [&](const auto& entry) {
      return Answers(type, entry->type) && duckdb::StringUtil::CIEquals(entry->name, wanted);
    });
  }
  void DropKept(ClientContext& context, const duckdb::DropInfo& drop) {
    const bool may_be_gone = drop.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL;
    const duckdb::EntryLookupInfo lookup(drop.type, drop.name);
    const auto entry = LookupEntry(GetCatalogTransaction(context), lookup);
    if (!entry && may_be_gone) return;
    if (entry && entry->type == CatalogType::VIEW_ENTRY && views_->Find(name, drop.name)) {
      throw duckdb::CatalogException("%s.%s is a materialized view: DROP MATERIALIZED VIEW", name, drop.name);
    }
    if (entry && entry->type == CatalogType::TABLE_ENTRY) throw duckdb::CatalogException("%s.%s is a table: DROP TABLE", name, drop.name);
    if (IsBuiltIn(drop.type, drop.name)) throw duckdb::PermissionException("%s.%s is built in and stays as it is", name, drop.name);
    const Status dropped = kept_->Drop(drop.type, name, drop.name);
    if (!dropped.ok() && !(KindOf(dropped) == ErrorKind::kNotFound && may_be_gone)) ThrowStatus(context, dropped);
  }

  void CheckUnused(ClientContext& context, const store::TableInfo& table) const {
    const auto view = views_->MadeOf(table.id);
    if (!view) return;
    const std::string by = view->definition().full_name();
    ThrowStatus(context, MakeError(ErrorKind::kInvalid, "{}.{} stays as it is while {} is made of it: DROP MATERIALIZED VIEW {} first",
                                   table.schema_name, table.name, by, by));
  }

  /// The table to drop or alter; null where there is none and that is no error.
  StoreTable* Wanted(ClientContext& context, const std::string& wanted, duckdb::OnEntryNotFound if_not_found) {
    const duckdb::EntryLookupInfo lookup(CatalogType::TABLE_ENTRY, wanted);
    auto entry = LookupEntry(GetCatalogTransaction(context), lookup);
    if (!entry && if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return nullptr;
    if (!entry) throw duckdb::CatalogException("there is no table %s.%s", name, wanted);
    auto* table = dynamic_cast<StoreTable*>(entry.get());
    if (table == nullptr && kept_->Get()->Find(CatalogType::VIEW_ENTRY, name, wanted)) {
      throw duckdb::CatalogException("%s.%s is a view: DROP VIEW, or CREATE OR REPLACE VIEW", name, wanted);
    }
    if (table == nullptr) throw duckdb::PermissionException("%s.%s is built in and stays as it is", name, wanted);
    return table;
  }

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
    entry = StoreTable::Make(catalog, *this, info);
    return *entry;
  }

  /// The entry of a view; made once and kept, as those of tables.
  duckdb::ViewCatalogEntry& Entry(const std::shared_ptr<View>& view) {
    MutexLock lock(&mutex_);
    auto& [owner, entry] = view_entries_[view.get()];
    if (entry && owner.lock() == view) return *entry;
    if (entry) former_views_.push_back(std::move(entry));  // Of one that is gone.
    owner = view;
    duckdb::CreateViewInfo info;
    info.catalog = catalog.GetName();
    info.schema = name;
    info.view_name = view->definition().name;
    duckdb::Parser parser;
    parser.ParseQuery(view->output_sql());
    info.query = duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(std::move(parser.statements[0]));
    entry = duckdb::make_uniq<MaterializedViewEntry>(catalog, *this, info, view->definition().sql());
    return *entry;
  }

  /// The view or macro that answers a look-up; null: there is none.
  CatalogEntry* Kept(CatalogType wanted, const std::string& entry_name) {
    const auto kept = kept_->Get();
    for (const CatalogType type : {CatalogType::VIEW_ENTRY, CatalogType::MACRO_ENTRY, CatalogType::TABLE_MACRO_ENTRY}) {
      if (!Answers(wanted, type)) continue;
      if (const auto found = kept->Find(type, name, entry_name)) return &Entry(found);
    }
    return nullptr;
  }
  /// Made once and kept, as those of tables.
  CatalogEntry& Entry(const std::shared_ptr<const KeptEntry>& kept) {
    MutexLock lock(&mutex_);
    auto& entry = kept_entries_[kept];
    if (entry) return *entry;
    const auto info = kept->info->Copy();
    switch (info->type) {
      case CatalogType::VIEW_ENTRY:
        entry = duckdb::make_uniq<duckdb::ViewCatalogEntry>(catalog, *this, info->Cast<duckdb::CreateViewInfo>());
        break;
      case CatalogType::TABLE_MACRO_ENTRY:
        entry = duckdb::make_uniq<duckdb::TableMacroCatalogEntry>(catalog, *this, info->Cast<duckdb::CreateMacroInfo>());
        break;
      default: entry = duckdb::make_uniq<duckdb::ScalarMacroCatalogEntry>(catalog, *this, info->Cast<duckdb::CreateMacroInfo>()); break;
    }
    return *entry;
  }

  store::Database* const database_;  // Borrowed, as are the next two.
  Views* const views_;
  KeptSql* const kept_;
  std::vector<duckdb::unique_ptr<CatalogEntry>> fixed_;
  Mutex mutex_;
  /// The entries do not own their views, which have connections to this very instance.
  using ViewEntry = std::pair<std::weak_ptr<View>, duckdb::unique_ptr<duckdb::ViewCatalogEntry>>;
  std::map<const View*, ViewEntry> view_entries_ SHEAF_GUARDED_BY(mutex_);
  std::vector<duckdb::unique_ptr<duckdb::ViewCatalogEntry>> former_views_ SHEAF_GUARDED_BY(mutex_);
  std::map<std::shared_ptr<const KeptEntry>, duckdb::unique_ptr<CatalogEntry>> kept_entries_ SHEAF_GUARDED_BY(mutex_);
  std::map<std::shared_ptr<const store::TableInfo>, duckdb::unique_ptr<StoreTable>> tables_ SHEAF_GUARDED_BY(mutex_);
};

class StoreCatalog : public duckdb::Catalog {
 public:
  StoreCatalog(duckdb::AttachedDatabase& attached, store::Database* database, const CatalogSources& sources)
      : duckdb::Catalog(attached), database_(database), sources_(sources) {}

  void Initialize(bool) override {
    for (const char* schema : kSearchedSchemas) AddSchema(schema);
    StoreSchema& system = AddSchema(kSystemSchema);
    for (const SystemTable& table : *sources_.system_tables) {
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

  optional_ptr<CatalogEntry> CreateSchema(CatalogTransaction, duckdb::CreateSchemaInfo& create) override {
    for (const auto& schema : schemas_) {
      if (!duckdb::StringUtil::CIEquals(schema->name, create.schema)) continue;
      if (create.on_conflict == duckdb::OnCreateConflict::IGNORE_ON_CONFLICT) return nullptr;
      throw duckdb::CatalogException("the schema %s is there already", create.schema);
    }
    Refuse("CREATE SCHEMA", "the schemas are main, trading and memory (and otel for telemetry); make the table in one of them");
  }
  void DropSchema(ClientContext&, duckdb::DropInfo&) override { Refuse("DROP SCHEMA", "drop the tables; the schemas stay"); }
  /// Table settings and the like are looked at when the table is made.
  duckdb::ErrorData SupportsCreateTable(duckdb::BoundCreateTableInfo&) override { return duckdb::ErrorData(); }

  duckdb::PhysicalOperator& PlanCreateTableAs(ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
                                              duckdb::LogicalCreateTable& op, duckdb::PhysicalOperator& plan) override {
    RequireRight(context, access::Action::kDefine, op.schema.name);
    op.schema.Cast<StoreSchema>().CheckFree(op.info->Base().table);
    return PlanStoreCreateTableAs(context, planner, op, plan);
  }
  duckdb::PhysicalOperator& PlanInsert(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalInsert& op,
                                       optional_ptr<duckdb::PhysicalOperator> plan) override {
    RequireRight(context, access::Action::kWrite, op.table.schema.name);
    return PlanStoreInsert(context, planner, op, plan);
  }
  duckdb::PhysicalOperator& PlanDelete(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalDelete& op,
                                       duckdb::PhysicalOperator& plan) override {
    RequireRight(context, access::Action::kWrite, op.table.schema.name);
    return PlanStoreDelete(context, planner, op, plan);
  }
  duckdb::PhysicalOperator& PlanUpdate(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalUpdate& op,
                                       duckdb::PhysicalOperator& plan) override {
    RequireRight(context, access::Action::kWrite, op.table.schema.name);
    return PlanStoreUpdate(context, planner, op, plan);
  }
  duckdb::PhysicalOperator& PlanMergeInto(ClientContext& context, duckdb::PhysicalPlanGenerator& planner, duckdb::LogicalMergeInto& op,
                                          duckdb::PhysicalOperator& plan) override {
    RequireRight(context, access::Action::kWrite, op.table.schema.name);
    return PlanStoreMerge(context, planner, op, plan);
  }
  duckdb::DatabaseSize GetDatabaseSize(ClientContext&) override { return duckdb::DatabaseSize(); }
  bool InMemory() override { return true; }
  std::string GetDBPath() override { return ""; }

 private:
  StoreSchema& AddSchema(const std::string& name) {
    duckdb::CreateSchemaInfo create;
    create.schema = name;
    schemas_.push_back(duckdb::make_uniq<StoreSchema>(*this, create, database_, sources_));
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

  store::Database* const database_;                       // Borrowed.
  const CatalogSources sources_;
  std::vector<duckdb::unique_ptr<StoreSchema>> schemas_;  // Fixed after Initialize().
};

struct StoreExtensionInfo : public duckdb::StorageExtensionInfo {
  store::Database* database = nullptr;
  CatalogSources sources;
};

}  // namespace

bool IsSearchedSchema(const std::string& name) {
  return std::any_of(std::begin(kSearchedSchemas), std::end(kSearchedSchemas),
                     [&](const char* known) { return duckdb::StringUtil::CIEquals(name, known); });
}

void RegisterCatalog(duckdb::DatabaseInstance* instance, store::Database* database, const CatalogSources& sources) {
  auto info = duckdb::make_shared_ptr<StoreExtensionInfo>();
  info->database = database;
  info->sources = sources;
  auto extension = duckdb::make_shared_ptr<duckdb::StorageExtension>();
  extension->storage_info = info;
  extension->attach = [](optional_ptr<duckdb::StorageExtensionInfo> storage, ClientContext&, duckdb::AttachedDatabase& attached,
                         const std::string&, duckdb::AttachInfo&, duckdb::AttachOptions&) -> duckdb::unique_ptr<duckdb::Catalog> {
    const auto& ours = static_cast<const StoreExtensionInfo&>(*storage);
    return duckdb::make_uniq<StoreCatalog>(attached, ours.database, ours.sources);
  };
  extension->create_transaction_manager = [](optional_ptr<duckdb::StorageExtensionInfo> storage, duckdb::AttachedDatabase& attached,
                                             duckdb::Catalog&) -> duckdb::unique_ptr<duckdb::TransactionManager> {
    return MakeStoreTransactions(attached, static_cast<const StoreExtensionInfo&>(*storage).database);
  };
  duckdb::StorageExtension::Register(duckdb::DBConfig::GetConfig(*instance), "sheaf", std::move(extension));
}

}  // namespace sheaf::query
