/// What becomes of an allocation that fails. Memory that a peer decides about is limited where it is taken, and refused as a Status
/// (memory.h); what is left are the small pieces that nothing can do without, whose allocation throws std::bad_alloc.
///
///   A call that only reads lets it pass, or answers OutOfMemory; it has changed nothing, and the next one works.
///   A call that changes something is noexcept: the process ends there, as a crash does, rather than go on with half a change. What was
///   acknowledged is on disk and is found by the next start. Threads of ours end it likewise.
///
/// store/memory_fault_test.cc lets each allocation of four stories fail and looks at what is left.

#pragma once

#include <new>
#include <string>

#include "core/status.h"

namespace sheaf {

/// Runs `body`, which returns a Status or a Result, and turns std::bad_alloc into an error of that type (OutOfMemory). For bodies that
/// leave nothing behind when they are left half-way.
template <typename Body>
auto CatchOutOfMemory(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return MakeStatus(ErrorKind::kOutOfMemory, "out of memory");
  }
}

/// Whether memory was what a call lacked, whatever kind of error a library made of it: Parquet's reader calls it damage.
inline bool IsOutOfMemory(const Status& status) {
  return KindOf(status) == ErrorKind::kOutOfMemory || status.message().find("std::bad_alloc") != std::string::npos;
}

/// Says in the log why the process ends, when it does for an exception that nobody takes, and what is left. For main().
void ExplainTermination();

}  // namespace sheaf
