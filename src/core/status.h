/// Errors as values: Arrow's Status and Result, plus what kind of failure it is.
///
/// Arrow's status codes say too little to act on, so every error that a caller may treat differently
/// carries an ErrorKind as its detail. serve maps kinds to gRPC and HTTP codes in one table.
/// Messages say what failed, where (file, offset, column…) and what to do about it.

#pragma once

#include <optional>
#include <string>
#include <utility>

#include <arrow/result.h>
#include <arrow/status.h>
#include <fmt/format.h>

namespace sheaf {

using arrow::Result;
using arrow::Status;

/// What a caller can do about an error.
enum class ErrorKind {
  kInvalid,        // The request is wrong; sending it again will not help.
  kNotFound,       // What it names does not exist.
  kAlreadyExists,  // What it wants to make exists.
  kConflict,       // What it expected to be there has changed: read again, decide again.
  kTooLarge,       // Over a limit; send less at once.
  kThrottled,      // Overload; the same request may work later.
  kUnavailable,    // Not now: starting, stopping, disk full, read-only. The same request may work later.
  kUnknown,        // The outcome is not known (a sync failed): retry with the same batch id.
  kTimeout,        // The deadline passed.
  kCancelled,      // The caller gave up.
  kCorruption,     // Stored bytes are damaged; never answered as data.
  kIo,             // The operating system refused.
  kOutOfMemory,    // Over the memory limit.
  kDenied,         // The caller may not.
  kUnsupported,    // Not there (yet).
  kInternal,       // A bug.
};

/// Returns the kind's name in lower case with underscores, such as "too_large".
const char* ErrorKindName(ErrorKind kind);

/// Makes an error of `kind`. The Arrow code is chosen to match, so that Arrow-only callers see sense.
Status MakeStatus(ErrorKind kind, std::string message);

template <typename... Args>
Status MakeError(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return MakeStatus(kind, fmt::format(format, std::forward<Args>(args)...));
}

/// Returns the kind of `error`. Errors that Arrow made itself are classified by their code.
/// Requires: !error.ok().
ErrorKind KindOf(const Status& error);

/// Returns the same error with `context` before its message: "opening part 7: …".
Status WithContext(const Status& error, const std::string& context);

}  // namespace sheaf

/// Returns from the function with the error, if `expression` is one.
#define SHEAF_RETURN_NOT_OK(expression) ARROW_RETURN_NOT_OK(expression)
/// Declares or assigns `target` from a Result, or returns its error.
#define SHEAF_ASSIGN_OR_RETURN(target, expression) ARROW_ASSIGN_OR_RAISE(target, expression)
