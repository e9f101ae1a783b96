/// Arrow arrays to DuckDB vectors. Fixed-width values are copied, ids byte-swapped; text and binary are
/// borrowed: the vector keeps the Arrow array alive.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/array.h>

#include "core/status.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// Which rows of an array to convert: `count` from `offset` on, or the listed ones.
struct Rows {
  int64_t offset = 0;
  int64_t count = 0;
  const int64_t* list = nullptr;  // Borrowed; null: contiguous.

  int64_t operator[](int64_t i) const { return list != nullptr ? list[i] : offset + i; }
};

/// The SQL type that shows `type`: ids by width, attributes as MAP(VARCHAR, VARCHAR), dictionaries as
/// their values. Error: Unsupported (names the type).
Result<duckdb::LogicalType> SqlType(const arrow::DataType& type);

/// Lets `out`, a fresh flat vector of SqlType(array's type), show `rows` of `array` where they lie. The array must outlive what
/// reads the vector. False: rows or type are not such that SQL has the same bytes; nothing was done.
bool BorrowArray(const arrow::Array& array, const Rows& rows, duckdb::Vector* out);

/// Converts `rows` of `array` into `out`, a fresh flat vector of SqlType(array's type). Throws
/// duckdb::Exception, as it runs inside DuckDB.
void ConvertArray(const std::shared_ptr<arrow::Array>& array, const Rows& rows, duckdb::Vector* out);

/// Makes `vector`, of text or binary, keep `array` alive.
void KeepAlive(const std::shared_ptr<arrow::Array>& array, duckdb::Vector* vector);

/// Text borrowed from an array that the vector keeps alive.
inline duckdb::string_t BorrowText(std::string_view text) {
  return duckdb::string_t(text.data(), static_cast<uint32_t>(text.size()));
}

}  // namespace sheaf::query
