/// Arrow arrays to DuckDB vectors. Fixed-width values are copied, ids byte-swapped; text and binary are
/// borrowed: the vector keeps the Arrow array alive.

#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/array.h>

#include "core/status.h"
#include "query/alive_rows.h"
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

/// Copies the living rows of `window`, some of which are dead, to `out`, a fresh flat vector of SqlType(array's type) with its own
/// room for STANDARD_VECTOR_SIZE values. False: the type is not one of numbers or times that take 4 or 8 bytes here and there; nothing
/// was done.
bool CopyLivingRows(const arrow::Array& array, const Window& window, duckdb::Vector* out);

/// Converts `rows` of `array` into `out`, a fresh flat vector of SqlType(array's type). Throws
/// duckdb::Exception, as it runs inside DuckDB.
void ConvertArray(const std::shared_ptr<arrow::Array>& array, const Rows& rows, duckdb::Vector* out);

/// A bit for each of `rows` <= 64 rows of `array` from `row` on, the first the least significant: whether it is NULL. Not for arrays
/// without NULLs.
uint64_t NullBits(const arrow::Array& array, int64_t row, int64_t rows);

/// Calls `null(i)` for the living rows of `window` that are NULL in `array`; i: the how-manieth living row, from 0.
template <typename Null>
void EachLivingNull(const arrow::Array& array, const Window& window, const Null& null) {
  if (array.null_count() == 0) return;
  int64_t before = 0;
  for (int64_t begin = 0; begin < window.count; begin += 64) {
    const int64_t rows = std::min<int64_t>(64, window.count - begin);
    const uint64_t living = LivingBits(window.whole() ? 0 : window.dead[begin >> 6], rows);
    for (uint64_t left = living & NullBits(array, window.offset + begin, rows); left != 0; left &= left - 1) {
      null(before + std::popcount(living & ((left & -left) - 1)));
    }
    before += std::popcount(living);
  }
}

/// Makes `vector`, of text or binary, keep `array` alive.
void KeepAlive(const std::shared_ptr<arrow::Array>& array, duckdb::Vector* vector);

/// Text borrowed from an array that the vector keeps alive.
inline duckdb::string_t BorrowText(std::string_view text) {
  return duckdb::string_t(text.data(), static_cast<uint32_t>(text.size()));
}

}  // namespace sheaf::query
