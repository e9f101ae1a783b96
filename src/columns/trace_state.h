/// What samplers note in a span's trace state (W3C `tracestate`), in OpenTelemetry's member: `ot=th:fd70a4;rv:0123456789abcd`.
/// Described in specification/trace/tracestate-handling.md. Pure functions, thread-safe.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sheaf::columns {

struct SamplingState {
  std::optional<uint64_t> threshold;   // th: that of the samplers so far; one to 14 hex digits, the first ones of 56 bits.
  std::optional<uint64_t> randomness;  // rv: the trace's random bits where they are not its id's; 14 hex digits.
};

/// Reads any text: what is malformed counts as absent. White space around members is left out; of a key that repeats, the last
/// counts.
SamplingState ReadSamplingState(std::string_view trace_state);

/// How many a record with such a trace state stands for (sampler.h): one where no sampler noted anything.
double AdjustedCount(const SamplingState& state);

/// Appends `trace_state` with another threshold, or with none. OpenTelemetry's member comes first, as W3C asks of a changed one;
/// what else it says, and the other members, stay as they are and in their order. (Its length and their number, which W3C limits
/// for the sake of headers, are not limited here.) Requires: *threshold < 2^56.
void WriteSamplingState(std::string_view trace_state, std::optional<uint64_t> threshold, std::string* out);

}  // namespace sheaf::columns
