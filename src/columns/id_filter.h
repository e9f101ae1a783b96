/// Finds the granules that may hold a value: a table of fingerprints, each with its granule. One look-up
/// reads one bucket of about sixteen neighbouring cells, whatever the number of granules. Never misses a
/// value that was added; false hits are rarer than one in a thousand look-ups of a whole part.
/// Layout of the bytes: docs/formats/part.md.

#pragma once

#include <cstdint>
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

/// What a filter is made of, for `inspect`.
struct IdFilterShape {
  int cell_bytes = 0, bucket_bits = 0, granule_bits = 0;
  uint32_t cells = 0;
  /// Expected false hits of one look-up of an absent value.
  double false_hits() const;
};
Result<IdFilterShape> ShapeOfFilter(std::span<const uint8_t> filter);

}  // namespace sheaf::columns
