/// Who sends a request and what that lets them do. Allow() is the one place that decides, for every protocol.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/status.h"

namespace sheaf::access {

/// Each may do all that those before it may.
enum class Role : uint8_t { kReader, kWriter, kAdmin };

/// What a request does.
enum class Action : uint8_t {
  kRead,        // Rows, and the names and types of columns.
  kWrite,       // Adding, changing and removing rows.
  kDefine,      // Making, changing and removing tables, views and macros.
  kAdminister,  // Everything else: snapshots, the engine's own tables.
};

/// The engine's own tables; what they tell is for administrators of the whole database.
inline constexpr std::string_view kSystemSchema = "sheaf";

/// The roles of a user: one for the whole database, and one for each of some schemas. Where both are given, the higher counts. A
/// plain value; none at all: nothing is allowed.
struct Roles {
  std::optional<Role> everywhere;
  std::map<std::string, Role, std::less<>> in_schemas;  // By name, in lower case.

  /// In `schema`; empty: in the whole database.
  std::optional<Role> In(std::string_view schema) const;
  /// The highest that the user has anywhere.
  std::optional<Role> Highest() const;
  bool operator==(const Roles&) const = default;
};

/// "writer", "reader:otel", "reader,writer:main": role or role:schema, joined by commas. ParseRoles() reads what this writes.
std::string RolesText(const Roles& roles);
/// Errors: Invalid (an unknown role, a malformed schema, one that is named twice, one whose role adds nothing).
Result<Roles> ParseRoles(std::string_view text);

/// Whom a request was found to come from. A plain value.
struct Identity {
  std::string user;          // Empty: nobody in particular; there are no users.
  Roles roles;
  std::string peer;          // "127.0.0.1:5555"; for the audit log.
  bool by_password = false;  // Shown with this request, not a token.
};

/// Whoever asks while there are no users: everybody may do everything.
Identity Anyone(std::string peer);

/// OK where `identity` may do `action` in `schema`; empty: in the whole database. Error: Denied; says who may not do what, and which
/// role may. Thread-safe.
Status Allow(const Identity& identity, Action action, std::string_view schema = {});
/// OK where there is a schema in which `identity` may do `action`: for what is looked at more closely later. Error: as above.
Status AllowSomewhere(const Identity& identity, Action action);

const char* RoleName(Role role);        // "reader", "writer", "admin".
const char* ActionName(Action action);  // In the words of Allow(): "read", "write", "define tables, views or macros"…
/// The role of that name.
std::optional<Role> ParseRole(std::string_view name);

}  // namespace sheaf::access
