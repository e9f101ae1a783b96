#include "columns/row_order.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "columns/group_rows.h"
#include "columns/sort_keys.h"

namespace sheaf::columns {
namespace {

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

/// What decides where a trace goes.
struct Trace {
  uint64_t first = std::numeric_limits<uint64_t>::max();
  uint64_t root_time = 0;
  uint32_t root = kNone;   // Row of its root so far.
  uint32_t rows = 0;
  bool rooted = false;     // The root has no parent, that is.
};

std::vector<Trace> FindRoots(const RowGroups& numbers, const Keys& times, const ColumnUnion& parents) {
  std::vector<Trace> out(size_t{numbers.groups} + 1);
  uint32_t row = 0;
  for (const ColumnUnion::Piece& piece : parents.pieces()) {
    for (int64_t i = 0; i < piece.length; ++i, ++row) {
      Trace& trace = out[numbers.of_row[row]];
      const uint64_t time = times[row];
      const bool rooted = piece.IsNull(i);
      ++trace.rows;
      trace.first = std::min(trace.first, time);
      if (trace.root == kNone || (rooted && !trace.rooted) || (rooted == trace.rooted && time < trace.root_time)) {
        trace.root = row;
        trace.root_time = time;
        trace.rooted = rooted;
      }
    }
  }
  return out;
}

/// A number for each trace that sorts as its root's service does.
Result<Keys> RootServices(const RowUnion& rows, const ColumnUnion& services, const std::vector<Trace>& traces) {
  Keys out(traces.size(), 0);
  if (services.kind() != ColumnUnion::Kind::kDictionary) {
    SHEAF_ASSIGN_OR_RETURN(const Keys keys, OneWord(services, rows.rows()));
    for (size_t t = 0; t < traces.size(); ++t) out[t] = traces[t].root == kNone ? 0 : keys[traces[t].root];
    return out;
  }
  const auto& dictionary = services.dictionary();
  SHEAF_ASSIGN_OR_RETURN(const auto values, ColumnUnion::Make(dictionary->type, {dictionary}, arrow::default_memory_pool()));
  SHEAF_ASSIGN_OR_RETURN(const Keys keys, OneWord(*values, dictionary->length));
  for (size_t t = 0; t < traces.size(); ++t) {
    if (traces[t].root == kNone) continue;
    const int batch = rows.batch_of(traces[t].root);
    const int32_t number =
        services.DictionaryNumber(services.pieces()[static_cast<size_t>(batch)], traces[t].root - rows.first_row(batch));
    out[t] = number < 0 ? 0 : keys[static_cast<size_t>(number)] + 1;
  }
  return out;
}

/// Sorts one trace's rows, given in order of arrival, by time.
void SortByTime(const Keys& times, std::span<uint32_t> rows) {
  constexpr size_t kFew = 32;
  if (rows.size() > kFew) {
    std::vector<uint32_t> order(rows.begin(), rows.end());
    StableSortBy(times, &order);
    std::copy(order.begin(), order.end(), rows.begin());
    return;
  }
  std::array<uint64_t, kFew> sorted;
  for (size_t i = 0; i < rows.size(); ++i) {
    const uint32_t row = rows[i];
    const uint64_t time = times[row];
    size_t at = i;
    for (; at > 0 && time < sorted[at - 1]; --at) {
      sorted[at] = sorted[at - 1];
      rows[at] = rows[at - 1];
    }
    sorted[at] = time;
    rows[at] = row;
  }
}

}  // namespace

Result<std::vector<uint32_t>> SortRows(const RowUnion& rows, const std::vector<int>& columns, int threads) {
  WordSorter sorter(rows.rows(), threads);
  for (const int column : columns) {
    const auto named = [&](const Status& status) { return WithContext(status, "column '" + rows.schema()->field(column)->name() + "'"); };
    if (!sorter.has_ties()) {  // What is left cannot change the order, but it must be something to sort by.
      const Status sortable = CheckSortable(rows.column(column));
      if (!sortable.ok()) return named(sortable);
      continue;
    }
    const auto keys = KeysOf(rows.column(column), rows.rows(), threads);
    if (!keys.ok()) return named(keys.status());
    for (const Keys& word : keys->words) {
      if (sorter.has_ties()) sorter.Add(word);
    }
  }
  return sorter.Order();
}

Result<std::vector<uint32_t>> SortTraces(const RowUnion& rows, const TraceColumns& columns) {
  SHEAF_ASSIGN_OR_RETURN(const Keys times, OneWord(rows.column(columns.time), rows.rows()));
  SHEAF_ASSIGN_OR_RETURN(const RowGroups numbers, GroupRows(rows.column(columns.trace), rows.rows()));
  const std::vector<Trace> traces = FindRoots(numbers, times, rows.column(columns.parent));
  SHEAF_ASSIGN_OR_RETURN(const Keys services, RootServices(rows, rows.column(columns.service), traces));
  Keys first(traces.size());
  for (size_t t = 0; t < traces.size(); ++t) first[t] = traces[t].first;
  std::vector<uint32_t> trace_order(traces.size());
  std::iota(trace_order.begin(), trace_order.end(), 0u);
  StableSortBy(first, &trace_order);
  StableSortBy(services, &trace_order);

  // Each trace has its place; its rows fall into it in order of arrival and are sorted there, where few have to be.
  std::vector<uint32_t> end(traces.size());
  uint32_t sum = 0;
  for (const uint32_t trace : trace_order) end[trace] = std::exchange(sum, sum + traces[trace].rows);
  std::vector<uint32_t> order(static_cast<size_t>(rows.rows()));
  for (uint32_t row = 0; row < order.size(); ++row) order[end[numbers.of_row[row]]++] = row;
  for (size_t t = 0; t < traces.size(); ++t) SortByTime(times, std::span(order).subspan(end[t] - traces[t].rows, traces[t].rows));
  return order;
}

}  // namespace sheaf::columns
