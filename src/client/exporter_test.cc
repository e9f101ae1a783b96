/// An exporter before a target that does as it is told, on a simulated disk and clock: what is sent, when, and how often.

#include "client/exporter.h"

#include <deque>
#include <future>
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/sim_testing.h"
#include "wire/otlp_records.h"
#include "wire/protobuf_writer.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;
using testing::SizeIs;
using wire::OtlpRequest;

/// A traces request of so many spans whose names begin with `name`, valid throughout.
std::string Request(const std::string& name, int spans = 1) {
  std::string bytes;
  wire::ProtobufWriter writer(&bytes);
  const size_t resource = writer.Open(1), scope = writer.Open(2);
  for (int i = 0; i < spans; ++i) {
    const size_t span = writer.Open(2);
    writer.Bytes(1, std::string(16, 't'));
    writer.Bytes(2, std::string(8, static_cast<char>('a' + i)));
    writer.Bytes(5, name + std::to_string(i));
    writer.Close(span);
  }
  writer.Close(scope);
  writer.Close(resource);
  return bytes;
}

/// Answers by a script, in turn; then takes everything.
class FakeTarget : public ExportTarget {
 public:
  struct Log {
    Mutex mutex;
    std::deque<ExportAnswer> script SHEAF_GUARDED_BY(mutex);
    std::vector<std::string> taken SHEAF_GUARDED_BY(mutex), seen SHEAF_GUARDED_BY(mutex);
    std::function<ExportAnswer(const ExportRequest&)> answer;  // In place of the script.
    std::function<bool()> lost_arrives = [] { return false; };  // Whether a request whose answer is lost was taken.

    std::vector<std::string> Taken() {
      MutexLock lock(&mutex);
      return taken;
    }
    size_t Attempts() {
      MutexLock lock(&mutex);
      return seen.size();
    }
  };

  explicit FakeTarget(std::shared_ptr<Log> log) : log_(std::move(log)) {}
  ExportAnswer Send(const ExportRequest& request) override {
    EXPECT_EQ(wire::CountOtlpRecords(request.kind, request.bytes).ValueOrDie(), request.rows);
    MutexLock lock(&log_->mutex);
    log_->seen.emplace_back(request.bytes);
    ExportAnswer answer;
    if (log_->answer) {
      answer = log_->answer(request);
    } else if (!log_->script.empty()) {
      answer = log_->script.front();
      log_->script.pop_front();
    }
    answer.sent_bytes = static_cast<int64_t>(request.bytes.size());
    const bool lost = answer.verdict == ExportVerdict::kLost;
    if (answer.verdict == ExportVerdict::kTaken || (lost && log_->lost_arrives())) log_->taken.emplace_back(request.bytes);
    return answer;
  }
  void Cancel() override {}

 private:
  const std::shared_ptr<Log> log_;
};

class ExporterTest : public testing::Test {
 protected:
  ExporterTest() {
    options_.name = "test";
    options_.senders = 0;
    options_.queue.bytes_max = 8 << 20;  // Segments of 1 MiB.
    options_.queue.boot_id = "boot 0";
    options_.files = disk_.get();
    options_.clock = &clock_;
    options_.pause = [this](milliseconds wait) {
      waits_.push_back(wait.count());
      clock_.Advance(wait.count() * 1'000'000);
    };
  }

  Result<std::unique_ptr<Exporter>> TryOpen() {
    options_.files = disk_.get();
    return Exporter::Open(options_, std::make_unique<FakeTarget>(target_));
  }
  void Open() { exporter_ = TryOpen().ValueOrDie(); }
  void OpenDurable() {
    options_.queue.directory = "/queue";
    Open();
  }
  /// Hands in, and waits until it is in the queue.
  Status Enqueue(const std::string& request, OtlpRequest kind = OtlpRequest::kTraces) {
    std::promise<Status> done;
    const Status queued = exporter_->Enqueue(kind, request, [&](Status status) { done.set_value(std::move(status)); });
    return queued.ok() ? done.get_future().get() : queued;
  }
  void Script(std::vector<ExportAnswer> answers) {
    MutexLock lock(&target_->mutex);
    target_->script.assign(answers.begin(), answers.end());
  }
  /// The process dies; the next one finds what was written, synced or not.
  void KillAndOpen() {
    auto after = disk_->Restart();
    exporter_.reset();
    old_disks_.push_back(std::move(disk_));
    disk_ = std::move(after);
    Open();
  }

  /// The power fails, and the machine starts anew with what was synced, and of the rest what `keeps` says.
  void CutPower(std::mt19937_64* random, io::CrashKeeps keeps) {
    auto after = disk_->Crash(random, keeps);
    exporter_.reset();
    old_disks_.push_back(std::exchange(disk_, std::move(after)));
    options_.queue.boot_id = fmt::format("boot {}", old_disks_.size());
  }

  std::unique_ptr<io::SimFileSystem> disk_ = std::make_unique<io::SimFileSystem>();
  std::vector<std::unique_ptr<io::SimFileSystem>> old_disks_;
  io::SimClock clock_;
  std::vector<int64_t> waits_;
  ExporterOptions options_;
  std::shared_ptr<FakeTarget::Log> target_ = std::make_shared<FakeTarget::Log>();
  std::unique_ptr<Exporter> exporter_;
};

TEST_F(ExporterTest, RequestsOfOneKindAreJoinedWhenTheyAreManyOrOld) {
  options_.batch = {.rows_max = 10, .bytes_max = 1 << 20, .flush_interval_ns = 200'000'000};
  Open();
  ASSERT_TRUE(Enqueue(Request("a", 4)).ok());
  ASSERT_TRUE(Enqueue(Request("l"), OtlpRequest::kLogs).ok());
  ASSERT_TRUE(Enqueue(Request("b", 4)).ok());
  EXPECT_EQ(exporter_->SendDue(false).ValueOrDie(), 0);
  ASSERT_TRUE(Enqueue(Request("c", 4)).ok());
  EXPECT_EQ(exporter_->SendDue(false).ValueOrDie(), 1);  // "c" would be too much.
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("a", 4) + Request("b", 4)));
  clock_.Advance(200'000'000);
  EXPECT_EQ(exporter_->SendDue(false).ValueOrDie(), 2);
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("a", 4) + Request("b", 4), Request("l"), Request("c", 4)));
  const ExporterStats stats = exporter_->stats();
  EXPECT_EQ(stats.sent_rows, 13);
  EXPECT_EQ(stats.sent_requests, 3);
  EXPECT_EQ(stats.queue.requests, 0);
  EXPECT_EQ(stats.queue.memory_bytes, 0);
}

TEST_F(ExporterTest, LaterIsTriedAgainWithGrowingWaitsAndWhatTheServerAsksFor) {
  options_.retry = {.first = milliseconds(100), .longest = milliseconds(400)};
  Open();
  const ExportAnswer later{.verdict = ExportVerdict::kLater, .message = "busy"};
  ExportAnswer asked = later;
  asked.retry_after = milliseconds(5'000);
  Script({later, later, later, later, asked});
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(waits_, ElementsAre(AllOf(Ge(50), Le(100)), AllOf(Ge(100), Le(200)), AllOf(Ge(200), Le(400)), AllOf(Ge(200), Le(400)),
                                  AllOf(Ge(5'000), Le(5'500))));
  const ExporterStats stats = exporter_->stats();
  EXPECT_EQ(stats.retries, 5);
  EXPECT_EQ(stats.sent_rows, 1);
  EXPECT_EQ(stats.perhaps_twice_rows, 0);
  EXPECT_THAT(stats.last_error, IsEmpty());
}

TEST_F(ExporterTest, LostAnswersAreSentAgainAndCounted) {
  Open();
  Script({{.verdict = ExportVerdict::kLost}, {.verdict = ExportVerdict::kLater}, {.verdict = ExportVerdict::kLost}});
  ASSERT_TRUE(Enqueue(Request("a", 3)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(target_->Taken(), SizeIs(1));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 6) << "by the third attempt and by the fourth";
}

TEST_F(ExporterTest, TargetThatTakesNothingAtAllHoldsTheQueue) {
  Open();
  int attempts = 0;
  int64_t held = 0;
  target_->answer = [&](const ExportRequest&) {
    if (++attempts == 2) held = exporter_->stats().held;
    return ExportAnswer{.verdict = attempts < 3 ? ExportVerdict::kHeld : ExportVerdict::kTaken, .message = "the token has expired"};
  };
  ASSERT_TRUE(Enqueue(Request("a", 3)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(waits_, SizeIs(2));
  EXPECT_EQ(held, 1);
  EXPECT_EQ(exporter_->stats().held, 0);
  EXPECT_EQ(exporter_->stats().sent_rows, 3);
}

TEST_F(ExporterTest, WhatCannotBeDecodedInATooLargeRequestIsCounted) {
  options_.split_bytes_min = 0;
  Open();
  const std::string whole = Request("good", 2) + Request("bad", 1);
  std::string request = whole;
  request.replace(request.rfind(std::string(16, 't')), 16, std::string(16, '\0'));  // No trace id.
  target_->answer = [&](const ExportRequest& sent) {
    return ExportAnswer{.verdict = sent.bytes.size() >= whole.size() ? ExportVerdict::kTooLarge : ExportVerdict::kTaken};
  };
  ASSERT_TRUE(Enqueue(request).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_EQ(exporter_->stats().sent_rows, 2);
  EXPECT_EQ(exporter_->stats().rejected_rows, 1);
}

TEST_F(ExporterTest, SmallRequestThatIsTooLargeIsNotSplit) {
  Open();
  target_->answer = [](const ExportRequest&) { return ExportAnswer{.verdict = ExportVerdict::kTooLarge}; };
  ASSERT_TRUE(Enqueue(Request("a", 10)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_EQ(target_->Attempts(), 1U);
  EXPECT_EQ(exporter_->stats().refused_rows, 10);
}

TEST_F(ExporterTest, RefusedRequestTakesNoOtherWithIt) {
  Open();
  target_->answer = [](const ExportRequest& request) {
    const bool bad = request.bytes.find("bad") != std::string_view::npos;
    return ExportAnswer{.verdict = bad ? ExportVerdict::kRefused : ExportVerdict::kTaken, .message = bad ? "no" : ""};
  };
  for (const char* name : {"one", "bad", "two"}) ASSERT_TRUE(Enqueue(Request(name, 2)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("one", 2), Request("two", 2)));
  EXPECT_THAT(waits_, IsEmpty());
  const ExporterStats stats = exporter_->stats();
  EXPECT_EQ(stats.refused_rows, 2);
  EXPECT_EQ(stats.sent_rows, 4);
  EXPECT_EQ(stats.perhaps_twice_rows, 0);
  EXPECT_EQ(stats.queue.requests, 0);
}

TEST_F(ExporterTest, RejectedRecordsAreCounted) {
  Open();
  Script({{.rejected = 2, .message = "bad ids"}});
  ASSERT_TRUE(Enqueue(Request("a", 5)).ok());
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  EXPECT_EQ(exporter_->stats().rejected_rows, 2);
  EXPECT_EQ(exporter_->stats().sent_rows, 3);
}

TEST_F(ExporterTest, TooLargeIsSentInSmallerPieces) {
  options_.split_bytes_min = 0;
  Open();
  const auto most = static_cast<size_t>(Request("span", 3).size()) + 20;
  target_->answer = [most](const ExportRequest& request) {
    return ExportAnswer{.verdict = request.bytes.size() > most ? ExportVerdict::kTooLarge : ExportVerdict::kTaken, .message = "too large"};
  };
  ASSERT_TRUE(Enqueue(Request("span", 10)).ok());
  ASSERT_TRUE(Enqueue(Request(std::string(most, 'x'), 1)).ok());  // Never fits.
  EXPECT_EQ(exporter_->SendDue(true).ValueOrDie(), 1);
  std::string all;
  for (const std::string& request : target_->Taken()) all += request;
  EXPECT_EQ(wire::CountOtlpRecords(OtlpRequest::kTraces, all).ValueOrDie(), 10);
  for (int i = 0; i < 10; ++i) EXPECT_THAT(all, HasSubstr("span" + std::to_string(i)));
  EXPECT_EQ(exporter_->stats().refused_rows, 1);
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
}

TEST_F(ExporterTest, FullQueueRefusesAndSaysSo) {
  options_.queue.bytes_max = 200;
  Open();
  EXPECT_EQ(KindOf(Enqueue(Request(std::string(200, 'x')))), ErrorKind::kTooLarge);
  ASSERT_TRUE(Enqueue(Request("a", 2)).ok());
  Status full;
  for (int i = 0; i < 10 && full.ok(); ++i) full = Enqueue(Request("a", 2));
  EXPECT_EQ(KindOf(full), ErrorKind::kThrottled) << full.ToString();
  EXPECT_THAT(full.message(), HasSubstr("full"));
  EXPECT_EQ(KindOf(Enqueue("\x0a\x7f")), ErrorKind::kInvalid);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_TRUE(Enqueue(Request("a", 2)).ok());
}

TEST_F(ExporterTest, WithoutAFolderWhatIsLeftAtTheEndIsDroppedAndSaid) {
  Open();
  ASSERT_TRUE(Enqueue(Request("a", 7)).ok());
  const Status stopped = exporter_->Stop(milliseconds(0));
  EXPECT_EQ(KindOf(stopped), ErrorKind::kUnavailable);
  EXPECT_THAT(stopped.message(), HasSubstr("7 rows"));
  EXPECT_EQ(exporter_->stats().dropped_rows, 7);
  EXPECT_EQ(KindOf(Enqueue(Request("b"))), ErrorKind::kUnavailable);
}

TEST_F(ExporterTest, AcknowledgedRequestsSurviveAKillAndDeliveredOnesAreNotSentAgain) {
  options_.batch.rows_max = 1;
  OpenDurable();
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  KillAndOpen();
  EXPECT_EQ(exporter_->stats().queue.requests, 3);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_THAT(target_->Taken(), ElementsAre(Request("a"), Request("b"), Request("c")));
  KillAndOpen();
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
  ASSERT_TRUE(Enqueue(Request("d")).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_THAT(target_->Taken(), SizeIs(4));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 0);
}

TEST_F(ExporterTest, WhatWasUnderWayAtAKillIsSentAgainAndCounted) {
  options_.batch.rows_max = 2;
  OpenDurable();
  for (const char* name : {"a", "b", "c", "d"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  std::unique_ptr<io::SimFileSystem> after;
  int attempts = 0;
  target_->answer = [&](const ExportRequest&) {
    if (++attempts == 2) after = disk_->Restart();  // It dies before it hears the answer.
    return ExportAnswer();
  };
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  exporter_.reset();
  old_disks_.push_back(std::exchange(disk_, std::move(after)));
  Open();
  EXPECT_EQ(exporter_->stats().queue.requests, 2);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  const std::string ab = Request("a") + Request("b"), cd = Request("c") + Request("d");
  EXPECT_THAT(target_->Taken(), ElementsAre(ab, cd, cd));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 2);
}

TEST_F(ExporterTest, WhatMemoryCannotHoldIsReadFromTheLog) {
  options_.queue.memory_bytes_max = 500;
  options_.batch.rows_max = 3;
  OpenDurable();
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    const std::string request = Request("name" + std::to_string(i));
    expected += request;
    ASSERT_TRUE(Enqueue(request).ok());
  }
  EXPECT_LE(exporter_->stats().queue.memory_bytes, 500);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  std::string all;
  for (const std::string& batch : target_->Taken()) all += batch;
  EXPECT_EQ(all, expected);
  EXPECT_EQ(exporter_->stats().queue.memory_bytes, 0);
}

TEST_F(ExporterTest, DeliveredSegmentsAreRemoved) {
  OpenDurable();
  const std::string large = Request(std::string(200'000, 'x'));
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(Enqueue(large).ok());
    ASSERT_TRUE(exporter_->SendDue(true).ok());
  }
  EXPECT_LE(exporter_->stats().queue.disk_bytes, 6 << 20) << "of 20 MB in all";
  KillAndOpen();
  EXPECT_EQ(exporter_->stats().queue.requests, 0);
}

TEST_F(ExporterTest, DamagedProgressSendsAllAgainAndCountsIt) {
  OpenDurable();
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  ASSERT_TRUE(exporter_->Stop(milliseconds(0)).ok());
  exporter_.reset();
  disk_->SetContents("/queue/DELIVERED", std::string(8192, 'x'));
  Open();
  EXPECT_EQ(exporter_->stats().queue.requests, 2);
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 2);
}

/// As above, with so much sent that the log's first segments are gone.
TEST_F(ExporterTest, QueueWhoseBeginningIsRemovedOpensAfterAPowerCutAndWithoutItsProgress) {
  const std::string large = Request(std::string(200'000, 'x'));
  for (const io::CrashKeeps keeps : {io::CrashKeeps::kNothing, io::CrashKeeps::kAnything, io::CrashKeeps::kEverything}) {
    std::mt19937_64 random(7);
    disk_ = std::make_unique<io::SimFileSystem>();
    OpenDurable();
    for (int life = 0; life < 2; ++life) {
      for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(Enqueue(large).ok());
        ASSERT_TRUE(exporter_->SendDue(true).ok());
      }
      ASSERT_FALSE(disk_->Contents("/queue/log/wal-0000000000000001.log").ok()) << "nothing was removed";
      ASSERT_TRUE(Enqueue(Request("last")).ok());
      CutPower(&random, keeps);
      auto opened = TryOpen();
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      exporter_ = *std::move(opened);
      EXPECT_GE(exporter_->stats().queue.requests, 1);
    }
    ASSERT_TRUE(exporter_->SendDue(true).ok());
    exporter_.reset();
    ASSERT_TRUE(disk_->Remove("/queue/DELIVERED").ok());
    Open();
    const int64_t again = exporter_->stats().queue.rows;
    EXPECT_GE(again, 1);
    ASSERT_TRUE(exporter_->SendDue(true).ok());
    EXPECT_EQ(exporter_->stats().perhaps_twice_rows, again);
    exporter_.reset();
    // Trusted progress is believed: what is missing was lost.
    Open();
    for (int i = 0; i < 12; ++i) ASSERT_TRUE(Enqueue(large).ok());
    exporter_.reset();
    std::vector<std::string> segments;
    for (const io::FileInfo& file : disk_->List("/queue/log").ValueOrDie()) {
      if (file.name.starts_with("wal-")) segments.push_back("/queue/log/" + file.name);
    }
    for (size_t i = 0; i + 1 < segments.size(); ++i) ASSERT_TRUE(disk_->Remove(segments[i]).ok());
    const Status lost = TryOpen().status();
    EXPECT_EQ(KindOf(lost), ErrorKind::kCorruption) << lost.ToString();
  }
}

TEST_F(ExporterTest, WhatMayHaveBeenSentCountsUntilItIsDelivered) {
  OpenDurable();
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  KillAndOpen();
  disk_->SetContents("/queue/DELIVERED", std::string(8192, 'x'));
  KillAndOpen();  // Finds it damaged…
  EXPECT_EQ(exporter_->stats().queue.requests, 2);
  ASSERT_TRUE(Enqueue(Request("new")).ok());
  KillAndOpen();  // …and dies before it sent anything.
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().sent_rows, 3);
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 2) << "all but the new one";
}

TEST_F(ExporterTest, QueueThatDoesNotOpenIsLeftAsItIs) {
  std::mt19937_64 random(1);
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  CutPower(&random, io::CrashKeeps::kEverything);
  const std::string segment = disk_->Contents("/queue/log/wal-0000000000000001.log").ValueOrDie();
  const std::string progress = disk_->Contents("/queue/DELIVERED").ValueOrDie();
  disk_->SetContents("/queue/log/wal-0000000000000001.log", "x" + segment.substr(1));
  EXPECT_FALSE(TryOpen().ok());
  EXPECT_EQ(disk_->Contents("/queue/DELIVERED").ValueOrDie(), progress);
  disk_->SetContents("/queue/log/wal-0000000000000001.log", segment);
  Open();
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 1);
}

TEST_F(ExporterTest, LogThatEndsBeforeWhatWasSentIsAnError) {
  options_.batch.rows_max = 1;
  OpenDurable();
  std::string progress;  // When "b" is begun: only a bit tells of it.
  target_->answer = [&](const ExportRequest&) {
    progress = disk_->Contents("/queue/DELIVERED").ValueOrDie();
    return ExportAnswer();
  };
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  exporter_.reset();
  disk_ = std::make_unique<io::SimFileSystem>();
  Open();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  exporter_.reset();
  disk_->SetContents("/queue/DELIVERED", progress);
  EXPECT_EQ(KindOf(TryOpen().status()), ErrorKind::kCorruption);
}

TEST_F(ExporterTest, DamagedLogIsAnErrorAndLogOfAnotherQueueToo) {
  OpenDurable();
  for (const char* name : {"a", "b"}) ASSERT_TRUE(Enqueue(Request(name)).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  ASSERT_TRUE(exporter_->Stop(milliseconds(0)).ok());
  exporter_.reset();
  const std::string progress = disk_->Contents("/queue/DELIVERED").ValueOrDie();
  std::string segment = disk_->Contents("/queue/log/wal-0000000000000001.log").ValueOrDie();
  segment[4096 + 100] ^= 1;
  disk_->SetContents("/queue/log/wal-0000000000000001.log", segment);
  disk_->SetContents("/queue/DELIVERED", std::string(8192, 'x'));  // Else nobody needs what is damaged.
  EXPECT_EQ(KindOf(TryOpen().status()), ErrorKind::kCorruption);

  disk_ = std::make_unique<io::SimFileSystem>();
  Open();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  ASSERT_TRUE(exporter_->Stop(milliseconds(0)).ok());
  exporter_.reset();
  disk_->SetContents("/queue/DELIVERED", progress);
  EXPECT_EQ(KindOf(TryOpen().status()), ErrorKind::kCorruption);
}

TEST_F(ExporterTest, FullDiskIsTheSendersAnswer) {
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  disk_->SetCapacity(2 << 20);
  Status status;
  for (int i = 0; i < 30 && status.ok(); ++i) status = Enqueue(Request(std::string(200'000, 'x')));
  EXPECT_EQ(KindOf(status), ErrorKind::kUnavailable) << status.ToString();
  const int64_t queued = exporter_->stats().queue.requests;
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  disk_->SetCapacity(std::nullopt);
  ASSERT_TRUE(Enqueue(Request("b")).ok());
  ASSERT_TRUE(exporter_->SendDue(true).ok());
  EXPECT_EQ(exporter_->stats().sent_rows, queued + 1);
}

/// Whatever is lost with the power, each acknowledged request reaches the target; and what reaches it twice is counted.
TEST_F(ExporterTest, PowerCutsLoseNothingThatWasAcknowledged) {
  options_.queue.directory = "/queue";
  options_.batch.rows_max = 3;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    disk_ = std::make_unique<io::SimFileSystem>(seed);
    target_ = std::make_shared<FakeTarget::Log>();
    target_->lost_arrives = [&random] { return random() % 2 == 0; };
    target_->answer = [&random](const ExportRequest&) {
      const uint64_t dice = random() % 10;
      return ExportAnswer{.verdict = dice < 6 ? ExportVerdict::kTaken : dice < 8 ? ExportVerdict::kLost : ExportVerdict::kLater};
    };
    std::vector<std::string> acknowledged;
    int64_t twice = 0;
    for (int life = 0; life < 4; ++life) {
      Open();
      for (int i = 0; i < 12; ++i) {
        const std::string name = fmt::format("<{}.{}.{}>", seed, life, i);
        if (Enqueue(Request(name)).ok()) acknowledged.push_back(name);
        if (random() % 4 != 0) continue;
        ASSERT_TRUE(exporter_->SendDue(random() % 2 == 0).ok());
      }
      if (life == 3) {
        ASSERT_TRUE(exporter_->SendDue(true).ok());
      }
      twice += exporter_->stats().perhaps_twice_rows;
      CutPower(&random, io::CrashKeeps::kAnything);
    }
    std::string all;
    for (const std::string& batch : target_->Taken()) all += batch;
    int64_t more = 0;
    for (const std::string& name : acknowledged) {
      int64_t times = 0;
      for (size_t at = all.find(name); at != std::string::npos; at = all.find(name, at + 1)) ++times;
      EXPECT_GE(times, 1) << name << " is lost";
      more += times - 1;
    }
    EXPECT_LE(more, twice);
  }
}

TEST_F(ExporterTest, ManySendersDeliverEachRequestOnce) {
  options_.senders = 4;
  options_.pause = nullptr;
  options_.clock = io::SystemClock();
  options_.retry = {.first = milliseconds(1), .longest = milliseconds(4)};
  options_.batch = {.rows_max = 5, .bytes_max = 1 << 20, .flush_interval_ns = 1'000'000};
  std::atomic<uint64_t> attempts{0};
  target_->answer = [&](const ExportRequest&) {
    return ExportAnswer{.verdict = ++attempts % 5 == 0 ? ExportVerdict::kLater : ExportVerdict::kTaken};
  };
  OpenDurable();
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(Enqueue(Request(fmt::format("<{}.{}>", t, i))).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(exporter_->Flush(milliseconds(20'000)));
  EXPECT_TRUE(exporter_->Stop(milliseconds(1'000)).ok());
  std::string all;
  for (const std::string& batch : target_->Taken()) all += batch;
  EXPECT_EQ(wire::CountOtlpRecords(OtlpRequest::kTraces, all).ValueOrDie(), 300);
  for (int i = 0; i < 100; ++i) EXPECT_THAT(all, HasSubstr(fmt::format("<2.{}>", i)));
  EXPECT_EQ(exporter_->stats().perhaps_twice_rows, 0);
}

TEST_F(ExporterTest, StopEndsWaitsAndKeepsWhatIsLeft) {
  options_.senders = 2;
  options_.pause = nullptr;
  options_.clock = io::SystemClock();
  target_->answer = [](const ExportRequest&) {
    return ExportAnswer{.verdict = ExportVerdict::kLater, .retry_after = milliseconds(100'000)};
  };
  OpenDurable();
  ASSERT_TRUE(Enqueue(Request("a")).ok());
  EXPECT_FALSE(exporter_->Flush(milliseconds(50)));
  EXPECT_TRUE(exporter_->Stop(milliseconds(10)).ok());
  EXPECT_EQ(exporter_->stats().queue.requests, 1);
}

}  // namespace
}  // namespace sheaf::client
