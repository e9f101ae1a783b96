/// Single values of a result as text: JSON for JSON and NDJSON, plain for CSV and tables.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <arrow/array.h>

namespace sheaf::query {

/// Appends the value as JSON. NaN and infinities are strings, as are decimals with a fraction; bytes are
/// base64; maps with text keys are objects. `is_json`: the text is JSON itself and is taken over as it is.
void AppendJsonCell(const arrow::Array& array, int64_t row, bool is_json, std::string* out);
/// Appends the value as plain text; nested values as JSON, NULL as nothing.
void AppendPlainCell(const arrow::Array& array, int64_t row, std::string* out);
void AppendJsonString(std::string_view text, std::string* out);

/// The SQL name of a result column's type, such as BIGINT, TRACE_ID or MAP(VARCHAR, VARCHAR).
std::string SqlTypeName(const arrow::Field& field);
/// Whether the column's "sheaf.type" says that its text is JSON.
bool IsJson(const arrow::Field& field);

}  // namespace sheaf::query
