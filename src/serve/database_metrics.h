/// The database's numbers as metrics of the process.

#pragma once

#include "store/database.h"

namespace sheaf::serve {

/// Sets gauges and advances counters to what `stats` says. Thread-safe; call before printing the metrics.
void UpdateDatabaseMetrics(const store::Stats& stats);

}  // namespace sheaf::serve
