/// Attributes of records, events, resources… as OTel-Arrow sends them: a table with a row for each.
///
/// Rows are sorted by type, key and value, so that each column consists of long runs, and parent ids become differences where an
/// attribute equals that of the row before. A record's attributes of one type keep their order by key, not among each other.

#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "decode/attributes.h"
#include "decode/batch_reader.h"
#include "decode/otap_table_writer.h"
#include "decode/recycled_buffers.h"

namespace sheaf::decode {

/// One attribute table of a stream. Not thread-safe.
class OtapAttributeWriter {
 public:
  /// Parents' ids have `parent_width` bytes: two or four.
  OtapAttributeWriter(wire::OtapPayload type, int parent_width);

  /// Begins a batch.
  void Start(RequestMemory* memory, int64_t dictionary_bytes_max);
  /// Adds attributes [begin, end) of `view`, which is that of batch `source`, to parent `parent`. Parents come in order of their
  /// ids. Errors: Invalid (a nested value that is not OTLP, or a type that does not exist).
  Status Add(uint32_t parent, int32_t source, const AttributesView& view, int64_t begin, int64_t end);
  /// Adds one whose text is repaired where it is not UTF-8. Sets `*exact` to false where the table says less than it.
  Status Add(uint32_t parent, const Attribute& attribute, bool* exact);
  /// The text, or, where it is not UTF-8, it repaired, which lives as long as the batch; `*exact` is then set to false.
  std::string_view Repaired(std::string_view text, bool* exact);
  int64_t size() const { return static_cast<int64_t>(items_.size()); }
  /// Puts the batch's rows into table(), which then has as many.
  void Fill();

  OtapTableWriter& table() { return table_; }
  int64_t held_bytes() const;
  void Trim();

 private:
  struct Item {
    union {
      const char* data;  // Of text and bytes.
      int64_t num;       // Of numbers; of a nested value where its CBOR begins.
    };
    uint32_t size;  // Of text, bytes and CBOR.
    int32_t value;  // The number in its column's dictionary, if it has one; else -1.
    uint32_t parent;
    int32_t key;   // In keys_.
    uint8_t type;  // As OTel-Arrow numbers them.
  };
  Status AddItem(uint32_t parent, int32_t key, const AttributeValue& value, bool* exact);
  /// Whether an item equals the one before, so that its parent is a difference.
  static bool Same(const Item& a, const Item& b);
  /// Sorts items_ by type, key and value, stable.
  void Sort();
  template <typename NumberOf>
  void CountingSort(size_t numbers, NumberOf&& number_of);
  void FillRun(uint8_t type, int64_t begin, int64_t end);
  void FillParents();

  OtapTableWriter table_;
  const int parent_width_;
  RequestMemory* memory_ = nullptr;           // Borrowed.
  Dictionary keys_;                           // Of the batch, in order of first sight.
  std::vector<std::vector<int32_t>> key_of_;  // By source and its key.
  std::vector<Item> items_, sorted_;
  std::vector<uint32_t> counts_;
  std::string cbor_;
  std::deque<std::string> repaired_;
};

}  // namespace sheaf::decode
