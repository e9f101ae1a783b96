/// The rows of one log entry for one table, with what lets a scan skip them.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/granules.h"

namespace sheaf::memtable {

/// A set of byte strings that answers "certainly not" or "perhaps"; one word is read an answer.
class IdFilter {
 public:
  /// Sized for `ids` entries: about 11 bits each, 2 to 4 % false answers.
  explicit IdFilter(int64_t ids);
  void Add(std::string_view id);
  bool MayHold(std::string_view id) const;

 private:
  std::vector<uint64_t> words_;
};

/// Immutable once made, so any thread may read. Made by the thread that appends, before the log has the
/// entry, so that making it visible later costs the log's thread no more than a pointer.
class Chunk {
 public:
  /// Keeps zones of `time_column` (-1: none) and of dictionary-encoded text among `filter_columns`, and
  /// filters of the binary, text and fixed-size binary ones. `bytes`: what the rows occupy in memory.
  Chunk(std::shared_ptr<arrow::RecordBatch> batch, int time_column, const std::vector<int>& filter_columns, int64_t bytes);

  const std::shared_ptr<arrow::RecordBatch>& batch() const { return batch_; }
  int64_t rows() const { return batch_->num_rows(); }
  int64_t bytes() const { return bytes_; }
  /// Null where none is kept.
  const columns::Zone* zone(int column) const;
  /// Whether a row's `column` may equal `value`; true for a column without a filter.
  bool MayHold(int column, std::string_view value) const;

 private:
  struct Index {
    int column = -1;
    columns::Zone zone;                       // kNone where none is kept.
    std::shared_ptr<const IdFilter> filter;   // Null for dictionaries, which are their own filter.
  };
  const Index* Find(int column) const;

  const std::shared_ptr<arrow::RecordBatch> batch_;
  const int64_t bytes_;
  std::vector<Index> indexes_;
};

/// Whether a column of this type can be searched by MayHold().
bool CanFilter(const arrow::DataType& type);

/// Bytes of the buffers of a column, its children and dictionary included.
int64_t BufferBytes(const arrow::ArrayData& data);

}  // namespace sheaf::memtable
