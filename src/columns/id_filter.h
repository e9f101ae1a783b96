/// Finds the granules that may hold a value: a table of fingerprints, each with its granule. One look-up
/// reads one bucket of about sixteen neighbouring cells, whatever the number of granules. Never misses a
/// value that was added; false hits are rarer than one in a thousand look-ups of a whole part.
/// Layout of the bytes: docs/formats/part.md.

#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array/data.h>

#include "core/status.h"

namespace sheaf::columns {

/// Whether a column of this type can have a filter: text, binary and ids, also as dictionaries.
bool CanFilter(const arrow::DataType& type);

/// Not thread-safe.
class IdFilterBuilder {
 public:
  /// Adds every value of one granule's column that is not NULL. Granules come in rising order.
  /// Errors: Unsupported (see CanFilter), Corruption (an index outside its dictionary).
  Status Add(const arrow::ArrayData& column, uint32_t granule);
  /// Adds one value: for keys, which are no column.
  void AddValue(std::string_view value, uint32_t granule);
  /// Returns the filter's bytes and starts anew.
  std::string Finish();

 private:
  void Add(std::string_view value, uint32_t granule);

  struct Entry {
    uint64_t hash;
    uint32_t granule;
  };
  std::vector<Entry> entries_;
  uint32_t granules_ = 0;
};

/// Called with (offset, bytes) before bytes of the filter are read, so that the owner can check them.
using BeforeRead = std::function<Status(size_t, size_t)>;

/// Appends the granules that may hold `value`, ascending. `filter` is what Finish() returned.
/// Error: Corruption (the bytes are none), and those of `before_read`.
Status FindInFilter(std::span<const uint8_t> filter, std::string_view value, const BeforeRead& before_read, std::vector<int>* granules);

/// What a filter is made of.
struct IdFilterShape {
  int cell_bytes = 0, bucket_bits = 0, granule_bits = 0;
  uint32_t cells = 0;
  /// Expected false hits of one look-up of an absent value.
  double false_hits() const;
};
Result<IdFilterShape> ShapeOfFilter(std::span<const uint8_t> filter);

/// A filter whose head was read once: look-ups that allocate nothing. Borrows the bytes. Immutable, thread-safe.
class IdFilterView {
 public:
  /// Reads the first kHeadBytes. Error: Corruption.
  static Result<IdFilterView> Make(std::span<const uint8_t> filter);
  static constexpr size_t kHeadBytes = 8;

  /// Asks the processor to fetch what a look-up of the value reads first.
  void Prefetch(std::string_view value) const { __builtin_prefetch(filter_.data() + ProbeOf(value).bucket_at); }

  /// Calls `found(int)` with each granule that may hold `value`, ascending; before that `check(offset, bytes)`, which returns a
  /// Status, for what is read. Error: Corruption, and those of `check`.
  template <typename Check, typename Found>
  Status Find(std::string_view value, const Check& check, const Found& found) const {
    const Probe probe = ProbeOf(value);
    SHEAF_RETURN_NOT_OK(check(probe.bucket_at, 2 * sizeof(uint32_t)));
    uint32_t range[2];
    std::memcpy(range, filter_.data() + probe.bucket_at, sizeof range);
    if (range[0] > range[1] || range[1] > shape_.cells) return OutOfOrder(probe);
    if (range[0] == range[1]) return Status::OK();
    const auto width = static_cast<size_t>(shape_.cell_bytes);
    const size_t begin = cells_at_ + range[0] * width, end = cells_at_ + range[1] * width;
    SHEAF_RETURN_NOT_OK(check(begin, end - begin));
    for (size_t at = begin; at < end; at += width) {
      uint32_t cell = 0;
      std::memcpy(&cell, filter_.data() + at, width);
      if ((cell & ~granule_mask_) == probe.fingerprint) found(static_cast<int>(cell & granule_mask_));
    }
    return Status::OK();
  }

 private:
  struct Probe {
    size_t bucket_at;      // Where the bucket's first and last cell stand.
    uint32_t fingerprint;  // Above the granule's bits.
  };
  Probe ProbeOf(std::string_view value) const;
  Status OutOfOrder(const Probe& probe) const;

  std::span<const uint8_t> filter_;
  IdFilterShape shape_;
  size_t cells_at_ = 0;
  uint32_t granule_mask_ = 0;
};

}  // namespace sheaf::columns
