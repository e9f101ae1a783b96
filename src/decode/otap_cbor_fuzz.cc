/// CBOR of whatever bytes to OTLP and back, and OTLP of whatever bytes to CBOR and back: refused, or the same after a round trip.
///
/// The first byte picks the way and the type; the rest is the value.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/check.h"
#include "decode/otap_cbor.h"

namespace {

using namespace sheaf::decode;

constexpr int kDepthMax = 32, kDepthOfWriter = 101;

void CheckRoundTrip(ValueType type, std::string_view otlp) {
  std::string cbor, again;
  bool exact = true;
  SHEAF_CHECK(OtlpToCbor(type, otlp, &cbor, &exact).ok());
  SHEAF_CHECK(CborToOtlp(type, cbor, kDepthMax, &again).ok());
  if (exact) SHEAF_CHECK(again == otlp);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const ValueType type = (data[0] & 1) != 0 ? ValueType::kArray : ValueType::kKvList;
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);  // In memory of its own.
  std::string out;
  if ((data[0] & 2) != 0) {
    if (CborToOtlp(type, bytes, kDepthMax, &out).ok()) CheckRoundTrip(type, out);
    return 0;
  }
  bool exact = true;
  if (!OtlpToCbor(type, bytes, &out, &exact).ok()) return 0;
  std::string otlp;
  SHEAF_CHECK(CborToOtlp(type, out, kDepthOfWriter, &otlp).ok());
  std::string once_more;
  bool still_exact = true;
  SHEAF_CHECK(OtlpToCbor(type, otlp, &once_more, &still_exact).ok());
  SHEAF_CHECK(still_exact && once_more == out);  // What was repaired or left out once is plain now.
  return 0;
}
