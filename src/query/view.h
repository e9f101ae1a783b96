/// A materialised view: what it is, what is kept of it, and how that follows the log.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "query/instance.h"
#include "query/view_plan.h"
#include "query/view_state.h"
#include "query/view_states.h"
#include "query/view_watermark.h"
#include "store/database.h"

namespace sheaf::query {

class KeptSet;

/// As it was asked for.
struct ViewDefinition {
  std::string schema_name, name;
  std::string select_sql;
  std::optional<int64_t> refresh_ms;     // None: kept from the log.
  std::optional<WatermarkRule> watermark = std::nullopt;  // None: nobody knows which windows are complete.
  int64_t created_ns = 0;

  std::string full_name() const { return schema_name + "." + name; }
  std::string sql() const;
};

/// How a view does, for `sheaf.views`.
struct ViewStatus {
  std::string state;                     // "fresh", "building", "failed"
  Lsn lsn;                               // Through which it is made of the log.
  int64_t groups = 0, rows_taken = 0, groups_recomputed = 0, rebuilds = 0;
  int64_t apply_ns = 0;                  // All that the taking of rows has cost.
  int64_t lag_ns_max = 0;                // Longest time from seeing an entry to the view having it.
  std::optional<Lsn> saved_lsn;          // Through which its state on disk is made of the log; none: there is no such.
  int64_t saved_bytes = 0;
  Watermark::Progress progress;
  std::string unsaved_because;           // Why it never is. Empty: it is, sooner or later.
  std::string error;
};

/// Thread-safe. It follows the log on one thread at a time; readers do not wait for that.
class View {
 public:
  /// Plans it. Borrows `database`; `session` is its own. Errors: Invalid (the query is wrong), Unsupported (says why it cannot be kept).
  static Result<std::shared_ptr<View>> Make(store::Database* database, std::unique_ptr<Session> session, ViewDefinition definition,
                                            const KeptSet& kept);

  const ViewDefinition& definition() const { return definition_; }
  /// The query that a reader runs, over kViewFunction.
  const std::string& output_sql() const { return output_sql_; }
  /// The same of what changed after `lsn`. Requires !is_refreshed().
  std::string ChangesSql(int64_t lsn) const;
  const std::vector<TableId>& tables() const { return tables_; }
  const duckdb::vector<duckdb::LogicalType>& types() const { return types_; }
  /// Of the columns that kViewFunction gives.
  std::string ColumnName(size_t column) const;

  /// Computes it from what `snapshot` holds. On error the view keeps what it had, and tells.
  Status Build(const std::shared_ptr<const store::Snapshot>& snapshot) SHEAF_EXCLUDES(following_mutex_, mutex_);
  /// Takes in what the log has between what it knows and `snapshot`; computes it anew where it cannot.
  Status CatchUp(const std::shared_ptr<const store::Snapshot>& snapshot) SHEAF_EXCLUDES(following_mutex_, mutex_);
  /// Whether a view with REFRESH EVERY is to be built again.
  bool IsDue(std::chrono::steady_clock::time_point now) const;
  bool is_refreshed() const { return definition_.refresh_ms.has_value(); }

  /// Writes its state to disk if there is a reason to by `now`; on `closing` what has changed. Errors: the store's; it is tried again
  /// later.
  Status SaveIfDue(std::chrono::steady_clock::time_point now, bool closing) SHEAF_EXCLUDES(following_mutex_, mutex_);
  /// After which LSN the log must be kept for it; none: it needs none of it.
  std::optional<Lsn> log_needed_after() const SHEAF_EXCLUDES(mutex_);

  /// What it keeps, for kViewFunction: as of `lsn`, if it gets that far within `wait`. Waits for as long as it takes until there is
  /// anything, unless `interrupted`. Errors: Unavailable (with why it could not be built), Cancelled.
  Result<std::shared_ptr<duckdb::ColumnDataCollection>> Rows(Lsn lsn, std::chrono::nanoseconds wait,
                                                             const std::function<bool()>& interrupted) SHEAF_EXCLUDES(mutex_);
  Lsn lsn() const SHEAF_EXCLUDES(mutex_);
  ViewStatus status() const SHEAF_EXCLUDES(mutex_);
  /// Ends waits and the statement that the view's thread runs, if any: it is dropped, or its engine ends.
  void Close() SHEAF_EXCLUDES(mutex_);
  bool closed() const SHEAF_EXCLUDES(mutex_);

 private:
  using Chunks = std::vector<duckdb::unique_ptr<duckdb::DataChunk>>;
  /// What entries of the log did with the view's tables.
  struct Changes {
    std::shared_ptr<const store::Snapshot> before;  // As the tables were; null where only rows came.
    std::vector<std::shared_ptr<arrow::RecordBatch>> appended;
    std::map<TableId, columns::KeyColumn> keys;
    int64_t rows = 0, bytes = 0;
    Lsn through;                           // They end with this entry…
    bool more = false;                     // …and there are others behind it.
    Watermark::Progress progress;          // Behind them.
  };

  View(store::Database* database, std::unique_ptr<Session> session, ViewDefinition definition)
      : database_(database), states_(database), session_(std::move(session)), definition_(std::move(definition)) {}
  Status PlanIt(const KeptSet& kept);
  Status Run(const std::string& sql, std::shared_ptr<const store::Snapshot> snapshot,
             const std::function<void(duckdb::unique_ptr<duckdb::DataChunk>)>& take);
  Status BuildNow(const std::shared_ptr<const store::Snapshot>& snapshot) SHEAF_REQUIRES(following_mutex_);
  Status Refresh(const std::shared_ptr<const store::Snapshot>& snapshot) SHEAF_REQUIRES(following_mutex_);
  /// Has the state on disk; answers the LSN that it is as of, or 0 where there is none that is of use.
  Result<Lsn> Restore(const std::shared_ptr<const store::Snapshot>& snapshot) SHEAF_REQUIRES(following_mutex_);
  Status Save() SHEAF_REQUIRES(following_mutex_) SHEAF_EXCLUDES(mutex_);
  ViewStates::Owner owner() const;
  /// An empty one, of input like this view's.
  std::unique_ptr<ViewState> NewState(const ViewPlan& plan);
  /// Finds the watermark's column. Errors: Invalid, Unsupported.
  Status SetWatermark();
  /// The newest time that the append table has, less the delay.
  Result<Watermark::Progress> ProgressOf(const std::shared_ptr<const store::Snapshot>& snapshot);
  /// `rows` of the state, and whether each is complete.
  std::shared_ptr<duckdb::ColumnDataCollection> WithCompleteness(duckdb::ColumnDataCollection* rows) const SHEAF_REQUIRES(mutex_);
  /// Readers see this from now on.
  void Replace(std::unique_ptr<ViewState> state, std::shared_ptr<duckdb::ColumnDataCollection> rows, Lsn lsn,
               const Watermark::Progress& progress) SHEAF_EXCLUDES(mutex_);
  /// As many as are taken at once.
  Result<Changes> ReadChanges(Lsn after, Lsn through, const Watermark::Progress& progress) const;
  Status Apply(const Changes& changes, const std::shared_ptr<const store::Snapshot>& snapshot);
  /// Takes in what ReadChanges() gives next, and is as of its end then. On error the view has to be computed anew.
  Status TakeNext(Lsn after, const std::shared_ptr<const store::Snapshot>& snapshot, Changes* changes)
      SHEAF_REQUIRES(following_mutex_);
  /// The groups that rows of keyed tables have left or come to.
  Result<std::unique_ptr<ViewState>> Touched(const Changes& changes, const std::shared_ptr<const store::Snapshot>& snapshot);
  /// The input of those groups.
  std::string InputOf(duckdb::ColumnDataCollection* groups) const;
  void Fail(const Status& why) SHEAF_EXCLUDES(mutex_);

  store::Database* const database_;  // Borrowed.
  ViewStates states_;
  const std::unique_ptr<Session> session_;
  const ViewDefinition definition_;
  ViewPlan plan_;                    // Fixed after Make(), as are the next five.
  std::optional<WatermarkRule> rule_;  // The definition's, with the column as the table spells it.
  std::string unsaved_because_;      // Why its state cannot be saved. Empty: it can.
  std::string output_sql_;
  std::vector<TableId> tables_;
  duckdb::vector<duckdb::LogicalType> types_;
  std::atomic<std::chrono::steady_clock::time_point> refreshed_{};

  /// Held while the view is built or catches up, and its session with it; before mutex_. A REFRESH comes beside the thread that follows.
  Mutex following_mutex_;
  std::shared_ptr<const store::Snapshot> before_ SHEAF_GUARDED_BY(following_mutex_);  // As of lsn_, where rows of tables change.

  bool restore_tried_ SHEAF_GUARDED_BY(following_mutex_) = false;
  bool unsaved_changes_ SHEAF_GUARDED_BY(following_mutex_) = false;  // Of the state; the LSN may have gone on without any.
  int failed_saves_ SHEAF_GUARDED_BY(following_mutex_) = 0;          // Since one succeeded.
  std::optional<ViewStates::Head> saved_ SHEAF_GUARDED_BY(following_mutex_);
  std::chrono::steady_clock::time_point saved_at_ SHEAF_GUARDED_BY(following_mutex_){};

  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::unique_ptr<ViewState> state_ SHEAF_GUARDED_BY(mutex_);
  std::shared_ptr<duckdb::ColumnDataCollection> rows_ SHEAF_GUARDED_BY(mutex_);  // Null: to be made of state_.
  bool restored_ SHEAF_GUARDED_BY(mutex_) = false;  // From disk, and what the log has behind that is still to be taken in.
  bool broken_ SHEAF_GUARDED_BY(mutex_) = false;  // The state: by changes that ended in the middle.
  bool built_ SHEAF_GUARDED_BY(mutex_) = false, closed_ SHEAF_GUARDED_BY(mutex_) = false;
  Lsn lsn_ SHEAF_GUARDED_BY(mutex_);
  Watermark watermark_ SHEAF_GUARDED_BY(mutex_);
  Status error_ SHEAF_GUARDED_BY(mutex_);  // Of the last attempt.
  ViewStatus counts_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::query
