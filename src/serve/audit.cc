#include "serve/audit.h"

#include "core/log.h"
#include "serve/error_codes.h"

namespace sheaf::serve {
namespace {

constexpr size_t kSqlBytesMax = 500;

}  // namespace

void AuditStatement(const access::Identity* identity, std::string_view sql, bool defined, const Status& outcome) {
  if (identity == nullptr) return;
  const bool denied = !outcome.ok() && KindOf(outcome) == ErrorKind::kDenied;
  if (!denied && !(defined && outcome.ok())) return;
  const std::string text = ClientMessage(sql.substr(0, kSqlBytesMax));  // May be cut inside a character.
  if (denied) {
    LogWarn("audit.denied", {{"user", identity->user}, {"peer", identity->peer}, {"sql", text}, {"error", outcome.message()}});
  } else {
    LogInfo("audit.defined", {{"user", identity->user}, {"peer", identity->peer}, {"sql", text}});
  }
}

}  // namespace sheaf::serve
