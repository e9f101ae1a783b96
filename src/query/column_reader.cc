#include "query/column_reader.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "decode/attributes.h"
#include "query/attribute_vectors.h"
#include "query/copy_living.h"

namespace sheaf::query {

namespace {

using duckdb::FlatVector;
using duckdb::idx_t;
using duckdb::StringVector;

constexpr size_t kCachedDictionariesMax = 32;  // Parts in flight of one thread are few; more would only hold memory.

/// Dictionaries as DuckDB vectors with one NULL entry at the end, made once for each Arrow dictionary.
class DictionaryCache {
 public:
  struct Entry {
    std::shared_ptr<arrow::Array> dictionary;  // Keeps the address in the key from being used again.
    duckdb::shared_ptr<duckdb::VectorChildBuffer> vector;
    idx_t null_code = 0;
  };

  /// The entry made before, or null.
  const Entry* Find(const std::shared_ptr<arrow::Array>& dictionary) const {
    const auto found = entries_.find(KeyOf(*dictionary));
    return found == entries_.end() ? nullptr : &found->second;
  }

  /// `fill(vector)` writes all values of `dictionary` into a fresh vector.
  template <typename FillEntries>
  const Entry& Add(const std::shared_ptr<arrow::Array>& dictionary, const duckdb::LogicalType& type, FillEntries&& fill) {
    if (entries_.size() >= kCachedDictionariesMax) entries_.clear();
    Entry entry{.dictionary = dictionary, .null_code = static_cast<idx_t>(dictionary->length())};
    entry.vector = duckdb::DictionaryVector::CreateReusableDictionary(type, entry.null_code + 1);
    fill(&entry.vector->data);
    FlatVector::SetNull(entry.vector->data, entry.null_code, true);
    return entries_.emplace(KeyOf(*dictionary), std::move(entry)).first->second;
  }

 private:
  using Key = std::tuple<const void*, const void*, int64_t, int64_t>;

  static Key KeyOf(const arrow::Array& dictionary) {
    const auto& data = *dictionary.data();
    return {data.buffers[1].get() ? data.buffers[1]->data() : nullptr, data.buffers.back() ? data.buffers.back()->data() : nullptr,
            data.offset, data.length};
  }

  std::map<Key, Entry> entries_;
};

/// Points `out` at the dictionary's entries. The codes stay where they lie, where that shows `rows`: the array must outlive what reads
/// the vector, as in BorrowArray().
void Select(const DictionaryCache::Entry& entry, const arrow::DictionaryArray& array, const Rows& rows, duckdb::Vector* out) {
  const auto& indices = static_cast<const arrow::Int32Array&>(*array.indices());
  const int32_t* values = indices.raw_values();
  const bool has_nulls = array.null_count() > 0;
  if (!has_nulls && rows.list == nullptr && rows.count > 0) {
    static_assert(sizeof(duckdb::sel_t) == sizeof(int32_t));
    // DuckDB writes to no selection of a vector that it was given to read.
    out->Dictionary(entry.vector, duckdb::SelectionVector(reinterpret_cast<duckdb::sel_t*>(const_cast<int32_t*>(values + rows.offset))));
    return;
  }
  duckdb::SelectionVector codes(static_cast<idx_t>(std::max<int64_t>(rows.count, 1)));
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows[i];
    const bool is_null = has_nulls && array.IsNull(row);
    codes.set_index(static_cast<idx_t>(i), is_null ? entry.null_code : static_cast<idx_t>(values[row]));
  }
  out->Dictionary(entry.vector, codes);
}

/// Points `out` at the entries of the living rows, if `entry` is not null.
bool SelectLiving(const DictionaryCache::Entry* entry, const arrow::DictionaryArray& array, const Window& window, duckdb::Vector* out) {
  if (entry == nullptr) return false;
  duckdb::SelectionVector codes(STANDARD_VECTOR_SIZE);
  const auto& indices = static_cast<const arrow::Int32Array&>(*array.indices());
  CopyLiving(reinterpret_cast<const uint32_t*>(indices.raw_values() + window.offset), window.dead, window.count, codes.data(),
             STANDARD_VECTOR_SIZE);
  EachLivingNull(array, window, [&](int64_t i) { codes.set_index(static_cast<idx_t>(i), entry->null_code); });
  out->Dictionary(entry->vector, codes);
  return true;
}

class PlainReader : public ColumnReader {
 public:
  void Load(std::shared_ptr<arrow::Array> array) override { array_ = std::move(array); }
  void Convert(const Rows& rows, duckdb::Vector* out) override {
    if (!BorrowArray(*array_, rows, out)) ConvertArray(array_, rows, out);
  }
  bool ConvertLiving(const Window& window, duckdb::Vector* out) override { return CopyLivingRows(*array_, window, out); }

 private:
  std::shared_ptr<arrow::Array> array_;  // Held until the next one comes: vectors borrow from it.
};

/// Whether to look at the wanted rows' entries one by one, rather than at the whole dictionary.
bool IsFewRows(const Rows& rows, const arrow::Array& dictionary) { return rows.count * 2 < dictionary.length(); }

class DictionaryReader : public ColumnReader {
 public:
  explicit DictionaryReader(duckdb::LogicalType type) : type_(std::move(type)) {}

  void Load(std::shared_ptr<arrow::Array> array) override { array_ = std::move(array); }
  void Convert(const Rows& rows, duckdb::Vector* out) override {
    const auto& array = static_cast<const arrow::DictionaryArray&>(*array_);
    const auto& dictionary = array.dictionary();
    const DictionaryCache::Entry* entry = cache_.Find(dictionary);
    if (entry == nullptr) {
      if (IsFewRows(rows, *dictionary)) return ConvertArray(array_, rows, out);
      entry = &cache_.Add(dictionary, type_, [&](duckdb::Vector* entries) {
        ConvertArray(dictionary, {.count = dictionary->length()}, entries);
      });
    }
    Select(*entry, array, rows, out);
  }
  bool ConvertLiving(const Window& window, duckdb::Vector* out) override {
    const auto& array = static_cast<const arrow::DictionaryArray&>(*array_);
    return SelectLiving(cache_.Find(array.dictionary()), array, window, out);
  }

 private:
  const duckdb::LogicalType type_;
  std::shared_ptr<arrow::Array> array_;
  DictionaryCache cache_;
};

class AttributesReader : public ColumnReader {
 public:
  explicit AttributesReader(const LogicalColumn& column) : form_(column.form), key_(column.key), coded_(duckdb::LogicalType::VARCHAR) {}

  /// The list, or the key's own column.
  void Load(std::shared_ptr<arrow::Array> array) override {
    own_ = array->type_id() == arrow::Type::DICTIONARY ? static_cast<ColumnReader*>(&coded_)
           : array->type_id() == arrow::Type::STRING   ? &texts_
                                                       : nullptr;
    if (own_ != nullptr) return own_->Load(std::move(array));
    view_.emplace(array);
  }
  bool ConvertLiving(const Window& window, duckdb::Vector* out) override { return own_ != nullptr && own_->ConvertLiving(window, out); }
  void Convert(const Rows& rows, duckdb::Vector* out) override {
    if (own_ != nullptr) return own_->Convert(rows, out);
    switch (form_) {
      case Form::kPlain: return view_->ToMap(rows, AttributeText::kValue, out);
      case Form::kTypes: return view_->ToMap(rows, AttributeText::kType, out);
      case Form::kJson: return view_->ToJson(rows, out);
      case Form::kExtract: return view_->Extract(rows, key_, out);
    }
  }

 private:
  const Form form_;
  const std::string key_;
  std::optional<AttributesView> view_;
  DictionaryReader coded_;
  PlainReader texts_;
  ColumnReader* own_ = nullptr;  // The one of these that has the array; null: view_ has.
};

/// What one envelope says for the reader's column.
struct EnvelopeValue {
  std::string_view text;
  uint32_t number = 0;
  std::vector<decode::Attribute> attributes;
};

template <typename T>
T ValueOrThrow(Result<T> parsed) {
  if (!parsed.ok()) throw duckdb::IOException("%s", parsed.status().message());
  return std::move(parsed).ValueUnsafe();
}

EnvelopeValue ReadEnvelope(Field field, std::string_view bytes) {
  switch (field) {
    case Field::kResourceAttributes:
    case Field::kResourceDropped:
    case Field::kResourceSchemaUrl: {
      auto resource = ValueOrThrow(decode::ParseResourceEnvelope(bytes));
      return {resource.schema_url, resource.dropped_attributes_count, std::move(resource.attributes)};
    }
    case Field::kScopeName:
    case Field::kScopeVersion:
    case Field::kScopeAttributes:
    case Field::kScopeDropped:
    case Field::kScopeSchemaUrl: {
      auto scope = ValueOrThrow(decode::ParseScopeEnvelope(bytes));
      const std::string_view text = field == Field::kScopeName      ? scope.name
                                    : field == Field::kScopeVersion ? scope.version
                                                                    : scope.schema_url;
      return {text, scope.dropped_attributes_count, std::move(scope.attributes)};
    }
    case Field::kMetricDescription:
    case Field::kMetricMetadata: {
      auto metric = ValueOrThrow(decode::ParseMetricEnvelope(bytes));
      return {metric.description, 0, std::move(metric.metadata)};
    }
    case Field::kWhole: break;
  }
  throw duckdb::InternalException("not an envelope column");
}

/// Columns of resource, scope and metric: parsed once for each envelope in the dictionary, not for each row.
class EnvelopeReader : public ColumnReader {
 public:
  EnvelopeReader(const LogicalColumn& column, duckdb::LogicalType type) : column_(column), type_(std::move(type)) {}

  void Load(std::shared_ptr<arrow::Array> array) override { array_ = std::move(array); }
  void Convert(const Rows& rows, duckdb::Vector* out) override {
    const auto& array = static_cast<const arrow::DictionaryArray&>(*array_);
    const auto& dictionary = array.dictionary();
    const auto& envelopes = static_cast<const arrow::BinaryArray&>(*dictionary);
    const DictionaryCache::Entry* entry = cache_.Find(dictionary);
    if (entry == nullptr) {
      if (IsFewRows(rows, *dictionary)) return ConvertFew(array, envelopes, rows, out);
      entry = &cache_.Add(dictionary, type_, [&](duckdb::Vector* entries) {
        for (int64_t i = 0; i < envelopes.length(); ++i) {
          Write(ReadEnvelope(column_.field, envelopes.GetView(i)), static_cast<idx_t>(i), entries);
        }
      });
    }
    Select(*entry, array, rows, out);
  }
  bool ConvertLiving(const Window& window, duckdb::Vector* out) override {
    const auto& array = static_cast<const arrow::DictionaryArray&>(*array_);
    return SelectLiving(cache_.Find(array.dictionary()), array, window, out);
  }

 private:
  void ConvertFew(const arrow::DictionaryArray& array, const arrow::BinaryArray& envelopes, const Rows& rows,
                  duckdb::Vector* out) const {
    for (int64_t i = 0; i < rows.count; ++i) {
      if (array.IsNull(rows[i])) {
        FlatVector::SetNull(*out, static_cast<idx_t>(i), true);
      } else {
        Write(ReadEnvelope(column_.field, envelopes.GetView(array.GetValueIndex(rows[i]))), static_cast<idx_t>(i), out);
      }
    }
  }

  void Write(const EnvelopeValue& value, idx_t row, duckdb::Vector* entries) const {
    switch (column_.field) {
      case Field::kResourceDropped:
      case Field::kScopeDropped: FlatVector::GetData<uint32_t>(*entries)[row] = value.number; return;
      case Field::kResourceAttributes:
      case Field::kScopeAttributes:
      case Field::kMetricMetadata: WriteAttributes(value.attributes, row, entries); return;
      default: FlatVector::GetData<duckdb::string_t>(*entries)[row] = AddText(value.text, entries);
    }
  }

  void WriteAttributes(const std::vector<decode::Attribute>& attributes, idx_t row, duckdb::Vector* entries) const {
    if (column_.form == Form::kJson) {
      std::string json;
      AppendAttributesJson(attributes, &json);
      FlatVector::GetData<duckdb::string_t>(*entries)[row] = AddText(json, entries);
      return;
    }
    if (column_.form == Form::kExtract) {
      FlatVector::SetNull(*entries, row, true);
      for (const decode::Attribute& attribute : attributes) {
        std::string text;
        if (attribute.key != column_.key) continue;
        if (decode::AppendText(attribute.value, &text)) {
          FlatVector::SetNull(*entries, row, false);
          FlatVector::GetData<duckdb::string_t>(*entries)[row] = AddText(text, entries);
        }
        return;
      }
      return;
    }
    // By hand, as a Value of a map takes long to make.
    const idx_t begin = duckdb::ListVector::GetListSize(*entries);
    duckdb::ListVector::Reserve(*entries, begin + attributes.size());
    auto& keys = duckdb::MapVector::GetKeys(*entries);
    auto& values = duckdb::MapVector::GetValues(*entries);
    auto* const key_texts = FlatVector::GetData<duckdb::string_t>(keys);
    idx_t end = begin;
    for (const decode::Attribute& attribute : attributes) {
      const bool is_repeated = std::any_of(key_texts + begin, key_texts + end, [&](const duckdb::string_t& key) {
        return std::string_view(key.GetData(), key.GetSize()) == attribute.key;
      });
      if (is_repeated) continue;
      std::string text;
      bool present = true;
      if (column_.form == Form::kTypes) {
        text = ValueTypeName(attribute.value.type);
      } else {
        present = decode::AppendText(attribute.value, &text);
      }
      key_texts[end] = AddText(attribute.key, &keys);
      if (present) {
        FlatVector::GetData<duckdb::string_t>(values)[end] = AddText(text, &values);
      } else {
        FlatVector::SetNull(values, end, true);
      }
      ++end;
    }
    FlatVector::GetData<duckdb::list_entry_t>(*entries)[row] = duckdb::list_entry_t(begin, end - begin);
    duckdb::ListVector::SetListSize(*entries, end);
  }

  static duckdb::string_t AddText(std::string_view text, duckdb::Vector* heap) {
    return StringVector::AddString(*heap, text.data(), text.size());
  }

  const LogicalColumn column_;
  const duckdb::LogicalType type_;
  std::shared_ptr<arrow::Array> array_;
  DictionaryCache cache_;
};

}  // namespace

Result<duckdb::LogicalType> LogicalColumnType(const LogicalColumn& column, const arrow::Schema& schema) {
  using duckdb::LogicalType;
  switch (column.form) {
    case Form::kExtract: return LogicalType(LogicalType::VARCHAR);
    case Form::kJson: return LogicalType::JSON();
    case Form::kTypes: return LogicalType::MAP(LogicalType::VARCHAR, LogicalType::VARCHAR);
    case Form::kPlain: break;
  }
  switch (column.field) {
    case Field::kWhole: return SqlType(*schema.field(column.physical)->type());
    case Field::kResourceAttributes:
    case Field::kScopeAttributes:
    case Field::kMetricMetadata: return LogicalType::MAP(LogicalType::VARCHAR, LogicalType::VARCHAR);
    case Field::kResourceDropped:
    case Field::kScopeDropped: return LogicalType(LogicalType::UINTEGER);
    default: return LogicalType(LogicalType::VARCHAR);
  }
}

std::unique_ptr<ColumnReader> MakeColumnReader(const LogicalColumn& column, const duckdb::LogicalType& type, const arrow::Schema& schema) {
  if (column.field != Field::kWhole) return std::make_unique<EnvelopeReader>(column, type);
  const auto& physical = schema.field(column.physical)->type();
  if (IsAttributes(*physical)) return std::make_unique<AttributesReader>(column);
  if (physical->id() == arrow::Type::DICTIONARY &&
      static_cast<const arrow::DictionaryType&>(*physical).index_type()->id() == arrow::Type::INT32) {
    return std::make_unique<DictionaryReader>(type);
  }
  return std::make_unique<PlainReader>();
}

}  // namespace sheaf::query
