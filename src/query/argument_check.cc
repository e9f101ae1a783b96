#include "query/argument_check.h"

#include <string>

namespace sheaf::query {

namespace {

[[noreturn]] void Refuse(const std::string& message) { throw duckdb::InvalidInputException("%s", message); }

duckdb::unique_ptr<duckdb::FunctionData> CheckWhilePlanning(duckdb::ClientContext& context, duckdb::ScalarFunction&,
                                                            duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& arguments) {
  using duckdb::ExpressionExecutor;
  const duckdb::Expression& condition = *arguments[0];
  if (!condition.IsFoldable() || !arguments[1]->IsFoldable()) return nullptr;
  duckdb::Value holds;
  if (condition.HasParameter()) {
    // A statement may be prepared before its parameters are known; they are NULL then.
    if (!ExpressionExecutor::TryEvaluateScalar(context, condition, holds) || holds.IsNull()) return nullptr;
  } else {
    holds = ExpressionExecutor::EvaluateScalar(context, condition);
  }
  if (holds.IsNull() || !holds.GetValue<bool>()) Refuse(ExpressionExecutor::EvaluateScalar(context, *arguments[1]).ToString());
  return nullptr;
}

void CheckRows(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::UnifiedVectorFormat conditions, messages;
  arguments.data[0].ToUnifiedFormat(arguments.size(), conditions);
  arguments.data[1].ToUnifiedFormat(arguments.size(), messages);
  for (duckdb::idx_t i = 0; i < arguments.size(); ++i) {
    const auto at = conditions.sel->get_index(i);
    if (conditions.validity.RowIsValid(at) && duckdb::UnifiedVectorFormat::GetData<bool>(conditions)[at]) continue;
    const auto message = messages.sel->get_index(i);
    Refuse(messages.validity.RowIsValid(message)
               ? duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(messages)[message].GetString() : "an argument is wrong");
  }
  result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
  duckdb::ConstantVector::GetData<bool>(result)[0] = true;
}

}  // namespace

void RegisterArgumentCheck(duckdb::ExtensionLoader* loader) {
  duckdb::ScalarFunction check("check_argument", {duckdb::LogicalType::BOOLEAN, duckdb::LogicalType::VARCHAR},
                               duckdb::LogicalType::BOOLEAN, CheckRows, CheckWhilePlanning);
  check.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);  // NULL is a wrong argument, too.
  check.SetFallible();
  loader->RegisterFunction(check);
}

}  // namespace sheaf::query
