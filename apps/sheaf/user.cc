/// `sheaf user`: who may use a database, also while a server runs on it.

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <unistd.h>
#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "access/password.h"
#include "access/secret.h"
#include "access/user_file.h"
#include "command.h"
#include "core/log.h"
#include "io/clock.h"
#include "io/posix.h"
#include "json_output.h"

namespace sheaf::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kNever = 0;
constexpr std::string_view kSchemas[] = {"main", "otel", "trading", "memory"};

struct UserOptions {
  std::string data = "./sheaf-data", name, role, token_name, token_id, expires = "30d";
  bool password_stdin = false, json = false;
};

/// Only the owner may read the file of users, whatever the umask was.
Status Change(const UserOptions& options, const std::function<Status(access::UserTable*)>& change) {
  // A file of another owner could not be read by the server, which would keep the users that it knows.
  struct stat folder = {};
  if (::stat(options.data.c_str(), &folder) == 0 && folder.st_uid != ::geteuid()) {
    return MakeError(ErrorKind::kDenied, "{} belongs to the Unix user {}: run this as that user, whom the server runs as", options.data,
                     folder.st_uid);
  }
  ::umask(0077);
  return access::ChangeUsers(io::PosixFileSystem(), options.data, change);
}

/// Who did what to whom, for the log of whoever runs this.
void Audit(const char* what, const UserOptions& options) {
  LogInfo("audit.user_changed", {{"change", what}, {"user", options.name}, {"data", options.data}, {"by_uid", getuid()}});
}

int Done(const char* what, const UserOptions& options, const Status& changed) {
  if (!changed.ok()) return Fail(changed);
  Audit(what, options);
  if (options.json) Print({{"user", options.name}, {"change", what}});
  return kDone;
}

/// One line of standard input, hashed. An empty hash where none was asked for.
Result<std::string> PasswordHash(const UserOptions& options) {
  if (!options.password_stdin) return std::string();
  std::string password;
  if (!std::getline(std::cin, password)) return MakeError(ErrorKind::kInvalid, "there is no password on standard input");
  if (password.ends_with('\r')) password.pop_back();
  Result<std::string> hash = access::HashPassword(password);
  access::Wipe(&password);
  return hash;
}

/// A role for a schema that there is not would be one for nothing: mostly a slip of the pen.
Result<access::Roles> RolesOf(const UserOptions& options) {
  SHEAF_ASSIGN_OR_RETURN(access::Roles roles, access::ParseRoles(options.role));
  for (const auto& [schema, role] : roles.in_schemas) {
    if (std::find(std::begin(kSchemas), std::end(kSchemas), schema) == std::end(kSchemas)) {
      return MakeError(ErrorKind::kInvalid, "there is no schema {}; there are {}", schema, fmt::join(kSchemas, ", "));
    }
  }
  return roles;
}

int RunAdd(const UserOptions& options) {
  const auto roles = RolesOf(options);
  if (!roles.ok()) return Misused(roles.status().message());
  const auto hash = PasswordHash(options);
  if (!hash.ok()) return Fail(hash.status());
  const int64_t now = io::SystemClock()->NowNs();
  return Done("added", options, Change(options, [&](access::UserTable* table) {
                return table->Add({.name = options.name, .roles = *roles, .password = *hash, .created_ns = now, .tokens = {}});
              }));
}

int RunRemove(const UserOptions& options) {
  return Done("removed", options, Change(options, [&](access::UserTable* table) { return table->Remove(options.name); }));
}

int RunRole(const UserOptions& options) {
  const auto roles = RolesOf(options);
  if (!roles.ok()) return Misused(roles.status().message());
  return Done("role", options, Change(options, [&](access::UserTable* table) { return table->SetRoles(options.name, *roles); }));
}

int RunPassword(const UserOptions& options) {
  if (!options.password_stdin) return Misused("give --password-stdin, and the password on standard input");
  const auto hash = PasswordHash(options);
  if (!hash.ok()) return Fail(hash.status());
  return Done("password", options,
              Change(options, [&](access::UserTable* table) { return table->SetPassword(options.name, *hash); }));
}

Json ToJson(const access::Token& token) {
  return {{"id", token.id}, {"name", token.name}, {"created_ns", token.created_ns}, {"expires_ns", token.expires_ns}};
}

int RunList(const UserOptions& options) {
  const auto table = access::ReadUsers(io::PosixFileSystem(), options.data);
  if (!table.ok()) return Fail(table.status());
  Json list = Json::array();
  if (*table) {
    for (const access::User& user : (*table)->users()) {
      list.push_back({{"name", user.name},
                      {"role", access::RolesText(user.roles)},
                      {"password", !user.password.empty()},
                      {"tokens", user.tokens.size()},
                      {"created_ns", user.created_ns}});
    }
  }
  if (options.json) {
    Print(list);
    return kDone;
  }
  for (const Json& user : list) {
    std::printf("%-24s  %-24s  %-11s  %llu tokens\n", user["name"].get<std::string>().c_str(),
                user["role"].get<std::string>().c_str(), user["password"].get<bool>() ? "password" : "no password",
                static_cast<unsigned long long>(user["tokens"].get<size_t>()));
  }
  return kDone;
}

/// "90s", "15m", "12h", "30d" in nanoseconds; "never" is kNever. At most 100 years.
std::optional<int64_t> ParseLifetime(const std::string& text) {
  if (text == "never") return kNever;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end + 1 != text.data() + text.size() || number < 1) return std::nullopt;
  int64_t seconds = 0;
  switch (*end) {
    case 's': seconds = 1; break;
    case 'm': seconds = 60; break;
    case 'h': seconds = 3'600; break;
    case 'd': seconds = 86'400; break;
    default: return std::nullopt;
  }
  if (number > 36'500LL * 86'400 / seconds) return std::nullopt;
  return number * seconds * 1'000'000'000;
}

int RunToken(const UserOptions& options) {
  const std::optional<int64_t> lifetime = ParseLifetime(options.expires);
  if (!lifetime) return Misused("--expires takes a time such as 12h or 30d, at most 36500d, or never");
  const int64_t now = io::SystemClock()->NowNs();
  const auto made = access::MakeToken(options.token_name, now, *lifetime == kNever ? kNever : now + *lifetime);
  if (!made.ok()) return Fail(made.status());
  const Status added = Change(options, [&](access::UserTable* table) { return table->AddToken(options.name, made->token, now); });
  if (!added.ok()) return Fail(added);
  Audit("token", options);
  if (options.json) {
    Json json = ToJson(made->token);
    json["token"] = made->text;
    Print(json);
  } else {
    std::printf("%s\n", made->text.c_str());
  }
  return kDone;
}

int RunTokenList(const UserOptions& options) {
  const auto table = access::ReadUsers(io::PosixFileSystem(), options.data);
  if (!table.ok()) return Fail(table.status());
  const access::User* const user = *table ? (*table)->Find(options.name) : nullptr;
  if (user == nullptr) return Fail(MakeError(ErrorKind::kNotFound, "there is no user {} in {}", options.name, options.data));
  if (options.json) {
    Json list = Json::array();
    for (const access::Token& token : user->tokens) list.push_back(ToJson(token));
    Print(list);
    return kDone;
  }
  for (const access::Token& token : user->tokens) {
    std::printf("%s  %s  %s  %s\n", token.id.c_str(), TimeText(token.created_ns).c_str(),
                token.expires_ns == kNever ? "never" : TimeText(token.expires_ns).c_str(), token.name.c_str());
  }
  return kDone;
}

int RunTokenRevoke(const UserOptions& options) {
  return Done("token revoked", options,
              Change(options, [&](access::UserTable* table) { return table->RemoveToken(options.name, options.token_id); }));
}

}  // namespace

void AddUser(CLI::App* app, Action* chosen) {
  CLI::App* command = app->add_subcommand("user", "Adds, shows, changes and removes users of a database and their tokens");
  command->require_subcommand(1);
  const auto Add = [chosen](CLI::App* parent, const char* name, const char* what, int (*run)(const UserOptions&),
                            bool names_one) {
    auto options = std::make_shared<UserOptions>();
    CLI::App* one = parent->add_subcommand(name, what);
    if (names_one) one->add_option("NAME", options->name, "The user")->required();
    one->add_option("--data", options->data, "Directory of the database (default ./sheaf-data); a server may run on it")
        ->type_name("DIR");
    one->add_flag("--json", options->json, "Prints JSON");
    one->callback([chosen, options, run] { *chosen = [options, run] { return run(*options); }; });
    return std::pair(one, options);
  };
  const auto AddRole = [](CLI::App* one, UserOptions* options) {
    one->add_option("--role", options->role, "reader, writer or admin; for one schema reader:SCHEMA; several joined by commas")
        ->required();
  };
  const auto AddStdin = [](CLI::App* one, UserOptions* options) {
    one->add_flag("--password-stdin", options->password_stdin, "Reads the password from standard input, one line");
  };
  const auto [add, add_options] =
      Add(command, "add", "Adds a user; without --password-stdin it logs in by tokens only", RunAdd, true);
  AddRole(add, add_options.get());
  AddStdin(add, add_options.get());
  Add(command, "list", "Lists the users", RunList, false);
  Add(command, "remove", "Removes a user with its tokens", RunRemove, true);
  const auto [role, role_options] = Add(command, "role", "Gives a user another role", RunRole, true);
  AddRole(role, role_options.get());
  const auto [password, password_options] = Add(command, "password", "Gives a user another password", RunPassword, true);
  AddStdin(password, password_options.get());
  const auto [token, token_options] = Add(command, "token", "Makes a token and prints it, this once", RunToken, true);
  token->add_option("--expires", token_options->expires, "When: 12h, 30d, never (default 30d)");
  token->add_option("--name", token_options->token_name, "What it is for");
  Add(command, "tokens", "Lists a user's tokens, without what they are", RunTokenList, true);
  const auto [revoke, revoke_options] = Add(command, "revoke", "Revokes a token", RunTokenRevoke, true);
  revoke->add_option("ID", revoke_options->token_id, "As `sheaf user tokens NAME` shows it")->required();
}

}  // namespace sheaf::cli
