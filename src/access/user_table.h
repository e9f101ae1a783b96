/// The users of a database, their password hashes and tokens, and the file `USERS` that keeps them. docs/formats/users.md
/// describes it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/identity.h"
#include "core/status.h"

namespace sheaf::access {

/// A bearer token, of which only the digest is kept.
struct Token {
  std::string id;          // Names it in lists and when it is revoked: 8 hex digits.
  std::string name;        // What it is for, in its maker's words.
  std::string digest;      // SHA-256 of the token's text; 32 bytes.
  int64_t created_ns = 0;  // Since 1970.
  int64_t expires_ns = 0;  // Since 1970; 0: never.
};

struct User {
  std::string name;
  Roles roles;
  std::string password;  // A PHC string; empty: logs in by tokens only.
  int64_t created_ns = 0;
  std::vector<Token> tokens;
};

inline constexpr size_t kUsersMax = 10'000, kTokensMax = 100, kUserNameBytesMax = 64, kTokenNameBytesMax = 128;
inline constexpr int64_t kUsersFileBytesMax = int64_t{64} << 20;

/// A plain value; users are in order of name.
class UserTable {
 public:
  /// Reads the file's bytes. Errors: Corruption (damaged; says where), Unsupported (a newer version).
  static Result<UserTable> Decode(std::string_view bytes);
  std::string Encode() const;

  const std::vector<User>& users() const { return users_; }
  /// Null where there is none. Valid until the table changes.
  const User* Find(std::string_view name) const;

  /// Errors: AlreadyExists, Invalid (the name, no role), TooLarge (too many users).
  Status Add(User user);
  /// Errors: NotFound; also that of those below.
  Status Remove(std::string_view name);
  Status SetRoles(std::string_view name, Roles roles);
  Status SetPassword(std::string_view name, std::string hash);
  /// TooLarge: the user has as many as there may be. Tokens that have expired at `now_ns` make room.
  Status AddToken(std::string_view name, Token token, int64_t now_ns);
  Status RemoveToken(std::string_view name, std::string_view id);

 private:
  Result<User*> FindOrFail(std::string_view name);
  std::vector<User> users_;
};

/// Letters, digits and `._@-`, at most 64, of which the first is a letter or digit: it stands in log lines and before a ':'.
/// Error: Invalid.
Status CheckUserName(std::string_view name);

}  // namespace sheaf::access
