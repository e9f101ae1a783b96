/// Finds encoded keys in a granule whose rows are sorted by them, on the columns as they lie there.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "columns/key_codec.h"

namespace sheaf::parts {

/// Immutable and thread-safe. Look-ups allocate nothing.
class SortedKeys {
 public:
  /// `keys`: the key columns, in key order, without NULLs; rows rise strictly. Borrows the codec.
  SortedKeys(std::shared_ptr<arrow::RecordBatch> keys, const columns::KeyCodec* codec);

  int64_t rows() const { return keys_->num_rows(); }
  /// The first row whose key is >= `key`, which may be any bytes; rows() where there is none.
  int64_t LowerBound(std::string_view key) const;
  /// The row with the key, or -1.
  int64_t Find(std::string_view key) const;
  /// Keys of `count` rows from `row`, encoded. Errors as of KeyCodec::EncodeKeys().
  Result<columns::KeyColumn> Encode(int64_t row, int64_t count) const { return codec_->EncodeKeys(*keys_->Slice(row, count)); }

 private:
  /// A column of integers that leads the key: found by its plain values, which is several times faster.
  struct Lead {
    const uint8_t* values;
    size_t width;
    bool is_signed;
  };

  const std::shared_ptr<arrow::RecordBatch> keys_;
  const columns::KeyCodec* const codec_;
  std::vector<Lead> leads_;
};

}  // namespace sheaf::parts
