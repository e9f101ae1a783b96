/// Functions of C++ that SQL can call, a batch of rows at a time. They are given when the engine is opened (EngineOptions::functions,
/// OpenOptions::functions of <sheaf/database.h>), and every statement may call them, those of clients, too: what they reach, clients
/// reach. Needs Arrow and the standard library only.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <arrow/result.h>
#include <arrow/status.h>
#include <arrow/type.h>

namespace sheaf::query {

/// What SQL knows of a function. Types are those that results of SQL have: integers, floats, utf8, binary, boolean, date32, times and
/// timestamps, decimal128, lists, structs, maps, and ids as fixed_size_binary(16) and (8). Arguments are cast as SQL casts by itself.
struct FunctionSignature {
  std::string name;              // Small letters, digits and _; one that SQL does not have yet.
  std::vector<std::shared_ptr<arrow::DataType>> arguments;
  std::shared_ptr<arrow::DataType> result;
  bool is_volatile = false;      // Gives another answer each time: called for every row, even of constants, and answers are not kept.
  /// A NULL among the arguments: a scalar function's row is NULL whatever the callback gives there (it is called for the row all the
  /// same, where others of the batch are not NULL), and an aggregate passes over the row. False: the callback decides.
  bool skips_nulls = true;
};

struct ScalarFunction {
  FunctionSignature signature;
  /// `rows` values of signature.result, each from the values of its row; `arguments` have `rows` values each, of signature.arguments.
  /// Called on several threads at once. An error, or an exception, ends the statement.
  std::function<arrow::Result<std::shared_ptr<arrow::Array>>(const std::vector<std::shared_ptr<arrow::Array>>& arguments, int64_t rows)>
      compute;
};

/// All methods are called on several threads at once, each state by one at a time. An error, or an exception, ends the statement.
class AggregateFunction {
 public:
  /// What is known of the rows of one group so far.
  class State {
   public:
    virtual ~State() = default;
  };

  virtual ~AggregateFunction() = default;
  virtual const FunctionSignature& signature() const = 0;
  /// Whether the answer depends on the order of the rows. If not, materialised views may use the function.
  virtual bool depends_on_order() const { return false; }

  /// Of no rows.
  virtual arrow::Result<std::unique_ptr<State>> Make() const = 0;
  /// Adds row i of `arguments` to `states[groups[i]]`, for each of `groups`.
  virtual arrow::Status Update(const std::vector<std::shared_ptr<arrow::Array>>& arguments, std::span<const int32_t> groups,
                               std::span<State* const> states) const = 0;
  /// Adds the rows of `from[i]`, which stays as it is, to `into[i]`, for each i in turn; several may go into one.
  virtual arrow::Status Merge(std::span<const State* const> from, std::span<State* const> into) const = 0;
  /// A value of signature().result a state, which may be asked again.
  virtual arrow::Result<std::shared_ptr<arrow::Array>> Finish(std::span<const State* const> states) const = 0;
};

struct Functions {
  std::vector<ScalarFunction> scalars;
  std::vector<std::shared_ptr<const AggregateFunction>> aggregates;
};

}  // namespace sheaf::query
