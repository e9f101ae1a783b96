#include "query/kept_sql.h"

#include <chrono>
#include <set>
#include <utility>

#include "duckdb/function/scalar_macro_function.hpp"
#include "duckdb/function/table_macro_function.hpp"
#include <fmt/format.h>

#include "core/log.h"
#include "query/catalog.h"
#include "query/error_map.h"
#include "query/lockdown.h"

namespace sheaf::query {

namespace {

using duckdb::CatalogType;
using duckdb::StringUtil;

const char* KindOfEntry(CatalogType type) {
  switch (type) {
    case CatalogType::VIEW_ENTRY: return kViewKind;
    case CatalogType::MACRO_ENTRY: return kMacroKind;
    default: return kTableMacroKind;
  }
}

const std::string& NameOf(const duckdb::CreateInfo& info) {
  return info.type == CatalogType::VIEW_ENTRY ? info.Cast<duckdb::CreateViewInfo>().view_name : info.Cast<duckdb::CreateMacroInfo>().name;
}

std::string Quoted(const std::string& name) { return duckdb::KeywordHelper::WriteOptionallyQuoted(name); }

/// `(a, b := 1) AS a + b`. DuckDB's own leaves out the quotes of parameters.
std::string SqlOf(const duckdb::MacroFunction& macro) {
  std::string parameters;
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const std::string& name = macro.parameters[i]->Cast<duckdb::ColumnRefExpression>().GetColumnName();
    parameters += (i == 0 ? "" : ", ") + Quoted(name);
    if (i < macro.types.size() && macro.types[i].id() != duckdb::LogicalTypeId::UNKNOWN) parameters += " " + macro.types[i].ToString();
    const auto given = macro.default_parameters.find(name);
    if (given != macro.default_parameters.end()) parameters += " := " + given->second->ToString();
  }
  const bool table = macro.type == duckdb::MacroType::TABLE_MACRO;
  return fmt::format("({}) AS {}", parameters,
                     table ? "TABLE " + macro.Cast<duckdb::TableMacroFunction>().query_node->ToString()
                           : macro.Cast<duckdb::ScalarMacroFunction>().expression->ToString());
}

std::string SqlOf(const duckdb::CreateInfo& info, const std::string& schema_name) {
  const std::string name = Quoted(schema_name) + "." + Quoted(NameOf(info));
  std::string parts;
  if (info.type == CatalogType::VIEW_ENTRY) {
    const auto& view = info.Cast<duckdb::CreateViewInfo>();
    for (const std::string& column : view.aliases) parts += (parts.empty() ? "" : ", ") + Quoted(column);
    return fmt::format("CREATE VIEW {}{} AS {}", name, parts.empty() ? "" : " (" + parts + ")", view.query->ToString());
  }
  for (const auto& macro : info.Cast<duckdb::CreateMacroInfo>().macros) parts += (parts.empty() ? " " : ", ") + SqlOf(*macro);
  return fmt::format("CREATE MACRO {}{}", name, parts);
}

/// Throws what DuckDB's parser throws.
Result<std::shared_ptr<const KeptEntry>> Parse(const Definition& definition) {
  duckdb::Parser parser;
  parser.ParseQuery(definition.text);
  if (parser.statements.size() != 1 || parser.statements[0]->type != duckdb::StatementType::CREATE_STATEMENT) {
    return MakeError(ErrorKind::kInvalid, "that is no CREATE statement");
  }
  duckdb::unique_ptr<duckdb::CreateInfo> info = std::move(parser.statements[0]->Cast<duckdb::CreateStatement>().info);
  const bool known =
      info->type == CatalogType::VIEW_ENTRY || info->type == CatalogType::MACRO_ENTRY || info->type == CatalogType::TABLE_MACRO_ENTRY;
  if (!known || definition.kind != KindOfEntry(info->type)) return MakeError(ErrorKind::kInvalid, "that is no {}", definition.kind);
  auto entry = std::make_shared<KeptEntry>();
  entry->schema_name = StringUtil::Lower(definition.schema_name);
  entry->name = definition.name;
  info->sql = definition.text;
  info->schema = entry->schema_name;
  info->catalog = kCatalogName;
  info->on_conflict = duckdb::OnCreateConflict::ERROR_ON_CONFLICT;
  info->temporary = false;
  entry->info = std::shared_ptr<const duckdb::CreateInfo>(info.release());
  return entry;
}

/// A macro in the place of a function would change what others, the ready views among them, mean, and what a client may call is
/// told by names. In a transaction.
Status CheckNotBuiltIn(duckdb::ClientContext& context, const KeptEntry& entry) {
  if (!IsSearchedSchema(entry.schema_name)) {
    return MakeError(ErrorKind::kInvalid, "there is no schema {} for views and macros: take main, otel, trading or memory",
                     entry.schema_name);
  }
  if (entry.info->type == CatalogType::VIEW_ENTRY) return Status::OK();
  auto& system = duckdb::Catalog::GetSystemCatalog(context);
  for (const CatalogType type : {CatalogType::SCALAR_FUNCTION_ENTRY, CatalogType::TABLE_FUNCTION_ENTRY}) {
    for (const char* schema : {DEFAULT_SCHEMA, "pg_catalog"}) {
      const duckdb::EntryLookupInfo lookup(type, entry.name);
      if (!system.GetEntry(context, schema, lookup, duckdb::OnEntryNotFound::RETURN_NULL)) continue;
      return MakeError(ErrorKind::kInvalid, "{} is a function that is built in: take another name", entry.name);
    }
  }
  return Status::OK();
}

using Names = std::set<std::string>;

void NullsForNames(duckdb::QueryNode& query, const Names& names);

void NullsForNames(duckdb::unique_ptr<duckdb::ParsedExpression>& expression, const Names& names) {
  if (expression->GetExpressionClass() == duckdb::ExpressionClass::COLUMN_REF) {
    const auto& column = expression->Cast<duckdb::ColumnRefExpression>();
    if (column.IsQualified() || !names.contains(StringUtil::Lower(column.GetColumnName()))) return;
    auto null = duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value());
    null->SetAlias(column.GetAlias().empty() ? column.GetColumnName() : column.GetAlias());
    expression = std::move(null);
    return;
  }
  if (expression->GetExpressionClass() == duckdb::ExpressionClass::SUBQUERY) {
    NullsForNames(*expression->Cast<duckdb::SubqueryExpression>().subquery->node, names);
  }
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      *expression, [&](duckdb::unique_ptr<duckdb::ParsedExpression>& child) { NullsForNames(child, names); });
}

void NullsForNames(duckdb::QueryNode& query, const Names& names) {
  duckdb::ParsedExpressionIterator::EnumerateQueryNodeChildren(
      query, [&](duckdb::unique_ptr<duckdb::ParsedExpression>& child) { NullsForNames(child, names); }, [](duckdb::TableRef&) {});
}

/// DuckDB looks at a table macro up to the first use of a parameter only. Throws where it names a column or function that is not
/// there, whatever the arguments. In a transaction.
void CheckNames(duckdb::ClientContext& context, const duckdb::CreateMacroInfo& create) {
  for (const auto& overload : create.macros) {
    Names parameters;
    for (const auto& parameter : overload->parameters) {
      parameters.insert(StringUtil::Lower(parameter->Cast<duckdb::ColumnRefExpression>().GetColumnName()));
    }
    const auto query = overload->Cast<duckdb::TableMacroFunction>().query_node->Copy();
    NullsForNames(*query, parameters);
    try {
      duckdb::Binder::CreateBinder(context)->Bind(*query);
    } catch (const std::exception& exception) {
      const duckdb::ErrorData error(exception);
      const auto kind = error.ExtraInfo().find("error_subtype");
      if (kind != error.ExtraInfo().end() && (kind->second == "COLUMN_NOT_FOUND" || kind->second == "MISSING_ENTRY")) throw;
    }
  }
}

}  // namespace

std::shared_ptr<const KeptEntry> KeptSet::Find(CatalogType type, const std::string& schema_name, const std::string& name) const {
  const auto found = entries_.find({type, StringUtil::Lower(name), StringUtil::Lower(schema_name)});
  return found == entries_.end() ? nullptr : found->second;
}

void KeptSet::ForEach(CatalogType type, const std::string& schema_name, const std::string& name,
                      const std::function<void(const KeptEntry&)>& take) const {
  if (entries_.empty()) return;
  const std::string wanted = StringUtil::Lower(name);
  for (auto at = entries_.lower_bound({type, wanted, ""}); at != entries_.end(); ++at) {
    if (std::get<0>(at->first) != type || std::get<1>(at->first) != wanted) return;
    if (schema_name.empty() || StringUtil::CIEquals(schema_name, std::get<2>(at->first))) take(*at->second);
  }
}

void KeptSet::ForEachIn(const std::string& schema_name, const std::function<void(const std::shared_ptr<const KeptEntry>&)>& take) const {
  for (const auto& [key, entry] : entries_) {
    if (StringUtil::CIEquals(entry->schema_name, schema_name)) take(entry);
  }
}

KeptSet KeptSet::With(std::shared_ptr<const KeptEntry> entry) const {
  KeptSet set = *this;
  Key key(entry->info->type, StringUtil::Lower(entry->name), entry->schema_name);
  set.entries_[std::move(key)] = std::move(entry);
  return set;
}

KeptSet KeptSet::Without(CatalogType type, const std::string& schema_name, const std::string& name) const {
  KeptSet set = *this;
  set.entries_.erase({type, StringUtil::Lower(name), StringUtil::Lower(schema_name)});
  return set;
}

std::shared_ptr<const KeptSet> KeptSql::Get() const {
  MutexLock lock(&mutex_);
  return set_;
}

void KeptSql::Install(KeptSet set) {
  auto next = std::make_shared<const KeptSet>(std::move(set));
  MutexLock lock(&mutex_);
  empty_ = next->empty();
  set_ = std::move(next);
  ++version_;  // Last: an answer that was made by the former set is not one of this version.
}

Status KeptSql::Load(duckdb::ClientContext& context) {
  MutexLock changing(&changing_);
  SHEAF_ASSIGN_OR_RETURN(const auto stored, definitions_->Read());
  KeptSet set;
  const auto take = [&](const Definition& definition) -> Status {
    SHEAF_ASSIGN_OR_RETURN(auto entry, Parse(definition));
    Status free;
    context.RunFunctionInTransaction([&] { free = CheckNotBuiltIn(context, *entry); });
    SHEAF_RETURN_NOT_OK(free);
    set = set.With(std::move(entry));
    return Status::OK();
  };
  for (const Definition& definition : stored) {
    if (definition.kind != kViewKind && definition.kind != kMacroKind && definition.kind != kTableMacroKind) continue;
    const Status taken = WithoutExceptions([&] { return take(definition); });
    if (taken.ok()) continue;
    LogError("definition.cannot_be_used",
             {{"kind", definition.kind}, {"name", definition.full_name()}, {"error", taken.message()}});
  }
  Install(std::move(set));
  return Status::OK();
}

Status KeptSql::Create(duckdb::ClientContext& context, const duckdb::CreateInfo& create) {
  const std::string schema_name = StringUtil::Lower(create.schema);
  const Definition definition{
      .kind = KindOfEntry(create.type), .schema_name = schema_name, .name = NameOf(create), .text = SqlOf(create, schema_name),
      .created_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
  SHEAF_ASSIGN_OR_RETURN(auto entry, Parse(definition));
  SHEAF_RETURN_NOT_OK(CheckNotBuiltIn(context, *entry));
  if (create.type == CatalogType::TABLE_MACRO_ENTRY) CheckNames(context, entry->info->Cast<duckdb::CreateMacroInfo>());
  MutexLock changing(&changing_);
  const auto now = Get();
  if (now->Find(create.type, schema_name, entry->name)) {
    if (create.on_conflict == duckdb::OnCreateConflict::IGNORE_ON_CONFLICT) return Status::OK();
    if (create.on_conflict != duckdb::OnCreateConflict::REPLACE_ON_CONFLICT) {
      return MakeError(ErrorKind::kAlreadyExists, "the {} {} is there already", definition.kind, definition.full_name());
    }
  }
  KeptSet next = now->With(entry);
  SHEAF_RETURN_NOT_OK(CheckKept(*entry, next));
  SHEAF_RETURN_NOT_OK(definitions_->Put(definition));
  Install(std::move(next));
  return Status::OK();
}

Status KeptSql::Drop(CatalogType type, const std::string& schema_name, const std::string& name) {
  MutexLock changing(&changing_);
  SHEAF_ASSIGN_OR_RETURN(const bool known, definitions_->Remove(KindOfEntry(type), schema_name, name));
  if (!known) return MakeError(ErrorKind::kNotFound, "there is no {} {}.{}", KindOfEntry(type), schema_name, name);
  Install(Get()->Without(type, schema_name, name));
  return Status::OK();
}

}  // namespace sheaf::query
