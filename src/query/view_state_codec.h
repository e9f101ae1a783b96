/// The states of a view's aggregates as values that outlive the process.
///
/// DuckDB keeps what an aggregate has seen of a group in a state whose form is its own. Most states are plain bytes; others can be made
/// again of what the aggregate answers (the smallest text is the state of min() over that text alone). Of three kinds only the memory
/// itself tells all: lists of values (quantiles), t-digests, and the counters of approx_top_k. Their forms are those of DuckDB 1.5.5,
/// whose version and source id are checked when a database is opened; view_state_codec_test.cc checks each against DuckDB's own.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "query/duckdb_headers.h"
#include "query/view_plan.h"

namespace sheaf::query {

/// Of one aggregate of a view. Thread-safe: it holds nothing that changes. May throw duckdb::Exception.
class StateCodec {
 public:
  /// Some states of one aggregate, one a group.
  struct States {
    duckdb::Vector& addresses;             // Flat, of POINTER.
    duckdb::idx_t count;
    duckdb::AggregateInputData& input;     // What is long in a state lives in its allocator.
  };

  /// Null: this aggregate's states cannot be saved. Borrows `bound`, for its life; `plan` is what it was bound from, `position` its place
  /// among the view's aggregates.
  static std::unique_ptr<StateCodec> Make(const duckdb::BoundAggregateExpression& bound, const ViewAggregate& plan, size_t position);
  virtual ~StateCodec() = default;

  /// Which of the results Save() reads, as places in the view's plan.
  virtual std::vector<size_t> results() const { return {}; }
  /// Of the column that Save() fills.
  virtual duckdb::LogicalType type() const = 0;
  /// `results`: what aggregates of these groups are now, in the order of the view's plan; those not in results() may be anything.
  virtual void Save(const States& states, duckdb::DataChunk& results, duckdb::Vector* saved) const = 0;
  /// Into states that have seen nothing yet.
  virtual void Load(duckdb::Vector& saved, const States& states) const = 0;
};

}  // namespace sheaf::query
