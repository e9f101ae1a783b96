/// Looks up the addresses of hosts without holding anybody longer than he wants to wait.
///
/// The system's look-up can neither be ended nor given a time-out. So it runs on a thread of its own, which is left to itself where
/// nobody wants the answer any more. Numeric addresses need no look-up.

#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/status.h"

namespace sheaf::client {

/// Numeric addresses of a host, of IPv4 and IPv6, the best first. Thread-safe; may take minutes.
using HostLookUp = std::function<Result<std::vector<std::string>>(const std::string& host)>;
using OnAddresses = std::function<void(Result<std::vector<std::string>> addresses)>;

/// The system's. Error: Unavailable (no such host; nobody answers).
Result<std::vector<std::string>> SystemLookUp(const std::string& host);

/// Looks up `host` by `look_up` (empty: SystemLookUp), and runs `done` once: at once for a numeric address, else on another thread, at
/// any time from now on. So `done` must own what it needs, or find out that it is gone. Errors of `done`: those of `look_up`, and
/// Unavailable (so many look-ups hang that no more are begun).
void BeginLookUp(const HostLookUp& look_up, const std::string& host, OnAddresses done);

/// The same, waiting. Further errors: Timeout, Cancelled (`cancelled`, which may be empty, is asked ten times a second).
Result<std::vector<std::string>> LookUpAndWait(const HostLookUp& look_up, const std::string& host, std::chrono::nanoseconds timeout,
                                               const std::function<bool()>& cancelled);

}  // namespace sheaf::client
