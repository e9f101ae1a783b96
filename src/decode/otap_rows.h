/// From the columns of OTel-Arrow tables to ours: values read into buffers, ids decoded, children brought to their parents.
///
/// Tables refer to each other by ids. Ids are decoded (running differences, or differences within runs of equal rows), parents
/// are looked up, and children are grouped by where their parent stands in our table: a counting sort, stable. So a list column
/// is its offsets and an order in which the child table's rows are read.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/status.h"
#include "decode/otap_table.h"
#include "decode/recycled_buffers.h"

namespace sheaf::decode {

/// In which rows of a table values are read; all of them in their order where `rows` is null.
struct RowOrder {
  const int32_t* rows = nullptr;
  int64_t size = 0;
  int64_t operator[](int64_t i) const { return rows == nullptr ? i : rows[i]; }
};

/// Calls f(index_of): index_of(row) is the place of a row's value among the column's or its dictionary's values.
template <typename F>
void WithIndex(const OtapColumn& column, F&& f) {
  const uint8_t* indexes = column.values;
  switch (column.index_width) {
    case 0: return f([](int64_t row) { return row; });
    case 1: return f([=](int64_t row) { return int64_t{indexes[row]}; });
    case 2: return f([=](int64_t row) { return int64_t{LoadAt<uint16_t>(indexes, row)}; });
    default: return f([&column](int64_t row) { return column.Index(row); });
  }
}

/// Reads fixed-width values as they are stored; `absent` where NULL or without a column. `column` may be null. Requires: its
/// width is T's.
template <typename T>
void ReadNumbers(const OtapColumn* column, const RowOrder& order, T* out, T absent = T{}) {
  const int64_t n = order.size;
  if (column == nullptr) {
    std::fill(out, out + n, absent);
    return;
  }
  const bool nulls = column->MayHaveNulls();
  const uint8_t* values = column->dictionary != nullptr ? column->dictionary->fixed() : column->values;
  if (!nulls && order.rows == nullptr && column->dictionary == nullptr) {
    if (n > 0) std::memcpy(out, values, static_cast<size_t>(n) * sizeof(T));
    return;
  }
  WithIndex(*column, [&](auto index_of) {
    if (!nulls) {
      for (int64_t i = 0; i < n; ++i) out[i] = LoadAt<T>(values, index_of(order[i]));
      return;
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = order[i];
      out[i] = column->IsNullValue(row) ? absent : LoadAt<T>(values, index_of(row));
    }
  });
}

/// Whether each row has a value, as a byte; 0 without a column.
void ReadPresence(const OtapColumn* column, const RowOrder& order, uint8_t* out);
/// Booleans, a byte each; false where NULL or without a column.
void ReadBools(const OtapColumn* column, const RowOrder& order, uint8_t* out);
/// Packs bytes that are 0 or 1 into bits; returns how many are 0.
int64_t PackBits(const uint8_t* bytes, int64_t n, uint8_t* bits);

/// An id that a row does not have.
inline constexpr uint32_t kNoId = 0xffffffff;

/// Decodes a column of running differences (or plain ids, where its field says so). Rows without an id get kNoId. Errors: Invalid
/// (a sum beyond the column's type; an encoding that the column cannot have).
Status DecodeIds(const OtapColumn* column, int64_t rows, uint32_t* ids);

/// Reads parent ids as they were sent. Errors: Invalid (a NULL, or no such column).
Status ReadParentIds(const OtapTable& table, uint32_t* ids);

/// Decodes parent ids in place, as running differences or as the field says. Errors: Invalid (a sum beyond the column's type).
Status DecodeDeltas(const OtapTable& table, uint32_t* ids);

/// Where the row of an id stands. Memory is used again. Not thread-safe.
class IdIndex {
 public:
  /// Errors: Invalid (an id comes twice).
  Status Build(std::span<const uint32_t> ids, RecycledBuffers* buffers);
  /// Negative where no row has this id.
  int32_t Find(uint32_t id) const {
    if (id < dense_size_) return dense_[id];
    return sparse_.empty() ? -1 : FindSparse(id);
  }

 private:
  int32_t FindSparse(uint32_t id) const;
  const int32_t* dense_ = nullptr;
  uint32_t dense_size_ = 0;
  std::span<const uint64_t> sparse_;  // {id, row}, in order; where ids are too far apart.
};

/// Replaces parent ids by the parents' rows. Errors: Invalid (a parent that is not there; names it).
Status FindParents(const OtapTable& table, const IdIndex& parents, uint32_t* ids);

/// Decodes parent ids and replaces them by the parents' rows: differences where `same` is 1, which tells that a row equals the
/// one before it, else absolute (0). Or as the field says. Errors: Invalid (a sum beyond the column's type, a parent that is not
/// there).
Status FindQuasiDeltaParents(const OtapTable& table, const uint8_t* same, const IdIndex& parents, uint32_t* ids);

/// Children by parent.
struct Groups {
  int32_t* offsets = nullptr;  // Where each parent's children begin in `order`; one more than there are parents.
  RowOrder order;
  ColumnBuffer* offsets_buffer = nullptr;
};

/// Groups rows by `parents[i]`, the place of a row's parent, or by places[parents[i]] where `places` is given; negative places
/// are left out. `groups` is the number of places.
Groups GroupRows(std::span<const uint32_t> parents, const int32_t* places, int64_t groups, RecycledBuffers* buffers);

/// The error of a sum beyond a column's type.
Status IdOverflow(const OtapTable& table, int64_t row);
/// The largest id that a column of this width can hold.
inline uint64_t LargestId(const OtapColumn& column) { return (uint64_t{1} << (8 * std::min(column.width, 4))) - 1; }

}  // namespace sheaf::decode
