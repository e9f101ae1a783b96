/// System calls that fail when a test wants them to: the real file system's own calls, put in between by the linker (--wrap,
/// see CMakeLists.txt), so that what is tested is the code that runs in the product.
///
/// Only in programs that are linked so (io_test, store_test). Until a fault is set, every call is the system's.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace sheaf::io {

/// What becomes of a call.
enum class CallFault {
  kNone,
  kInterrupted,  // -1 with EINTR, before anything was done. Calls that no signal interrupts are left alone.
  kShort,        // Reads and writes do half of what was asked, but at least a byte. Others are left alone.
  kFails,        // -1 with the errno of the hook's choice, before anything was done; close() has closed nevertheless.
};

/// A call that is about to be made.
struct SystemCall {
  const char* name;      // "pread"
  std::string path;      // Of calls that name one, else empty.
  uint64_t number = 0;   // 1: the first since the hook was set.
  bool interruptible = false;
  bool shortable = false;
  int fault_errno = 5;   // EIO, unless the hook changes it.
};

/// Decides about each call from now on, on whichever thread it is made; one at a time. Null: none fails.
using CallHook = std::function<CallFault(SystemCall*)>;
void SetCallHook(CallHook hook);

}  // namespace sheaf::io
