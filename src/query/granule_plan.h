/// Which granules a scan has to look at: sources and granules that filters rule out are left away, by
/// index look-ups first and zones second. What can only be known while the query runs (the bound of a
/// Top-N, the keys of a join) is checked once more when a granule is taken.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "query/scan.h"
#include "query/statement_state.h"
#include "query/text_search.h"

namespace sheaf::query {

/// A filter that DuckDB pushed into the scan.
struct PushedFilter {
  duckdb::idx_t column = 0;                     // Position among the scanned columns.
  const duckdb::TableFilter* filter = nullptr;  // Borrowed from the plan; may change while the query runs.
  const LogicalColumn* logical = nullptr;       // Null: the row id.
  duckdb::LogicalType type;
};

/// A row's number within a snapshot: source, granule and row, so that it orders like them.
int64_t RowId(size_t source, int granule, int64_t row);

/// What a row's number says.
struct RowPlace {
  size_t source = 0;
  int granule = 0;
  int64_t row = 0;
};
RowPlace PlaceOf(int64_t row_id);

/// The granules of one scan. Take() is thread-safe.
class GranulePlan {
 public:
  struct Granule {
    uint32_t source = 0;
    int granule = 0;
    size_t order = 0;  // Position in the scan; grows.
    uint64_t certain = 0;  // A bit for each of the first 64 filters: whether all rows of the granule pass it.
  };
  /// Granules beside each other that one thread has taken and not handed out yet.
  struct Run {
    size_t next = 0, end = 0;
  };

  /// Borrows everything. Error: Corruption (of an index).
  static Result<std::unique_ptr<GranulePlan>> Make(const ScanBind& bind, const std::vector<PushedFilter>& filters,
                                                   StatementRecord* record);

  /// How many threads may take granules; before they do.
  void ShareAmong(int threads) { threads_ = static_cast<size_t>(threads); }
  /// The next granule that cannot be ruled out, or nothing. Each thread has a `run` of its own: neighbours in time are mostly in the same
  /// groups, and a group that two threads see is made twice and then merged.
  std::optional<Granule> Take(Run* run);
  /// The granule at `order`; nothing behind the last, and where it is ruled out.
  std::optional<Granule> At(size_t order) const {
    if (order >= work_.size() || !CheckGranule(work_[order])) return std::nullopt;
    return Granule{work_[order].source, work_[order].granule, order};
  }
  /// Whether granules are left; a hint.
  bool HasMore() const { return next_.load(std::memory_order_relaxed) < work_.size(); }
  size_t size() const { return work_.size(); }
  /// The stored bytes that filter `filter` implies (see ImpliedKeys()).
  const std::optional<std::vector<std::string>>& keys(size_t filter) const { return keys_[filter]; }
  double progress_percent() const;

  void CountRead(int64_t rows, int64_t bytes);
  /// What EXPLAIN ANALYZE shows: "pruned N of M parts" and so on, as name and text.
  std::vector<std::pair<std::string, std::string>> Explain() const;

 private:
  struct Work {
    uint32_t source;
    int granule;
  };

  GranulePlan(const ScanBind& bind, const std::vector<PushedFilter>& filters, StatementRecord* record);
  /// For each source and filter: where the attribute that the filter is on has a column of its own.
  void FindAttributes();
  /// Position in the source of the column whose stored values filter `filter` compares; -1: there is none.
  int StoredIn(size_t source, size_t filter) const;
  Status AddSource(size_t source);
  bool SourceRuledOut(size_t source) const;
  /// The filters that all of the granule's rows pass, as bits; nothing: no row passes them all.
  std::optional<uint64_t> CheckGranule(const Work& work) const;
  Run TakeRun();
  /// The source's granules that index look-ups leave; nothing: all.
  Result<std::optional<std::vector<int>>> LookUp(size_t source);
  /// Leaves those of `granules` where the token index of filter `i` may have such a text.
  Status SearchTexts(size_t source, size_t i, std::optional<std::vector<int>>* granules);
  void OrderByZones();
  void CountPruned(size_t source, int64_t granules);

  const ScanBind& bind_;
  const std::vector<PushedFilter>& filters_;
  StatementRecord* const record_;
  std::vector<std::optional<std::vector<std::string>>> keys_;  // For each filter: the values it asks for, if it does.
  std::vector<std::optional<TextAlternatives>> texts_;         // For each filter: the texts it lets pass, on columns that are searched.
  std::vector<int> attributes_;                                 // [source × filters + filter]; empty: no filter is on an attribute.
  std::vector<Work> work_;
  std::vector<std::atomic<int64_t>> live_;                      // Of each source: granules not ruled out.
  std::atomic<size_t> next_{0};
  size_t threads_ = 1;
  StatementCounters counters_;
  std::string index_columns_;
  int64_t index_lookups_ = 0;
  std::string token_columns_;
  int64_t token_granules_ = 0, token_granules_pruned_ = 0;      // Asked for, and ruled out.
};

}  // namespace sheaf::query
