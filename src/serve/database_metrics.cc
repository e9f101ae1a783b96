#include "serve/database_metrics.h"

#include "core/metrics.h"

namespace sheaf::serve {
namespace {

/// Brings a counter, which only goes up, to `total`. Two scrapes at once must not both add the difference.
void Advance(Counter* counter, int64_t total) {
  static Mutex mutex;
  MutexLock lock(&mutex);
  const auto now = static_cast<uint64_t>(total);
  if (now > counter->value()) counter->Add(now - counter->value());
}

}  // namespace

void UpdateDatabaseMetrics(const store::Stats& stats) {
  MetricRegistry& all = Metrics();
  all.AddGauge("sheaf_durable_lsn", "Newest position of the log that is on disk.").Set(static_cast<int64_t>(stats.durable.value));
  all.AddGauge("sheaf_covered_lsn", "Newest position that parts hold.").Set(static_cast<int64_t>(stats.covered.value));
  all.AddGauge("sheaf_memtable_bytes", "Recent rows in memory, those being sealed included.").Set(stats.memtable_bytes);
  all.AddGauge("sheaf_memtable_rows", "Recent rows in memory.").Set(stats.memtable_rows);
  all.AddGauge("sheaf_log_bytes", "Size of the write-ahead log.").Set(stats.log_bytes);
  all.AddGauge("sheaf_parts", "Parts of all tables.").Set(stats.parts);
  all.AddGauge("sheaf_part_bytes", "Size of all parts.").Set(stats.part_bytes);
  all.AddGauge("sheaf_writable", "1 while the database takes new data.").Set(stats.writable ? 1 : 0);
  Advance(&all.AddCounter("sheaf_seals_total", "Memtables sealed into parts."), stats.seals);
  Advance(&all.AddCounter("sheaf_cold_conversions_total", "Hot parts rewritten as Parquet."), stats.cold_conversions);
  Advance(&all.AddCounter("sheaf_parts_expired_total", "Parts removed by retention."), stats.parts_expired);
}

}  // namespace sheaf::serve
