/// Property: whatever is appended, sealed and made cold, and wherever the power goes, the next start finds
/// every acknowledged entry exactly once, every other entry wholly or not at all, and nothing else.
///
/// One seed chooses what is appended, when it is flushed, after which file operation the power goes, and what
/// the disk keeps of what was not synced. Threads are real, so a seed replays the choices, not the timing:
/// SHEAF_STORE_CRASH_SEED=<seed> store_test --gtest_filter='StoreCrash.*'

#include <cstdlib>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/api.h>
#include <arrow/util/checked_cast.h>
#include <gtest/gtest.h>

#include "decode/schemas.h"
#include "io/sim_testing.h"
#include "store/database.h"
#include "store/ready_tables.h"
#include "store/testing.h"

namespace sheaf::store {
namespace {

using decode::Signal;

constexpr int kSeeds = 25;
constexpr int kCrashesPerSeed = 3;
constexpr int kStepsPerLife = 40;

Options CrashOptions() {
  Options options;
  options.directory = "/db";
  options.memtable_bytes = 60'000;
  options.log_segment_bytes = 128 << 10;
  options.free_space_min_fraction = 0;
  return options;
}

/// Times of a batch's rows; random nanoseconds of an hour, so no two rows share one.
std::vector<int64_t> TimesOf(const arrow::RecordBatch& batch, Signal signal) {
  const auto& times = arrow::internal::checked_cast<const arrow::TimestampArray&>(*batch.column(SignalLayout(signal).time_column));
  std::vector<int64_t> out;
  for (int64_t i = 0; i < times.length(); ++i) out.push_back(times.Value(i));
  return out;
}

/// One append: rows of two tables, and what became of it.
struct Sent {
  std::map<Signal, std::vector<int64_t>> times;
  std::string batch_id;
  bool acknowledged = false;
  std::future<Result<Lsn>> outcome;
};

class History {
 public:
  explicit History(uint64_t seed) : random_(seed) {}

  void Run() {
    auto disk = std::make_unique<io::SimFileSystem>(random_());
    for (int crash = 0; crash < kCrashesPerSeed; ++crash) {
      SCOPED_TRACE("life " + std::to_string(crash));
      disk->PowerOffAfter(disk->operations() + 20 + random_() % 600);
      Live(disk.get());
      ASSERT_TRUE(disk->violations().empty()) << disk->violations().front();
      std::unique_ptr<io::SimFileSystem> after = random_() % 4 == 0 ? disk->Restart() : disk->Crash(&random_);
      disk = std::move(after);
      Check(disk.get());
      if (testing::Test::HasFatalFailure()) return;
    }
  }

 private:
  /// Runs until the power goes or enough is done.
  void Live(io::SimFileSystem* disk) {
    auto opened = Database::Open(disk, &clock_, CrashOptions());
    if (!opened.ok()) return;
    Database& database = **opened;
    for (int step = 0; step < kStepsPerLife; ++step) {
      const uint64_t dice = random_() % 100;
      if (dice < 80) {
        Append(&database);
      } else if (dice < 92) {
        if (!database.Flush().ok()) break;
      } else if (!database.MakeCold().ok()) {
        break;
      }
      clock_.Advance(1'000'000'000);
    }
    opened->reset();
    for (Sent& sent : sent_) {
      if (sent.outcome.valid()) sent.acknowledged = sent.outcome.get().ok();
    }
  }

  void Append(Database* database) {
    Sent& sent = sent_.emplace_back();
    std::vector<TableRows> rows;
    for (const Signal signal : {Signal::kTraces, Signal::kLogs}) {
      const auto batch = RandomBatch(decode::SignalSchema(signal), 1 + static_cast<int64_t>(random_() % 4), &random_);
      sent.times[signal] = TimesOf(*batch, signal);
      rows.push_back({database->FindTable("otel", decode::SignalTable(signal)).ValueOrDie()->id, batch});
    }
    sent.batch_id = random_() % 2 == 0 ? "" : "batch-" + std::to_string(random_());
    auto promise = std::make_shared<std::promise<Result<Lsn>>>();
    auto outcome = promise->get_future();
    const Status given = database->AppendAsync(rows, sent.batch_id, [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
    if (!given.ok()) return;
    sent.outcome = std::move(outcome);
    if (random_() % 2 == 0) sent.acknowledged = sent.outcome.get().ok();
  }

  /// Opens what is left, compares, and takes over what the disk decided.
  void Check(io::SimFileSystem* disk) {
    auto opened = Database::Open(disk, &clock_, CrashOptions());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    std::map<Signal, std::map<int64_t, int>> found;
    for (const Signal signal : {Signal::kTraces, Signal::kLogs}) ReadTimes(**opened, signal, &found[signal]);
    std::vector<Sent> kept;
    for (Sent& sent : sent_) {
      int there = 0, rows = 0;
      for (const auto& [signal, times] : sent.times) {
        for (const int64_t time : times) {
          ++rows;
          const auto row = found[signal].find(time);
          if (row == found[signal].end()) continue;
          ++there;
          ASSERT_EQ(row->second, 1) << "a row is there twice";
          found[signal].erase(row);
        }
      }
      if (sent.acknowledged) {
        ASSERT_EQ(there, rows) << "an acknowledged entry is not whole";
      }
      ASSERT_TRUE(there == 0 || there == rows) << "an entry is there in part: " << there << " of " << rows;
      if (there == 0) continue;
      sent.acknowledged = true;
      kept.push_back(std::move(sent));
    }
    for (const auto& [signal, times] : found) ASSERT_TRUE(times.empty()) << times.size() << " rows that nobody sent";
    sent_ = std::move(kept);
    CheckRetries(opened->get());
  }

  /// Batches with ids that are there are not added again.
  void CheckRetries(Database* database) {
    for (const Sent& sent : sent_) {
      if (sent.batch_id.empty() || random_() % 4 != 0) continue;
      const Lsn before = database->GetSnapshot()->lsn();
      const auto batch = RandomBatch(decode::SignalSchema(Signal::kTraces), 1, &random_);
      const auto lsn = database->Append({{database->FindTable("otel", "traces").ValueOrDie()->id, batch}}, sent.batch_id);
      ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
      ASSERT_LE(*lsn, before);
      ASSERT_EQ(database->GetSnapshot()->lsn(), before);
    }
  }

  static void ReadTimes(const Database& database, Signal signal, std::map<int64_t, int>* times) {
    const auto info = database.FindTable("otel", decode::SignalTable(signal)).ValueOrDie();
    const TableSnapshot table = database.GetSnapshot()->Table(info->id).ValueOrDie();
    for (const auto& [source, dead] : table.sources) {
      for (int granule = 0; granule < source->num_granules(); ++granule) {
        const auto batch = source->Read(granule, {info->layout.time_column});
        ASSERT_TRUE(batch.ok()) << batch.status().ToString();
        const auto& column = arrow::internal::checked_cast<const arrow::TimestampArray&>(*(*batch)->column(0));
        for (int64_t i = 0; i < column.length(); ++i) ++(*times)[column.Value(i)];
      }
    }
  }

  std::mt19937_64 random_;
  io::SimClock clock_;
  std::vector<Sent> sent_;
};

TEST(StoreCrash, EveryAcknowledgedEntryIsThereOnceAndNoneInPart) {
  const char* only = std::getenv("SHEAF_STORE_CRASH_SEED");
  const uint64_t first = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
  const uint64_t last = only == nullptr ? kSeeds : first;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("replay with SHEAF_STORE_CRASH_SEED=" + std::to_string(seed));
    History(seed).Run();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace sheaf::store
