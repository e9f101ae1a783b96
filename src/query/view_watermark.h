/// How far event time has got in what a view has taken in. The watermark lies a delay behind the newest time that was seen; a window that
/// ends at it or before is complete. Rows that come more than an allowed lateness behind it are left out. Which these are depends on
/// the order of the log only: each entry is judged by the watermark that those before it left.

#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include <arrow/record_batch.h>

#include "core/ids.h"
#include "core/status.h"

namespace sheaf::query {

/// As the view's definition has it: WATERMARK FOR column DELAY … ALLOWED LATENESS ….
struct WatermarkRule {
  std::string column;                    // Of the append table: a time.
  int64_t delay_us = 0;
  std::optional<int64_t> lateness_us;    // None: rows are taken however late.

  /// The clauses, as SQL.
  std::string sql() const;
};

/// Times are in microseconds since 1970.
class Watermark {
 public:
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::min();
  /// Rows that were left out, and the watermark, as one has them after some entry.
  struct Progress {
    int64_t value_us = kNone;
    int64_t late_rows = 0;
  };

  /// `newest_us - by_us` for by_us >= 0, at least kNone.
  static int64_t Behind(int64_t newest_us, int64_t by_us);
  /// `progress` as of `lsn`.
  void Start(const Progress& progress, Lsn lsn);
  const Progress& progress() const { return progress_; }
  /// Goes on to `progress`, which is as of `lsn`.
  void Advance(const Progress& progress, Lsn lsn);
  /// At which LSN the watermark had reached a window's end: that one, or a later one where it is long ago; none: it has not.
  std::optional<Lsn> ReachedAt(int64_t end_us) const;

 private:
  struct Step {
    int64_t value_us;
    Lsn lsn;
  };
  Progress progress_;
  std::deque<Step> steps_;               // Of the last times that it moved; both rise.
};

/// The rows of an entry of the log that are not too late, and what `progress` is behind it. `batch` has a column of that name.
/// Errors: Invalid (the column holds no times), OutOfMemory.
Result<std::shared_ptr<arrow::RecordBatch>> WithoutLateRows(const WatermarkRule& rule, std::shared_ptr<arrow::RecordBatch> batch,
                                                            Watermark::Progress* progress);

}  // namespace sheaf::query
