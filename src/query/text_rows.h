/// Where rows and their values stand in a document of NDJSON or CSV, by line. Reads no values: that is row_reader.h's.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "query/formats.h"

namespace sheaf::query {

/// A row of a document, without its line break.
struct TextRow {
  size_t begin = 0, end = 0;  // Bytes of the document.
  int64_t line = 1;           // On which it begins, from 1.
};

/// A value in a row.
struct TextValue {
  std::string name;       // The key (NDJSON), as it stands between the quotes; empty in CSV.
  std::string_view text;  // As it stands there, quotes included.
  int64_t line = 1;       // On which it begins.
  bool is_null = false;   // JSON's null; a CSV field of nothing, without quotes.
};

/// Goes through the rows of a document, whatever its bytes. Not thread-safe; borrows the text.
///
/// CSV: RFC 4180; a row ends with a line break outside of quotes; empty lines are no rows. NDJSON: a row is an object, perhaps of
/// several lines; one that is not closed ends before the next line that begins with '{'; whatever else stands there is a row as
/// far as its line goes.
class TextRows {
 public:
  /// `format` is kCsv or kNdjson.
  TextRows(Format format, std::string_view text);
  /// The next row, or nothing at the end.
  std::optional<TextRow> Next();

 private:
  size_t CsvRowEnd();
  size_t ObjectEnd();
  void SkipBlank();

  const Format format_;
  const std::string_view text_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

/// Most values of a row that the functions below return: no table has as many columns.
inline constexpr size_t kRowValuesMax = 10'000;

/// The fields of a CSV row that begins on `line`.
std::vector<TextValue> CsvFields(std::string_view row, int64_t line);
/// The line on which the quoted field begins that the end of a CSV document cuts off; nothing where all are closed.
std::optional<int64_t> OpenQuoteLine(std::string_view text);
/// What a CSV field says: without quotes, "" as ".
std::string CsvText(std::string_view field);

/// The members of a JSON object that begins on `line`; of a malformed one those before the fault.
std::vector<TextValue> ObjectMembers(std::string_view row, int64_t line);

}  // namespace sheaf::query
