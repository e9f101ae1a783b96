/// What the database does when memory is out: in four stories each allocation in turn fails, those by operator new and those from
/// Arrow's pool. A call that only reads is refused, or throws, and works the next time; a call that changes something is refused, or
/// the process ends there. Either way the database is opened again as it is on disk: what was acknowledged is there, what was refused
/// is not, and it goes on.
///
/// Each try is a process of its own, in which the story is told on a simulated disk. Where it ends, by std::terminate(), the handler
/// takes the disk and what the teller knows and looks at what is left, while all other threads stand still for want of a disk.
///
/// To try each allocation takes hours: every SHEAF_FAULT_STRIDE-th is tried, from a random one on. One of them alone:
/// SHEAF_FAULT_AT=<n> store_memory_fault_test --gtest_filter='Stories/MemoryFault.EachAllocationInTurn/Keyed_New'

#include <execinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <tuple>

#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/environment_testing.h"
#include "io/sim_testing.h"
#include "store/story_testing.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif
extern "C" int __llvm_profile_write_file() __attribute__((weak));  // Of builds that count what is covered.

namespace {

enum class Kind { kNone, kNew, kPool };

// Which allocation fails. Set while no other thread runs, but for the counters.
std::atomic<Kind> g_kind{Kind::kNone};
std::atomic<uint64_t> g_seen{0};
std::atomic<bool> g_failed{false};
uint64_t g_at = 0;
bool g_lasts = false, g_shown = false;
thread_local bool t_counted = true;  // The test's own thread is only while it asks the database for something.

/// Whether the caller is Arrow's fingerprint of a type. It is written by a std::ostream, which swallows the exception, and kept
/// half-written, so that the type is equal to no other any more. All that comes of it is an error with a wrong reason; nothing to test.
bool InFingerprint() {
  void* frames[64];
  const int count = backtrace(frames, 64);
  char** const names = backtrace_symbols(frames, count);
  const bool found = std::any_of(names, names + count, [](const char* name) { return std::strstr(name, "ComputeFingerprint") != nullptr; });
  std::free(names);
  if (g_shown && !found) backtrace_symbols_fd(frames, count, STDERR_FILENO);
  return found;
}

bool Refuse(Kind kind) {
  if (g_kind.load(std::memory_order_relaxed) != kind || !t_counted || sheaf::io::SimFileSystem::Busy()) return false;
  const uint64_t number = g_seen.fetch_add(1, std::memory_order_relaxed) + 1;
  if (number < g_at || (g_failed && !g_lasts)) return false;
  if (g_failed) return true;
  t_counted = false;
  const bool refuse = !InFingerprint() && !g_failed.exchange(true);  // Else the next one is refused.
  t_counted = true;
  return refuse;
}

void* New(size_t bytes, size_t alignment = 0) {
  if (Refuse(Kind::kNew)) return nullptr;
  if (bytes == 0) bytes = 1;
  return alignment == 0 ? std::malloc(bytes) : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* NewOrThrow(size_t bytes, size_t alignment = 0) {
  void* const memory = New(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

/// Arrow's own, but for the one allocation.
class FailingPool : public arrow::MemoryPool {
 public:
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override {
    if (Refuse(Kind::kPool)) return arrow::Status::OutOfMemory("injected");
    return pool_->Allocate(size, alignment, out);
  }
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) override {
    if (Refuse(Kind::kPool)) return arrow::Status::OutOfMemory("injected");
    return pool_->Reallocate(old_size, new_size, alignment, ptr);
  }
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override { pool_->Free(buffer, size, alignment); }
  int64_t bytes_allocated() const override { return pool_->bytes_allocated(); }
  int64_t max_memory() const override { return pool_->max_memory(); }
  int64_t total_bytes_allocated() const override { return pool_->total_bytes_allocated(); }
  int64_t num_allocations() const override { return pool_->num_allocations(); }
  std::string backend_name() const override { return pool_->backend_name(); }

 private:
  arrow::MemoryPool* const pool_ = arrow::system_memory_pool();
};

}  // namespace

// A program's definitions come before those of shared libraries: Arrow allocates by these, too.
namespace arrow {
MemoryPool* default_memory_pool() {
  static FailingPool* const pool = new FailingPool;
  return pool;
}
}  // namespace arrow

void* operator new(size_t bytes) { return NewOrThrow(bytes); }
void* operator new[](size_t bytes) { return NewOrThrow(bytes); }
void* operator new(size_t bytes, std::align_val_t alignment) { return NewOrThrow(bytes, static_cast<size_t>(alignment)); }
void* operator new[](size_t bytes, std::align_val_t alignment) { return NewOrThrow(bytes, static_cast<size_t>(alignment)); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return New(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return New(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace sheaf::store {
namespace {

// How a process says what became of the story.
constexpr int kWentOn = 0, kFailed = 1, kEnded = 3, kNotSoMany = 4;
constexpr unsigned kSecondsMax = 120;  // Then it hangs.

struct MemoryFaultKind {
  const char* name;
  Kind kind;
  bool lasts;
};

const MemoryFaultKind kMemoryFaultKinds[] = {
    {"New", Kind::kNew, false}, {"Pool", Kind::kPool, false}, {"PoolFromThenOn", Kind::kPool, true}};

/// One story, in a process of its own. Never destroyed: threads may stand still in the middle of it.
class Try {
 public:
  explicit Try(uint64_t n) : disk_(std::make_unique<io::SimFileSystem>(n)), random_(n), teller_(disk_.get(), &clock_, "/db") {}

  [[noreturn]] void Tell(const Story& story, const MemoryFaultKind& kind, uint64_t n) {
    alarm(kSecondsMax);
    t_counted = false;
    TellOnce(story);
    story.set_up(&teller_);
    telling_.lock();
    teller_.SetTrouble({.begun = [] { return g_failed.load(); },
                        .lasts = [lasts = kind.lasts] { return lasts; },
                        .asking = [this](bool asking) {
                          if (asking) telling_.unlock();
                          t_counted = asking;
                          if (!asking) telling_.lock();
                        }});
    static Try* const self = this;
    std::set_terminate([] { self->End(); });
#ifndef __SANITIZE_ADDRESS__  // Which has a handler of its own.
    std::signal(SIGSEGV, ShowCrash);
#endif
    g_at = n;
    g_lasts = kind.lasts;
    g_shown = std::getenv("SHEAF_FAULT_AT") != nullptr;
    g_kind = kind.kind;
    story.tell(&teller_);
    g_kind = Kind::kNone;
    told_ = true;
    const bool sound = LookAtWhatIsLeft(/*ended=*/false);
#ifdef __SANITIZE_ADDRESS__
    if (__lsan_do_recoverable_leak_check() != 0) Exit(kFailed);
#endif
    Exit(!sound ? kFailed : g_failed ? kWentOn : kNotSoMany);
  }

 private:
  /// Makes what is made once in a process: where that fails half-way, whoever needs it next waits for ever, and a process that ends
  /// does not.
  static void TellOnce(const Story& story) {
    arrow::io::default_io_context();  // Its threads: not every telling gets as far as to open a file of Arrow's.
    io::SimFileSystem disk;
    io::SimClock clock;
    Teller teller(&disk, &clock, "/db");
    story.set_up(&teller);
    story.tell(&teller);
    teller.Close();
  }

  /// Of a crash that may not come again: threads are not told to run as they did.
  static void ShowCrash(int signal) {
    void* frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
    std::signal(signal, SIG_DFL);
    raise(signal);
  }

  /// Instead of std::terminate().
  [[noreturn]] void End() {
    g_kind = Kind::kNone;
    t_counted = false;
    while (!telling_.try_lock()) {  // The teller waits for its answer, or stops when it has it…
      if (told_) Exit(kEnded);      // …or had told everything, and waits for this thread.
      std::this_thread::yield();
    }
    const bool sound = LookAtWhatIsLeft(/*ended=*/true);
    if (!g_failed) std::cerr << "ended, though no allocation failed\n";
    Exit(sound && g_failed ? kEnded : kFailed);
  }

  /// At once: threads may stand still in the middle of something.
  [[noreturn]] static void Exit(int outcome) {
    if (__llvm_profile_write_file != nullptr) __llvm_profile_write_file();
    _exit(outcome);
  }

  bool LookAtWhatIsLeft(bool ended) {
    bool sound = Sound(teller_);
    Teller* before = &teller_;
    for (int crash = 0; sound && crash < 2; ++crash) {
      auto after = crash == 1 ? disk_->Crash(&random_) : disk_->Restart();
      if (!ended || crash == 1) before->Abandon();
      for (const std::string& violation : disk_->violations()) std::cerr << violation << "\n", sound = false;
      disk_.swap(after);
      left_.push_back(std::move(after));
      next_.push_back(std::make_unique<Teller>(disk_.get(), &clock_, "/db"));
      Teller* const next = next_.back().get();
      next->Learn(*before);
      next->Open();
      if (crash == 0) next->GoOn();
      sound = sound && Sound(*next);
      before = next;
    }
    if (sound) before->Abandon();
    return sound;
  }

  static bool Sound(const Teller& teller) {
    for (const std::string& problem : teller.problems()) std::cerr << problem << "\n";
    return teller.problems().empty();
  }

  std::unique_ptr<io::SimFileSystem> disk_;
  std::vector<std::unique_ptr<io::SimFileSystem>> left_;
  std::vector<std::unique_ptr<Teller>> next_;
  std::mt19937_64 random_;
  io::SimClock clock_;
  std::mutex telling_;  // Held by the teller's thread but for when it asks the database; for good by a thread that ends the process.
  std::atomic<bool> told_{false};
  Teller teller_;
};

class MemoryFault : public testing::TestWithParam<std::tuple<Story, MemoryFaultKind>> {
 protected:
  int TellElsewhere(uint64_t n) {
    std::cout.flush();
    const pid_t child = fork();
    if (child == 0) (new Try(n))->Tell(std::get<0>(GetParam()), std::get<1>(GetParam()), n);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : kFailed;
  }
};

TEST_P(MemoryFault, EachAllocationInTurn) {
  const uint64_t only = FromEnvironment("SHEAF_FAULT_AT", 0);
  const uint64_t usual = std::get<1>(GetParam()).kind == Kind::kNew ? 10'000 : 60;
  const uint64_t stride = only != 0 ? 1 : FromEnvironment("SHEAF_FAULT_STRIDE", usual);
  uint64_t n = only != 0 ? only : 1 + std::random_device()() % stride;
  const auto began = std::chrono::steady_clock::now();
  int went_on = 0, ended = 0;
  for (int outcome = kWentOn; outcome != kNotSoMany && (only == 0 || n == only); n += stride) {
    outcome = TellElsewhere(n);
    went_on += outcome == kWentOn ? 1 : 0;
    ended += outcome == kEnded ? 1 : 0;
    ASSERT_THAT(outcome, testing::AnyOf(kWentOn, kEnded, kNotSoMany))
        << fmt::format("allocation {}: replay with SHEAF_FAULT_AT={} store_memory_fault_test --gtest_filter='{}.{}'", n, n,
                       "Stories/MemoryFault", testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << fmt::format("{} allocations failed, of 1 to {} at most: {} times it went on, {} times it ended; {:.1f} s\n", went_on + ended,
                           n - stride, went_on, ended, took.count());
}

INSTANTIATE_TEST_SUITE_P(Stories, MemoryFault, testing::Combine(testing::ValuesIn(Stories()), testing::ValuesIn(kMemoryFaultKinds)),
                         [](const auto& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param).name);
                         });

}  // namespace
}  // namespace sheaf::store
