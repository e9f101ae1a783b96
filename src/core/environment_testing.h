/// Numbers that tests take from the environment: how much to try, and what to try again.

#pragma once

#include <cstdint>
#include <cstdlib>

namespace sheaf {

/// The variable as a number, or `otherwise` where it is not set.
inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given == nullptr ? otherwise : std::strtoull(given, nullptr, 10);
}

}  // namespace sheaf
