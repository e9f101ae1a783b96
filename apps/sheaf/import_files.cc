#include "import_files.h"

#include <optional>
#include <string_view>

#include "io/posix.h"

namespace sheaf::cli {
namespace {

constexpr int64_t kFileBytesMax = int64_t{1} << 30;

/// Nothing where `table` is empty.
Result<std::optional<wire::OtlpRequest>> KindOfTable(std::string_view table) {
  if (table.starts_with("otel.")) table.remove_prefix(5);
  if (table.empty()) return std::nullopt;
  if (table == "traces") return wire::OtlpRequest::kTraces;
  if (table == "logs") return wire::OtlpRequest::kLogs;
  if (table.starts_with("metrics")) return wire::OtlpRequest::kMetrics;
  return MakeError(ErrorKind::kUnsupported,
                   "OTLP goes into traces, logs or metrics, not into '{}'; other tables come with later work", table);
}

/// An export request has one member, which names its signal.
Result<wire::OtlpRequest> KindOfJson(std::string_view json) {
  const std::string_view begin = json.substr(0, 4'096);
  const auto has = [&](std::string_view key) { return begin.find(key) != std::string_view::npos; };
  if (has("\"resourceSpans\"") || has("\"resource_spans\"")) return wire::OtlpRequest::kTraces;
  if (has("\"resourceLogs\"") || has("\"resource_logs\"")) return wire::OtlpRequest::kLogs;
  if (has("\"resourceMetrics\"") || has("\"resource_metrics\"")) return wire::OtlpRequest::kMetrics;
  return MakeError(ErrorKind::kInvalid,
                   "there is no resourceSpans, resourceLogs or resourceMetrics in it; say --table if it is OTLP");
}

}  // namespace

Status ReadOtlpFile(const std::string& path, const std::string& table,
                    const std::function<Status(wire::OtlpRequest kind, const std::string& request)>& take) {
  const std::string suffix = path.rfind('.') == std::string::npos ? "" : path.substr(path.rfind('.'));
  if (suffix != ".pb" && suffix != ".json" && suffix != ".jsonl") {
    return MakeError(ErrorKind::kUnsupported, "only OTLP (.pb, .json, .jsonl) can be imported yet; '{}' files come with tables",
                     suffix);
  }
  SHEAF_ASSIGN_OR_RETURN(const std::optional<wire::OtlpRequest> told, KindOfTable(table));
  SHEAF_ASSIGN_OR_RETURN(const auto buffer, io::ReadFile(io::PosixFileSystem(), path, kFileBytesMax));
  const std::string_view bytes(reinterpret_cast<const char*>(buffer->data()), static_cast<size_t>(buffer->size()));
  if (suffix == ".pb") {
    if (!told) return MakeError(ErrorKind::kInvalid, "protobuf does not tell its signal: say --table traces, logs or metrics");
    return take(*told, std::string(bytes));
  }
  const auto take_json = [&](std::string_view json) -> Status {
    wire::OtlpRequest kind{};
    if (told) {
      kind = *told;
    } else {
      SHEAF_ASSIGN_OR_RETURN(kind, KindOfJson(json));
    }
    std::string request;
    SHEAF_RETURN_NOT_OK(wire::OtlpJsonToProtobuf(kind, json, &request));
    return take(kind, request);
  };
  if (suffix == ".json") return take_json(bytes);
  int64_t line = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view text = bytes.substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (const Status status = take_json(text); !status.ok()) return WithContext(status, fmt::format("line {}", line));
  }
  return Status::OK();
}

}  // namespace sheaf::cli
