#include "access/identity.h"

#include <algorithm>
#include <utility>

namespace sheaf::access {
namespace {

constexpr size_t kSchemaNameBytesMax = 64;
constexpr size_t kRolesTextBytesMax = 4096;

Role LeastRoleFor(Action action) {
  switch (action) {
    case Action::kRead: return Role::kReader;
    case Action::kWrite: return Role::kWriter;
    case Action::kDefine:
    case Action::kAdminister: return Role::kAdmin;
  }
  return Role::kAdmin;
}

Status Denied(const Identity& identity, Action action, std::string_view schema, Role least, const char* where) {
  const std::string roles = RolesText(identity.roles);
  return MakeError(ErrorKind::kDenied, "user {} has the role {} and may not {}{}{}; that takes the role {}{}", identity.user,
                   roles.empty() ? "of nobody" : roles, ActionName(action), schema.empty() ? "" : " in the schema ", schema,
                   RoleName(least), where);
}

Status BadRoles(std::string_view what, std::string_view text) {
  return MakeError(ErrorKind::kInvalid,
                   "{} \"{}\": a role is reader, writer or admin, for one schema reader:SCHEMA, and several are joined by commas",
                   what, text);
}

bool IsSchemaName(std::string_view name) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && name.size() <= kSchemaNameBytesMax && std::all_of(name.begin(), name.end(), fits);
}

/// Takes over one of the words that commas part.
Status AddRole(std::string_view word, Roles* roles) {
  const size_t colon = word.find(':');
  const std::optional<Role> role = ParseRole(word.substr(0, colon));
  if (!role) return BadRoles("there is no role", word);
  if (colon == std::string_view::npos) {
    if (roles->everywhere) return BadRoles("two roles for the whole database, by", word);
    roles->everywhere = role;
    return Status::OK();
  }
  const std::string_view schema = word.substr(colon + 1);
  if (!IsSchemaName(schema)) return BadRoles("not the name of a schema in", word);
  if (schema == kSystemSchema) {
    return MakeError(ErrorKind::kInvalid, "the schema {} is for administrators of the whole database: give the role admin",
                     schema);
  }
  if (!roles->in_schemas.emplace(schema, *role).second) return BadRoles("two roles for one schema, by", word);
  return Status::OK();
}

}  // namespace

std::optional<Role> Roles::In(std::string_view schema) const {
  const auto found = in_schemas.find(schema);
  return found == in_schemas.end() ? everywhere : std::max(everywhere, std::optional<Role>(found->second));
}

std::optional<Role> Roles::Highest() const {
  std::optional<Role> highest = everywhere;
  for (const auto& [schema, role] : in_schemas) highest = std::max(highest, std::optional<Role>(role));
  return highest;
}

std::string RolesText(const Roles& roles) {
  std::string text = roles.everywhere ? RoleName(*roles.everywhere) : "";
  for (const auto& [schema, role] : roles.in_schemas) {
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", RoleName(role), schema);
  }
  return text;
}

Result<Roles> ParseRoles(std::string_view text) {
  if (text.size() > kRolesTextBytesMax) return BadRoles("more roles than there may be, from", text.substr(0, 64));
  Roles roles;
  for (std::string_view rest = text;;) {
    const size_t comma = std::min(rest.find(','), rest.size());
    SHEAF_RETURN_NOT_OK(AddRole(rest.substr(0, comma), &roles));
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  for (const auto& [schema, role] : roles.in_schemas) {
    if (roles.everywhere >= role) {
      return MakeError(ErrorKind::kInvalid, "{}:{} adds nothing to the role {} for the whole database: leave one of them away",
                       RoleName(role), schema, RoleName(*roles.everywhere));
    }
  }
  return roles;
}

Identity Anyone(std::string peer) {
  return {.user = "", .roles = {.everywhere = Role::kAdmin, .in_schemas = {}}, .peer = std::move(peer)};
}

Status Allow(const Identity& identity, Action action, std::string_view schema) {
  const bool system = schema == kSystemSchema;
  const Role least = system ? Role::kAdmin : LeastRoleFor(action);
  if (identity.roles.In(schema) >= least) return Status::OK();
  return Denied(identity, action, schema, least, schema.empty() || system ? " for the whole database" : "");
}

Status AllowSomewhere(const Identity& identity, Action action) {
  const Role least = LeastRoleFor(action);
  if (identity.roles.Highest() >= least) return Status::OK();
  return Denied(identity, action, {}, least, "");
}

const char* RoleName(Role role) {
  switch (role) {
    case Role::kReader: return "reader";
    case Role::kWriter: return "writer";
    case Role::kAdmin: return "admin";
  }
  return "unknown";
}

const char* ActionName(Action action) {
  switch (action) {
    case Action::kRead: return "read";
    case Action::kWrite: return "write";
    case Action::kDefine: return "define tables, views or macros";
    case Action::kAdminister: return "administer the server";
  }
  return "unknown";
}

std::optional<Role> ParseRole(std::string_view name) {
  for (const Role role : {Role::kReader, Role::kWriter, Role::kAdmin}) {
    if (name == RoleName(role)) return role;
  }
  return std::nullopt;
}

}  // namespace sheaf::access
