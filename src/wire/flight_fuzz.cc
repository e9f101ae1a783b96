/// Property: no message of Flight or Flight SQL, however malformed, is read beyond its bytes; and what a reader takes of a
/// command that was written here is what was written.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "wire/flight_messages.h"
#include "wire/flight_sql_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::wire;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto descriptor = ReadFlightDescriptor(input);
  (void)ReadFlightData(input);
  (void)ReadFlightAction(input);
  (void)ReadFlightTickets(input);
  (void)ReadSessionOptions(input);
  (void)ReadFlightSqlStatement(input);
  (void)ReadFlightSqlTables(input);
  (void)ReadFlightSqlTable(input);
  (void)ReadFlightSqlIngest(input);
  (void)ReadSqlInfoNumbers(input);
  (void)ReadXdbcType(input);
  if (const auto first = ReadFirstBytes(input); first.ok()) SHEAF_CHECK(*ReadFirstBytes(EncodeFirstBytes(*first)) == *first);
  if (descriptor.ok()) {
    if (const auto message = ReadFlightSqlAny(descriptor->command)) {
      const std::string again = EncodeFlightSqlAny(message->name, message->value);
      const auto read = ReadFlightSqlAny(again);
      if (message->name.find('/') == std::string_view::npos) {
        SHEAF_CHECK(read && read->name == message->name && read->value == message->value);
      }
    }
  }
  return 0;
}
