#include "sheaf/database.h"

#include <future>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"

namespace sheaf {
namespace {

std::shared_ptr<arrow::RecordBatch> Prices(std::vector<int64_t> ids, std::vector<int32_t> prices) {
  arrow::Int64Builder id;
  arrow::Int32Builder price;
  EXPECT_TRUE(id.AppendValues(ids).ok() && price.AppendValues(prices).ok());
  const auto rows = static_cast<int64_t>(ids.size());
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("price", arrow::int32()), arrow::field("id", arrow::int64())}), rows,
                                  {price.Finish().ValueOrDie(), id.Finish().ValueOrDie()});
}

class Embedded : public testing::Test {
 protected:
  Embedded() { Open(); }
  void Open() {
    auto opened = Database::Open(folder_.path() + "/data");
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *opened;
  }
  int64_t Number(const std::string& sql, const std::vector<SqlParameter>& parameters = {}) {
    const auto rows = database_->Sql(sql, parameters);
    EXPECT_TRUE(rows.ok()) << rows.status().ToString();
    const auto table = (*rows)->ToTable().ValueOrDie();
    return static_cast<const arrow::Int64Scalar&>(*table->column(0)->GetScalar(0).ValueOrDie()).value;
  }

  io::TemporaryFolder folder_;
  std::shared_ptr<Database> database_;
};

TEST_F(Embedded, RowsComeBackBySqlAndByKeyAndAfterANewStart) {
  ASSERT_TRUE(database_->Execute("CREATE TABLE orders (id BIGINT PRIMARY KEY, price BIGINT, note VARCHAR)").ok());
  const auto first = database_->Ingest("orders", Prices({1, 2, 3}, {10, 20, 30}));  // Other types and order, one column less.
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  ASSERT_TRUE(database_->Ingest("main.orders", Prices({2}, {25}), {.when = Ingested::kVisible}).ok());
  EXPECT_EQ(Number("SELECT sum(price)::BIGINT FROM orders WHERE id <> ?", {int64_t{3}}), 35);
  const auto row = database_->Get("orders", {arrow::MakeScalar(int64_t{2})});
  ASSERT_TRUE(row.ok()) << row.status().ToString();
  EXPECT_EQ(row->row->GetColumnByName("price")->ToString(), "[\n  25\n]");
  EXPECT_GT(row->lsn, *first);
  EXPECT_EQ(database_->Get("orders", {arrow::MakeScalar(int64_t{9})})->row, nullptr);
  const auto snapshot = database_->CreateSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status().ToString();
  EXPECT_FALSE(snapshot->empty());
  database_.reset();
  Open();
  EXPECT_EQ(Number("SELECT sum(price)::BIGINT FROM orders"), 65);
}

TEST_F(Embedded, SqlCallsFunctionsOfTheProgram) {
  auto functions = std::make_shared<Functions>();
  functions->scalars.push_back({.signature = {.name = "lakhs", .arguments = {arrow::int64()}, .result = arrow::int64()},
                                .compute = [](const arrow::ArrayVector& arguments,
                                              int64_t) -> arrow::Result<std::shared_ptr<arrow::Array>> {
                                  arrow::Int64Builder out;
                                  for (const auto value : static_cast<const arrow::Int64Array&>(*arguments[0])) {
                                    ARROW_RETURN_NOT_OK(out.Append(value.value_or(0) / 100'000));
                                  }
                                  return out.Finish();
                                }});
  database_.reset();
  auto opened = Database::Open(folder_.path() + "/data", {.functions = functions});
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  database_ = std::move(opened).ValueUnsafe();
  EXPECT_EQ(Number("SELECT sum(lakhs(i))::BIGINT FROM range(0, 1000000, 50000) r(i)"), 90);
  database_.reset();
  functions->scalars[0].signature.name = "abs";
  const auto refused = Database::Open(folder_.path() + "/data", {.functions = functions});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(ErrorCode(refused.status()), "invalid");
}

TEST_F(Embedded, ARetryAddsNothingAndConditionsHold) {
  ASSERT_TRUE(database_->Execute("CREATE TABLE events (id BIGINT, price BIGINT)").ok());
  const auto once = database_->Ingest("events", Prices({1}, {1}), {.batch_id = "a"});
  EXPECT_EQ(database_->Ingest("events", Prices({1}, {1}), {.batch_id = "a"}).ValueOrDie(), once.ValueOrDie());
  EXPECT_EQ(Number("SELECT count(*) FROM events"), 1);
  ASSERT_TRUE(database_->Execute("CREATE TABLE orders (id BIGINT PRIMARY KEY, price BIGINT)").ok());
  const uint64_t lsn = database_->Ingest("orders", Prices({1}, {1}), {.insert_only = true}).ValueOrDie();
  EXPECT_EQ(ErrorCode(database_->Ingest("orders", Prices({1}, {2}), {.insert_only = true}).status()), "already_exists");
  EXPECT_EQ(ErrorCode(database_->Ingest("orders", Prices({1}, {2}), {.expected = lsn + 1}).status()), "conflict");
  EXPECT_TRUE(database_->Ingest("orders", Prices({1}, {2}), {.expected = lsn}).ok());
}

TEST_F(Embedded, ManyKeysRangesAndDeletes) {
  ASSERT_TRUE(database_->Execute("CREATE TABLE ticks (day INTEGER, id BIGINT, price INTEGER, PRIMARY KEY (day, id))").ok());
  ASSERT_TRUE(database_->Execute("INSERT INTO ticks SELECT i // 100, i, i * 2 FROM range(500) AS r(i)").ok());
  ASSERT_TRUE(database_->Flush().ok());
  ASSERT_TRUE(database_->Execute("INSERT INTO ticks VALUES (2, 250, 7), (5, 0, 1)").ok());

  arrow::Int32Builder day;
  arrow::Int64Builder id;
  ASSERT_TRUE(day.AppendValues({2, 9, 0}).ok() && id.AppendValues({250, 9, 3}).ok());
  const auto keys = arrow::RecordBatch::Make(arrow::schema({arrow::field("id", arrow::int64()), arrow::field("day", arrow::int32())}),
                                             3, {id.Finish().ValueOrDie(), day.Finish().ValueOrDie()});
  const auto found = database_->MultiGet("ticks", keys);
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].row->GetColumnByName("price")->ToString(), "[\n  7\n]");
  EXPECT_EQ((*found)[1].row, nullptr);
  EXPECT_EQ((*found)[2].row->GetColumnByName("price")->ToString(), "[\n  6\n]");

  const auto rows = [&](const KeyScan& range) {
    auto reader = database_->Scan("ticks", range);
    EXPECT_TRUE(reader.ok()) << reader.status().ToString();
    return (*reader)->ToTable().ValueOrDie();
  };
  EXPECT_EQ(rows({})->num_rows(), 501);
  const auto one_day = rows({.from = {arrow::MakeScalar(2)}, .to = {arrow::MakeScalar(3)}, .columns = {"id"}});
  EXPECT_EQ(one_day->num_rows(), 100);
  EXPECT_EQ(one_day->num_columns(), 1);
  EXPECT_EQ(one_day->column(0)->GetScalar(0).ValueOrDie()->ToString(), "200");
  EXPECT_EQ(rows({.from = {arrow::MakeScalar(2), arrow::MakeScalar(int64_t{298})}, .limit = 4})
                ->GetColumnByName("id")->GetScalar(3).ValueOrDie()->ToString(), "301");

  ASSERT_TRUE(database_->Delete("ticks", keys).ok());
  EXPECT_EQ(Number("SELECT count(*) FROM ticks"), 499);
  EXPECT_EQ(ErrorCode(database_->Scan("ticks", {.columns = {"nope"}}).status()), "invalid");
  EXPECT_EQ(ErrorCode(database_->Scan("nowhere").status()), "not_found");
  ASSERT_TRUE(database_->Execute("CREATE TABLE plain (id BIGINT, day INTEGER)").ok());
  EXPECT_EQ(ErrorCode(database_->MultiGet("plain", keys).status()), "invalid");
  EXPECT_EQ(ErrorCode(database_->Delete("plain", keys).status()), "invalid");
}

TEST_F(Embedded, IngestsAreToldWhenTheyAreDone) {
  ASSERT_TRUE(database_->Execute("CREATE TABLE orders (id BIGINT PRIMARY KEY, price BIGINT)").ok());
  std::vector<std::promise<arrow::Result<uint64_t>>> outcomes(50);
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const auto given = database_->IngestAsync("orders", Prices({static_cast<int64_t>(i)}, {1}), {.when = Ingested::kDurable},
                                              [&outcomes, i](auto lsn) { outcomes[i].set_value(std::move(lsn)); });
    ASSERT_TRUE(given.ok()) << given.ToString();
  }
  uint64_t last = 0;
  for (auto& outcome : outcomes) {
    const auto lsn = outcome.get_future().get();
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    EXPECT_GT(*lsn, last);
    last = *lsn;
  }
  EXPECT_EQ(Number("SELECT count(*) FROM orders"), 50);
  EXPECT_EQ(ErrorCode(database_->IngestAsync("nowhere", Prices({1}, {1}), {}, [](auto) {})), "not_found");
}

TEST_F(Embedded, StatementsThatWriteManyRowsOfAKeyedTable) {
  ASSERT_TRUE(database_->Execute("CREATE TABLE orders (id BIGINT PRIMARY KEY, price BIGINT)").ok());
  const auto run = [&](const std::string& sql) {
    const arrow::Status done = database_->Execute(sql);
    EXPECT_TRUE(done.ok()) << sql << ": " << done.ToString();
  };
  const auto check = [&](int64_t rows, int64_t sum_of_ids, int64_t sum_of_prices) {
    EXPECT_EQ(Number("SELECT count(*) FROM orders"), rows);
    EXPECT_EQ(Number("SELECT sum(id)::BIGINT FROM orders"), sum_of_ids);
    EXPECT_EQ(Number("SELECT sum(price)::BIGINT FROM orders"), sum_of_prices);
  };
  constexpr int64_t kRows = 150'000;  // More than one batch of an entry holds.
  constexpr int64_t kIds = kRows * (kRows - 1) / 2;
  run("INSERT INTO orders SELECT i, 1 FROM range(150000) AS r(i)");
  check(kRows, kIds, kRows);
  run("INSERT INTO orders SELECT i % 150000, 2 FROM range(250000) AS r(i)");  // Replaces, some of them twice.
  check(kRows, kIds, 2 * kRows);
  run("UPDATE orders SET price = price + 1");
  check(kRows, kIds, 3 * kRows);
  run("MERGE INTO orders USING (SELECT i FROM range(149999, 150002) AS r(i)) AS new ON orders.id = new.i "
      "WHEN MATCHED THEN UPDATE SET price = 100 WHEN NOT MATCHED THEN INSERT VALUES (new.i, 7)");
  check(kRows + 2, kIds + 300'001, 3 * kRows - 3 + 100 + 14);
  database_.reset();
  Open();
  check(kRows + 2, kIds + 300'001, 3 * kRows - 3 + 100 + 14);
  run("DELETE FROM orders WHERE id >= 0");
  EXPECT_EQ(Number("SELECT count(*) FROM orders"), 0);
}

TEST_F(Embedded, ErrorsSayWhatIsWrong) {
  EXPECT_EQ(ErrorCode(database_->Ingest("nowhere", Prices({1}, {1})).status()), "not_found");
  EXPECT_EQ(ErrorCode(database_->Sql("SELEC 1").status()), "invalid");
  ASSERT_TRUE(database_->Execute("CREATE TABLE t (id BIGINT)").ok());
  const arrow::Status wrong = database_->Ingest("t", Prices({1}, {1})).status();
  EXPECT_EQ(ErrorCode(wrong), "invalid");
  EXPECT_NE(wrong.message().find("'price'"), std::string::npos) << wrong.message();
  EXPECT_EQ(ErrorCode(database_->Get("t", {arrow::MakeScalar(int64_t{1})}).status()), "invalid");
  EXPECT_EQ(ErrorCode(Database::Open(folder_.path() + "/data").status()), "unavailable");
}

TEST_F(Embedded, AResultKeepsItsDatabaseOpen) {
  auto rows = database_->Sql("SELECT * FROM range(1000000)").ValueOrDie();
  database_.reset();
  int64_t count = 0;
  for (std::shared_ptr<arrow::RecordBatch> batch; rows->ReadNext(&batch).ok() && batch != nullptr;) count += batch->num_rows();
  EXPECT_EQ(count, 1'000'000);
  rows.reset();
  Open();
}

}  // namespace
}  // namespace sheaf
