/// What tests of the exporter stand on: a target that does as it is told, and an exporter before it on a simulated disk and clock.

#pragma once

#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "client/exporter.h"
#include "io/sim_testing.h"
#include "wire/otlp_records.h"
#include "wire/protobuf_writer.h"

namespace sheaf::client {

/// A traces request of so many spans whose names begin with `name`, valid throughout.
inline std::string Request(const std::string& name, int spans = 1) {
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
    options_.pause = [this](std::chrono::milliseconds wait) {
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
  Status Enqueue(const std::string& request, wire::OtlpRequest kind = wire::OtlpRequest::kTraces) {
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

}  // namespace sheaf::client
