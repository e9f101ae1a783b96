/// The memtable of a table, of whichever kind the table is.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/ids.h"
#include "memtable/keyed_memtable.h"
#include "memtable/memtable.h"

namespace sheaf::store {

/// Exactly one of the two is set, or none. Cheap to copy.
struct TableMemtable {
  std::shared_ptr<memtable::Memtable> append;
  std::shared_ptr<memtable::KeyedMemtable> keyed;
  /// What its rows count against Options::ingest_memory_bytes_max until they are in a part.
  std::shared_ptr<std::atomic<int64_t>> charged;

  explicit operator bool() const { return append != nullptr || keyed != nullptr; }
  bool operator==(const TableMemtable& other) const { return append == other.append && keyed == other.keyed; }

  int64_t bytes() const { return keyed ? keyed->bytes() : append->bytes(); }
  int64_t rows() const { return keyed ? keyed->rows() : append->rows(); }
  Lsn min_lsn() const { return keyed ? keyed->min_lsn() : append->min_lsn(); }
  Lsn max_lsn() const { return keyed ? keyed->max_lsn() : append->max_lsn(); }
  uint64_t ordinal() const { return keyed ? keyed->ordinal() : append->ordinal(); }
};

}  // namespace sheaf::store
