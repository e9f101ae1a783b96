/// What commands with --json print.

#pragma once

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>

#include <nlohmann/json.hpp>

namespace sheaf::cli {

/// Nanoseconds since 1970 as "2026-11-30T12:00:00Z".
inline std::string TimeText(int64_t ns) {
  const std::time_t seconds = ns / 1'000'000'000;
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

/// On standard output. Bytes that are not UTF-8 are replaced.
inline void Print(const nlohmann::ordered_json& json) {
  std::printf("%s\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

}  // namespace sheaf::cli
