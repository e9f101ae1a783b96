/// Columns of the ready tables, made from those of OTel-Arrow tables.

#pragma once

#include <cstdint>
#include <string_view>

#include "decode/dictionary_column.h"
#include "decode/otap_rows.h"
#include "decode/recycled_buffers.h"

namespace sheaf::decode {

/// Makes the columns of one batch. Every column reads rows in a given order; the memory is recycled, as a Decoder's is. Columns
/// that are absent are filled with what OTLP says by default. Not thread-safe.
class OtapColumns {
 public:
  explicit OtapColumns(RecycledBuffers* buffers) : buffers_(buffers) {}
  void Start() {
    suspect_ = false;
    spent_ = 0;
  }

  /// Counts work on bytes that a batch can have repeated as often as it has rows (a dictionary's values, a resource's
  /// attributes): no more of it than a batch may take memory. Throws OverBudget.
  void Spend(int64_t bytes) {
    spent_ += bytes;
    if (spent_ > buffers_->memory()->bytes_max()) [[unlikely]]
      throw OverBudget();
  }

  /// True once text that is not UTF-8 was put into a column: what is made then is for the encoder only (see OtapDecoder).
  bool suspect() const { return suspect_; }

  RecycledBuffers* buffers() const { return buffers_; }
  template <typename T>
  T* Scratch(int64_t n) {
    return reinterpret_cast<T*>(buffers_->Next(n * static_cast<int64_t>(sizeof(T)), false)->data());
  }

  /// Fixed-width values; `absent` (zero) where NULL.
  template <typename T>
  ArrayDataPtr Numbers(const TypePtr& type, const OtapColumn* column, const RowOrder& order, T absent = T{}) {
    ColumnBuffer* out = buffers_->Next(order.size * static_cast<int64_t>(sizeof(T)), false);
    ReadNumbers<T>(column, order, reinterpret_cast<T*>(out->data()), absent);
    return MakeArray(type, order.size, out->View(order.size * static_cast<int64_t>(sizeof(T))));
  }
  /// The same, NULL where NULL.
  template <typename T>
  ArrayDataPtr OptionalNumbers(const TypePtr& type, const OtapColumn* column, const RowOrder& order) {
    ArrayDataPtr out = Numbers<T>(type, column, order);
    auto* present = Scratch<uint8_t>(order.size);
    ReadPresence(column, order, present);
    SetNulls(present, out.get());
    return out;
  }
  /// Ids that may be absent: NULL where NULL or all zero.
  template <typename Id>
  ArrayDataPtr OptionalIds(const TypePtr& type, const OtapColumn* column, const RowOrder& order) {
    ArrayDataPtr out = Numbers<Id>(type, column, order);
    auto* present = Scratch<uint8_t>(order.size);
    const uint8_t* ids = out->buffers[1]->data();
    for (int64_t i = 0; i < order.size; ++i) present[i] = LoadAt<Id>(ids, i) != Id{};
    SetNulls(present, out.get());
    return out;
  }
  ArrayDataPtr Bools(const TypePtr& type, const OtapColumn* column, const RowOrder& order);
  /// Whether rows have a value, as booleans.
  ArrayDataPtr Presence(const TypePtr& type, const OtapColumn* column, const RowOrder& order);
  /// Text that repeats: a dictionary of what these rows hold.
  ArrayDataPtr RepeatedText(const TypePtr& type, const OtapColumn* column, const RowOrder& order);
  /// Text as it is; empty where NULL.
  ArrayDataPtr Text(const TypePtr& type, const OtapColumn* column, const RowOrder& order);
  /// An enum's numbers as names.
  ArrayDataPtr Enum(const TypePtr& type, const EnumNames& names, const OtapColumn* column, const RowOrder& order);
  /// A list of 8-byte numbers; empty where NULL. Errors: Invalid (a list of something else).
  Result<ArrayDataPtr> NumberLists(const TypePtr& type, const OtapTable& table, OtapField list, wire::IpcType item,
                                   const RowOrder& order);
  /// Offsets of lists, and in which order the child table's rows then come. `list` may be null: all lists are empty.
  Groups ListGroups(const OtapColumn* list, const RowOrder& order);
  /// A column of NULLs alone: `original`.
  ArrayDataPtr Nulls(const TypePtr& type, int64_t n);

  /// Numbers the texts of the table's rows in `dictionary`.
  void NumberTexts(const OtapColumn* column, const RowOrder& order, Dictionary* dictionary, int32_t* numbers);
  /// Makes rows whose `present` is 0 NULL.
  void SetNulls(const uint8_t* present, arrow::ArrayData* column);
  void Suspect() { suspect_ = true; }

 private:
  int32_t NumberText(std::string_view text, Dictionary* dictionary);

  RecycledBuffers* const buffers_;
  bool suspect_ = false;
  int64_t spent_ = 0;
};

}  // namespace sheaf::decode
