/// Head sampling: which share of each service's spans goes into the log, decided span by span as OpenTelemetry's consistent
/// probability samplers do (columns/sampler.h), and noted in the spans' trace states, so that SQL can estimate totals.
///
/// It is an "equalizing downstream sampler" of the specification: what a sampler before this one noted (`th`) is respected, so
/// that a probability is never raised, and `rv` counts where it is there. A `th` that the span's random bits contradict is no
/// statement.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "core/status.h"

namespace sheaf::serve {

/// The rejection threshold of each service. Immutable, thread-safe.
class SamplingRules {
 public:
  static constexpr size_t kRulesMax = 10'000;

  /// Keeps all.
  SamplingRules() = default;
  /// `text`: the share that is kept of each service's spans, as `checkout = 0.5, "a, b" = 1, * = 0.1`; from 2^-56 to 1, or 0 for
  /// none.
  /// `*` is for services without a rule, whose spans are all kept where there is none. Thresholds are rounded to `digits` (1 to
  /// 14) hex digits. Error: Invalid (names the rule).
  static Result<SamplingRules> Parse(std::string_view text, int digits);

  /// Whether all spans are kept.
  bool empty() const { return others_ == 0 && of_service_.empty(); }
  uint64_t ThresholdOf(std::string_view service) const;

 private:
  std::map<std::string, uint64_t, std::less<>> of_service_;
  uint64_t others_ = 0;
};

/// What was decided of the spans of a batch.
struct SpanDecisions {
  std::vector<uint64_t> kept;        // A bit a span, bit i % 64 of number i / 64; those behind the last are 0.
  std::vector<uint64_t> thresholds;  // Of each span: what is to be noted if it is kept. 0: its trace state stays as it is.
  int64_t kept_count = 0;

  bool keeps(int64_t row) const { return (kept[static_cast<size_t>(row / 64)] >> (row % 64) & 1) != 0; }
};

/// Decides for `spans`, a batch of otel.traces (decode/schemas.h).
SpanDecisions DecideSpans(const SamplingRules& rules, const arrow::RecordBatch& spans);

/// The spans that are kept, or those that are not, as they came; null where there are none, and `spans` itself where all are.
/// Gathered ones may share dictionaries with `spans`. Errors: OutOfMemory, TooLarge.
Result<std::shared_ptr<arrow::RecordBatch>> TakeSpans(const SpanDecisions& decisions, bool kept,
                                                      const std::shared_ptr<arrow::RecordBatch>& spans, arrow::MemoryPool* pool);

/// The spans that are kept, with their trace states; null where none is. What is not changed shares the memory of `spans`, where
/// all are kept. Errors: OutOfMemory, TooLarge.
Result<std::shared_ptr<arrow::RecordBatch>> TakeKept(const SpanDecisions& decisions,
                                                     const std::shared_ptr<arrow::RecordBatch>& spans, arrow::MemoryPool* pool);

}  // namespace sheaf::serve
