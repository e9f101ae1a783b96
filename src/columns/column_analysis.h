/// What a column's values are like, measured while a part is written: NULLs, runs, distinct values, and how many bytes each way
/// to encode them would take. encodings.h chooses by it; a part keeps it, and sheaf.columns shows it.
///
/// Nothing is copied and memory is bounded: 40 KiB a column, and 4 bytes for each value of a dictionary. Neighbours are compared
/// 64 at a time, and only the first value of a run is looked at.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <arrow/array/data.h>
#include <arrow/type.h>

#include "columns/byte_values.h"
#include "columns/distinct_sketch.h"
#include "core/status.h"

namespace sheaf::columns {

/// Bytes are those of values that are not NULL, without what says which are, and without the lengths of lists around them.
/// -1: not known, or an encoding that such values do not have.
struct ColumnAnalysis {
  int64_t values = -1;  // NULLs included. Of a leaf inside of lists: their items.
  int64_t nulls = -1;
  int64_t looked_at = -1;    // Of the values. What follows was measured on these; where they are not all, it is scaled up.
  int64_t runs = -1;         // Of equal neighbours; NULLs are equal to each other.
  int64_t longest_run = -1;  // Not scaled up.
  int64_t cardinality = -1;  // Distinct values, NULL not counted.
  bool cardinality_is_exact = false;

  int64_t plain_bytes = -1;       // Each value for itself: its width, a text its length and 4, a boolean a bit.
  int64_t dictionary_bytes = -1;  // Each distinct value once, and indexes of as few bits as do, runs of 8 and more as runs.
  int64_t run_end_bytes = -1;     // The first value of each run, and where it ends, 4 bytes.
  int64_t delta_bytes = -1;  // Numbers and times: differences in blocks (packed_numbers.h), less the least of them, packed in 32s,
                             // or in 64s where they have 64 bits. Texts:
                             // what follows the beginning shared with the text before, and both lengths as such numbers.
  int64_t frame_bytes = -1;  // Numbers and times: of blocks of 128 the lowest, and the differences from it, packed.

  double mean_run() const { return runs > 0 ? static_cast<double>(values) / static_cast<double>(runs) : 0; }
};

/// Takes the values of one leaf (leaves.h), array by array. Not thread-safe.
class ColumnAnalyzer {
 public:
  /// Of a longer array only pieces are looked at, evenly spread: of a granule's rows all, of the items of its lists some.
  static constexpr int64_t kValuesMax = int64_t{1} << 14, kPieces = 8, kPieceValues = int64_t{1} << 10;
  /// `delta_bytes` and `frame_bytes` are measured on each fourth block of values, those of texts on each sixteenth.
  static constexpr int64_t kNumberBlocksPerSample = 4, kTextBlocksPerSample = 16;

  explicit ColumnAnalyzer(std::shared_ptr<arrow::DataType> leaf_type);

  /// Runs go on from one array to the next. A dictionary may be another one each time; the last one is kept alive.
  /// Error: Corruption (an index outside its dictionary); what was counted before is then of no use.
  Status Add(const arrow::ArrayData& data);

  /// Of all that was added.
  ColumnAnalysis Analysis() const;

 private:
  static constexpr int64_t kLongRun = 8;  // Parquet keeps such runs of indexes as runs, shorter ones packed.

  enum class Kind : uint8_t { kNull, kBool, kFixed, kText, kDictionary, kOpaque };
  /// Values that were looked at, and the bytes they take.
  struct Sample {
    int64_t values = 0, bytes = 0;
    int64_t ScaledTo(int64_t all) const;
  };

  /// Taken into a local variable by loops, so that it stays in registers.
  struct RunCounter {
    int64_t runs = 0, longest = 0;
    int64_t open = 0, open_bytes = 0;            // Of the last run, with which the next array may go on; 0 bytes: it is of NULLs.
    int64_t long_runs = 0, long_run_values = 0;  // Of kLongRun values and more, not of NULLs.
    int64_t value_runs = 0, value_run_bytes = 0;  // Not of NULLs: their first values.
    int64_t value_bytes = 0;                      // Of all values, but for the open run's.

    void EndOpen() {
      const bool is_long = open >= kLongRun && open_bytes > 0;
      longest = open > longest ? open : longest;
      long_runs += is_long ? 1 : 0;
      long_run_values += is_long ? open : 0;
      value_bytes += open * open_bytes;
      open = open_bytes = 0;
    }
    void BeginValue(int64_t bytes) {
      ++value_runs;
      value_run_bytes += bytes;
      open_bytes = bytes;
    }
  };

  Status AddPiece(const arrow::ArrayData& piece);
  Status CountFixed(const arrow::ArrayData& piece);
  Status CountIndexes(const arrow::ArrayData& piece);
  template <typename Values>
  Status CountRuns(const Values& values, const arrow::ArrayData& piece);
  /// Takes runs that begin at the set bits of `starts`, of `count` values from `at`; those that are not NULL are set in `valid`.
  template <typename Values>
  Status TakeRuns(const Values& values, int64_t at, int64_t count, uint64_t starts, uint64_t valid, RunCounter* runs);
  template <typename Values>
  uint64_t HashOf(const Values& values, int64_t i) const;
  void CountNulls(int64_t nulls);
  Status TakeIndex(int64_t index, RunCounter* runs);
  void UseDictionary(const std::shared_ptr<arrow::ArrayData>& dictionary);
  void SampleNumbers(const arrow::ArrayData& piece);
  void SampleTexts(const arrow::ArrayData& piece);
  int64_t Scaled(int64_t counted) const;
  int64_t Cardinality() const;
  int64_t PlainBytes() const;
  int64_t IndexBytes(int64_t cardinality) const;

  const std::shared_ptr<arrow::DataType> type_;
  Kind kind_ = Kind::kOpaque;
  int64_t width_ = 0;  // Bytes of a value that has a width: kFixed, or a dictionary's. 0: texts.
  bool is_number_ = false;

  int64_t values_ = 0, nulls_ = 0, text_bytes_ = 0;
  int64_t looked_at_ = 0, looked_at_nulls_ = 0;
  RunCounter runs_;
  bool last_is_valid_ = false;
  uint64_t last_hash_ = 0;
  DistinctSketch distinct_;
  int64_t distinct_bytes_ = 0;  // While the sketch is exact.
  Sample delta_, frame_;

  std::shared_ptr<arrow::ArrayData> dictionary_;
  ByteValues dictionary_values_;
  std::vector<uint32_t> entries_;  // Of each value of the dictionary: its bytes << 1, and 1 once it has occurred.
  int64_t dictionaries_ = 0, used_count_ = 0, used_bytes_ = 0;
};

}  // namespace sheaf::columns
