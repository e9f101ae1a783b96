/// Property: whatever is appended and whenever the power goes, recovery gives back a prefix of what was
/// appended that holds at least everything acknowledged as durable, and everything before that, each entry whole;
/// so of buffered entries only the youngest are lost, never one from the middle. And the log goes on from there.
///
/// Method: one seed drives what is appended, when the power goes, what the disk keeps of what was not
/// synced, and whether the power goes again during recovery. Replay one seed with SHEAF_CRASH_SEED=<seed>,
/// run more with SHEAF_CRASH_SEEDS=<count>. (How threads interleave is not seeded: a replay makes the same
/// choices, but may meet the crash one operation earlier or later.)

#include <algorithm>
#include <future>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/environment_testing.h"
#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::IsEmpty;

/// What a client knows: the payload of each LSN that may exist, and how far it was told of.
struct Oracle {
  Strings appended;        // Of LSN 1 and on.
  uint64_t acknowledged = 0;  // As durable; an answer to a buffered entry proves nothing.
  uint64_t applied = 0;    // Covered by parts, as far as the log is concerned.

  /// Checks a recovery, and forgets what it proves never to have happened.
  void Check(const Strings& replayed) {
    ASSERT_GE(applied + replayed.size(), acknowledged) << "acknowledged entries are lost";
    ASSERT_LE(applied + replayed.size(), appended.size()) << "entries came from nowhere";
    for (size_t i = 0; i < replayed.size(); ++i) ASSERT_EQ(replayed[i], appended[applied + i]) << "LSN " << applied + i + 1;
    appended.resize(applied + replayed.size());
    acknowledged = appended.size();  // From now on they are visible.
  }
};

class CrashRun {
 public:
  explicit CrashRun(uint64_t seed) : random_(seed), disk_(std::make_unique<io::SimFileSystem>(seed)) {}

  void Run(int crashes) {
    for (int i = 0; i < crashes && !testing::Test::HasFatalFailure(); ++i) {
      disk_->PowerOffAfter(disk_->operations() + random_() % (random_() % 2 == 0 ? 20 : 120));
      Work();
      EXPECT_THAT(disk_->violations(), IsEmpty());
      const auto keeps = static_cast<io::CrashKeeps>(std::min<uint64_t>(random_() % 6, 2));
      disk_ = disk_->Crash(&random_, keeps);
    }
    if (!testing::Test::HasFatalFailure()) Open();
  }

 private:
  /// Opens and checks. Null where the power went meanwhile.
  std::unique_ptr<Log> Open() {
    const Lsn floor(random_() % 2 == 0 ? oracle_.acknowledged : oracle_.applied);
    LogOptions options = SimLogOptions();
    if (random_() % 2 == 0) options.buffered_sync_ms = 1;
    options.direct_io = random_() % 4 == 0;
    auto opened = OpenLog(disk_.get(), &clock_, options, Lsn(oracle_.applied), floor);
    if (!opened.ok()) {
      EXPECT_EQ(KindOf(opened.status()), ErrorKind::kIo) << opened.status();  // The power; never Corruption.
      return nullptr;
    }
    oracle_.Check(opened->replayed);
    return std::move(opened->log);
  }

  void Work() {
    for (int session = 0; session < 3; ++session) {
      const std::unique_ptr<Log> log = Open();
      if (!log || testing::Test::HasFatalFailure()) return;
      for (int group = 0; group < 12; ++group) {
        if (!AppendSome(log.get())) return;
        if (random_() % 8 == 0) {
          oracle_.applied = random_() % (oracle_.acknowledged + 1);
          oracle_.applied = std::max(oracle_.applied, truncated_);
          if (log->TruncateThrough(Lsn(oracle_.applied)).ok()) truncated_ = oracle_.applied;
          truncated_ = std::max(truncated_, oracle_.applied);  // It may have happened all the same.
        }
      }
    }
  }

  /// Appends one to five entries at once, some of them buffered. False when something failed.
  bool AppendSome(Log* log) {
    struct Waiting {
      uint64_t lsn;
      bool buffered;
      std::future<Result<Lsn>> answer;
    };
    std::vector<Waiting> futures;
    const uint64_t buffered_of_4 = random_() % 5;
    for (uint64_t i = 0, count = 1 + random_() % 5; i < count; ++i) {
      std::string payload = fmt::format("{}/", oracle_.appended.size() + 1);
      payload.resize(payload.size() + random_() % (random_() % 10 == 0 ? 40'000 : 3'000), static_cast<char>('a' + random_() % 26));
      Entry entry = MakeEntry(payload, random_() % 2 == 0 ? "" : "id");
      entry.buffered = random_() % 4 < buffered_of_4;
      const bool buffered = entry.buffered;
      oracle_.appended.push_back(std::move(payload));
      futures.push_back({oracle_.appended.size(), buffered, AppendLater(log, std::move(entry))});
    }
    bool all = true;
    for (Waiting& waiting : futures) {
      const Result<Lsn> lsn = waiting.answer.get();
      EXPECT_TRUE(lsn.ok() || KindOf(lsn.status()) == ErrorKind::kUnknown || KindOf(lsn.status()) == ErrorKind::kUnavailable);
      if (lsn.ok()) {
        EXPECT_TRUE(all) << "acknowledged after a failure";
        EXPECT_EQ(lsn->value, waiting.lsn);
        if (!waiting.buffered) oracle_.acknowledged = lsn->value;
      }
      all = all && lsn.ok();
    }
    return all;
  }

  std::mt19937_64 random_;
  std::unique_ptr<io::SimFileSystem> disk_;
  io::SimClock clock_;
  Oracle oracle_;
  uint64_t truncated_ = 0;
};

TEST(Crash, AcknowledgedEntriesSurviveAndNoneIsHalfThere) {
  const uint64_t only = FromEnvironment("SHEAF_CRASH_SEED", 0);
  const uint64_t count = only != 0 ? 1 : FromEnvironment("SHEAF_CRASH_SEEDS", 150);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t seed = only != 0 ? only : 1'000 + i;
    SCOPED_TRACE(fmt::format("replay: SHEAF_CRASH_SEED={} wal_test --gtest_filter=Crash.*", seed));
    CrashRun(seed).Run(8);
    if (testing::Test::HasFailure()) return;
  }
}

/// A fixed workload that rolls twice; returns how many appends were acknowledged, all of them in order.
uint64_t FixedWorkload(io::SimFileSystem* disk, io::Clock* clock, Strings* appended) {
  auto opened = OpenLog(disk, clock, SimLogOptions());
  if (!opened.ok()) return 0;
  uint64_t acknowledged = 0;
  for (int i = 0; i < 10; ++i) {
    appended->push_back(fmt::format("{}:{}", i, std::string(static_cast<size_t>(i % 4) * 3'000, 'x')));
    if (AppendAndWait(opened->log.get(), MakeEntry(appended->back())).ok()) acknowledged = appended->size();
  }
  return acknowledged;
}

TEST(Crash, AtEveryOperationOfAFixedWorkload) {
  uint64_t operations = 0;
  {
    io::SimFileSystem disk;
    io::SimClock clock;
    Strings appended;
    ASSERT_EQ(FixedWorkload(&disk, &clock, &appended), 10u);
    operations = disk.operations();
  }
  std::mt19937_64 random(3);
  for (uint64_t cut = 1; cut <= operations; ++cut) {
    for (int image = 0; image < 6; ++image) {
      SCOPED_TRACE(fmt::format("power off after operation {}, image {}", cut, image));
      io::SimFileSystem disk;
      io::SimClock clock;
      disk.PowerOffAfter(cut);
      Oracle oracle;
      oracle.acknowledged = FixedWorkload(&disk, &clock, &oracle.appended);
      auto after = disk.Crash(&random, static_cast<io::CrashKeeps>(std::min(image, 2)));
      if (image % 2 == 1) {  // And again while it recovers.
        after->PowerOffAfter(random() % 20);
        (void)OpenLog(after.get(), &clock, SimLogOptions());
        after = after->Crash(&random);
      }
      auto opened = OpenLog(after.get(), &clock, SimLogOptions(), Lsn(0), Lsn(oracle.acknowledged));
      ASSERT_TRUE(opened.ok()) << opened.status();
      oracle.Check(opened->replayed);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace sheaf::wal
