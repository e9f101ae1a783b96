/// Consistent probability sampling of traces as OpenTelemetry specifies it
/// (specification/trace/tracestate-probability-sampling.md): every process that sees a trace decides alike, and what is kept at
/// one probability is kept at every higher one.
///
/// A trace has 56 random bits: the low ones of its id, or those that its trace state gives (trace_state.h). It is kept where they
/// are at least the rejection threshold, (1 - probability) * 2^56. What was kept with threshold T stands for 2^56 / (2^56 - T) of
/// its kind. Pure functions, thread-safe.

#pragma once

#include <cstdint>

namespace sheaf::columns {

inline constexpr uint64_t kSamplingRange = uint64_t{1} << 56;  // As a threshold: keeps none.
inline constexpr int kSamplingDigitsMax = 14;                  // Of a threshold, in hex.

/// The threshold of `probability`, from 0 (keeps all) to kSamplingRange, rounded to `digits` hex digits, so that it is short in a
/// trace state: the ones that follow leading digits 0 or f, which the extremes have, count. Bit for bit that of the
/// specification. Requires: probability from 0 to 1, digits from 1 to kSamplingDigitsMax. (The specification knows no
/// probabilities below 2^-56.)
uint64_t SamplingThreshold(double probability, int digits = kSamplingDigitsMax);

/// How many a record stands for that was kept with this threshold; 0 for kSamplingRange, which keeps none.
double AdjustedCount(uint64_t threshold);

/// The random bits of a trace id of 16 bytes.
inline uint64_t TraceRandomness(const uint8_t* id) {
  uint64_t bits = 0;
  for (int i = 9; i < 16; ++i) bits = bits << 8 | id[i];
  return bits;
}

/// How ids lie: as their 16 bytes, or as numbers of 128 bits, low half first.
enum class TraceIdOrder : uint8_t { kBytes, kNumbers };

/// Decides for `rows` ids, 16 bytes each, at once: bit i % 64 of kept[i / 64] tells whether id i is kept. Bits behind the last
/// are 0. Every instruction set decides alike.
void SampleTraces(TraceIdOrder order, const uint8_t* ids, int64_t rows, uint64_t threshold, uint64_t* kept);
/// With a threshold for each id.
void SampleTraces(TraceIdOrder order, const uint8_t* ids, int64_t rows, const uint64_t* thresholds, uint64_t* kept);

}  // namespace sheaf::columns
