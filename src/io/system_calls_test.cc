/// The real file system when the system's calls are interrupted, do less than was asked, or fail: in a story of all that a file
/// system is asked for, each call in turn. What a signal interrupts and what is cut short nobody notices; every error is told, and
/// nothing is left open. SHEAF_CALL_AT=<n> io_test --gtest_filter='SystemCalls.*' tries the n-th call alone.

#include "io/system_calls_testing.h"

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"

namespace sheaf::io {
namespace {

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

/// One thing that is asked for; answers with text that does not depend on the folder.
struct Step {
  std::string what;
  std::function<Result<std::string>()> run;
  bool again = true;  // After an error it works the next time.
};

class Calls {
 public:
  Calls() : root_(folder_.path()) {
    Do("make folders", [this] { return Ok(files_->MakeDirectories(Join(root_, "a/b"))); });
    Do("create", [this] { return Open("a/file", OpenMode::kCreate); });
    Do("allocate", [this] { return Ok(file_->Allocate(10'000)); });
    Do("write", [this] { return Write(); });
    Do("sync data", [this] { return Ok(file_->SyncData()); }, false);
    Do("truncate", [this] { return Ok(file_->Truncate(9'000)); });
    Do("sync", [this] { return Ok(file_->Sync()); }, false);
    Do("size", [this] { return Number(file_->Size()); });
    Do("map", [this] { return Map(); });
    Do("close", [this] { return Ok(file_->Close()); });
    Do("open", [this] { return Open("a/file", OpenMode::kReadWrite); });
    Do("read", [this] { return Read(); });
    Do("write atomically", [this] { return Ok(WriteFileAtomically(files_, Join(root_, "a/atom"), Bytes("whole"))); });
    Do("read whole", [this] { return ReadWhole("a/atom"); });
    Do("rename", [this] { return Ok(files_->Rename(Join(root_, "a/atom"), Join(root_, "a/moved"))); });
    Do("link", [this] { return Ok(files_->Link(Join(root_, "a/moved"), Join(root_, "a/b/linked"))); });
    Do("sync folder", [this] { return Ok(files_->SyncDirectory(Join(root_, "a"))); });
    Do("list", [this] { return List("a"); });
    Do("stat", [this] { return Stat("a/moved"); });
    Do("lock", [this] { return Lock(); });
    Do("lock twice", [this] { return LockTwice(); });
    Do("remove", [this] { return Ok(files_->Remove(Join(root_, "a/moved"))); });
    Do("bypass the cache", [this] { return Ok(file_->BypassCache()); });
  }

  const std::vector<Step>& steps() const { return steps_; }
  const std::string& root() const { return root_; }

 private:
  void Do(std::string what, std::function<Result<std::string>()> run, bool again = true) {
    steps_.push_back({std::move(what), std::move(run), again});
  }
  static Result<std::string> Ok(const Status& status) {
    if (!status.ok()) return status;
    return std::string("done");
  }
  static Result<std::string> Number(const Result<int64_t>& number) {
    if (!number.ok()) return number.status();
    return std::to_string(*number);
  }

  Result<std::string> Open(const std::string& name, OpenMode mode) {
    SHEAF_ASSIGN_OR_RETURN(file_, files_->Open(Join(root_, name), mode));
    return std::string("opened");
  }
  Result<std::string> Write() {
    std::vector<std::string> texts;
    for (int i = 0; i < 7; ++i) texts.push_back(std::string(static_cast<size_t>(i * i * 40), static_cast<char>('a' + i)));
    std::vector<std::span<const std::byte>> parts;
    for (const std::string& text : texts) parts.push_back(Bytes(text));
    return Ok(file_->WriteAt(3, parts));
  }
  Result<std::string> Read() {
    std::string text(10'000, '?');
    SHEAF_ASSIGN_OR_RETURN(const int64_t read, file_->ReadAt(0, std::as_writable_bytes(std::span(text))));
    return std::to_string(read) + " " + text;
  }
  Result<std::string> Map() {
    SHEAF_ASSIGN_OR_RETURN(const auto mapped, file_->Map(9'000));
    return mapped->ToString();
  }
  Result<std::string> ReadWhole(const std::string& name) {
    SHEAF_ASSIGN_OR_RETURN(const auto bytes, ReadFile(files_, Join(root_, name), 100));
    return bytes->ToString();
  }
  Result<std::string> List(const std::string& name) {
    SHEAF_ASSIGN_OR_RETURN(const auto list, files_->List(Join(root_, name)));
    std::string text;
    for (const FileInfo& file : list) text += file.name + (file.is_directory ? "/ " : " " + std::to_string(file.bytes) + " ");
    return text;
  }
  Result<std::string> Stat(const std::string& name) {
    SHEAF_ASSIGN_OR_RETURN(const FileInfo info, files_->Stat(Join(root_, name)));
    return info.name + " " + std::to_string(info.bytes);
  }
  Result<std::string> Lock() {
    SHEAF_ASSIGN_OR_RETURN(lock_, files_->Lock(Join(root_, "LOCK")));
    return std::string("locked");
  }
  Result<std::string> LockTwice() {
    const auto second = files_->Lock(Join(root_, "LOCK"));
    if (second.ok()) return std::string("locked twice");
    if (KindOf(second.status()) == ErrorKind::kUnavailable && second.status().message().find("held by") != std::string::npos) {
      return std::string("refused");
    }
    return second.status();
  }

  const TemporaryFolder folder_;
  const std::string root_;
  FileSystem* const files_ = PosixFileSystem();
  std::unique_ptr<File> file_;
  std::unique_ptr<FileLock> lock_;
  std::vector<Step> steps_;
};

int64_t OpenDescriptors() {
  return static_cast<int64_t>(PosixFileSystem()->List("/proc/self/fd").ValueOrDie().size());
}

/// Answers of an undisturbed run.
std::vector<std::string> Undisturbed() {
  Calls calls;
  std::vector<std::string> answers;
  for (const Step& step : calls.steps()) answers.push_back(step.run().ValueOrDie());
  return answers;
}

/// Calls whose failure may stay untold: what is closed has been written and synced before, or was only read; folders above ours are
/// there already, whoever may make them; who holds a lock is for messages only.
bool MayBeSilent(const SystemCall& call, const std::string& step, const std::string& root) {
  const std::string_view name = call.name;
  return name == "close" || (name == "mkdir" && root.starts_with(call.path)) || step == "lock" || step == "lock twice";
}

class SystemCalls : public testing::Test {
 protected:
  void TearDown() override { SetCallHook(nullptr); }

  /// Tells the story with the n-th call of `among` (spaces before and behind each name; empty: all) failing with `error`. False: there were
  /// not so many.
  bool FailNth(uint64_t n, std::string_view among, int error, ErrorKind expected_kind) {
    const int64_t open_before = OpenDescriptors();
    uint64_t seen = 0;
    std::unique_ptr<SystemCall> failed;
    {
      Calls calls;
      SetCallHook([&](SystemCall* call) {
        const bool counts = among.empty() || among.find(fmt::format(" {} ", call->name)) != std::string_view::npos;
        if (!counts || ++seen != n) return CallFault::kNone;
        call->fault_errno = error;
        failed = std::make_unique<SystemCall>(*call);
        return CallFault::kFails;
      });
      for (size_t i = 0; i < calls.steps().size() && !HasFailure(); ++i) {
        const Step& step = calls.steps()[i];
        const bool failed_before = failed != nullptr;
        Result<std::string> answer = step.run();
        const bool failed_here = !failed_before && failed != nullptr;
        SCOPED_TRACE(step.what + (failed_here ? std::string(", in which failed ") + failed->name : ""));
        if (!answer.ok()) {
          EXPECT_TRUE(failed_here) << answer.status().ToString();
          EXPECT_EQ(KindOf(answer.status()), expected_kind) << answer.status().ToString();
          if (step.again) answer = step.run();
          if (!step.again) answer = expected_[i];
        } else if (failed_here) {
          EXPECT_TRUE(MayBeSilent(*failed, step.what, calls.root())) << "nobody was told";
        }
        EXPECT_EQ(answer.ok() ? *answer : answer.status().ToString(), expected_[i]);
      }
      SetCallHook(nullptr);
    }
    EXPECT_EQ(OpenDescriptors(), open_before) << "after a failure of " << (failed ? failed->name : "nothing");
    return failed != nullptr;
  }

  void FailEach(std::string_view among, int error, ErrorKind kind) {
    const char* only = std::getenv("SHEAF_CALL_AT");
    uint64_t n = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
    for (bool hit = true; hit && !HasFailure(); ++n) {
      SCOPED_TRACE("replay with SHEAF_CALL_AT=" + std::to_string(n));
      hit = FailNth(n, among, error, kind) && only == nullptr;
    }
    EXPECT_TRUE(only != nullptr || n > 10) << "the calls are not wrapped";
  }

  /// Disturbs each n-th call in a way that nobody may notice.
  void DisturbEach(CallFault fault) {
    int disturbed = 0;
    for (uint64_t n = 1; n < 70; ++n) {
      for (const uint64_t every : {0, 2, 3}) {
        if (every != 0 && n > every) continue;
        SetCallHook([&](SystemCall* call) {
          const bool hit = every == 0 ? call->number == n : (call->number + n) % every == 0;
          disturbed += hit ? 1 : 0;
          return hit ? fault : CallFault::kNone;
        });
        Calls calls;
        for (size_t i = 0; i < calls.steps().size(); ++i) {
          const auto answer = calls.steps()[i].run();
          EXPECT_EQ(answer.ok() ? *answer : answer.status().ToString(), expected_[i]) << calls.steps()[i].what << ", call " << n;
        }
        SetCallHook(nullptr);
        if (HasFailure()) return;
      }
    }
    EXPECT_GT(disturbed, 150) << "the calls are not wrapped";
  }

  const std::vector<std::string> expected_ = Undisturbed();
};

TEST_F(SystemCalls, AnErrorIsToldAndTheNextAttemptWorks) { FailEach("", EIO, ErrorKind::kIo); }
TEST_F(SystemCalls, AFullDiskIsToldAndTheNextAttemptWorks) {
  FailEach(" pwrite  pwritev  fallocate  ftruncate  open  rename  link  mkdir  fsync  fdatasync ", ENOSPC, ErrorKind::kUnavailable);
}
TEST_F(SystemCalls, TooManyOpenFilesAreToldAndTheNextAttemptWorks) { FailEach(" open ", EMFILE, ErrorKind::kUnavailable); }
TEST_F(SystemCalls, NobodyNoticesASignal) { DisturbEach(CallFault::kInterrupted); }
TEST_F(SystemCalls, NobodyNoticesThatLessIsDone) { DisturbEach(CallFault::kShort); }

TEST_F(SystemCalls, WithoutPreallocationZerosAreWritten) {
  SetCallHook([](SystemCall* call) {
    call->fault_errno = EOPNOTSUPP;
    return std::string_view(call->name) == "fallocate" ? CallFault::kFails : CallFault::kNone;
  });
  Calls calls;
  for (size_t i = 0; i < calls.steps().size(); ++i) {
    const auto answer = calls.steps()[i].run();
    EXPECT_EQ(answer.ok() ? *answer : answer.status().ToString(), expected_[i]) << calls.steps()[i].what;
  }
}

}  // namespace
}  // namespace sheaf::io
