/// How the values of a column are stored, and which way is chosen for what they are like (column_analysis.h).

#pragma once

#include <cstdint>
#include <string_view>

#include <arrow/type.h>

#include "columns/column_analysis.h"

namespace sheaf::columns {

/// The numbers are those of part indexes (docs/formats/part.md).
enum class Encoding : uint8_t {
  kUnknown = 0,
  kPlain = 1,
  kDictionary = 2,
  kDelta = 3,  // Numbers: differences of neighbours. Texts: what follows the beginning shared with the one before.
  kRunEnd = 4,
  kFrameOfReference = 5,
  kDictionaryThenPlain = 6,  // A dictionary that grew too large on the way.
};

/// Why. The numbers are those of part indexes.
enum class EncodingReason : uint8_t {
  kUnknown = 0,
  kReadInPlace = 1,       // Hot parts are mapped and read as they are: the table's type says how.
  kTableType = 2,         // A dictionary in the table stays one.
  kFewDistinct = 3,       // A dictionary takes least.
  kSmallDifferences = 4,  // Differences take least.
  kMostlyDistinct = 5,    // A dictionary would hold more than each second value.
  kNothingSmaller = 6,    // As each value for itself.
  kOutgrown = 7,          // A dictionary took least at first.
  kNested = 8,            // Of no type that has other encodings.
  kRepeatsNearby = 9,     // Ids that repeat side by side: what compresses the file makes less of these than of indexes.
};

struct EncodingChoice {
  Encoding encoding = Encoding::kUnknown;
  EncodingReason reason = EncodingReason::kUnknown;
};

/// "plain", "dictionary", "delta", "run-end", "frame of reference", "dictionary, then plain"; empty: not known.
std::string_view NameOf(Encoding encoding);
/// A few words for people; empty: not known.
std::string_view TextOf(EncodingReason reason);

/// What encodings a file format has, and what its dictionaries may take.
struct EncodingLimits {
  bool has_delta = true;
  int64_t dictionary_bytes_max = int64_t{1} << 20;
};

/// The encoding that takes the fewest bytes of those that values of this type have: dictionary, delta or plain, which wins what
/// is nearly even. Columns that are dictionaries already stay such. A dictionary that would hold more than half of the values is
/// not worth it: what compresses the file afterwards finds the others' repetitions by itself, and those of ids that lie close
/// together better than indexes tell them. Runs need no encoding of their own, for indexes into a dictionary are kept as runs.
EncodingChoice ChooseEncoding(const arrow::DataType& type, const ColumnAnalysis& analysis, const EncodingLimits& limits);

}  // namespace sheaf::columns
