// Hostile trace states. Promise: any text is read; what is written is read back, whatever stood there before, keeps the random
// bits and loses none of what others say; writing again changes nothing.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "columns/sampler.h"
#include "columns/trace_state.h"
#include "core/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sheaf::columns::ReadSamplingState;
  using sheaf::columns::WriteSamplingState;
  uint64_t threshold = 0;
  if (size < sizeof threshold) return 0;
  std::memcpy(&threshold, data, sizeof threshold);
  threshold %= sheaf::columns::kSamplingRange;
  const std::string_view text(reinterpret_cast<const char*>(data) + sizeof threshold, size - sizeof threshold);

  const auto before = ReadSamplingState(text);
  std::string with, again, without;
  WriteSamplingState(text, threshold, &with);
  const auto after = ReadSamplingState(with);
  SHEAF_CHECK(after.threshold == threshold && after.randomness == before.randomness);
  WriteSamplingState(with, threshold, &again);
  SHEAF_CHECK(again == with);
  WriteSamplingState(text, std::nullopt, &without);
  SHEAF_CHECK(!ReadSamplingState(without).threshold && ReadSamplingState(without).randomness == before.randomness);
  std::string tail;
  sheaf::columns::WriteKeptByTail(text, &tail);
  const auto kept = ReadSamplingState(tail);
  SHEAF_CHECK(kept.kept_by_tail && !kept.threshold && kept.randomness == before.randomness && AdjustedCount(kept) == 0);
  SHEAF_CHECK(without.size() <= text.size() && with.size() <= without.size() + sizeof "ot=th:0123456789abcd,");
  return 0;
}
