/// The chunks of a keyed memtable, in the order they came, and prefixes of them as sources for scans.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/granules.h"
#include "core/ids.h"
#include "core/mutex.h"
#include "memtable/chunk.h"
#include "memtable/row_chunk.h"
#include "memtable/segmented.h"

namespace sheaf::memtable {

/// A batch with zones and filters, which are made when somebody asks first. Thread-safe.
class KeyedGranule {
 public:
  /// `zone_columns` get zones, `filter_columns` filters. Borrows both lists.
  KeyedGranule(std::shared_ptr<arrow::RecordBatch> batch, const std::vector<int>* zone_columns,
               const std::vector<int>* filter_columns)
      : batch_(std::move(batch)), zone_columns_(zone_columns), filter_columns_(filter_columns) {}
  ~KeyedGranule();

  const std::shared_ptr<arrow::RecordBatch>& batch() const { return batch_; }
  /// Null where none is kept.
  const columns::Zone* zone(int column) const;
  bool MayHold(int column, std::string_view value) const;

 private:
  using Zones = std::vector<columns::Zone>;  // As zone_columns.

  const std::shared_ptr<arrow::RecordBatch> batch_;
  const std::vector<int>* const zone_columns_;
  const std::vector<int>* const filter_columns_;
  mutable std::atomic<const Zones*> zones_{nullptr};
  mutable std::atomic<const Chunk*> filters_{nullptr};
};

/// One thread adds; any reads. Shared by the memtable and the sources that it gave out, so that these outlive it.
class KeyedChunks : public std::enable_shared_from_this<KeyedChunks> {
 public:
  struct Options {
    std::shared_ptr<arrow::Schema> schema;
    std::shared_ptr<const columns::RowCodec> codec;  // Null: no single rows.
    std::vector<int> zone_columns, filter_columns;
    uint64_t ordinal = 0;
    arrow::MemoryPool* pool = nullptr;
  };
  explicit KeyedChunks(Options options);

  /// Where a row came to lie.
  struct Place {
    uint32_t chunk = 0, row = 0;
  };
  // The writer. LSNs do not fall.
  /// Returns the chunk's number.
  uint32_t AddBatch(Lsn lsn, std::shared_ptr<arrow::RecordBatch> batch, int64_t bytes);
  Place AddRow(Lsn lsn, std::string_view row);

  /// A batch in which row `row` of the chunk may be read, and no other. Any thread that knows of the row; without a lock.
  const std::shared_ptr<arrow::RecordBatch>& BatchOf(uint32_t chunk, uint32_t row) const {
    const Entry& entry = entries_[chunk];
    return entry.rows == nullptr ? entry.batch : entry.rows->BatchOf(row);
  }
  /// The rows with an LSN of at most `through`, which must be published; null where there are none.
  std::shared_ptr<const columns::GranuleSource> SourceAt(Lsn through) const SHEAF_EXCLUDES(mutex_);

  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed) + entries_.bytes(); }
  const std::shared_ptr<arrow::Schema>& schema() const { return options_.schema; }

 private:
  class Source;
  struct Entry {
    uint64_t lsn = 0;                           // Of its first row.
    std::shared_ptr<arrow::RecordBatch> batch;  // Null: single rows.
    std::unique_ptr<RowChunk> rows;
    int64_t batch_rows_before = 0, single_rows_before = 0;  // In chunks before this one; all of those of single rows are closed.
    int64_t last_single = -1;                               // The last chunk of single rows at or before this one.
    mutable std::atomic<const KeyedGranule*> granule{nullptr};
    ~Entry() { delete granule.load(std::memory_order_acquire); }
  };
  Entry* NextEntry(Lsn lsn);
  void OpenRows(Lsn lsn, std::string_view row);
  /// Of a chunk to which nothing will be added.
  const KeyedGranule& WholeGranule(size_t chunk) const;
  std::shared_ptr<const KeyedGranule> PrefixGranule(size_t chunk, int64_t rows) const SHEAF_EXCLUDES(mutex_);

  const Options options_;
  const std::unique_ptr<const RowPlan> plan_;  // Null: no single rows.
  Segmented<Entry, 4> entries_;
  std::atomic<int64_t> bytes_{0};

  // The writer's.
  RowChunk* open_ = nullptr;
  size_t open_number_ = 0;
  int64_t batch_rows_ = 0, closed_single_rows_ = 0;
  uint32_t rows_max_ = 0;             // Of the open chunk.
  std::vector<uint64_t> text_max_;    // Of the open chunk.
  std::vector<double> text_average_;  // Bytes a row, of the chunks so far.
  std::vector<uint32_t> text_bytes_;  // Of the row at hand.

  mutable Mutex mutex_;
  mutable std::shared_ptr<const KeyedGranule> prefix_ SHEAF_GUARDED_BY(mutex_);  // The last one made of a chunk's prefix.
  mutable size_t prefix_chunk_ SHEAF_GUARDED_BY(mutex_) = 0;
};

}  // namespace sheaf::memtable
