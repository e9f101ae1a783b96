/// The file of users in a data directory: read by servers, changed by `sheaf user`, also while a server runs.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "access/user_table.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"

namespace sheaf::access {

/// Its name in the data directory. Changes hold a lock on this name and ".lock".
inline constexpr const char* kUsersFile = "USERS";

/// The bytes of the file; none where there is none. Errors: TooLarge, Io.
Result<std::optional<std::string>> ReadUsersFile(io::FileSystem* files, const std::string& directory);

/// What tells one state of the file from another without reading it whole: its size and its first line, which has the checksum.
/// Nothing where there is none. Error: Io.
Result<std::optional<std::string>> ReadUsersMark(io::FileSystem* files, const std::string& directory);
/// The same of its bytes.
std::string UsersMarkOf(std::string_view bytes);

/// The users; none where there is no file. Errors: those of UserTable::Decode() and ReadUsersFile().
Result<std::optional<UserTable>> ReadUsers(io::FileSystem* files, const std::string& directory);

/// Has `change` change the users, and writes them so that a crash leaves the old ones or the new. Makes directory and file where
/// there are none; the file gets the mode that the process gives new files, so set its umask. Errors: that of `change`, which
/// then changes nothing; Unavailable (somebody else is changing them); those of ReadUsers().
Status ChangeUsers(io::FileSystem* files, const std::string& directory, const std::function<Status(UserTable*)>& change);

/// A new token and what is kept of it. Only here its text is to be seen: "sheaf_" and 64 hex digits.
struct NewToken {
  std::string text;
  Token token;
};
/// `expires_ns` 0: never. Error: Internal (no randomness).
Result<NewToken> MakeToken(std::string name, int64_t now_ns, int64_t expires_ns);

/// What tokens begin with, so that they are known wherever they turn up.
inline constexpr std::string_view kTokenPrefix = "sheaf_";
/// Whether `text` has the form of a token.
bool LooksLikeToken(std::string_view text);

}  // namespace sheaf::access
