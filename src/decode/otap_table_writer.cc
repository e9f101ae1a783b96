#include "decode/otap_table_writer.h"

#include <algorithm>
#include <cstring>

#include "decode/otap_rows.h"

namespace sheaf::decode {
namespace {

/// What 16-bit indexes can address, of which half may be full when a batch begins.
constexpr int32_t kDictionaryMax = 65'536, kOneByteMax = 256;
/// A batch with fewer values says little about whether a dictionary pays.
constexpr int64_t kJudgedRowsMin = 256;
/// After so many rows whose values were mostly new the column is sent as it is.
constexpr int64_t kMissesMax = 2048;

std::shared_ptr<arrow::DataType> ValueType(OtapForm form) {
  switch (form) {
    case OtapForm::kU8: return arrow::uint8();
    case OtapForm::kU16: return arrow::uint16();
    case OtapForm::kU32: return arrow::uint32();
    case OtapForm::kU64: return arrow::uint64();
    case OtapForm::kI32: return arrow::int32();
    case OtapForm::kI64: return arrow::int64();
    case OtapForm::kF64: return arrow::float64();
    case OtapForm::kBool: return arrow::boolean();
    case OtapForm::kTime: return arrow::timestamp(arrow::TimeUnit::NANO, "UTC");
    case OtapForm::kDuration: return arrow::duration(arrow::TimeUnit::NANO);
    case OtapForm::kFixed8: return arrow::fixed_size_binary(8);
    case OtapForm::kFixed16: return arrow::fixed_size_binary(16);
    case OtapForm::kText: return arrow::utf8();
    case OtapForm::kBytes: return arrow::binary();
    case OtapForm::kU64List: return arrow::list(arrow::uint64());
    case OtapForm::kF64List: return arrow::list(arrow::float64());
    case OtapForm::kQuantileList:
      return arrow::list(arrow::struct_({arrow::field("quantile", arrow::float64()), arrow::field("value", arrow::float64())}));
    case OtapForm::kStruct: break;
  }
  return nullptr;  // A struct's children make its type.
}

int64_t WidthOf(OtapForm form) {
  switch (form) {
    case OtapForm::kU8:
    case OtapForm::kBool: return 1;
    case OtapForm::kU16: return 2;
    case OtapForm::kU32:
    case OtapForm::kI32: return 4;
    case OtapForm::kFixed16: return 16;
    default: return 8;
  }
}

bool IsList(OtapForm form) { return form == OtapForm::kU64List || form == OtapForm::kF64List || form == OtapForm::kQuantileList; }

bool AnyNotZero(const uint8_t* bytes, int64_t n) {
  if (n == 0) return false;
  return bytes[0] != 0 || std::memcmp(bytes, bytes + 1, static_cast<size_t>(n - 1)) != 0;
}

}  // namespace

void OtapOutColumn::Start(RequestMemory* memory, int64_t dictionary_bytes_max) {
  if (memory_ == nullptr) values_dictionary_.Start(memory);
  memory_ = memory;
  saw_value_ = false;
  if (plain_) return;
  if (values_dictionary_.size() > kDictionaryMax / 2 || DictionaryBytes() > dictionary_bytes_max / 2) ForgetDictionary();
  size_at_start_ = values_dictionary_.size();
}

void OtapOutColumn::Resize(int64_t rows) {
  rows_ = rows;
  put_ = skipped_ = list_items_ = 0;
  touched_ = has_presence_ = false;
  if (!plain_) {
    values_.Start(memory_, (rows + 1) * static_cast<int64_t>(sizeof(int32_t)), false);
  } else if (IsBytes()) {
    bytes_.Start(memory_, rows, 0);
  } else if (MayBeDictionary()) {
    values_.Start(memory_, (rows + 1) * WidthOf(rule_.form), false);
  }
}

void OtapOutColumn::Put(std::string_view value) {
  if (!plain_) {
    PutId(Id(value));
    return;
  }
  saw_value_ |= !value.empty();
  if (IsBytes()) {
    bytes_.Put(put_++, value, 0);
  } else {
    std::memcpy(values_.data() + put_++ * WidthOf(rule_.form), value.data(), value.size());
  }
}

void OtapOutColumn::Skip(int64_t n) {
  if (!plain_) {
    std::fill(ids() + put_, ids() + put_ + n, 0);
  } else if (IsBytes()) {
    for (int64_t i = 0; i < n; ++i) bytes_.PutNone(put_ + i);
  } else {
    std::memset(values_.data() + put_ * WidthOf(rule_.form), 0, static_cast<size_t>(n * WidthOf(rule_.form)));
  }
  put_ += n;
  skipped_ += n;
}

bool OtapOutColumn::NeedsSchema() const {
  if (in_schema_ || (rule_.traits & kOtapAlways) != 0) return true;
  if (MayBeDictionary() || IsBytes()) return saw_value_;
  if (IsList(rule_.form)) return list_items_ > 0;
  if (!touched_) return false;
  if (rule_.form != OtapForm::kStruct && (rule_.traits & kOtapOptional) == 0)
    return AnyNotZero(values_.data(), rows_ * WidthOf(rule_.form));
  return !has_presence_ || AnyNotZero(presence_.data(), rows_);
}

bool OtapOutColumn::Settle(int64_t dictionary_bytes_max) {
  if (plain_) return false;
  const int32_t size = values_dictionary_.size();
  for (int32_t i = size_at_start_; i < size; ++i) dictionary_heap_ += static_cast<int64_t>(values_dictionary_.value(i).size());
  const int64_t values = put_ - skipped_;
  if (values >= kJudgedRowsMin) misses_ = int64_t{size - size_at_start_} * 2 > values ? misses_ + values : 0;
  if (size > kDictionaryMax || DictionaryBytes() > dictionary_bytes_max || misses_ >= kMissesMax) {
    MakePlain();
    return in_schema_;
  }
  if (index_width_ > 1 || size <= kOneByteMax) return false;
  index_width_ = 2;
  return in_schema_;
}

void OtapOutColumn::MakePlain() {
  const int64_t n = put_;
  const int32_t* from = ids();
  const auto has_value = [&](int64_t i) { return !has_presence_ || presence_.data()[i] != 0; };
  if (IsBytes()) {
    bytes_.Start(memory_, rows_, dictionary_heap_);
    for (int64_t i = 0; i < n; ++i) {
      if (has_value(i))
        bytes_.Put(i, values_dictionary_.value(from[i]), 0);
      else
        bytes_.PutNone(i);
    }
  } else {
    const int64_t width = WidthOf(rule_.form);
    items_[0].Start(memory_, (rows_ + 1) * width, true);
    for (int64_t i = 0; i < n; ++i) {
      const std::string_view value = has_value(i) ? values_dictionary_.value(from[i]) : std::string_view();
      if (!value.empty()) std::memcpy(items_[0].data() + i * width, value.data(), value.size());
    }
    std::swap(items_[0], values_);
  }
  plain_ = true;
  ForgetDictionary();
}

void OtapOutColumn::ForgetDictionary() {
  values_dictionary_.Start(memory_);
  replaced_ = sent_ > 0 || replaced_;
  sent_ = size_at_start_ = 0;
  dictionary_heap_ = 0;
}

void OtapOutColumn::Restart() {
  if (memory_ != nullptr) ForgetDictionary();
  in_schema_ = replaced_ = false;
  plain_ = !MayBeDictionary();
  index_width_ = 1;
  misses_ = 0;
}

void OtapOutColumn::Trim() {
  for (ColumnBuffer* buffer : {&values_, &presence_, &bits_, &items_[0], &items_[1]}) buffer->Trim(-1);
  bytes_.Trim(-1);
}

std::shared_ptr<arrow::Field> OtapOutColumn::Field(std::vector<std::shared_ptr<arrow::Field>> children) const {
  if (rule_.form == OtapForm::kStruct) return arrow::field(rule_.name, arrow::struct_(std::move(children)));
  const auto type = ValueType(rule_.form);
  if (plain_) return arrow::field(rule_.name, type);
  return arrow::field(rule_.name, arrow::dictionary(index_width_ == 1 ? arrow::uint8() : arrow::uint16(), type));
}

Status OtapOutColumn::WriteDictionary(int64_t id, bool whole, wire::IpcWriter* writer, std::string* out) {
  const int32_t from = whole ? 0 : sent_, size = values_dictionary_.size();
  if (from == size && !whole) return Status::OK();
  const int64_t n = size - from;
  bits_.Start(memory_, (n + 1) * static_cast<int64_t>(sizeof(int32_t)), false);
  auto* offsets = reinterpret_cast<int32_t*>(bits_.data());
  offsets[0] = 0;
  for (int64_t i = 0; i < n; ++i)
    offsets[i + 1] = offsets[i] + static_cast<int32_t>(values_dictionary_.value(from + static_cast<int32_t>(i)).size());
  const char* heap = n == 0 ? nullptr : values_dictionary_.value(from).data();
  writer->Begin(n);
  writer->Node(n, 0);
  SHEAF_RETURN_NOT_OK(writer->Buffer({}));
  if (IsBytes()) SHEAF_RETURN_NOT_OK(writer->Values(offsets, n + 1));
  SHEAF_RETURN_NOT_OK(writer->Values(heap, offsets[n]));  // Values stand one after the other.
  writer->FinishDictionary(id, !whole && !replaced_, out);
  sent_ = size;
  replaced_ = false;
  return Status::OK();
}

Status OtapOutColumn::WriteNode(wire::IpcWriter* writer) {
  int64_t nulls = 0;
  if (has_presence_) {
    bits_.Start(memory_, rows_ / 8 + 1, false);
    nulls = PackBits(presence_.data(), rows_, bits_.data());
  }
  writer->Node(rows_, nulls);
  return nulls == 0 ? writer->Buffer({}) : writer->Values(bits_.data(), (rows_ + 7) / 8);
}

Status OtapOutColumn::Write(wire::IpcWriter* writer) {
  const bool in_rows = MayBeDictionary() || IsBytes();
  if (in_rows && put_ > 0) Skip(rows_ - put_);
  const bool filled = in_rows ? put_ == rows_ : touched_;
  if (!filled) {  // Nothing to say in this batch: no row has a value.
    const bool always = rule_.form == OtapForm::kStruct && (rule_.traits & kOtapAlways) != 0;
    if (!always) Presence();
    if (in_rows)
      Skip(rows_ - put_);
    else if (IsList(rule_.form))
      Values<int32_t>(true);
    else if (rule_.form != OtapForm::kStruct)
      values_.Start(memory_, (rows_ + 1) * WidthOf(rule_.form), true);
  }
  SHEAF_RETURN_NOT_OK(WriteNode(writer));
  if (rule_.form == OtapForm::kStruct) return Status::OK();
  if (in_rows) return WriteBytesOrIndexes(writer);
  if (IsList(rule_.form)) return WriteList(writer);
  if (rule_.form != OtapForm::kBool) return writer->Values(values_.data(), rows_ * WidthOf(rule_.form));
  bits_.Start(memory_, rows_ / 8 + 1, false);
  PackBits(values_.data(), rows_, bits_.data());
  return writer->Values(bits_.data(), (rows_ + 7) / 8);
}

Status OtapOutColumn::WriteBytesOrIndexes(wire::IpcWriter* writer) {
  if (plain_) {
    if (!IsBytes()) return writer->Values(values_.data(), rows_ * WidthOf(rule_.form));
    SHEAF_RETURN_NOT_OK(writer->Values(bytes_.OffsetsView(rows_)->data(), (rows_ + 1) * static_cast<int64_t>(sizeof(int32_t))));
    return writer->Buffer(bytes_.heap());
  }
  items_[0].Start(memory_, rows_ * index_width_, false);
  const int32_t* from = ids();
  if (index_width_ == 1) {
    uint8_t* to = items_[0].data();
    for (int64_t i = 0; i < rows_; ++i) to[i] = static_cast<uint8_t>(from[i]);
  } else {
    auto* to = reinterpret_cast<uint16_t*>(items_[0].data());
    for (int64_t i = 0; i < rows_; ++i) to[i] = static_cast<uint16_t>(from[i]);
  }
  return writer->Values(items_[0].data(), rows_ * index_width_);
}

Status OtapOutColumn::WriteList(wire::IpcWriter* writer) {
  SHEAF_RETURN_NOT_OK(writer->Values(reinterpret_cast<const int32_t*>(values_.data()), rows_ + 1));
  const bool pairs = rule_.form == OtapForm::kQuantileList;
  if (pairs) {
    writer->Node(list_items_, 0);
    SHEAF_RETURN_NOT_OK(writer->Buffer({}));
  }
  for (int part = 0; part < (pairs ? 2 : 1); ++part) {
    writer->Node(list_items_, 0);
    SHEAF_RETURN_NOT_OK(writer->Buffer({}));
    SHEAF_RETURN_NOT_OK(writer->Values(items_[part].data(), list_items_ * 8));
  }
  return Status::OK();
}

OtapTableWriter::OtapTableWriter(wire::OtapPayload type, std::span<const OtapColumnRule> rules) : type_(type) {
  places_.fill(-1);
  for (const OtapColumnRule& rule : rules) {
    places_[static_cast<size_t>(rule.field)] = static_cast<int16_t>(columns_.size());
    columns_.emplace_back(rule);
  }
}

void OtapTableWriter::Start(RequestMemory* memory, int64_t rows, int64_t dictionary_bytes_max) {
  dictionary_bytes_max_ = dictionary_bytes_max;
  for (OtapOutColumn& column : columns_) column.Start(memory, dictionary_bytes_max);
  Resize(rows);
}

void OtapTableWriter::Resize(int64_t rows) {
  rows_ = rows;
  for (OtapOutColumn& column : columns_) column.Resize(rows);
}

size_t OtapTableWriter::ChildrenEnd(size_t column) const {
  size_t end = column + 1;
  while (end < columns_.size() && (columns_[end].rule_.traits & kOtapChild) != 0) ++end;
  return end;
}

bool OtapTableWriter::SettleSchema() {
  bool changed = !has_schema_;
  bool parent_in = true;
  for (OtapOutColumn& column : columns_) {
    changed |= column.Settle(dictionary_bytes_max_);
    const bool is_child = (column.rule_.traits & kOtapChild) != 0;
    const bool needed = column.NeedsSchema() && (!is_child || parent_in);
    if (!is_child) parent_in = needed;
    changed |= needed && !column.in_schema_;
    column.in_schema_ = needed;
  }
  return changed;
}

std::shared_ptr<arrow::Schema> OtapTableWriter::MakeSchema() const {
  arrow::FieldVector fields;
  for (size_t i = 0; i < columns_.size(); i = ChildrenEnd(i)) {
    if (!columns_[i].in_schema_) continue;
    arrow::FieldVector children;
    for (size_t child = i + 1; child < ChildrenEnd(i); ++child) {
      if (columns_[child].in_schema_) children.push_back(columns_[child].Field({}));
    }
    fields.push_back(columns_[i].Field(std::move(children)));
  }
  return arrow::schema(std::move(fields));
}

Status OtapTableWriter::Finish(wire::IpcWriter* writer, std::string* record) {
  const bool new_schema = SettleSchema();
  if (new_schema) {
    has_schema_ = true;
    schema_id_ = fmt::format("{}-{}", static_cast<int>(type_), ++schemas_);
    SHEAF_RETURN_NOT_OK(wire::AppendIpcSchema(*MakeSchema(), record));
  }
  int64_t id = 0;
  for (OtapOutColumn& column : columns_) {
    if (!column.in_schema_ || column.plain_) continue;
    SHEAF_RETURN_NOT_OK(column.WriteDictionary(id++, new_schema, writer, record));
  }
  writer->Begin(rows_);
  for (OtapOutColumn& column : columns_) {
    if (column.in_schema_) SHEAF_RETURN_NOT_OK(column.Write(writer));
  }
  writer->FinishBatch(record);
  return Status::OK();
}

void OtapTableWriter::Restart() {
  has_schema_ = false;
  rows_ = 0;
  for (OtapOutColumn& column : columns_) column.Restart();
}

int64_t OtapTableWriter::dictionary_bytes() const {
  int64_t bytes = 0;
  for (const OtapOutColumn& column : columns_) bytes += column.DictionaryBytes();
  return bytes;
}

void OtapTableWriter::ForgetDictionaries() {
  for (OtapOutColumn& column : columns_) {
    if (column.memory_ != nullptr) column.ForgetDictionary();
  }
}

void OtapTableWriter::Trim() {
  for (OtapOutColumn& column : columns_) column.Trim();
}

}  // namespace sheaf::decode
