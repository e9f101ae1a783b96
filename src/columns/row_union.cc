#include "columns/row_union.h"

#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include <arrow/array/array_base.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/extension_type.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/bitmap_ops.h>

#include "columns/dictionaries.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

namespace bit_util = arrow::bit_util;
using Kind = ColumnUnion::Kind;

Kind KindOfType(const arrow::DataType& type) {
  switch (type.storage_id()) {
    case arrow::Type::NA: return Kind::kNull;
    case arrow::Type::BOOL: return Kind::kBits;
    case arrow::Type::STRING:
    case arrow::Type::BINARY: return Kind::kBinary;
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY: return Kind::kLargeBinary;
    case arrow::Type::LIST:
    case arrow::Type::MAP: return Kind::kList;
    case arrow::Type::LARGE_LIST: return Kind::kLargeList;
    case arrow::Type::FIXED_SIZE_LIST: return Kind::kFixedList;
    case arrow::Type::STRUCT: return Kind::kStruct;
    case arrow::Type::DICTIONARY: return Kind::kDictionary;
    default: return arrow::is_fixed_width(type.storage_id()) ? Kind::kFixed : Kind::kOther;
  }
}

const arrow::DataType& StorageOf(const arrow::DataType& type) {
  return type.id() == arrow::Type::EXTENSION ? *static_cast<const arrow::ExtensionType&>(type).storage_type() : type;
}

template <typename T>
T Load(const uint8_t* values, int64_t i) {
  T out;
  std::memcpy(&out, values + i * static_cast<int64_t>(sizeof(T)), sizeof out);
  return out;
}

void AppendRun(uint32_t batch, int64_t start, int64_t length, std::vector<RowRun>* runs) {
  while (length > 0) {
    constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
    if (!runs->empty() && runs->back().batch == batch && runs->back().start + runs->back().length == start &&
        runs->back().length + length <= kMax) {
      runs->back().length += static_cast<uint32_t>(length);
      return;
    }
    const int64_t now = std::min(length, kMax);
    runs->push_back({batch, static_cast<uint32_t>(now), start});
    start += now;
    length -= now;
  }
}

template <size_t kWidth>
void CopyFixed(const std::vector<ColumnUnion::Piece>& pieces, std::span<const RowRun> runs, uint8_t* out) {
  for (const RowRun& run : runs) {
    const uint8_t* from = pieces[run.batch].values + run.start * static_cast<int64_t>(kWidth);
    if (run.length == 1) {
      std::memcpy(out, from, kWidth);
    } else {
      std::memcpy(out, from, run.length * kWidth);
    }
    out += run.length * kWidth;
  }
}

}  // namespace

bool ColumnUnion::Piece::IsNull(int64_t row) const { return validity != nullptr && !bit_util::GetBit(validity, offset + row); }

Result<std::unique_ptr<ColumnUnion>> ColumnUnion::Make(const std::shared_ptr<arrow::DataType>& type,
                                                       std::vector<std::shared_ptr<arrow::ArrayData>> pieces, arrow::MemoryPool* pool) {
  std::unique_ptr<ColumnUnion> out(new ColumnUnion());
  out->type_ = type;
  out->kind_ = KindOfType(*type);
  const arrow::DataType& storage = StorageOf(*type);
  if (out->kind_ == Kind::kFixed || out->kind_ == Kind::kDictionary) out->width_ = storage.byte_width();
  if (out->kind_ == Kind::kFixedList) out->width_ = static_cast<const arrow::FixedSizeListType&>(storage).list_size();
  out->pieces_.reserve(pieces.size());
  for (std::shared_ptr<arrow::ArrayData>& data : pieces) {
    Piece piece;
    piece.offset = data->offset;
    if (out->kind_ != Kind::kNull && out->kind_ != Kind::kOther && data->GetNullCount() != 0 && data->buffers[0]) {
      piece.validity = data->buffers[0]->data();
      out->nulls_ = true;
    }
    const auto values = [&data](size_t i, int64_t width) {
      return data->buffers[i] ? data->buffers[i]->data() + data->offset * width : nullptr;
    };
    switch (out->kind_) {
      case Kind::kBits: piece.values = values(1, 0); break;
      case Kind::kFixed:
      case Kind::kDictionary: piece.values = values(1, out->width_); break;
      case Kind::kBinary:
      case Kind::kLargeBinary:
        piece.values = values(1, out->kind_ == Kind::kBinary ? 4 : 8);
        piece.bytes = values(2, 0);
        break;
      case Kind::kList:
      case Kind::kLargeList: piece.values = values(1, out->kind_ == Kind::kList ? 4 : 8); break;
      default: break;
    }
    piece.data = std::move(data);
    out->pieces_.push_back(std::move(piece));
  }
  if (out->kind_ == Kind::kDictionary) {
    SHEAF_RETURN_NOT_OK(out->UnifyDictionaries(pool));
  } else if (out->kind_ != Kind::kOther) {
    SHEAF_RETURN_NOT_OK(out->MakeChildren(pool));
  }
  return out;
}

Status ColumnUnion::MakeChildren(arrow::MemoryPool* pool) {
  const arrow::DataType& storage = StorageOf(*type_);
  for (int c = 0; c < storage.num_fields(); ++c) {
    std::vector<std::shared_ptr<arrow::ArrayData>> pieces;
    pieces.reserve(pieces_.size());
    for (const Piece& piece : pieces_) pieces.push_back(piece.data->child_data[static_cast<size_t>(c)]);
    SHEAF_ASSIGN_OR_RETURN(auto child, Make(storage.field(c)->type(), std::move(pieces), pool));
    children_.push_back(std::move(child));
  }
  return Status::OK();
}

Status ColumnUnion::UnifyDictionaries(arrow::MemoryPool* pool) {
  const auto& type = static_cast<const arrow::DictionaryType&>(StorageOf(*type_));
  DictionaryUnion all(type.value_type());
  std::map<const arrow::ArrayData*, std::shared_ptr<const std::vector<int32_t>>> known;  // Parts share one dictionary.
  for (Piece& piece : pieces_) {
    const arrow::ArrayData* dictionary = piece.data->dictionary.get();
    if (dictionary == nullptr) return MakeError(ErrorKind::kInvalid, "a dictionary array came without its dictionary");
    auto& numbers = known[dictionary];
    if (!numbers) {
      auto made = std::make_shared<std::vector<int32_t>>();
      SHEAF_RETURN_NOT_OK(all.Add(*dictionary, made.get()));
      if (dictionary->GetNullCount() != 0) nulls_ = true;
      numbers = std::move(made);
    }
    piece.numbers = numbers;
  }
  const int bits = std::min(31, arrow::is_unsigned_integer(type.index_type()->id()) ? type.index_type()->bit_width()
                                                                                    : type.index_type()->bit_width() - 1);
  if (all.size() > (int64_t{1} << bits)) {
    return MakeError(ErrorKind::kTooLarge, "{} distinct values do not fit dictionary indexes of type {}", all.size(),
                     type.index_type()->ToString());
  }
  SHEAF_ASSIGN_OR_RETURN(dictionary_, all.ToArray(pool));
  return Status::OK();
}

Result<int32_t> ColumnUnion::DictionaryNumber(const Piece& piece, int64_t row) const {
  if (piece.IsNull(row)) return -1;
  int64_t index = 0;
  std::memcpy(&index, piece.values + row * width_, static_cast<size_t>(width_));  // Negative ones fail the check as large ones do.
  if (static_cast<uint64_t>(index) >= piece.numbers->size()) {
    return MakeError(ErrorKind::kCorruption, "index {} lies outside a dictionary of {} values", index, piece.numbers->size());
  }
  return (*piece.numbers)[static_cast<size_t>(index)];
}

Result<std::shared_ptr<arrow::ArrayData>> ColumnUnion::Gather(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool) const {
  if (kind_ == Kind::kOther) {
    if (runs.empty()) {
      SHEAF_ASSIGN_OR_RETURN(auto empty, arrow::MakeEmptyArray(type_, pool));
      return empty->data();
    }
    arrow::ArrayVector slices;
    slices.reserve(runs.size());
    for (const RowRun& run : runs) slices.push_back(arrow::MakeArray(pieces_[run.batch].data)->Slice(run.start, run.length));
    SHEAF_ASSIGN_OR_RETURN(auto joined, arrow::Concatenate(slices, pool));
    return joined->data();
  }
  auto out = std::make_shared<arrow::ArrayData>(type_, rows, 0);
  if (kind_ == Kind::kNull) {
    out->buffers = {nullptr};
    out->null_count = rows;
    return out;
  }
  out->buffers.resize(1);
  if (kind_ == Kind::kDictionary) {
    SHEAF_RETURN_NOT_OK(GatherDictionary(runs, pool, out.get()));
    return out;
  }
  if (nulls_) {
    int64_t null_count = 0;
    SHEAF_ASSIGN_OR_RETURN(out->buffers[0], GatherValidity(runs, rows, pool, &null_count));
    out->null_count = null_count;
    if (null_count == 0) out->buffers[0] = nullptr;
  }
  switch (kind_) {
    case Kind::kBits: {
      SHEAF_ASSIGN_OR_RETURN(auto bits, GatherBits(runs, rows, pool));
      out->buffers.push_back(std::move(bits));
      break;
    }
    case Kind::kFixed: {
      SHEAF_ASSIGN_OR_RETURN(auto values, GatherFixed(runs, rows, pool));
      out->buffers.push_back(std::move(values));
      break;
    }
    case Kind::kBinary: SHEAF_RETURN_NOT_OK(GatherBinary<int32_t>(runs, pool, out.get())); break;
    case Kind::kLargeBinary: SHEAF_RETURN_NOT_OK(GatherBinary<int64_t>(runs, pool, out.get())); break;
    case Kind::kList: SHEAF_RETURN_NOT_OK(GatherList<int32_t>(runs, pool, out.get())); break;
    case Kind::kLargeList: SHEAF_RETURN_NOT_OK(GatherList<int64_t>(runs, pool, out.get())); break;
    case Kind::kFixedList: SHEAF_RETURN_NOT_OK(GatherFixedList(runs, pool, out.get())); break;
    default: SHEAF_RETURN_NOT_OK(GatherStruct(runs, pool, out.get())); break;
  }
  if (!nulls_) out->null_count = 0;
  return out;
}

Result<std::shared_ptr<arrow::Buffer>> ColumnUnion::GatherValidity(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool,
                                                                   int64_t* null_count) const {
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(bit_util::BytesForBits(rows), pool));
  uint8_t* bits = buffer->mutable_data();
  std::memset(bits, 0, static_cast<size_t>(buffer->size()));
  int64_t at = 0, valid = 0;
  for (const RowRun& run : runs) {
    const Piece& piece = pieces_[run.batch];
    if (piece.validity == nullptr) {
      bit_util::SetBitsTo(bits, at, run.length, true);
      valid += run.length;
    } else {
      for (int64_t i = 0; i < run.length; ++i) {
        if (!bit_util::GetBit(piece.validity, piece.offset + run.start + i)) continue;
        bit_util::SetBit(bits, at + i);
        ++valid;
      }
    }
    at += run.length;
  }
  *null_count = rows - valid;
  return buffer;
}

Result<std::shared_ptr<arrow::Buffer>> ColumnUnion::GatherBits(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool) const {
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(bit_util::BytesForBits(rows), pool));
  uint8_t* bits = buffer->mutable_data();
  std::memset(bits, 0, static_cast<size_t>(buffer->size()));
  int64_t at = 0;
  for (const RowRun& run : runs) {
    const Piece& piece = pieces_[run.batch];
    if (run.length >= 64) {
      arrow::internal::CopyBitmap(piece.values, piece.offset + run.start, run.length, bits, at);
    } else {
      for (int64_t i = 0; i < run.length; ++i)
        bit_util::SetBitTo(bits, at + i, bit_util::GetBit(piece.values, piece.offset + run.start + i));
    }
    at += run.length;
  }
  return buffer;
}

Result<std::shared_ptr<arrow::Buffer>> ColumnUnion::GatherFixed(std::span<const RowRun> runs, int64_t rows, arrow::MemoryPool* pool) const {
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(rows * width_, pool));
  uint8_t* out = buffer->mutable_data();
  switch (width_) {
    case 1: CopyFixed<1>(pieces_, runs, out); break;
    case 2: CopyFixed<2>(pieces_, runs, out); break;
    case 4: CopyFixed<4>(pieces_, runs, out); break;
    case 8: CopyFixed<8>(pieces_, runs, out); break;
    case 16: CopyFixed<16>(pieces_, runs, out); break;
    default:
      if (width_ == 0) break;
      for (const RowRun& run : runs) {
        const auto bytes = static_cast<size_t>(run.length * width_);
        std::memcpy(out, pieces_[run.batch].values + run.start * width_, bytes);
        out += bytes;
      }
  }
  return buffer;
}

template <typename Offset>
Status ColumnUnion::GatherBinary(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  int64_t total = 0;
  for (const RowRun& run : runs) {
    const uint8_t* offsets = pieces_[run.batch].values;
    total += static_cast<int64_t>(Load<Offset>(offsets, run.start + run.length)) - Load<Offset>(offsets, run.start);
  }
  if (total > std::numeric_limits<Offset>::max()) {
    return MakeError(ErrorKind::kTooLarge, "{} bytes of text in one granule; use fewer rows a granule or large text", total);
  }
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> offset_buffer,
                         arrow::AllocateBuffer((out->length + 1) * static_cast<int64_t>(sizeof(Offset)), pool));
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> byte_buffer, arrow::AllocateBuffer(total, pool));
  auto* offset = reinterpret_cast<Offset*>(offset_buffer->mutable_data());
  uint8_t* bytes = byte_buffer->mutable_data();
  Offset end = 0;
  *offset++ = 0;
  for (const RowRun& run : runs) {
    const Piece& piece = pieces_[run.batch];
    const auto begin = Load<Offset>(piece.values, run.start);
    for (int64_t i = 1; i <= run.length; ++i) *offset++ = static_cast<Offset>(end + (Load<Offset>(piece.values, run.start + i) - begin));
    const auto length = static_cast<size_t>(offset[-1] - end);
    if (length > 0) std::memcpy(bytes + end, piece.bytes + begin, length);
    end = offset[-1];
  }
  out->buffers.push_back(std::move(offset_buffer));
  out->buffers.push_back(std::move(byte_buffer));
  return Status::OK();
}

template <typename Offset>
Status ColumnUnion::GatherList(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> offset_buffer,
                         arrow::AllocateBuffer((out->length + 1) * static_cast<int64_t>(sizeof(Offset)), pool));
  auto* offset = reinterpret_cast<Offset*>(offset_buffer->mutable_data());
  std::vector<RowRun> child_runs;
  child_runs.reserve(runs.size());
  int64_t end = 0;
  *offset++ = 0;
  for (const RowRun& run : runs) {
    const uint8_t* offsets = pieces_[run.batch].values;
    const auto begin = Load<Offset>(offsets, run.start);
    const int64_t length = static_cast<int64_t>(Load<Offset>(offsets, run.start + run.length)) - begin;
    if (end + length > std::numeric_limits<Offset>::max()) {
      return MakeError(ErrorKind::kTooLarge, "more than 2^31 list elements in one granule; use fewer rows a granule");
    }
    for (int64_t i = 1; i <= run.length; ++i) *offset++ = static_cast<Offset>(end + (Load<Offset>(offsets, run.start + i) - begin));
    if (length > 0) AppendRun(run.batch, begin, length, &child_runs);
    end += length;
  }
  out->buffers.push_back(std::move(offset_buffer));
  SHEAF_ASSIGN_OR_RETURN(auto child, children_[0]->Gather(child_runs, end, pool));
  out->child_data.push_back(std::move(child));
  return Status::OK();
}

Status ColumnUnion::GatherFixedList(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  std::vector<RowRun> child_runs;
  child_runs.reserve(runs.size());
  for (const RowRun& run : runs) {
    AppendRun(run.batch, (pieces_[run.batch].offset + run.start) * width_, run.length * width_, &child_runs);
  }
  SHEAF_ASSIGN_OR_RETURN(auto child, children_[0]->Gather(child_runs, out->length * width_, pool));
  out->child_data.push_back(std::move(child));
  return Status::OK();
}

Status ColumnUnion::GatherStruct(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  std::vector<RowRun> moved;
  bool shifted = false;
  for (const Piece& piece : pieces_) shifted |= piece.offset != 0;
  if (shifted) {
    moved.assign(runs.begin(), runs.end());
    for (RowRun& run : moved) run.start += pieces_[run.batch].offset;
    runs = moved;
  }
  for (const auto& column : children_) {
    SHEAF_ASSIGN_OR_RETURN(auto child, column->Gather(runs, out->length, pool));
    out->child_data.push_back(std::move(child));
  }
  return Status::OK();
}

template <typename Index>
Status ColumnUnion::GatherIndexes(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer,
                         arrow::AllocateBuffer(out->length * static_cast<int64_t>(sizeof(Index)), pool));
  std::shared_ptr<arrow::Buffer> validity;
  if (nulls_) {
    SHEAF_ASSIGN_OR_RETURN(validity, arrow::AllocateBuffer(bit_util::BytesForBits(out->length), pool));
    std::memset(validity->mutable_data(), 0xFF, static_cast<size_t>(validity->size()));
  }
  auto* to = reinterpret_cast<Index*>(buffer->mutable_data());
  int64_t at = 0, null_count = 0;
  for (const RowRun& run : runs) {
    const Piece& piece = pieces_[run.batch];
    const std::vector<int32_t>& numbers = *piece.numbers;
    for (int64_t i = run.start; i < run.start + run.length; ++i, ++at) {
      int32_t number = -1;
      if (!piece.IsNull(i)) {
        const auto index = static_cast<uint64_t>(Load<Index>(piece.values, i));
        if (index >= numbers.size()) {
          return MakeError(ErrorKind::kCorruption, "index {} lies outside a dictionary of {} values", index, numbers.size());
        }
        number = numbers[index];
      }
      if (number < 0) {
        bit_util::ClearBit(validity->mutable_data(), at);
        ++null_count;
        number = 0;
      }
      to[at] = static_cast<Index>(number);
    }
  }
  out->null_count = null_count;
  out->buffers = {null_count > 0 ? std::move(validity) : nullptr, std::move(buffer)};
  return Status::OK();
}

Status ColumnUnion::GatherDictionary(std::span<const RowRun> runs, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  out->dictionary = dictionary_;
  switch (static_cast<const arrow::DictionaryType&>(StorageOf(*type_)).index_type()->id()) {
    case arrow::Type::INT8: return GatherIndexes<int8_t>(runs, pool, out);
    case arrow::Type::UINT8: return GatherIndexes<uint8_t>(runs, pool, out);
    case arrow::Type::INT16: return GatherIndexes<int16_t>(runs, pool, out);
    case arrow::Type::UINT16: return GatherIndexes<uint16_t>(runs, pool, out);
    case arrow::Type::INT32: return GatherIndexes<int32_t>(runs, pool, out);
    case arrow::Type::UINT32: return GatherIndexes<uint32_t>(runs, pool, out);
    default: return GatherIndexes<int64_t>(runs, pool, out);
  }
}

Result<std::unique_ptr<RowUnion>> RowUnion::Make(std::shared_ptr<arrow::Schema> schema,
                                                 std::vector<std::shared_ptr<arrow::RecordBatch>> batches, arrow::MemoryPool* pool) {
  std::unique_ptr<RowUnion> out(new RowUnion());
  out->schema_ = std::move(schema);
  out->batches_ = std::move(batches);
  out->pool_ = pool;
  for (const auto& batch : out->batches_) {
    if (batch->num_columns() != out->schema_->num_fields()) {
      return MakeError(ErrorKind::kInvalid, "a batch has {} columns, its table {}", batch->num_columns(), out->schema_->num_fields());
    }
    out->first_row_.push_back(out->rows_);
    out->rows_ += batch->num_rows();
  }
  out->first_row_.push_back(out->rows_);
  if (out->rows_ > int64_t{std::numeric_limits<uint32_t>::max()}) {
    return MakeError(ErrorKind::kTooLarge, "{} rows in one part; at most 2^32 - 1", out->rows_);
  }
  out->batch_of_row_.reserve(static_cast<size_t>(out->rows_));
  for (size_t b = 0; b < out->batches_.size(); ++b) {
    out->batch_of_row_.insert(out->batch_of_row_.end(), static_cast<size_t>(out->batches_[b]->num_rows()), static_cast<uint32_t>(b));
  }
  for (int c = 0; c < out->schema_->num_fields(); ++c) {
    const arrow::Field& field = *out->schema_->field(c);
    std::vector<std::shared_ptr<arrow::ArrayData>> pieces;
    pieces.reserve(out->batches_.size());
    for (const auto& batch : out->batches_) {
      if (!batch->column_data(c)->type->Equals(*field.type())) {
        return MakeError(ErrorKind::kInvalid, "column '{}' is {} in a batch, {} in its table", field.name(),
                         batch->column_data(c)->type->ToString(), field.type()->ToString());
      }
      pieces.push_back(batch->column_data(c));
    }
    auto column = ColumnUnion::Make(field.type(), std::move(pieces), pool);
    if (!column.ok()) return WithContext(column.status(), "column '" + field.name() + "'");
    out->columns_.push_back(std::move(*column));
  }
  return out;
}

Result<std::shared_ptr<arrow::RecordBatch>> RowUnion::Gather(std::span<const uint32_t> rows) const {
  std::vector<RowRun> runs;
  runs.reserve(rows.size());
  for (const uint32_t row : rows) {
    SHEAF_CHECK(row < rows_);
    const uint32_t batch = batch_of_row_[row];
    AppendRun(batch, row - first_row_[batch], 1, &runs);
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> out;
  out.reserve(columns_.size());
  for (size_t c = 0; c < columns_.size(); ++c) {
    auto column = columns_[c]->Gather(runs, static_cast<int64_t>(rows.size()), pool_);
    if (!column.ok()) return WithContext(column.status(), "column '" + schema_->field(static_cast<int>(c))->name() + "'");
    out.push_back(std::move(*column));
  }
  return arrow::RecordBatch::Make(schema_, static_cast<int64_t>(rows.size()), std::move(out));
}

}  // namespace sheaf::columns
