#include "query/view_statements.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "query/catalog.h"

namespace sheaf::query {

namespace {

/// A word of the text, in upper case, and where it begins. Others than words have no text.
struct Token {
  std::string word;
  size_t at = 0;
};

std::vector<Token> Tokens(const std::string& sql) {
  std::vector<Token> tokens;
  const auto parsed = duckdb::Parser::Tokenize(sql);
  for (const duckdb::SimplifiedToken& token : parsed) {
    if (token.type == duckdb::SimplifiedTokenType::SIMPLIFIED_TOKEN_COMMENT) continue;
    size_t end = token.start;
    while (end < sql.size() && (std::isalnum(static_cast<unsigned char>(sql[end])) != 0 || sql[end] == '_')) ++end;
    tokens.push_back({duckdb::StringUtil::Upper(sql.substr(token.start, end - token.start)), token.start});
  }
  return tokens;
}

/// Spaces in the place of the text, so that positions in errors stay right.
void Blank(std::string* sql, size_t begin, size_t end) { std::fill_n(sql->begin() + static_cast<int64_t>(begin), end - begin, ' '); }

/// Whether it is written out: what is not goes past all that is checked of statements.
bool IsLiteral(const duckdb::ParsedExpression& expression) {
  using Class = duckdb::ExpressionClass;
  if (expression.GetExpressionClass() == Class::CONSTANT) return true;
  if (expression.GetExpressionClass() == Class::CAST) return IsLiteral(*expression.Cast<duckdb::CastExpression>().child);
  if (expression.GetExpressionClass() != Class::FUNCTION) return false;
  const auto& call = expression.Cast<duckdb::FunctionExpression>();  // INTERVAL 10 seconds is to_seconds(10).
  const bool is_unit = call.function_name.starts_with("to_") || call.function_name == "trunc" ||
                       (call.is_operator && call.function_name == "-");
  return is_unit && std::all_of(call.children.begin(), call.children.end(), [](const auto& child) { return IsLiteral(*child); });
}

/// The length of a constant interval. `what` is the clause it stands in.
Result<int64_t> IntervalUs(duckdb::Connection* connection, const std::string& text, const std::string& what) {
  auto expressions = duckdb::Parser::ParseExpressionList(text);
  duckdb::Value value;
  if (expressions.size() != 1 || !IsLiteral(*expressions[0])) {
    return MakeError(ErrorKind::kInvalid, "{} needs an interval that is written out, such as INTERVAL '10 seconds'; this is {}", what,
                     text);
  }
  connection->context->RunFunctionInTransaction([&] { value = EvaluateConstant(*connection->context, *expressions.at(0), what); });
  if (value.IsNull() || value.type().id() != duckdb::LogicalTypeId::INTERVAL) {
    return MakeError(ErrorKind::kInvalid, "{} needs an interval, such as INTERVAL '10 seconds'; this is {}", what, text);
  }
  return duckdb::Interval::GetMicro(value.GetValue<duckdb::interval_t>());
}

/// What stands between a view's name and AS.
class Clauses {
 public:
  /// `tokens` are those of `sql`; the clauses begin at or behind `begin`, and AS is at `as`.
  Clauses(duckdb::Connection* connection, const std::string& sql, const std::vector<Token>& tokens, size_t begin, size_t as)
      : connection_(connection), sql_(sql), tokens_(tokens), as_(as) {
    for (first_ = begin; first_ < as_ && !Is(first_, "REFRESH", "EVERY") && !Is(first_, "WATERMARK", "FOR");) ++first_;
  }
  /// Where they begin in the text; none: there are none.
  std::optional<size_t> at() const { return first_ < as_ ? std::optional(tokens_[first_].at) : std::nullopt; }

  Status Take(ViewDefinition* definition) const {
    if (first_ == as_) return Status::OK();
    if (Is(first_, "REFRESH", "EVERY")) {
      SHEAF_ASSIGN_OR_RETURN(const int64_t us, Interval(first_, as_, "REFRESH EVERY"));
      if (us < 100'000) return MakeError(ErrorKind::kInvalid, "REFRESH EVERY needs 100 milliseconds at least");
      definition->refresh_ms = us / 1000;
      return Status::OK();
    }
    size_t delay = first_, lateness = first_;
    while (delay < as_ && tokens_[delay].word != "DELAY") ++delay;
    while (lateness < as_ && !Is(lateness, "ALLOWED", "LATENESS")) ++lateness;
    if (delay >= lateness) {
      return MakeError(ErrorKind::kInvalid,
                       "write WATERMARK FOR time DELAY INTERVAL '10 seconds', and ALLOWED LATENESS INTERVAL '1 hour' behind it, if any");
    }
    WatermarkRule rule;
    const auto column = duckdb::Parser::ParseExpressionList(Between(first_ + 1, delay));
    if (column.size() != 1 || column[0]->GetExpressionClass() != duckdb::ExpressionClass::COLUMN_REF ||
        column[0]->Cast<duckdb::ColumnRefExpression>().IsQualified()) {
      return MakeError(ErrorKind::kInvalid, "WATERMARK FOR needs the name of a column; this is {}", Between(first_ + 1, delay));
    }
    rule.column = column[0]->Cast<duckdb::ColumnRefExpression>().GetColumnName();
    SHEAF_ASSIGN_OR_RETURN(rule.delay_us, Length(delay, lateness, "DELAY"));
    if (lateness < as_) {
      SHEAF_ASSIGN_OR_RETURN(rule.lateness_us, Length(lateness + 1, as_, "ALLOWED LATENESS"));
    }
    definition->watermark = std::move(rule);
    return Status::OK();
  }

 private:
  bool Is(size_t i, std::string_view first, std::string_view second) const {
    return i + 1 < as_ && tokens_[i].word == first && tokens_[i + 1].word == second;
  }
  /// The text behind the word of one token, up to another.
  std::string Between(size_t after, size_t before) const {
    const size_t begin = tokens_[after].at + tokens_[after].word.size();
    return sql_.substr(begin, tokens_[before].at - begin);
  }
  Result<int64_t> Interval(size_t clause, size_t end, const std::string& what) const {
    return IntervalUs(connection_, Between(clause + 1, end), what);
  }
  Result<int64_t> Length(size_t word, size_t end, const std::string& what) const {
    SHEAF_ASSIGN_OR_RETURN(const int64_t us, IntervalUs(connection_, Between(word, end), what));
    if (us < 0) return MakeError(ErrorKind::kInvalid, "{} is less than nothing", what);
    return us;
  }

  duckdb::Connection* const connection_;
  const std::string& sql_;
  const std::vector<Token>& tokens_;
  const size_t as_;
  size_t first_;
};

void SetNames(const std::string& schema, const std::string& name, ViewDefinition* definition) {
  const bool none = schema.empty() || duckdb::StringUtil::CIEquals(schema, kCatalogName);
  definition->schema_name = none ? "main" : duckdb::StringUtil::Lower(schema);
  definition->name = name;
}

Status CheckSchema(const ViewDefinition& definition) {
  if (IsSearchedSchema(definition.schema_name)) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "there is no schema {} for views: take main, otel, trading or memory", definition.schema_name);
}

Status TakeCreate(duckdb::CreateStatement& create, ViewStatement* out) {
  auto& info = create.info->Cast<duckdb::CreateViewInfo>();
  if (info.temporary) return MakeError(ErrorKind::kInvalid, "a materialized view is never temporary");
  if (!info.aliases.empty()) return MakeError(ErrorKind::kInvalid, "name the columns in the SELECT, with AS");
  SetNames(info.schema, info.view_name, &out->definition);
  out->definition.select_sql = info.query->ToString();
  out->or_replace = info.on_conflict == duckdb::OnCreateConflict::REPLACE_ON_CONFLICT;
  out->if_not_exists = info.on_conflict == duckdb::OnCreateConflict::IGNORE_ON_CONFLICT;
  return CheckSchema(out->definition);
}

}  // namespace

Result<std::optional<ViewStatement>> ParseViewStatement(duckdb::Connection* connection, const std::string& sql) {
  // Look-ups need not pay for more than this.
  const size_t begin = sql.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos || std::string_view("cCdDrR-/").find(sql[begin]) == std::string_view::npos) return std::nullopt;
  const std::string upper = duckdb::StringUtil::Upper(sql);
  const size_t marked = upper.find("MATERIALIZED");
  if (marked == std::string::npos) return std::nullopt;
  const auto tokens = Tokens(sql);
  const auto word = [&tokens](size_t i) { return i < tokens.size() ? std::string_view(tokens[i].word) : std::string_view(); };
  const size_t at = word(0) == "CREATE" && word(1) == "OR" && word(2) == "REPLACE" ? 3 : 1;
  if (word(at) != "MATERIALIZED" || word(at + 1) != "VIEW") return std::nullopt;
  if (word(0) != "CREATE" && word(0) != "DROP" && word(0) != "REFRESH") return std::nullopt;
  std::string plain = sql;
  Blank(&plain, tokens[at].at, tokens[at].at + std::string_view("MATERIALIZED").size());
  ViewStatement statement;
  if (word(0) == "REFRESH") {  // As a DROP, it names a view.
    statement.kind = ViewStatement::Kind::kRefresh;
    plain.replace(tokens[0].at, std::string_view("REFRESH").size(), "DROP   ");
  } else if (word(0) == "DROP") {
    statement.kind = ViewStatement::Kind::kDrop;
  } else {
    size_t as = at;
    while (as < tokens.size() && word(as) != "AS") ++as;
    if (as < tokens.size()) {
      const Clauses clauses(connection, sql, tokens, at, as);
      SHEAF_RETURN_NOT_OK(clauses.Take(&statement.definition));
      if (clauses.at()) Blank(&plain, *clauses.at(), tokens[as].at);
    }
  }
  duckdb::Parser parser(connection->context->GetParserOptions());
  parser.ParseQuery(plain);
  if (parser.statements.size() != 1) return MakeError(ErrorKind::kDenied, "a request that makes or drops a view holds nothing else");
  auto& parsed = *parser.statements[0];
  if (statement.kind == ViewStatement::Kind::kCreate) {
    if (parsed.type != duckdb::StatementType::CREATE_STATEMENT) {
      return MakeError(ErrorKind::kInvalid, "that is no CREATE MATERIALIZED VIEW");
    }
    SHEAF_RETURN_NOT_OK(TakeCreate(parsed.Cast<duckdb::CreateStatement>(), &statement));
    statement.definition.created_ns =
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    return std::optional(std::move(statement));
  }
  if (parsed.type != duckdb::StatementType::DROP_STATEMENT) return MakeError(ErrorKind::kInvalid, "that names no materialized view");
  const auto& drop = *parsed.Cast<duckdb::DropStatement>().info;
  SetNames(drop.schema, drop.name, &statement.definition);
  statement.if_exists = drop.if_not_found == duckdb::OnEntryNotFound::RETURN_NULL;
  return std::optional(std::move(statement));
}

}  // namespace sheaf::query
