/// States what must hold whatever the input: a failed check is a bug in Sheaf, never the user's fault.
/// On in release builds too; prints the place and the condition, then aborts.

#pragma once

#include <cstdio>
#include <cstdlib>

namespace sheaf {

[[noreturn, gnu::cold, gnu::noinline]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace sheaf

#define SHEAF_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::sheaf::CheckFailed(__FILE__, __LINE__, #condition))
