#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

class LockdownTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = Engine::Open(&database_, {.threads = 1});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

/// Everything that writes, reads files, reaches the network, changes settings or tells about the server.
constexpr const char* kRefused[] = {
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE VIEW temp.v AS SELECT 1",
    "CREATE VIEW v AS SELECT * FROM read_text('/etc/passwd')",
    "CREATE TEMP MACRO m(a) AS a",
    "CREATE MACRO temp.m(a) AS a",
    "CREATE MACRO m(a) AS getenv(a)",
    "CREATE MACRO m(a) AS TABLE SELECT * FROM read_text(a)",
    "CREATE MACRO m(a := getenv('HOME')) AS a",
    "CREATE SCHEMA s",
    "CREATE TEMP TABLE t(a INT)",
    "CREATE SECRET (TYPE s3)",
    "CREATE TYPE e AS ENUM ('a')",
    "CREATE SEQUENCE s",
    "CREATE TABLE temp.t(a INT)",
    "CREATE TABLE memory.main.t(a INT)",
    "CREATE TABLE system.t AS SELECT 1",
    "CREATE TABLE sheaf.t(a INT)",
    "DROP VIEW otel.metrics",
    "DROP SCHEMA otel",
    "COMMENT ON TABLE otel.traces IS 'x'",
    "INSERT INTO temp.t VALUES (1)",
    "INSERT INTO otel.traces(name) VALUES ('a')",
    "UPDATE otel.traces SET name = 'a'",
    "DELETE FROM otel.traces",
    "TRUNCATE otel.traces",
    "DELETE FROM otel.traces USING read_csv('/etc/passwd') f WHERE true",
    "UPDATE otel.traces SET name = f.content FROM read_text('/etc/passwd') f",
    "WITH a AS (SELECT * FROM read_text('/etc/passwd')) INSERT INTO otel.traces(name) SELECT content FROM a",
    "INSERT INTO otel.traces(name) VALUES ('a') ON CONFLICT (trace_id) DO UPDATE SET name = getenv('HOME')",
    "COPY otel.traces TO '/tmp/x.csv'",
    "COPY (SELECT 1) TO '/tmp/x.parquet'",
    "COPY otel.traces FROM '/tmp/x.csv'",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "ATTACH '/tmp/x.db'",
    "ATTACH ':memory:' AS m",
    "DETACH sheaf_db",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '/tmp/x.duckdb_extension'",
    "SET threads = 1",
    "SET search_path = 'main'",
    "SET VARIABLE a = 1",
    "RESET threads",
    "PRAGMA threads = 1",
    "PRAGMA enable_profiling",
    "PRAGMA database_size",
    "CALL pragma_version()",
    "CALL enable_logging()",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "BEGIN",
    "COMMIT",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE otel.traces",
    "CREATE TABLE t(a INT); INSERT INTO t VALUES (1)",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_parquet('/tmp/x.parquet')",
    "SELECT * FROM read_json('/tmp/x.json')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'x.csv'",
    "SELECT * FROM 'x.parquet'",
    "FROM 'http://127.0.0.1/x.csv'",
    "SELECT * FROM parquet_metadata('/tmp/x.parquet')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('a', 's3')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_extensions()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('traces')",
    "SELECT * FROM json_execute_serialized_sql('{}')",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM pragma_user_agent()",
    "SELECT getenv('HOME')",
    "SELECT error('x')",
    "SELECT check_argument(false, 'x')",
    "SELECT current_setting('temp_directory')",
    "SELECT json_serialize_plan('SELECT 1')",
    "SELECT (SELECT count(*) FROM read_csv('/etc/passwd'))",
    "SELECT 1 WHERE EXISTS (FROM glob('/etc/*'))",
    "WITH a AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM a",
    "WITH a AS MATERIALIZED (SELECT getenv('HOME')) SELECT * FROM a",
    "SELECT 1 UNION ALL SELECT count(*) FROM read_csv('/etc/passwd')",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM glob('*')))",
    "SELECT * FROM traces ORDER BY (SELECT count(*) FROM glob('*'))",
    "SELECT * FROM traces LIMIT (SELECT count(*) FROM glob('*'))",
    "SELECT name FROM traces GROUP BY name HAVING getenv('HOME') = ''",
    "SELECT list_transform([1], x -> getenv('HOME'))",
    "SELECT [getenv(a) for a in ['HOME']]",
    "SELECT * FROM traces JOIN glob('*') g ON g.file = name",
    "SELECT * FROM traces, LATERAL (SELECT getenv(name)) t",
    "SELECT * FROM range(CAST(getenv('HOME') AS INT))",
    "VALUES (getenv('HOME'))",
    "PIVOT (FROM glob('*')) ON file",
    "EXPLAIN SELECT * FROM read_csv('/etc/passwd')",
    "EXPLAIN ANALYZE SELECT * FROM read_csv('/etc/passwd')",
    "EXPLAIN ANALYZE INSERT INTO otel.traces(name) VALUES ('a')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x.csv'",
    "DESCRIBE SELECT * FROM read_csv('/etc/passwd')",
    "SUMMARIZE SELECT * FROM read_csv('/etc/passwd')",
    "SUMMARIZE 'x.csv'",
    "DESCRIBE 'x.parquet'",
};

constexpr const char* kAllowed[] = {
    "SELECT 1",
    "select name from traces where name = '/etc/passwd'",
    "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
    "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a WHERE x < 5) SELECT * FROM a",
    "VALUES (1), (2)",
    "FROM traces",
    "SELECT * FROM range(3)",
    "SELECT unnest([1, 2])",
    "SELECT * FROM unnest([1, 2])",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SHOW traces",
    "DESCRIBE traces",
    "DESCRIBE SELECT 1",
    "SUMMARIZE traces",
    "PRAGMA table_info('traces')",
    "PRAGMA show_tables",
    "EXPLAIN SELECT * FROM traces",
    "EXPLAIN ANALYZE SELECT * FROM traces",
    "SELECT * FROM information_schema.columns",
    "SELECT * FROM duckdb_tables()",
    "SELECT time_bucket(INTERVAL 1 minute, start_time) AS t, count(*) FROM traces GROUP BY t",
    "SELECT * FROM find_trace('4bf92f3577b34da6a3ce929d0e0e4736')",
    "SELECT * FROM slow_operations('2023-11-14', '2023-11-15', 5)",
    "SELECT * FROM error_rate('2023-11-14', '2023-11-15')",
    "SELECT * FROM service_graph('2023-11-14', '2023-11-15')",
    "SELECT * FROM latency_series('2023-11-14', '2023-11-15', '1 minute')",
    "PIVOT (SELECT 'a' AS k, 1 AS v) ON k IN ('a') USING sum(v)",
    "SELECT quantile_cont(duration_ns, 0.5) OVER (PARTITION BY name) FROM traces",
    "SELECT '{\"a\": 1}'::JSON ->> 'a'",
    "SELECT * FROM sheaf.queries -- a comment; with a semicolon",
    "SELECT 1;",
    "CREATE TABLE t(a INT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS main.u AS SELECT 1 AS a",
    "INSERT INTO t VALUES (1) RETURNING a",
    "INSERT INTO sheaf_db.main.t SELECT * FROM range(3)",
    "EXPLAIN ANALYZE DELETE FROM t WHERE a = 1",
    "DELETE FROM t USING (SELECT 2 AS b) v WHERE v.b = t.a",
    "WITH a AS (SELECT 9 AS b) INSERT INTO t SELECT b FROM a",
    "ALTER TABLE u ADD COLUMN b INT",
    "DROP TABLE t",
};

TEST_F(LockdownTest, ClientsAreRefusedWhatTheyMayNotDo) {
  for (const char* sql : kRefused) {
    const auto result = RunAll(engine_.get(), {.sql = sql});
    ASSERT_FALSE(result.ok()) << sql << " was allowed";
    EXPECT_EQ(KindOf(result.status()), ErrorKind::kDenied) << sql << ": " << result.status().ToString();
  }
}

TEST_F(LockdownTest, ClientsMayReadAndWriteOurTables) {
  for (const char* sql : kAllowed) {
    const auto result = RunAll(engine_.get(), {.sql = sql});
    EXPECT_TRUE(result.ok()) << sql << ": " << result.status().ToString();
  }
}

std::string Repeated(const std::string& what, int times, const std::string& between) {
  std::string all = what;
  for (int i = 1; i < times; ++i) all += between + what;
  return all;
}

TEST_F(LockdownTest, StatementsThatTakeForEverToPlanAreTooLarge) {
  const std::pair<std::string, bool> statements[] = {
      {Repeated("SELECT 1", 1000 - 1, " UNION "), true},
      {Repeated("SELECT 1", 1200, " UNION "), false},
      {"SELECT * FROM (" + Repeated("SELECT 1", 1200, " UNION ALL ") + ")", false},
      {"WITH a AS (" + Repeated("SELECT 1", 1200, " EXCEPT ") + ") SELECT * FROM a", false},
      {"SELECT (SELECT count(*) FROM (" + Repeated("SELECT 1", 1200, " UNION ") + "))", false},
      {"CREATE TABLE t AS " + Repeated("SELECT 1 AS a", 1200, " UNION ALL "), false},
      {"SELECT 1 FROM " + Repeated("range(1)", 65, ", "), false},
      {"SELECT 1 FROM " + Repeated("range(1)", 10, ", "), true},
      {"SELECT 1 FROM traces " + Repeated("NATURAL JOIN traces", 64, " "), false},
      {"SELECT count(*) FROM range(9) WHERE " + Repeated("range <> 3", 4001, " AND "), false},
      {"SELECT count(*) FROM range(9) WHERE " + Repeated("range = 3", 4001, " OR "), false},
      {"SELECT count(*) FROM range(9) WHERE " + Repeated("range = 3", 200, " OR "), true},
      {"SELECT count(*) FROM range(9) WHERE (range < 3" + Repeated(" OR range = 3", 4000, " ") + " OR range = 4)", false},
      {"SELECT '" + Repeated("and", 9000, " ") + "' AS \"" + Repeated("or", 9000, " ") + "\" -- " + Repeated("and", 9000, " "), true},
      {"SELECT /* " + Repeated("and", 9000, " ") + " */ $$" + Repeated("or", 9000, " ") + "$$", true},
      {"SELECT E'\\'" + Repeated("or", 9000, " ") + "'", true},
      {"SELECT 1 FROM range(9) WHERE name'\\' = 1 " + Repeated("AND true", 9000, " "), false},
      {"SELECT $a$" + Repeated("and", 9000, " ") + "$a$ || 'it''s " + Repeated("or", 9000, " ") + "'", true},
      {"SELECT 1 WHERE 5 IN (" + Repeated("7", 5000, ",") + ")", true},
  };
  for (const auto& [sql, allowed] : statements) {
    const auto result = RunAll(engine_.get(), {.sql = sql});
    if (allowed) EXPECT_TRUE(result.ok()) << sql.substr(0, 80) << ": " << result.status().ToString();
    else EXPECT_EQ(KindOf(result.status()), ErrorKind::kTooLarge) << sql.substr(0, 80) << ": " << result.status().ToString();
  }
}

TEST_F(LockdownTest, AChainOfWithsDoesNotDouble) {
  std::string sql = "WITH a0 AS (SELECT 1 AS x)";
  for (int i = 1; i <= 40; ++i) {
    sql += ", a" + std::to_string(i) + " AS NOT MATERIALIZED (SELECT l.x FROM a" + std::to_string(i - 1) + " l, a" +
           std::to_string(i - 1) + " r)";
  }
  const auto result = RunAll(engine_.get(), {.sql = sql + " SELECT count(*) FROM a40"});
  EXPECT_TRUE(result.ok()) << result.status().ToString();
}

TEST_F(LockdownTest, OwnersTablesAreOutOfClientsReach) {
  ASSERT_TRUE(RunAll(engine_.get(), {.sql = "CREATE TABLE scratch.main.secret AS SELECT 1 AS a; SELECT * FROM scratch.main.secret",
                                     .trusted = true})
                  .ok());
  EXPECT_FALSE(RunAll(engine_.get(), {.sql = "SELECT * FROM scratch.main.secret"}).ok());
}

}  // namespace
}  // namespace sheaf::query
