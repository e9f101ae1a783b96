#include "serve/database_metrics.h"

#include "core/memory.h"
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

/// One gauge for each component that holds memory; the same as SQL's sheaf.memory.
void UpdateMemoryMetrics() {
  MetricRegistry& all = Metrics();
  for (const MemoryUse& use : MemoryUses()) {
    const Labels component = {{"component", use.component}};
    all.AddGauge("sheaf_memory_bytes", "Memory held, by component.", component).Set(use.current_bytes);
    if (use.peak_bytes) all.AddGauge("sheaf_memory_peak_bytes", "Most memory held at once, by component.", component).Set(*use.peak_bytes);
    if (use.limit_bytes) all.AddGauge("sheaf_memory_limit_bytes", "Limit of memory, by component.", component).Set(*use.limit_bytes);
    if (use.total_bytes) {
      Advance(&all.AddCounter("sheaf_memory_allocated_bytes_total", "Memory allocated, by component.", component), *use.total_bytes);
    }
    if (use.allocations) {
      Advance(&all.AddCounter("sheaf_memory_allocations_total", "Allocations of memory, by component.", component), *use.allocations);
    }
  }
}

}  // namespace

void UpdateDatabaseMetrics(const store::Stats& stats) {
  UpdateMemoryMetrics();
  MetricRegistry& all = Metrics();
  all.AddGauge("sheaf_durable_lsn", "Newest position of the log that is on disk.").Set(static_cast<int64_t>(stats.durable.value));
  all.AddGauge("sheaf_covered_lsn", "Newest position that parts hold.").Set(static_cast<int64_t>(stats.covered.value));
  all.AddGauge("sheaf_memtable_bytes", "Recent rows in memory, those being sealed included.").Set(stats.memtable_bytes);
  all.AddGauge("sheaf_memtable_rows", "Recent rows in memory.").Set(stats.memtable_rows);
  all.AddGauge("sheaf_log_bytes", "Size of the write-ahead log.").Set(stats.log_bytes);
  all.AddGauge("sheaf_parts", "Parts of all tables.").Set(stats.parts);
  all.AddGauge("sheaf_damaged_parts", "Parts that are damaged and set aside; statements that need them fail.").Set(stats.damaged_parts);
  all.AddGauge("sheaf_part_bytes", "Size of all parts.").Set(stats.part_bytes);
  all.AddGauge("sheaf_writable", "1 while the database takes new data.").Set(stats.writable ? 1 : 0);
  Advance(&all.AddCounter("sheaf_seals_total", "Memtables sealed into parts."), stats.seals);
  Advance(&all.AddCounter("sheaf_cold_conversions_total", "Hot parts rewritten as Parquet."), stats.cold_conversions);
  Advance(&all.AddCounter("sheaf_scrubbed_parts_total", "Parts whose checksums were checked in the background."), stats.scrubbed_parts);
  Advance(&all.AddCounter("sheaf_scrubbed_bytes_total", "Bytes of these."), stats.scrubbed_bytes);
  Advance(&all.AddCounter("sheaf_parts_expired_total", "Parts removed by retention."), stats.parts_expired);
}

}  // namespace sheaf::serve
