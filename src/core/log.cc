#include "core/log.h"

#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace sheaf {
namespace {

bool g_json = false;

spdlog::logger& Logger() {
  static spdlog::logger* const logger = [] {
    auto* made = new spdlog::logger("sheaf", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("time=%Y-%m-%dT%H:%M:%S.%fZ level=%l %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *logger;
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::err;
}

void AppendQuoted(std::string* out, std::string_view text) {
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(*out), "\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

bool IsBareWord(std::string_view text) {
  return !text.empty() && text.find_first_of(" =\"\\\n\r\t") == std::string_view::npos;
}

}  // namespace

void ConfigureLog(LogLevel level, bool json) {
  g_json = json;
  Logger().set_level(SpdlogLevel(level));
  Logger().set_pattern(json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l",%v})" : "time=%Y-%m-%dT%H:%M:%S.%fZ level=%l %v",
                       spdlog::pattern_time_type::utc);
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!Logger().should_log(SpdlogLevel(level))) return;
  std::string line;
  if (g_json) {
    line = "\"event\":";
    AppendQuoted(&line, event);
    for (const LogField& field : fields) {
      line.push_back(',');
      AppendQuoted(&line, field.key);
      line.push_back(':');
      if (field.bare) line += field.value;
      else AppendQuoted(&line, field.value);
    }
  } else {
    line = fmt::format("event={}", event);
    for (const LogField& field : fields) {
      line.push_back(' ');
      line += field.key;
      line.push_back('=');
      if (field.bare || IsBareWord(field.value)) line += field.value;
      else AppendQuoted(&line, field.value);
    }
  }
  Logger().log(SpdlogLevel(level), "{}", line);
}

}  // namespace sheaf
