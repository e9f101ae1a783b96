/// What is known of statements before they run, and parameters of any type.

#include "query/statement_shape.h"

#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/testing.h"

namespace sheaf::query {
namespace {

using Answer = StatementShape::Answer;
using testing::HasSubstr;

class StatementShapeTest : public testing::Test {
 protected:
  void SetUp() override {
    engine_ =
        Engine::Open(&database_, {.threads = 2, .result_cache_bytes_max = 1 << 20, .result_cache_work_min_us = 0}).ValueOrDie();
    ASSERT_TRUE(
        RunAll(engine_.get(), {.sql = "CREATE TABLE t (id BIGINT PRIMARY KEY, seen TIMESTAMP, price DECIMAL(18, 6))"}).ok());
  }
  StatementShape Describe(const std::string& sql) {
    auto shape = engine_->Describe({.sql = sql});
    EXPECT_TRUE(shape.ok()) << sql << ": " << shape.status().ToString();
    return shape.ok() ? *shape : StatementShape{.result = arrow::schema({}), .parameters = arrow::schema({})};
  }

  MemoryDatabase database_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(StatementShapeTest, AQueryHasTheSchemaThatItsRowsHave) {
  for (const std::string sql : {"SELECT * FROM t", "SELECT trace_id, attributes FROM otel.traces", "SHOW TABLES",
                                "EXPLAIN SELECT 1", "SELECT 1::HUGEINT AS h, [1, 2] AS l, {'a': DATE '2026-01-01'} AS s"}) {
    const StatementShape shape = Describe(sql);
    EXPECT_EQ(shape.answer, Answer::kRows) << sql;
    const auto rows = RunAll(engine_.get(), {.sql = sql});
    ASSERT_TRUE(rows.ok()) << sql;
    EXPECT_TRUE(shape.result->Equals(*(*rows)->schema(), true)) << sql << shape.result->ToString();
    EXPECT_EQ(shape.parameters->num_fields(), 0);
  }
  EXPECT_TRUE(Describe("SELECT * FROM t").reads_only);
}

TEST_F(StatementShapeTest, NothingRunsAndWritesTellThatTheyDoNotGiveRows) {
  EXPECT_EQ(Describe("INSERT INTO t VALUES (1, now(), 2)").answer, Answer::kChangedRows);
  EXPECT_EQ(Describe("DELETE FROM t").answer, Answer::kChangedRows);
  EXPECT_EQ(Describe("UPDATE t SET price = 1 RETURNING id").answer, Answer::kRows);
  EXPECT_FALSE(Describe("UPDATE t SET price = 1 RETURNING id").reads_only);
  EXPECT_EQ(Describe("CREATE TABLE other (id BIGINT)").answer, Answer::kNothing);
  EXPECT_EQ(Describe("CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM t").answer, Answer::kNothing);
  EXPECT_EQ(RunToText(engine_.get(), {.sql = "SELECT count(*) AS n FROM t"}, Format::kNdjson).ValueOrDie(), "{\"n\":0}\n");
  EXPECT_FALSE(engine_->Describe({.sql = "SELECT * FROM other"}).ok());
  EXPECT_FALSE(engine_->Describe({.sql = "SELECT * FROM v"}).ok());
}

TEST_F(StatementShapeTest, ParametersHaveTheTypesThatTheyAreComparedWith) {
  const StatementShape shape = Describe("SELECT id FROM t WHERE seen > $2 AND id = $1 AND price < $3");
  ASSERT_EQ(shape.parameters->num_fields(), 3);
  EXPECT_EQ(shape.parameters->field(0)->type()->id(), arrow::Type::INT64);
  EXPECT_EQ(shape.parameters->field(1)->type()->id(), arrow::Type::TIMESTAMP);
  EXPECT_EQ(shape.parameters->field(2)->type()->id(), arrow::Type::DECIMAL128);
  EXPECT_FALSE(shape.result_open);
  const StatementShape open = Describe("SELECT ?");
  EXPECT_TRUE(open.result_open);
  EXPECT_EQ(open.parameters->num_fields(), 1);
  EXPECT_EQ(open.parameters->field(0)->type()->id(), arrow::Type::NA);
}

TEST_F(StatementShapeTest, ErrorsAreThoseOfRunningIt) {
  EXPECT_EQ(KindOf(engine_->Describe({.sql = "SELEC 1"}).status()), ErrorKind::kInvalid);
  EXPECT_THAT(engine_->Describe({.sql = "SELECT pric FROM t"}).status().message(), HasSubstr("price"));
  EXPECT_EQ(KindOf(engine_->Describe({.sql = "COPY t TO '/tmp/x'"}).status()), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(engine_->Describe({.sql = "SELECT 1; SELECT 2"}).status()), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(engine_->Describe({.sql = std::string((1 << 20) + 1, ' ')}).status()), ErrorKind::kTooLarge);
}

TEST_F(StatementShapeTest, WhatWasOnlyDescribedIsLoggedWhereItFailed) {
  const auto logged = [&](const std::string& text) {
    return RunToText(engine_.get(),
                     {.sql = "SELECT state FROM sheaf.queries WHERE sql LIKE '" + text + "%' AND sql NOT LIKE '%queries%'"},
                     Format::kCsv);
  };
  Describe("SELECT 12345");
  EXPECT_EQ(logged("SELECT 12345").ValueOrDie(), "state\r\n");
  EXPECT_FALSE(engine_->Describe({.sql = "SELEC 12345"}).ok());
  EXPECT_EQ(logged("SELEC 12345").ValueOrDie(), "state\r\ninvalid\r\n");
}

TEST_F(StatementShapeTest, ScalarsOfArrowAreParameters) {
  const auto run = [&](const std::shared_ptr<arrow::Scalar>& scalar) {
    return RunToText(engine_.get(), {.sql = "SELECT $1::VARCHAR AS v, typeof($1) AS t", .parameters = {scalar}}, Format::kNdjson);
  };
  EXPECT_EQ(run(std::make_shared<arrow::Date32Scalar>(1)).ValueOrDie(), "{\"v\":\"1970-01-02\",\"t\":\"DATE\"}\n");
  EXPECT_EQ(run(std::make_shared<arrow::UInt64Scalar>(UINT64_MAX)).ValueOrDie(),
            "{\"v\":\"18446744073709551615\",\"t\":\"UBIGINT\"}\n");
  EXPECT_EQ(run(arrow::MakeNullScalar(arrow::int32())).ValueOrDie(), "{\"v\":null,\"t\":\"INTEGER\"}\n");
  EXPECT_EQ(run(std::make_shared<arrow::Date32Scalar>(2)).ValueOrDie(), "{\"v\":\"1970-01-03\",\"t\":\"DATE\"}\n")
      << "no kept answer";
  EXPECT_EQ(KindOf(run(arrow::MakeNullScalar(arrow::duration(arrow::TimeUnit::SECOND))).status()), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace sheaf::query
