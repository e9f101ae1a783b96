#include "query/text_rows.h"

#include <algorithm>

namespace sheaf::query {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kJsonBlank = " \t\r\n";

bool IsBreak(char c) { return c == '\n' || c == '\r'; }

/// The quote that closes the one at `at`, or npos.
size_t ClosingQuote(std::string_view text, size_t at) {
  while ((at = text.find('"', at + 1)) != std::string_view::npos) {
    if (at + 1 >= text.size() || text[at + 1] != '"') return at;
    ++at;
  }
  return at;
}

/// Behind the field of CSV that begins at `at`: at its comma, its line break, or the end.
size_t CsvFieldEnd(std::string_view text, size_t at) {
  if (at < text.size() && text[at] == '"') at = std::min(ClosingQuote(text, at), text.size());
  while (at < text.size() && text[at] != ',' && !IsBreak(text[at])) ++at;
  return std::min(at, text.size());
}

/// Behind the JSON text whose first quote is at `at`. It ends with its line: a text cannot hold a line break.
size_t JsonTextEnd(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '\n'; ++at) {
    if (text[at] == '"') return at + 1;
    if (text[at] == '\\' && at + 1 < text.size() && text[at + 1] != '\n') ++at;
  }
  return std::min(at, text.size());
}

/// Behind the JSON value at `at`: at the comma or bracket that follows it, or at the end.
size_t JsonValueEnd(std::string_view text, size_t at) {
  int64_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = JsonTextEnd(text, at);
      continue;
    }
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) return at;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
  }
  return text.size();
}

int64_t Lines(std::string_view text) { return std::ranges::count(text, '\n'); }

}  // namespace

TextRows::TextRows(Format format, std::string_view text) : format_(format), text_(text) {
  if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
}

void TextRows::SkipBlank() {
  const std::string_view blank = format_ == Format::kCsv ? std::string_view("\r\n") : kJsonBlank;
  while (at_ < text_.size() && blank.find(text_[at_]) != std::string_view::npos) line_ += text_[at_++] == '\n' ? 1 : 0;
}

size_t TextRows::CsvRowEnd() {
  size_t at = at_;
  while (true) {
    at = CsvFieldEnd(text_, at);
    if (at >= text_.size() || text_[at] != ',') return at;
    ++at;
  }
}

size_t TextRows::ObjectEnd() {
  int64_t depth = 0;
  for (size_t at = at_; at < text_.size();) {
    const char c = text_[at];
    if (c == '"') {
      at = JsonTextEnd(text_, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return at + 1;
    if (c == '\n' && at + 1 < text_.size() && text_[at + 1] == '{') return at;
    ++at;
  }
  return text_.size();
}

std::optional<TextRow> TextRows::Next() {
  SkipBlank();
  if (at_ >= text_.size()) return std::nullopt;
  TextRow row{.begin = at_, .line = line_};
  if (format_ == Format::kCsv) {
    row.end = CsvRowEnd();
  } else if (text_[at_] == '{') {
    row.end = ObjectEnd();
  } else {
    row.end = std::min(text_.find('\n', at_), text_.size());
  }
  line_ += Lines(text_.substr(row.begin, row.end - row.begin));
  at_ = row.end;
  return row;
}

std::vector<TextValue> CsvFields(std::string_view row, int64_t line) {
  std::vector<TextValue> fields;
  for (size_t at = 0;;) {
    const size_t end = CsvFieldEnd(row, at);
    const std::string_view text = row.substr(at, end - at);
    fields.push_back({.text = text, .line = line, .is_null = text.empty()});
    if (end >= row.size() || row[end] != ',' || fields.size() == kRowValuesMax) return fields;
    line += Lines(text);
    at = end + 1;
  }
}

std::optional<int64_t> OpenQuoteLine(std::string_view text) {
  for (size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; at < text.size(); ++at) {
    if (text[at] == '"' && ClosingQuote(text, at) == std::string_view::npos) return 1 + Lines(text.substr(0, at));
    at = CsvFieldEnd(text, at);
  }
  return std::nullopt;
}

std::string CsvText(std::string_view field) {
  if (!field.starts_with('"')) return std::string(field);
  std::string text;
  bool quoted = true;
  for (size_t i = 1; i < field.size(); ++i) {
    if (quoted && field[i] == '"') {
      if (i + 1 >= field.size() || field[i + 1] != '"') {
        quoted = false;
        continue;
      }
      ++i;
    }
    text += field[i];
  }
  return text;
}

std::vector<TextValue> ObjectMembers(std::string_view row, int64_t line) {
  std::vector<TextValue> members;
  size_t at = 0;
  const auto Skip = [&](char expected) {
    while (at < row.size() && kJsonBlank.find(row[at]) != std::string_view::npos) line += row[at++] == '\n' ? 1 : 0;
    if (at >= row.size() || row[at] != expected) return false;
    ++at;
    while (at < row.size() && kJsonBlank.find(row[at]) != std::string_view::npos) line += row[at++] == '\n' ? 1 : 0;
    return true;
  };
  if (!Skip('{')) return members;
  do {
    if (at >= row.size() || row[at] != '"') return members;
    const size_t key = at;
    at = JsonTextEnd(row, at);
    const std::string_view quoted = row.substr(key, at - key);
    if (quoted.size() < 2 || !Skip(':')) return members;
    const size_t end = JsonValueEnd(row, at);
    std::string_view text = row.substr(at, end - at);
    const int64_t begins = line;
    line += Lines(text);
    at = end;
    while (!text.empty() && kJsonBlank.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
    members.push_back(
        {.name = std::string(quoted.substr(1, quoted.size() - 2)), .text = text, .line = begins, .is_null = text == "null"});
  } while (members.size() < kRowValuesMax && Skip(','));
  return members;
}

}  // namespace sheaf::query
