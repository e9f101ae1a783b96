#include "statements.h"

#include <cctype>

namespace sheaf::cli {
namespace {

bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool IsTagChar(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

size_t SkipQuoted(std::string_view text, size_t at, char quote) {
  for (++at; at < text.size(); ++at) {
    if (text[at] != quote) continue;
    if (at + 1 < text.size() && text[at + 1] == quote) {
      ++at;
    } else {
      return at + 1;
    }
  }
  return text.size();
}

size_t SkipBlockComment(std::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size()) {
    if (text.substr(at, 2) == "/*") {
      ++depth;
      at += 2;
    } else if (text.substr(at, 2) == "*/") {
      at += 2;
      if (--depth == 0) return at;
    } else {
      ++at;
    }
  }
  return text.size();
}

/// At a '$': the end of a dollar-quoted text, or of the '$' alone (a parameter such as $1).
size_t SkipDollar(std::string_view text, size_t at) {
  size_t end = at + 1;
  if (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) return end;
  while (end < text.size() && IsTagChar(text[end])) ++end;
  if (end >= text.size() || text[end] != '$') return at + 1;
  const std::string_view tag = text.substr(at, end + 1 - at);
  const size_t close = text.find(tag, end + 1);
  return close == std::string_view::npos ? text.size() : close + tag.size();
}

/// The end of what begins at `at`: a quoted text, a comment, or one character. Sets `is_sql` for all but comments and space.
size_t SkipToken(std::string_view text, size_t at, bool* is_sql) {
  *is_sql = false;
  if (text.substr(at, 2) == "--") {
    const size_t end = text.find('\n', at);
    return end == std::string_view::npos ? text.size() : end;
  }
  if (text.substr(at, 2) == "/*") return SkipBlockComment(text, at);
  if (IsSpace(text[at])) return at + 1;
  *is_sql = true;
  if (text[at] == '\'' || text[at] == '"') return SkipQuoted(text, at, text[at]);
  if (text[at] == '$') return SkipDollar(text, at);
  return at + 1;
}

std::string Trimmed(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

bool HasSql(std::string_view text) {
  bool is_sql = false;
  for (size_t at = 0; at < text.size();) {
    at = SkipToken(text, at, &is_sql);
    if (is_sql) return true;
  }
  return false;
}

Statements SplitStatements(std::string_view text) {
  Statements result;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == ';') {
      const std::string_view statement = text.substr(begin, at - begin);
      if (HasSql(statement)) result.complete.push_back(Trimmed(statement));
      begin = ++at;
    } else {
      bool is_sql = false;
      at = SkipToken(text, at, &is_sql);
    }
  }
  result.rest = Trimmed(text.substr(begin));
  return result;
}

}  // namespace sheaf::cli
