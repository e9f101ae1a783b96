#include "command.h"

#include <atomic>
#include <csignal>
#include <cstdio>

#include <unistd.h>

namespace sheaf::cli {
namespace {

std::atomic<int> g_interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

void OnSignal(int) {
  if (g_interrupts.fetch_add(1) >= 1) _exit(130);
}

}  // namespace

int Fail(const Status& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "sheaf: %s\n", error.message().c_str());
  return kFailed;
}

int Misused(std::string_view message) {
  std::fprintf(stderr, "sheaf: %.*s\nRun with --help for the flags.\n", static_cast<int>(message.size()), message.data());
  return kWrongUsage;
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);  // No SA_RESTART: a waiting read returns.
  sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() { return g_interrupts.load() > 0; }

void ClearInterrupt() { g_interrupts.store(0); }

}  // namespace sheaf::cli
