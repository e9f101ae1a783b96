#include "parts/attribute_columns.h"

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/util/bit_util.h>

#include "columns/dictionaries.h"
#include "decode/attributes.h"
#include "decode/batch_reader.h"
#include "decode/schemas.h"

namespace sheaf::parts {
namespace {

using columns::AttributeForm;
using columns::AttributeKey;
using decode::AttributesView;

constexpr int32_t kAbsent = -1, kEmpty = -2;  // In place of a value's number: the row lacks the key; it has it, without a value.
constexpr uint32_t kOnlyEmpty = uint32_t{1} << static_cast<int>(decode::ValueType::kEmpty);
/// A dictionary of so many values, which is also more than one for so many rows, is not worth it.
constexpr int64_t kDictionaryValuesMin = 1024, kDictionaryRowsPerValueMin = 4;

/// What is counted of a key, over all batches.
struct KeyCount {
  std::string_view key;
  int64_t values = 0, bytes = 0;
  uint32_t types = 0;
};

/// The keys of one list column, numbered in order of first sight.
class KeyCounter {
 public:
  /// `numbers` becomes the number of each entry of the batch's dictionary of keys.
  Status Count(const AttributesView& lists, int64_t rows, std::vector<size_t>* numbers) {
    numbers->clear();
    for (int64_t i = 0; i < lists.keys().length(); ++i) {
      const auto [found, is_new] = numbers_.try_emplace(lists.keys().GetView(i), counts_.size());
      if (is_new) counts_.push_back({.key = found->first});
      numbers->push_back(found->second);
    }
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t item = lists.begin(row); item < lists.end(row); ++item) {
        const int64_t number = lists.key_number(item);
        if (number < 0 || number >= lists.keys().length()) {
          return MakeError(ErrorKind::kCorruption, "an attribute's key {} lies outside its dictionary of {}", number, numbers->size());
        }
        const decode::AttributeValue value = lists.value(item);
        KeyCount& count = counts_[(*numbers)[static_cast<size_t>(number)]];
        ++count.values;
        count.bytes += static_cast<int64_t>(value.val.size());
        count.types |= uint32_t{1} << (static_cast<uint8_t>(value.type) & 7);
      }
    }
    return Status::OK();
  }

  /// The most frequent first; keys that no row has are left out.
  std::vector<std::pair<KeyCount, size_t>> ByFrequency() const {
    std::vector<std::pair<KeyCount, size_t>> out;
    for (size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i].values > 0) out.emplace_back(counts_[i], i);
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
      return a.first.values != b.first.values ? a.first.values > b.first.values : a.first.key < b.first.key;
    });
    return out;
  }
  size_t size() const { return counts_.size(); }

 private:
  std::unordered_map<std::string_view, size_t> numbers_;  // Borrows the batches' texts.
  std::vector<KeyCount> counts_;
};

/// The values of one key: numbers of distinct texts, a row each.
class ValueColumn {
 public:
  explicit ValueColumn(arrow::MemoryPool* pool) : pool_(pool), texts_(arrow::utf8()) {}

  Status Begin(int64_t rows) {
    SHEAF_ASSIGN_OR_RETURN(auto buffer, arrow::AllocateBuffer(rows * static_cast<int64_t>(sizeof(int32_t)), pool_));
    now_ = reinterpret_cast<int32_t*>(buffer->mutable_data());
    std::fill_n(now_, rows, kAbsent);
    numbers_.push_back(std::move(buffer));
    rows_.push_back(rows);
    return Status::OK();
  }
  /// Of a key that a record holds twice, the first counts.
  void Set(int64_t row, const decode::AttributeValue& value) {
    if (now_[row] == kAbsent) now_[row] = NumberOf(value);
  }
  bool fits_dictionary(int64_t values) const {
    return texts_.size() <= kDictionaryValuesMin || int64_t{texts_.size()} * kDictionaryRowsPerValueMin <= values;
  }
  /// The columns of all batches.
  Result<std::vector<std::shared_ptr<arrow::Array>>> Finish(AttributeForm form) {
    std::vector<std::shared_ptr<arrow::Array>> out;
    if (form == AttributeForm::kText) {
      for (size_t b = 0; b < rows_.size(); ++b) SHEAF_RETURN_NOT_OK(FinishText(b, &out.emplace_back()));
      return out;
    }
    SHEAF_ASSIGN_OR_RETURN(const auto dictionary, texts_.ToArray(pool_));
    for (size_t b = 0; b < rows_.size(); ++b) SHEAF_RETURN_NOT_OK(FinishCodes(b, dictionary, &out.emplace_back()));
    return out;
  }

 private:
  int32_t NumberOf(const decode::AttributeValue& value) {
    if (value.type == decode::ValueType::kString) return texts_.NumberOf(value.val);
    if (value.type == decode::ValueType::kEmpty) return kEmpty;
    const bool is_number = value.type == decode::ValueType::kBool || value.type == decode::ValueType::kInt;
    if (is_number) {
      const auto [found, is_new] = of_numbers_[value.type == decode::ValueType::kInt].try_emplace(value.num, 0);
      if (is_new) found->second = NumberOfText(value);
      return found->second;
    }
    return NumberOfText(value);
  }
  int32_t NumberOfText(const decode::AttributeValue& value) {
    std::string text;
    if (!decode::AppendText(value, &text)) return kEmpty;
    made_.push_back(std::move(text));
    const int32_t before = texts_.size();
    const int32_t number = texts_.NumberOf(made_.back());
    if (texts_.size() == before) made_.pop_back();
    return number;
  }
  Status FinishCodes(size_t batch, const std::shared_ptr<arrow::ArrayData>& dictionary, std::shared_ptr<arrow::Array>* out) {
    const int64_t rows = rows_[batch];
    auto* numbers = reinterpret_cast<int32_t*>(numbers_[batch]->mutable_data());
    SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> validity, arrow::AllocateEmptyBitmap(rows, pool_));
    int64_t nulls = 0;
    for (int64_t i = 0; i < rows; ++i) {
      if (numbers[i] >= 0) {
        arrow::bit_util::SetBit(validity->mutable_data(), i);
      } else {
        numbers[i] = 0;
        ++nulls;
      }
    }
    if (nulls == 0) validity = nullptr;
    auto data = arrow::ArrayData::Make(arrow::dictionary(arrow::int32(), arrow::utf8()), rows, {validity, numbers_[batch]}, nulls);
    data->dictionary = dictionary;
    *out = arrow::MakeArray(data);
    return Status::OK();
  }
  Status FinishText(size_t batch, std::shared_ptr<arrow::Array>* out) {
    arrow::StringBuilder builder(pool_);
    const auto* numbers = reinterpret_cast<const int32_t*>(numbers_[batch]->data());
    SHEAF_RETURN_NOT_OK(builder.Reserve(rows_[batch]));
    for (int64_t i = 0; i < rows_[batch]; ++i) {
      if (numbers[i] < 0) {
        SHEAF_RETURN_NOT_OK(builder.AppendNull());
      } else {
        SHEAF_RETURN_NOT_OK(builder.Append(texts_.values()[static_cast<size_t>(numbers[i])]));
      }
    }
    return builder.Finish(out);
  }

  arrow::MemoryPool* const pool_;
  columns::DictionaryUnion texts_;                       // Borrows the batches' bytes, and those of `made_`.
  std::deque<std::string> made_;
  std::unordered_map<int64_t, int32_t> of_numbers_[2];   // Of booleans, of integers.
  std::vector<std::shared_ptr<arrow::Buffer>> numbers_;  // By batch.
  std::vector<int64_t> rows_;
  int32_t* now_ = nullptr;
};

/// One list column of all batches.
class ListColumn {
 public:
  ListColumn(int column, const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, arrow::MemoryPool* pool)
      : column_(column), pool_(pool) {
    for (const auto& batch : batches) arrays_.push_back(batch->column(column));
  }

  /// Adds what is known of the keys to `out->keys`, and the columns of the frequent ones to `columns`, by key and batch.
  Status Run(BatchesWithAttributes* out, std::vector<std::vector<std::shared_ptr<arrow::Array>>>* columns) {
    KeyCounter counter;
    std::vector<std::vector<size_t>> numbers(arrays_.size());
    int64_t rows = 0;
    for (size_t b = 0; b < arrays_.size(); ++b) {
      SHEAF_RETURN_NOT_OK(counter.Count(AttributesView(*arrays_[b]), arrays_[b]->length(), &numbers[b]));
      rows += arrays_[b]->length();
    }
    const auto keys = counter.ByFrequency();
    std::vector<size_t> chosen;  // Positions in `keys`.
    for (size_t i = 0; i < keys.size() && chosen.size() < kAttributeColumnsMax; ++i) {
      const KeyCount& count = keys[i].first;
      if (count.values * kAttributeRowsPerValueMax < rows) break;
      if (count.bytes <= kAttributeBytesMax * count.values && count.types != kOnlyEmpty) chosen.push_back(i);
    }
    std::vector<int> slots(counter.size(), -1);
    for (size_t s = 0; s < chosen.size(); ++s) slots[keys[chosen[s]].second] = static_cast<int>(s);
    std::vector<ValueColumn> values;
    for (size_t s = 0; s < chosen.size(); ++s) values.emplace_back(pool_);
    if (!chosen.empty()) {
      for (size_t b = 0; b < arrays_.size(); ++b) SHEAF_RETURN_NOT_OK(Gather(*arrays_[b], numbers[b], slots, &values));
    }
    out->keys.complete &= keys.size() <= kAttributeKeysMax;
    size_t next = 0;
    for (size_t i = 0; i < std::min(keys.size(), kAttributeKeysMax); ++i) {
      const KeyCount& count = keys[i].first;
      AttributeKey key{.column = column_, .key = std::string(count.key), .values = count.values, .types = count.types};
      if (next < chosen.size() && chosen[next] == i) {
        key.form = values[next].fits_dictionary(count.values) ? AttributeForm::kDictionary : AttributeForm::kText;
        key.position = out->schema->num_fields() + static_cast<int>(columns->size());
        SHEAF_ASSIGN_OR_RETURN(columns->emplace_back(), values[next++].Finish(key.form));
      }
      out->keys.keys.push_back(std::move(key));
    }
    return Status::OK();
  }

 private:
  static Status Gather(const arrow::Array& array, const std::vector<size_t>& numbers, const std::vector<int>& slots,
                       std::vector<ValueColumn>* values) {
    const AttributesView lists(array);
    std::vector<int> slot_of_key;
    for (const size_t number : numbers) slot_of_key.push_back(slots[number]);
    for (ValueColumn& column : *values) SHEAF_RETURN_NOT_OK(column.Begin(array.length()));
    for (int64_t row = 0; row < array.length(); ++row) {
      for (int64_t item = lists.begin(row); item < lists.end(row); ++item) {
        const int slot = slot_of_key[static_cast<size_t>(lists.key_number(item))];
        if (slot >= 0) (*values)[static_cast<size_t>(slot)].Set(row, lists.value(item));
      }
    }
    return Status::OK();
  }

  const int column_;
  arrow::MemoryPool* const pool_;
  std::vector<std::shared_ptr<arrow::Array>> arrays_;
};

Status CheckLists(const arrow::RecordBatch& batch, int column, const arrow::Schema& schema) {
  if (batch.num_columns() != schema.num_fields()) {
    return MakeError(ErrorKind::kInvalid, "a batch has {} columns, its table {}", batch.num_columns(), schema.num_fields());
  }
  if (batch.column(column)->type()->Equals(*decode::AttributesType())) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "column '{}' of a batch is {}, not a list of attributes", schema.field(column)->name(),
                   batch.column(column)->type()->ToString());
}

}  // namespace

Result<BatchesWithAttributes> AddAttributeColumns(const std::shared_ptr<arrow::Schema>& schema,
                                                  const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                                  arrow::MemoryPool* pool) {
  BatchesWithAttributes out{.schema = schema, .batches = batches, .keys = {.keys = {}, .complete = true}};
  std::vector<std::vector<std::shared_ptr<arrow::Array>>> columns;  // By key that has one, then by batch.
  for (int c = 0; c < schema->num_fields(); ++c) {
    if (!schema->field(c)->type()->Equals(*decode::AttributesType())) continue;
    for (const auto& batch : batches) SHEAF_RETURN_NOT_OK(CheckLists(*batch, c, *schema));
    SHEAF_RETURN_NOT_OK(ListColumn(c, batches, pool).Run(&out, &columns));
  }
  if (columns.empty()) return out;
  out.schema = columns::WithAttributeColumns(*schema, out.keys.keys);
  for (size_t b = 0; b < batches.size(); ++b) {
    arrow::ArrayVector arrays = batches[b]->columns();
    for (const auto& column : columns) arrays.push_back(column[b]);
    out.batches[b] = arrow::RecordBatch::Make(out.schema, batches[b]->num_rows(), std::move(arrays));
  }
  return out;
}

}  // namespace sheaf::parts
