/// What this version of the program writes, as lines that say of each format its version and what it is made of: the checked-in ones
/// are tests/golden/formats.txt.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sheaf::store {

/// `name` is written in `version` as `text` says: bytes that fixed values become, or names and types.
struct FormatLine {
  std::string name;
  uint64_t version = 0;
  std::string text;
};

/// Of all formats, from fixed values and the golden database.
std::vector<FormatLine> FormatsWritten();

/// "name | version | text", and back; other lines are left out.
std::string ToText(const FormatLine& line);
std::vector<FormatLine> ParseFormatLines(const std::vector<std::string>& lines);

}  // namespace sheaf::store
