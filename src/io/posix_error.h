/// What a system call's failure means: an errno as an error that names the call, the path, the reason and what can be done; a
/// signal's interruption as nothing.

#pragma once

#include <cerrno>
#include <string>

#include "core/status.h"

namespace sheaf::io {

/// ENOENT is kNotFound, EEXIST kAlreadyExists; a full disk or quota and a lack of descriptors are
/// kUnavailable; everything else is kIo. `call` says what was tried, such as "open".
Status PosixError(int error, const char* call, const std::string& path);

/// Calls again while a signal interrupted the call before it did anything. Not for close().
template <typename Call>
auto Uninterrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace sheaf::io
