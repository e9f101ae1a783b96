#include "query/error_map.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>

#include "query/engine.h"

namespace sheaf::query {

namespace {

constexpr char kPositionType[] = "sheaf::query::ErrorPosition";

/// Stands in for core's kind detail on errors that point into the text. Those are all kInvalid, which is
/// also what KindOf() makes of their Arrow code.
class PositionDetail : public arrow::StatusDetail {
 public:
  explicit PositionDetail(int64_t position) : position_(position) {}
  const char* type_id() const override { return kPositionType; }
  std::string ToString() const override { return "at byte " + std::to_string(position_); }
  int64_t position() const { return position_; }

 private:
  const int64_t position_;
};

ErrorKind KindOfType(duckdb::ExceptionType type) {
  using Type = duckdb::ExceptionType;
  switch (type) {
    case Type::INTERRUPT: return ErrorKind::kCancelled;
    case Type::OUT_OF_MEMORY: return ErrorKind::kOutOfMemory;
    case Type::IO:
    case Type::NETWORK:
    case Type::HTTP: return ErrorKind::kIo;
    case Type::PERMISSION: return ErrorKind::kDenied;
    case Type::NOT_IMPLEMENTED: return ErrorKind::kUnsupported;
    case Type::INTERNAL:
    case Type::FATAL:
    case Type::NULL_POINTER: return ErrorKind::kInternal;
    default: return ErrorKind::kInvalid;
  }
}

/// Where the caret of a message points that DuckDB has already drawn under the line (it then forgets the number):
///   LINE 2: …excerpt of the line…
///              ^
int64_t PositionOfCaret(const std::string& message, std::string_view sql) {
  const size_t label = message.rfind("\nLINE ");
  if (label == std::string::npos) return -1;
  int line = 0;
  const char* digits = message.data() + label + 6;
  const char* end = std::from_chars(digits, message.data() + message.size(), line).ptr;
  const size_t shown_at = static_cast<size_t>(end - message.data()) + 2;  // After ": ".
  const size_t shown_end = message.find('\n', shown_at);
  const size_t caret = shown_end == std::string::npos ? shown_end : message.find('^', shown_end);
  if (caret == std::string::npos || shown_at > shown_end) return -1;
  std::string_view shown = std::string_view(message).substr(shown_at, shown_end - shown_at);
  auto offset = static_cast<int64_t>(caret - shown_end - 1) - static_cast<int64_t>(shown_at - label - 1);
  if (shown.starts_with("...")) shown.remove_prefix(3), offset -= 3;
  if (shown.ends_with("...")) shown.remove_suffix(3);
  size_t line_start = 0;
  for (int i = 1; i < line && line_start != std::string_view::npos; ++i) {
    line_start = sql.find('\n', line_start);
    if (line_start != std::string_view::npos) ++line_start;
  }
  if (line_start == std::string_view::npos) return -1;
  const size_t found = sql.find(shown, line_start);
  if (found == std::string_view::npos || offset < 0) return -1;
  return std::min(static_cast<int64_t>(found) + offset, static_cast<int64_t>(sql.size()));
}

int64_t PositionOf(const duckdb::ErrorData& error, std::string_view sql) {
  const auto found = error.ExtraInfo().find("position");
  int64_t position = -1;
  if (found != error.ExtraInfo().end()) {
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), position);
  }
  return position >= 0 ? position : PositionOfCaret(error.Message(), sql);
}

}  // namespace

Status FromDuckDb(const duckdb::ErrorData& error, std::string_view sql) {
  const ErrorKind kind = KindOfType(error.Type());
  const int64_t position = PositionOf(error, sql);
  if (kind != ErrorKind::kInvalid || position < 0) return MakeStatus(kind, error.Message());
  return Status(arrow::StatusCode::Invalid, error.Message(), std::make_shared<PositionDetail>(position));
}

int64_t ErrorPosition(const Status& error) {
  if (error.ok() || !error.detail() || error.detail()->type_id() != std::string_view(kPositionType)) return -1;
  return static_cast<const PositionDetail&>(*error.detail()).position();
}

}  // namespace sheaf::query
