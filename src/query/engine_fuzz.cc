/// Statements of whatever text from a client, on a small database: answered or refused within time and memory, never a crash;
/// what comes is valid, can be written in every form, and after a statement that failed the engine serves the next one.
///
/// The first byte picks the form of the answer; the rest is the statement. The mutator works on words, so that statements stay
/// statements; the words are below, and those of the corpus.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/array.h>
#include <arrow/table.h>

#include "core/check.h"
#include "query/testing.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using sheaf::ErrorKind;
namespace query = sheaf::query;

const query::EngineOptions& Limits() {
  static const query::EngineOptions limits = {.threads = 1, .memory_bytes_max = int64_t{256} << 20, .temp_bytes_max = 0, .timeout_ms = 300};
  return limits;
}
constexpr std::array kWords = {
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "JOIN", "LEFT JOIN", "ASOF JOIN", "ON", "USING", "UNION ALL",
    "WITH", "RECURSIVE", "AS", "IN", "NOT", "NULL", "IS", "AND", "OR", "LIKE", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "END", "OVER",
    "PARTITION BY", "QUALIFY", "DISTINCT", "EXISTS", "INSERT INTO", "OR REPLACE", "OR IGNORE", "VALUES", "RETURNING", "UPDATE", "SET",
    "DELETE FROM", "MERGE INTO", "MATCHED", "CREATE TABLE", "PRIMARY KEY", "ALTER TABLE", "ADD COLUMN", "DROP COLUMN", "RENAME TO",
    "DROP TABLE", "TRUNCATE", "EXPLAIN", "ANALYZE", "DESCRIBE", "SUMMARIZE", "PIVOT", "UNNEST", "COPY", "ATTACH", "PRAGMA", "SAMPLE",
    "traces", "logs", "metrics", "orders", "otel.traces", "sheaf.parts", "sheaf.settings", "information_schema.tables",
    "trace_id", "span_id", "name", "service_name", "duration_ns", "time", "attributes['http.route']", "attributes", "id", "note", "price",
    "count(*)", "sum(duration_ns)", "max(time)", "quantile_cont(duration_ns, 0.9)", "list(name)", "map_keys(attributes)", "now()",
    "row_number()", "range(10)", "generate_series(1, 3)",
    "regexp_matches(name, 'a+')", "to_json(t)", "'5b8efff798038103d269b633813fc60c'",
    "0", "1", "-1", "9223372036854775807", "1e308", "'a'", "''", "TIMESTAMP '2023-11-14 22:13:20'", "INTERVAL 1 DAY", "DATE '2024-02-29'",
    "::VARCHAR", "::BIGINT", "::TRACE_ID", "::DECIMAL(18,6)", "*", "+", "/", "=", "<", "(", ")", "[1:2]", "[", "]", "{'a': 1}",
    ",", ";", "?"};

/// Spans and a keyed table, and an engine over them.
struct Served {
  query::MemoryDatabase database;
  std::unique_ptr<query::Engine> engine;
  uint64_t catalog_version = 0;

  Served() {
    std::mt19937_64 random(7);
    for (const char* name : {"", "memtable"}) {
      database.Add(sheaf::decode::Signal::kTraces, query::RandomSpans(8, 4, 1'700'000'000'000'000'000, &random), name, 16);
    }
    engine = *query::Engine::Open(&database, Limits());
    for (const char* sql : {"CREATE TABLE orders (id BIGINT, note VARCHAR, price DECIMAL(18, 6), placed TIMESTAMP, PRIMARY KEY (id))",
                            "INSERT INTO orders SELECT i, 'note ' || i, i / 4, make_timestamp(i * 1000000) FROM range(40) t(i)"}) {
      SHEAF_CHECK(query::RunAll(engine.get(), {.sql = sql}).ok());
    }
    catalog_version = database.catalog_version();
  }
};

Served* served = nullptr;  // Never destroyed at exit: objects of DuckDB's own are gone then.

/// The statement's answer in a form, as long as it goes.
sheaf::Status Run(query::Engine* engine, const std::string& sql, query::Format format) {
  const auto started = engine->Start({.sql = sql});
  if (!started.ok()) return started.status();
  const auto sink = [](std::string_view) { return sheaf::Status::OK(); };
  SHEAF_ASSIGN_OR_RETURN(const auto writer, query::ResultWriter::Make(format, (*started)->schema(), sink));
  for (;;) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, (*started)->Next());
    if (batch == nullptr) return writer->Finish();
    SHEAF_CHECK(batch->ValidateFull().ok() && batch->schema()->Equals(*(*started)->schema()));
    SHEAF_RETURN_NOT_OK(writer->Write(*batch));
  }
}

/// Where words begin: at blanks that are in no text.
std::vector<std::string> Words(std::string_view sql) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (const char c : sql) {
    quoted ^= c == '\'';
    if (c == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

}  // namespace

/// Here, since it takes seconds on a busy machine and the first input is not to be charged with them.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  served = new Served();
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (size < 2 || random() % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::vector<std::string> words = Words({reinterpret_cast<const char*>(data + 1), size - 1});
  for (int changes = static_cast<int>(random() % 3); changes >= 0; --changes) {
    const auto at = words.begin() + static_cast<int64_t>(random() % words.size());
    const std::string known = random() % 2 == 0 ? words[random() % words.size()] : kWords[random() % kWords.size()];
    switch (random() % 4) {
      case 0: *at = known; break;
      case 1: words.insert(at, known); break;
      case 2: *at += known; break;
      default:
        if (words.size() > 1) words.erase(at);
    }
  }
  std::string sql;
  for (const std::string& word : words) sql += (sql.empty() ? "" : " ") + word;
  const size_t length = std::min(sql.size(), max_size - 1);
  std::memcpy(data + 1, sql.data(), length);
  return length + 1;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::array kFormats = {query::Format::kJson, query::Format::kNdjson, query::Format::kCsv,
                                   query::Format::kArrow, query::Format::kParquet, query::Format::kTable};
  if (size == 0) return 0;
  // Each input finds what the one before found: what is written is refused at the last moment, tables that changed are made anew.
  served->database.FailNextAppend(sheaf::MakeError(ErrorKind::kUnavailable, "nothing is written here"));
  const std::string sql(reinterpret_cast<const char*>(data + 1), size - 1);
  const sheaf::Status answer = Run(served->engine.get(), sql, kFormats[data[0] % kFormats.size()]);
  const ErrorKind kind = answer.ok() ? ErrorKind::kInvalid : sheaf::KindOf(answer);
  SHEAF_CHECK(kind != ErrorKind::kCorruption);
  if (kind != ErrorKind::kInvalid && kind != ErrorKind::kDenied) {  // Those were refused before they did anything.
    const auto next = query::RunAll(served->engine.get(), {.sql = "SELECT count(*) FROM traces"});
    SHEAF_CHECK(next.ok() && (*next)->num_rows() == 1);
  }
  if (served->catalog_version != served->database.catalog_version()) delete std::exchange(served, new Served());
  return 0;
}
