#include "client/look_up.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "core/mutex.h"

namespace sheaf::client {
namespace {

namespace asio = boost::asio;
using Addresses = std::vector<std::string>;

constexpr std::chrono::milliseconds kCancelPoll{100};
/// Of the whole process. Each holds a thread that does nothing but wait.
constexpr int kLookUpsMax = 64;
std::atomic<int> g_look_ups = 0;

bool IsNumeric(const std::string& host) {
  boost::system::error_code error;
  asio::ip::make_address(host, error);
  return !error;
}

/// What the waiting side and the thread share; the last of them destroys it.
struct Wait {
  Mutex mutex;
  CondVar changed;
  std::optional<Result<Addresses>> addresses SHEAF_GUARDED_BY(mutex);
};

}  // namespace

Result<Addresses> SystemLookUp(const std::string& host) {
  asio::io_context io;
  asio::ip::tcp::resolver resolver(io);
  boost::system::error_code error;
  const auto found = resolver.resolve(host, "", error);
  if (error) return MakeError(ErrorKind::kUnavailable, "looking up {}: {}", host, error.message());
  Addresses addresses;
  for (const auto& entry : found) {
    std::string address = entry.endpoint().address().to_string();
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(std::move(address));
  }
  return addresses;
}

void BeginLookUp(const HostLookUp& look_up, const std::string& host, OnAddresses done) {
  if (IsNumeric(host)) return done(Addresses{host});
  if (++g_look_ups > kLookUpsMax) {
    --g_look_ups;
    return done(MakeError(ErrorKind::kUnavailable, "looking up {}: {} look-ups wait for an answer already; does the name server answer?",
                          host, kLookUpsMax));
  }
  std::thread([look_up, host, done = std::move(done)]() mutable {
    Result<Addresses> found = look_up ? look_up(host) : SystemLookUp(host);
    if (found.ok() && found->empty()) found = MakeError(ErrorKind::kUnavailable, "looking up {}: it has no address", host);
    done(std::move(found));
    done = nullptr;  // What it owns goes before the count says that this thread is done.
    --g_look_ups;
  }).detach();
}

Result<Addresses> LookUpAndWait(const HostLookUp& look_up, const std::string& host, std::chrono::nanoseconds timeout,
                                const std::function<bool()>& cancelled) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  const auto wait = std::make_shared<Wait>();
  BeginLookUp(look_up, host, [wait](Result<Addresses> addresses) {
    MutexLock lock(&wait->mutex);
    wait->addresses = std::move(addresses);
    wait->changed.NotifyAll();
  });
  for (;;) {
    {
      MutexLock lock(&wait->mutex);
      if (!wait->addresses) wait->changed.WaitFor(&wait->mutex, std::min<std::chrono::nanoseconds>(kCancelPoll, timeout));
      if (wait->addresses) return *std::move(wait->addresses);
    }
    if (cancelled && cancelled()) return MakeError(ErrorKind::kCancelled, "looking up {}: cancelled", host);
    if (std::chrono::steady_clock::now() >= end) return MakeError(ErrorKind::kTimeout, "looking up {}: no answer in time", host);
  }
}

}  // namespace sheaf::client
