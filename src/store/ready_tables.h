/// The tables that every database has: otel.traces, otel.logs and the five kinds of metrics.

#pragma once

#include <vector>

#include "decode/schemas.h"
#include "store/database.h"

namespace sheaf::store {

/// The schema name of the ready telemetry tables.
inline constexpr const char* kOtelSchema = "otel";

/// How the rows of a signal are sorted, indexed and timed in parts.
parts::Layout SignalLayout(decode::Signal signal);

/// The definitions, with ids still to be given (0), in the order of decode::Signal.
std::vector<TableInfo> ReadyTables();

}  // namespace sheaf::store
