/// Compressed messages of whatever bytes: inflated within the limits or refused, and the same in one piece as after a
/// round trip.
///
/// The first byte picks the encoding, and how much may come out; the rest is the message.

#include <cstdint>
#include <span>
#include <string>

#include "core/check.h"
#include "wire/compression.h"

namespace {

using sheaf::ErrorKind;
namespace wire = sheaf::wire;

std::string TextOf(const wire::ByteBuffer& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void CheckRoundTrip(wire::Encoding encoding, const std::string& text, const wire::InflateLimits& limits) {
  const auto compressed = wire::Compress(encoding, text);
  SHEAF_CHECK(compressed.ok());
  const auto again = wire::Inflate(encoding, std::as_bytes(std::span(*compressed)), limits);
  if (!again.ok()) {  // What was stuffed with empty blocks before is dense now: only the ratio may refuse it.
    SHEAF_CHECK(sheaf::KindOf(again.status()) == ErrorKind::kTooLarge);
    SHEAF_CHECK(static_cast<int64_t>(text.size()) > static_cast<int64_t>(compressed->size()) * limits.ratio_max);
    return;
  }
  SHEAF_CHECK(TextOf(*again) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto encoding = static_cast<wire::Encoding>(data[0] % 4);
  wire::InflateLimits limits;
  limits.bytes_max = int64_t{1} << (data[0] / 4 % 32);  // 1 byte to 2 GiB, which the ratio bounds.
  int64_t reserved = 0;
  const auto inflated = wire::Inflate(encoding, std::as_bytes(std::span(data + 1, size - 1)), limits, [&](int64_t bytes) {
    reserved = bytes;
    return bytes <= int64_t{64} << 20;
  });
  SHEAF_CHECK(reserved <= limits.bytes_max);
  if (!inflated.ok()) {
    const ErrorKind kind = sheaf::KindOf(inflated.status());
    SHEAF_CHECK(kind == ErrorKind::kInvalid || kind == ErrorKind::kTooLarge || kind == ErrorKind::kThrottled);
    return 0;
  }
  SHEAF_CHECK(static_cast<int64_t>(inflated->size()) <= limits.bytes_max);
  CheckRoundTrip(encoding, TextOf(*inflated), limits);
  return 0;
}
