#include "query/error_map.h"

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

int64_t PositionOf(const duckdb::ErrorData& error) {
  const auto found = error.ExtraInfo().find("position");
  if (found == error.ExtraInfo().end()) return -1;
  int64_t position = -1;
  std::from_chars(found->second.data(), found->second.data() + found->second.size(), position);
  return position;
}

}  // namespace

Status FromDuckDb(const duckdb::ErrorData& error) {
  const ErrorKind kind = KindOfType(error.Type());
  const int64_t position = PositionOf(error);
  if (kind != ErrorKind::kInvalid || position < 0) return MakeStatus(kind, error.Message());
  return Status(arrow::StatusCode::Invalid, error.Message(), std::make_shared<PositionDetail>(position));
}

int64_t ErrorPosition(const Status& error) {
  if (error.ok() || !error.detail() || error.detail()->type_id() != std::string_view(kPositionType)) return -1;
  return static_cast<const PositionDetail&>(*error.detail()).position();
}

}  // namespace sheaf::query
