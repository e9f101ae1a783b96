/// Data for the comparison of queries, in a Sheaf directory and as Parquet files that its peers load:
///
///   query_data fill DIRECTORY SPANS TRADES ORDERS      as OTLP ingest and INSERT leave it, sealed into hot parts and compacted
///   query_data export DIRECTORY FOLDER                 each table as FOLDER/table/*.parquet (zstd, row groups of 131,072, by
///   time) query_data cold DIRECTORY                          turns hot parts into cold ones
///
/// Ids are UUID and UBIGINT in Parquet, since peers are fastest with these; `http_route` is an attribute as a column of its own.

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "../must.h"
#include "../pause.h"
#include "core/log.h"
#include "decode/decoder.h"
#include "io/clock.h"
#include "io/posix.h"
#include "query/engine.h"
#include "span_data.h"
#include "store/database.h"

namespace sheaf::bench {
namespace {

constexpr int64_t kAtOnce = 500'000, kRequestSpans = 1000;

class Filler {
 public:
  explicit Filler(const std::string& directory) {
    store::Options options;
    options.directory = directory;
    options.cold_after_ms = INT64_MAX / 2'000'000;  // Only when asked.
    options.snapshot_interval_ms = 0;
    options.compaction_cpu_share = 1;
    database_ = Must(store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
    engine_ = Must(query::Engine::Open(database_.get(), {.threads = 2, .memory_bytes_max = int64_t{6} << 30, .timeout_ms = 0}));
  }
  ~Filler() {
    engine_.reset();
    Must(database_->Close());
  }
  Filler(const Filler&) = delete;
  Filler& operator=(const Filler&) = delete;

  store::Database* database() { return database_.get(); }
  void Run(const std::string& sql) {
    const auto query = Must(engine_->Start({.sql = sql, .trusted = true}));
    while (Must(query->Next())) {
    }
  }

  void Spans(int64_t count) {
    SpanStream stream(count);
    decode::Decoder decoder;
    const auto table = Must(database_->FindTable("otel", "traces"));
    for (int64_t done = 0; done < count; done += kRequestSpans) {
      const std::string request = stream.Request(std::min(kRequestSpans, count - done));
      const auto decoded = Must(decoder.Traces(std::as_bytes(std::span(request.data(), request.size()))));
      for (const auto& part : decoded.batches) Append({.table = table->id, .batch = part.batch});
    }
  }

  /// Until background work leaves the parts as they are for five seconds.
  void Settle() {
    Must(database_->Flush());
    auto before = database_->GetStats();
    for (int quiet = 0; quiet < 5;) {
      Pause(std::chrono::seconds(1));
      const auto now = database_->GetStats();
      quiet = now.compactions == before.compactions && now.parts == before.parts ? quiet + 1 : 0;
      before = now;
    }
    std::fprintf(stderr, "%lld parts, %lld MiB\n", static_cast<long long>(before.parts),
                 static_cast<long long>(before.part_bytes >> 20));
  }

 private:
  void Append(const store::TableRows& rows) {
    while (true) {
      const auto done = database_->Append({rows}, store::WriteOptions{.durability = store::Durability::kBuffered});
      if (done.ok()) return;
      if (KindOf(done.status()) != ErrorKind::kThrottled) Must(done.status());
      Pause(std::chrono::milliseconds(20));
    }
  }

  std::unique_ptr<store::Database> database_;
  std::unique_ptr<query::Engine> engine_;
};

/// Runs `sql` for slices of [0, rows), which it names {first} and {last}.
void InSlices(Filler* filler, int64_t rows, const std::string& sql, int64_t orders) {
  for (int64_t first = 0; first < rows; first += kAtOnce) {
    filler->Run(fmt::format(fmt::runtime(sql), fmt::arg("first", first), fmt::arg("last", std::min(rows, first + kAtOnce)),
                            fmt::arg("orders", orders), fmt::arg("start", kFirstNs), fmt::arg("gap", kDayNs / rows)));
  }
}

constexpr char kOrders[] = R"(INSERT INTO trading.orders
SELECT 'O' || lpad(i::VARCHAR, 9, '0'), 'user-' || hash(i * 31) % 20000, 'INST' || lpad((hash(i * 17) % 200)::VARCHAR, 4, '0'),
  CASE WHEN hash(i) % 2 = 0 THEN 'BUY' ELSE 'SELL' END, CASE WHEN hash(i * 3) % 3 = 0 THEN 'CLOSE' ELSE 'OPEN' END,
  (1000 + (hash(i * 17) % 200) * 37 + (hash(i * 5) % 900)::DOUBLE / 100)::DECIMAL(18, 2), 1 + (hash(i * 7) % 100)::BIGINT,
  (hash(i * 11) % 100)::BIGINT, ['NEW', 'PARTIAL', 'FILLED', 'CANCELLED'][1 + (hash(i * 13) % 4)::BIGINT],
  make_timestamp_ns({start} + i * {gap}), make_timestamp_ns({start} + i * {gap} + (hash(i * 19) % 60000000000)::BIGINT)
FROM range({first}, {last}) AS r(i))";

constexpr char kTrades[] = R"(INSERT INTO trading.trades
SELECT 'T' || lpad(i::VARCHAR, 9, '0'), 'O' || lpad((hash(i * 7919) % {orders})::VARCHAR, 9, '0'),
  'O' || lpad((hash(i * 104729) % {orders})::VARCHAR, 9, '0'), 'user-' || hash(i * 31) % 20000,
  'INST' || lpad((hash(i * 17) % 200)::VARCHAR, 4, '0'), CASE WHEN hash(i) % 2 = 0 THEN 'BUY' ELSE 'SELL' END,
  CASE WHEN hash(i * 3) % 3 = 0 THEN 'CLOSE' ELSE 'OPEN' END,
  (1000 + (hash(i * 17) % 200) * 37 + 50 * sin(i / 40000.0) + (hash(i * 5) % 9)::DOUBLE / 100)::DECIMAL(18, 2),
  1 + (hash(i * 7) % 100)::BIGINT, make_timestamp_ns({start} + i * {gap} + (hash(i * 23) % {gap})::BIGINT)
FROM range({first}, {last}) AS r(i))";

/// One million rows to sort and to group into 100,000 groups; and an attribute as a column of its own.
constexpr const char* kMore[] = {
    "CREATE TABLE million (start_time TIMESTAMP_NS NOT NULL, trace_id TRACE_ID, span_id SPAN_ID, k BIGINT, v BIGINT)",
    "INSERT INTO million SELECT start_time, trace_id, span_id, (hash(span_id::VARCHAR) % 100000)::BIGINT, duration_ns FROM "
    "traces "
    "ORDER BY start_time, span_id LIMIT 1000000",
    "CREATE TABLE routes (start_time TIMESTAMP_NS NOT NULL, http_route VARCHAR, duration_ns BIGINT)",
    "INSERT INTO routes SELECT start_time, attributes['http.route'], duration_ns FROM traces",
};

struct Export {
  const char *table, *from, *columns, *time;
};
constexpr Export kExports[] = {
    {"traces", "otel.traces",
     "trace_id::VARCHAR::UUID AS trace_id, ('0x' || span_id::VARCHAR)::UBIGINT AS span_id, ('0x' || "
     "parent_span_id::VARCHAR)::UBIGINT AS "
     "parent_span_id, trace_state, flags, name, kind, start_time, end_time, duration_ns, status_code, status_message, "
     "service_name, "
     "attributes, resource_attributes, scope_name, attributes['http.route'] AS http_route",
     "start_time"},
    {"trades", "trading.trades", "*", "time"},
    {"orders", "trading.orders", "*", "created_at"},
    {"million", "million",
     "start_time, trace_id::VARCHAR::UUID AS trace_id, ('0x' || span_id::VARCHAR)::UBIGINT AS span_id, k, v", "start_time"},
    {"routes", "routes", "*", "start_time"},
};
constexpr int kFiles = 24;  // An hour each.

void ExportAll(Filler* filler, const std::string& folder) {
  for (const Export& table : kExports) {
    std::filesystem::create_directories(folder + "/" + table.table);
    for (int hour = 0; hour < kFiles; ++hour) {
      // The last takes what is later than its end.
      const int64_t from = kFirstNs + kDayNs / kFiles * hour, to = from + kDayNs / kFiles * (hour + 1 == kFiles ? 100 : 1);
      filler->Run(fmt::format(
          "COPY (SELECT {0} FROM {1} WHERE {2} >= make_timestamp_ns({3}) AND {2} < make_timestamp_ns({4}) ORDER BY {2}) "
          "TO '{5}/{6}/{7:02}.parquet' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 131072)",
          table.columns, table.from, table.time, from, to, folder, table.table, hour));
    }
  }
}

int Main(int argc, char** argv) {
  const std::string verb = argc > 2 ? argv[1] : "";
  ConfigureLog(LogLevel::kError, false);
  if (verb == "fill" && argc == 6) {
    Filler filler(argv[2]);
    const int64_t orders = std::atoll(argv[5]);
    filler.Spans(std::atoll(argv[3]));
    InSlices(&filler, orders, kOrders, orders);
    InSlices(&filler, std::atoll(argv[4]), kTrades, orders);
    for (const char* sql : kMore) filler.Run(sql);
    filler.Settle();
  } else if (verb == "export" && argc == 4) {
    Filler filler(argv[2]);
    ExportAll(&filler, argv[3]);
  } else if (verb == "cold") {
    Filler filler(argv[2]);
    Must(filler.database()->MakeCold());
    filler.Settle();
  } else {
    std::fprintf(stderr, "usage: query_data fill DIRECTORY SPANS TRADES ORDERS | export DIRECTORY FOLDER | cold DIRECTORY\n");
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
