/// ViewState: stretches of time become sessions.

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "duckdb/common/types/row/tuple_data_collection.hpp"
#include "duckdb/execution/aggregate_hashtable.hpp"
#include "duckdb/function/create_sort_key.hpp"
#include "duckdb/planner/expression/bound_aggregate_expression.hpp"
#include "query/logical_times.h"
#include "query/view_state.h"

namespace sheaf::query {

namespace {

using duckdb::DataChunk;
using duckdb::idx_t;
using duckdb::LogicalType;

/// Rows with the same groups, the stretch aside, within as long as the pause.
struct Stretch {
  std::string key;         // Of the other groups.
  int64_t first_us = 0, last_us = 0;
  duckdb::data_ptr_t row = nullptr;
};

/// The states of aggregates that sessions are brought together in. It ends them.
class SessionStates {
 public:
  SessionStates(const duckdb::vector<duckdb::AggregateObject>& aggregates, idx_t first_offset, duckdb::ArenaAllocator* arena)
      : aggregates_(aggregates), first_offset_(first_offset), arena_(*arena) {}

  /// What aggregate `i` answers for sessions, each of which is made of the stretches before its end in `ends`.
  void Result(size_t i, const std::vector<duckdb::data_ptr_t>& rows, const std::vector<size_t>& ends, duckdb::Vector* result) {
    const auto& aggregate = aggregates_[i];
    const auto& function = aggregate.function;
    idx_t offset = first_offset_;
    for (size_t before = 0; before < i; ++before) offset += aggregates_[before].payload_size;
    std::vector<duckdb::data_t> memory(aggregate.payload_size * ends.size());
    duckdb::Vector targets(LogicalType::POINTER), from(LogicalType::POINTER), to(LogicalType::POINTER);
    auto* made = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(targets);
    for (size_t session = 0; session < ends.size(); ++session) {
      made[session] = memory.data() + session * aggregate.payload_size;
      function.GetStateInitCallback()(function, made[session]);
    }
    duckdb::AggregateInputData data(aggregate.GetFunctionData(), arena_);
    auto* sources = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(from);
    auto* owners = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(to);
    idx_t count = 0;
    for (size_t row = 0, session = 0; row < rows.size(); ++row) {
      while (row >= ends[session]) ++session;
      sources[count] = rows[row] + offset;
      owners[count++] = made[session];
      if (count < STANDARD_VECTOR_SIZE && row + 1 < rows.size()) continue;
      function.GetStateCombineCallback()(from, to, data, count);
      count = 0;
    }
    function.GetStateFinalizeCallback()(targets, data, *result, ends.size(), 0);
    if (const auto destroy = function.GetStateDestructorCallback()) destroy(targets, data, ends.size());
  }

 private:
  const duckdb::vector<duckdb::AggregateObject>& aggregates_;
  const idx_t first_offset_;
  duckdb::ArenaAllocator& arena_;
};

}  // namespace

std::unique_ptr<duckdb::ColumnDataCollection> ViewState::SessionRows() {
  auto& allocator = duckdb::Allocator::DefaultAllocator();
  const auto& ends_at = *window_->session;
  std::vector<Stretch> stretches;
  Cursor cursor(*this);
  while (true) {
    DataChunk& groups = cursor.Next();
    if (groups.size() == 0) break;
    duckdb::ArenaAllocator arena(allocator);
    DataChunk kept;
    kept.Initialize(allocator, {types_.begin() + static_cast<int64_t>(columns_), types_.end()});
    Results(cursor.rows(), groups.size(), &arena, &kept);
    const auto* counts = duckdb::FlatVector::GetData<int64_t>(kept.data[0]);
    std::vector<std::string> keys(groups.size());
    for (size_t column = 0; column < columns_; ++column) {
      if (column == window_->group) continue;
      duckdb::Vector sorted(LogicalType::BLOB);
      duckdb::CreateSortKeyHelpers::CreateSortKey(groups.data[column], groups.size(),
                                                  duckdb::OrderModifiers(duckdb::OrderType::ASCENDING, duckdb::OrderByNullType::NULLS_LAST),
                                                  sorted);
      const auto* texts = duckdb::FlatVector::GetData<duckdb::string_t>(sorted);
      for (idx_t row = 0; row < groups.size(); ++row) keys[row] += texts[row].GetString();
    }
    const auto* rows = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(cursor.rows());
    for (idx_t row = 0; row < groups.size(); ++row) {
      if (counts[row] == 0) continue;
      stretches.push_back({std::move(keys[row]), MicrosOf(kept.data[ends_at.first], row), MicrosOf(kept.data[ends_at.last], row),
                           rows[row]});
    }
  }
  std::sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) {
    return a.key != b.key ? a.key < b.key : a.first_us < b.first_us;
  });

  auto answer = std::make_unique<duckdb::ColumnDataCollection>(allocator, row_types_);
  const int64_t pause_us = duckdb::Interval::GetMicro(window_->size);
  const auto joins = [&](size_t i) {
    return stretches[i].key == stretches[i - 1].key && stretches[i].first_us != kNoTime && stretches[i - 1].last_us != kNoTime &&
           stretches[i].first_us - stretches[i - 1].last_us <= pause_us;
  };
  for (size_t next = 0; next < stretches.size();) {
    std::vector<duckdb::data_ptr_t> rows, first_rows;
    std::vector<size_t> ends;
    while (next < stretches.size() && ends.size() < STANDARD_VECTOR_SIZE) {
      first_rows.push_back(stretches[next].row);
      do rows.push_back(stretches[next++].row);
      while (next < stretches.size() && joins(next));
      ends.push_back(rows.size());
    }
    AppendSessions(rows, first_rows, ends, answer.get());
  }
  return answer;
}

void ViewState::AppendSessions(const std::vector<duckdb::data_ptr_t>& rows, const std::vector<duckdb::data_ptr_t>& first_rows,
                               const std::vector<size_t>& ends, duckdb::ColumnDataCollection* answer) {
  auto& allocator = duckdb::Allocator::DefaultAllocator();
  duckdb::ArenaAllocator arena(allocator);
  DataChunk groups, kept, whole;
  groups.Initialize(allocator, group_types_);
  kept.Initialize(allocator, {types_.begin() + static_cast<int64_t>(columns_), types_.end()});
  whole.InitializeEmpty(row_types_);
  duckdb::Vector locations(LogicalType::POINTER);
  std::copy(first_rows.begin(), first_rows.end(), duckdb::FlatVector::GetData<duckdb::data_ptr_t>(locations));
  duckdb::vector<duckdb::column_t> columns(group_types_.size());
  std::iota(columns.begin(), columns.end(), duckdb::column_t{0});
  duckdb::vector<duckdb::unique_ptr<duckdb::Vector>> casts(columns.size());
  const auto& every = *duckdb::FlatVector::IncrementalSelectionVector();
  auto& parts = const_cast<duckdb::PartitionedTupleData&>(table_->GetPartitionedData()).GetPartitions();
  parts[0]->Gather(locations, every, first_rows.size(), columns, groups, every, casts);
  const auto& layout = table_->GetLayout();
  SessionStates states(layout.GetAggregates(), layout.GetAggrOffset(), &arena);
  for (size_t i = 0; i < kept.ColumnCount(); ++i) states.Result(i, rows, ends, &kept.data[i]);
  for (size_t i = 0; i < columns_; ++i) whole.data[i].Reference(groups.data[i]);
  whole.data[window_->group].Reference(kept.data[window_->session->first]);
  for (size_t i = 0; i < kept.ColumnCount(); ++i) whole.data[columns_ + i].Reference(kept.data[i]);
  whole.SetCardinality(ends.size());
  answer->Append(whole);
}

}  // namespace sheaf::query
