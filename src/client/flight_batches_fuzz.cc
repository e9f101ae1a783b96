/// Whatever a Flight server sends as rows: batches that are sound come out, or an error.
///
/// The input is a stream: messages (FlightData), each after its length in two bytes, little-endian.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "client/flight_batches.h"
#include "core/check.h"
#include "wire/flight_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  sheaf::client::FlightBatchReader reader;
  while (rest.size() >= 2) {
    const size_t length = static_cast<uint8_t>(rest[0]) | static_cast<size_t>(static_cast<uint8_t>(rest[1])) << 8;
    const auto message = sheaf::wire::ReadFlightData(rest.substr(2, length));
    if (!message.ok()) return 0;
    const auto batch = reader.Take(*message);
    if (!batch.ok()) return 0;
    SHEAF_CHECK(*batch == nullptr || ((*batch)->ValidateFull().ok() && reader.schema() != nullptr));
    rest.remove_prefix(std::min(rest.size(), 2 + length));
  }
  return 0;
}
