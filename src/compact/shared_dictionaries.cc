#include "compact/shared_dictionaries.h"

#include <limits>
#include <utility>

#include <arrow/buffer.h>
#include <arrow/util/bit_util.h>

#include "compact/merge.h"

namespace sheaf::compact {
namespace {

bool HasDictionaryInside(const arrow::DataType& type) {
  for (const auto& field : type.fields()) {
    if (field->type()->id() == arrow::Type::DICTIONARY || HasDictionaryInside(*field->type())) return true;
  }
  return false;
}

/// Writes each row's number; -1 for NULL. False: an index outside the dictionary.
template <typename Index>
bool TranslateIndexes(const arrow::ArrayData& data, const std::vector<int32_t>& numbers, uint8_t* validity, int64_t* nulls,
                      Index* out) {
  const uint8_t* valid = data.MayHaveNulls() && data.buffers[0] ? data.buffers[0]->data() : nullptr;
  const Index* in = data.GetValues<Index>(1);
  for (int64_t i = 0; i < data.length; ++i) {
    int32_t number = -1;
    if (valid == nullptr || arrow::bit_util::GetBit(valid, data.offset + i)) {
      if (std::cmp_less(in[i], 0) || std::cmp_greater_equal(in[i], numbers.size())) return false;
      number = numbers[static_cast<size_t>(in[i])];
    }
    out[i] = number < 0 ? Index{0} : static_cast<Index>(number);
    *nulls += number < 0 ? 1 : 0;
    if (number >= 0) arrow::bit_util::SetBit(validity, i);
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<SharedDictionaries>> SharedDictionaries::Make(const std::shared_ptr<arrow::Schema>& schema, bool hot,
                                                                     const std::vector<MergeSource>& sources,
                                                                     arrow::MemoryPool* pool) {
  std::unique_ptr<SharedDictionaries> out(new SharedDictionaries(pool));
  if (!hot) return out;
  for (int c = 0; c < schema->num_fields(); ++c) {
    const arrow::DataType& type = *schema->field(c)->type();
    if (HasDictionaryInside(type)) {
      return MakeError(ErrorKind::kUnsupported,
                       "column '{}' of type {}: parts with dictionaries inside nested columns can only be merged into cold ones",
                       schema->field(c)->name(), type.ToString());
    }
    if (type.id() != arrow::Type::DICTIONARY) continue;
    Column& column = out->columns_.emplace_back();
    column.number = c;
    const Status collected = out->Collect(&column, static_cast<const arrow::DictionaryType&>(type), sources);
    if (!collected.ok()) return WithContext(collected, "column '" + schema->field(c)->name() + "'");
  }
  return out;
}

Status SharedDictionaries::Collect(Column* column, const arrow::DictionaryType& type, const std::vector<MergeSource>& sources) {
  columns::DictionaryUnion all(type.value_type());
  std::vector<std::shared_ptr<arrow::ArrayData>> kept;  // `all` borrows their bytes.
  std::vector<int32_t> numbers;
  const arrow::ArrayData* last = nullptr;
  for (const MergeSource& source : sources) {
    for (int granule = 0; granule < source.source->num_granules(); ++granule) {
      if (source.dead && source.dead->count(granule) >= source.source->granule_rows(granule)) continue;
      SHEAF_ASSIGN_OR_RETURN(const auto batch, source.source->Read(granule, {column->number}));
      const std::shared_ptr<arrow::ArrayData>& dictionary = batch->column_data(0)->dictionary;
      if (dictionary.get() == last) continue;  // Granules of a hot part share one.
      const int32_t before = all.size();
      SHEAF_RETURN_NOT_OK(all.Add(*dictionary, &numbers));
      last = nullptr;
      if (all.size() == before) continue;
      kept.push_back(dictionary);
      last = dictionary.get();
    }
  }
  const int64_t bits = type.index_type()->bit_width() - (arrow::is_unsigned_integer(type.index_type()->id()) ? 0 : 1);
  if (bits < 31 && all.size() > int64_t{1} << bits) {
    return MakeError(ErrorKind::kTooLarge, "{} distinct values do not fit dictionary indexes of type {}", all.size(),
                     type.index_type()->ToString());
  }
  SHEAF_ASSIGN_OR_RETURN(column->values, all.ToArray(pool_));
  column->numbers = std::make_unique<columns::DictionaryUnion>(type.value_type());
  return column->numbers->Add(*column->values, &numbers);  // In the same order, with bytes that stay.
}

Result<std::shared_ptr<arrow::RecordBatch>> SharedDictionaries::Translate(std::shared_ptr<arrow::RecordBatch> batch) {
  if (columns_.empty()) return batch;
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays = batch->column_data();
  for (Column& column : columns_) {
    auto translated = TranslateColumn(&column, *arrays[static_cast<size_t>(column.number)]);
    if (!translated.ok())
      return WithContext(translated.status(), "column '" + batch->schema()->field(column.number)->name() + "'");
    arrays[static_cast<size_t>(column.number)] = std::move(*translated);
  }
  return arrow::RecordBatch::Make(batch->schema(), batch->num_rows(), std::move(arrays));
}

Result<std::shared_ptr<arrow::ArrayData>> SharedDictionaries::TranslateColumn(Column* column, const arrow::ArrayData& data) {
  if (data.dictionary != column->last) {
    const int32_t known = column->numbers->size();
    SHEAF_RETURN_NOT_OK(column->numbers->Add(*data.dictionary, &column->last_numbers));
    column->last = data.dictionary;
    if (column->numbers->size() != known) return MakeError(ErrorKind::kCorruption, "a dictionary changed while it was read");
  }
  const auto& type = static_cast<const arrow::DictionaryType&>(*data.type);
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> validity, arrow::AllocateEmptyBitmap(data.length, pool_));
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> indexes, arrow::AllocateBuffer(data.length * type.byte_width(), pool_));
  int64_t nulls = 0;
  const auto translate = [&]<typename Index>(Index) {
    return TranslateIndexes<Index>(data, column->last_numbers, validity->mutable_data(), &nulls,
                                   reinterpret_cast<Index*>(indexes->mutable_data()));
  };
  bool inside = false;
  switch (type.index_type()->id()) {
    case arrow::Type::INT8: inside = translate(int8_t()); break;
    case arrow::Type::UINT8: inside = translate(uint8_t()); break;
    case arrow::Type::INT16: inside = translate(int16_t()); break;
    case arrow::Type::UINT16: inside = translate(uint16_t()); break;
    case arrow::Type::INT32: inside = translate(int32_t()); break;
    case arrow::Type::UINT32: inside = translate(uint32_t()); break;
    case arrow::Type::INT64: inside = translate(int64_t()); break;
    default: inside = translate(uint64_t()); break;
  }
  if (!inside)
    return MakeError(ErrorKind::kCorruption, "an index lies outside its dictionary of {} values", data.dictionary->length);
  auto out =
      arrow::ArrayData::Make(data.type, data.length, {nulls > 0 ? std::move(validity) : nullptr, std::move(indexes)}, nulls);
  out->dictionary = column->values;
  return out;
}

}  // namespace sheaf::compact
