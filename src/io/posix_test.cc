#include "io/posix.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/clock.h"
#include "io/folder_testing.h"
#include "io/posix_error.h"

namespace sheaf::io {
namespace {

using testing::HasSubstr;

TEST(PosixError, TellsApartWhatCallersActOn) {
  EXPECT_EQ(KindOf(PosixError(ENOENT, "open", "/x")), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(PosixError(EEXIST, "open", "/x")), ErrorKind::kAlreadyExists);
  EXPECT_EQ(KindOf(PosixError(ENOSPC, "write", "/x")), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(PosixError(EDQUOT, "write", "/x")), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(PosixError(EMFILE, "open", "/x")), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(PosixError(EIO, "read", "/x")), ErrorKind::kIo);
  EXPECT_THAT(PosixError(EIO, "read", "/the/path").message(), HasSubstr("read /the/path"));
}

TEST(PosixFileSystem, FullDiskIsUnavailableAndTellsTheFreeBytes) {
  const auto file = PosixFileSystem()->Open("/dev/full", OpenMode::kReadWrite).ValueOrDie();
  const std::byte one{1};
  const Status status = file->WriteAt(0, std::span(&one, 1));
  EXPECT_EQ(KindOf(status), ErrorKind::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("free bytes there"));
}

TEST(PosixFileSystem, OfManyWhoLockOneWins) {
  const TemporaryFolder folder;
  const std::string path = Join(folder.path(), "LOCK");
  std::atomic<int> winners = 0, refused = 0;
  std::vector<std::unique_ptr<FileLock>> held(100);
  std::vector<std::thread> threads;
  for (auto& slot : held) {
    threads.emplace_back([&] {
      auto lock = PosixFileSystem()->Lock(path);
      if (lock.ok()) {
        slot = *std::move(lock);
        ++winners;
      } else if (KindOf(lock.status()) == ErrorKind::kUnavailable) {
        ++refused;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(refused, 99);
}

TEST(PosixFileSystem, RefusedLockNamesItsHolder) {
  const TemporaryFolder folder;
  const std::string path = Join(folder.path(), "LOCK");
  const auto held = PosixFileSystem()->Lock(path);
  ASSERT_TRUE(held.ok());
  const Status refused = PosixFileSystem()->Lock(path).status();
  EXPECT_THAT(refused.message(), HasSubstr(fmt::format("pid {}", ::getpid())));
  EXPECT_THAT(refused.message(), HasSubstr("boot "));
}

TEST(PosixFileSystem, LockDiesWithItsProcess) {
  const TemporaryFolder folder;
  const std::string path = Join(folder.path(), "LOCK");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = PosixFileSystem()->Lock(path);
    ::_exit(held.ok() ? 0 : 1);  // Without releasing it.
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(PosixFileSystem()->Lock(path).ok());
}

TEST(PosixFileSystem, DescriptorsAreNotInherited) {
  const TemporaryFolder folder;
  const int next = ::dup(0);  // The number that the next descriptor will have.
  ::close(next);
  const auto file = PosixFileSystem()->Open(Join(folder.path(), "a"), OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(::fcntl(next, F_GETFD), FD_CLOEXEC);
}

TEST(PosixFileSystem, ReadAheadFetchesWhatIsNotInMemoryAndChangesNothing) {
  const TemporaryFolder folder;
  const std::string path = Join(folder.path(), "a");
  const std::vector<std::byte> bytes(1 << 20, std::byte{7});
  const auto file = PosixFileSystem()->Open(path, OpenMode::kCreate).ValueOrDie();
  ASSERT_TRUE(file->WriteAt(0, bytes).ok());
  ASSERT_TRUE(file->Sync().ok());
  const auto mapped = file->Map(1 << 20, Access::kRandom).ValueOrDie();
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED), 0);
  ::close(descriptor);
  auto* const last_page = const_cast<uint8_t*>(mapped->data()) + (1 << 20) - 4096;
  const auto resident = [&] {
    unsigned char page = 0;
    EXPECT_EQ(::mincore(last_page, 4096, &page), 0);
    return (page & 1) != 0;
  };
  if (resident()) return;  // A file system that keeps everything in memory.
  ReadAhead({mapped->data() + 100, (1 << 20) - 200});
  for (int i = 0; i < 10'000 && !resident(); ++i) ::sched_yield();
  EXPECT_TRUE(resident());
  ReadAhead({mapped->data(), 1});
  ReadAhead({});
  EXPECT_EQ(std::memcmp(mapped->data(), bytes.data(), bytes.size()), 0);
}

TEST(PinThread, BindsThisThreadAndThoseItStarts) {
  std::thread([] {
    cpu_set_t allowed;
    ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
    int first = 0;
    while (!CPU_ISSET(first, &allowed)) ++first;
    ASSERT_TRUE(PinThread({first}).ok());
    std::thread([first] {
      cpu_set_t mine;
      ASSERT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
      EXPECT_EQ(CPU_COUNT(&mine), 1);
      EXPECT_TRUE(CPU_ISSET(first, &mine));
    }).join();
    for (const auto& wrong : {std::vector<int>{}, {-1}, {1023}, {100'000}, {first, 1023}}) {
      EXPECT_EQ(KindOf(PinThread(wrong)), ErrorKind::kInvalid);
    }
  }).join();
}

TEST(RaiseDescriptorLimit, GoesAsFarAsItMay) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const struct rlimit lowered = {std::min<rlim_t>(before.rlim_max, 300), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lowered), 0);
  const auto most = static_cast<int64_t>(std::min<rlim_t>(before.rlim_max, std::numeric_limits<int32_t>::max()));
  EXPECT_EQ(RaiseDescriptorLimit(), most);
  struct rlimit after {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(SystemClock, MonotonicTimeNeverGoesBack) {
  int64_t last = SystemClock()->MonotonicNs();
  for (int i = 0; i < 1'000; ++i) {
    const int64_t now = SystemClock()->MonotonicNs();
    EXPECT_GE(now, last);
    last = now;
  }
  EXPECT_GT(SystemClock()->NowNs(), int64_t{1'600'000'000} * 1'000'000'000);
}

}  // namespace
}  // namespace sheaf::io
