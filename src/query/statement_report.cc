#include "query/statement_report.h"

#include <array>

#include "core/log.h"
#include "core/metrics.h"

namespace sheaf::query {

namespace {

constexpr size_t kSlowSqlBytesMax = 500;
constexpr size_t kKinds = static_cast<size_t>(StatementKind::kOther) + 1;

struct StatementMetrics {
  std::array<Histogram*, kKinds> seconds{};
  Counter& rows_scanned = Metrics().AddCounter("sheaf_query_rows_scanned_total", "Rows that statements read from tables.");
  Counter& bytes_read = Metrics().AddCounter("sheaf_query_bytes_read_total", "Bytes of columns that statements read, as stored.");
  Counter& parts_read = Metrics().AddCounter("sheaf_query_parts_read_total", "Parts that scans could not rule out.");
  Counter& parts_pruned = Metrics().AddCounter("sheaf_query_parts_pruned_total", "Parts that scans ruled out.");
  Counter& spills = Metrics().AddCounter("sheaf_query_spills_total", "Statements that wrote to temporary files.");
  Counter& spilled_bytes = Metrics().AddCounter("sheaf_query_spilled_bytes_total", "Bytes in temporary files, of each statement the most.");
  Counter& slow = Metrics().AddCounter("sheaf_query_slow_total", "Statements that took query.slow_ms or longer.");

  StatementMetrics() {
    for (size_t i = 0; i < kKinds; ++i) {
      seconds[i] = &Metrics().AddHistogram("sheaf_query_seconds", "Work of a statement: waiting for its turn, parsing, planning, running.",
                                           {{"kind", NameOf(static_cast<StatementKind>(i))}});
    }
  }
};

void AddSome(Counter* counter, int64_t n) {
  if (n > 0) counter->Add(static_cast<uint64_t>(n));
}

double Milliseconds(double seconds) { return static_cast<double>(static_cast<int64_t>(seconds * 1e6)) / 1e3; }

void LogSlow(const LoggedQuery& query) {
  LogWarn("query.slow", {{"id", query.id},
                         {"kind", NameOf(query.kind)},
                         {"state", query.state},
                         {"ms", Milliseconds(query.worked_seconds())},
                         {"queue_ms", Milliseconds(query.stats.queue_seconds)},
                         {"parse_ms", Milliseconds(query.stats.parse_seconds)},
                         {"plan_ms", Milliseconds(query.stats.plan_seconds)},
                         {"execute_ms", Milliseconds(query.stats.execute_seconds)},
                         {"rows", query.stats.rows},
                         {"rows_scanned", query.stats.rows_scanned},
                         {"bytes_read", query.stats.bytes_read},
                         {"parts_read", query.stats.parts - query.stats.parts_pruned},
                         {"parts_pruned", query.stats.parts_pruned},
                         {"granules_read", query.stats.granules - query.stats.granules_pruned},
                         {"granules_pruned", query.stats.granules_pruned},
                         {"index_used", NamesOfIndexes(query.indexes)},
                         {"peak_memory_bytes", query.stats.peak_memory_bytes},
                         {"spilled_bytes", query.stats.spilled_bytes},
                         {"sql", Shortened(query.sql, kSlowSqlBytesMax)}});
}

}  // namespace

void ReportStatement(const LoggedQuery& query, int64_t slow_ms) {
  static StatementMetrics metrics;
  metrics.seconds[static_cast<size_t>(query.kind)]->Observe(query.worked_seconds());
  AddSome(&metrics.rows_scanned, query.stats.rows_scanned);
  AddSome(&metrics.bytes_read, query.stats.bytes_read);
  AddSome(&metrics.parts_read, query.stats.parts - query.stats.parts_pruned);
  AddSome(&metrics.parts_pruned, query.stats.parts_pruned);
  AddSome(&metrics.spills, query.stats.spilled_bytes > 0 ? 1 : 0);
  AddSome(&metrics.spilled_bytes, query.stats.spilled_bytes);
  if (slow_ms <= 0 || query.worked_seconds() * 1e3 < static_cast<double>(slow_ms)) return;
  metrics.slow.Add();
  LogSlow(query);
}

}  // namespace sheaf::query
