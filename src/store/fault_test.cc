/// What the database does when the disk refuses: in four stories each file operation in turn fails, once or from then on, and
/// afterwards the process dies or the power goes. What was acknowledged is there, what was refused is not, and it goes on.
///
/// To try each operation takes minutes: every SHEAF_FAULT_STRIDE-th is tried, from a random one on; 1 tries them all, with both
/// ends. Threads are real, so that the number of an operation is not always that of the same one. One of them alone:
/// SHEAF_FAULT_AT=<n> store_test --gtest_filter='Stories/Fault.EachOperationInTurn/Keyed_Io'

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/environment_testing.h"
#include "io/sim_testing.h"
#include "store/story_testing.h"

namespace sheaf::store {
namespace {

using testing::IsEmpty;

struct FaultKind {
  const char* name;
  ErrorKind error;
  bool writes_only;  // A disk that is full still reads.
  bool lasts;
};

const FaultKind kFaultKinds[] = {{"Io", ErrorKind::kIo, false, false},
                                 {"Full", ErrorKind::kUnavailable, true, false},
                                 {"IoFromThenOn", ErrorKind::kIo, false, true},
                                 {"FullFromThenOn", ErrorKind::kUnavailable, true, true}};

bool Writes(io::SimOp kind) {
  return kind != io::SimOp::kRead && kind != io::SimOp::kMap && kind != io::SimOp::kList && kind != io::SimOp::kLock &&
         kind != io::SimOp::kRemove;
}

class Fault : public testing::TestWithParam<std::tuple<Story, FaultKind>> {
 protected:
  /// Tells the story with operation `n` failing, then opens what is left. False: there were not so many operations.
  bool FailAndReopen(uint64_t n, bool power) {
    const auto& [story, kind] = GetParam();
    auto disk = std::make_unique<io::SimFileSystem>(n);
    io::SimClock clock;
    Teller teller(disk.get(), &clock, "/db");
    story.set_up(&teller);
    std::atomic<uint64_t> seen = 0;
    std::atomic<bool> failed = false;
    disk->SetFaultHook([&, kind = kind](const io::SimOperation& operation) {
      if (kind.writes_only && !Writes(operation.kind)) return Status::OK();
      const uint64_t number = ++seen;
      if (number != n && !(kind.lasts && number > n)) return Status::OK();
      if (!failed.exchange(true)) what_ = fmt::format("operation of kind {} on {}", static_cast<int>(operation.kind), operation.path);
      return MakeStatus(kind.error, "injected");
    });
    teller.SetTrouble({[&] { return failed.load(); }, [lasts = kind.lasts] { return lasts; }});
    story.tell(&teller);
    EXPECT_THAT(teller.problems(), IsEmpty()) << what_;
    for (int crash = 0; crash < 2; ++crash) {
      auto after = power || crash == 1 ? disk->Crash(&random_) : disk->Restart();
      teller.Abandon();
      EXPECT_THAT(disk->violations(), IsEmpty()) << what_;
      disk->SetFaultHook(nullptr);
      std::swap(disk, after);
      Teller next(disk.get(), &clock, "/db");
      next.Learn(teller);
      next.Open();
      if (crash == 0) next.GoOn();
      EXPECT_THAT(next.problems(), IsEmpty()) << "after crash " << crash << ", " << what_;
      if (HasFailure()) break;
      next.Abandon();
      teller.Learn(next);
    }
    return failed;
  }

  std::mt19937_64 random_{std::random_device()()};
  std::string what_;
};

TEST_P(Fault, EachOperationInTurn) {
  const uint64_t only = FromEnvironment("SHEAF_FAULT_AT", 0);
  const uint64_t stride = only != 0 ? 1 : FromEnvironment("SHEAF_FAULT_STRIDE", 100);
  uint64_t n = only != 0 ? only : 1 + random_() % stride;
  const auto began = std::chrono::steady_clock::now();
  int injected = 0;
  for (bool hit = true; hit; n += stride) {
    for (const bool power : {false, true}) {
      if (stride > 1 && power != ((n / stride) % 2 == 0)) continue;
      SCOPED_TRACE(fmt::format("operation {}, then {}: replay with SHEAF_FAULT_AT={} store_test --gtest_filter='{}.{}'", n,
                               power ? "the power goes" : "the process dies", n, "Stories/Fault",
                               testing::UnitTest::GetInstance()->current_test_info()->name()));
      hit = FailAndReopen(n, power);
      injected += hit ? 1 : 0;
      if (HasFailure()) return;
    }
    if (only != 0) break;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << fmt::format("{} failures injected, of operations 1 to {} at most, in {:.1f} s\n", injected, n - stride, took.count());
}

INSTANTIATE_TEST_SUITE_P(Stories, Fault, testing::Combine(testing::ValuesIn(Stories()), testing::ValuesIn(kFaultKinds)),
                         [](const auto& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param).name);
                         });

/// A seal that failed between its delete vector and its manifest leaves the vector behind. The next one must not take its name: it
/// would go with what is left over.
TEST(FaultAfterwards, ADeleteVectorIsNotRemovedForOneThatWasLeftOver) {
  auto disk = std::make_unique<io::SimFileSystem>();
  io::SimClock clock;
  Teller before(disk.get(), &clock, "/db");
  before.Open();
  before.Create("k", /*keyed=*/true);
  before.Put("k", {1, 2, 3});
  before.Flush();
  before.Put("k", {1});
  disk->SetFaultHook([](const io::SimOperation& operation) {
    const bool manifest = operation.path.find("MANIFEST-") != std::string::npos;
    return manifest ? MakeError(ErrorKind::kIo, "injected") : Status::OK();
  });
  before.SetTrouble({[] { return true; }, [] { return true; }});
  before.Flush();
  for (int start = 0; start < 3; ++start) {
    auto after = disk->Restart();
    before.Abandon();
    std::swap(disk, after);
    Teller next(disk.get(), &clock, "/db");
    next.Learn(before);
    next.Open();
    next.Put("k", {2});
    next.GoOn();
    ASSERT_THAT(next.problems(), IsEmpty());
    before.Learn(next);
    next.Close();
  }
}

/// Whether a snapshot is there already cannot be known while the folder cannot be read.
TEST(FaultAfterwards, ASnapshotIsNotSaidToBeThereWhereTheDiskDoesNotAnswer) {
  io::SimFileSystem disk;
  io::SimClock clock;
  Teller teller(&disk, &clock, "/db");
  teller.Open();
  ASSERT_TRUE(disk.MakeDirectories("/db/snapshots/one").ok());
  disk.FailNth(io::SimOp::kList, 1, MakeError(ErrorKind::kIo, "injected"));
  EXPECT_EQ(KindOf(teller.database()->CreateSnapshot("one").status()), ErrorKind::kIo);
  EXPECT_TRUE(teller.database()->CreateSnapshot("one").ok());
}

}  // namespace
}  // namespace sheaf::store
