#include "columns/row_codec.h"

#include <cstring>
#include <limits>
#include <utility>

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/decimal.h>
#include <arrow/util/utf8.h>

#include "columns/byte_values.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr int64_t kMsPerDay = 86'400'000;

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// Units of a time of day in a day.
int64_t UnitsPerDay(const arrow::DataType& type) {
  switch (static_cast<const arrow::TimeType&>(type).unit()) {
    case arrow::TimeUnit::SECOND: return 86'400;
    case arrow::TimeUnit::MILLI: return kMsPerDay;
    case arrow::TimeUnit::MICRO: return kMsPerDay * 1000;
    default: return kMsPerDay * 1'000'000;
  }
}

template <typename Decimal>
bool Fits(const arrow::DataType& type, const char* bytes) {
  return Decimal(reinterpret_cast<const uint8_t*>(bytes))
      .FitsInPrecision(static_cast<const arrow::DecimalType&>(type).precision());
}

/// Whether any bytes of the right length are a value of the type.
bool TakesAnyBytes(arrow::Type::type id) {
  return !arrow::is_decimal(id) && !arrow::is_time(id) && id != arrow::Type::DATE64 && id != arrow::Type::BOOL &&
         !arrow::is_string(id);
}

bool IsValue(const arrow::DataType& type, std::string_view bytes) {
  switch (type.id()) {
    case arrow::Type::BOOL: return static_cast<uint8_t>(bytes[0]) <= 1;
    case arrow::Type::DATE64: return Load<int64_t>(bytes.data()) % kMsPerDay == 0;
    case arrow::Type::TIME32: {
      const auto time = Load<int32_t>(bytes.data());
      return time >= 0 && time < UnitsPerDay(type);
    }
    case arrow::Type::TIME64: {
      const auto time = Load<int64_t>(bytes.data());
      return time >= 0 && time < UnitsPerDay(type);
    }
    case arrow::Type::DECIMAL32: return Fits<arrow::Decimal32>(type, bytes.data());
    case arrow::Type::DECIMAL64: return Fits<arrow::Decimal64>(type, bytes.data());
    case arrow::Type::DECIMAL128: return Fits<arrow::Decimal128>(type, bytes.data());
    case arrow::Type::DECIMAL256: return Fits<arrow::Decimal256>(type, bytes.data());
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING: return arrow::util::ValidateUTF8(bytes);
    default: return true;
  }
}

bool IsZeros(std::string_view bytes) { return bytes.find_first_not_of('\0') == std::string_view::npos; }

bool IsPlain(const arrow::DataType& type) {
  return arrow::is_fixed_width(type.id()) && type.id() != arrow::Type::DICTIONARY && type.id() != arrow::Type::FIXED_SIZE_LIST;
}

}  // namespace

Result<std::shared_ptr<const RowCodec>> RowCodec::Make(std::shared_ptr<arrow::Schema> schema) {
  arrow::util::InitializeUTF8();
  std::shared_ptr<RowCodec> out(new RowCodec(std::move(schema)));
  size_t at = (static_cast<size_t>(out->schema_->num_fields()) + 7) / 8;
  out->null_bytes_ = at;
  int texts = 0;
  for (const auto& field : out->schema_->fields()) {
    const arrow::DataType& type = *field->type();
    Column column;
    if (arrow::is_base_binary_like(type.id())) {
      column.variable = true;
      column.variable_index = texts++;
    } else if (IsPlain(type)) {
      column.boolean = type.id() == arrow::Type::BOOL;
      column.width = column.boolean ? 1 : static_cast<uint32_t>(type.byte_width());
      column.offset = static_cast<uint32_t>(at);
      at += column.width;
    } else {
      return MakeError(ErrorKind::kUnsupported, "column '{}' of type {} cannot be in a compact row: send a batch", field->name(),
                       type.ToString());
    }
    if (at > kRowBytesMax) return MakeError(ErrorKind::kUnsupported, "a row takes over {} bytes", kRowBytesMax);
    out->checked_.push_back(!TakesAnyBytes(type.id()));
    out->columns_.push_back(column);
  }
  out->ends_offset_ = at;
  for (Column& column : out->columns_) {
    if (column.variable)
      column.offset = static_cast<uint32_t>(at + sizeof(uint32_t) * static_cast<size_t>(column.variable_index));
  }
  out->min_bytes_ = at + sizeof(uint32_t) * static_cast<size_t>(texts);
  return out;
}

std::string_view RowCodec::Value(std::string_view row, int column) const {
  const Column& c = columns_[static_cast<size_t>(column)];
  if (!c.variable) return row.substr(c.offset, c.width);
  const uint32_t begin = c.variable_index == 0 ? 0 : Load<uint32_t>(row.data() + c.offset - sizeof(uint32_t));
  return row.substr(min_bytes_ + begin, Load<uint32_t>(row.data() + c.offset) - begin);
}

Status RowCodec::Check(std::string_view row) const {
  if (row.size() < min_bytes_ || row.size() > kRowBytesMax) {
    return MakeError(ErrorKind::kInvalid, "a row of {} bytes; rows of this table have {} to {}", row.size(), min_bytes_,
                     kRowBytesMax);
  }
  const auto wrong = [&](size_t c, const char* what) {
    return MakeError(ErrorKind::kInvalid, "column '{}' of a row {}", schema_->field(static_cast<int>(c))->name(), what);
  };
  const size_t text_bytes = row.size() - min_bytes_;
  uint32_t end = 0;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    if (column.variable) {
      const auto next = Load<uint32_t>(row.data() + column.offset);
      if (next < end || next > text_bytes) return wrong(c, "ends outside the row");
      end = next;
    }
    const std::string_view value = Value(row, static_cast<int>(c));
    if (IsNull(row, static_cast<int>(c))) {
      if (!schema_->field(static_cast<int>(c))->nullable()) return wrong(c, "is NULL and may not be");
      if (column.variable ? !value.empty() : !IsZeros(value)) return wrong(c, "is NULL and has a value");
    } else if (checked_[c] && !IsValue(*schema_->field(static_cast<int>(c))->type(), value)) {
      return wrong(c, column.variable ? "is not UTF-8" : "is no value of its type");
    }
  }
  if (end != text_bytes) return MakeError(ErrorKind::kInvalid, "a row has {} bytes behind its last column", text_bytes - end);
  for (size_t bit = columns_.size(); bit < null_bytes_ * 8; ++bit) {
    if (IsNull(row, static_cast<int>(bit))) return MakeError(ErrorKind::kInvalid, "a row has NULLs behind its last column");
  }
  return Status::OK();
}

Status RowCodec::FromBatch(const arrow::RecordBatch& batch, int64_t row_number, std::string* row) const {
  SHEAF_CHECK(batch.num_columns() >= static_cast<int>(columns_.size()) && row_number >= 0 && row_number < batch.num_rows());
  const size_t before = row->size();
  row->resize(before + min_bytes_, '\0');
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    const arrow::ArrayData& data = *batch.column_data(static_cast<int>(c));
    const bool null = data.buffers[0] && !arrow::bit_util::GetBit(data.buffers[0]->data(), data.offset + row_number);
    char* const out = row->data() + before;  // Where it is for this column: text that is appended may move it.
    if (null) out[c >> 3] = static_cast<char>(out[c >> 3] | 1 << (c & 7));
    if (column.boolean) {
      if (!null) out[column.offset] = arrow::bit_util::GetBit(data.buffers[1]->data(), data.offset + row_number) ? 1 : 0;
      continue;
    }
    const std::string_view value = null ? std::string_view() : (*ByteValues::Of(data))[row_number];
    if (!column.variable) {
      if (!value.empty()) std::memcpy(out + column.offset, value.data(), value.size());
      continue;
    }
    if (row->size() - before + value.size() > kRowBytesMax) {
      row->resize(before);
      return MakeError(ErrorKind::kTooLarge, "a row of over {} bytes, in column '{}'", kRowBytesMax,
                       schema_->field(static_cast<int>(c))->name());
    }
    row->append(value);
    const auto end = static_cast<uint32_t>(row->size() - before - min_bytes_);
    std::memcpy(row->data() + before + column.offset, &end, sizeof end);
  }
  return Status::OK();
}

namespace {

using Rows = std::span<const std::string_view>;

Result<std::shared_ptr<arrow::Buffer>> FixedOf(const RowCodec::Column& column, Rows rows, arrow::MemoryPool* pool) {
  const auto n = static_cast<int64_t>(rows.size());
  if (column.boolean) {
    SHEAF_ASSIGN_OR_RETURN(auto bits, arrow::AllocateEmptyBitmap(n, pool));
    for (int64_t i = 0; i < n; ++i) {
      if (rows[static_cast<size_t>(i)][column.offset] != 0) arrow::bit_util::SetBit(bits->mutable_data(), i);
    }
    return bits;
  }
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> values, arrow::AllocateBuffer(n * column.width, pool));
  uint8_t* out = values->mutable_data();
  const auto copy = [&](auto width) {
    for (const std::string_view row : rows) {
      std::memcpy(out, row.data() + column.offset, width);
      out += width;
    }
  };
  if (column.width == 8) {
    copy(std::integral_constant<size_t, 8>());
  } else if (column.width == 4) {
    copy(std::integral_constant<size_t, 4>());
  } else if (column.width > 0) {
    copy(size_t{column.width});
  }
  return values;
}

template <typename Offset>
Status TextOf(const RowCodec& codec, int column, Rows rows, arrow::MemoryPool* pool, arrow::BufferVector* buffers) {
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> offsets,
                         arrow::AllocateBuffer(static_cast<int64_t>((rows.size() + 1) * sizeof(Offset)), pool));
  auto* offset = reinterpret_cast<Offset*>(offsets->mutable_data());
  uint64_t total = 0;
  for (const std::string_view row : rows) {
    *offset++ = static_cast<Offset>(total);
    total += codec.Value(row, column).size();
    if (total > static_cast<uint64_t>(std::numeric_limits<Offset>::max())) {
      return MakeError(ErrorKind::kTooLarge, "over 2 GiB of text in column '{}': take fewer rows at once",
                       codec.schema()->field(column)->name());
    }
  }
  *offset = static_cast<Offset>(total);
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(static_cast<int64_t>(total), pool));
  uint8_t* out = bytes->mutable_data();
  for (const std::string_view row : rows) {
    const std::string_view value = codec.Value(row, column);
    if (!value.empty()) std::memcpy(out, value.data(), value.size());
    out += value.size();
  }
  buffers->push_back(std::move(offsets));
  buffers->push_back(std::move(bytes));
  return Status::OK();
}

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> RowCodec::ToBatch(Rows rows, arrow::MemoryPool* pool) const {
  const auto n = static_cast<int64_t>(rows.size());
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    const std::shared_ptr<arrow::DataType>& type = schema_->field(static_cast<int>(c))->type();
    int64_t nulls = 0;
    for (const std::string_view row : rows) nulls += IsNull(row, static_cast<int>(c)) ? 1 : 0;
    arrow::BufferVector buffers(1);
    if (nulls > 0) {
      SHEAF_ASSIGN_OR_RETURN(buffers[0], arrow::AllocateEmptyBitmap(n, pool));
      for (int64_t i = 0; i < n; ++i) {
        if (!IsNull(rows[static_cast<size_t>(i)], static_cast<int>(c))) arrow::bit_util::SetBit(buffers[0]->mutable_data(), i);
      }
    }
    if (!column.variable) {
      SHEAF_ASSIGN_OR_RETURN(auto values, FixedOf(column, rows, pool));
      buffers.push_back(std::move(values));
    } else if (arrow::is_large_binary_like(type->id())) {
      SHEAF_RETURN_NOT_OK(TextOf<int64_t>(*this, static_cast<int>(c), rows, pool, &buffers));
    } else {
      SHEAF_RETURN_NOT_OK(TextOf<int32_t>(*this, static_cast<int>(c), rows, pool, &buffers));
    }
    arrays.push_back(arrow::ArrayData::Make(type, n, std::move(buffers), nulls));
  }
  return arrow::RecordBatch::Make(schema_, n, std::move(arrays));
}

RowBuilder::RowBuilder(const RowCodec* codec) : codec_(codec) {
  size_t texts = 0;
  for (const RowCodec::Column& column : codec_->columns()) texts += column.variable ? 1 : 0;
  texts_.resize(texts);
  Clear();
}

void RowBuilder::Clear() {
  head_.assign(codec_->min_bytes(), '\0');
  for (size_t c = 0; c < codec_->columns().size(); ++c) head_[c >> 3] = static_cast<char>(head_[c >> 3] | 1 << (c & 7));
  for (std::string& text : texts_) text.clear();
}

void RowBuilder::SetFixed(int column, const void* value, size_t bytes) {
  const RowCodec::Column& c = codec_->columns()[static_cast<size_t>(column)];
  SHEAF_CHECK(!c.variable && bytes == c.width);
  head_[static_cast<size_t>(column) >> 3] &= static_cast<char>(~(1 << (column & 7)));
  if (bytes > 0) std::memcpy(head_.data() + c.offset, value, bytes);
}

void RowBuilder::SetText(int column, std::string_view value) {
  const RowCodec::Column& c = codec_->columns()[static_cast<size_t>(column)];
  SHEAF_CHECK(c.variable);
  head_[static_cast<size_t>(column) >> 3] &= static_cast<char>(~(1 << (column & 7)));
  texts_[static_cast<size_t>(c.variable_index)].assign(value);
}

void RowBuilder::SetNull(int column) {
  const RowCodec::Column& c = codec_->columns()[static_cast<size_t>(column)];
  head_[static_cast<size_t>(column) >> 3] |= static_cast<char>(1 << (column & 7));
  if (c.variable) {
    texts_[static_cast<size_t>(c.variable_index)].clear();
  } else {
    head_.replace(c.offset, c.width, c.width, '\0');
  }
}

std::string_view RowBuilder::Finish() {
  uint32_t end = 0;
  row_.assign(head_);
  size_t at = head_.size() - texts_.size() * sizeof end;
  for (const std::string& text : texts_) {
    end += static_cast<uint32_t>(text.size());  // Beyond 4 GiB it wraps around, and Check() refuses the row for its length.
    std::memcpy(row_.data() + at, &end, sizeof end);
    at += sizeof end;
    row_.append(text);
  }
  return row_;
}

}  // namespace sheaf::columns
