#include "serve/sql_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

#include <arrow/util/utf8.h>

#include "serve/json_parameters.h"
#include "serve/json_text.h"
#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

using nlohmann::json;

constexpr size_t kParametersMax = 4096;

Result<int64_t> ReadTimeout(std::string_view text) {
  int64_t timeout_ms = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), timeout_ms);
  if (error != std::errc() || end != text.data() + text.size() || timeout_ms < 1) {
    return MakeError(ErrorKind::kInvalid, "timeout_ms must be a whole number of milliseconds, at least 1");
  }
  return timeout_ms;
}

/// As ReadTimeout(); 1000.0 is a whole number too.
Result<int64_t> ReadTimeout(const json& value) {
  const double number = value.is_number_float() ? value.get<double>() : 0;
  if (number >= 1 && number < 9e15 && number == std::floor(number)) return static_cast<int64_t>(number);
  return ReadTimeout(std::string_view(value.dump()));
}

Status ReadJsonBody(std::string_view body, query::QueryRequest* out) {
  const json document = json::parse(body, nullptr, false);
  if (document.is_discarded()) {
    return MakeError(ErrorKind::kInvalid, "the body is not JSON; send {{\"sql\": …, \"params\": […]}} or SQL as text/plain");
  }
  if (!document.is_object() || !document.contains("sql") || !document["sql"].is_string()) {
    return MakeError(ErrorKind::kInvalid, "the body must be an object with the text \"sql\"");
  }
  for (const auto& [key, value] : document.items()) {
    if (key == "sql") {
      out->sql = value.get<std::string>();
    } else if (key == "params") {
      if (!value.is_array() || value.size() > kParametersMax) {
        return MakeError(ErrorKind::kInvalid, "\"params\" must be an array of at most {} values", kParametersMax);
      }
      for (size_t i = 0; i < value.size(); ++i) {
        SHEAF_ASSIGN_OR_RETURN(query::Parameter parameter, ReadJsonParameter(value[i], i));
        out->parameters.push_back(std::move(parameter));
      }
    } else if (key == "timeout_ms") {
      SHEAF_ASSIGN_OR_RETURN(out->timeout_ms, ReadTimeout(value));
    } else {
      return MakeError(ErrorKind::kInvalid, "the body has the unknown key \"{}\"; known are sql, params, timeout_ms",
                       key.substr(0, 64));
    }
  }
  return Status::OK();
}

/// JSON of a few nested brackets would cost the parser a stack frame each; requests have no use for it.
bool NestsDeeply(std::string_view text) {
  constexpr int kDepthMax = 16;
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDepthMax) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

Status ReadBody(const HttpRequest& request, query::QueryRequest* out) {
  const std::string_view body = request.body->view();
  if (MediaTypeOf(request.header("content-type")) == "application/json") {
    if (NestsDeeply(body)) return MakeError(ErrorKind::kInvalid, "the body nests too deeply");
    return ReadJsonBody(body, out);
  }
  arrow::util::InitializeUTF8();
  if (!arrow::util::ValidateUTF8(reinterpret_cast<const uint8_t*>(body.data()), static_cast<int64_t>(body.size()))) {
    return MakeError(ErrorKind::kInvalid, "the statement is not UTF-8");
  }
  out->sql = body;
  return Status::OK();
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// The q of a media range's parameters; 1 where there is none, 0 where it is malformed.
double QualityOf(std::string_view range) {
  for (size_t semicolon = range.find(';'); semicolon != std::string_view::npos; semicolon = range.find(';', semicolon + 1)) {
    const std::string_view parameter = Trim(range.substr(semicolon + 1, range.find(';', semicolon + 1) - semicolon - 1));
    if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) continue;
    double quality = 0;
    std::from_chars(parameter.data() + 2, parameter.data() + parameter.size(), quality);
    return quality;
  }
  return 1;
}

/// One of an Accept header: "text/csv", "text/*" or "*/*".
struct MediaRange {
  std::string type;
  double quality;
  size_t position;
};

/// How much a client likes a type.
struct Liking {
  double quality = 0;
  size_t position = SIZE_MAX;  // Of the range that says so: among equals the first named counts.

  bool Beats(const Liking& other) const {
    return quality > other.quality || (quality > 0 && quality == other.quality && position < other.position);
  }
};

/// The most specific range that matches says it (RFC 9110, 12.5.1).
Liking LikingOf(std::string_view type, const std::vector<MediaRange>& ranges) {
  const std::string_view plain = type.substr(0, type.find(';'));
  const std::string family = std::string(plain.substr(0, plain.find('/'))) + "/*";
  Liking liking;
  int specific = 0;
  for (const MediaRange& range : ranges) {
    const int here = range.type == plain ? 3 : range.type == family ? 2 : range.type == "*/*" ? 1 : 0;
    if (here <= specific) continue;
    specific = here;
    liking = {range.quality, range.position};
  }
  return liking;
}

/// Those that a client may choose by Accept; where it likes several the same, the first of these.
constexpr std::array kFormats = {query::Format::kJson,  query::Format::kNdjson,  query::Format::kCsv,
                                 query::Format::kArrow, query::Format::kParquet, query::Format::kTable};

}  // namespace

Result<std::optional<std::string>> QueryValue(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) != name) continue;
    std::string value(pair.substr(std::min(equals + 1, pair.size())));
    std::replace(value.begin(), value.end(), '+', ' ');
    std::optional<std::string> decoded = wire::PercentDecode(value);
    if (!decoded) return MakeError(ErrorKind::kInvalid, "?{}= is not properly percent-encoded", name);
    return decoded;
  }
  return std::nullopt;
}

Result<query::Format> ChooseFormat(std::string_view accept) {
  std::vector<MediaRange> ranges;
  for (std::string_view rest = accept; !rest.empty();) {
    const size_t end = std::min(rest.find(','), rest.size());
    const std::string_view range = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (std::string type = MediaTypeOf(range); !type.empty()) ranges.push_back({std::move(type), QualityOf(range), ranges.size()});
  }
  if (ranges.empty()) return query::Format::kJson;
  std::optional<query::Format> best;
  Liking liking;
  std::string known;
  for (const query::Format format : kFormats) {
    const std::string_view type = query::MediaType(format);
    known += fmt::format("{}{}", known.empty() ? "" : ", ", type);
    const Liking here = LikingOf(type, ranges);
    if (!here.Beats(liking)) continue;
    liking = here;
    best = format;
  }
  if (best) return *best;
  return MakeError(ErrorKind::kInvalid, "Accept names no format that /v1/sql has: {}", known);
}

Result<SqlRequest> ParseSqlRequest(const HttpRequest& request, const SqlRequestLimits& limits) {
  SqlRequest parsed;
  // JSON may spell each character as \u00xx; beyond that no body can hold a statement within the limit.
  if (static_cast<int64_t>(request.body->bytes().size()) / 6 > limits.sql_bytes_max + 65'536) {
    return MakeError(ErrorKind::kTooLarge, "the body is too large; a statement may have {} bytes (query.sql_bytes)",
                     limits.sql_bytes_max);
  }
  SHEAF_RETURN_NOT_OK(ReadBody(request, &parsed.query));
  if (static_cast<int64_t>(parsed.query.sql.size()) > limits.sql_bytes_max) {
    return MakeError(ErrorKind::kTooLarge, "the statement has {} bytes; the limit is {} (query.sql_bytes)",
                     parsed.query.sql.size(), limits.sql_bytes_max);
  }
  SHEAF_ASSIGN_OR_RETURN(const std::optional<std::string> timeout, QueryValue(request.query, "timeout_ms"));
  if (timeout) {
    SHEAF_ASSIGN_OR_RETURN(parsed.query.timeout_ms, ReadTimeout(std::string_view(*timeout)));
  }
  int64_t& timeout_ms = parsed.query.timeout_ms;
  if (limits.timeout_ms_max > 0) timeout_ms = std::min(timeout_ms, limits.timeout_ms_max);
  SHEAF_ASSIGN_OR_RETURN(const std::optional<std::string> format, QueryValue(request.query, "format"));
  if (format) {
    SHEAF_ASSIGN_OR_RETURN(parsed.format, query::ParseFormat(*format));
  } else {
    SHEAF_ASSIGN_OR_RETURN(parsed.format, ChooseFormat(request.header("accept")));
  }
  return parsed;
}

}  // namespace sheaf::serve
