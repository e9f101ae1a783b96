/// Property: no stream of Flight messages, however malformed, reads beyond its bytes or takes more memory than it may; and
/// tickets that strangers make up are refused or read.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "core/memory.h"
#include "serve/flight_batches.h"
#include "serve/flight_queries.h"

/// Messages follow one another: the lengths of header and body, two bytes each, and these.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)serve::DecodeTicket(input);
  TrackingPool pool("fuzz", 16 << 20);
  {
    serve::FlightBatchReader reader(&pool);
    while (input.size() > 4) {
      const size_t header = static_cast<uint8_t>(input[0]) | static_cast<size_t>(static_cast<uint8_t>(input[1])) << 8;
      const size_t body = static_cast<uint8_t>(input[2]) | static_cast<size_t>(static_cast<uint8_t>(input[3])) << 8;
      input.remove_prefix(4);
      wire::FlightData message;
      message.header = input.substr(0, header);
      input.remove_prefix(message.header.size());
      message.body = input.substr(0, body);
      input.remove_prefix(message.body.size());
      const auto batch = reader.Take(message);
      if (!batch.ok()) break;
      if (*batch != nullptr) SHEAF_CHECK((*batch)->ValidateFull().ok());
    }
  }
  SHEAF_CHECK(pool.bytes_allocated() == 0);
  return 0;
}
