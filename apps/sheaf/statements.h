/// Cuts text into SQL statements, for scripts on standard input and the prompt.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sheaf::cli {

/// Statements end at a ';' that stands outside of quotes ('', "", $tag$) and comments (--, nested /* */).
/// They come without it and without space around; empty ones are left out.
struct Statements {
  std::vector<std::string> complete;
  std::string rest;  // After the last ';': an unfinished statement, or nothing but space and comments.
};
Statements SplitStatements(std::string_view text);

/// Whether `text` holds anything but space and comments.
bool HasSql(std::string_view text);

}  // namespace sheaf::cli
