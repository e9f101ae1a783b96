/// SQL over hot parts beside DuckDB's own in-memory tables, in one process with the same DuckDB library and one thread each:
/// both are filled by the same statements, run the same queries in turns, and must answer the same. Prints one JSON object.
///
///   scan_comparison FOLDER [ROWS [REPETITIONS]]      default 8,000,000 rows, 9 repetitions
///
/// Bytes scanned are those of the values read (8 a number or time, and 1 a text of few values), the same for both. "updated": a
/// keyed table of which a fifth of the rows were replaced after they were in parts, against one that was not touched.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <arrow/table.h>
#include <duckdb.hpp>

#include "core/log.h"
#include "sheaf/database.h"

namespace sheaf::bench {
namespace {

[[noreturn]] void Die(const std::string& what, const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), why.c_str());
  std::exit(1);
}

double Seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Both {
 public:
  explicit Both(const std::string& folder) : duck_(nullptr), connection_(duck_) {
    OpenOptions options;
    options.query_threads = 1;
    auto opened = Database::Open(folder, options);
    if (!opened.ok()) Die("open", opened.status().ToString());
    sheaf_ = *opened;
    Duck("SET threads = 1");
  }

  void Run(const std::string& sql) {
    if (const auto done = sheaf_->Execute(sql); !done.ok()) Die(sql, done.ToString());
    Duck(sql);
  }
  void Flush() {
    if (const auto done = sheaf_->Flush(); !done.ok()) Die("flush", done.ToString());
  }

  /// The answer as text; all rows are fetched.
  std::string Sheaf(const std::string& sql) {
    auto reader = sheaf_->Sql(sql);
    if (!reader.ok()) Die(sql, reader.status().ToString());
    auto table = (*reader)->ToTable();
    if (!table.ok()) Die(sql, table.status().ToString());
    std::string text;
    for (int64_t row = 0; row < (*table)->num_rows(); ++row) {
      for (const auto& column : (*table)->columns()) text += column->GetScalar(row).ValueOrDie()->ToString() + "|";
    }
    return text;
  }
  std::string Duck(const std::string& sql) {
    auto result = connection_.Query(sql);
    if (result->HasError()) Die(sql, result->GetError());
    std::string text;
    for (duckdb::idx_t row = 0; row < result->RowCount(); ++row) {
      for (duckdb::idx_t column = 0; column < result->ColumnCount(); ++column)
        text += result->GetValue(column, row).ToString() + "|";
    }
    return text;
  }

 private:
  std::shared_ptr<Database> sheaf_;
  duckdb::DuckDB duck_;
  duckdb::Connection connection_;
};

struct Query {
  const char* name;
  std::string sql;
  int64_t bytes;  // A row.
};

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: scan_comparison FOLDER [ROWS [REPETITIONS]]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  const int64_t rows = argc > 2 ? std::atoll(argv[2]) : 8'000'000;
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 9;
  Both both(std::string(argv[1]) + "/data");
  const std::string columns =
      "(hash(i) % 100000)::BIGINT AS volume, 100 + (hash(i * 7) % 1000)::BIGINT AS price, 'S' || (hash(i * 3) % 50) AS symbol";
  both.Run("CREATE TABLE ticks (time TIMESTAMP_NS NOT NULL, volume BIGINT, price BIGINT, symbol VARCHAR)");
  for (const char* table : {"clean", "updated"}) {
    both.Run(std::string("CREATE TABLE ") + table + " (id BIGINT PRIMARY KEY, volume BIGINT, price BIGINT, symbol VARCHAR)");
  }
  constexpr int64_t kAtOnce = 500'000;
  const auto slices = [&](const std::function<void(const std::string&)>& fill) {
    for (int64_t first = 0; first < rows; first += kAtOnce) {
      fill(" FROM range(" + std::to_string(first) + ", " + std::to_string(std::min(rows, first + kAtOnce)) + ") AS r(i)");
    }
  };
  slices([&](const std::string& from) {
    both.Run("INSERT INTO ticks SELECT make_timestamp_ns(1700000000000000000 + i * 1000), " + columns + from);
  });
  for (const char* table : {"clean", "updated"}) {
    slices([&](const std::string& from) { both.Run(std::string("INSERT INTO ") + table + " SELECT i, " + columns + from); });
  }
  both.Flush();
  slices([&](const std::string& from) {
    both.Run("INSERT OR REPLACE INTO updated SELECT i, " + columns + from + " WHERE i % 5 = 0");
  });
  both.Flush();
  const std::string dead = both.Sheaf("SELECT sum(dead_rows) FROM sheaf.parts WHERE table_name = 'main.updated'");
  std::fprintf(stderr, "filled; dead rows %s\n", dead.c_str());

  std::vector<Query> queries = {
      {"sum_of_two", "SELECT sum(volume), sum(price), count(*) FROM ticks", 16},
      {"sum_of_products", "SELECT sum(volume * price), epoch_ns(max(time)) FROM ticks", 24},
      {"group_by_symbol", "SELECT symbol, sum(volume), max(price) FROM ticks GROUP BY symbol ORDER BY symbol", 17},
      {"filtered_tenth", "SELECT count(*), sum(price) FROM ticks WHERE volume < 10000", 16},
      {"keyed_clean", "SELECT sum(volume), sum(price), count(*) FROM clean", 16},
      {"keyed_updated", "SELECT sum(volume), sum(price), count(*) FROM updated", 16},
  };
  std::vector<std::vector<double>> ours(queries.size()), theirs(queries.size());
  for (int repetition = 0; repetition <= repetitions; ++repetition) {
    for (size_t q = 0; q < queries.size(); ++q) {
      std::string mine, other;
      const double sheaf_s = Seconds([&] { mine = both.Sheaf(queries[q].sql); });
      const double duck_s = Seconds([&] { other = both.Duck(queries[q].sql); });
      if (mine != other) Die(queries[q].sql, "Sheaf says " + mine + "\nDuckDB says " + other);
      if (repetition == 0) continue;  // Page faults and checksums of the first read.
      ours[q].push_back(sheaf_s);
      theirs[q].push_back(duck_s);
    }
  }
  std::printf("{\"rows\": %lld, \"dead_rows_of_updated\": \"%s\"", static_cast<long long>(rows), dead.c_str());
  for (size_t q = 0; q < queries.size(); ++q) {
    const auto [low, high] = std::minmax_element(ours[q].begin(), ours[q].end());
    const double sheaf_s = Median(ours[q]), duck_s = Median(theirs[q]);
    std::printf(
        ", \"%s\": {\"sheaf_ms\": %.2f, \"sheaf_min_ms\": %.2f, \"sheaf_max_ms\": %.2f, \"duckdb_ms\": %.2f, \"times_duckdb\": "
        "%.3f, "
        "\"gb_per_s\": %.2f}",
        queries[q].name, sheaf_s * 1e3, *low * 1e3, *high * 1e3, duck_s * 1e3, sheaf_s / duck_s,
        static_cast<double>(rows * queries[q].bytes) / sheaf_s / 1e9);
  }
  std::printf(", \"updated_over_clean\": %.3f}\n", Median(ours[5]) / Median(ours[4]));
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
