/// What a materialised view is made of: the query whose rows it takes in, the aggregates that it keeps of them, and the query that
/// makes its rows of those.
///
///   SELECT service_name, sum(x) / count(*) AS mean FROM t WHERE y > 1 GROUP BY service_name HAVING count(*) > 9
///   input    SELECT service_name AS "#g0", x AS "#i0" FROM t WHERE y > 1
///   kept     count_star(), sum("#i0") of each "#g0"
///   output   SELECT "#g0" AS service_name, "#a1" / "#a0" AS mean FROM sheaf_view('main.v') WHERE "#a0" > 9

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// An aggregate that a view keeps.
struct ViewAggregate {
  std::string function;                  // "sum", as DuckDB names it.
  struct Argument {
    std::optional<size_t> column;        // Of the input; none: a constant.
    duckdb::Value constant = duckdb::Value();
    bool operator==(const Argument& other) const {
      return column == other.column && duckdb::Value::NotDistinctFrom(constant, other.constant);  // NULLs have no ==.
    }
  };
  std::vector<Argument> arguments;
  std::optional<size_t> by = std::nullopt;  // Of arg_min() and arg_max(): the aggregate that says for what the answer is one.
};

/// A group that is a window of time.
struct ViewWindow {
  size_t group = 0;
  std::string time = {};                 // The column that it is a window of; empty: an expression.
  duckdb::interval_t size{};             // Where it ends, from its start; of a session, the pause that ends it.
  /// Of a session: the aggregates that hold the first and the last time. The group is a stretch of time as long as the pause, of which
  /// neighbours become one session when the view is read.
  struct Ends {
    size_t first = 0, last = 0;
  };
  std::optional<Ends> session = std::nullopt;
};

struct ViewPlan {
  std::string input_sql;                 // Groups first, then arguments.
  std::string output_sql;
  /// The same of the rows that changed after an LSN, which stands between the two, with when they did, unordered.
  std::string changes_before, changes_behind;
  duckdb::vector<duckdb::LogicalType> input_types;
  size_t groups = 0;                     // 0: one row, whatever there is.
  std::vector<ViewAggregate> aggregates; // The first is count_star().
  std::optional<TableId> append_table;   // Whose rows only come…
  std::optional<ViewWindow> window;
  std::vector<TableId> keyed_tables;     // …and those whose rows change. One table at least, each once.

  std::vector<TableId> tables() const;
  /// All that is kept, as text: two plans with the same keep the same.
  std::string fingerprint() const;
};

/// The name of the table function that gives what a view keeps: groups, then aggregates.
inline constexpr char kViewFunction[] = "sheaf_view";
/// What its columns are called: "#g0", "#a0"…
std::string GroupColumn(size_t group);
std::string AggregateColumn(size_t aggregate);
/// …and behind these, the LSN at which a group last changed or was complete, and whether it is: no row that comes changes it, if none
/// comes late. NULL: nobody knows.
inline constexpr char kChangedColumn[] = "#lsn", kCompleteColumn[] = "#complete";
/// The function that makes groups of sessions.
inline constexpr char kSessionFunction[] = "session_start";

/// The value of an expression without columns; `what` says in errors where it stands. Requires a transaction. Throws what DuckDB throws.
duckdb::Value EvaluateConstant(duckdb::ClientContext& context, const duckdb::ParsedExpression& expression, const std::string& what);

/// Plans `select`, whose view will be called `name` ("main.v"). Requires a transaction. Throws what DuckDB throws where the query is
/// wrong. Error: Unsupported, with the reason why it cannot be kept row by row.
Result<ViewPlan> PlanView(duckdb::ClientContext& context, const std::string& name, const duckdb::SelectStatement& select);

}  // namespace sheaf::query
