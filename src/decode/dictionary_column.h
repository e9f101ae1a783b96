/// Dictionary columns as decoders fill them: free text that repeats, and enums.

#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "decode/column_buffers.h"
#include "decode/dictionary.h"
#include "decode/request_context.h"

namespace sheaf::decode {

/// dictionary<int32, utf8> of text. Not thread-safe.
class TextColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows) {
    ids_.Start(memory, rows);
    dictionary_.Start(memory);
    has_last_ = false;
  }
  void Reserve(int64_t rows) { ids_.Reserve(rows); }
  /// Stores `raw` at `row`; repaired, and the record marked odd, where it is not UTF-8. `raw` must stay
  /// until the batch is finished.
  void Put(int64_t row, std::string_view raw, RequestContext* context) {
    const std::string_view text = context->Text(raw);
    if (!has_last_ || text != last_) {
      last_id_ = Id(text, context);
      last_ = text;
      has_last_ = true;
    }
    ids_[row] = last_id_;
  }
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const { return dictionary_.MakeColumn(type, rows, ids_.View(rows)); }
  void Trim(int64_t bytes_max) {
    ids_.Trim(bytes_max);
    dictionary_.Trim(bytes_max);
  }

 private:
  int32_t Id(std::string_view text, RequestContext* context) {
    bool is_new;
    const int32_t id = dictionary_.Id(text, &is_new);
    if (is_new && !context->careful && !IsUtf8(text)) context->suspect = true;
    return id;
  }

  Column<int32_t> ids_;
  Dictionary dictionary_;
  std::string_view last_;
  int32_t last_id_ = 0;
  bool has_last_ = false;
};

/// dictionary<int32, …> of what stays the same for many rows: set once, stored in runs. Not thread-safe.
class RunColumn {
 public:
  void Start(RequestMemory* memory, int64_t rows) {
    ids_.Start(memory, rows);
    dictionary_.Start(memory);
    id_ = 0;
  }
  /// Rows filled from now on have this value (bytes, or text that is already UTF-8).
  void Set(std::string_view value) { id_ = dictionary_.Id(value); }
  /// Stores the value in rows [from, to).
  void Fill(int64_t from, int64_t to) {
    ids_.Reserve(to);
    std::fill(ids_.data() + from, ids_.data() + to, id_);
  }
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const { return dictionary_.MakeColumn(type, rows, ids_.View(rows)); }
  void Trim(int64_t bytes_max) {
    ids_.Trim(bytes_max);
    dictionary_.Trim(bytes_max);
  }

 private:
  Column<int32_t> ids_;
  Dictionary dictionary_;
  int32_t id_ = 0;
};

/// The names of an enum's numbers 0, 1, …, and their dictionary, made once.
class EnumNames {
 public:
  explicit EnumNames(std::initializer_list<std::string_view> names);
  int32_t size() const { return static_cast<int32_t>(names_.size()); }
  std::string_view name(int32_t number) const { return names_[static_cast<size_t>(number)]; }
  const ArrayDataPtr& dictionary() const { return dictionary_; }
  /// The number of a name, or of a decimal text. False for anything else.
  bool Parse(std::string_view text, int32_t* number) const;

 private:
  std::vector<std::string_view> names_;
  ArrayDataPtr dictionary_;
};
const EnumNames& SpanKindNames();
const EnumNames& StatusCodeNames();
const EnumNames& TemporalityNames();

/// dictionary<int32, utf8> of an enum's names; numbers without a name become decimal text.
class EnumColumn {
 public:
  explicit EnumColumn(const EnumNames& names) : names_(&names) {}
  void Start(RequestMemory* memory, int64_t rows) {
    memory_ = memory;
    ids_.Start(memory, rows);
    others_started_ = false;
  }
  void Reserve(int64_t rows) { ids_.Reserve(rows); }
  void Put(int64_t row, int32_t number) {
    const bool named = static_cast<uint32_t>(number) < static_cast<uint32_t>(names_->size());
    ids_[row] = named ? number : OtherId(number);
  }
  ArrayDataPtr Finish(const TypePtr& type, int64_t rows) const;
  void Trim(int64_t bytes_max) {
    ids_.Trim(bytes_max);
    others_.Trim(bytes_max);
  }

 private:
  int32_t OtherId(int32_t number);

  const EnumNames* names_;
  RequestMemory* memory_ = nullptr;  // Borrowed.
  Column<int32_t> ids_;
  Dictionary others_;  // All names and then the numbers met, where there are any.
  bool others_started_ = false;
};

}  // namespace sheaf::decode
