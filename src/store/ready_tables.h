/// The tables that every database has: otel.traces, otel.logs and the five kinds of metrics; trading.orders, .trades and
/// .accounts; memory.records.

#pragma once

#include <string_view>
#include <vector>

#include "decode/schemas.h"
#include "store/database.h"

namespace sheaf::store {

/// The schema name of the ready telemetry tables.
inline constexpr const char* kOtelSchema = "otel";
/// Tables that the layer above makes for itself are in this one (NewTable::internal).
inline constexpr const char* kEngineSchema = "sheaf";

/// How the rows of a signal are sorted, indexed and timed in parts.
parts::Layout SignalLayout(decode::Signal signal);

/// Numbers in an embedding of memory.records, unless the table is given another size while it is empty.
inline constexpr int kEmbeddingSize = 384;

/// The definitions, with ids still to be given (0): first those of telemetry, in the order of decode::Signal.
std::vector<TableInfo> ReadyTables();

/// The definition of the ready table of that name, or null. Lives for ever.
const TableInfo* FindReadyTable(std::string_view schema_name, std::string_view name);

}  // namespace sheaf::store
