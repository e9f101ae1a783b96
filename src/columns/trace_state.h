/// What samplers note in a span's trace state (W3C `tracestate`), in OpenTelemetry's member: `ot=th:fd70a4;rv:0123456789abcd`.
/// Described in specification/trace/tracestate-handling.md. And, in a member of our own, that a span was kept for its trace's
/// sake: `sheaf=tail`. Pure functions, thread-safe.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sheaf::columns {

struct SamplingState {
  std::optional<uint64_t> threshold;   // th: that of the samplers so far; one to 14 hex digits, the first ones of 56 bits.
  std::optional<uint64_t> randomness;  // rv: the trace's random bits where they are not its id's; 14 hex digits.
  bool kept_by_tail = false;           // The spans that head sampling kept stand for this one, too.
};

/// Reads any text: what is malformed counts as absent. White space around members is left out; of a key that repeats, the last
/// counts.
SamplingState ReadSamplingState(std::string_view trace_state);

/// How many a record with such a trace state stands for (sampler.h): one where no sampler noted anything, none where it was kept
/// by tail sampling.
double AdjustedCount(const SamplingState& state);

/// Appends `trace_state` with another threshold, or with none. OpenTelemetry's member comes first, as W3C asks of a changed one;
/// what else it says, and the other members, stay as they are and in their order. (Its length and their number, which W3C limits
/// for the sake of headers, are not limited here.) Requires: *threshold < 2^56.
void WriteSamplingState(std::string_view trace_state, std::optional<uint64_t> threshold, std::string* out);

/// Appends `trace_state` with the mark of tail sampling and without a threshold, which would count the span.
void WriteKeptByTail(std::string_view trace_state, std::string* out);

}  // namespace sheaf::columns
