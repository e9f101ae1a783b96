/// ColumnUnion: from arrays to one column; column_gather.cc copies rows out of it.

#include "columns/column_union.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>

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
using Piece = ColumnUnion::Piece;

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

int64_t LoadOffset(Kind kind, const uint8_t* offsets, int64_t i) {
  return kind == Kind::kBinary || kind == Kind::kList ? Load<int32_t>(offsets, i) : Load<int64_t>(offsets, i);
}

/// Whether all `n` values of `width` bytes are as the first.
bool AllSame(const uint8_t* values, int64_t n, int64_t width) {
  return n <= 1 || std::memcmp(values, values + width, static_cast<size_t>((n - 1) * width)) == 0;
}

/// The first index that is not NULL and lies outside a dictionary of `size` values.
template <typename Index>
std::optional<Index> WrongIndex(const Piece& piece, int64_t size) {
  const auto wrong = [size](Index index) { return std::cmp_less(index, 0) || std::cmp_greater_equal(index, size); };
  if (piece.validity == nullptr) {
    Index low = std::numeric_limits<Index>::max(), high = std::numeric_limits<Index>::min();
    for (int64_t i = 0; i < piece.length; ++i) {
      const auto index = Load<Index>(piece.values, i);
      low = std::min(low, index);
      high = std::max(high, index);
    }
    if (piece.length > 0 && wrong(low)) return low;
    if (piece.length > 0 && wrong(high)) return high;
    return {};
  }
  for (int64_t i = 0; i < piece.length; ++i) {
    const auto index = Load<Index>(piece.values, i);
    if (!piece.IsNull(i) && wrong(index)) return index;
  }
  return {};
}

template <typename Index>
Status CheckPieces(const std::vector<Piece>& pieces, const std::vector<std::shared_ptr<arrow::ArrayData>>& arrays) {
  for (size_t p = 0; p < pieces.size(); ++p) {
    const int64_t size = arrays[p]->dictionary->length;
    const std::optional<Index> wrong = WrongIndex<Index>(pieces[p], size);
    if (wrong) return MakeError(ErrorKind::kCorruption, "index {} lies outside a dictionary of {} values", +*wrong, size);
  }
  return Status::OK();
}

}  // namespace

void RowRuns::Append(uint32_t batch, int64_t start, int64_t length) {
  rows += length;
  while (length > 0) {
    constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
    if (!runs.empty() && runs.back().batch == batch && runs.back().start + runs.back().length == start &&
        runs.back().length + length <= kMax) {
      runs.back().length += static_cast<uint32_t>(length);
      return;
    }
    const int64_t now = std::min(length, kMax);
    runs.push_back({batch, static_cast<uint32_t>(now), start});
    start += now;
    length -= now;
  }
}

bool ColumnUnion::Piece::IsNull(int64_t row) const { return validity != nullptr && !bit_util::GetBit(validity, offset + row); }

Result<std::unique_ptr<ColumnUnion>> ColumnUnion::Make(const std::shared_ptr<arrow::DataType>& type, std::vector<ArrayDataPtr> pieces,
                                                       arrow::MemoryPool* pool) {
  std::unique_ptr<ColumnUnion> out(new ColumnUnion());
  out->type_ = type;
  out->kind_ = KindOfType(*type);
  const arrow::DataType& storage = StorageOf(*type);
  if (out->kind_ == Kind::kFixed || out->kind_ == Kind::kDictionary) out->width_ = storage.byte_width();
  if (out->kind_ == Kind::kFixedList) out->width_ = static_cast<const arrow::FixedSizeListType&>(storage).list_size();
  out->pieces_.reserve(pieces.size());
  out->all_null_ = true;
  for (ArrayDataPtr& data : pieces) SHEAF_RETURN_NOT_OK(out->Add(std::move(data)));
  out->all_null_ = out->all_null_ && out->nulls_;
  if (out->kind_ == Kind::kDictionary) {
    SHEAF_RETURN_NOT_OK(out->UnifyDictionaries(pool));
    SHEAF_RETURN_NOT_OK(out->CheckIndexes());
  } else if (out->kind_ != Kind::kOther) {
    SHEAF_RETURN_NOT_OK(out->MakeChildren(pool));
  }
  out->FindConstant();
  return out;
}

Status ColumnUnion::Add(ArrayDataPtr data) {
  Piece piece;
  piece.offset = data->offset;
  piece.length = data->length;
  shifted_ = shifted_ || data->offset != 0;
  if (kind_ != Kind::kNull && kind_ != Kind::kOther && data->GetNullCount() != 0 && data->buffers[0]) {
    piece.validity = data->buffers[0]->data();
    nulls_ = true;
    all_null_ = all_null_ && data->GetNullCount() == data->length;
  } else {
    all_null_ = all_null_ && data->length == 0;
  }
  const auto values = [&data](size_t i, int64_t width) {
    return data->buffers[i] ? data->buffers[i]->data() + data->offset * width : nullptr;
  };
  switch (kind_) {
    case Kind::kBits: piece.values = values(1, 0); break;
    case Kind::kFixed:
    case Kind::kDictionary:
      piece.values = values(1, width_);
      piece.end = piece.values == nullptr ? nullptr : piece.values + data->length * width_;
      break;
    case Kind::kBinary:
    case Kind::kLargeBinary:
      piece.values = values(1, kind_ == Kind::kBinary ? 4 : 8);
      piece.bytes = values(2, 0);
      if (piece.bytes != nullptr && piece.values != nullptr) piece.end = piece.bytes + LoadOffset(kind_, piece.values, data->length);
      break;
    case Kind::kList:
    case Kind::kLargeList: piece.values = values(1, kind_ == Kind::kList ? 4 : 8); break;
    default: break;
  }
  arrays_.push_back(std::move(data));
  pieces_.push_back(piece);
  return Status::OK();
}

Status ColumnUnion::MakeChildren(arrow::MemoryPool* pool) {
  const arrow::DataType& storage = StorageOf(*type_);
  for (int c = 0; c < storage.num_fields(); ++c) {
    std::vector<ArrayDataPtr> pieces;
    pieces.reserve(arrays_.size());
    for (const ArrayDataPtr& array : arrays_) pieces.push_back(array->child_data[static_cast<size_t>(c)]);
    SHEAF_ASSIGN_OR_RETURN(auto child, Make(storage.field(c)->type(), std::move(pieces), pool));
    children_.push_back(std::move(child));
  }
  return Status::OK();
}

Status ColumnUnion::UnifyDictionaries(arrow::MemoryPool* pool) {
  const auto& type = static_cast<const arrow::DictionaryType&>(StorageOf(*type_));
  for (const ArrayDataPtr& array : arrays_) {
    if (array->dictionary == nullptr) return MakeError(ErrorKind::kInvalid, "a dictionary array came without its dictionary");
    if (array->dictionary != arrays_.front()->dictionary) same_numbers_ = false;
  }
  if (same_numbers_ && !arrays_.empty() && arrays_.front()->dictionary->GetNullCount() == 0) {  // One already.
    dictionary_ = arrays_.front()->dictionary;
    return Status::OK();
  }
  DictionaryUnion all(type.value_type());
  std::map<const arrow::ArrayData*, std::shared_ptr<const std::vector<int32_t>>> known;  // Parts share one dictionary.
  same_numbers_ = true;  // Until it is seen otherwise.
  for (size_t p = 0; p < pieces_.size(); ++p) {
    const arrow::ArrayData* dictionary = arrays_[p]->dictionary.get();
    auto& numbers = known[dictionary];
    if (!numbers) {
      auto made = std::make_shared<std::vector<int32_t>>();
      SHEAF_RETURN_NOT_OK(all.Add(*dictionary, made.get()));
      if (dictionary->GetNullCount() != 0) nulls_ = true;
      for (size_t i = 0; same_numbers_ && i < made->size(); ++i) same_numbers_ = (*made)[i] == static_cast<int32_t>(i);
      numbers = std::move(made);
    }
    pieces_[p].numbers = numbers->data();
    numbers_.push_back(numbers);
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

/// Once for all gathers: those may then look numbers up without a check a row.
Status ColumnUnion::CheckIndexes() const {
  switch (static_cast<const arrow::DictionaryType&>(StorageOf(*type_)).index_type()->id()) {
    case arrow::Type::INT8: return CheckPieces<int8_t>(pieces_, arrays_);
    case arrow::Type::UINT8: return CheckPieces<uint8_t>(pieces_, arrays_);
    case arrow::Type::INT16: return CheckPieces<int16_t>(pieces_, arrays_);
    case arrow::Type::UINT16: return CheckPieces<uint16_t>(pieces_, arrays_);
    case arrow::Type::INT32: return CheckPieces<int32_t>(pieces_, arrays_);
    case arrow::Type::UINT32: return CheckPieces<uint32_t>(pieces_, arrays_);
    case arrow::Type::INT64: return CheckPieces<int64_t>(pieces_, arrays_);
    default: return CheckPieces<uint64_t>(pieces_, arrays_);
  }
}

int32_t ColumnUnion::DictionaryNumber(const Piece& piece, int64_t row) const {
  if (piece.IsNull(row)) return -1;
  int64_t index = 0;
  std::memcpy(&index, piece.values + row * width_, static_cast<size_t>(width_));  // Little-endian, and not negative.
  return same_numbers_ ? static_cast<int32_t>(index) : piece.numbers[index];
}

/// Sets `constant_` if same(piece) for every piece with rows; it may set `constant_value_` at the first.
template <typename Same>
void ColumnUnion::SetConstantIf(const Same& same) {
  bool first = true;
  for (const Piece& piece : pieces_) {
    if (piece.length == 0) continue;
    if (!same(piece, first)) return;
    first = false;
  }
  constant_ = true;
}

/// Many columns hold one value in every row: counts of what was dropped, flags, text that nobody sets. Looking
/// costs a comparison up to the first difference; gathering it would cost a cache miss a row.
void ColumnUnion::FindConstant() {
  const auto fixed = [&](const uint8_t* value, bool first) {
    if (first) std::memcpy(constant_value_.data(), value, static_cast<size_t>(width_));
    return std::memcmp(constant_value_.data(), value, static_cast<size_t>(width_)) == 0;
  };
  switch (kind_) {
    case Kind::kBits:
      return SetConstantIf([&](const Piece& piece, bool first) {
        const int64_t set = arrow::internal::CountSetBits(piece.values, piece.offset, piece.length);
        const uint8_t bit = set == 0 ? 0 : 1;
        if (first) constant_value_[0] = bit;
        return (set == 0 || set == piece.length) && constant_value_[0] == bit;
      });
    case Kind::kFixed:
      if (width_ == 0 || width_ > static_cast<int64_t>(constant_value_.size())) return;
      return SetConstantIf(
          [&](const Piece& piece, bool first) { return fixed(piece.values, first) && AllSame(piece.values, piece.length, width_); });
    case Kind::kDictionary:
      if (nulls_) return;
      return SetConstantIf([&](const Piece& piece, bool first) {
        const int64_t number = DictionaryNumber(piece, 0);
        return fixed(reinterpret_cast<const uint8_t*>(&number), first) && AllSame(piece.values, piece.length, width_);
      });
    case Kind::kBinary:
    case Kind::kLargeBinary:
    case Kind::kList:
    case Kind::kLargeList:
      return SetConstantIf([&](const Piece& piece, bool) {
        return piece.values == nullptr || LoadOffset(kind_, piece.values, 0) == LoadOffset(kind_, piece.values, piece.length);
      });
    default: return;
  }
}

int64_t ColumnUnion::bytes() const {
  int64_t bytes = 0;
  for (const Piece& piece : pieces_) {
    switch (kind_) {
      case Kind::kBits: bytes += piece.length / 8; break;
      case Kind::kFixed:
      case Kind::kDictionary: bytes += piece.length * width_; break;
      case Kind::kBinary:
      case Kind::kLargeBinary:
        if (piece.end != nullptr) bytes += piece.end - piece.bytes - LoadOffset(kind_, piece.values, 0);
        [[fallthrough]];
      case Kind::kList:
      case Kind::kLargeList: bytes += piece.length * (kind_ == Kind::kBinary || kind_ == Kind::kList ? 4 : 8); break;
      default: break;
    }
    if (piece.validity != nullptr) bytes += piece.length / 8;
  }
  for (const auto& child : children_) bytes += child->bytes();
  return bytes;
}

}  // namespace sheaf::columns
