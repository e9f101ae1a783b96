/// Random filters, pushed into the scan, against the same filters over a copy of the rows that DuckDB holds itself.

#include <cstdlib>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

constexpr int64_t kStart = 1'700'000'000'000'000'000;

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  std::string Condition(int depth) {
    if (depth > 0 && Chance(2)) {
      return fmt::format("({} {} {})", Condition(depth - 1), Chance(2) ? "AND" : "OR", Condition(depth - 1));
    }
    if (depth > 0 && Chance(6)) return "NOT (" + Condition(depth - 1) + ")";
    return Comparison();
  }

  std::string Shape(const std::string& condition) {
    switch (Pick(5)) {
      case 0: return fmt::format("SELECT count(*), min(start_time), max(duration_ns), sum(flags) FROM t WHERE {}", condition);
      case 1: return fmt::format("SELECT service_name, kind, count(*) FROM t WHERE {} GROUP BY ALL ORDER BY ALL", condition);
      case 2:
        return fmt::format("SELECT span_id, name, attributes['http.route'] FROM t WHERE {} ORDER BY span_id LIMIT {}", condition,
                           1 + Pick(50));
      case 3:
        return fmt::format("SELECT start_time, span_id, attributes FROM t WHERE {} ORDER BY start_time {}, span_id LIMIT {}",
                           condition, Chance(2) ? "DESC" : "ASC", 1 + Pick(20));
      default: return fmt::format("SELECT count(*), count(DISTINCT a.trace_id) FROM t a JOIN t b ON a.span_id = b.parent_span_id "
                                  "WHERE a.duration_ns > {} AND b.status_code = 'ERROR'", Pick(500'000'000));
    }
  }

 private:
  std::string Comparison() {
    switch (Pick(9)) {
      case 0: return fmt::format("start_time {} make_timestamp_ns({})", Operator(), kStart + Pick(4000) * 1'000'000'000);
      case 1: return fmt::format("duration_ns {} {}", Operator(), Pick(500'000'000));
      case 2: return fmt::format("service_name {} '{}'", Operator(), Word({"frontend", "cart", "payment", "zzz", ""}));
      case 3: return fmt::format("name IN ('{}', '{}')", Word({"GET /", "SELECT"}), Word({"publish", "none"}));
      case 4: return fmt::format("attributes['http.route'] {} '{}'", Operator(), Word({"/cart", "/other", "/a"}));
      case 5: return fmt::format("parent_span_id IS {}NULL", Chance(2) ? "NOT " : "");
      case 6: return fmt::format("kind LIKE '{}%'", Word({"S", "C", "PRO", "X"}));
      case 7: return fmt::format("trace_id {} (SELECT {}(trace_id) FROM t)", Operator(), Chance(2) ? "min" : "max");
      default: return fmt::format("start_time BETWEEN make_timestamp_ns({}) AND make_timestamp_ns({})", kStart + Pick(2000) * 1'000'000'000,
                                  kStart + Pick(4000) * 1'000'000'000);
    }
  }
  const char* Operator() { return Word({"=", "<>", "<", "<=", ">", ">="}); }
  const char* Word(std::initializer_list<const char*> words) { return words.begin()[Pick(static_cast<int64_t>(words.size()))]; }
  bool Chance(int64_t one_in) { return Pick(one_in) == 0; }
  int64_t Pick(int64_t below) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(below)); }

  std::mt19937_64 random_;
};

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

TEST(Differential, PushedFiltersAnswerAsDuckDbItselfDoes) {
  const char* given = std::getenv("SHEAF_QUERY_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(fmt::format("replay: SHEAF_QUERY_SEED={} query_test --gtest_filter=Differential.*", seed));
  std::mt19937_64 random(seed);
  MemoryDatabase database;
  for (int part = 0; part < 4; ++part) {
    database.Add(decode::Signal::kTraces, RandomSpans(100, 4, kStart + part * 1'000'000'000'000, &random), part == 3 ? "memtable" : "", 64);
  }
  auto engine = Engine::Open(&database, {.threads = 2});
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  ASSERT_TRUE(
      RunAll(engine->get(), {.sql = "CREATE TABLE scratch.main.copy AS SELECT * FROM otel.traces; SELECT 1", .trusted = true})
          .ok());
  Generator generator(seed);
  for (int i = 0; i < 150; ++i) {
    const std::string sql = generator.Shape(generator.Condition(2));
    const auto run = [&](const std::string& table) {
      auto text =
          RunToText(engine->get(),
                    {.sql = Replace(Replace(sql, "FROM t", "FROM " + table), "JOIN t ", "JOIN " + table + " "), .trusted = true},
                    Format::kNdjson);
      return text.ok() ? *text : text.status().ToString();
    };
    ASSERT_EQ(run("otel.traces"), run("scratch.main.copy")) << sql;
  }
}

}  // namespace
}  // namespace sheaf::query
