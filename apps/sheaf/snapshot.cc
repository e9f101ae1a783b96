/// `sheaf snapshot`, `sheaf backup`, `sheaf restore`: copies of a database at one LSN, on disk, and back.

#include <charconv>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include <unistd.h>
#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "client/http_client.h"
#include "command.h"
#include "credentials.h"
#include "io/clock.h"
#include "io/posix.h"
#include "json_output.h"
#include "store/database.h"
#include "store/snapshots.h"

namespace sheaf::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Where {
  std::string data, url, id, to;
  bool json = false;
};

Json ToJson(const store::SnapshotInfo& info) {
  return {
      {"id", info.id}, {"lsn", info.lsn.value}, {"created_ns", info.created_ns}, {"parts", info.parts}, {"bytes", info.bytes}};
}

void PrintLine(const Json& info) {
  std::printf("%-36s  LSN %-12llu  %s  %lld parts, %lld bytes\n", info.value("id", "").c_str(),
              static_cast<unsigned long long>(info.value("lsn", uint64_t{0})),
              TimeText(info.value("created_ns", int64_t{0})).c_str(), static_cast<long long>(info.value("parts", int64_t{0})),
              static_cast<long long>(info.value("bytes", int64_t{0})));
}

/// What a server answers, as JSON.
Result<Json> Ask(const std::string& url, const std::string& method, const std::string& body) {
  SHEAF_ASSIGN_OR_RETURN(const client::Url parsed, client::ParseUrl(url));
  client::HttpClientOptions options;
  SHEAF_ASSIGN_OR_RETURN(options.authorization, Authorization());
  SHEAF_ASSIGN_OR_RETURN(const auto http, client::HttpClient::Make(parsed, options));
  SHEAF_ASSIGN_OR_RETURN(const client::HttpResponse answer,
                         http->Send({.method = method, .target = "/v1/snapshots", .body = body}));
  Json json = Json::parse(answer.body, nullptr, false);
  if (answer.status == 200 && !json.is_discarded()) return json;
  std::string reason = answer.body.substr(0, 300);
  if (json.is_object() && json.contains("error")) reason = json["error"].value("message", reason);
  return MakeError(ErrorKind::kInvalid, "{} answered {}: {}", url, answer.status, reason);
}

Result<Json> Create(const Where& where) {
  if (!where.url.empty()) return Ask(where.url, "POST", where.id.empty() ? "" : Json({{"id", where.id}}).dump());
  store::Options options;
  options.directory = where.data;
  options.snapshot_interval_ms = 0;
  SHEAF_ASSIGN_OR_RETURN(const auto database, store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
  SHEAF_ASSIGN_OR_RETURN(const store::SnapshotInfo made, database->CreateSnapshot(where.id));
  SHEAF_RETURN_NOT_OK(database->Close());
  return ToJson(made);
}

Result<Json> List(const Where& where) {
  if (!where.url.empty()) return Ask(where.url, "GET", "");
  SHEAF_ASSIGN_OR_RETURN(const auto all, store::ListSnapshots(io::PosixFileSystem(), where.data));
  Json list = Json::array();
  for (const store::SnapshotInfo& info : all) list.push_back(ToJson(info));
  return list;
}

int RunCreate(const Where& where) {
  const auto made = Create(where);
  if (!made.ok()) return Fail(made.status());
  where.json ? Print(*made) : PrintLine(*made);
  return kDone;
}

int RunList(const Where& where) {
  const auto list = List(where);
  if (!list.ok()) return Fail(list.status());
  if (where.json) {
    Print(*list);
    return kDone;
  }
  for (const Json& info : *list) PrintLine(info);
  return kDone;
}

int RunVerify(const Where& where) {
  const Status sound = store::VerifySnapshot(io::PosixFileSystem(), where.data, where.id);
  if (!sound.ok()) return Fail(sound);
  if (where.json) {
    Print({{"id", where.id}, {"ok", true}});
  } else {
    std::printf("snapshot %s is sound\n", where.id.c_str());
  }
  return kDone;
}

int RunDrop(const Where& where) {
  const Status dropped = store::RemoveSnapshot(io::PosixFileSystem(), where.data, where.id);
  return dropped.ok() ? kDone : Fail(dropped);
}

int RunRestore(const Where& where, const store::RestoreTarget& target) {
  const auto done = store::Restore(io::PosixFileSystem(), io::SystemClock(), where.data, where.id, where.to, target);
  if (!done.ok()) return Fail(WithContext(done.status(), "restoring to " + where.to));
  if (where.json) {
    Print({{"snapshot", done->snapshot}, {"lsn", done->lsn.value}, {"log_entries", done->entries}, {"directory", where.to}});
  } else {
    std::printf("%s is snapshot %s and %lld entries of the log: LSN %llu\n", where.to.c_str(), done->snapshot.c_str(),
                static_cast<long long>(done->entries), static_cast<unsigned long long>(done->lsn.value));
  }
  return kDone;
}

int RunBackup(const Where& where) {
  std::string id = where.id;
  if (id.empty()) {
    const auto all = store::ListSnapshots(io::PosixFileSystem(), where.data);
    if (!all.ok()) return Fail(all.status());
    if (all->empty()) {
      return Fail(MakeError(ErrorKind::kNotFound, "there is no snapshot in {}; make one by `sheaf snapshot create`", where.data));
    }
    id = all->back().id;
  }
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const auto done = store::Backup(io::PosixFileSystem(), where.data, id, where.to, [terminal](const store::BackupReport& so_far) {
    if (terminal) {
      std::fprintf(stderr, "\r\x1b[K%lld files, %lld bytes copied", static_cast<long long>(so_far.files),
                   static_cast<long long>(so_far.bytes_copied));
    }
  });
  if (terminal) std::fprintf(stderr, "\r\x1b[K");
  if (!done.ok()) return Fail(WithContext(done.status(), "backup to " + where.to));
  if (where.json) {
    Print({{"id", id}, {"files_copied", done->files_copied}, {"bytes_copied", done->bytes_copied}});
  } else {
    std::printf("snapshot %s is in %s: %lld files copied, %lld bytes\n", id.c_str(), where.to.c_str(),
                static_cast<long long>(done->files_copied), static_cast<long long>(done->bytes_copied));
  }
  return kDone;
}

/// Nanoseconds since 1970, or "2026-11-29T00:43:00Z" with or without a fraction.
std::optional<int64_t> ParseTime(const std::string& text) {
  int64_t ns = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ns);
  if (error == std::errc() && end == text.data() + text.size()) return ns;
  std::tm utc = {};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  if (rest == nullptr) return std::nullopt;
  ns = static_cast<int64_t>(::timegm(&utc)) * 1'000'000'000;
  if (*rest == '.') {
    int64_t unit = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) ns += (*rest - '0') * unit;
  }
  if (*rest == 'Z') ++rest;
  return *rest == '\0' ? std::optional(ns) : std::nullopt;
}

/// One of --data and --url must be there.
void AddPlace(CLI::App* command, Where* where) {
  auto* data = command->add_option("--data", where->data, "The data directory of a database that no server holds");
  auto* url = command->add_option("--url", where->url, "A running server, such as http://127.0.0.1:8080");
  data->excludes(url);
  command->callback([] {});
}

bool HasPlace(const Where& where) { return !where.data.empty() || !where.url.empty(); }

}  // namespace

void AddSnapshot(CLI::App* app, Action* chosen) {
  CLI::App* command = app->add_subcommand("snapshot", "Makes, lists, verifies, restores and drops snapshots on disk");
  command->require_subcommand(1);
  const auto Add = [&](const char* name, const char* what, int (*run)(const Where&), bool server, bool names_one) {
    auto where = std::make_shared<Where>();
    CLI::App* one = command->add_subcommand(name, what);
    if (names_one) one->add_option("ID", where->id, "The snapshot")->required();
    if (server) {
      AddPlace(one, where.get());
    } else {
      one->add_option("--data", where->data, "The data directory, or a backup")->required();
    }
    one->add_flag("--json", where->json, "Prints JSON");
    one->callback([chosen, where, run] {
      *chosen = [where, run] { return HasPlace(*where) ? run(*where) : Misused("say where: --data DIR or --url URL"); };
    });
    return std::pair(one, where);
  };
  const auto [create, create_where] = Add("create", "Makes a snapshot of all that is visible now", RunCreate, true, false);
  create->add_option("--id", create_where->id, "Its name; by default its time and LSN");
  Add("list", "Lists snapshots, oldest first", RunList, true, false);
  Add("verify", "Checks every checksum of a snapshot", RunVerify, false, true);
  Add("drop", "Removes a snapshot", RunDrop, false, true);
  const auto [restore, restore_where] =
      Add("restore", "Makes a database from a snapshot", [](const Where& where) { return RunRestore(where, {}); }, false, true);
  restore->add_option("--to", restore_where->to, "The new data directory")->required();
}

void AddBackup(CLI::App* app, Action* chosen) {
  auto where = std::make_shared<Where>();
  CLI::App* command = app->add_subcommand("backup", "Copies a snapshot to another folder; only what is not there yet");
  command->add_option("--data", where->data, "The data directory")->required();
  command->add_option("--to", where->to, "The folder of the backup")->required();
  command->add_option("--snapshot", where->id, "The snapshot; by default the newest");
  command->add_flag("--json", where->json, "Prints JSON");
  command->callback([chosen, where] { *chosen = [where] { return RunBackup(*where); }; });
}

void AddRestore(CLI::App* app, Action* chosen) {
  struct Options : Where {
    std::optional<uint64_t> lsn;
    std::string time;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand("restore", "Makes a database from a backup, up to an LSN or a time");
  command->add_option("--data", options->data, "The backup, or the data directory of a database that no server holds")
      ->required();
  command->add_option("--to", options->to, "The new data directory")->required();
  command->add_option("--snapshot", options->id, "Where to start; by default the newest snapshot before the target");
  auto* lsn = command->add_option("--lsn", options->lsn, "The last LSN that is to be there");
  command->add_option("--time", options->time, "Nothing that came later: 2026-11-29T00:43:00Z, or nanoseconds since 1970")
      ->excludes(lsn);
  command->add_flag("--json", options->json, "Prints JSON");
  command->callback([chosen, options] {
    *chosen = [options] {
      store::RestoreTarget target;
      if (options->lsn) target.lsn = Lsn(*options->lsn);
      if (!options->time.empty()) {
        target.time_ns = ParseTime(options->time);
        if (!target.time_ns) return Misused("--time takes 2026-11-29T00:43:00Z, or nanoseconds since 1970");
      }
      return RunRestore(*options, target);
    };
  });
}

}  // namespace sheaf::cli
