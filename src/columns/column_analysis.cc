#include "columns/column_analysis.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <xxhash.h>

#include "columns/packed_numbers.h"

namespace sheaf::columns {
namespace {

constexpr int64_t kBlock = 64;              // Values whose neighbours are compared at once.
constexpr int64_t kPackedIndexesMax = 504;  // Behind one header.
constexpr int64_t kLengthBytes = 4, kRunEndBytes = 4;

template <typename T>
T Load(const uint8_t* values, int64_t i) {
  T out;
  std::memcpy(&out, values + i * static_cast<int64_t>(sizeof(T)), sizeof out);
  return out;
}

/// Bits [at, at + count) of a bitmap, the first lowest. Reads no byte behind them. Requires: 0 < count <= 64.
uint64_t LoadBits(const uint8_t* bitmap, int64_t at, int64_t count) {
  uint8_t bytes[16] = {};
  const int64_t shift = at % 8;
  std::memcpy(bytes, bitmap + at / 8, static_cast<size_t>((shift + count + 7) / 8));
  uint64_t low = 0;
  std::memcpy(&low, bytes, sizeof low);
  uint64_t out = low >> shift;
  if (shift > 0) out |= uint64_t{bytes[8]} << (64 - shift);
  return count == kBlock ? out : out & ((uint64_t{1} << count) - 1);
}

/// Bytes of 0 and 1 as bits.
uint64_t PackBools(const uint8_t (&bools)[kBlock]) {
  uint64_t out = 0;
  for (int i = 0; i < 8; ++i) out |= (((Load<uint64_t>(bools, i) * 0x0102040810204080ULL) >> 56)) << (8 * i);
  return out;
}

uint64_t HashOfWord(uint64_t word) { return MixBits(word + 0x9e3779b97f4a7c15ULL); }
/// Short texts, which most are, without a call.
uint64_t HashOfBytes(std::string_view bytes) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const size_t size = bytes.size();
  if (size > 16) return XXH3_64bits(data, size);
  if (size >= 8) return HashOfWord(Load<uint64_t>(data, 0) ^ HashOfWord(Load<uint64_t>(data + size - 8, 0) + size));
  if (size >= 4)
    return HashOfWord(((uint64_t{Load<uint32_t>(data, 0)} << 32) | Load<uint32_t>(data + size - 4, 0)) ^ HashOfWord(size));
  uint64_t word = size;
  for (const char c : bytes) word = (word << 8) | static_cast<uint8_t>(c);
  return HashOfWord(word);
}

struct Wide {
  uint64_t low, high;
  bool operator==(const Wide&) const = default;
};

/// What CountRuns() asks of values: bit j of Differ(at, count) says whether value at + j differs from the one before it, which
/// there is not for the first of all: its bit is 0. Of a NULL they may say anything.
template <typename T>
struct FixedValues {
  const uint8_t* values;

  uint64_t Differ(int64_t at, int64_t count) const {
    uint8_t bools[kBlock] = {};
    const uint8_t* now = values + at * static_cast<int64_t>(sizeof(T));
    const int64_t first = at == 0 ? 1 : 0;
    if (first == 0 && count == kBlock) {  // A loop of known length: vectors.
      for (int64_t j = 0; j < kBlock; ++j) bools[j] = Load<T>(now, j) == Load<T>(now, j - 1) ? 0 : 1;
    } else {
      for (int64_t j = first; j < count; ++j) bools[j] = Load<T>(now, j) == Load<T>(now, j - 1) ? 0 : 1;
    }
    return PackBools(bools);
  }
  uint64_t Hash(int64_t i) const {
    if constexpr (sizeof(T) <= sizeof(uint64_t))
      return HashOfWord(Load<T>(values, i));
    else
      return HashOfWord(Load<T>(values, i).low ^ HashOfWord(Load<T>(values, i).high));
  }
  int64_t Bytes(int64_t) const { return sizeof(T); }
  int64_t Index(int64_t i) const {
    if constexpr (sizeof(T) <= sizeof(uint64_t))
      return static_cast<int64_t>(Load<T>(values, i));
    else
      return -1;
  }
};

struct BoolValues {
  const uint8_t* bits;
  int64_t offset;

  uint64_t Differ(int64_t at, int64_t count) const {
    const uint64_t now = LoadBits(bits, offset + at, count);
    if (at == 0) return (now ^ (now << 1)) & ~uint64_t{1};
    return now ^ ((now << 1) | LoadBits(bits, offset + at - 1, 1));
  }
  uint64_t Hash(int64_t i) const { return HashOfWord(LoadBits(bits, offset + i, 1)); }
  int64_t Bytes(int64_t) const { return 1; }
};

/// Texts, and values of a width that no number has.
struct BytesOfValues {
  const ByteValues& values;
  int64_t extra_bytes;

  uint64_t Differ(int64_t at, int64_t count) const {
    uint64_t out = 0;
    std::string_view before = at == 0 ? values[0] : values[at - 1];
    for (int64_t j = 0; j < count; ++j) {
      const std::string_view now = values[at + j];
      out |= uint64_t{now != before} << j;
      before = now;
    }
    return out;
  }
  uint64_t Hash(int64_t i) const { return HashOfBytes(values[i]); }
  int64_t Bytes(int64_t i) const { return static_cast<int64_t>(values[i].size()) + extra_bytes; }
};

/// Indexes into a dictionary; `T` unsigned, for an index below 0 is outside as well.
template <typename T>
struct Indexes : FixedValues<T> {};
template <typename Values>
inline constexpr bool kIsIndexes = false;
template <typename T>
inline constexpr bool kIsIndexes<Indexes<T>> = true;

bool HasBytes(const arrow::DataType& type) {
  const auto id = type.storage_id();
  return arrow::is_base_binary_like(id) ||
         (arrow::is_fixed_width(id) && id != arrow::Type::BOOL && id != arrow::Type::DICTIONARY);
}

/// Numbers and times, and decimals whose lower 8 bytes are all there is.
bool IsNumber(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DECIMAL128) return static_cast<const arrow::DecimalType&>(type).precision() <= 18;
  return arrow::is_integer(type.id()) || arrow::is_temporal(type.id()) || type.id() == arrow::Type::DURATION;
}

int64_t LoadNumber(const uint8_t* at, int64_t width, bool is_signed) {
  switch (width) {
    case 1: return is_signed ? static_cast<int64_t>(static_cast<int8_t>(*at)) : *at;
    case 2: return is_signed ? Load<int16_t>(at, 0) : static_cast<int64_t>(Load<uint16_t>(at, 0));
    case 4: return is_signed ? Load<int32_t>(at, 0) : static_cast<int64_t>(Load<uint32_t>(at, 0));
    default: return Load<int64_t>(at, 0);
  }
}

const uint8_t* ValidityOf(const arrow::ArrayData& data) {
  return data.MayHaveNulls() && data.buffers[0] ? data.buffers[0]->data() : nullptr;
}

/// Of all texts of an array.
int64_t TextBytes(const arrow::ArrayData& data) {
  const uint8_t* offsets = data.buffers[1]->data();
  const int64_t end = data.offset + data.length;
  if (arrow::is_large_binary_like(data.type->storage_id()))
    return Load<int64_t>(offsets, end) - Load<int64_t>(offsets, data.offset);
  return int64_t{Load<int32_t>(offsets, end)} - Load<int32_t>(offsets, data.offset);
}

/// How many of `all` runs have distinct values, of which `distinct` were found in a sample of `sampled`: as if each occurred
/// equally often.
int64_t DistinctOfAll(int64_t distinct, int64_t sampled, int64_t all) {
  const auto found = [](double values, double kinds) { return kinds * -std::expm1(-values / kinds); };
  double low = static_cast<double>(distinct), high = static_cast<double>(all);
  if (distinct <= 1 || found(static_cast<double>(sampled), high) <= low) return distinct <= 1 ? distinct : all;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (found(static_cast<double>(sampled), middle) < static_cast<double>(distinct) ? low : high) = middle;
  }
  return std::clamp(static_cast<int64_t>(std::llround(found(static_cast<double>(all), low))), distinct, all);
}

size_t SharedBeginning(std::string_view a, std::string_view b) {
  const size_t end = std::min(a.size(), b.size());
  size_t i = 0;
  while (i < end && a[i] == b[i]) ++i;
  return i;
}

}  // namespace

int64_t ColumnAnalyzer::Sample::ScaledTo(int64_t all) const {
  if (values == 0) return 0;
  return static_cast<int64_t>(static_cast<double>(bytes) * static_cast<double>(all) / static_cast<double>(values));
}

ColumnAnalyzer::ColumnAnalyzer(std::shared_ptr<arrow::DataType> leaf_type) : type_(std::move(leaf_type)) {
  const arrow::DataType* values = type_.get();
  if (type_->id() == arrow::Type::NA) kind_ = Kind::kNull;
  if (type_->id() == arrow::Type::BOOL) kind_ = Kind::kBool;
  if (type_->id() == arrow::Type::DICTIONARY) values = static_cast<const arrow::DictionaryType&>(*type_).value_type().get();
  if (!HasBytes(*values)) return;
  kind_ = values != type_.get() ? Kind::kDictionary : arrow::is_base_binary_like(values->id()) ? Kind::kText : Kind::kFixed;
  if (!arrow::is_base_binary_like(values->id())) width_ = values->byte_width();
  is_number_ = kind_ == Kind::kFixed && IsNumber(*type_);
}

Status ColumnAnalyzer::Add(const arrow::ArrayData& data) {
  if (data.length == 0) return Status::OK();
  values_ += data.length;
  const bool all_null = kind_ == Kind::kNull || (kind_ != Kind::kOpaque && !data.buffers[1]);
  nulls_ += all_null ? data.length : data.GetNullCount();
  if (kind_ == Kind::kOpaque) return Status::OK();
  if (all_null) {
    CountNulls(data.length);
    return Status::OK();
  }
  if (kind_ == Kind::kText) text_bytes_ += TextBytes(data);
  if (data.length <= kValuesMax) return AddPiece(data);
  for (int64_t i = 0; i < kPieces; ++i) {
    const int64_t begin = (data.length - kPieceValues) * i / (kPieces - 1);
    SHEAF_RETURN_NOT_OK(AddPiece(*data.Slice(begin, kPieceValues)));
  }
  return Status::OK();
}

void ColumnAnalyzer::CountNulls(int64_t nulls) {
  looked_at_ += nulls;
  looked_at_nulls_ += nulls;
  if (runs_.runs == 0 || last_is_valid_) {
    runs_.EndOpen();
    ++runs_.runs;
  }
  runs_.open += nulls;
  last_is_valid_ = false;
}

Status ColumnAnalyzer::AddPiece(const arrow::ArrayData& piece) {
  looked_at_ += piece.length;
  looked_at_nulls_ += piece.GetNullCount();
  switch (kind_) {
    case Kind::kBool: return CountRuns(BoolValues{piece.buffers[1]->data(), piece.offset}, piece);
    case Kind::kFixed:
      if (is_number_) SampleNumbers(piece);
      return CountFixed(piece);
    case Kind::kText: {
      SampleTexts(piece);
      const ByteValues texts = *ByteValues::Of(piece);
      return CountRuns(BytesOfValues{texts, kLengthBytes}, piece);
    }
    default: return CountIndexes(piece);
  }
}

Status ColumnAnalyzer::CountFixed(const arrow::ArrayData& piece) {
  const uint8_t* values = piece.buffers[1]->data() + piece.offset * width_;
  switch (width_) {
    case 1: return CountRuns(FixedValues<uint8_t>{values}, piece);
    case 2: return CountRuns(FixedValues<uint16_t>{values}, piece);
    case 4: return CountRuns(FixedValues<uint32_t>{values}, piece);
    case 8: return CountRuns(FixedValues<uint64_t>{values}, piece);
    case 16: return CountRuns(FixedValues<Wide>{values}, piece);
    default: break;
  }
  const ByteValues bytes = *ByteValues::Of(piece);
  return CountRuns(BytesOfValues{bytes, 0}, piece);
}

Status ColumnAnalyzer::CountIndexes(const arrow::ArrayData& piece) {
  UseDictionary(piece.dictionary);
  const int64_t width = static_cast<const arrow::DictionaryType&>(*type_).index_type()->byte_width();
  const uint8_t* values = piece.buffers[1]->data() + piece.offset * width;
  switch (width) {
    case 1: return CountRuns(Indexes<uint8_t>{{values}}, piece);
    case 2: return CountRuns(Indexes<uint16_t>{{values}}, piece);
    case 4: return CountRuns(Indexes<uint32_t>{{values}}, piece);
    default: return CountRuns(Indexes<uint64_t>{{values}}, piece);
  }
}

void ColumnAnalyzer::UseDictionary(const std::shared_ptr<arrow::ArrayData>& dictionary) {
  if (dictionary_ == dictionary) return;
  dictionary_ = dictionary;
  dictionary_values_ = *ByteValues::Of(*dictionary);
  entries_.resize(static_cast<size_t>(dictionary->length));
  for (size_t i = 0; i < entries_.size(); ++i) {
    const size_t bytes = dictionary_values_[static_cast<int64_t>(i)].size() + (width_ == 0 ? kLengthBytes : 0);
    entries_[i] = static_cast<uint32_t>(std::min<size_t>(bytes, INT32_MAX) << 1);
  }
  used_count_ = used_bytes_ = 0;
  ++dictionaries_;
}

template <typename Values>
uint64_t ColumnAnalyzer::HashOf(const Values& values, int64_t i) const {
  if constexpr (kIsIndexes<Values>) {
    const int64_t index = values.Index(i);
    return index < 0 || index >= dictionary_values_.size() ? 0 : HashOfBytes(dictionary_values_[index]);
  } else {
    return values.Hash(i);
  }
}

template <typename Values>
Status ColumnAnalyzer::CountRuns(const Values& values, const arrow::ArrayData& piece) {
  const uint8_t* validity = ValidityOf(piece);
  RunCounter runs = runs_;
  for (int64_t at = 0; at < piece.length; at += kBlock) {
    const int64_t count = std::min(kBlock, piece.length - at);
    const uint64_t all = ~uint64_t{0} >> (kBlock - count);
    const uint64_t valid = validity == nullptr ? all : LoadBits(validity, piece.offset + at, count);
    const uint64_t valid_before = (valid << 1) | (last_is_valid_ ? 1 : 0);
    uint64_t starts = values.Differ(at, count);
    if (at == 0 && last_is_valid_ && (valid & 1) != 0 && HashOf(values, 0) != last_hash_) starts |= 1;
    starts = ((valid ^ valid_before) | (valid & starts)) & all;
    if (runs.runs == 0) starts |= 1;
    SHEAF_RETURN_NOT_OK(TakeRuns(values, at, count, starts, valid, &runs));
    last_is_valid_ = ((valid >> (count - 1)) & 1) != 0;
  }
  if (last_is_valid_) last_hash_ = HashOf(values, piece.length - 1);
  runs_ = runs;
  return Status::OK();
}

template <typename Values>
Status ColumnAnalyzer::TakeRuns(const Values& values, int64_t at, int64_t count, uint64_t starts, uint64_t valid,
                                RunCounter* runs) {
  int64_t from = 0;
  for (uint64_t rest = starts; rest != 0; rest &= rest - 1) {
    const int64_t j = std::countr_zero(rest);
    runs->open += j - from;
    from = j;
    runs->EndOpen();
    ++runs->runs;
    if (((valid >> j) & 1) == 0) continue;
    if constexpr (kIsIndexes<Values>) {
      SHEAF_RETURN_NOT_OK(TakeIndex(values.Index(at + j), runs));
    } else {
      const int64_t bytes = values.Bytes(at + j);
      runs->BeginValue(bytes);
      if (distinct_.Add(values.Hash(at + j))) distinct_bytes_ += bytes;
    }
  }
  runs->open += count - from;
  return Status::OK();
}

Status ColumnAnalyzer::TakeIndex(int64_t index, RunCounter* runs) {
  if (index < 0 || index >= dictionary_values_.size()) {
    return MakeError(ErrorKind::kCorruption, "index {} lies outside its dictionary of {}", index, dictionary_values_.size());
  }
  uint32_t& entry = entries_[static_cast<size_t>(index)];
  const int64_t bytes = entry >> 1;
  runs->BeginValue(bytes);
  if ((entry & 1) != 0) return Status::OK();
  entry |= 1;
  ++used_count_;
  used_bytes_ += bytes;
  if (distinct_.Add(HashOfBytes(dictionary_values_[index]))) distinct_bytes_ += bytes;
  return Status::OK();
}

void ColumnAnalyzer::SampleNumbers(const arrow::ArrayData& piece) {
  const uint8_t* values = piece.buffers[1]->data() + piece.offset * width_;
  const uint8_t* validity = ValidityOf(piece);
  const bool is_signed = !arrow::is_unsigned_integer(type_->id());
  const int64_t block = width_ >= 8 ? kPackedBlockOf64Bits : kPackedBlock;
  int64_t numbers[kPackedBlockOf64Bits + 1];
  for (int64_t at = 0; at < piece.length; at += block * kNumberBlocksPerSample) {
    const int64_t end = std::min(piece.length, at + block + 1);
    size_t count = 0;
    for (int64_t i = at; i < end; ++i) {
      if (validity != nullptr && !arrow::bit_util::GetBit(validity, piece.offset + i)) continue;
      numbers[count++] = LoadNumber(values + i * width_, width_, is_signed);
    }
    if (count < 2) continue;
    delta_.bytes += DeltaBlockBytes({numbers, count}, block);
    frame_.bytes += FrameBlockBytes({numbers, count - 1});
    delta_.values += static_cast<int64_t>(count - 1);
    frame_.values += static_cast<int64_t>(count - 1);
  }
}

void ColumnAnalyzer::SampleTexts(const arrow::ArrayData& piece) {
  const ByteValues texts = *ByteValues::Of(piece);
  int64_t shared[kPackedBlock + 1], following[kPackedBlock + 1];
  for (int64_t at = 0; at < piece.length; at += kPackedBlock * kTextBlocksPerSample) {
    const int64_t end = std::min(piece.length, at + kPackedBlock + 2);
    size_t count = 0;
    std::optional<std::string_view> before;
    for (int64_t i = at; i < end; ++i) {
      if (texts.IsNull(i)) continue;
      const std::string_view now = texts[i];
      if (before) {
        const size_t same = SharedBeginning(*before, now);
        shared[count] = static_cast<int64_t>(same);
        following[count++] = static_cast<int64_t>(now.size() - same);
      }
      before = now;
    }
    if (count < 2) continue;
    delta_.bytes += DeltaBlockBytes({shared, count}, kPackedBlock) + DeltaBlockBytes({following, count}, kPackedBlock);
    for (size_t i = 1; i < count; ++i) delta_.bytes += following[i];
    delta_.values += static_cast<int64_t>(count - 1);
  }
}

/// What was counted in a sample, as if it had been counted in all values.
int64_t ColumnAnalyzer::Scaled(int64_t counted) const {
  if (looked_at_ == values_ || looked_at_ == 0) return counted;
  return static_cast<int64_t>(static_cast<double>(counted) * static_cast<double>(values_) / static_cast<double>(looked_at_));
}

/// An estimate is never above the values that there are.
int64_t ColumnAnalyzer::Cardinality() const { return std::min(distinct_.Count(), runs_.value_runs); }

int64_t ColumnAnalyzer::PlainBytes() const {
  const int64_t present = values_ - nulls_;
  switch (kind_) {
    case Kind::kBool: return (present + 7) / 8;
    case Kind::kFixed: return present * width_;
    case Kind::kText: return text_bytes_ + present * kLengthBytes;
    case Kind::kDictionary: return Scaled(runs_.value_bytes + runs_.open * runs_.open_bytes);
    default: return 0;
  }
}

int64_t ColumnAnalyzer::IndexBytes(int64_t cardinality) const {
  RunCounter runs = runs_;
  runs.EndOpen();
  const int64_t packed = looked_at_ - looked_at_nulls_ - runs.long_run_values;
  const int64_t bits = cardinality <= 1 ? 0 : std::bit_width(static_cast<uint64_t>(cardinality - 1));
  return Scaled(runs.long_runs * (2 + (bits + 7) / 8) + (packed * bits + 7) / 8 + packed / kPackedIndexesMax);
}

ColumnAnalysis ColumnAnalyzer::Analysis() const {
  ColumnAnalysis out;
  out.values = values_;
  out.nulls = nulls_;
  if (kind_ == Kind::kOpaque) return out;
  out.looked_at = looked_at_;
  out.runs = runs_.runs <= 1 ? runs_.runs : Scaled(runs_.runs);
  out.longest_run = runs_.runs <= 1 ? values_ : std::max(runs_.longest, runs_.open);

  const bool one_dictionary = kind_ == Kind::kDictionary && dictionaries_ == 1;
  out.cardinality = one_dictionary ? used_count_ : Cardinality();
  out.cardinality_is_exact = one_dictionary || distinct_.is_exact();
  int64_t distinct_bytes = one_dictionary ? used_bytes_ : distinct_bytes_;
  if (looked_at_ != values_) {
    out.cardinality = DistinctOfAll(out.cardinality, runs_.value_runs, Scaled(runs_.value_runs));
    out.cardinality_is_exact = false;
  }
  if (!out.cardinality_is_exact) distinct_bytes = Sample{runs_.value_runs, runs_.value_run_bytes}.ScaledTo(out.cardinality);

  out.plain_bytes = PlainBytes();
  out.run_end_bytes = Scaled(runs_.runs * kRunEndBytes + runs_.value_run_bytes);
  if (kind_ == Kind::kBool || kind_ == Kind::kNull) return out;
  out.dictionary_bytes = distinct_bytes + IndexBytes(out.cardinality);
  const int64_t present = values_ - nulls_;
  if (kind_ == Kind::kText || is_number_) out.delta_bytes = delta_.values > 0 ? delta_.ScaledTo(present) : out.plain_bytes;
  if (is_number_) out.frame_bytes = frame_.values > 0 ? frame_.ScaledTo(present) : out.plain_bytes;
  return out;
}

}  // namespace sheaf::columns
