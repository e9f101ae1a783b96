/// Which rows of a document that was refused are wrong, and why: what POST /v1/tables tells besides its error.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/type.h>

#include "core/memory.h"
#include "query/formats.h"

namespace sheaf::query {

/// Most errors that are told one by one, and most wrong rows that are counted.
inline constexpr size_t kRowErrorsToldMax = 20;
inline constexpr int64_t kRowsWrongMax = 1000;

struct RowError {
  int64_t line = 0;    // Of the document, from 1: where the value begins, or the row where no one value is to blame.
  std::string column;  // Empty: the row as a whole.
  std::string message;
};

struct RowErrors {
  std::vector<RowError> first;  // The first ones, in the order of the document.
  int64_t rows_wrong = 0;       // kRowsWrongMax: as many or more.
};

/// Looks for the rows of NDJSON or CSV that ReadRows() does not take, or that leave a NOT NULL column empty. Reads the document
/// again, in pieces that become smaller around what is wrong: costs as much as reading it, and some milliseconds a wrong row.
/// Nothing is found where no row by itself is to blame, or where memory of `pool` runs out. `bytes` may hold anything.
RowErrors FindRowErrors(Format format, const std::shared_ptr<arrow::Buffer>& bytes, const std::shared_ptr<arrow::Schema>& schema,
                        TrackingPool* pool);

}  // namespace sheaf::query
