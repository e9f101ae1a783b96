/// The saved states of views' aggregates: loaded into another table they answer what the first ones do, then and after more rows.

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "duckdb/main/database.hpp"
#include "query/view_state.h"

namespace sheaf::query {
namespace {

/// An aggregate over the columns of RowsSql(), which are called a to g; a constant, if any, is the second argument.
struct Case {
  std::string function;
  std::vector<size_t> columns;                // Of the input, where 0 is the group.
  std::optional<duckdb::Value> constant = std::nullopt;
};

class StateCodecTest : public testing::Test {
 protected:
  using Chunks = std::vector<duckdb::unique_ptr<duckdb::DataChunk>>;

  /// Group, BIGINT, DOUBLE, short and long texts, DECIMAL, TIMESTAMP, few values, BOOLEAN. With NULLs.
  static std::string RowsSql(int seed) {
    return fmt::format(
        "SELECT (h % 37)::INTEGER AS grp, nullif(h % 1000, 7)::BIGINT AS a, nullif((h >> 7) % 100000, 3) / 7.0::DOUBLE AS b, "
        "CASE WHEN h % 11 = 0 THEN NULL WHEN h % 3 = 0 THEN repeat('text', 9) || (h >> 11) % 5000 ELSE 't' || (h >> 13) % 50 END AS c, "
        "((h >> 9) % 1000000 / 100.0)::DECIMAL(12, 2) AS d, make_timestamp((h >> 5)::BIGINT % 1000000000000) AS e, "
        "((h >> 17) % 5)::INTEGER AS f, h % 2 = 0 AS g FROM (SELECT hash(range + {}) AS h FROM range(6000))",
        seed * 100000);
  }

  Chunks Read(const std::string& sql) {
    auto result = connection_.Query(sql);
    if (result->HasError()) throw std::runtime_error(result->GetError());
    types_ = result->types;
    Chunks chunks;
    while (auto chunk = result->Fetch()) {
      if (chunk->size() == 0) break;
      chunks.push_back(std::move(chunk));
    }
    return chunks;
  }

  static ViewPlan PlanOf(const Case& of, size_t groups) {
    ViewPlan plan;
    plan.groups = groups;
    plan.aggregates.push_back({.function = "count_star", .arguments = {}});
    ViewAggregate wanted{.function = of.function, .arguments = {}};
    for (const size_t column : of.columns) wanted.arguments.push_back({.column = column});
    if (of.constant) wanted.arguments.push_back({.column = std::nullopt, .constant = *of.constant});
    plan.aggregates.push_back(wanted);
    if (of.function == "arg_min" || of.function == "arg_max") {  // As PlanView() makes it, where the argument is never NULL.
      plan.aggregates.back().by = 2;
      plan.aggregates.push_back({.function = of.function == "arg_min" ? "min" : "max", .arguments = {{.column = of.columns[1]}}});
    }
    return plan;
  }

  std::unique_ptr<ViewState> Make(const ViewPlan& plan) {
    std::unique_ptr<ViewState> state;
    auto& context = *connection_.context;
    context.RunFunctionInTransaction([&] { state = std::make_unique<ViewState>(context, plan, types_); });
    return state;
  }

  static std::vector<std::string> Rows(ViewState* state) {
    std::vector<std::string> rows;
    const auto all = state->Rows();
    for (auto& chunk : all->Chunks()) {
      for (size_t row = 0; row < chunk.size(); ++row) {
        std::string text;
        for (size_t column = 0; column < chunk.ColumnCount(); ++column) text += chunk.GetValue(column, row).ToString() + "|";
        rows.push_back(text);
      }
    }
    std::sort(rows.begin(), rows.end());
    return rows;
  }

  void Check(const Case& of, size_t groups) {
    SCOPED_TRACE(fmt::format("{}({}) of {} groups", of.function, fmt::join(of.columns, ", "), groups));
    const auto before = Read(RowsSql(1));
    const auto after = Read(RowsSql(2));
    const ViewPlan plan = PlanOf(of, groups);
    const auto state = Make(plan), loaded = Make(plan);
    ASSERT_EQ(state->unsaved(), std::nullopt);
    for (const auto& chunk : before) state->Add(*chunk, Lsn(7));
    ViewState::Cursor cursor(*state);
    duckdb::DataChunk saved;
    while (state->SaveNext(&cursor, &saved)) loaded->Load(saved);
    EXPECT_EQ(Rows(loaded.get()), Rows(state.get()));
    for (const auto& chunk : after) {
      state->Add(*chunk, Lsn(7));
      loaded->Add(*chunk, Lsn(7));
    }
    EXPECT_EQ(Rows(loaded.get()), Rows(state.get())) << "after more rows";
  }

  duckdb::DuckDB database_{nullptr};
  duckdb::Connection connection_{database_};
  duckdb::vector<duckdb::LogicalType> types_;
};

TEST_F(StateCodecTest, LoadedStatesAreThoseSaved) {
  std::vector<Case> cases;
  for (const char* function : {"sum", "avg", "stddev_samp", "var_pop", "fsum", "favg", "kurtosis", "skewness", "product", "min", "max",
                               "approx_count_distinct", "histogram", "median", "mad", "count"}) {
    for (const size_t column : {1, 2}) cases.push_back({function, {column}});
  }
  for (const char* function : {"min", "max", "count", "histogram", "approx_count_distinct"}) {
    for (const size_t column : {3, 4, 5, 6}) cases.push_back({function, {column}});
  }
  for (const char* function : {"sum", "avg", "median"}) cases.push_back({function, {4}});
  for (const char* function : {"corr", "covar_pop", "regr_slope", "regr_r2"}) cases.push_back({function, {1, 2}});
  for (const char* function : {"bool_and", "bool_or", "count_if"}) cases.push_back({function, {7}});
  for (const char* function : {"bit_and", "bit_or", "bit_xor"}) cases.push_back({function, {1}});
  for (const char* function : {"arg_min", "arg_max"}) {
    for (const size_t argument : {4, 5, 6, 7}) {
      for (const size_t by : {1, 2, 3, 4, 5}) cases.push_back({function, {argument, by}});
    }
  }
  for (const size_t column : {1, 2}) {
    for (const char* function : {"quantile_cont", "quantile_disc"}) cases.push_back({function, {column}, duckdb::Value::DOUBLE(0.95)});
    cases.push_back({"approx_quantile", {column}, duckdb::Value::FLOAT(0.95F)});
  }
  cases.push_back({"quantile_cont", {2}, duckdb::Value::LIST({duckdb::Value::DOUBLE(0.5), duckdb::Value::DOUBLE(0.9)})});
  for (const size_t column : {1, 3, 6}) {
    cases.push_back({"approx_top_k", {column}, duckdb::Value::BIGINT(5)});
    cases.push_back({"min", {column}, duckdb::Value::BIGINT(3)});
    cases.push_back({"max", {column}, duckdb::Value::BIGINT(3000)});
  }
  for (const Case& of : cases) {
    Check(of, 1);
    if (HasFatalFailure()) return;
    Check(of, 0);
  }
}

TEST_F(StateCodecTest, SomeStatesCannotBeSaved) {
  Read(RowsSql(1));
  EXPECT_EQ(Make(PlanOf({"mode", {1}}, 1))->unsaved(), 1);
  EXPECT_EQ(Make(PlanOf({"entropy", {1}}, 1))->unsaved(), 1);
  EXPECT_EQ(Make(PlanOf({"quantile_disc", {3}, duckdb::Value::DOUBLE(0.5)}, 1))->unsaved(), 1) << "of texts";
}

TEST_F(StateCodecTest, RowsOfAnotherViewAreRefused) {
  const auto rows = Read(RowsSql(1));
  const auto sums = Make(PlanOf({"sum", {1}}, 1)), histograms = Make(PlanOf({"histogram", {1}}, 1));
  for (const auto& chunk : rows) sums->Add(*chunk, Lsn(7));
  ViewState::Cursor cursor(*sums);
  duckdb::DataChunk saved;
  ASSERT_TRUE(sums->SaveNext(&cursor, &saved));
  EXPECT_THROW(histograms->Load(saved), duckdb::SerializationException);
}

TEST_F(StateCodecTest, CutStatesAreRefused) {
  const auto rows = Read(RowsSql(1));
  for (const Case& of : {Case{"sum", {1}}, Case{"approx_quantile", {1}, duckdb::Value::FLOAT(0.5F)}, Case{"median", {2}},
                         Case{"approx_top_k", {3}, duckdb::Value::BIGINT(5)}}) {
    const ViewPlan plan = PlanOf(of, 1);
    const auto state = Make(plan), loaded = Make(plan);
    for (const auto& chunk : rows) state->Add(*chunk, Lsn(7));
    ViewState::Cursor cursor(*state);
    duckdb::DataChunk saved;
    ASSERT_TRUE(state->SaveNext(&cursor, &saved));
    for (size_t row = 0; row < saved.size(); ++row) {
      const std::string whole = duckdb::StringValue::Get(saved.GetValue(2, row));
      saved.SetValue(2, row, duckdb::Value::BLOB_RAW(whole.substr(0, whole.size() - 3)));
    }
    EXPECT_THROW(loaded->Load(saved), duckdb::SerializationException) << of.function;
  }
}

}  // namespace
}  // namespace sheaf::query
