#include "columns/encodings.h"

namespace sheaf::columns {
namespace {

/// Less than so much of the plain bytes is worth an encoding that costs more to read.
constexpr double kWorthwhile = 0.95;
/// What Zstd makes of a repeated id, in bytes: measured on trace ids and parents' ids of spans that lie by trace.
constexpr double kRepeatBytes = 1.25;

/// Of values without any pattern, once they are compressed: each distinct one, and for each run where to find it.
double CompressedIdBytes(const arrow::DataType& type, const ColumnAnalysis& analysis) {
  return static_cast<double>(analysis.cardinality * type.byte_width()) + kRepeatBytes * static_cast<double>(analysis.runs);
}

}  // namespace

std::string_view NameOf(Encoding encoding) {
  switch (encoding) {
    case Encoding::kPlain: return "plain";
    case Encoding::kDictionary: return "dictionary";
    case Encoding::kDelta: return "delta";
    case Encoding::kRunEnd: return "run-end";
    case Encoding::kFrameOfReference: return "frame of reference";
    case Encoding::kDictionaryThenPlain: return "dictionary, then plain";
    case Encoding::kUnknown: break;
  }
  return "";
}

std::string_view TextOf(EncodingReason reason) {
  switch (reason) {
    case EncodingReason::kReadInPlace: return "read in place, as the table has it";
    case EncodingReason::kTableType: return "a dictionary in the table";
    case EncodingReason::kFewDistinct: return "few distinct values";
    case EncodingReason::kSmallDifferences: return "small differences";
    case EncodingReason::kMostlyDistinct: return "mostly distinct values";
    case EncodingReason::kNothingSmaller: return "nothing is smaller";
    case EncodingReason::kOutgrown: return "the dictionary grew too large";
    case EncodingReason::kNested: return "no other encoding for this type";
    case EncodingReason::kRepeatsNearby: return "repeated values lie close together";
    case EncodingReason::kUnknown: break;
  }
  return "";
}

EncodingChoice ChooseEncoding(const arrow::DataType& type, const ColumnAnalysis& analysis, const EncodingLimits& limits) {
  if (type.id() == arrow::Type::DICTIONARY) return {Encoding::kDictionary, EncodingReason::kTableType};
  if (analysis.dictionary_bytes < 0) return {Encoding::kPlain, EncodingReason::kNested};
  const int64_t present = analysis.values - analysis.nulls;
  const bool is_distinct = analysis.cardinality * 2 > present;
  const bool fits = analysis.dictionary_bytes <= limits.dictionary_bytes_max;
  const auto worthwhile = static_cast<int64_t>(kWorthwhile * static_cast<double>(analysis.plain_bytes));
  EncodingChoice best{Encoding::kPlain, is_distinct ? EncodingReason::kMostlyDistinct : EncodingReason::kNothingSmaller};
  int64_t least = worthwhile;
  if (limits.has_delta && analysis.delta_bytes >= 0 && analysis.delta_bytes < least) {
    best = {Encoding::kDelta,
            is_distinct && analysis.frame_bytes < 0 ? EncodingReason::kMostlyDistinct : EncodingReason::kSmallDifferences};
    least = analysis.delta_bytes;
  }
  if (type.id() == arrow::Type::FIXED_SIZE_BINARY && !is_distinct &&
      CompressedIdBytes(type, analysis) < static_cast<double>(analysis.dictionary_bytes)) {
    return {Encoding::kPlain, EncodingReason::kRepeatsNearby};
  }
  if (!is_distinct && fits && analysis.dictionary_bytes < least) best = {Encoding::kDictionary, EncodingReason::kFewDistinct};
  return best;
}

}  // namespace sheaf::columns
