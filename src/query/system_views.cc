#include "query/system_views.h"

#include <fmt/format.h>

#include "core/hex.h"
#include "core/memory.h"
#include "query/attribute_views.h"
#include "query/column_views.h"

namespace sheaf::query {

namespace {

using duckdb::LogicalType;
using duckdb::Value;
using Rows = std::vector<duckdb::vector<Value>>;

Value Time(int64_t ns) { return Value::TIMESTAMPNS(duckdb::timestamp_ns_t(ns)); }

SystemTable PartsTable(store::Database* database) {
  SystemTable table;
  table.name = "parts";
  table.columns = {"table_name", "part_id", "file_name", "format", "level", "rows", "data_bytes", "index_bytes",
                   "min_lsn", "max_lsn", "time_min", "time_max", "created_at", "digest", "dead_rows", "damage"};
  table.types = {LogicalType::VARCHAR, LogicalType::UBIGINT, LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::INTEGER,
                 LogicalType::BIGINT, LogicalType::BIGINT, LogicalType::BIGINT, LogicalType::UBIGINT, LogicalType::UBIGINT,
                 LogicalType::TIMESTAMP_NS, LogicalType::TIMESTAMP_NS, LogicalType::TIMESTAMP_NS, LogicalType::VARCHAR,
                 LogicalType::BIGINT, LogicalType::VARCHAR};
  table.rows = [database] {
    Rows rows;
    for (const store::PartStatus& part : database->Parts()) {
      const parts::PartInfo& info = part.info;
      rows.push_back({Value(part.table->schema_name + "." + part.table->name), Value::UBIGINT(info.id.value), Value(info.file_name),
                      Value(info.format == parts::Format::kHot ? "hot" : "cold"), Value::INTEGER(info.level), Value::BIGINT(info.rows),
                      Value::BIGINT(info.data_bytes), Value::BIGINT(info.index_bytes), Value::UBIGINT(info.min_lsn.value),
                      Value::UBIGINT(info.max_lsn.value), Time(info.time_min), Time(info.time_max), Time(info.created_ns),
                      Value(ToHex(info.digest)), Value::BIGINT(info.dead_rows), part.damage.empty() ? Value() : Value(part.damage)});
    }
    return rows;
  };
  return table;
}

SystemTable SettingsTable(store::Database* database, const EngineOptions* engine) {
  SystemTable table;
  table.name = "settings";
  table.columns = {"name", "value", "unit"};
  table.types = {LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::VARCHAR};
  table.rows = [database, engine] {
    // No paths and nothing secret: every client may read this.
    const store::Options& store = database->options();
    const auto number = [](const char* name, auto value, const char* unit) {
      return duckdb::vector<Value>{Value(name), Value(fmt::format("{}", value)), unit[0] == '\0' ? Value() : Value(unit)};
    };
    return Rows{number("store.memtable_bytes", store.memtable_bytes, "bytes"),
                number("store.seal_age_ms", store.seal_age_ms, "ms"),
                number("store.ingest_memory_bytes_max", store.ingest_memory_bytes_max, "bytes"),
                number("store.cold_after_ms", store.cold_after_ms, "ms"),
                number("store.log_segment_bytes", store.log_segment_bytes, "bytes"),
                number("store.log_direct_io", store.log_direct_io ? 1 : 0, ""),
                number("store.log_cpu", store.log_cpu, ""),
                number("store.log_queue_bytes_max", store.log_queue_bytes_max, "bytes"),
                number("store.free_space_min_fraction", store.free_space_min_fraction, ""),
                number("store.read_only", store.read_only, ""),
                number("query.threads", engine->threads, ""),
                number("query.memory_bytes_max", engine->memory_bytes_max, "bytes"),
                number("query.temp_bytes_max", engine->temp_bytes_max, "bytes"),
                number("query.timeout_ms", engine->timeout_ms, "ms"),
                number("query.concurrent_queries_max", engine->concurrent_queries_max, ""),
                number("query.sql_bytes_max", engine->sql_bytes_max, "bytes"),
                number("query.read_ahead_granules", engine->read_ahead_granules, ""),
                number("query.result_cache_bytes_max", engine->result_cache_bytes_max, "bytes"),
                number("query.slow_ms", engine->slow_ms, "ms")};
  };
  return table;
}

SystemTable QueriesTable(const QueryLog* log) {
  SystemTable table;
  table.name = "queries";
  table.columns = {"id", "state", "started_at", "duration_ms", "rows", "rows_scanned", "bytes_read", "kind", "queue_ms", "parse_ms",
                   "plan_ms", "execute_ms", "parts_read", "parts_pruned", "granules_read", "granules_pruned", "index_used", "cache_hit",
                   "peak_memory_bytes", "spilled_bytes", "error", "sql"};
  const LogicalType text = LogicalType::VARCHAR, count = LogicalType::BIGINT, ms = LogicalType::DOUBLE;
  table.types = {LogicalType::UBIGINT, text, LogicalType::TIMESTAMP_NS, ms, count, count, count, text, ms, ms, ms, ms,
                 count, count, count, count, text, LogicalType::BOOLEAN, count, count, text, text};
  table.rows = [log] {
    const auto milliseconds = [](double seconds) { return Value::DOUBLE(seconds * 1e3); };
    const auto words = [](const std::string& words) { return words.empty() ? Value() : Value(words); };
    Rows rows;
    for (const LoggedQuery& query : log->All()) {
      const QueryStats& stats = query.stats;
      rows.push_back({Value::UBIGINT(query.id), Value(query.state), Time(query.started_ns), milliseconds(query.seconds),
                      Value::BIGINT(stats.rows), Value::BIGINT(stats.rows_scanned), Value::BIGINT(stats.bytes_read),
                      Value(NameOf(query.kind)), milliseconds(stats.queue_seconds), milliseconds(stats.parse_seconds),
                      milliseconds(stats.plan_seconds), milliseconds(stats.execute_seconds),
                      Value::BIGINT(stats.parts - stats.parts_pruned), Value::BIGINT(stats.parts_pruned),
                      Value::BIGINT(stats.granules - stats.granules_pruned), Value::BIGINT(stats.granules_pruned),
                      words(NamesOfIndexes(query.indexes)), Value::BOOLEAN(stats.cache_hit), Value::BIGINT(stats.peak_memory_bytes),
                      Value::BIGINT(stats.spilled_bytes), words(query.error), Value(query.sql)});
    }
    return rows;
  };
  return table;
}

SystemTable MemoryTable() {
  SystemTable table;
  table.name = "memory";
  table.columns = {"component", "current_bytes", "peak_bytes", "total_bytes", "freed_bytes", "allocations", "limit_bytes"};
  table.types = {LogicalType::VARCHAR, LogicalType::BIGINT, LogicalType::BIGINT, LogicalType::BIGINT,
                 LogicalType::BIGINT, LogicalType::BIGINT, LogicalType::BIGINT};
  table.rows = [] {
    const auto number = [](const std::optional<int64_t>& n) { return n ? Value::BIGINT(*n) : Value(); };
    Rows rows;
    for (const MemoryUse& use : MemoryUses()) {
      const Value freed = use.total_bytes ? Value::BIGINT(*use.total_bytes - use.current_bytes) : Value();
      rows.push_back({Value(use.component), Value::BIGINT(use.current_bytes), number(use.peak_bytes), number(use.total_bytes), freed,
                      number(use.allocations), number(use.limit_bytes)});
    }
    return rows;
  };
  return table;
}

}  // namespace

SystemTables MakeSystemTables(store::Database* database, const EngineOptions* options, const QueryLog* log) {
  return {PartsTable(database), SettingsTable(database, options), QueriesTable(log), MemoryTable(), AttributesTable(database),
          ColumnsTable(database)};
}

}  // namespace sheaf::query
