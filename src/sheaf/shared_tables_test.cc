#include "sheaf/shared_tables.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"

namespace sheaf {
namespace {

class Shared : public testing::Test {
 protected:
  Shared() {
    database_ = Database::Open(folder_.path() + "/data").ValueOrDie();
    tables_ = SharedTables::Open({.folder = folder_.path() + "/shared"}).ValueOrDie();
  }
  std::shared_ptr<arrow::RecordBatchReader> Rows(const std::string& sql) { return database_->Sql(sql).ValueOrDie(); }

  const io::TemporaryFolder folder_;
  std::shared_ptr<Database> database_;
  std::shared_ptr<SharedTables> tables_;
};

constexpr char kQuery[] = "SELECT i, i / 3 AS third, 'text ' || i AS t, CASE WHEN i % 2 = 0 THEN [i] END AS l FROM range(10000) AS r(i)";

TEST_F(Shared, RowsOfAStatementAreReadWithoutACopy) {
  const auto expected = Rows(kQuery)->ToTable().ValueOrDie();
  const auto mine = tables_->Publish("numbers", *Rows(kQuery)).ValueOrDie();
  EXPECT_TRUE(mine->Equals(*expected));
  const auto again = tables_->Get("numbers").ValueOrDie();
  // The same memory, which is that of the mapping and not of the pool.
  for (int i = 0; i < mine->num_columns(); ++i) {
    const auto& one = *mine->column(i)->chunk(0)->data();
    const auto& other = *again->column(i)->chunk(0)->data();
    EXPECT_EQ(one.buffers[1]->address(), other.buffers[1]->address());
    EXPECT_EQ(one.buffers[1]->address() % 8, 0u);
  }
  const int64_t before = arrow::default_memory_pool()->bytes_allocated();
  const auto whole = SharedTables::Open({.folder = folder_.path() + "/shared"}).ValueOrDie()->Get("numbers").ValueOrDie();
  EXPECT_LT(arrow::default_memory_pool()->bytes_allocated() - before, 4096);
  EXPECT_TRUE(whole->Equals(*expected));
  EXPECT_EQ(tables_->List().ValueOrDie().at(0).holders, 2);
}

TEST_F(Shared, AColumnAloneHoldsTheTable) {
  auto mine = tables_->Publish("numbers", *Rows(kQuery)).ValueOrDie();
  auto column = mine->column(2)->chunk(0)->Slice(17, 5);
  mine.reset();
  EXPECT_EQ(tables_->List().ValueOrDie().size(), 1u);
  EXPECT_EQ(column->GetScalar(0).ValueOrDie()->ToString(), "text 17");
  column.reset();
  EXPECT_TRUE(tables_->List().ValueOrDie().empty());
}

TEST_F(Shared, AnotherProcessReadsIt) {
  const auto mine = tables_->Publish("numbers", *Rows(kQuery)).ValueOrDie();
  const pid_t child = ::fork();
  if (child == 0) {
    const auto tables = SharedTables::Open({.folder = folder_.path() + "/shared"});
    const auto table = tables.ok() ? (*tables)->Get("numbers") : arrow::Result<std::shared_ptr<arrow::Table>>(tables.status());
    ::_exit(table.ok() && (*table)->Equals(*mine) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(tables_->RemoveUnused().ValueOrDie(), 0);
}

TEST_F(Shared, CompressedTablesAreSmallerAndEqual) {
  const auto plain = tables_->Publish("plain", *Rows(kQuery)).ValueOrDie();
  const auto lz4 = tables_->Publish("lz4", *Rows(kQuery), {.codec = SharedCodec::kLz4}).ValueOrDie();
  const auto zstd = tables_->Publish("zstd", *Rows(kQuery), {.codec = SharedCodec::kZstd}).ValueOrDie();
  EXPECT_TRUE(lz4->Equals(*plain));
  EXPECT_TRUE(tables_->Get("zstd").ValueOrDie()->Equals(*plain));
  const auto all = tables_->List().ValueOrDie();
  EXPECT_LT(all.at(0).bytes, all.at(1).bytes) << "lz4, plain";
  EXPECT_LT(all.at(2).bytes, all.at(0).bytes) << "zstd, lz4";
}

TEST_F(Shared, ATableWithoutRowsStays) {
  const auto none = tables_->Publish("none", *Rows("SELECT 1 AS n WHERE false")).ValueOrDie();
  EXPECT_EQ(tables_->Get("none").ValueOrDie()->schema()->field(0)->name(), "n");
}

TEST_F(Shared, ReplacedAndRefused) {
  const auto one = tables_->Publish("t", *Rows("SELECT 1 AS n")).ValueOrDie();
  EXPECT_EQ(ErrorCode(tables_->Publish("t", *Rows("SELECT 2 AS n")).status()), "already_exists");
  const auto two = tables_->Publish("t", *Rows("SELECT 2 AS n"), {.replace = true}).ValueOrDie();
  EXPECT_TRUE(tables_->Get("t").ValueOrDie()->Equals(*two));
  EXPECT_EQ(ErrorCode(tables_->Publish("u", *Rows("SELECT error('no rows today')")).status()), "invalid");
  EXPECT_EQ(ErrorCode(tables_->Get("u").status()), "not_found");
  ASSERT_TRUE(tables_->Remove("t").ok());
  EXPECT_EQ(one->num_rows() + two->num_rows(), 2);
}

}  // namespace
}  // namespace sheaf
