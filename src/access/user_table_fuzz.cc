/// Files of users of whatever bytes: read or refused, never a crash; what is read is written and read again. The checksum is put
/// right, so that the fuzzer gets past it.

#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>

#include "access/user_table.h"
#include "core/check.h"
#include "core/crc32c.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::access;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)UserTable::Decode(bytes);
  const uint32_t crc = sheaf::Crc32c(std::as_bytes(std::span(data, size)));
  const auto table = UserTable::Decode(fmt::format("sheaf users 1 {:08x}\n{}", crc, bytes));
  if (!table.ok()) return 0;
  const std::string again = table->Encode();
  const auto read = UserTable::Decode(again);
  SHEAF_CHECK(read.ok() && read->Encode() == again);
  return 0;
}
