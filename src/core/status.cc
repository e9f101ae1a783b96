#include "core/status.h"

#include <memory>

namespace sheaf {
namespace {

constexpr char kDetailType[] = "sheaf::ErrorKind";

class KindDetail : public arrow::StatusDetail {
 public:
  explicit KindDetail(ErrorKind kind) : kind_(kind) {}
  const char* type_id() const override { return kDetailType; }
  std::string ToString() const override { return ErrorKindName(kind_); }
  ErrorKind kind() const { return kind_; }

 private:
  const ErrorKind kind_;
};

arrow::StatusCode ArrowCode(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid: return arrow::StatusCode::Invalid;
    case ErrorKind::kNotFound: return arrow::StatusCode::KeyError;
    case ErrorKind::kAlreadyExists: return arrow::StatusCode::AlreadyExists;
    case ErrorKind::kTooLarge: return arrow::StatusCode::CapacityError;
    case ErrorKind::kCancelled: return arrow::StatusCode::Cancelled;
    case ErrorKind::kOutOfMemory: return arrow::StatusCode::OutOfMemory;
    case ErrorKind::kUnsupported: return arrow::StatusCode::NotImplemented;
    case ErrorKind::kCorruption:
    case ErrorKind::kIo: return arrow::StatusCode::IOError;
    default: return arrow::StatusCode::UnknownError;
  }
}

}  // namespace

const char* ErrorKindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid: return "invalid";
    case ErrorKind::kNotFound: return "not_found";
    case ErrorKind::kAlreadyExists: return "already_exists";
    case ErrorKind::kConflict: return "conflict";
    case ErrorKind::kTooLarge: return "too_large";
    case ErrorKind::kThrottled: return "throttled";
    case ErrorKind::kUnavailable: return "unavailable";
    case ErrorKind::kUnknown: return "unknown";
    case ErrorKind::kTimeout: return "timeout";
    case ErrorKind::kCancelled: return "cancelled";
    case ErrorKind::kCorruption: return "corruption";
    case ErrorKind::kIo: return "io";
    case ErrorKind::kOutOfMemory: return "out_of_memory";
    case ErrorKind::kDenied: return "denied";
    case ErrorKind::kUnsupported: return "unsupported";
    case ErrorKind::kInternal: return "internal";
  }
  return "internal";
}

Status MakeStatus(ErrorKind kind, std::string message) {
  return Status(ArrowCode(kind), std::move(message), std::make_shared<KindDetail>(kind));
}

ErrorKind KindOf(const Status& error) {
  if (error.detail() && error.detail()->type_id() == std::string_view(kDetailType)) {
    return static_cast<const KindDetail&>(*error.detail()).kind();
  }
  switch (error.code()) {
    case arrow::StatusCode::Invalid:
    case arrow::StatusCode::TypeError:
    case arrow::StatusCode::IndexError: return ErrorKind::kInvalid;
    case arrow::StatusCode::KeyError: return ErrorKind::kNotFound;
    case arrow::StatusCode::AlreadyExists: return ErrorKind::kAlreadyExists;
    case arrow::StatusCode::CapacityError: return ErrorKind::kTooLarge;
    case arrow::StatusCode::Cancelled: return ErrorKind::kCancelled;
    case arrow::StatusCode::OutOfMemory: return ErrorKind::kOutOfMemory;
    case arrow::StatusCode::NotImplemented: return ErrorKind::kUnsupported;
    case arrow::StatusCode::IOError: return ErrorKind::kIo;
    default: return ErrorKind::kInternal;
  }
}

Status WithContext(const Status& error, const std::string& context) {
  return MakeStatus(KindOf(error), context + ": " + error.message());
}

}  // namespace sheaf
