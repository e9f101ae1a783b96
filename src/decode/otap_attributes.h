/// OTel-Arrow's attribute tables: one row an attribute, sorted as the sender likes, to lists of attributes by record.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "decode/attributes.h"
#include "decode/decoder.h"
#include "decode/otap_columns.h"
#include "decode/otap_rows.h"

namespace sheaf::decode {

/// One attribute table of a batch. Lives as long as the table, whose bytes it borrows. Not thread-safe.
class OtapAttributes {
 public:
  /// Reads all rows and finds their parents. A table without rows is as good as none. Errors: Invalid (an unknown type of value,
  /// bad ids, malformed CBOR, a parent that is not there), TooLarge (values nested too deeply).
  Status Read(const OtapTable& table, const IdIndex& parents, const Limits& limits, OtapColumns* columns);

  /// An attributes column of `groups` rows: those of the attributes' parents, or places[parent's row] where places is given;
  /// negative places are left out. Errors: TooLarge (attributes_per_record_max).
  Result<ArrayDataPtr> Column(const TypePtr& type, const int32_t* places, int64_t groups);

  /// Appends the attributes of the parent's row as KeyValue messages in field `field`.
  void AppendKeyValues(uint32_t field, int64_t parent, std::string* out);
  /// The text of the parent's first attribute of this key, or nothing.
  bool FindText(std::string_view key, int64_t parent, std::string* out);

 private:
  /// A value: what it is stands in types_.
  struct Item {
    union {
      const char* data;  // Of text and bytes.
      int64_t num;       // Of numbers; of a nested value its place in nested_.
    };
    uint32_t size;  // Of text, bytes and nested values.
    int32_t key;
  };
  Status ReadItems(const OtapTable& table, const Limits& limits);
  /// Rows [begin, end), whose values all have this type: senders sort by it.
  Status ReadRun(const OtapTable& table, ValueType type, int64_t begin, int64_t end, const Limits& limits);
  void ReadBytes(const OtapColumn* column, int64_t begin, int64_t end);
  void ReadInts(const OtapColumn* column, int64_t begin, int64_t end);
  void ReadBools(const OtapColumn* column, int64_t begin, int64_t end);
  Status ReadNested(ValueType type, const OtapColumn* column, int64_t begin, int64_t end, const Limits& limits);
  bool SameKey(int64_t row) const { return key_of_[row] == key_of_[row - 1]; }
  std::string_view NestedOrBytes(ValueType type, const Item& item) const {
    return type == ValueType::kKvList || type == ValueType::kArray ? nested_->value(item.num)
                                                                   : std::string_view(item.data, item.size);
  }
  AttributeValue Value(int64_t row) const;
  /// Writes the values in this order; returns how many bytes of the heap they take.
  int64_t Gather(const RowOrder& order, int32_t* keys, uint8_t* types, int64_t* nums, int32_t* offsets, uint8_t* heap) const;
  static bool TextIsUtf8(const uint8_t* types, int64_t n, const int32_t* offsets, std::string_view heap);
  /// Whether the parent can have some: its place in by_parent_, which is made when first asked for.
  bool HasAttributes(int64_t parent);

  OtapColumns* columns_ = nullptr;  // Borrowed.
  Limits limits_;
  const OtapColumn *str_ = nullptr, *ser_ = nullptr;
  std::span<Item> items_;
  ValueType* types_ = nullptr;
  int32_t* key_of_ = nullptr;
  uint8_t* same_ = nullptr;      // Whether a row's attribute equals that of the row before: its parent id is then a difference.
  std::span<uint32_t> parents_;  // Rows of the parents' table.
  Dictionary* keys_ = nullptr;
  BytesColumn* nested_ = nullptr;
  int64_t nested_values_ = 0, value_bytes_ = 0;
  std::string nested_bytes_;  // Of the value under way.
  Groups by_parent_;          // For AppendKeyValues and FindText; made when first asked for.
  int64_t grouped_parents_ = -1;
};

}  // namespace sheaf::decode
