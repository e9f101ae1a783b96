/// What the log tells /metrics; one set a process.

#pragma once

#include "core/metrics.h"

namespace sheaf::wal {

struct LogMetrics {
  Histogram& commit_seconds = Metrics().AddHistogram("sheaf_wal_commit_seconds", "Time to write and sync one group of entries.");
  Counter& groups = Metrics().AddCounter("sheaf_wal_groups_total", "Groups of entries written, one sync each.");
  Counter& entries = Metrics().AddCounter("sheaf_wal_entries_total", "Entries made durable.");
  Counter& payload_bytes = Metrics().AddCounter("sheaf_wal_payload_bytes_total", "Payload made durable.");
  Counter& written_bytes = Metrics().AddCounter("sheaf_wal_written_bytes_total", "Bytes of blocks written, padding included.");
  Counter& throttled = Metrics().AddCounter("sheaf_wal_throttled_total", "Appends refused because the queue was full.");
  Counter& failed_groups = Metrics().AddCounter("sheaf_wal_failed_groups_total", "Groups that could not be written.");
  Counter& recoveries = Metrics().AddCounter("sheaf_wal_recoveries_total", "Logs opened that had not been closed cleanly.");
  Counter& torn_bytes = Metrics().AddCounter("sheaf_wal_torn_bytes_total", "Bytes of torn tails dropped by recovery.");
  Counter& rolls_waited = Metrics().AddCounter("sheaf_wal_rolls_waited_total", "New segments that were not prepared in time.");
  Gauge& disk_bytes = Metrics().AddGauge("sheaf_wal_disk_bytes", "Bytes of the log's files.");
  Gauge& buffered_bytes = Metrics().AddGauge("sheaf_wal_buffered_bytes", "Payload that was answered and is not on disk yet.");
  Counter& buffered_lost_bytes =
      Metrics().AddCounter("sheaf_wal_buffered_lost_bytes_total", "Payload that was answered as buffered and never came to disk.");
  Counter& archived_bytes = Metrics().AddCounter("sheaf_wal_archived_bytes_total", "Bytes of segments moved to the archive.");
  Gauge& poisoned = Metrics().AddGauge("sheaf_wal_poisoned", "1 after a failed sync: the process must restart.");
};

inline LogMetrics& TheLogMetrics() {
  static LogMetrics metrics;
  return metrics;
}

}  // namespace sheaf::wal
