#include "serve/prepared_statements.h"

#include <arrow/array/builder_primitive.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::serve {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

PreparedStatement Statement(std::string sql) { return {.sql = std::move(sql)}; }

std::shared_ptr<arrow::RecordBatch> Numbers(int64_t count) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < count; ++i) EXPECT_TRUE(builder.Append(i).ok());
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("n", arrow::int64())}), count, {builder.Finish().ValueOrDie()});
}

TEST(PreparedStatementsTest, AreFoundUntilTheyAreClosed) {
  PreparedStatements prepared({});
  const std::string first = prepared.Add(Statement("SELECT 1")).ValueOrDie(),
                    second = prepared.Add(Statement("SELECT 2")).ValueOrDie();
  EXPECT_NE(first, second);
  EXPECT_EQ(first.size(), 32U);
  EXPECT_EQ(prepared.Find(first, "").ValueOrDie()->sql, "SELECT 1");
  prepared.Close(first, "");
  prepared.Close(first, "");
  EXPECT_EQ(KindOf(prepared.Find(first, "").status()), ErrorKind::kNotFound);
  EXPECT_EQ(prepared.Find(second, "").ValueOrDie()->sql, "SELECT 2");
  EXPECT_EQ(prepared.count(), 1);
}

TEST(PreparedStatements, AnothersAreNotThere) {
  PreparedStatements prepared(PreparedLimits{});
  PreparedStatement statement{.sql = "SELECT 1"};
  statement.user = "ada";
  const std::string handle = prepared.Add(statement).ValueOrDie();
  EXPECT_EQ(KindOf(prepared.Find(handle, "bob").status()), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(prepared.Bind(handle, "bob", {Numbers(1)})), ErrorKind::kNotFound);
  prepared.Close(handle, "bob");
  ASSERT_TRUE(prepared.Bind(handle, "ada", {Numbers(1)}).ok());
  EXPECT_EQ(prepared.Find(handle, "ada").ValueOrDie()->parameters.size(), 1U);
  EXPECT_EQ(KindOf(prepared.Find(handle, "bob").status()), ErrorKind::kNotFound) << "bound anew, it is still hers";
}

TEST(PreparedStatementsTest, BindingReplacesParametersAndLeavesRunningOnesAlone) {
  PreparedStatements prepared({});
  const std::string handle = prepared.Add(Statement("SELECT ?")).ValueOrDie();
  ASSERT_TRUE(prepared.Bind(handle, "", {Numbers(2)}).ok());
  const auto before = prepared.Find(handle, "").ValueOrDie();
  ASSERT_TRUE(prepared.Bind(handle, "", {Numbers(3), Numbers(4)}).ok());
  EXPECT_EQ(before->parameters.size(), 1U);
  EXPECT_EQ(prepared.Find(handle, "").ValueOrDie()->parameters.size(), 2U);
  EXPECT_EQ(KindOf(prepared.Bind("other", "", {})), ErrorKind::kNotFound);
}

TEST(PreparedStatementsTest, UnusedOnesAreForgotten) {
  PreparedStatements prepared({.count_max = 2, .idle_max = seconds(10)});
  const auto start = PreparedStatements::Clock::now();
  const std::string used = prepared.Add(Statement("a"), start).ValueOrDie(),
                    idle = prepared.Add(Statement("b"), start).ValueOrDie();
  EXPECT_EQ(KindOf(prepared.Add(Statement("c"), start + seconds(1)).status()), ErrorKind::kTooLarge);
  EXPECT_TRUE(prepared.Find(used, "", start + seconds(9)).ok());
  EXPECT_TRUE(prepared.Add(Statement("c"), start + seconds(11)).ok()) << "there is room again";
  EXPECT_THAT(prepared.Find(idle, "", start + seconds(11)).status().message(), HasSubstr("10 s"));
  EXPECT_TRUE(prepared.Find(used, "", start + seconds(19)).ok());
  EXPECT_FALSE(prepared.Find(used, "", start + seconds(30)).ok());
}

TEST(PreparedStatementsTest, TakeNoMoreMemoryThanTheyMay) {
  PreparedStatements prepared({.bytes_max = 16 << 10});
  EXPECT_EQ(KindOf(prepared.Add(Statement(std::string(16 << 10, 'x'))).status()), ErrorKind::kTooLarge);
  const std::string handle = prepared.Add(Statement("SELECT ?")).ValueOrDie();
  EXPECT_EQ(KindOf(prepared.Bind(handle, "", {Numbers(4096)})), ErrorKind::kTooLarge);
  ASSERT_TRUE(prepared.Bind(handle, "", {Numbers(1000)}).ok());
  EXPECT_EQ(KindOf(prepared.Add(Statement(std::string(8 << 10, 'x'))).status()), ErrorKind::kTooLarge);
  ASSERT_TRUE(prepared.Bind(handle, "", {}).ok());
  EXPECT_TRUE(prepared.Add(Statement(std::string(8 << 10, 'x'))).ok()) << "what was bound before counts no more";
}

TEST(PreparedStatementsTest, TheirColumnsCount) {
  PreparedStatements prepared({.bytes_max = 64 << 10});
  PreparedStatement wide{.sql = "SELECT *"};
  arrow::FieldVector inner;
  for (int i = 0; i < 200; ++i) inner.push_back(arrow::field("n", arrow::int64()));
  wide.shape.result = arrow::schema({arrow::field("s", arrow::struct_(inner))});
  EXPECT_EQ(KindOf(prepared.Add(wide).status()), ErrorKind::kTooLarge);
  wide.shape.result = arrow::schema({arrow::field(std::string(64 << 10, 'x'), arrow::int64())});
  EXPECT_EQ(KindOf(prepared.Add(wide).status()), ErrorKind::kTooLarge);
  wide.shape.result = arrow::schema({arrow::field("n", arrow::int64())});
  EXPECT_TRUE(prepared.Add(wide).ok());
}

TEST(PreparedStatementsTest, IdleOnesGoWithoutAnyoneAskingForThem) {
  PreparedStatements prepared({.idle_max = seconds(10)});
  const auto start = PreparedStatements::Clock::now();
  ASSERT_TRUE(prepared.Add(Statement("a"), start).ok());
  ASSERT_TRUE(prepared.Add(Statement("b"), start + seconds(70)).ok());
  EXPECT_EQ(prepared.count(), 1);
  prepared.ForgetIdle(start + seconds(71));
  EXPECT_EQ(prepared.count(), 1);
  prepared.ForgetIdle(start + seconds(200));
  EXPECT_EQ(prepared.count(), 0);
}

}  // namespace
}  // namespace sheaf::serve
