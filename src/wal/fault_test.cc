/// What the log does when the operating system refuses: each operation in turn fails once, in every way
/// that it can, and nothing that was acknowledged may be lost or be acknowledged wrongly afterwards.

#include <atomic>
#include <future>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal/sim_log_testing.h"

namespace sheaf::wal {
namespace {

using testing::Contains;
using testing::IsEmpty;

struct FaultCase {
  const char* name;
  io::SimOp kind;
  ErrorKind error;

  friend void PrintTo(const FaultCase& row, std::ostream* out) { *out << row.name; }
};

const FaultCase kFaultCases[] = {
    {"SyncFails", io::SimOp::kSync, ErrorKind::kIo},
    {"SyncFindsTheDiskFull", io::SimOp::kSync, ErrorKind::kUnavailable},
    {"WriteFails", io::SimOp::kWrite, ErrorKind::kIo},
    {"WriteFindsTheDiskFull", io::SimOp::kWrite, ErrorKind::kUnavailable},
    {"OpenFails", io::SimOp::kOpen, ErrorKind::kIo},
    {"OpenFindsNoDescriptor", io::SimOp::kOpen, ErrorKind::kUnavailable},
    {"AllocateFails", io::SimOp::kAllocate, ErrorKind::kIo},
    {"AllocateFindsTheDiskFull", io::SimOp::kAllocate, ErrorKind::kUnavailable},
    {"RenameFails", io::SimOp::kRename, ErrorKind::kIo},
    {"RenameFindsTheDiskFull", io::SimOp::kRename, ErrorKind::kUnavailable},
    {"FolderSyncFails", io::SimOp::kSyncDirectory, ErrorKind::kIo},
    {"TruncateFails", io::SimOp::kTruncate, ErrorKind::kIo},
    {"RemoveFails", io::SimOp::kRemove, ErrorKind::kIo},
    {"ListFails", io::SimOp::kList, ErrorKind::kIo},
    {"ReadFails", io::SimOp::kRead, ErrorKind::kIo},
};

/// What happened in one run of the workload.
struct Outcome {
  Strings appended;                       // Every payload that was handed over, in order.
  std::vector<std::pair<uint64_t, std::string>> acknowledged;
  Strings refused;                        // Told for certain that they are not stored.
  bool after_unknown = false;             // An append was acknowledged after a failed sync.
};

Outcome Workload(io::SimFileSystem* disk, const std::function<bool()>& sync_failed) {
  Outcome outcome;
  io::SimClock clock;
  for (int session = 0; session < 2; ++session) {
    auto opened = OpenLog(disk, &clock, SimLogOptions());
    if (!opened.ok()) continue;
    const bool failed_before = sync_failed();
    for (int i = 0; i < 8; ++i) {
      const std::string payload = fmt::format("{}.{}:{}", session, i, std::string(static_cast<size_t>(i % 4) * 3'000, 'x'));
      outcome.appended.push_back(payload);
      const Result<Lsn> lsn = AppendAndWait(opened->log.get(), MakeEntry(payload));
      if (lsn.ok()) {
        outcome.acknowledged.emplace_back(lsn->value, payload);
        if (!failed_before && sync_failed() && !opened->log->Close().ok()) outcome.after_unknown = true;
      } else if (KindOf(lsn.status()) != ErrorKind::kUnknown) {
        outcome.refused.push_back(payload);
      }
    }
  }
  return outcome;
}

class Fault : public testing::TestWithParam<FaultCase> {
 protected:
  /// Runs the workload with operation `n` of the kind failing, then opens what is left: as after the death of
  /// the process (the page cache stays) or, with `power`, of the machine. Sets `hit` when there were so many.
  void FailAndReopen(uint64_t n, bool power, bool* hit) {
    const FaultCase& row = GetParam();
    io::SimFileSystem disk(n);
    std::atomic<bool> failed = false;
    std::atomic<uint64_t> seen = 0;
    disk.SetFaultHook([&](const io::SimOperation& operation) {
      if (operation.kind != row.kind || ++seen != n) return Status::OK();
      failed = true;
      return MakeStatus(row.error, "injected");
    });
    const Outcome outcome = Workload(&disk, [&] { return failed && row.kind == io::SimOp::kSync; });
    EXPECT_FALSE(outcome.after_unknown);
    EXPECT_THAT(disk.violations(), IsEmpty());

    const auto after = power ? disk.Crash(&random_) : disk.Restart();
    io::SimClock clock;
    const auto opened = OpenLog(after.get(), &clock, SimLogOptions());
    ASSERT_TRUE(opened.ok()) << opened.status();
    for (const auto& [lsn, payload] : outcome.acknowledged) {
      ASSERT_LE(lsn, opened->replayed.size());
      ASSERT_EQ(opened->replayed[lsn - 1], payload);
    }
    for (const std::string& payload : opened->replayed) ASSERT_THAT(outcome.appended, Contains(payload));
    for (const std::string& payload : outcome.refused) ASSERT_THAT(opened->replayed, testing::Not(Contains(payload)));
    EXPECT_THAT(after->violations(), IsEmpty());
    *hit |= failed;
  }

  std::mt19937_64 random_{11};
};

TEST_P(Fault, EachOperationInTurn) {
  bool hit = true;
  for (uint64_t n = 1; hit && !HasFatalFailure(); ++n) {  // Until n is beyond the last operation of this kind.
    hit = false;
    for (const bool power : {false, true}) {
      SCOPED_TRACE(fmt::format("operation {} of its kind, then {}", n, power ? "the power goes" : "the process dies"));
      FailAndReopen(n, power, &hit);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Wal, Fault, testing::ValuesIn(kFaultCases), [](const auto& info) { return std::string(info.param.name); });

class FaultTest : public SimLogTest {};

TEST_F(FaultTest, FailedSyncPoisonsForGood) {
  OpenedLog opened = Open();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("a")).ok());
  disk_.FailNth(io::SimOp::kSync, 1, MakeError(ErrorKind::kIo, "injected"));
  EXPECT_EQ(KindOf(AppendAndWait(opened.log.get(), MakeEntry("b")).status()), ErrorKind::kUnknown);
  EXPECT_EQ(KindOf(opened.log->Append(MakeEntry("c"), [](Result<Lsn>) { ADD_FAILURE(); })), ErrorKind::kUnavailable);
  EXPECT_EQ(opened.log->durable_lsn(), Lsn(1));
  EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), Lsn(99)).ValueOrDie(), Strings{"a"});
  EXPECT_FALSE(opened.log->Close().ok());
  EXPECT_THAT(disk_.violations(), IsEmpty());
}

TEST_F(FaultTest, WhatWaitsBehindAFailedSyncIsUnknownToo) {
  std::promise<void> entered, leave;
  std::atomic<bool> armed = false;
  OpenedLog opened = Open();
  disk_.SetFaultHook([&](const io::SimOperation& operation) {
    if (operation.kind != io::SimOp::kSync || !armed.exchange(false)) return Status::OK();
    entered.set_value();
    leave.get_future().wait();
    return MakeError(ErrorKind::kIo, "injected");
  });
  ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("a")).ok());
  armed = true;
  auto failing = AppendLater(opened.log.get(), MakeEntry("b"));
  entered.get_future().wait();
  auto waiting = AppendLater(opened.log.get(), MakeEntry("c"));
  leave.set_value();
  EXPECT_EQ(KindOf(failing.get().status()), ErrorKind::kUnknown);
  EXPECT_EQ(KindOf(waiting.get().status()), ErrorKind::kUnknown);
}

TEST_F(FaultTest, FullDiskRefusesAndResumesByItself) {
  disk_.SetCapacity(100 << 10);
  OpenedLog opened = Open();
  Strings stored;
  int refused = 0;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) {
      const std::string payload = fmt::format("{}/{}:{}", round, i, std::string(10'000, 'x'));
      const Result<Lsn> lsn = AppendAndWait(opened.log.get(), MakeEntry(payload));
      if (lsn.ok()) {
        stored.push_back(payload);
        EXPECT_EQ(lsn->value, stored.size());
      } else {
        EXPECT_EQ(KindOf(lsn.status()), ErrorKind::kUnavailable) << lsn.status();
        ++refused;
      }
    }
    EXPECT_EQ(ReadPayloads(opened.log.get(), Lsn(0), Lsn(999)).ValueOrDie(), stored);
    disk_.SetCapacity((200 + 100 * round) << 10);
  }
  EXPECT_GT(refused, 10);
  EXPECT_GT(stored.size(), 15u);
  ASSERT_TRUE(opened.log->Close().ok());
  EXPECT_EQ(Open().replayed, stored);
}

TEST_F(FaultTest, SlowSyncGathersTheNextGroup) {
  std::promise<void> entered, leave;
  std::atomic<bool> armed = false;
  std::atomic<int> syncs = 0;
  options_.segment_bytes = 1 << 20;  // No new segment is prepared meanwhile.
  OpenedLog opened = Open();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("first")).ok());
  disk_.SetFaultHook([&](const io::SimOperation& operation) {
    if (operation.kind != io::SimOp::kSync) return Status::OK();
    ++syncs;
    if (armed.exchange(false)) {
      entered.set_value();
      leave.get_future().wait();
    }
    return Status::OK();
  });
  armed = true;
  std::vector<std::future<Result<Lsn>>> futures;
  futures.push_back(AppendLater(opened.log.get(), MakeEntry("slow")));
  entered.get_future().wait();
  for (int i = 0; i < 100; ++i) futures.push_back(AppendLater(opened.log.get(), MakeEntry("gathered")));
  leave.set_value();
  for (auto& future : futures) EXPECT_TRUE(future.get().ok());
  EXPECT_EQ(syncs, 2);
}

TEST_F(FaultTest, CommitIsBroughtUpToDateWhenIdle) {
  options_.commit_delay_ms = 1;
  std::promise<void> written;
  std::atomic<bool> once = false;
  disk_.SetFaultHook([&](const io::SimOperation& operation) {
    if (operation.kind == io::SimOp::kSync && operation.path == "/wal/COMMIT" && !once.exchange(true)) written.set_value();
    return Status::OK();
  });
  OpenedLog opened = Open();
  ASSERT_TRUE(AppendAndWait(opened.log.get(), MakeEntry("a")).ok());
  clock_.Advance(2'000'000);
  written.get_future().wait();
  ASSERT_TRUE(opened.log->Close().ok());
}

}  // namespace
}  // namespace sheaf::wal
