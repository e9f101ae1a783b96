/// A benchmark that went wrong measured nothing: the value of a Result, or the end of the program.

#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "core/status.h"

namespace sheaf::bench {

inline void Must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "sheaf: %s\n", status.ToString().c_str());
  std::exit(1);
}
template <typename T>
T Must(Result<T> result) {
  Must(result.status());
  return *std::move(result);
}

}  // namespace sheaf::bench
