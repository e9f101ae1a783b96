#include "stop_signals.h"

#include <thread>

#include <pthread.h>
#include <unistd.h>

namespace sheaf::cli {
namespace {

int Wait(const sigset_t& signals) {
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  return number;
}

}  // namespace

sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

int WaitForStopSignal(const sigset_t& signals) {
  const int number = Wait(signals);
  std::thread([signals] {
    Wait(signals);
    _exit(130);
  }).detach();
  return number;
}

}  // namespace sheaf::cli
