/// Trace and span ids as columns keep them.

#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "decode/column_buffers.h"
#include "decode/request_context.h"

namespace sheaf::decode {

using TraceIdBytes = std::array<uint8_t, 16>;
using SpanIdBytes = std::array<uint8_t, 8>;

/// Whether `bytes` is an id as OTLP wants it: of this length and not all zero.
template <typename Id>
bool IsId(std::string_view bytes) {
  if (bytes.size() != sizeof(Id)) return false;
  uint64_t words[sizeof(Id) / 8];
  std::memcpy(words, bytes.data(), sizeof(Id));
  uint64_t any = 0;
  for (const uint64_t word : words) any |= word;
  return any != 0;
}

/// The id's bytes, or zeros where it has another length.
template <typename Id>
Id ToId(std::string_view bytes) {
  Id id{};
  if (bytes.size() == sizeof(Id)) std::memcpy(id.data(), bytes.data(), sizeof(Id));
  return id;
}

/// A column of ids that may be absent: NULL for an empty id, and for one that OTLP calls invalid (the
/// record is then odd, so that what was sent is kept).
template <typename Id>
class IdColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows) {
    ids_.Start(memory, rows);
    valid_.Start(memory, rows);
    count_ = 0;
  }
  void Reserve(int64_t rows) {
    ids_.Reserve(rows);
    valid_.Reserve(rows);
  }
  void Put(int64_t row, std::string_view bytes, RequestContext* context) {
    const bool valid = IsId<Id>(bytes);
    if (!valid && !bytes.empty()) [[unlikely]] context->odd = true;
    ids_[row] = valid ? ToId<Id>(bytes) : Id{};
    valid_.Set(row, valid);
    count_ += valid;
  }
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const { return MakeArray(type, rows, ids_.View(rows), valid_, rows - count_); }
  void Trim(int64_t bytes_max) {
    ids_.Trim(bytes_max);
    valid_.Trim(bytes_max);
  }

 private:
  Column<Id> ids_;
  BitColumn valid_;
  int64_t count_ = 0;
};

}  // namespace sheaf::decode
