#include "core/test_hooks.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

namespace sheaf {

#ifdef SHEAF_TEST_HOOKS

namespace {

/// NAME or NAME:COUNT.
struct Asked {
  std::string name;
  std::atomic<int64_t> left{1};

  explicit Asked(const char* given) {
    const std::string_view text = given == nullptr ? "" : given;
    const size_t colon = text.find(':');
    name = text.substr(0, colon);
    if (colon != std::string_view::npos) left = std::strtoll(text.data() + colon + 1, nullptr, 10);
  }
};

}  // namespace

void Failpoint(const char* name) {
  static Asked asked(std::getenv("SHEAF_FAILPOINT"));
  if (!asked.name.empty() && asked.name == name && asked.left.fetch_sub(1) == 1) (void)std::raise(SIGKILL);
}

bool Mutant(const char* name) {
  static const Asked asked(std::getenv("SHEAF_MUTANT"));
  return !asked.name.empty() && asked.name == name;
}

#else

void Failpoint(const char*) {}
bool Mutant(const char*) { return false; }

#endif

}  // namespace sheaf
