#include "access/user_table.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <span>
#include <utility>

#include <nlohmann/json.hpp>

#include "access/password.h"
#include "core/crc32c.h"
#include "core/hex.h"

namespace sheaf::access {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kMagic = "sheaf users ";
constexpr int kVersion = 1;

uint32_t Crc(std::string_view text) { return Crc32c(std::as_bytes(std::span(text.data(), text.size()))); }

/// Of a version that we know: "sheaf users 1 1a2b3c4d".
std::string HeadLine(std::string_view body) { return fmt::format("{}{} {:08x}", kMagic, kVersion, Crc(body)); }

Status Damaged(const std::string& what) {
  return MakeError(ErrorKind::kCorruption,
                   "the file of users is damaged: {}; put a copy of it back, or remove it and add the users anew", what);
}

Json ToJson(const Token& token) {
  return {{"id", token.id},
          {"name", token.name},
          {"sha256", ToHex(token.digest)},
          {"created_ns", token.created_ns},
          {"expires_ns", token.expires_ns}};
}

Json ToJson(const User& user) {
  Json tokens = Json::array();
  for (const Token& token : user.tokens) tokens.push_back(ToJson(token));
  return {{"name", user.name},
          {"role", RolesText(user.roles)},
          {"password", user.password},
          {"created_ns", user.created_ns},
          {"tokens", std::move(tokens)}};
}

/// Reads the members of one object; the first that is missing or of another type is noted.
class Members {
 public:
  Members(const Json& object, std::string what) : object_(object), what_(std::move(what)) {
    if (!object.is_object()) status_ = Damaged(what_ + " is no object");
  }
  std::string Text(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr || !value->is_string()) return Miss(key), std::string();
    return value->get<std::string>();
  }
  int64_t Number(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr || !value->is_number_integer()) return Miss(key), 0;
    return value->get<int64_t>();
  }
  const Json& Array(const char* key) {
    static const Json kEmpty = Json::array();
    const Json* value = Find(key);
    if (value == nullptr || !value->is_array()) return Miss(key), kEmpty;
    return *value;
  }
  void Require(bool holds, const char* key) {
    if (!holds) Miss(key);
  }
  const Status& status() const { return status_; }

 private:
  const Json* Find(const char* key) const {
    if (!status_.ok()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  void Miss(const char* key) {
    if (status_.ok()) status_ = Damaged(fmt::format("{} has no valid \"{}\"", what_, key));
  }
  const Json& object_;
  const std::string what_;
  Status status_;
};

Result<Token> ReadToken(const Json& json, const std::string& owner) {
  Members members(json, "a token of " + owner);
  Token token;
  token.id = members.Text("id");
  token.name = members.Text("name");
  token.digest = FromHex(members.Text("sha256")).value_or("");
  token.created_ns = members.Number("created_ns");
  token.expires_ns = members.Number("expires_ns");
  members.Require(!token.id.empty() && token.id.size() <= kUserNameBytesMax, "id");
  members.Require(token.name.size() <= kTokenNameBytesMax, "name");
  members.Require(token.digest.size() == 32, "sha256");
  SHEAF_RETURN_NOT_OK(members.status());
  return token;
}

Result<User> ReadUser(const Json& json) {
  Members members(json, "a user");
  User user;
  user.name = members.Text("name");
  members.Require(CheckUserName(user.name).ok(), "name");
  Result<Roles> roles = ParseRoles(members.Text("role"));
  members.Require(roles.ok(), "role");
  user.password = members.Text("password");
  members.Require(user.password.empty() || CheckPasswordHash(user.password).ok(), "password");
  user.created_ns = members.Number("created_ns");
  const Json& tokens = members.Array("tokens");
  members.Require(tokens.size() <= kTokensMax, "tokens");
  SHEAF_RETURN_NOT_OK(members.status());
  user.roles = std::move(*roles);
  for (const Json& token : tokens) {
    SHEAF_ASSIGN_OR_RETURN(user.tokens.emplace_back(), ReadToken(token, user.name));
  }
  return user;
}

Status CheckHasRole(const Roles& roles) {
  return roles.Highest() ? Status::OK()
                         : MakeError(ErrorKind::kInvalid, "a user has a role: reader, writer or admin, or one in a schema");
}

}  // namespace

Status CheckUserName(std::string_view name) {
  const auto is_plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  const auto fits = [&](char c) { return is_plain(c) || c == '.' || c == '_' || c == '@' || c == '-'; };
  if (!name.empty() && name.size() <= kUserNameBytesMax && is_plain(name[0]) && std::all_of(name.begin(), name.end(), fits))
    return Status::OK();
  return MakeError(ErrorKind::kInvalid, "a user's name has 1 to {} letters, digits and ._@-, and begins with a letter or digit",
                   kUserNameBytesMax);
}

Result<UserTable> UserTable::Decode(std::string_view bytes) {
  const size_t end = bytes.find('\n');
  if (end == std::string_view::npos || !bytes.starts_with(kMagic)) return Damaged("it does not begin with its kind and version");
  const std::string_view head = bytes.substr(0, end), body = bytes.substr(end + 1);
  int version = 0;
  const auto [after, error] = std::from_chars(head.data() + kMagic.size(), head.data() + head.size(), version);
  if (error != std::errc() || after == head.data() + head.size() || *after != ' ') return Damaged("its first line");
  if (version > kVersion) {
    return MakeError(ErrorKind::kUnsupported, "the file of users has version {}; this program reads up to {}: use a newer one",
                     version, kVersion);
  }
  if (head != HeadLine(body)) return Damaged("its checksum is another");
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) return Damaged("it is not JSON");
  Members members(json, "the file");
  const Json& users = members.Array("users");
  SHEAF_RETURN_NOT_OK(members.status());
  UserTable table;
  for (const Json& each : users) {
    SHEAF_ASSIGN_OR_RETURN(User user, ReadUser(each));
    if (const Status added = table.Add(std::move(user)); !added.ok()) return Damaged(added.message());
  }
  return table;
}

std::string UserTable::Encode() const {
  Json users = Json::array();
  for (const User& user : users_) users.push_back(ToJson(user));
  // Names of tokens come from command lines, in whatever encoding.
  const std::string body = Json({{"users", std::move(users)}}).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return HeadLine(body) + "\n" + body;
}

const User* UserTable::Find(std::string_view name) const {
  const auto at =
      std::lower_bound(users_.begin(), users_.end(), name, [](const User& user, std::string_view n) { return user.name < n; });
  return at == users_.end() || at->name != name ? nullptr : &*at;
}

Result<User*> UserTable::FindOrFail(std::string_view name) {
  if (const User* user = Find(name)) return const_cast<User*>(user);
  return MakeError(ErrorKind::kNotFound, "there is no user {}; `sheaf user list` shows who there is", name);
}

Status UserTable::Add(User user) {
  SHEAF_RETURN_NOT_OK(CheckUserName(user.name));
  SHEAF_RETURN_NOT_OK(CheckHasRole(user.roles));
  if (users_.size() >= kUsersMax) return MakeError(ErrorKind::kTooLarge, "there are {} users already", users_.size());
  const auto at =
      std::lower_bound(users_.begin(), users_.end(), user.name, [](const User& u, const std::string& n) { return u.name < n; });
  if (at != users_.end() && at->name == user.name)
    return MakeError(ErrorKind::kAlreadyExists, "there is a user {} already", user.name);
  users_.insert(at, std::move(user));
  return Status::OK();
}

Status UserTable::Remove(std::string_view name) {
  SHEAF_ASSIGN_OR_RETURN(const User* user, FindOrFail(name));
  users_.erase(users_.begin() + (user - users_.data()));
  return Status::OK();
}

Status UserTable::SetRoles(std::string_view name, Roles roles) {
  SHEAF_RETURN_NOT_OK(CheckHasRole(roles));
  SHEAF_ASSIGN_OR_RETURN(User * user, FindOrFail(name));
  user->roles = std::move(roles);
  return Status::OK();
}

Status UserTable::SetPassword(std::string_view name, std::string hash) {
  SHEAF_ASSIGN_OR_RETURN(User * user, FindOrFail(name));
  user->password = std::move(hash);
  return Status::OK();
}

Status UserTable::AddToken(std::string_view name, Token token, int64_t now_ns) {
  SHEAF_ASSIGN_OR_RETURN(User * user, FindOrFail(name));
  if (token.name.size() > kTokenNameBytesMax) {
    return MakeError(ErrorKind::kInvalid, "a token's name has at most {} bytes", kTokenNameBytesMax);
  }
  std::erase_if(user->tokens, [now_ns](const Token& each) { return each.expires_ns != 0 && each.expires_ns <= now_ns; });
  if (user->tokens.size() >= kTokensMax) {
    return MakeError(ErrorKind::kTooLarge, "user {} has {} tokens already; revoke one first", name, user->tokens.size());
  }
  user->tokens.push_back(std::move(token));
  return Status::OK();
}

Status UserTable::RemoveToken(std::string_view name, std::string_view id) {
  SHEAF_ASSIGN_OR_RETURN(User * user, FindOrFail(name));
  if (std::erase_if(user->tokens, [id](const Token& each) { return each.id == id; }) != 0) return Status::OK();
  return MakeError(ErrorKind::kNotFound, "user {} has no token {}; `sheaf user tokens {}` shows them", name, id, name);
}

}  // namespace sheaf::access
