#include "query/function_calls.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "query/arrow_to_duckdb.h"
#include "query/catalog.h"
#include "query/duckdb_to_arrow.h"

namespace sheaf::query {

namespace {

using duckdb::CatalogType;
using duckdb::FlatVector;
using duckdb::idx_t;
using duckdb::UnifiedVectorFormat;
using duckdb::Vector;

[[noreturn]] void Throw(const std::string& name, const Status& error) {
  const std::string message = name + "(): " + error.message();
  if (error.IsOutOfMemory()) throw duckdb::OutOfMemoryException("%s", message);
  if (error.IsNotImplemented()) throw duckdb::NotImplementedException("%s", message);
  throw duckdb::InvalidInputException("%s", message);
}

/// The answer of a callback. Throws what DuckDB takes for the statement's error, whichever way the callback failed.
template <typename Callback>
auto Answer(const std::string& name, Callback&& callback) -> decltype(callback()) {
  try {
    return callback();
  } catch (const std::bad_alloc&) {
    Throw(name, arrow::Status::OutOfMemory("out of memory"));
  } catch (const std::exception& exception) {
    Throw(name, MakeError(ErrorKind::kInvalid, "exception: {}", exception.what()));
  } catch (...) {
    Throw(name, MakeError(ErrorKind::kInvalid, "unknown exception"));
  }
}
template <typename Callback>
auto Value(const std::string& name, Callback&& callback) {
  auto answer = Answer(name, std::forward<Callback>(callback));
  if (!answer.ok()) Throw(name, answer.status());
  return std::move(answer).ValueUnsafe();
}
template <typename Callback>
void Done(const std::string& name, Callback&& callback) {
  const Status done = Answer(name, std::forward<Callback>(callback));
  if (!done.ok()) Throw(name, done);
}

/// Rows `rows` of `arguments`, vectors of `count` rows.
std::vector<std::shared_ptr<arrow::Array>> ToArrow(const FunctionSignature& signature, Vector* arguments, idx_t count,
                                                   const std::vector<idx_t>& rows) {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (size_t i = 0; i < signature.arguments.size(); ++i) {
    auto array = ToArrowArray(arguments[i], count, rows, signature.arguments[i]);
    if (!array.ok()) Throw(signature.name, array.status());
    arrays.push_back(std::move(array).ValueUnsafe());
  }
  return arrays;
}

/// Values that a callback gave, into `out` from its first row on.
void FromArrow(const FunctionSignature& signature, const std::shared_ptr<arrow::Array>& array, int64_t rows, Vector* out) {
  if (!array || array->length() != rows || !array->type()->Equals(*signature.result)) {
    Throw(signature.name, MakeError(ErrorKind::kInvalid, "it gave {} instead of {} values of type {}",
                                    array ? fmt::format("{} of type {}", array->length(), array->type()->ToString()) : "nothing", rows,
                                    signature.result->ToString()));
  }
  const Status valid = array->ValidateFull();  // SQL trusts texts to be UTF-8, and offsets.
  if (!valid.ok()) Throw(signature.name, valid);
  ConvertArray(array, {.count = rows}, out);
}

/// Whether a row has a NULL among `arguments`.
class NullRows {
 public:
  NullRows(Vector* arguments, size_t arguments_count, idx_t count) : formats_(arguments_count) {
    for (size_t i = 0; i < arguments_count; ++i) {
      arguments[i].ToUnifiedFormat(count, formats_[i]);
      any_ = any_ || !formats_[i].validity.AllValid();
    }
  }
  bool any() const { return any_; }
  bool operator[](idx_t row) const {
    return std::any_of(formats_.begin(), formats_.end(),
                       [row](const auto& format) { return !format.validity.RowIsValid(format.sel->get_index(row)); });
  }

 private:
  std::vector<UnifiedVectorFormat> formats_;
  bool any_ = false;
};

std::vector<idx_t> AllRows(idx_t count) {
  std::vector<idx_t> rows(count);
  for (idx_t i = 0; i < count; ++i) rows[i] = i;
  return rows;
}

void Compute(const ScalarFunction& function, duckdb::DataChunk& arguments, Vector& result) {
  const FunctionSignature& signature = function.signature;
  const bool once = !signature.is_volatile && arguments.ColumnCount() > 0 && arguments.AllConstant();
  const idx_t count = once ? 1 : arguments.size();
  result.SetVectorType(duckdb::VectorType::FLAT_VECTOR);
  const auto arrays = ToArrow(signature, arguments.data.data(), count, AllRows(count));
  const auto rows = static_cast<int64_t>(count);
  FromArrow(signature, Value(signature.name, [&] { return function.compute(arrays, rows); }), rows, &result);
  if (signature.skips_nulls) {
    const NullRows nulls(arguments.data.data(), arguments.ColumnCount(), count);
    for (idx_t i = 0; nulls.any() && i < count; ++i) {
      if (nulls[i]) FlatVector::SetNull(result, i, true);
    }
  }
  if (once) result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
}

using State = AggregateFunction::State;

/// What DuckDB keeps for each group. It may move it, but not while a callback runs.
struct Slot {
  State* state = nullptr;        // Owned; null: of no rows.
  int32_t position = 0;          // Among the groups of the batch at hand, if they agree.
};

struct AggregateInfo : public duckdb::AggregateFunctionInfo {
  std::shared_ptr<const AggregateFunction> function;
};

struct AggregateBind : public duckdb::FunctionData {
  explicit AggregateBind(std::shared_ptr<const AggregateFunction> bound) : function(std::move(bound)) {}
  duckdb::unique_ptr<duckdb::FunctionData> Copy() const override { return duckdb::make_uniq<AggregateBind>(function); }
  bool Equals(const duckdb::FunctionData& other) const override { return other.Cast<AggregateBind>().function == function; }

  const std::shared_ptr<const AggregateFunction> function;
};

const AggregateFunction& Of(const duckdb::AggregateInputData& input) { return *input.bind_data->Cast<AggregateBind>().function; }

State* StateOf(const AggregateFunction& function, Slot* slot) {
  if (slot->state == nullptr) slot->state = Value(function.signature().name, [&] { return function.Make(); }).release();
  return slot->state;
}

/// The states that rows belong to, and which of them is whose.
class Groups {
 public:
  explicit Groups(const AggregateFunction* function) : function_(*function) {}
  void Add(Slot* slot) {
    const auto known = static_cast<size_t>(slot->position);
    if (known >= slots_.size() || slots_[known] != slot) {  // What another batch left there.
      states_.push_back(StateOf(function_, slot));
      slot->position = static_cast<int32_t>(slots_.size());
      slots_.push_back(slot);
    }
    groups_.push_back(slot->position);
  }
  void Update(Vector* arguments, idx_t count, const std::vector<idx_t>& rows) {
    if (rows.empty()) return;
    const auto arrays = ToArrow(function_.signature(), arguments, count, rows);
    Done(function_.signature().name, [&] { return function_.Update(arrays, groups_, states_); });
  }

 private:
  const AggregateFunction& function_;
  std::vector<Slot*> slots_;
  std::vector<State*> states_;
  std::vector<int32_t> groups_;
};

template <typename SlotOf>
void UpdateRows(const AggregateFunction& function, Vector* arguments, idx_t arguments_count, idx_t count, const SlotOf& slot_of) {
  Groups groups(&function);
  std::vector<idx_t> rows;
  rows.reserve(count);
  const NullRows nulls(arguments, arguments_count, count);
  const bool skips = function.signature().skips_nulls && nulls.any();
  for (idx_t i = 0; i < count; ++i) {
    if (skips && nulls[i]) continue;
    rows.push_back(i);
    groups.Add(slot_of(i));
  }
  groups.Update(arguments, count, rows);
}

void Update(Vector arguments[], duckdb::AggregateInputData& input, idx_t arguments_count, Vector& states, idx_t count) {
  UnifiedVectorFormat format;
  states.ToUnifiedFormat(count, format);
  const auto* slots = UnifiedVectorFormat::GetData<Slot*>(format);
  UpdateRows(Of(input), arguments, arguments_count, count, [&](idx_t i) { return slots[format.sel->get_index(i)]; });
}

void UpdateOne(Vector arguments[], duckdb::AggregateInputData& input, idx_t arguments_count, duckdb::data_ptr_t state, idx_t count) {
  UpdateRows(Of(input), arguments, arguments_count, count, [state](idx_t) { return reinterpret_cast<Slot*>(state); });
}

void Combine(Vector& from, Vector& into, duckdb::AggregateInputData& input, idx_t count) {
  const AggregateFunction& function = Of(input);
  UnifiedVectorFormat sources, targets;
  from.ToUnifiedFormat(count, sources);
  into.ToUnifiedFormat(count, targets);
  std::vector<const State*> merged;
  std::vector<State*> states;
  for (idx_t i = 0; i < count; ++i) {
    Slot* const source = UnifiedVectorFormat::GetData<Slot*>(sources)[sources.sel->get_index(i)];
    Slot* const target = UnifiedVectorFormat::GetData<Slot*>(targets)[targets.sel->get_index(i)];
    if (source->state == nullptr) continue;
    if (target->state == nullptr && input.combine_type == duckdb::AggregateCombineType::ALLOW_DESTRUCTIVE) {
      std::swap(target->state, source->state);
      continue;
    }
    states.push_back(StateOf(function, target));
    merged.push_back(source->state);
  }
  if (!states.empty()) Done(function.signature().name, [&] { return function.Merge(merged, states); });
}

void Finish(Vector& states, duckdb::AggregateInputData& input, Vector& result, idx_t count, idx_t offset) {
  const AggregateFunction& function = Of(input);
  const FunctionSignature& signature = function.signature();
  const bool constant = states.GetVectorType() == duckdb::VectorType::CONSTANT_VECTOR;
  if (constant) count = 1;
  UnifiedVectorFormat format;
  states.ToUnifiedFormat(count, format);
  std::vector<const State*> finished;
  for (idx_t i = 0; i < count; ++i) {
    finished.push_back(StateOf(function, UnifiedVectorFormat::GetData<Slot*>(format)[format.sel->get_index(i)]));
  }
  const auto rows = static_cast<int64_t>(count);
  const auto values = Value(signature.name, [&] { return function.Finish(finished); });
  if (offset == 0) {
    result.SetVectorType(duckdb::VectorType::FLAT_VECTOR);
    FromArrow(signature, values, rows, &result);
  } else {
    Vector fresh(result.GetType(), std::max<idx_t>(count, STANDARD_VECTOR_SIZE));
    FromArrow(signature, values, rows, &fresh);
    duckdb::VectorOperations::Copy(fresh, result, count, 0, offset);
  }
  if (constant) result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
}

void Destroy(Vector& states, duckdb::AggregateInputData&, idx_t count) {
  UnifiedVectorFormat format;
  states.ToUnifiedFormat(count, format);
  for (idx_t i = 0; i < count; ++i) {
    delete std::exchange(UnifiedVectorFormat::GetData<Slot*>(format)[format.sel->get_index(i)]->state, nullptr);
  }
}

/// The type in SQL. Error: Unsupported.
Result<duckdb::LogicalType> TypeOf(const FunctionSignature& signature, const std::shared_ptr<arrow::DataType>& type) {
  if (!type) return MakeError(ErrorKind::kInvalid, "the function {} has an argument or a result without a type", signature.name);
  SHEAF_ASSIGN_OR_RETURN(const auto sql, SqlType(*type));
  const auto back = ResultSchema({sql}, {""})->field(0)->type();
  if (back->Equals(*type)) return sql;
  return MakeError(ErrorKind::kUnsupported, "the function {} cannot have the type {}: take {}, as results of SQL have it", signature.name,
                   type->ToString(), back->ToString());
}

class Registration {
 public:
  Registration(duckdb::ClientContext* context, duckdb::ExtensionLoader* loader) : context_(*context), loader_(*loader) {}

  Status Add(const ScalarFunction& function) {
    SHEAF_RETURN_NOT_OK(Check(function.signature));
    if (!function.compute) return MakeError(ErrorKind::kInvalid, "the function {} has nothing to call", function.signature.name);
    duckdb::ScalarFunction made(
        function.signature.name, arguments_, result_,
        [function](duckdb::DataChunk& arguments, duckdb::ExpressionState&, Vector& result) { Compute(function, arguments, result); });
    Describe(function.signature, &made);
    loader_.RegisterFunction(made);
    return Status::OK();
  }

  Status Add(const std::shared_ptr<const AggregateFunction>& function) {
    if (!function) return MakeError(ErrorKind::kInvalid, "there is an aggregate function that is null");
    const FunctionSignature& signature = function->signature();
    SHEAF_RETURN_NOT_OK(Check(signature));
    duckdb::AggregateFunction made(
        signature.name, arguments_, result_, [](const duckdb::AggregateFunction&) -> idx_t { return sizeof(Slot); },
        [](const duckdb::AggregateFunction&, duckdb::data_ptr_t state) { new (state) Slot(); }, Update, Combine, Finish, UpdateOne);
    made.destructor = Destroy;
    made.bind = [](duckdb::ClientContext&, duckdb::AggregateFunction& bound,
                   duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>&) -> duckdb::unique_ptr<duckdb::FunctionData> {
      return duckdb::make_uniq<AggregateBind>(bound.function_info->Cast<AggregateInfo>().function);
    };
    auto info = duckdb::make_shared_ptr<AggregateInfo>();
    info->function = function;
    made.function_info = std::move(info);
    if (!function->depends_on_order()) made.order_dependent = duckdb::AggregateOrderDependent::NOT_ORDER_DEPENDENT;
    Describe(signature, &made);
    loader_.RegisterFunction(made);
    return Status::OK();
  }

 private:
  /// Also finds the types.
  Status Check(const FunctionSignature& signature) {
    const std::string& name = signature.name;
    if (name.empty() || name.size() > 63 || duckdb::KeywordHelper::RequiresQuotes(name, /*allow_caps=*/false)) {
      return MakeError(ErrorKind::kInvalid, "a function cannot be named '{}': take small letters, digits and _", name);
    }
    if (!names_.insert(name).second) return MakeError(ErrorKind::kInvalid, "the function {} is given twice", name);
    bool known = false;
    context_.RunFunctionInTransaction([&] {
      for (const CatalogType type : {CatalogType::SCALAR_FUNCTION_ENTRY, CatalogType::TABLE_FUNCTION_ENTRY}) {
        const duckdb::EntryLookupInfo lookup(type, name);
        for (const char* schema : {DEFAULT_SCHEMA, "pg_catalog"}) {
          known = known || Has(duckdb::Catalog::GetSystemCatalog(context_), schema, lookup);
        }
        for (const char* schema : kSearchedSchemas) {
          known = known || Has(duckdb::Catalog::GetCatalog(context_, kCatalogName), schema, lookup);
        }
      }
    });
    if (known) return MakeError(ErrorKind::kInvalid, "the function {} is built in: take another name", name);
    arguments_.clear();
    for (const auto& argument : signature.arguments) {
      SHEAF_ASSIGN_OR_RETURN(auto type, TypeOf(signature, argument));
      arguments_.push_back(std::move(type));
    }
    SHEAF_ASSIGN_OR_RETURN(result_, TypeOf(signature, signature.result));
    return Status::OK();
  }
  bool Has(duckdb::Catalog& catalog, const std::string& schema, const duckdb::EntryLookupInfo& lookup) {
    return catalog.GetEntry(context_, schema, lookup, duckdb::OnEntryNotFound::RETURN_NULL) != nullptr;
  }
  static void Describe(const FunctionSignature& signature, duckdb::BaseScalarFunction* made) {
    if (signature.is_volatile) made->SetVolatile();
    if (!signature.skips_nulls) made->SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
    made->SetFallible();
  }

  duckdb::ClientContext& context_;
  duckdb::ExtensionLoader& loader_;
  std::set<std::string> names_;
  duckdb::vector<duckdb::LogicalType> arguments_;  // Of what is being added, as is the next.
  duckdb::LogicalType result_;
};

}  // namespace

Status RegisterFunctions(duckdb::ClientContext& context, duckdb::ExtensionLoader* loader, const Functions& functions) {
  Registration registration(&context, loader);
  for (const ScalarFunction& function : functions.scalars) SHEAF_RETURN_NOT_OK(registration.Add(function));
  for (const auto& function : functions.aggregates) SHEAF_RETURN_NOT_OK(registration.Add(function));
  return Status::OK();
}

}  // namespace sheaf::query
