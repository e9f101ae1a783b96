/// Finds the rows of a column that hold one of some ids: a trace, the spans of a list, the keys that a join brings.
///
/// Ids are 16 or 8 bytes (fixed_size_binary), or numbers of 64 bits. One id and small sets are compared with many rows at a time
/// (id_search_kernels.h); larger sets ask a bitmap first, which rules out nearly every row that is not wanted, and then a hash
/// table. Where one id or few are wanted, the search is about as fast as memory can be read.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array/data.h>

#include "columns/id_search_kernels.h"
#include "core/status.h"

namespace sheaf::columns {

/// A set of ids to search for. Immutable, thread-safe.
class IdSearch {
 public:
  static constexpr size_t kIdsMax = size_t{1} << 20;

  /// Whether columns of this type can be searched: fixed_size_binary(16) and (8), int64, uint64.
  static bool CanSearch(const arrow::DataType& type);

  /// `ids`: in any order, perhaps repeated; each has as many bytes as values of `type`, numbers in the machine's order.
  /// Errors: Unsupported (see CanSearch), Invalid (an id of another width), TooLarge (more than kIdsMax).
  static Result<IdSearch> Make(const arrow::DataType& type, std::span<const std::string> ids);

  /// Appends to `rows`, ascending, those of the `count` rows of `column` from `first` on that hold one of the ids; a row that is
  /// NULL does not. Rows are numbered from the column's own offset on. Reads nothing but those rows. Requires: they are in the
  /// column. Error: Invalid (the column is of another type than Make() was told).
  Status Find(const arrow::ArrayData& column, int64_t first, int64_t count, std::vector<int64_t>* rows) const;

  bool Contains(std::string_view id) const;
  /// Ids, each counted once.
  size_t size() const { return ids_.size(); }

 private:
  struct Id {
    uint64_t head = 0, tail = 0;  // Bytes as they stand; of 8 bytes there is no tail.
    bool operator==(const Id&) const = default;
  };
  struct Rows;  // The rows that are searched.

  IdSearch() = default;
  Id Load(const uint8_t* at) const;
  uint32_t WordOf(const Id& id) const;
  bool Has(const Id& id) const;
  void Index();
  void FindByWords(const Rows& in, std::vector<int64_t>* rows) const;
  void FindByBitmap(const Rows& in, std::vector<int64_t>* rows) const;

  IdLayout layout_ = IdLayout::kBytes16;
  size_t width_ = 16;
  std::vector<Id> ids_;            // Those of a bucket together.
  std::vector<uint32_t> buckets_;  // Where each begins in ids_, and the end of the last.
  int bucket_shift_ = 0;           // The bits of a hash above it are the bucket.
  std::vector<uint32_t> words_;    // A small set's, as many as the kernel takes; empty: the bitmap is asked.
  std::vector<uint32_t> bits_;     // Of the bitmap of a large set's words.
  int bitmap_shift_ = 0;
};

}  // namespace sheaf::columns
