/// Buffers taken in the same order for every batch, so that each finds its memory of the last time.

#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "decode/column_buffers.h"
#include "decode/dictionary.h"

namespace sheaf::decode {

/// Things that are started anew in order. References stay valid until Trim(). Not thread-safe.
template <typename T>
class Recycled {
 public:
  void Start() { next_ = 0; }
  T* Next() {
    if (next_ == things_.size()) things_.emplace_back();
    return &things_[next_++];
  }
  /// Gives all memory back. Requires: nothing of this round is in use.
  void Trim() {
    for (T& thing : things_) thing.Trim(-1);
    next_ = 0;
  }

 private:
  std::deque<T> things_;
  size_t next_ = 0;
};

/// See the file comment. Not thread-safe.
class RecycledBuffers {
 public:
  /// Borrows `memory`, which is charged.
  void Start(RequestMemory* memory) {
    memory_ = memory;
    buffers_.Start();
    columns_.Start();
    dictionaries_.Start();
  }
  ColumnBuffer* Next(int64_t bytes, bool zeroed) {
    ColumnBuffer* buffer = buffers_.Next();
    buffer->Start(memory_, bytes, zeroed);
    return buffer;
  }
  /// An empty column of text or bytes with room for `values`.
  BytesColumn* NextBytes(int64_t values, int64_t bytes) {
    BytesColumn* column = columns_.Next();
    column->Start(memory_, values, bytes);
    return column;
  }
  Dictionary* NextDictionary() {
    Dictionary* dictionary = dictionaries_.Next();
    dictionary->Start(memory_);
    return dictionary;
  }
  void Trim() {
    buffers_.Trim();
    columns_.Trim();
    dictionaries_.Trim();
  }
  RequestMemory* memory() const { return memory_; }

 private:
  RequestMemory* memory_ = nullptr;
  Recycled<ColumnBuffer> buffers_;
  Recycled<BytesColumn> columns_;
  Recycled<Dictionary> dictionaries_;
};

}  // namespace sheaf::decode
