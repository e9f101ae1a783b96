/// Authorization headers, password hashes and roles of whatever bytes: taken or refused, never a crash.

#include <cstdint>
#include <string_view>

#include "access/credentials.h"
#include "access/identity.h"
#include "access/password.h"
#include "access/user_file.h"
#include "core/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::access;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)ParseAuthorization(text);
  (void)CheckPasswordHash(text);  // Not verified: what it accepts may take a second.
  (void)LooksLikeToken(text);
  if (const auto roles = ParseRoles(text); roles.ok()) {
    const auto again = ParseRoles(RolesText(*roles));
    SHEAF_CHECK(again.ok() && *again == *roles);
  }
  return 0;
}
