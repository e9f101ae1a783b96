#include <map>
#include <random>
#include <vector>

#include <arrow/builder.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/few_rows.h"
#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kStart = 1'700'000'000'000'000'000;  // 2023-11-14 22:13:20 UTC
constexpr int64_t kHour = 3'600'000'000'000;
constexpr int kParts = 6;

/// Six parts an hour apart and a memtable chunk, with 200 traces of 5 spans each, in granules of 100 rows.
class PruningTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937_64 random(20261121);
    for (int part = 0; part < kParts; ++part) {
      database_.Add(decode::Signal::kTraces, RandomSpans(200, 5, kStart + part * kHour, &random), "", 100);
    }
    database_.Add(decode::Signal::kTraces, RandomSpans(200, 5, kStart + kParts * kHour, &random), "memtable", 100);
    auto engine = Engine::Open(&database_, {.threads = 2});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  std::string Ndjson(const std::string& sql) {
    auto text = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson, &stats_);
    return text.ok() ? *text : text.status().ToString();
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
  QueryStats stats_;
};

TEST_F(PruningTest, TimeRangeReadsOnePart) {
  EXPECT_EQ(
      Ndjson(
          "SELECT count(name) AS n FROM traces WHERE start_time >= '2023-11-15 00:13:20' AND start_time < '2023-11-15 00:14:20'"),
      "{\"n\":300}\n");
  EXPECT_EQ(stats_.parts, kParts);
  EXPECT_EQ(stats_.parts_pruned, kParts - 1);
  EXPECT_LE(stats_.rows_scanned, 1000);
}

TEST_F(PruningTest, FiltersThatSomeGranulesPassAsAWhole) {
  const auto sums = [&](const std::string& time, const std::string& condition) {
    std::string sql =
        "SELECT count(*) AS n, sum(duration_ns) AS d, count(DISTINCT name) AS names, min(start_time) AS a, max(start_time) AS b, "
        "count(parent_span_id) AS parents FROM traces WHERE " + condition;
    for (size_t at; (at = sql.find('@')) != std::string::npos;) sql.replace(at, 1, time);
    return Ndjson(sql);
  };
  // Each begins and ends in the middle of a granule; the last two are on columns with NULLs and on the numbers of rows.
  for (const std::string condition : {
           "@ >= '2023-11-14 22:15:03'",
           "@ >= '2023-11-14 22:15:03' AND @ < '2023-11-15 03:14:31.5'",
           "@ < '2023-11-15 03:14:31' AND duration_ns > 1000",
           "@ <> '2023-11-15 00:14:21' AND name LIKE '%e%'",
           "@ >= '2023-11-14 22:15:03' AND parent_span_id >= '0000000000000000'",
           "@ >= '2023-11-14 22:15:03' AND rowid > 20",
       }) {
    const std::string pushed = sums("start_time", condition);
    EXPECT_THAT(pushed, HasSubstr("{\"n\":")) << condition;
    EXPECT_EQ(pushed, sums("(start_time + INTERVAL 0 seconds)", condition)) << condition;
  }
}

TEST_F(PruningTest, TraceIdIsLookedUp) {
  const std::string id =
      Ndjson("SELECT trace_id::VARCHAR AS id FROM traces ORDER BY start_time LIMIT 1 OFFSET 2500").substr(7, 32);
  EXPECT_THAT(Ndjson("SELECT count(name) AS n FROM traces WHERE trace_id = '" + id + "'"), HasSubstr("{\"n\":5}"));
  EXPECT_EQ(stats_.parts_pruned, kParts - 1);
  EXPECT_LE(stats_.granules - stats_.granules_pruned, 3 + 10)
      << "up to three of the part, and the memtable's ten, which have no index";
}

TEST_F(PruningTest, ExplainAnalyzeSaysWhatWasPruned) {
  const std::string plan = Ndjson("EXPLAIN ANALYZE SELECT count(name) FROM traces WHERE start_time < '2023-11-14 22:14:20'");
  EXPECT_THAT(plan, HasSubstr("pruned 5 of 6 parts"));
  EXPECT_THAT(plan, HasSubstr("row groups"));
  EXPECT_THAT(plan, HasSubstr("Bytes read"));
  EXPECT_THAT(Ndjson("EXPLAIN ANALYZE SELECT name FROM find_trace('4bf92f3577b34da6a3ce929d0e0e4736')"), HasSubstr("trace_id"));
}

TEST_F(PruningTest, AnalysesReadThePartsOfTheirRange) {
  // The third part's hour. Arguments are constants, parameters' values or expressions of these: each prunes as a filter does.
  const std::string range = "'2023-11-15 00:13:20', TIMESTAMP '2023-11-15 01:13:20'";
  const std::vector<std::string> calls = {
      "slow_operations(" + range + ", 0)", "error_rate(" + range + ")", "latency_series(" + range + ", '5 minutes')",
      "latency_series('2023-11-15 00:13:20', TIMESTAMP '2023-11-15 00:13:20' + INTERVAL 1 hour, INTERVAL 1 minute)"};
  for (const std::string& call : calls) {
    EXPECT_THAT(Ndjson("SELECT sum(count) AS n FROM " + call), HasSubstr("{\"n\":1000}")) << call;
    EXPECT_EQ(stats_.parts, kParts) << call;
    EXPECT_EQ(stats_.parts_pruned, kParts - 1) << call;
    EXPECT_LE(stats_.rows_scanned, 1000) << call;
    EXPECT_THAT(Ndjson("EXPLAIN SELECT * FROM " + call), HasSubstr("start_time>=")) << call;
    EXPECT_THAT(Ndjson("EXPLAIN SELECT * FROM " + call), ::testing::Not(HasSubstr("check_argument"))) << call;
  }
  EXPECT_THAT(Ndjson("SELECT sum(call_count) > 0 AS some FROM service_graph(" + range + ")"), HasSubstr("true"));
  EXPECT_EQ(stats_.parts, 2 * kParts) << "parents and children are two scans";
  EXPECT_EQ(stats_.parts_pruned, 2 * (kParts - 1));
  EXPECT_LE(stats_.rows_scanned, 2000);

  auto text = RunToText(engine_.get(),
                        {.sql = "SELECT sum(count) AS n FROM error_rate(?, ?)",
                         .parameters = {std::string("2023-11-15 00:13:20"), std::string("2023-11-15 01:13:20")}},
                        Format::kNdjson, &stats_);
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  EXPECT_EQ(*text, "{\"n\":1000}\n");
  EXPECT_EQ(stats_.parts_pruned, kParts - 1);
  const Status refused = RunAll(engine_.get(), {.sql = "SELECT * FROM error_rate(?, ?)",
                                                .parameters = {std::string("2030-01-02"), std::string("2030-01-01")}}).status();
  EXPECT_THAT(refused.message(), HasSubstr("error_rate: from must be"));
}

TEST_F(PruningTest, AnalysesOfTradesReadTheChunksOfTheirRange) {
  database_.AddTradingTables();
  for (int hour = 10; hour < 16; ++hour) {
    const std::string time = "TIMESTAMP '2026-01-01 " + std::to_string(hour) + ":00:00' + INTERVAL 1 second * i";
    Ndjson("INSERT INTO trading.trades SELECT i::VARCHAR, 'o', 'p', 'u' || i % 3, 'X', 'BUY', 'OPEN', 10 + i % 7, 1, " + time +
           " FROM range(100) r(i)");
    Ndjson("INSERT INTO trading.orders (order_id, user_id, volume, created_at) SELECT '" + std::to_string(hour) +
           "-' || i, 'u' || i % 3, 1, " + time + " FROM range(100) r(i)");
  }
  EXPECT_EQ(Ndjson("SELECT sum(volume)::BIGINT AS n FROM market_analysis('2026-01-01 12:00:00', '2026-01-01 13:00:00', '1 minute')"),
            "{\"n\":100}\n");
  EXPECT_EQ(stats_.rows_scanned, 100);
  EXPECT_EQ(Ndjson("SELECT sum(order_count)::BIGINT AS orders, sum(trade_count)::BIGINT AS trades "
                   "FROM user_statistics('2026-01-01 12:00:00', '2026-01-01 13:00:00')"),
            "{\"orders\":100,\"trades\":100}\n");
  EXPECT_EQ(stats_.rows_scanned, 200);
  EXPECT_EQ(Ndjson("SELECT sum(trade_count)::BIGINT AS n FROM profit_and_loss('2026-01-01 12:00:00', '2026-01-01 13:00:00')"),
            "{\"n\":100}\n");
  EXPECT_EQ(stats_.rows_scanned, 2 * 300) << "what was opened before the range, and the last prices; nothing behind its end";
  EXPECT_EQ(Ndjson("SELECT DISTINCT user_id AS u FROM profit_and_loss('2026-01-01', '2026-01-02', for_user := 'u1')"), "{\"u\":\"u1\"}\n");
}

TEST_F(PruningTest, CountComesFromMetadata) {
  EXPECT_EQ(Ndjson("SELECT count(*) AS n FROM traces"), "{\"n\":7000}\n");
  EXPECT_EQ(stats_.rows_scanned, 0);
}

TEST_F(PruningTest, LeastAndGreatestComeFromMetadata) {
  const std::string scanned = Ndjson("SELECT min(start_time + INTERVAL 0 seconds)::VARCHAR AS a, max(duration_ns + 0) AS b FROM traces");
  EXPECT_GT(stats_.rows_scanned, 0);
  EXPECT_EQ(Ndjson("SELECT min(start_time)::VARCHAR AS a, max(duration_ns) AS b FROM traces"), scanned);
  EXPECT_EQ(stats_.rows_scanned, 0);
}

TEST_F(PruningTest, TopNByTimeReadsLittle) {
  EXPECT_THAT(Ndjson("SELECT name, attributes, start_time FROM traces ORDER BY start_time DESC LIMIT 3"),
              HasSubstr("2023-11-15T04:16:39"));
  EXPECT_LT(stats_.rows_scanned, 3500);
}

TEST_F(PruningTest, JoinKeysPrune) {
  EXPECT_THAT(Ndjson("SELECT count(*) AS n FROM traces t JOIN (SELECT trace_id FROM traces WHERE start_time < '2023-11-14 "
                     "22:13:21') s USING (trace_id)"),
              HasSubstr("{\"n\":25}"));
  EXPECT_LT(stats_.rows_scanned, 14'000);
}

TEST_F(PruningTest, EqualityOnTextPrunesByZone) {
  EXPECT_EQ(Ndjson("SELECT count(trace_id) AS n FROM traces WHERE service_name = 'zzz'"), "{\"n\":0}\n");
  EXPECT_EQ(stats_.rows_scanned, 0);
}

/// Notes which granules are announced and read, and how.
class Watched : public columns::GranuleSource, public columns::FewRowsSource {
 public:
  struct Notes {
    Mutex mutex;
    std::map<int, int> announced SHEAF_GUARDED_BY(mutex), read SHEAF_GUARDED_BY(mutex);
    std::vector<int> columns SHEAF_GUARDED_BY(mutex);  // Of the last announcement.
    std::map<int, int> few_rows SHEAF_GUARDED_BY(mutex);
  };
  Watched(std::shared_ptr<const columns::GranuleSource> source, Notes* notes) : source_(std::move(source)), notes_(notes) {}

  const std::shared_ptr<arrow::Schema>& schema() const override { return source_->schema(); }
  const std::string& name() const override { return source_->name(); }
  uint64_t ordinal() const override { return source_->ordinal(); }
  int64_t rows() const override { return source_->rows(); }
  Lsn min_lsn() const override { return source_->min_lsn(); }
  Lsn max_lsn() const override { return source_->max_lsn(); }
  int num_granules() const override { return source_->num_granules(); }
  int64_t granule_rows(int granule) const override { return source_->granule_rows(granule); }
  const columns::Zone* source_zone(int column) const override { return source_->source_zone(column); }
  const columns::Zone* granule_zone(int granule, int column) const override { return source_->granule_zone(granule, column); }
  bool has_filter(int) const override { return false; }
  Status FindGranules(int, std::string_view, std::vector<int>*) const override { return Status::OK(); }
  int64_t granule_bytes(int granule, const std::vector<int>& columns) const override {
    return source_->granule_bytes(granule, columns);
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const override {
    MutexLock lock(&notes_->mutex);
    ++notes_->read[granule];
    return source_->Read(granule, columns);
  }
  Result<std::shared_ptr<arrow::RecordBatch>> ReadRows(int granule, const std::vector<int>& columns,
                                                       std::span<const int64_t>) const override {
    MutexLock lock(&notes_->mutex);
    ++notes_->few_rows[granule];
    return source_->Read(granule, columns);
  }
  void ReadAhead(int granule, const std::vector<int>& columns) const override {
    MutexLock lock(&notes_->mutex);
    ++notes_->announced[granule];
    notes_->columns = columns;
  }

 private:
  const std::shared_ptr<const columns::GranuleSource> source_;
  Notes* const notes_;
};

TEST(ReadAhead, EachGranuleButTheFirstIsAnnouncedOnce) {
  MemoryDatabase database;
  auto schema =
      arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::int64()), arrow::field("c", arrow::int64())});
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < 2000; ++i) ASSERT_TRUE(builder.Append(i).ok());
  const auto values = *builder.Finish();
  Watched::Notes notes;
  database.AddSource(
      database.AddTable("main", "t", schema),
      std::make_shared<Watched>(
          MakeMemorySource("part", 1, arrow::RecordBatch::Make(schema, 2000, {values, values, values}), 100, {}), &notes));
  auto engine = *Engine::Open(&database, {.threads = 1, .read_ahead_granules = 3});
  ASSERT_TRUE(RunToText(engine.get(), {.sql = "SELECT sum(a + c) FROM t"}, Format::kNdjson).ok());
  {
    MutexLock lock(&notes.mutex);
    EXPECT_EQ(notes.announced.size(), 19u);
    EXPECT_FALSE(notes.announced.contains(0));
    for (const auto& [granule, times] : notes.announced) EXPECT_EQ(times, 1) << granule;
    EXPECT_EQ(notes.columns.size(), 2u);
    notes.announced.clear();
  }
  ASSERT_TRUE(RunToText(engine.get(), {.sql = "SELECT sum(a + c) FROM t WHERE b % 7 = 0 AND b < 500"}, Format::kNdjson).ok());
  {
    MutexLock lock(&notes.mutex);
    EXPECT_EQ(notes.announced.size(), 4u) << "five granules are left by their zones";
    notes.announced.clear();
  }
  engine = *Engine::Open(&database, {.threads = 1, .read_ahead_granules = 0});
  ASSERT_TRUE(RunToText(engine.get(), {.sql = "SELECT sum(a + c) FROM t"}, Format::kNdjson).ok());
  MutexLock lock(&notes.mutex);
  EXPECT_TRUE(notes.announced.empty());
}

/// A granule is many chunks of rows: asking for a few rows in each of them took longer than reading the granule once.
TEST(FewRows, AreAskedForOneByOneOnlyWhereTheyAreFewInAGranule) {
  MemoryDatabase database;
  const auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::int64())});
  arrow::Int64Builder a, b;
  for (int64_t i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(a.Append(i).ok());
    ASSERT_TRUE(b.Append(i * 7919 % 10'000).ok());
  }
  Watched::Notes notes;
  const auto batch = arrow::RecordBatch::Make(schema, 20'000, {*a.Finish(), *b.Finish()});
  database.AddSource(database.AddTable("main", "t", schema),
                     std::make_shared<Watched>(MakeMemorySource("part", 1, batch, 20'000, {}), &notes));
  const auto engine = *Engine::Open(&database, {.threads = 1});
  EXPECT_EQ(*RunToText(engine.get(), {.sql = "SELECT count(a) AS n FROM t WHERE b < 1000"}, Format::kNdjson), "{\"n\":2000}\n");
  {
    MutexLock lock(&notes.mutex);
    EXPECT_TRUE(notes.few_rows.empty()) << "two hundred in each chunk";
    EXPECT_EQ(notes.read[0], 2) << "the filter's column and the other one, once each";
    notes.read.clear();
  }
  EXPECT_EQ(*RunToText(engine.get(), {.sql = "SELECT sum(a) AS s FROM t WHERE b = 7919"}, Format::kNdjson), "{\"s\":10002}\n");
  MutexLock lock(&notes.mutex);
  EXPECT_EQ(notes.few_rows[0], 2) << "one row in each of two chunks";
  EXPECT_EQ(notes.read[0], 1);
}

}  // namespace
}  // namespace sheaf::query
