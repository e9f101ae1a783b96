/// What happens to statements at the limits of memory, temporary files and time, and to those that run beside them.

#include <filesystem>
#include <string>

#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/memory.h"
#include "io/folder_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;

/// Sorts rows of about 120 MB; `value` counts from 0.
constexpr char kLargeSort[] =
    "SELECT (range * 48271) % 1600033 AS value, repeat('x', 60) || range AS text FROM range(1600033) ORDER BY value, text";
/// 1,200,000 groups of two rows, about 120 MB of keys; one row of sums over them.
constexpr char kLargeGroups[] =
    "SELECT count(*) AS groups, sum(n) AS rows, sum(key) AS keys, min(n) AS least FROM "
    "(SELECT key, text, count(*) AS n FROM "
    "(SELECT range % 1200000 AS key, repeat('y', 60) || (range % 1200000) AS text FROM range(2400000)) "
    "GROUP BY key, text)";
/// Lists are built in memory and nowhere else.
constexpr char kCannotSpill[] = "SELECT len(list(repeat('z', 50) || range)) AS n FROM range(3000000)";

class QueryLimitsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.threads = 2;
    options_.memory_bytes_max = int64_t{64} << 20;
    options_.temp_directory = folder_.path() + "/tmp";
    Open();
  }
  void Open() {
    engine_.reset();
    auto engine = Engine::Open(&database_, options_);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }
  std::string Ndjson(const std::string& sql) {
    auto text = RunToText(engine_.get(), {.sql = sql}, Format::kNdjson);
    return text.ok() ? *text : text.status().ToString();
  }
  uintmax_t SpilledBytes() const {
    uintmax_t bytes = 0;
    if (!std::filesystem::exists(options_.temp_directory)) return 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(options_.temp_directory)) {
      if (file.is_regular_file()) bytes += file.file_size();
    }
    return bytes;
  }
  static int64_t QueryBytes() {
    for (const MemoryUse& use : MemoryUses()) {
      if (use.component == "query") return use.current_bytes;
    }
    return -1;
  }
  /// Nothing of a statement is left, in memory or on disk, and the next one runs.
  void ExpectAllGivenBack(int64_t bytes_before) {
    EXPECT_LE(QueryBytes(), bytes_before + (int64_t{1} << 20));
    EXPECT_EQ(SpilledBytes(), 0u);
    EXPECT_EQ(Ndjson("SELECT 1 AS a"), "{\"a\":1}\n");
  }

  io::TemporaryFolder folder_;
  MemoryDatabase database_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(QueryLimitsTest, SortLargerThanMemorySpillsAndIsRight) {
  const int64_t before = QueryBytes();
  auto query = engine_->Start({.sql = kLargeSort});
  ASSERT_TRUE(query.ok()) << query.status().ToString();
  int64_t rows = 0;
  uintmax_t spilled = 0;
  for (;;) {
    auto batch = (*query)->Next();
    ASSERT_TRUE(batch.ok()) << batch.status().ToString();
    if (*batch == nullptr) break;
    spilled = std::max(spilled, SpilledBytes());
    const auto& values = static_cast<const arrow::Int64Array&>(*(*batch)->column(0));
    for (int64_t i = 0; i < values.length(); ++i) ASSERT_EQ(values.Value(i), rows + i);
    rows += values.length();
  }
  EXPECT_EQ(rows, 1'600'033);
  EXPECT_GT(spilled, uintmax_t{1} << 20) << "the test needs a statement that spills";
  query->reset();
  ExpectAllGivenBack(before);
}

TEST_F(QueryLimitsTest, GroupsLargerThanMemorySpillAndAreRight) {
  const int64_t before = QueryBytes();
  EXPECT_EQ(Ndjson(kLargeGroups), "{\"groups\":1200000,\"rows\":2400000,\"keys\":719999400000,\"least\":2}\n");
  ExpectAllGivenBack(before);
  options_.temp_bytes_max = 0;
  Open();
  EXPECT_THAT(Ndjson(kLargeGroups), HasSubstr("query.")) << "the test needs groups that do not fit in memory";
}

TEST_F(QueryLimitsTest, StatementThatCannotSpillFailsAloneAndClearly) {
  const int64_t before = QueryBytes();
  auto other = engine_->Start({.sql = "SELECT range AS n FROM range(500000)"});
  ASSERT_TRUE(other.ok());
  int64_t rows = (*other)->Next().ValueOrDie()->num_rows();

  const Status failed = RunAll(engine_.get(), {.sql = kCannotSpill}).status();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(KindOf(failed), ErrorKind::kOutOfMemory) << failed.ToString();
  EXPECT_THAT(failed.message(), HasSubstr("more memory than the 67108864 bytes that all statements share (query.memory_bytes)"));
  EXPECT_THAT(failed.message(), ::testing::Not(HasSubstr("SET "))) << "clients cannot change settings";

  for (;;) {
    auto batch = (*other)->Next();
    ASSERT_TRUE(batch.ok()) << batch.status().ToString();
    if (*batch == nullptr) break;
    rows += (*batch)->num_rows();
  }
  EXPECT_EQ(rows, 500'000);
  other->reset();
  ExpectAllGivenBack(before);
}

TEST_F(QueryLimitsTest, SpillingBeyondItsQuotaIsAClearError) {
  options_.temp_bytes_max = int64_t{2} << 20;
  Open();
  const int64_t before = QueryBytes();
  const Status failed = RunAll(engine_.get(), {.sql = kLargeSort}).status();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(KindOf(failed), ErrorKind::kOutOfMemory) << failed.ToString();
  EXPECT_THAT(failed.message(), HasSubstr("the 2097152 bytes that all statements may (query.temp_bytes)"));
  ExpectAllGivenBack(before);
}

TEST_F(QueryLimitsTest, CancelledStatementGivesEverythingBack) {
  const int64_t before = QueryBytes();
  auto query = engine_->Start({.sql = kLargeSort});
  ASSERT_TRUE(query.ok());
  ASSERT_TRUE((*query)->Next().ok());
  EXPECT_GT(SpilledBytes(), 0u) << "the test needs a statement that spills";
  (*query)->Cancel();
  Status end;
  while (end.ok()) end = (*query)->Next().status();
  EXPECT_EQ(KindOf(end), ErrorKind::kCancelled) << end.ToString();
  query->reset();
  ExpectAllGivenBack(before);
}

TEST_F(QueryLimitsTest, StatementThatRanOutOfTimeGivesEverythingBack) {
  const int64_t before = QueryBytes();
  // Would take minutes: it is in the middle of its work whenever the time is over.
  const Status failed = RunAll(engine_.get(), {.sql = "SELECT count(*) FROM (SELECT a.range, b.range FROM range(30000) a, range(30000) b "
                                                      "ORDER BY (a.range * b.range) % 1009 LIMIT 100000000 OFFSET 1)",
                                               .timeout_ms = 400})
                            .status();
  EXPECT_EQ(KindOf(failed), ErrorKind::kTimeout) << failed.ToString();
  ExpectAllGivenBack(before);
}

TEST_F(QueryLimitsTest, DroppedStatementGivesEverythingBack) {
  const int64_t before = QueryBytes();
  {
    auto query = engine_->Start({.sql = kLargeSort});
    ASSERT_TRUE(query.ok());
    ASSERT_TRUE((*query)->Next().ok());
  }
  ExpectAllGivenBack(before);
}

}  // namespace
}  // namespace sheaf::query
