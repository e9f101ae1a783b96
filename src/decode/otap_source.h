/// Columns of ready tables to columns of OTel-Arrow tables: which rows of which batches, in what order, and copying them.

#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include "core/status.h"
#include "decode/batch_reader.h"
#include "decode/decoder.h"
#include "decode/dictionary_column.h"
#include "decode/otap_table_writer.h"

namespace sheaf::decode {

/// Rows [begin, begin + n) of one of several batches.
struct OtapRun {
  int32_t source;
  int64_t begin, n;
};

/// Rows in the order in which they are sent.
class OtapRuns {
 public:
  void Clear() {
    runs_.clear();
    rows_ = 0;
  }
  void Add(int32_t source, int64_t begin, int64_t n) {
    if (n == 0) return;
    rows_ += n;
    if (!runs_.empty() && runs_.back().source == source && runs_.back().begin + runs_.back().n == begin) {
      runs_.back().n += n;
    } else {
      runs_.push_back({source, begin, n});
    }
  }
  int64_t rows() const { return rows_; }
  const std::vector<OtapRun>& runs() const { return runs_; }

 private:
  std::vector<OtapRun> runs_;
  int64_t rows_ = 0;
};

/// One column of several batches: an array each. Borrows them.
using OtapArrays = std::vector<const arrow::Array*>;

/// The column `name` of each table; null where it has none.
OtapArrays ColumnsOf(std::span<const TableBatch> tables, const char* name);
/// Field `field` of the structs in the lists.
OtapArrays ItemFieldsOf(const OtapArrays& lists, int field);

/// Copies fixed-width values.
template <typename T>
void CopyNumbers(const OtapArrays& from, const OtapRuns& rows, T* out) {
  for (const OtapRun& run : rows.runs()) {
    const T* values = from[static_cast<size_t>(run.source)]->data()->GetValues<T>(1) + run.begin;
    std::memcpy(out, values, static_cast<size_t>(run.n) * sizeof(T));
    out += run.n;
  }
}

/// Whether rows are not NULL, a byte each.
void CopyPresence(const OtapArrays& from, const OtapRuns& rows, uint8_t* out);
/// Booleans, a byte each.
void CopyBools(const OtapArrays& from, const OtapRuns& rows, uint8_t* out);

/// Copies values that may be NULL, zero where they are; `present` tells which.
template <typename T>
void CopyOptional(const OtapArrays& from, const OtapRuns& rows, uint8_t* present, T* out) {
  CopyPresence(from, rows, present);
  CopyNumbers<T>(from, rows, out);
  for (int64_t i = 0; i < rows.rows(); ++i) {
    if (present[i] == 0) out[i] = T{};
  }
}
template <typename T>
void CopyOptional(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out) {
  uint8_t* present = out->Presence();
  CopyOptional<T>(from, rows, present, out->Values<T>());
}

/// Copies text of dictionary<int32, utf8> columns.
void CopyRepeatedText(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out);
/// Copies text of utf8 columns; empty where NULL.
void CopyText(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out);
/// An enum's names as its numbers. Errors: Invalid (neither a name nor a number).
Status CopyEnum(const OtapArrays& from, const OtapRuns& rows, const EnumNames& names, int32_t* out);
/// Lists of 8-byte numbers.
void CopyLists(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out);
/// Lists of {quantile, value}.
void CopyQuantiles(const OtapArrays& from, const OtapRuns& rows, OtapOutColumn* out);

}  // namespace sheaf::decode
