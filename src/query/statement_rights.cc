#include "query/statement_rights.h"

#include "query/statement_state.h"

namespace sheaf::query {
namespace {

using access::Action;

Status RightOf(duckdb::ClientContext& context, Action action, std::string_view schema) {
  const auto state = context.registered_state->Get<SessionState>(SessionState::kKey);
  if (!state || state->identity() == nullptr) return Status::OK();  // The owner, or the engine itself.
  return access::Allow(*state->identity(), action, schema);
}

}  // namespace

Action ActionOf(const duckdb::SQLStatement& statement) {
  using Type = duckdb::StatementType;
  switch (statement.type) {
    case Type::SELECT_STATEMENT: return Action::kRead;
    case Type::PRAGMA_STATEMENT: return Action::kRead;  // Those that CheckStatement() lets through only tell about tables.
    case Type::EXPLAIN_STATEMENT: return ActionOf(*statement.Cast<duckdb::ExplainStatement>().stmt);
    case Type::INSERT_STATEMENT:
    case Type::UPDATE_STATEMENT:
    case Type::DELETE_STATEMENT:
    case Type::MERGE_INTO_STATEMENT: return Action::kWrite;
    case Type::CREATE_STATEMENT:
    case Type::DROP_STATEMENT:
    case Type::ALTER_STATEMENT: return Action::kDefine;
    default: return Action::kAdminister;
  }
}

Status CheckKinds(const access::Identity* identity, const duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>>& statements) {
  if (identity == nullptr) return Status::OK();
  for (const auto& statement : statements) {
    const Action action = ActionOf(*statement);
    SHEAF_RETURN_NOT_OK(action == Action::kAdminister ? access::Allow(*identity, action) : access::AllowSomewhere(*identity, action));
  }
  return Status::OK();
}

Status CheckViewStatement(const access::Identity* identity) {
  return identity == nullptr ? Status::OK() : access::Allow(*identity, Action::kDefine);
}

bool HasRight(duckdb::ClientContext& context, Action action, std::string_view schema) { return RightOf(context, action, schema).ok(); }

void RequireRight(duckdb::ClientContext& context, Action action, std::string_view schema) {
  const Status allowed = RightOf(context, action, schema);
  if (!allowed.ok()) throw duckdb::PermissionException("%s", allowed.message());
}

}  // namespace sheaf::query
