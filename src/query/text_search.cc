#include "query/text_search.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "query/pruning.h"
#include "query/scan.h"

namespace sheaf::query {

namespace {

using columns::TextNeeds;
using duckdb::Expression;
using duckdb::ExpressionClass;
using duckdb::ExpressionType;
using duckdb::string_t;

using Alternatives = std::optional<TextAlternatives>;  // Nothing: any text may pass.

constexpr size_t kAlternativesMax = 64;  // More are not worth a look-up each.
constexpr char kContainsToken[] = "contains_token";
constexpr char kEscape = '\\';

std::string_view View(const string_t& text) { return {text.GetData(), text.GetSize()}; }

std::string Parsed(std::string_view token) {
  auto parsed = columns::ParseToken(token);
  if (!parsed.ok()) throw duckdb::InvalidInputException("contains_token: %s", parsed.status().message());
  return std::move(parsed).ValueUnsafe();
}

duckdb::unique_ptr<duckdb::FunctionData> CheckWhilePlanning(duckdb::ClientContext& context, duckdb::ScalarFunction& function,
                                                            duckdb::vector<duckdb::unique_ptr<Expression>>& arguments) {
  duckdb::Value token;
  if (!arguments[1]->IsFoldable() || arguments[1]->HasParameter()) return nullptr;
  if (!duckdb::ExpressionExecutor::TryEvaluateScalar(context, *arguments[1], token)) return nullptr;
  if (!token.IsNull()) Parsed(token.ToString());
  function.SetErrorMode(duckdb::FunctionErrors::CANNOT_ERROR);
  return nullptr;
}

void FindTokens(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::Vector& texts = arguments.data[0];
  duckdb::Vector& tokens = arguments.data[1];
  if (tokens.GetVectorType() == duckdb::VectorType::CONSTANT_VECTOR && !duckdb::ConstantVector::IsNull(tokens)) {
    const std::string token = Parsed(View(*duckdb::ConstantVector::GetData<string_t>(tokens)));
    duckdb::UnaryExecutor::Execute<string_t, bool>(texts, result, arguments.size(),
                                                   [&](string_t text) { return columns::ContainsToken(View(text), token); });
    return;
  }
  duckdb::BinaryExecutor::Execute<string_t, string_t, bool>(texts, tokens, result, arguments.size(), [](string_t text, string_t token) {
    return columns::ContainsToken(View(text), Parsed(View(token)));
  });
}

Alternatives Or(Alternatives a, Alternatives b) {
  if (!a || !b || a->size() + b->size() > kAlternativesMax) return std::nullopt;
  a->insert(a->end(), b->begin(), b->end());
  return a;
}

Alternatives And(Alternatives a, Alternatives b) {
  if (!a || !b) return a ? a : b;
  if (a->size() * b->size() > kAlternativesMax) return a;
  TextAlternatives both;
  for (const TextNeeds& left : *a) {
    for (const TextNeeds& right : *b) both.emplace_back(left).insert(both.back().end(), right.begin(), right.end());
  }
  return both;
}

/// Nothing where there is no need at all.
Alternatives Only(TextNeeds needs) {
  if (needs.empty()) return std::nullopt;
  std::sort(needs.begin(), needs.end());
  needs.erase(std::unique(needs.begin(), needs.end()), needs.end());
  return TextAlternatives{std::move(needs)};
}

/// The pattern of LIKE that is `text` itself.
std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '%' || c == '_' || c == kEscape) out += kEscape;
    out += c;
  }
  return out;
}

std::optional<std::string> ConstantText(const Expression& expression) {
  if (expression.GetExpressionClass() != ExpressionClass::BOUND_CONSTANT) return std::nullopt;
  const duckdb::Value& value = expression.Cast<duckdb::BoundConstantExpression>().value;
  if (value.IsNull() || value.type().id() != duckdb::LogicalTypeId::VARCHAR) return std::nullopt;
  return duckdb::StringValue::Get(value);
}

bool IsColumn(const Expression& expression) {
  const ExpressionType type = expression.GetExpressionType();
  return expression.return_type.id() == duckdb::LogicalTypeId::VARCHAR &&
         (type == ExpressionType::BOUND_COLUMN_REF || type == ExpressionType::BOUND_REF);
}

/// Whether it is the column, or (then `any_case` is set) the column in lower case.
bool IsText(const Expression& expression, bool* any_case) {
  if (IsColumn(expression)) return true;
  if (expression.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) return false;
  const auto& call = expression.Cast<duckdb::BoundFunctionExpression>();
  *any_case = call.function.name == "lower" || call.function.name == "lcase";
  return *any_case && call.children.size() == 1 && IsColumn(*call.children[0]);
}

Alternatives OfLike(const std::string& pattern, char escape, bool any_case) {
  TextNeeds needs;
  columns::AddNeedsOfLike(pattern, escape, any_case, &needs);
  return Only(std::move(needs));
}

Alternatives OfCall(const duckdb::BoundFunctionExpression& call) {
  bool any_case = false;
  const std::string& name = call.function.name;
  if (call.children.size() < 2 || !IsText(*call.children[0], &any_case)) return std::nullopt;
  const auto text = ConstantText(*call.children[1]);
  if (!text) return std::nullopt;
  if (call.children.size() == 3 && (name == "like_escape" || name == "ilike_escape")) {
    const auto escape = ConstantText(*call.children[2]);
    if (!escape || escape->size() > 1) return std::nullopt;
    return OfLike(*text, escape->empty() ? '\0' : escape->front(), any_case || name == "ilike_escape");
  }
  if (call.children.size() != 2) return std::nullopt;
  if (name == "~~") return OfLike(*text, 0, any_case);
  if (name == "~~*") return OfLike(*text, 0, true);
  if (name == "contains") return OfLike("%" + Escaped(*text) + "%", kEscape, any_case);
  if (name == "prefix" || name == "starts_with" || name == "^@") return OfLike(Escaped(*text) + "%", kEscape, any_case);
  if (name == "suffix" || name == "ends_with") return OfLike("%" + Escaped(*text), kEscape, any_case);
  if (name != kContainsToken || any_case || !columns::ParseToken(*text).ok()) return std::nullopt;
  TextNeeds needs;
  columns::AddNeedsOfToken(*text, &needs);
  return Only(std::move(needs));
}

Alternatives OfExpression(const Expression& expression) {
  if (expression.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) return OfCall(expression.Cast<duckdb::BoundFunctionExpression>());
  if (expression.GetExpressionClass() != ExpressionClass::BOUND_CONJUNCTION) return std::nullopt;
  const auto& parts = expression.Cast<duckdb::BoundConjunctionExpression>().children;
  Alternatives all = OfExpression(*parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    Alternatives part = OfExpression(*parts[i]);
    all = expression.GetExpressionType() == ExpressionType::CONJUNCTION_AND ? And(std::move(all), std::move(part))
                                                                            : Or(std::move(all), std::move(part));
  }
  return all;
}

/// Of `=` and IN.
Alternatives OfKeys(const duckdb::TableFilter& filter) {
  const auto keys = ImpliedKeys(filter, kAlternativesMax);
  if (!keys || keys->empty()) return std::nullopt;
  Alternatives all = TextAlternatives();
  for (const std::string& key : *keys) all = Or(std::move(all), OfLike(Escaped(key), kEscape, false));
  return all;
}

/// The constant that a filter compares by `comparison`, where it does.
std::optional<std::string> Bound(const duckdb::TableFilter& filter, ExpressionType comparison) {
  if (filter.filter_type != duckdb::TableFilterType::CONSTANT_COMPARISON) return std::nullopt;
  const auto& constant = filter.Cast<duckdb::ConstantFilter>();
  if (constant.comparison_type != comparison || constant.constant.IsNull()) return std::nullopt;
  if (constant.constant.type().id() != duckdb::LogicalTypeId::VARCHAR) return std::nullopt;
  return duckdb::StringValue::Get(constant.constant);
}

/// Of the range that DuckDB makes of LIKE 'text%': from the text to the same with a last byte that is one higher.
Alternatives OfPrefix(const duckdb::ConjunctionAndFilter& filter) {
  std::optional<std::string> from, to;
  for (const auto& child : filter.child_filters) {
    if (auto low = Bound(*child, ExpressionType::COMPARE_GREATERTHANOREQUALTO)) from = std::move(low);
    if (auto high = Bound(*child, ExpressionType::COMPARE_LESSTHAN)) to = std::move(high);
  }
  if (!from || !to || from->empty() || from->size() != to->size()) return std::nullopt;
  const char last = from->back();
  if (static_cast<uint8_t>(last) >= 0x7F || to->back() != last + 1) return std::nullopt;
  if (std::string_view(*from).substr(0, from->size() - 1) != std::string_view(*to).substr(0, to->size() - 1)) return std::nullopt;
  return OfLike(Escaped(*from) + "%", kEscape, false);
}

}  // namespace

void RegisterTextSearch(duckdb::ExtensionLoader* loader) {
  duckdb::ScalarFunction function(kContainsToken, {duckdb::LogicalType::VARCHAR, duckdb::LogicalType::VARCHAR},
                                  duckdb::LogicalType::BOOLEAN, FindTokens, CheckWhilePlanning);
  function.SetFallible();
  loader->RegisterFunction(function);
}

std::optional<TextAlternatives> ImpliedTexts(const duckdb::TableFilter& filter) {
  switch (filter.filter_type) {
    case duckdb::TableFilterType::EXPRESSION_FILTER: return OfExpression(*filter.Cast<duckdb::ExpressionFilter>().expr);
    case duckdb::TableFilterType::CONJUNCTION_AND: {
      Alternatives all = OfPrefix(filter.Cast<duckdb::ConjunctionAndFilter>());
      for (const auto& child : filter.Cast<duckdb::ConjunctionAndFilter>().child_filters) all = And(std::move(all), ImpliedTexts(*child));
      return all;
    }
    default: return OfKeys(filter);
  }
}

bool TakesTextFilter(duckdb::ClientContext&, const duckdb::LogicalGet& get, duckdb::Expression& expression) {
  if (expression.IsVolatile() || !OfExpression(expression)) return false;
  const auto& bind = get.bind_data->Cast<ScanBind>();
  bool has_index = true;
  duckdb::ExpressionIterator::VisitExpression<duckdb::BoundColumnRefExpression>(
      expression, [&](const duckdb::BoundColumnRefExpression& reference) {
        const LogicalColumn* column = bind.Find(get.GetColumnIds()[reference.binding.column_index].GetPrimaryIndex());
        const std::vector<int>& indexed = bind.table.info->layout.token_columns;
        has_index = has_index && column != nullptr && column->field == Field::kWhole && column->form == Form::kPlain &&
                    std::find(indexed.begin(), indexed.end(), column->physical) != indexed.end();
      });
  return has_index;
}

}  // namespace sheaf::query
