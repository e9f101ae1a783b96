#include "access/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/engine.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using access::Role;
using ::testing::HasSubstr;

class StatementRightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ =
        Engine::Open(&database_, {.threads = 1, .result_cache_bytes_max = 1 << 20, .result_cache_work_min_us = 0}).ValueOrDie();
    for (const char* sql :
         {"CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR)", "INSERT INTO t VALUES (1, 'one')",
          "CREATE VIEW spying AS SELECT sql FROM sheaf.queries", "CREATE MACRO spy() AS TABLE SELECT sql FROM sheaf.queries",
          "CREATE MACRO count_queries() AS (SELECT count(*) FROM sheaf.queries)"}) {
      ASSERT_TRUE(Run(std::nullopt, sql).ok()) << sql;
    }
  }

  static QueryRequest As(const std::string& roles, const std::string& sql) {
    QueryRequest request{.sql = sql};
    request.identity = std::make_shared<const access::Identity>(
        access::Identity{.user = "ada", .roles = access::ParseRoles(roles).ValueOrDie(), .peer = ""});
    return request;
  }

  /// As whoever has that role; none: as somebody whom nothing limits.
  Status Run(std::optional<Role> role, const std::string& sql) {
    return Run(role ? As(RoleName(*role), sql) : QueryRequest{.sql = sql});
  }
  Status Run(const QueryRequest& request) {
    SHEAF_ASSIGN_OR_RETURN(const auto query, engine_->Start(request));
    for (;;) {
      SHEAF_ASSIGN_OR_RETURN(const auto batch, query->Next());
      if (batch == nullptr) return Status::OK();
    }
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(StatementRightsTest, EachStatementTakesTheRoleItTakes) {
  const struct {
    Role least;
    const char* sql;
  } statements[] = {
      {Role::kReader, "SELECT v FROM t"},
      {Role::kReader, "VALUES (1)"},
      {Role::kReader, "SHOW TABLES"},
      {Role::kReader, "SHOW VIEWS"},
      {Role::kReader, "DESCRIBE t"},
      {Role::kReader, "PRAGMA table_info('t')"},
      {Role::kReader, "EXPLAIN ANALYZE SELECT v FROM t"},
      {Role::kReader, "SELECT count(*) FROM otel.traces"},
      {Role::kReader, "SELECT count(*) FROM sheaf.views"},
      {Role::kWriter, "INSERT INTO t VALUES (2, 'two') ON CONFLICT DO NOTHING"},
      {Role::kWriter, "INSERT INTO t VALUES (3, 'three') ON CONFLICT DO NOTHING RETURNING k"},
      {Role::kWriter, "UPDATE t SET v = 'x' WHERE k = 2"},
      {Role::kWriter, "DELETE FROM t WHERE k = 2"},
      {Role::kWriter,
       "MERGE INTO t USING (SELECT 4 AS k, 'four' AS v) AS s ON t.k = s.k WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.v)"},
      {Role::kWriter, "EXPLAIN DELETE FROM t"},
      {Role::kWriter, "EXPLAIN ANALYZE DELETE FROM t WHERE k = 2"},
      {Role::kAdmin, "CREATE TABLE IF NOT EXISTS u (k BIGINT)"},
      {Role::kAdmin, "CREATE OR REPLACE TABLE w AS SELECT 1 AS one"},
      {Role::kAdmin, "ALTER TABLE t ADD COLUMN IF NOT EXISTS more BIGINT"},
      {Role::kAdmin, "CREATE OR REPLACE VIEW seen AS SELECT * FROM t"},
      {Role::kAdmin, "CREATE OR REPLACE MACRO twice(x) AS 2 * x"},
      {Role::kAdmin, "DROP TABLE IF EXISTS u"},
      {Role::kAdmin, "SELECT * FROM sheaf.queries"},
      {Role::kAdmin, "SELECT count(*) FROM sheaf.parts"},
      {Role::kAdmin, "SELECT (SELECT count(*) FROM sheaf.settings)"},
      {Role::kAdmin, "WITH m AS MATERIALIZED (SELECT * FROM sheaf.memory) SELECT count(*) FROM m"},
      {Role::kAdmin, "SELECT v FROM t WHERE EXISTS (SELECT 1 FROM sheaf.queries)"},
      {Role::kAdmin, "EXPLAIN SELECT * FROM sheaf.queries"},
      {Role::kAdmin, "SELECT * FROM spying"},
      {Role::kAdmin, "SELECT * FROM spy()"},
      {Role::kAdmin, "SELECT count_queries()"},
      {Role::kAdmin, "SUMMARIZE sheaf.queries"},
      {Role::kAdmin, "INSERT INTO t (k, v) SELECT id + 100, sql FROM sheaf.queries ON CONFLICT DO NOTHING"},
  };
  for (const auto& [least, sql] : statements) {
    for (const Role role : {Role::kAdmin, Role::kWriter, Role::kReader}) {  // So that a kept answer of one might reach the next.
      const Status done = Run(role, sql);
      if (role >= least) {
        EXPECT_TRUE(done.ok()) << RoleName(role) << ": " << sql << ": " << done.ToString();
      } else {
        ASSERT_FALSE(done.ok()) << RoleName(role) << ": " << sql;
        EXPECT_EQ(KindOf(done), ErrorKind::kDenied) << RoleName(role) << ": " << sql << ": " << done.ToString();
        EXPECT_THAT(done.message(), HasSubstr("user ada has the role")) << sql;
        EXPECT_EQ(KindOf(engine_->Describe(As(RoleName(role), sql)).status()), ErrorKind::kDenied) << RoleName(role) << ": " << sql;
      }
    }
  }
}

TEST_F(StatementRightsTest, ARoleInASchemaHoldsThereAndNowhereElse) {
  ASSERT_TRUE(Run(std::nullopt, "CREATE TABLE trading.notes (k BIGINT PRIMARY KEY, v VARCHAR)").ok());
  ASSERT_TRUE(Run(std::nullopt, "CREATE VIEW main.peek AS SELECT v FROM trading.notes").ok());
  ASSERT_TRUE(Run(std::nullopt, "CREATE MACRO main.peeking() AS TABLE SELECT v FROM trading.notes").ok());
  const struct {
    const char *roles, *sql;
    bool allowed;
  } statements[] = {
      {"reader:main", "SELECT v FROM t", true},
      {"reader:main", "SELECT v FROM trading.notes", false},
      {"reader:main", "SELECT v FROM notes", false},  // As the search path finds it.
      {"reader:main", "SELECT v FROM peek", false},
      {"reader:main", "FROM peeking()", false},
      {"reader:main", "SELECT (SELECT max(v) FROM trading.notes)", false},
      {"reader:main", "DESCRIBE trading.notes", false},
      {"reader:main", "PRAGMA table_info('trading.notes')", false},
      {"reader:main", "EXPLAIN SELECT v FROM trading.notes", false},
      {"reader:main", "SELECT * FROM find_trace('4bf92f3577b34da6a3ce929d0e0e4736')", false},
      {"reader:otel", "SELECT * FROM find_trace('4bf92f3577b34da6a3ce929d0e0e4736')", true},
      {"reader:main", "INSERT INTO t VALUES (7, 'seven')", false},
      {"reader:main", "SELECT count(*) FROM sheaf.views", false},
      {"admin:main", "SELECT count(*) FROM sheaf.parts", false},
      {"writer:main,reader:trading", "SELECT v FROM peek", true},
      {"writer:main,reader:trading", "INSERT INTO t SELECT k + 50, v FROM trading.notes", true},
      {"writer:main,reader:trading", "INSERT INTO trading.notes VALUES (1, 'one')", false},
      {"writer:main,reader:trading", "UPDATE trading.notes SET v = 'x'", false},
      {"writer:main,reader:trading", "DELETE FROM trading.notes", false},
      {"writer:main,reader:trading",
       "MERGE INTO trading.notes AS n USING t ON n.k = t.k WHEN NOT MATCHED THEN INSERT VALUES (t.k, t.v)", false},
      {"writer:main,reader:trading", "CREATE TABLE main.more (k BIGINT)", false},
      {"admin:main", "CREATE TABLE main.more (k BIGINT)", true},
      {"admin:main", "CREATE TABLE trading.more (k BIGINT)", false},
      {"admin:main", "CREATE TABLE trading.more AS SELECT v FROM t", false},
      {"admin:main", "CREATE TABLE main.copied AS SELECT v FROM trading.notes", false},
      {"admin:main", "CREATE VIEW trading.seen AS SELECT 1 AS one", false},
      {"admin:main", "CREATE MACRO trading.twice(x) AS 2 * x", false},
      {"admin:main", "CREATE TABLE main.notes (k BIGINT)", false},  // It would take the place of trading.notes.
      {"admin:main", "CREATE VIEW main.seen AS SELECT v FROM t", false},  // Who may read what it stands for may change.
      {"admin:main", "CREATE OR REPLACE MACRO main.peeking() AS TABLE SELECT 1 AS v", false},
      {"admin:main", "DROP VIEW main.peek", false},
      {"admin:main", "ALTER TABLE trading.notes ADD COLUMN more BIGINT", false},
      {"admin:main", "DROP TABLE trading.notes", false},
      {"admin:main", "CREATE MATERIALIZED VIEW counted AS SELECT v, count(*) AS n FROM trading.notes GROUP BY v", false},
      {"admin:main", "DROP TABLE main.more", true},
      {"reader,writer:trading", "SELECT v FROM t", true},
      {"reader,writer:trading", "INSERT INTO trading.notes VALUES (3, 'three')", true},
      {"reader,writer:trading", "INSERT INTO t VALUES (3, 'three')", false},
  };
  for (const auto& [roles, sql, allowed] : statements) {
    const Status done = Run(As(roles, sql));
    if (allowed) {
      EXPECT_TRUE(done.ok()) << roles << ": " << sql << ": " << done.ToString();
    } else {
      EXPECT_EQ(KindOf(done), ErrorKind::kDenied) << roles << ": " << sql << ": " << done.ToString();
    }
  }
}

TEST_F(StatementRightsTest, MetadataShowsTheSchemasThatOneMayRead) {
  ASSERT_TRUE(Run(std::nullopt, "CREATE TABLE trading.notes (k BIGINT PRIMARY KEY, v VARCHAR)").ok());
  const std::string sql =
      "SELECT string_agg(DISTINCT table_schema, ' ' ORDER BY table_schema) AS s FROM information_schema.columns "
      "WHERE table_catalog = 'sheaf_db'";
  const auto Schemas = [&](const std::string& roles) {
    return RunToText(engine_.get(), As(roles, sql), Format::kNdjson).ValueOrDie();
  };
  EXPECT_EQ(Schemas("reader:main"), "{\"s\":\"main\"}\n");
  EXPECT_EQ(Schemas("reader:main,writer:otel"), "{\"s\":\"main otel\"}\n");
  EXPECT_EQ(Schemas("reader"), "{\"s\":\"main otel trading\"}\n");
  EXPECT_EQ(Schemas("admin"), "{\"s\":\"main otel sheaf trading\"}\n");
  for (const char* asked : {"SHOW ALL TABLES", "SHOW VIEWS", "SELECT table_name FROM duckdb_tables()", "SELECT sql FROM duckdb_views()",
                          "SELECT table_name FROM duckdb_constraints()"}) {
    const std::string shown = RunToText(engine_.get(), As("reader:main", asked), Format::kNdjson).ValueOrDie();
    EXPECT_THAT(shown, ::testing::Not(HasSubstr("notes"))) << asked;
    EXPECT_THAT(shown, ::testing::Not(HasSubstr("traces"))) << asked;
  }
  const Status unknown = Run(As("reader:main", "SELECT * FROM trace"));
  EXPECT_THAT(unknown.message(), ::testing::Not(HasSubstr("traces"))) << "nor do the nearest names";
}

TEST_F(StatementRightsTest, AKeptAnswerIsNotForThoseWhoMayNotReadIt) {
  const std::string sql = "SELECT count(*) AS n FROM t WHERE v LIKE 'o%'";
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Run(As("reader", sql)).ok());
  EXPECT_EQ(KindOf(Run(As("reader:otel", sql))), ErrorKind::kDenied);
  EXPECT_TRUE(Run(As("reader:main", sql)).ok());
  EXPECT_EQ(KindOf(Run(As("reader:otel", sql))), ErrorKind::kDenied);
}

TEST_F(StatementRightsTest, MaterializedViewsTakeAnAdministrator) {
  const std::string create = "CREATE MATERIALIZED VIEW counted AS SELECT v, count(*) AS n FROM t GROUP BY v";
  for (const Role role : {Role::kReader, Role::kWriter}) EXPECT_EQ(KindOf(Run(role, create)), ErrorKind::kDenied);
  for (const Role role : {Role::kReader, Role::kWriter}) {
    for (const char* sql : {"DROP MATERIALIZED VIEW counted", "REFRESH MATERIALIZED VIEW counted"}) {
      EXPECT_EQ(KindOf(Run(role, sql)), ErrorKind::kDenied) << sql;
    }
  }
  // There is none: an administrator gets as far as that.
  EXPECT_EQ(KindOf(Run(Role::kAdmin, "DROP MATERIALIZED VIEW counted")), ErrorKind::kNotFound);
}

TEST_F(StatementRightsTest, WhatIsRefusedChangesNothing) {
  ASSERT_FALSE(Run(Role::kReader, "DELETE FROM t").ok());
  ASSERT_FALSE(Run(Role::kReader, "EXPLAIN ANALYZE DELETE FROM t").ok());
  ASSERT_FALSE(Run(Role::kWriter, "DROP TABLE t").ok());
  EXPECT_EQ(RunToText(engine_.get(), {.sql = "SELECT k, v FROM t"}, Format::kNdjson).ValueOrDie(), "{\"k\":1,\"v\":\"one\"}\n");
}

}  // namespace
}  // namespace sheaf::query
