/// Writing rows to standard output or a file in one of the result formats.

#pragma once

#include <string>

#include "core/status.h"
#include "query/formats.h"
#include "query_source.h"

namespace CLI {
class App;
}

namespace sheaf::cli {

/// Adds --format and --json. `text` holds the chosen name.
void AddFormatFlags(CLI::App* command, std::string* text);

/// Writes all rows, the writer's end included, and returns how many there were. Bytes go to standard
/// output. Errors: those of the rows, and Io (standard output is closed or full).
Result<int64_t> PrintRows(Rows* rows, query::Format format);

/// The same to `path`, which then holds the whole result or is not there. Errors: also Io with the path.
Result<int64_t> WriteRows(Rows* rows, query::Format format, const std::string& path);

}  // namespace sheaf::cli
