/// The interactive prompt of `sheaf sql`: line editing, history, a few commands of its own.

#pragma once

#include "query/formats.h"
#include "query_source.h"

namespace sheaf::cli {

/// Reads statements (over several lines, until ';') and commands (\?) until \q or the end of input.
/// Ctrl-C cancels the running statement or drops the line being typed. Closes `source`. Returns the exit code.
int RunPrompt(QuerySource* source, query::Format format);

}  // namespace sheaf::cli
