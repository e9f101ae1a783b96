#include "columns/trace_state.h"

#include <algorithm>
#include <charconv>

#include "columns/sampler.h"
#include "core/check.h"

namespace sheaf::columns {
namespace {

constexpr std::string_view kKeptByTail = "sheaf=tail";
constexpr std::string_view kMember = "ot=", kThreshold = "th:", kRandomness = "rv:";

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Calls `each` with the items of a list, trimmed, without empty ones.
template <typename Each>
void ForEach(std::string_view list, char separator, const Each& each) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(separator), list.size());
    const std::string_view item = Trim(list.substr(0, end));
    if (!item.empty()) each(item);
    list.remove_prefix(std::min(end + 1, list.size()));
  }
}

/// The value of the first member that is OpenTelemetry's.
std::string_view ValueOf(std::string_view trace_state) {
  std::string_view value;
  bool found = false;
  ForEach(trace_state, ',', [&](std::string_view member) {
    if (found || !member.starts_with(kMember)) return;
    found = true;
    value = member.substr(kMember.size());
  });
  return value;
}

/// `digits` as the first ones of 14 in hex.
std::optional<uint64_t> ReadDigits(std::string_view digits) {
  if (digits.empty() || digits.size() > kSamplingDigitsMax) return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number << 4 * (kSamplingDigitsMax - digits.size());
}

void AppendDigits(uint64_t number, std::string* out) {
  for (int left = kSamplingDigitsMax; left > 0 && (number != 0 || left == kSamplingDigitsMax); --left) {
    out->push_back("0123456789abcdef"[number >> 4 * (kSamplingDigitsMax - 1) & 15]);
    number = number << 4 & (kSamplingRange - 1);
  }
}

}  // namespace

SamplingState ReadSamplingState(std::string_view trace_state) {
  SamplingState out;
  ForEach(ValueOf(trace_state), ';', [&](std::string_view item) {
    if (item.starts_with(kThreshold)) {
      if (const auto threshold = ReadDigits(item.substr(kThreshold.size()))) out.threshold = threshold;
    } else if (item.starts_with(kRandomness) && item.size() == kRandomness.size() + kSamplingDigitsMax) {
      if (const auto randomness = ReadDigits(item.substr(kRandomness.size()))) out.randomness = randomness;
    }
  });
  ForEach(trace_state, ',', [&](std::string_view member) { out.kept_by_tail = out.kept_by_tail || member == kKeptByTail; });
  return out;
}

double AdjustedCount(const SamplingState& state) {
  if (state.kept_by_tail) return 0;
  return state.threshold ? AdjustedCount(*state.threshold) : 1;
}

void WriteSamplingState(std::string_view trace_state, std::optional<uint64_t> threshold, std::string* out) {
  SHEAF_CHECK(!threshold || *threshold < kSamplingRange);
  const size_t start = out->size();
  const auto separate = [&](std::string_view with) { out->append(out->size() == start ? std::string_view() : with); };
  bool open = false;
  const auto item = [&] {
    out->append(open ? ";" : kMember);
    open = true;
  };
  ForEach(ValueOf(trace_state), ';', [&](std::string_view other) {
    if (other.starts_with(kThreshold)) return;
    item();
    out->append(other);
  });
  if (threshold) {
    item();
    out->append(kThreshold);
    AppendDigits(*threshold, out);
  }
  ForEach(trace_state, ',', [&](std::string_view member) {
    if (member.starts_with(kMember)) return;  // A second one is nobody's: keys are unique.
    separate(",");
    out->append(member);
  });
}

void WriteKeptByTail(std::string_view trace_state, std::string* out) {
  std::string rest;
  WriteSamplingState(trace_state, std::nullopt, &rest);
  out->append(kKeptByTail);
  ForEach(rest, ',', [&](std::string_view member) {
    if (member == kKeptByTail) return;
    out->append(",");
    out->append(member);
  });
}

}  // namespace sheaf::columns
