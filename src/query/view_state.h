/// What a materialised view keeps: of each group the states of its aggregates, in DuckDB's own hash table.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "query/duckdb_headers.h"
#include "query/view_plan.h"
#include "query/view_state_codec.h"

namespace duckdb {
class GroupedAggregateHashTable;
struct TupleDataScanState;
struct RowOperationsState;
}  // namespace duckdb

namespace sheaf::query {

/// Not thread-safe. Everything may throw duckdb::Exception; after Add() or Forget() have thrown it is of no use any more.
class ViewState {
 public:
  /// `input` are the types of the columns of ViewPlan::input_sql. Borrows `context`, for its life.
  ViewState(duckdb::ClientContext& context, const ViewPlan& plan, const duckdb::vector<duckdb::LogicalType>& input);
  ~ViewState();

  /// Rows of the input, as of `lsn`.
  void Add(duckdb::DataChunk& input, Lsn lsn);
  /// Empties the groups of these rows (columns of groups come first), of which each must be another one.
  void Forget(duckdb::DataChunk& groups);

  /// Leaves those rows of `input` whose group has rows here, or those whose group has none.
  enum class Which { kKnown, kUnknown };
  void Select(Which which, duckdb::DataChunk* input);

  /// Of what Rows() gives: groups, aggregates, then the LSN of the last Add() (BIGINT).
  const duckdb::vector<duckdb::LogicalType>& types() const { return row_types_; }
  /// All groups that have rows, with the aggregates as they are now; neighbouring stretches of sessions as one.
  std::unique_ptr<duckdb::ColumnDataCollection> Rows();
  /// The same; where there are no groups, the one row only if it is of some rows.
  /// Sessions are told as their stretches.
  std::unique_ptr<duckdb::ColumnDataCollection> KnownRows() { return GroupRows(/*known_only=*/true); }
  size_t groups() const;

  /// The first of the aggregates whose state cannot be saved, as its place in the plan; none: all can.
  std::optional<size_t> unsaved() const;
  /// Gives all groups that have rows, and their states, some groups at a time. What it goes over must not be added to meanwhile.
  class Cursor {
   public:
    explicit Cursor(const ViewState& of);
    ~Cursor();
    /// Empty at the end: the groups…
    duckdb::DataChunk& Next();
    /// …and where their rows are.
    duckdb::Vector& rows();

   private:
    const ViewState& of_;
    size_t part_ = 0;
    std::unique_ptr<duckdb::TupleDataScanState> scan_;
    duckdb::DataChunk groups_;
  };
  /// The next groups with their states, for Load(): columns of groups, then one an aggregate. False: there are no more.
  /// Requires !unsaved().
  bool SaveNext(Cursor* cursor, duckdb::DataChunk* saved);
  /// Into one that is empty. Throws where the rows are not such as SaveNext() gives.
  void Load(duckdb::DataChunk& saved);

 private:
  void ReferGroups(duckdb::DataChunk& input);
  std::unique_ptr<duckdb::ColumnDataCollection> GroupRows(bool known_only);
  std::unique_ptr<duckdb::ColumnDataCollection> SessionRows();
  /// Sessions, each of the stretches at `rows` before its end in `ends`; of each the first one is in `first_rows`, too.
  void AppendSessions(const std::vector<duckdb::data_ptr_t>& rows, const std::vector<duckdb::data_ptr_t>& first_rows,
                      const std::vector<size_t>& ends, duckdb::ColumnDataCollection* answer);
  /// `wanted`: of which aggregates; empty: of all.
  void Results(duckdb::Vector& addresses, duckdb::idx_t count, duckdb::ArenaAllocator* arena, duckdb::DataChunk* results,
               const std::vector<bool>& wanted = {});
  /// Of some rows of the table, the states of one aggregate after the other.
  void ForEachAggregate(duckdb::Vector& rows, duckdb::idx_t count, duckdb::ArenaAllocator* arena,
                        const std::function<void(size_t, const StateCodec::States&)>& visit);
  duckdb::vector<duckdb::LogicalType> SavedTypes() const;
  /// Leaves those rows of `whole` of whose group there are rows.
  static void KeepLiving(duckdb::Vector& counts, duckdb::DataChunk* whole);

  const size_t columns_;  // Of groups.
  const std::optional<ViewWindow> window_;
  duckdb::vector<duckdb::unique_ptr<duckdb::BoundAggregateExpression>> aggregates_;
  duckdb::vector<duckdb::LogicalType> group_types_, types_;  // In the table: of what is grouped by; and then of what is kept.
  duckdb::vector<duckdb::LogicalType> row_types_;  // As types_, but for sessions, which begin at their first row.
  std::vector<bool> saved_by_result_;  // Aggregates whose results are needed to save the states.
  std::vector<std::unique_ptr<StateCodec>> codecs_;  // Of each aggregate; null: its states cannot be saved.
  std::vector<bool> unharmed_;      // Of each aggregate: by taking its result.
  duckdb::unsafe_vector<duckdb::idx_t> all_;  // Numbers of the aggregates.
  std::unique_ptr<duckdb::ExpressionExecutor> arguments_;
  duckdb::DataChunk groups_, payload_, input_;     // The last: what was added, and its LSN.
  std::unique_ptr<duckdb::GroupedAggregateHashTable> table_;
};

}  // namespace sheaf::query
