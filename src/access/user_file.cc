#include "access/user_file.h"

#include <span>
#include <utility>

#include "access/secret.h"
#include "core/hex.h"

namespace sheaf::access {
namespace {

constexpr size_t kTokenBytes = 32, kTokenIdBytes = 4;
constexpr size_t kHeadBytes = 32;  // The first line has fewer.

}  // namespace

Result<std::optional<std::string>> ReadUsersFile(io::FileSystem* files, const std::string& directory) {
  const auto bytes = io::ReadFile(files, io::Join(directory, kUsersFile), kUsersFileBytesMax);
  if (bytes.ok()) return std::optional<std::string>((*bytes)->ToString());
  if (KindOf(bytes.status()) == ErrorKind::kNotFound) return std::optional<std::string>();
  return bytes.status();
}

std::string UsersMarkOf(std::string_view bytes) { return fmt::format("{} {}", bytes.size(), bytes.substr(0, kHeadBytes)); }

Result<std::optional<std::string>> ReadUsersMark(io::FileSystem* files, const std::string& directory) {
  const auto opened = files->Open(io::Join(directory, kUsersFile), io::OpenMode::kRead);
  if (!opened.ok() && KindOf(opened.status()) == ErrorKind::kNotFound) return std::optional<std::string>();
  SHEAF_RETURN_NOT_OK(opened.status());
  SHEAF_ASSIGN_OR_RETURN(const int64_t size, (*opened)->Size());
  std::string head(kHeadBytes, '\0');
  SHEAF_ASSIGN_OR_RETURN(const int64_t got, (*opened)->ReadAt(0, std::as_writable_bytes(std::span(head))));
  head.resize(static_cast<size_t>(got));
  return std::optional(fmt::format("{} {}", size, head));
}

Result<std::optional<UserTable>> ReadUsers(io::FileSystem* files, const std::string& directory) {
  SHEAF_ASSIGN_OR_RETURN(const std::optional<std::string> bytes, ReadUsersFile(files, directory));
  if (!bytes) return std::optional<UserTable>();
  Result<UserTable> table = UserTable::Decode(*bytes);
  if (!table.ok()) return WithContext(table.status(), io::Join(directory, kUsersFile));
  return std::optional<UserTable>(std::move(*table));
}

Status ChangeUsers(io::FileSystem* files, const std::string& directory, const std::function<Status(UserTable*)>& change) {
  SHEAF_RETURN_NOT_OK(files->MakeDirectories(directory));
  const std::string path = io::Join(directory, kUsersFile);
  SHEAF_ASSIGN_OR_RETURN(const auto lock, files->Lock(path + ".lock"));
  SHEAF_ASSIGN_OR_RETURN(std::optional<UserTable> table, ReadUsers(files, directory));
  if (!table) table.emplace();
  SHEAF_RETURN_NOT_OK(change(&*table));
  const std::string bytes = table->Encode();
  if (std::ssize(bytes) > kUsersFileBytesMax) {
    return MakeError(ErrorKind::kTooLarge, "{} would have {} bytes, and may have {}: revoke tokens first", path, bytes.size(),
                     kUsersFileBytesMax);
  }
  return io::WriteFileAtomically(files, path, std::as_bytes(std::span(bytes.data(), bytes.size())));
}

Result<NewToken> MakeToken(std::string name, int64_t now_ns, int64_t expires_ns) {
  SHEAF_ASSIGN_OR_RETURN(std::string secret, RandomBytes(kTokenBytes));
  SHEAF_ASSIGN_OR_RETURN(const std::string id, RandomBytes(kTokenIdBytes));
  NewToken made;
  made.text = std::string(kTokenPrefix) + ToHex(secret);
  Wipe(&secret);
  made.token = {
      .id = ToHex(id), .name = std::move(name), .digest = Sha256(made.text), .created_ns = now_ns, .expires_ns = expires_ns};
  return made;
}

bool LooksLikeToken(std::string_view text) {
  return text.size() == kTokenPrefix.size() + 2 * kTokenBytes && text.starts_with(kTokenPrefix) &&
         FromHex(text.substr(kTokenPrefix.size())).has_value();
}

}  // namespace sheaf::access
