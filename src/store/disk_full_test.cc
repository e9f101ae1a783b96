/// A disk without room refuses writes with a reason, keeps what it acknowledged, and takes writes again once
/// there is room, without a restart.

#include <random>

#include <gtest/gtest.h>

#include "decode/schemas.h"
#include "io/sim_testing.h"
#include "store/database.h"
#include "store/testing.h"

namespace sheaf::store {
namespace {

TEST(DiskFull, AppendsFailRetryablyReadsGoOnAndAppendsResume) {
  io::SimFileSystem disk(3);
  io::SimClock clock;
  Options options;
  options.directory = "/db";
  options.log_segment_bytes = 128 << 10;
  options.free_space_min_fraction = 0;
  const auto database = Database::Open(&disk, &clock, options).ValueOrDie();
  const TableId table = database->FindTable("otel", "logs").ValueOrDie()->id;
  std::mt19937_64 random(5);
  const auto batch = RandomBatch(decode::SignalSchema(decode::Signal::kLogs), 100, &random);

  disk.SetCapacity(1 << 20);
  int64_t accepted = 0;
  Status refused;
  for (int i = 0; i < 1000 && refused.ok(); ++i) {
    const auto lsn = database->Append({{table, batch}});
    refused = lsn.status();
    accepted += lsn.ok() ? 1 : 0;
  }
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused), ErrorKind::kUnavailable) << refused.ToString();
  EXPECT_GT(accepted, 0);
  EXPECT_EQ(database->GetSnapshot()->Table(table).ValueOrDie().rows, accepted * 100);

  disk.SetCapacity({});
  const auto again = database->Append({{table, batch}});
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(database->GetSnapshot()->Table(table).ValueOrDie().rows, (accepted + 1) * 100);
  EXPECT_TRUE(database->Flush().ok());
  EXPECT_TRUE(disk.violations().empty());
}

}  // namespace
}  // namespace sheaf::store
