/// An attributes column: list<struct{key, type, num, val}>, filled from KeyValue messages.

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "decode/any_value.h"
#include "decode/column_buffers.h"
#include "decode/dictionary.h"
#include "decode/request_context.h"

namespace sheaf::decode {

/// Rows are the owner's (spans, events, points…): add a row's values, then end the row. Not thread-safe.
///
/// Senders repeat the same keys in the same order, so the encoded key that followed the current one last
/// time is compared first: a hit needs no hash and no field-by-field reading of the message.
class AttributeColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows);
  void ReserveRows(int64_t rows) { offsets_.Reserve(rows + 1); }
  void BeginRow() { last_ = 0; }
  /// Adds one KeyValue message to the row. Returns false where the request must fail.
  bool Add(std::string_view key_value, RequestContext* context) {
    if (size_ == capacity_) [[unlikely]] Grow();
    return AddPredicted(key_value, context) || AddAny(key_value, context);
  }
  void EndRow(int64_t row) { offsets_[row + 1] = static_cast<int32_t>(size_); }
  /// Forgets row `row` and what follows.
  void Rewind(int64_t row);

  int64_t size() const { return size_; }
  /// Whether all text values are UTF-8 (plain pass; keys are checked as they come).
  bool TextIsUtf8() const;
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const;
  void Trim(int64_t bytes_max);

 private:
  /// How a KeyValue with a certain key begins: tag, length, key, tag of the value.
  struct Pattern {
    alignas(16) uint8_t bytes[32] = {};
    uint32_t size = 0;  // 0: too long to predict.
    uint32_t mask = 0;  // One bit a byte that counts.
    uint32_t next = 0;  // The pattern that followed last time.
  };

  bool AddPredicted(std::string_view key_value, RequestContext* context);
  bool AddAny(std::string_view key_value, RequestContext* context);
  void Append(int32_t key, const AttributeValue& value, uintptr_t readable_end) {
    keys_[size_] = key;
    types_[size_] = static_cast<uint8_t>(value.type);
    nums_[size_] = value.num;
    vals_.Put(size_, value.val, readable_end);
    ++size_;
  }
  void Learn(int32_t id, std::string_view key);
  void Grow();

  Dictionary dictionary_;
  Column<int32_t> offsets_, keys_;
  Column<uint8_t> types_;
  Column<int64_t> nums_;
  BytesColumn vals_;
  int64_t size_ = 0, capacity_ = 0;

  /// Of the first keys of a batch only: who sends more of them repeats none in an order worth learning.
  static constexpr int32_t kPatternsMax = 4096;
  std::vector<Pattern> patterns_;  // Pattern of key id i at i + 1; at 0 the start of a row.
  uint32_t last_ = 0;
};

}  // namespace sheaf::decode
