/// Orders that come, change and are cancelled at random from eight threads, beside a model in memory; between rounds the
/// database is flushed, merged, altered, put into a snapshot, restored from it or opened anew, and must equal the model each time.
///
/// 24,000 operations; SHEAF_ORDERS=1000000 makes it a million, SHEAF_SEED repeats a run.

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "columns/dead_rows.h"
#include "columns/key_codec.h"
#include "columns/random_testing.h"
#include "io/sim_testing.h"
#include "store/database.h"
#include "store/snapshots.h"

namespace sheaf::store {
namespace {

using columns::Random;

constexpr int kThreads = 8, kRounds = 12;
constexpr char kDirectory[] = "/db";

struct Order {
  int64_t price = 0, quantity = 0;
  std::string status;
  int64_t venue = -1;  // Of the column that is added later; -1: NULL.
  Lsn version;
  bool operator==(const Order& other) const {  // Versions differ between a database and its restored copy.
    return price == other.price && quantity == other.quantity && status == other.status && venue == other.venue;
  }
};
using Orders = std::map<int64_t, Order>;

int64_t Operations() {
  const char* asked = std::getenv("SHEAF_ORDERS");
  return asked != nullptr ? std::atoll(asked) : 24'000;
}

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> One(const Value& value, bool null = false) {
  Builder builder;
  EXPECT_TRUE((null ? builder.AppendNull() : builder.Append(value)).ok());
  return builder.Finish().ValueOrDie();
}

/// Orders number `first`, `first` + 8, … belong to one thread, so that it knows what they must be.
class Trader {
 public:
  Trader(int first, uint64_t seed) : first_(first), random_(seed) {}

  void Trade(Database* database, const TableInfo& table, int64_t operations) {
    for (int64_t i = 0; i < operations && !testing::Test::HasFailure(); ++i) {
      const uint64_t what = random_() % 10;
      if (orders_.empty() || what < 4) {
        New(database, table);
      } else if (what < 8) {
        Update(database, table);
      } else if (what == 8) {
        Cancel(database, table);
      } else {
        Look(database, table);
      }
    }
  }

  const Orders& orders() const { return orders_; }
  /// The column `venue` is gone, or there anew.
  void ForgetVenues() {
    for (auto& [id, order] : orders_) order.venue = -1;
  }

 private:
  Orders::iterator AnyOrder() {
    auto at = orders_.lower_bound(static_cast<int64_t>(random_() % static_cast<uint64_t>(next_ * kThreads + 1)));
    return at == orders_.end() ? orders_.begin() : at;
  }

  std::shared_ptr<arrow::RecordBatch> Row(const TableInfo& table, int64_t id, const Order& order) {
    arrow::ArrayVector columns = {One<arrow::Int64Builder>(id), One<arrow::Int64Builder>(order.price),
                                  One<arrow::Int64Builder>(order.quantity), One<arrow::StringBuilder>(order.status)};
    if (table.schema->num_fields() == 5) columns.push_back(One<arrow::Int64Builder>(order.venue, order.venue < 0));
    return arrow::RecordBatch::Make(table.schema, 1, std::move(columns));
  }

  Result<Lsn> Send(Database* database, const TableRows& rows) {
    WriteOptions options;
    options.durability = random_() % 4 == 0 ? Durability::kLocal : Durability::kBuffered;
    while (true) {
      auto lsn = database->Append({rows}, options);
      if (KindOf(lsn.status()) != ErrorKind::kThrottled) return lsn;
      std::this_thread::yield();
    }
  }

  void Put(Database* database, const TableInfo& table, int64_t id, Order order, std::optional<Lsn> expected) {
    const auto lsn = Send(database, {table.id, Row(table, id, order), RowOp::kPut, expected});
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    order.version = *lsn;
    orders_[id] = order;
  }

  void New(Database* database, const TableInfo& table) {
    const int64_t id = first_ + kThreads * next_++;
    Put(database, table, id, MakeOrder(table, "new"), random_() % 2 == 0 ? std::optional(Lsn(0)) : std::nullopt);
  }

  void Update(Database* database, const TableInfo& table) {
    const auto at = AnyOrder();
    const Order changed = MakeOrder(table, "changed " + std::to_string(random_() % 100));
    if (random_() % 8 == 0) {  // By somebody who has not seen the newest version.
      const auto refused = Send(database, {table.id, Row(table, at->first, changed), RowOp::kPut, Lsn(at->second.version.value - 1)});
      ASSERT_EQ(KindOf(refused.status()), ErrorKind::kConflict) << refused.status().ToString();
      return;
    }
    Put(database, table, at->first, changed, random_() % 2 == 0 ? std::optional(at->second.version) : std::nullopt);
  }

  void Cancel(Database* database, const TableInfo& table) {
    const auto at = AnyOrder();
    const auto key = arrow::RecordBatch::Make(table.keys->key_schema(), 1, {One<arrow::Int64Builder>(at->first)});
    const auto lsn = Send(database, {table.id, key, RowOp::kDelete});
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    orders_.erase(at);
  }

  void Look(Database* database, const TableInfo& table) {
    const auto at = AnyOrder();
    const int64_t id = random_() % 4 == 0 ? first_ + kThreads * (next_ + 5) : at->first;  // Sometimes one that never was.
    const auto key = arrow::RecordBatch::Make(table.keys->key_schema(), 1, {One<arrow::Int64Builder>(id)});
    const auto encoded = table.keys->EncodeKeys(*key);
    ASSERT_TRUE(encoded.ok());
    const auto row = database->Get(table.id, (*encoded)[0]);
    ASSERT_TRUE(row.ok()) << row.status().ToString();
    ASSERT_EQ(static_cast<bool>(*row), orders_.count(id) == 1) << "order " << id;
    if (!*row) return;
    const auto price = row->Slice()->column(1);
    ASSERT_EQ(static_cast<const arrow::Int64Array&>(*price).Value(0), orders_[id].price) << "order " << id;
  }

  Order MakeOrder(const TableInfo& table, std::string status) {
    Order order;
    order.price = static_cast<int64_t>(random_() % 1'000'000);
    order.quantity = static_cast<int64_t>(random_() % 1000);
    order.status = std::move(status);
    if (table.schema->num_fields() == 5 && random_() % 3 != 0) order.venue = static_cast<int64_t>(random_() % 20);
    return order;
  }

  const int64_t first_;
  int64_t next_ = 0;
  Random random_;
  Orders orders_;
};

Orders AllRows(Database* database) {
  Orders out;
  const auto table = database->FindTable("main", "orders").ValueOrDie();
  const auto view = database->GetSnapshot()->Table(table->id).ValueOrDie();
  int64_t rows = 0;
  for (const auto& [source, dead] : view.sources) {
    std::vector<int> all;
    for (int c = 0; c < table->schema->num_fields(); ++c) all.push_back(c);
    for (int g = 0; g < source->num_granules(); ++g) {
      const auto batch = source->Read(g, all).ValueOrDie();
      const auto number = [&](int column, int64_t i) { return static_cast<const arrow::Int64Array&>(*batch->column(column)).Value(i); };
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        if (dead != nullptr && dead->IsDead(g, i)) continue;
        ++rows;
        Order order{number(1, i), number(2, i), static_cast<const arrow::StringArray&>(*batch->column(3)).GetString(i)};
        if (table->schema->num_fields() == 5 && !batch->column(4)->IsNull(i)) order.venue = number(4, i);
        out[number(0, i)] = order;
      }
    }
  }
  EXPECT_EQ(rows, static_cast<int64_t>(out.size())) << "a key has two rows";
  EXPECT_EQ(rows, view.rows);
  return out;
}

class OrdersTest : public testing::Test {
 protected:
  OrdersTest() : random_(columns::TestSeed()) {
    for (int t = 0; t < kThreads; ++t) traders_.emplace_back(t, random_());
  }

  Options DatabaseOptions(const std::string& directory) {
    Options options;
    options.directory = directory;
    options.memtable_bytes = 1 << 20;
    options.log_segment_bytes = 1 << 20;
    options.free_space_min_fraction = 0;
    options.compaction_cpu_share = 1;
    return options;
  }
  void Open() {
    auto opened = Database::Open(&disk_, io::SystemClock(), DatabaseOptions(kDirectory));
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
  }
  void MakeTable() {
    NewTable table;
    table.schema_name = "main";
    table.name = "orders";
    table.schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("price", arrow::int64(), false),
                                  arrow::field("quantity", arrow::int64()), arrow::field("status", arrow::utf8())});
    table.primary_key = {"id"};
    ASSERT_TRUE(database_->CreateTable(table).ok());
  }
  std::shared_ptr<const TableInfo> Table() { return database_->FindTable("main", "orders").ValueOrDie(); }

  void Trade(int64_t operations) {
    const auto table = Table();
    std::vector<std::thread> threads;
    for (Trader& trader : traders_) threads.emplace_back([&] { trader.Trade(database_.get(), *table, operations); });
    for (std::thread& thread : threads) thread.join();
  }

  Orders Expected() const {
    Orders out;
    for (const Trader& trader : traders_) out.insert(trader.orders().begin(), trader.orders().end());
    return out;
  }

  /// Adds the column `venue`, without a value in the rows that are there, or drops it.
  void Alter() {
    AlterTable change;
    change.column = "venue";
    if (Table()->schema->num_fields() == 4) {
      change.field = arrow::field("venue", arrow::int64());
    } else {
      change.kind = AlterTable::Kind::kDropColumn;
    }
    const auto altered = database_->Alter(Table()->id, change);
    ASSERT_TRUE(altered.ok()) << altered.status().ToString();
    for (Trader& trader : traders_) trader.ForgetVenues();
  }

  void Reopen() {
    ASSERT_TRUE(database_->Close().ok());
    database_.reset();
    Open();
  }

  void TakeSnapshotAndRestore() {
    const auto made = database_->CreateSnapshot();
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    const std::string to = "/restored-" + made->id;
    const auto restored = Restore(&disk_, io::SystemClock(), kDirectory, made->id, to, {});
    ASSERT_TRUE(restored.ok()) << restored.status().ToString();
    auto opened = Database::Open(&disk_, io::SystemClock(), DatabaseOptions(to));
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    EXPECT_TRUE(AllRows(opened->get()) == Expected());
    EXPECT_TRUE((*opened)->Close().ok());
  }

  io::SimFileSystem disk_;
  Random random_;
  std::vector<Trader> traders_;
  std::unique_ptr<Database> database_;
};

TEST_F(OrdersTest, EqualTheModelWhateverHappensBetween) {
  Open();
  MakeTable();
  for (int round = 0; round < kRounds; ++round) {
    Trade(Operations() / kRounds / kThreads);
    ASSERT_FALSE(HasFailure());
    ASSERT_TRUE(AllRows(database_.get()) == Expected()) << "round " << round;
    switch (round % 5) {
      case 0: ASSERT_TRUE(database_->Flush().ok()); break;
      case 1: Alter(); break;
      case 2: TakeSnapshotAndRestore(); break;
      case 3: Reopen(); break;
      case 4: ASSERT_TRUE(database_->MakeCold(Table()->id).ok()); break;
    }
    ASSERT_FALSE(HasFailure());
    ASSERT_TRUE(AllRows(database_.get()) == Expected()) << "after round " << round;
  }
  EXPECT_GT(database_->GetStats().seals + database_->GetStats().compactions, 0);
  EXPECT_TRUE(database_->Close().ok());
}

}  // namespace
}  // namespace sheaf::store
