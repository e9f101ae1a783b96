/// Lets requests in: who sends it, whether that user's role may do what its path does, whether he has not too many of them. The
/// transport asks for every request of every protocol, before its handler.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "access/authenticator.h"
#include "access/identity.h"
#include "access/user_limits.h"
#include "core/status.h"
#include "io/clock.h"

namespace sheaf::serve {

/// What a request shows before its body is read.
struct GateRequest {
  std::string_view method, path;   // Of gRPC: POST and "/package.Service/Method".
  std::string_view authorization;  // The header's value; empty: none.
  std::string_view peer;           // "127.0.0.1:5555"
};

/// For one request that may come in.
struct Passage {
  std::shared_ptr<const access::Identity> identity;  // Never null.
  std::shared_ptr<void> place;  // Among the user's requests at once; to be held while it runs. Null: they are not counted.
};

enum class RefusalKind : uint8_t { kUnauthenticated, kDenied, kThrottled, kUnavailable };
struct Refusal {
  RefusalKind kind = RefusalKind::kUnauthenticated;
  std::string text;  // For people.
};
using Entry = std::variant<Passage, Refusal>;

/// What requests at a path do, as far as it tells.
struct PathRight {
  access::Action action = access::Action::kAdminister;
  std::string_view schema = {};  // Empty: in the whole database.
  bool anywhere = false;  // One schema is enough to come in: the handler asks CheckRight(), or the engine, when it knows which.
  bool operator==(const PathRight&) const = default;
};
/// Nothing: health, which everybody may ask for. Paths that it does not know are for administrators, so that one that was
/// forgotten is not open.
std::optional<PathRight> RightOfPath(std::string_view method, std::string_view path);

/// What handlers ask once they know more than the path. `identity` null: there is no gate, and everything is allowed. Denied,
/// which then stands in the audit log as well.
Status CheckRight(const access::Identity* identity, access::Action action, std::string_view schema = {});

/// Thread-safe. Borrows the authenticator and the clock.
class Gate {
 public:
  Gate(access::Authenticator* users, io::Clock* clock, const access::UserLimitOptions& limits)
      : users_(users), clock_(clock), limits_(limits) {}

  /// At once; nothing where a password must be hashed first: then ask Enter(), on a thread that may take some tens of ms.
  std::optional<Entry> TryEnter(const GateRequest& request);
  Entry Enter(const GateRequest& request);

 private:
  Entry Admit(const GateRequest& request, const PathRight& right, Result<access::Identity> found);

  access::Authenticator* const users_;
  io::Clock* const clock_;
  access::UserLimits limits_;
};

}  // namespace sheaf::serve
