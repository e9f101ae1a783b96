/// ColumnUnion::Gather(): copies rows out, run by run.
///
/// Runs are short (the spans of a trace come from many places), so what counts is the cost of one: no call
/// for a copy of a few bytes, no branch for NULLs where there are none, nothing at all for columns with one
/// value. Loops are kept so short that the processor has many rows' cache misses under way at once.

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <arrow/array/array_base.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/extension_type.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/bitmap_ops.h>

#include "columns/column_union.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

namespace bit_util = arrow::bit_util;
using Piece = ColumnUnion::Piece;
using BufferPtr = std::shared_ptr<arrow::Buffer>;

/// Buffers may be written this far past their end, so that short copies need no loop.
constexpr int64_t kSlackBytes = 64;

Result<BufferPtr> Allocate(int64_t bytes, arrow::MemoryPool* pool) {
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::ResizableBuffer> buffer, arrow::AllocateResizableBuffer(bytes + kSlackBytes, pool));
  SHEAF_RETURN_NOT_OK(buffer->Resize(bytes, /*shrink_to_fit=*/false));
  return BufferPtr(std::move(buffer));
}

template <typename T>
T Load(const uint8_t* values, int64_t i) {
  T out;
  std::memcpy(&out, values + i * static_cast<int64_t>(sizeof(T)), sizeof out);
  return out;
}

/// Copies `n` bytes. Writes up to kSlackBytes at `to`; reads no further than `end`.
inline void CopyRun(uint8_t* to, const uint8_t* from, size_t n, const uint8_t* end) {
  const ptrdiff_t readable = end - from;
  if (n <= 16 && readable >= 16) {
    std::memcpy(to, from, 16);
  } else if (n <= 64 && readable >= 64) {
    std::memcpy(to, from, 64);
  } else if (n > 0) {
    std::memcpy(to, from, n);
  }
}

/// So many runs ahead values are asked for: more misses are under way than the processor sees by itself.
constexpr size_t kPrefetchedRuns = 64;

template <size_t kWidth>
void CopyFixed(const std::vector<Piece>& pieces, const std::vector<RowRun>& runs, uint8_t* out) {
  for (size_t i = 0; i < runs.size(); ++i) {
    if (i + kPrefetchedRuns < runs.size()) {
      const RowRun& later = runs[i + kPrefetchedRuns];
      __builtin_prefetch(pieces[later.batch].values + later.start * static_cast<int64_t>(kWidth), /*rw=*/0, /*locality=*/2);
    }
    const RowRun& run = runs[i];
    const Piece& piece = pieces[run.batch];
    const uint8_t* from = piece.values + run.start * static_cast<int64_t>(kWidth);
    if (run.length == 1) {
      std::memcpy(out, from, kWidth);
    } else {
      CopyRun(out, from, run.length * kWidth, piece.end);
    }
    out += run.length * kWidth;
  }
}

/// Collects bits and stores them by words of 64.
class BitWriter {
 public:
  explicit BitWriter(uint8_t* out) : out_(out) {}
  void Add(bool bit) {
    word_ |= static_cast<uint64_t>(bit) << filled_;
    if (++filled_ == 64) Flush();
  }
  /// Adds `length` bits of `bits` from `start` on.
  void AddRun(const uint8_t* bits, int64_t start, int64_t length) {
    if (length >= kLongRun) {
      for (; filled_ != 0; --length) Add(bit_util::GetBit(bits, start++));
      const int64_t whole = length / 64 * 64;
      arrow::internal::CopyBitmap(bits, start, whole, out_, 0);
      set_ += arrow::internal::CountSetBits(out_, 0, whole);
      out_ += whole / 8;
      start += whole;
      length -= whole;
    }
    for (const int64_t end = start + length; start < end; ++start) Add(bit_util::GetBit(bits, start));
  }
  void AddSame(bool bit, int64_t length) {
    for (; length > 0 && filled_ != 0; --length) Add(bit);
    for (; length >= 64; length -= 64) {
      word_ = bit ? ~uint64_t{0} : 0;
      Flush();
    }
    for (; length > 0; --length) Add(bit);
  }
  /// Returns how many bits were set. Writes whole words: up to 7 bytes more than the bits take.
  int64_t Finish() {
    if (filled_ > 0) Flush();
    return set_;
  }

 private:
  static constexpr int64_t kLongRun = 256;
  void Flush() {
    std::memcpy(out_, &word_, sizeof word_);
    out_ += sizeof word_;
    set_ += std::popcount(word_);
    word_ = 0;
    filled_ = 0;
  }
  uint8_t* out_;
  uint64_t word_ = 0;
  int filled_ = 0;
  int64_t set_ = 0;
};

const arrow::DataType& IndexTypeOf(const arrow::DataType& type) {
  const auto& storage = type.id() == arrow::Type::EXTENSION ? *static_cast<const arrow::ExtensionType&>(type).storage_type() : type;
  return *static_cast<const arrow::DictionaryType&>(storage).index_type();
}

}  // namespace

Result<std::vector<ColumnUnion::ArrayDataPtr>> ColumnUnion::Gather(std::span<const RowRuns> granules, arrow::MemoryPool* pool) const {
  std::vector<ArrayDataPtr> out;
  std::vector<RowRuns> inner;  // Rows of the children, where they are numbered otherwise than ours.
  const bool is_list = kind_ == Kind::kList || kind_ == Kind::kLargeList || kind_ == Kind::kFixedList;
  const bool has_inner = is_list || (kind_ == Kind::kStruct && shifted_);
  if (has_inner) inner.resize(granules.size());
  for (size_t g = 0; g < granules.size(); ++g) {
    if (kind_ == Kind::kOther) {
      SHEAF_ASSIGN_OR_RETURN(out.emplace_back(), GatherOther(granules[g], pool));
      continue;
    }
    out.push_back(std::make_shared<arrow::ArrayData>(type_, granules[g].rows, 0));
    SHEAF_RETURN_NOT_OK(GatherOwn(granules[g], pool, out.back().get(), has_inner ? &inner[g] : nullptr));
  }
  for (const auto& child : children_) {
    SHEAF_ASSIGN_OR_RETURN(auto arrays, child->Gather(has_inner ? std::span<const RowRuns>(inner) : granules, pool));
    for (size_t g = 0; g < granules.size(); ++g) out[g]->child_data.push_back(std::move(arrays[g]));
  }
  return out;
}

Result<ColumnUnion::ArrayDataPtr> ColumnUnion::GatherOther(const RowRuns& granule, arrow::MemoryPool* pool) const {
  if (granule.runs.empty()) {
    SHEAF_ASSIGN_OR_RETURN(auto empty, arrow::MakeEmptyArray(type_, pool));
    return empty->data();
  }
  arrow::ArrayVector slices;
  slices.reserve(granule.runs.size());
  for (const RowRun& run : granule.runs) slices.push_back(arrow::MakeArray(arrays_[run.batch])->Slice(run.start, run.length));
  SHEAF_ASSIGN_OR_RETURN(auto joined, arrow::Concatenate(slices, pool));
  return joined->data();
}

Status ColumnUnion::GatherOwn(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out, RowRuns* inner) const {
  out->buffers = {nullptr};
  out->null_count = kind_ == Kind::kNull ? granule.rows : 0;
  if (kind_ == Kind::kNull) return Status::OK();
  out->dictionary = dictionary_;
  if (nulls_ && kind_ != Kind::kDictionary) SHEAF_RETURN_NOT_OK(GatherValidity(granule, pool, out));
  if (constant_) return GatherConstant(granule, pool, out);
  switch (kind_) {
    case Kind::kBits: return GatherBits(granule, pool, out);
    case Kind::kFixed: return GatherFixed(granule, pool, out);
    case Kind::kDictionary: return GatherDictionary(granule, pool, out);
    case Kind::kBinary: return GatherBinary<int32_t>(granule, pool, out);
    case Kind::kLargeBinary: return GatherBinary<int64_t>(granule, pool, out);
    case Kind::kList: return GatherList<int32_t>(granule, pool, out, inner);
    case Kind::kLargeList: return GatherList<int64_t>(granule, pool, out, inner);
    case Kind::kFixedList:
      inner->runs.reserve(granule.runs.size());
      for (const RowRun& run : granule.runs) {
        inner->Append(run.batch, (pieces_[run.batch].offset + run.start) * width_, run.length * width_);
      }
      return Status::OK();
    case Kind::kStruct:
      if (inner == nullptr) return Status::OK();
      *inner = granule;
      for (RowRun& run : inner->runs) run.start += pieces_[run.batch].offset;
      return Status::OK();
    default: SHEAF_CHECK(false);
  }
}

Status ColumnUnion::GatherConstant(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  int64_t bytes = 0;
  switch (kind_) {
    case Kind::kBits: bytes = bit_util::BytesForBits(granule.rows); break;
    case Kind::kBinary:
    case Kind::kList: bytes = (granule.rows + 1) * 4; break;
    case Kind::kLargeBinary:
    case Kind::kLargeList: bytes = (granule.rows + 1) * 8; break;
    default: bytes = granule.rows * width_; break;
  }
  SHEAF_ASSIGN_OR_RETURN(BufferPtr buffer, Allocate(bytes, pool));
  uint8_t* to = buffer->mutable_data();
  const uint8_t* value = constant_value_.data();
  if (kind_ == Kind::kBits) {
    std::memset(to, *value != 0 ? 0xFF : 0, static_cast<size_t>(bytes));
  } else if (std::all_of(constant_value_.begin(), constant_value_.end(), [](uint8_t byte) { return byte == 0; })) {
    std::memset(to, 0, static_cast<size_t>(bytes));  // Offsets too: of text and lists only those without contents get here.
  } else {
    for (int64_t i = 0; i < granule.rows; ++i) std::memcpy(to + i * width_, value, constant_value_.size());
  }
  out->buffers.push_back(std::move(buffer));
  if (kind_ == Kind::kBinary || kind_ == Kind::kLargeBinary) {
    SHEAF_ASSIGN_OR_RETURN(BufferPtr none, Allocate(0, pool));
    out->buffers.push_back(std::move(none));
  }
  return Status::OK();
}

Status ColumnUnion::GatherValidity(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  SHEAF_ASSIGN_OR_RETURN(BufferPtr buffer, Allocate(bit_util::BytesForBits(granule.rows), pool));
  BitWriter bits(buffer->mutable_data());
  if (all_null_) {
    bits.AddSame(false, granule.rows);
  } else {
    for (const RowRun& run : granule.runs) {
      const Piece& piece = pieces_[run.batch];
      if (piece.validity == nullptr) {
        bits.AddSame(true, run.length);
      } else {
        bits.AddRun(piece.validity, piece.offset + run.start, run.length);
      }
    }
  }
  out->null_count = granule.rows - bits.Finish();
  if (out->null_count != 0) out->buffers[0] = std::move(buffer);
  return Status::OK();
}

Status ColumnUnion::GatherBits(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  SHEAF_ASSIGN_OR_RETURN(BufferPtr buffer, Allocate(bit_util::BytesForBits(granule.rows), pool));
  BitWriter bits(buffer->mutable_data());
  for (const RowRun& run : granule.runs) {
    const Piece& piece = pieces_[run.batch];
    bits.AddRun(piece.values, piece.offset + run.start, run.length);
  }
  bits.Finish();
  out->buffers.push_back(std::move(buffer));
  return Status::OK();
}

Status ColumnUnion::GatherFixed(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  SHEAF_ASSIGN_OR_RETURN(BufferPtr buffer, Allocate(granule.rows * width_, pool));
  uint8_t* to = buffer->mutable_data();
  switch (width_) {
    case 0: break;
    case 1: CopyFixed<1>(pieces_, granule.runs, to); break;
    case 2: CopyFixed<2>(pieces_, granule.runs, to); break;
    case 4: CopyFixed<4>(pieces_, granule.runs, to); break;
    case 8: CopyFixed<8>(pieces_, granule.runs, to); break;
    case 16: CopyFixed<16>(pieces_, granule.runs, to); break;
    default:
      for (const RowRun& run : granule.runs) {
        const auto bytes = static_cast<size_t>(run.length * width_);
        std::memcpy(to, pieces_[run.batch].values + run.start * width_, bytes);
        to += bytes;
      }
  }
  out->buffers.push_back(std::move(buffer));
  return Status::OK();
}

template <typename Offset>
Status ColumnUnion::GatherBinary(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  int64_t total = 0;
  for (const RowRun& run : granule.runs) {
    const uint8_t* offsets = pieces_[run.batch].values;
    total += static_cast<int64_t>(Load<Offset>(offsets, run.start + run.length)) - Load<Offset>(offsets, run.start);
  }
  if (total > std::numeric_limits<Offset>::max()) {
    return MakeError(ErrorKind::kTooLarge, "{} bytes of text in one granule; use fewer rows a granule or large text", total);
  }
  SHEAF_ASSIGN_OR_RETURN(BufferPtr offset_buffer, Allocate((granule.rows + 1) * static_cast<int64_t>(sizeof(Offset)), pool));
  SHEAF_ASSIGN_OR_RETURN(BufferPtr byte_buffer, Allocate(total, pool));
  auto* offset = reinterpret_cast<Offset*>(offset_buffer->mutable_data());
  uint8_t* bytes = byte_buffer->mutable_data();
  Offset end = 0;
  *offset++ = 0;
  for (const RowRun& run : granule.runs) {
    const Piece& piece = pieces_[run.batch];
    const auto begin = Load<Offset>(piece.values, run.start);
    for (int64_t i = 1; i <= run.length; ++i) *offset++ = static_cast<Offset>(end + (Load<Offset>(piece.values, run.start + i) - begin));
    const auto length = static_cast<size_t>(offset[-1] - end);
    if (length > 0) CopyRun(bytes + end, piece.bytes + begin, length, piece.end);
    end = offset[-1];
  }
  out->buffers.push_back(std::move(offset_buffer));
  out->buffers.push_back(std::move(byte_buffer));
  return Status::OK();
}

template <typename Offset>
Status ColumnUnion::GatherList(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out, RowRuns* inner) const {
  SHEAF_ASSIGN_OR_RETURN(BufferPtr offset_buffer, Allocate((granule.rows + 1) * static_cast<int64_t>(sizeof(Offset)), pool));
  auto* offset = reinterpret_cast<Offset*>(offset_buffer->mutable_data());
  inner->runs.reserve(granule.runs.size());
  *offset++ = 0;
  for (const RowRun& run : granule.runs) {
    const uint8_t* offsets = pieces_[run.batch].values;
    const auto begin = Load<Offset>(offsets, run.start);
    const int64_t end = inner->rows, length = static_cast<int64_t>(Load<Offset>(offsets, run.start + run.length)) - begin;
    if (end + length > std::numeric_limits<Offset>::max()) {
      return MakeError(ErrorKind::kTooLarge, "more than 2^31 list elements in one granule; use fewer rows a granule");
    }
    for (int64_t i = 1; i <= run.length; ++i) *offset++ = static_cast<Offset>(end + (Load<Offset>(offsets, run.start + i) - begin));
    if (length > 0) inner->Append(run.batch, begin, length);
  }
  out->buffers.push_back(std::move(offset_buffer));
  return Status::OK();
}

template <typename Index>
Status ColumnUnion::GatherIndexes(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  SHEAF_ASSIGN_OR_RETURN(BufferPtr buffer, Allocate(granule.rows * static_cast<int64_t>(sizeof(Index)), pool));
  auto* to = reinterpret_cast<Index*>(buffer->mutable_data());
  if (!nulls_) {
    for (const RowRun& run : granule.runs) {
      const Piece& piece = pieces_[run.batch];
      const int32_t* numbers = piece.numbers;
      for (int64_t i = run.start; i < run.start + run.length; ++i) *to++ = static_cast<Index>(numbers[Load<Index>(piece.values, i)]);
    }
    out->buffers.push_back(std::move(buffer));
    return Status::OK();
  }
  SHEAF_ASSIGN_OR_RETURN(BufferPtr validity, Allocate(bit_util::BytesForBits(granule.rows), pool));
  BitWriter bits(validity->mutable_data());
  for (const RowRun& run : granule.runs) {
    const Piece& piece = pieces_[run.batch];
    for (int64_t i = run.start; i < run.start + run.length; ++i) {
      const int32_t number = DictionaryNumber(piece, i);
      bits.Add(number >= 0);
      *to++ = static_cast<Index>(std::max(number, 0));
    }
  }
  out->null_count = granule.rows - bits.Finish();
  if (out->null_count != 0) out->buffers[0] = std::move(validity);
  out->buffers.push_back(std::move(buffer));
  return Status::OK();
}

Status ColumnUnion::GatherDictionary(const RowRuns& granule, arrow::MemoryPool* pool, arrow::ArrayData* out) const {
  if (same_numbers_ && !nulls_) return GatherFixed(granule, pool, out);
  switch (IndexTypeOf(*type_).id()) {
    case arrow::Type::INT8: return GatherIndexes<int8_t>(granule, pool, out);
    case arrow::Type::UINT8: return GatherIndexes<uint8_t>(granule, pool, out);
    case arrow::Type::INT16: return GatherIndexes<int16_t>(granule, pool, out);
    case arrow::Type::UINT16: return GatherIndexes<uint16_t>(granule, pool, out);
    case arrow::Type::INT32: return GatherIndexes<int32_t>(granule, pool, out);
    case arrow::Type::UINT32: return GatherIndexes<uint32_t>(granule, pool, out);
    default: return GatherIndexes<int64_t>(granule, pool, out);
  }
}

}  // namespace sheaf::columns
