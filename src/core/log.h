/// Structured log lines on standard error: time, level, event, then key=value pairs.
///
///   LogInfo("part.sealed", {{"table", "otel.traces"}, {"rows", rows}});
///
/// The event is a constant in the form noun.verb, so that lines can be counted; what varies is a
/// value. Values that may hold secrets are never logged. Format "logfmt" (default) or "json".

#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

namespace sheaf {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

/// One key and its value as text; numbers and booleans stay bare in JSON.
struct LogField {
  template <typename T>
  LogField(std::string_view k, const T& v)  // NOLINT: implicit on purpose, see the example above.
      : key(k), value(fmt::format("{}", v)), bare(std::is_arithmetic_v<T>) {}
  std::string_view key;
  std::string value;
  bool bare;
};

/// Sets what is written: nothing below `level`. Call before threads start.
void ConfigureLog(LogLevel level, bool json);

/// Writes one line. Thread-safe; never throws, never blocks on anything but the stream.
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields);

inline void LogDebug(std::string_view event, std::initializer_list<LogField> fields = {}) { Log(LogLevel::kDebug, event, fields); }
inline void LogInfo(std::string_view event, std::initializer_list<LogField> fields = {}) { Log(LogLevel::kInfo, event, fields); }
inline void LogWarn(std::string_view event, std::initializer_list<LogField> fields = {}) { Log(LogLevel::kWarn, event, fields); }
inline void LogError(std::string_view event, std::initializer_list<LogField> fields = {}) { Log(LogLevel::kError, event, fields); }

}  // namespace sheaf
