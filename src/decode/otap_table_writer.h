/// The tables of OTel-Arrow batches as they are sent: columns filled in place, and what a stream keeps between batches.
///
/// Every payload type of a stream has an IPC stream of its own, as in otap_table.h. An OtapTableWriter keeps its schema and its
/// dictionaries, of which each batch sends what is new. Columns are left out until they have something to say, and stay from then
/// on, so that a schema grows for a while and then holds.
///
/// Text is sent in dictionaries with 8, later 16 bit indexes, for as long as that pays: a column whose values are mostly new in
/// each batch, or too many or too long, is sent as it is. A new schema comes with whole dictionaries.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/type.h>

#include "core/status.h"
#include "decode/column_buffers.h"
#include "decode/dictionary.h"
#include "decode/otap_table.h"
#include "wire/arrow_ipc_writer.h"
#include "wire/otap_messages.h"

namespace sheaf::decode {

/// What a column is made of.
enum class OtapForm : uint8_t {
  kU8,
  kU16,
  kU32,
  kU64,
  kI32,
  kI64,
  kF64,
  kBool,
  kTime,
  kDuration,
  kFixed8,
  kFixed16,
  kText,
  kBytes,
  kStruct,
  kU64List,
  kF64List,
  kQuantileList,  // Of {quantile, value}.
};

/// How a column comes into its schema and what may stand in it.
enum OtapColumnTraits : uint8_t {
  kOtapDictionary = 1,  // Of kText, kBytes, kI64: in a dictionary while that pays.
  kOtapAlways = 2,      // In every schema, whatever it holds.
  kOtapOptional = 4,    // NULL is not the default: the column is needed once a row is not NULL.
  kOtapChild = 8,       // Of the last column before it that is none.
};

struct OtapColumnRule {
  OtapField field;
  const char* name;
  OtapForm form;
  uint8_t traits = 0;
};

/// A column of the batch under way. Rows are those of its table, from 0. A column that is not filled is NULL. Not thread-safe.
class OtapOutColumn {
 public:
  explicit OtapOutColumn(const OtapColumnRule& rule) : rule_(rule), plain_(!MayBeDictionary()) {}

  /// Fixed-width values (a byte each of kBool), of all rows; to be filled wholly where `zeroed` is false.
  template <typename T>
  T* Values(bool zeroed = false) {
    touched_ = true;
    values_.Start(memory_, (rows_ + 1) * static_cast<int64_t>(sizeof(T)), zeroed);
    return reinterpret_cast<T*>(values_.data());
  }
  /// Values that are zero until they are set; the same in every call.
  template <typename T>
  T* ZeroedValues() {
    return touched_ ? reinterpret_cast<T*>(values_.data()) : Values<T>(true);
  }
  /// Whether each row has a value, as bytes 0 or 1, zero until they are set; the same in every call. Without it all have.
  uint8_t* Presence() {
    if (!has_presence_) presence_.Start(memory_, rows_ + 1, true);
    touched_ = has_presence_ = true;
    return presence_.data();
  }

  /// Text, bytes and dictionaries of numbers (as their bytes): the rows one after the other, from 0. Either PutId() or Put() for
  /// each, as dictionary() says; Skip() for rows without a value, whose Presence() is 0 (the last of them are skipped anyhow).
  bool dictionary() const { return !plain_; }
  /// The number of a value in the dictionary.
  int32_t Id(std::string_view value) {
    saw_value_ |= !value.empty();
    return values_dictionary_.Id(value);
  }
  void PutId(int32_t id) { ids()[put_++] = id; }
  void Put(std::string_view value);
  void Skip(int64_t n);
  int64_t put() const { return put_; }
  int32_t dictionary_size() const { return values_dictionary_.size(); }

  /// Lists: where each row's items begin (rows + 1 of them), and the items, of the list's kind: both parts of kQuantileList.
  int32_t* Offsets() { return Values<int32_t>(); }
  uint64_t* Items(int64_t n, int part = 0) {
    list_items_ = n;
    items_[part].Start(memory_, (n + 1) * 8, false);
    return reinterpret_cast<uint64_t*>(items_[part].data());
  }

 private:
  friend class OtapTableWriter;
  int32_t* ids() { return reinterpret_cast<int32_t*>(values_.data()); }
  void Start(RequestMemory* memory, int64_t dictionary_bytes_max);
  void Resize(int64_t rows);
  bool IsBytes() const { return rule_.form == OtapForm::kText || rule_.form == OtapForm::kBytes; }
  bool MayBeDictionary() const { return (rule_.traits & kOtapDictionary) != 0; }
  /// Whether the schema must have it for what it holds.
  bool NeedsSchema() const;
  /// Chooses between a dictionary and plain values, before the schema is settled. True where the schema must change.
  bool Settle(int64_t dictionary_bytes_max);
  void MakePlain();
  int64_t DictionaryBytes() const { return dictionary_heap_ + int64_t{values_dictionary_.size()} * 8; }
  void ForgetDictionary();
  void Restart();
  void Trim();
  std::shared_ptr<arrow::Field> Field(std::vector<std::shared_ptr<arrow::Field>> children) const;
  Status WriteDictionary(int64_t id, bool whole, wire::IpcWriter* writer, std::string* out);
  Status Write(wire::IpcWriter* writer);
  Status WriteBytesOrIndexes(wire::IpcWriter* writer);
  Status WriteList(wire::IpcWriter* writer);
  Status WriteNode(wire::IpcWriter* writer);

  const OtapColumnRule rule_;
  RequestMemory* memory_ = nullptr;
  bool in_schema_ = false;
  // Of the dictionary, kept between batches.
  bool plain_;  // It has none, or no more.
  int32_t index_width_ = 1;
  int32_t sent_ = 0;       // Values that the receiver has.
  bool replaced_ = false;  // What it has is not ours any more.
  int64_t misses_ = 0;     // Rows of the last batches whose values were mostly new.
  int32_t size_at_start_ = 0;
  int64_t dictionary_heap_ = 0;  // Bytes of its values.
  Dictionary values_dictionary_;
  // Of the batch.
  int64_t rows_ = 0, put_ = 0, skipped_ = 0, list_items_ = 0;
  bool touched_ = false, has_presence_ = false, saw_value_ = false;
  ColumnBuffer values_, presence_, bits_;
  ColumnBuffer items_[2];
  BytesColumn bytes_;
};

/// The IPC stream of one payload type. Not thread-safe.
class OtapTableWriter {
 public:
  /// Its schema ids tell the type, and so differ from those of the stream's other tables.
  OtapTableWriter(wire::OtapPayload type, std::span<const OtapColumnRule> rules);

  wire::OtapPayload type() const { return type_; }
  int64_t rows() const { return rows_; }
  const std::string& schema_id() const { return schema_id_; }

  /// Begins a batch of this many rows. Dictionaries may take `dictionary_bytes_max` each.
  void Start(RequestMemory* memory, int64_t rows, int64_t dictionary_bytes_max);
  /// Sets the number of rows, before any is filled: Id() may have been called.
  void Resize(int64_t rows);
  /// The column of a field, of those that have rules. A struct's has Presence() only.
  OtapOutColumn& operator[](OtapField field) { return columns_[static_cast<size_t>(places_[static_cast<size_t>(field)])]; }
  /// Appends the batch's messages to `record`. Requires rows() > 0. Errors: those of IpcWriter.
  Status Finish(wire::IpcWriter* writer, std::string* record);
  /// No rows in the next batch, unless it is started.
  void Clear() { rows_ = 0; }

  /// The receiver knows nothing any more.
  void Restart();
  /// What the receiver keeps of its dictionaries.
  int64_t dictionary_bytes() const;
  /// Begins its dictionaries anew, with the next batch.
  void ForgetDictionaries();
  /// Gives the batch's memory back.
  void Trim();

 private:
  bool SettleSchema();
  std::shared_ptr<arrow::Schema> MakeSchema() const;
  /// The end of the column and its children.
  size_t ChildrenEnd(size_t column) const;

  const wire::OtapPayload type_;
  std::deque<OtapOutColumn> columns_;
  OtapFieldPlaces places_{};
  int64_t rows_ = 0, dictionary_bytes_max_ = 0;
  bool has_schema_ = false;
  int64_t schemas_ = 0;  // That it had so far.
  std::string schema_id_;
};

}  // namespace sheaf::decode
