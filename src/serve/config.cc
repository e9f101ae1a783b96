#include "serve/config.h"

// toml++ 3.3 finds some malformed files by its assertions only (`[ = 1`): they must not end the program.
namespace sheaf::serve {
struct TomlAssertion {};
}  // namespace sheaf::serve
#define TOML_EXCEPTIONS 1
#define TOML_ASSERT(expr) ((expr) ? void() : throw sheaf::serve::TomlAssertion())
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <variant>

#include "serve/head_sampler.h"
#include "serve/http_heads.h"

namespace sheaf::serve {
namespace {

enum class Unit { kNone, kBytes, kMs, kChoice };

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kDay = 86'400'000;
constexpr int kCpusMax = 1024;

using Place = std::variant<std::string* (*)(Config*), int64_t* (*)(Config*), double* (*)(Config*)>;

/// One setting: where it lives, what it may be, and why one would change it.
struct Setting {
  std::string_view key;  // section.name
  Place place;
  Unit unit;
  double min, max;           // Of numbers.
  std::string_view choices;  // Of texts with a choice, separated by spaces.
  std::string_view why;
};

Setting Text(std::string_view key, std::string* (*place)(Config*), std::string_view why) {
  return {key, place, Unit::kNone, 0, 0, "", why};
}
Setting Choice(std::string_view key, std::string* (*place)(Config*), std::string_view choices, std::string_view why) {
  return {key, place, Unit::kChoice, 0, 0, choices, why};
}
Setting Number(std::string_view key, int64_t* (*place)(Config*), Unit unit, int64_t min, int64_t max, std::string_view why) {
  return {key, place, unit, static_cast<double>(min), static_cast<double>(max), "", why};
}

#define SHEAF_PLACE(member) [](Config* c) { return &c->member; }

std::vector<Setting> ServerAndStorageSettings() {
  return {
      Text("server.bind", SHEAF_PLACE(server.bind),
           "Address that every port listens on. One that is not loopback needs users and TLS, or `tls.client_ca`."),
      Number("server.port_otlp_grpc", SHEAF_PLACE(server.port_otlp_grpc), Unit::kNone, 0, 65535,
             "OTLP over gRPC. 0 picks a free port."),
      Number("server.port_otlp_http", SHEAF_PLACE(server.port_otlp_http), Unit::kNone, 0, 65535,
             "OTLP over HTTP. 0 picks a free port."),
      Number("server.port_flight", SHEAF_PLACE(server.port_flight), Unit::kNone, 0, 65535,
             "Arrow Flight and Flight SQL. 0 picks a free port."),
      Number("server.port_http", SHEAF_PLACE(server.port_http), Unit::kNone, 0, 65535,
             "SQL, metrics, health. 0 picks a free port."),
      Number("server.io_threads", SHEAF_PLACE(server.io_threads), Unit::kNone, 1, 256,
             "Threads that move bytes of connections. More when one of them is busy all the time."),
      Number("server.worker_threads", SHEAF_PLACE(server.worker_threads), Unit::kNone, 1, 256,
             "Threads that decode and log requests. About one a core that ingest may use."),
      Text("server.cpus", SHEAF_PLACE(server.cpus),
           "Processors that this process may use, as `0-3,8`. Where it shares a machine, or should stay on one memory node. "
           "Empty: all."),
      Number("server.stop_grace_ms", SHEAF_PLACE(server.stop_grace_ms), Unit::kMs, 0, 60'000,
             "How long running requests may finish when the server stops, before connections are closed."),

      Text("storage.data", SHEAF_PLACE(storage.data),
           "Directory of the database; made when missing, held by one process at a time."),
      Number("storage.memtable_bytes", SHEAF_PLACE(storage.memtable_bytes), Unit::kBytes, 1 << 20, int64_t{16} << 30,
             "A table's recent rows become a part at this size. Larger: fewer, larger parts, more memory, longer recovery."),
      Number("storage.seal_age_ms", SHEAF_PLACE(storage.seal_age_ms), Unit::kMs, 100, kDay,
             "Or when the oldest of them is this old. Shorter: less to recover after a crash, smaller parts."),
      Number("storage.ingest_memory_bytes", SHEAF_PLACE(storage.ingest_memory_bytes), Unit::kBytes, 4 << 20, int64_t{1} << 40,
             "Recent rows of all tables, those being sealed included. Beyond, senders are told to come back later."),
      Number("storage.cold_after_ms", SHEAF_PLACE(storage.cold_after_ms), Unit::kMs, 0, 3650 * kDay,
             "Parts older than this are rewritten as Parquet: much smaller, a little slower to read."),
      Number("storage.retention_ms", SHEAF_PLACE(storage.retention_ms), Unit::kMs, -1, 36'500 * kDay,
             "How long the otel tables keep rows; set at every start. 0 keeps them for ever, -1 leaves each table as it was."),
      Number("storage.log_segment_bytes", SHEAF_PLACE(storage.log_segment_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 30,
             "Size of a file of the write-ahead log. Larger: fewer files, space comes back in larger steps."),
      Number("storage.log_queue_bytes", SHEAF_PLACE(storage.log_queue_bytes), Unit::kBytes, 1 << 20, int64_t{16} << 30,
             "Batches that wait for the disk. Beyond, senders are told to come back later."),
      Number("storage.buffered_sync_ms", SHEAF_PLACE(storage.buffered_sync_ms), Unit::kMs, 1, 60'000,
             "What tables with durability 'buffered' may lose in a crash. Longer: fewer syncs."),
      Number("storage.granule_cache_bytes", SHEAF_PLACE(storage.granule_cache_bytes), Unit::kBytes, 0, int64_t{1} << 40,
             "Decoded pieces of Parquet parts, for look-ups by key. Larger where old rows are read by key."),
      Number("storage.compaction_memory_bytes", SHEAF_PLACE(storage.compaction_memory_bytes), Unit::kBytes, 16 << 20,
             int64_t{1} << 40,
             "Rows in memory while parts are merged. A merge that needs more gives up and is tried again later."),
      {"storage.compaction_cpu_share", SHEAF_PLACE(storage.compaction_cpu_share), Unit::kNone, 0.01, 1, "",
       "Share of all cores that merging parts of keyed tables may use while writers need not wait for it."},
      Number("storage.scrub_interval_ms", SHEAF_PLACE(storage.scrub_interval_ms), Unit::kMs, 0, 3650 * kDay,
             "Each part is read and its checksums are checked this often: damage is found before somebody needs the part. 0: "
             "never."),
      Number("storage.scrub_bytes_per_second", SHEAF_PLACE(storage.scrub_bytes_per_second), Unit::kBytes, 1 << 16,
             int64_t{1} << 40, "How fast that reads. Slower than this where the disk is."),
      Number("storage.snapshot_interval_ms", SHEAF_PLACE(storage.snapshot_interval_ms), Unit::kMs, 0, 365 * kDay,
             "A snapshot on disk is made this often, if something was written. 0: never."),
      Number("storage.snapshots_kept", SHEAF_PLACE(storage.snapshots_kept), Unit::kNone, 1, 10'000,
             "How many of these are kept. Each keeps the files that it shares with nobody."),
      Choice("storage.archive_log", SHEAF_PLACE(storage.archive_log), "off on",
             "Keep the log behind the oldest snapshot, so that `sheaf restore` can go to any LSN or time after it."),
      Choice("storage.log_direct_io", SHEAF_PLACE(storage.log_direct_io), "off on",
             "Write the log past the page cache. Where a busy log pushes pages that queries need out of memory; costs a copy."),
      Number(
          "storage.log_cpu", SHEAF_PLACE(storage.log_cpu), Unit::kNone, -1, kCpusMax - 1,
          "Processor that the log's thread is bound to. Where many processors are busy and each durable write counts; -1: none."),
      {"storage.free_space_min_fraction", SHEAF_PLACE(storage.free_space_min_fraction), Unit::kNone, 0, 0.9, "",
       "Below this share of free disk new data is refused, so that sealing and compaction can still write."},
  };
}

std::vector<Setting> IngestSettings() {
  return {
      Number("ingest.batch_latency_ms", SHEAF_PLACE(ingest.batch_latency_ms), Unit::kMs, 0, 1'000,
             "Longest that a small OTLP request may take until it is in the log's queue, where it waits for others to be decoded and "
             "logged with it. On an idle server none waits. 0: requests are not joined."),
      Number("ingest.batch_bytes", SHEAF_PLACE(ingest.batch_bytes), Unit::kBytes, 1 << 10, 16 << 20,
             "Requests that are joined hold at most so much together; those above half of it are not joined."),

      Text("sampling.traces", SHEAF_PLACE(sampling.traces),
           "Share of each service's spans that is kept, as `checkout = 0.5, * = 0.1` (see Sampling). Empty: all."),
      Number("sampling.precision_digits", SHEAF_PLACE(sampling.precision_digits), Unit::kNone, 1, 14,
             "Hex digits of the thresholds that are noted in trace states. More: shares that are exact to more places, longer "
             "states."),
      Choice("sampling.keep_errors", SHEAF_PLACE(sampling.keep_errors), "off on",
             "Keep traces with an error whole, whatever their services' shares are (see Sampling)."),
      Number("sampling.keep_slow_ms", SHEAF_PLACE(sampling.keep_slow_ms), Unit::kMs, 0, kDay,
             "Keep traces whole that have a span of at least this length. 0: none for that."),
      Number("sampling.window_ms", SHEAF_PLACE(sampling.window_ms), Unit::kMs, 100, 600'000,
             "How long spans that are not kept wait in memory for an error or slowness of their trace. Longer where traces take "
             "longer."),
      Number("sampling.window_bytes", SHEAF_PLACE(sampling.window_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 40,
             "Memory of those that wait. Beyond, the oldest are given up (`sheaf_tail_sampling_spilled_rows_total`)."),
  };
}

std::vector<Setting> QueryAndLimitSettings() {
  return {
      Choice("query.profile", SHEAF_PLACE(query.profile), "recommended large low-latency",
             "Defaults of the settings below, for what the server is there for (see Profiles). One that is given itself counts."),
      Number("query.threads", SHEAF_PLACE(query.threads), Unit::kNone, 0, 1024,
             "Threads of all statements together. 0: one a core."),
      Number("query.memory_bytes", SHEAF_PLACE(query.memory_bytes), Unit::kBytes, 16 << 20, int64_t{1} << 44,
             "Memory of all statements together; beyond, they spill to `query.temp_directory`."),
      Text("query.temp_directory", SHEAF_PLACE(query.temp_directory),
           "Where statements spill. Empty: `tmp` in the data directory."),
      Number("query.temp_bytes", SHEAF_PLACE(query.temp_bytes), Unit::kBytes, 0, int64_t{1} << 50, "How much they may spill."),
      Number("query.timeout_ms", SHEAF_PLACE(query.timeout_ms), Unit::kMs, 0, kDay,
             "Longest time of a statement; a request may ask for less. 0: none."),
      Number("query.concurrent_max", SHEAF_PLACE(query.concurrent_max), Unit::kNone, 1, 1024,
             "Statements at once. Others wait for their turn; when as many wait as run, more get 429. Look-ups by id or key "
             "have a quarter as many places of their own."),
      Number("query.sql_bytes", SHEAF_PLACE(query.sql_bytes), Unit::kBytes, 1 << 10, 64 << 20, "Longest statement."),
      Number("query.read_ahead_granules", SHEAF_PLACE(query.read_ahead_granules), Unit::kNone, 0, 1024,
             "Pieces of 16,384 rows of a scan that are fetched from disk while earlier ones are read. 0: as the system does, "
             "which is "
             "faster on fast disks; more on those that take long to answer and serve many requests at once."),
      Number(
          "query.cold_read_memory_bytes", SHEAF_PLACE(query.cold_read_memory_bytes), Unit::kBytes, 16 << 20, int64_t{1} << 40,
          "Decoded pieces of Parquet parts that statements read at one time, beside `memory_bytes`. Beyond, a statement fails."),
      Number("query.result_cache_bytes", SHEAF_PLACE(query.result_cache_bytes), Unit::kBytes, 0, int64_t{1} << 40,
             "Answers that are kept for when the same is asked again and no table it reads has changed. One takes at most an "
             "eighth. "
             "0: none are."),
      Number("query.slow_ms", SHEAF_PLACE(query.slow_ms), Unit::kMs, 0, kDay,
             "Statements that take this long are written to the log, with what they read and took: `event=query.slow`. 0: none."),

      Text("tls.certificate", SHEAF_PLACE(tls.certificate), "PEM file with the server's certificate chain. Empty: no TLS."),
      Text("tls.key", SHEAF_PLACE(tls.key), "PEM file with its private key."),
      Text("tls.client_ca", SHEAF_PLACE(tls.client_ca),
           "PEM file; not empty: every client must show a certificate signed by it."),

      Choice("access.cleartext", SHEAF_PLACE(access.cleartext), "off on",
             "Listen on an address that is not loopback without TLS, once there are users. Passwords and tokens can be read on the "
             "way then: only where the network is protected otherwise."),
      Number("access.user_requests_at_once", SHEAF_PLACE(access.user_requests_at_once), Unit::kNone, 0, 1'000'000,
             "Requests of one user at once. Beyond: 429, RESOURCE_EXHAUSTED. 0: as many as come."),
      Number("access.user_requests_per_second", SHEAF_PLACE(access.user_requests_per_second), Unit::kNone, 0, 10'000'000,
             "Requests of one user a second, on average. Beyond: 429, RESOURCE_EXHAUSTED. 0: as many as come."),

      Text("http.cors_origins", SHEAF_PLACE(http.cors_origins),
           "Origins of web pages that may use the HTTP API from a browser, as `https://tool.example, http://localhost:3000`. Empty: none "
           "but those that the server itself sends."),

      Number("limits.message_bytes", SHEAF_PLACE(limits.message_bytes), Unit::kBytes, 1 << 10, int64_t{1} << 30,
             "Largest request, on the wire and again when inflated. Beyond: 413, RESOURCE_EXHAUSTED."),
      Number("limits.memory_bytes", SHEAF_PLACE(limits.memory_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 40,
             "Request bytes held by all connections. Beyond: 503, UNAVAILABLE."),
      Number("limits.decode_memory_bytes", SHEAF_PLACE(limits.decode_memory_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 40,
             "Rows that requests are being decoded to. Beyond: 503, UNAVAILABLE."),
      Number("limits.otap_stream_memory_bytes", SHEAF_PLACE(limits.otap_stream_memory_bytes), Unit::kBytes, 1 << 16, int64_t{1} << 40,
             "Dictionaries that one OTel-Arrow stream keeps. Beyond: the batch gets RESOURCE_EXHAUSTED."),
      Number("limits.otap_memory_bytes", SHEAF_PLACE(limits.otap_memory_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 40,
             "Dictionaries that all OTel-Arrow streams keep. Beyond: those above their share end with UNAVAILABLE."),
      Number("limits.flight_stream_memory_bytes", SHEAF_PLACE(limits.flight_stream_memory_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 40,
             "Batches that one stream of Flight's DoPut has under way. Beyond: it ends with RESOURCE_EXHAUSTED."),
      Number("limits.flight_memory_bytes", SHEAF_PLACE(limits.flight_memory_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 40,
             "Batches that all streams of DoPut have under way. Beyond: the largest ends with UNAVAILABLE."),
      Number("limits.connection_memory_bytes", SHEAF_PLACE(limits.connection_memory_bytes), Unit::kBytes, 1 << 20, int64_t{1} << 40,
             "Request bytes held by one connection."),
      Number("limits.header_bytes", SHEAF_PLACE(limits.header_bytes), Unit::kBytes, 1 << 10, 1 << 20,
             "Headers of one request."),
      Number("limits.streams", SHEAF_PLACE(limits.streams), Unit::kNone, 1, 65'536, "Requests at once on one HTTP/2 connection."),
      Number("limits.connections", SHEAF_PLACE(limits.connections), Unit::kNone, 1, 1'000'000,
             "Connections at once. Fewer where the process may not open as many files (`ulimit -n`) and 256 more."),
      Number("limits.connections_per_address", SHEAF_PLACE(limits.connections_per_address), Unit::kNone, 1, 1'000'000,
             "Connections at once from one address."),
      Number("limits.records", SHEAF_PLACE(limits.records), Unit::kNone, 1, 100'000'000,
             "Spans, log records or data points of one request."),
      Number("limits.attributes_per_record", SHEAF_PLACE(limits.attributes_per_record), Unit::kNone, 1, 10'000'000,
             "Attributes of one of them."),
      Number("limits.attribute_depth", SHEAF_PLACE(limits.attribute_depth), Unit::kNone, 1, 64,
             "Nesting of an attribute's value."),
      Number("limits.retry_after_ms", SHEAF_PLACE(limits.retry_after_ms), Unit::kMs, 1, 3'600'000,
             "What an overloaded server asks senders to wait."),

      Choice("log.level", SHEAF_PLACE(log.level), "debug info warn error", "Least severe lines that are written."),
      Choice("log.format", SHEAF_PLACE(log.format), "logfmt json", "Form of a line on standard error."),
  };
}

/// Section after section.
const std::vector<Setting>& Settings() {
  static const std::vector<Setting> settings = [] {
    auto all = ServerAndStorageSettings();
    std::ranges::move(IngestSettings(), std::back_inserter(all));
    std::ranges::move(QueryAndLimitSettings(), std::back_inserter(all));
    return all;
  }();
  return settings;
}

bool IsText(const Setting& setting) { return setting.place.index() == 0; }
bool IsNumber(const Setting& setting) { return setting.place.index() == 1; }
bool IsFraction(const Setting& setting) { return setting.place.index() == 2; }

std::string_view SectionOf(const Setting& setting) { return setting.key.substr(0, setting.key.find('.')); }

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string VariableOf(std::string_view key) {
  std::string name = "SHEAF_";
  for (const char c : key) name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

/// "is not a setting; did you mean …?". `spell` says how keys look to whom reads the message.
template <typename Spell>
Status Unknown(std::string_view where, std::string_view given, Spell spell) {
  std::string nearest;
  size_t best = std::numeric_limits<size_t>::max();
  for (const Setting& setting : Settings()) {
    const std::string name = spell(setting.key);
    const size_t distance = EditDistance(given, name);
    if (distance >= best) continue;
    best = distance;
    nearest = name;
  }
  return MakeError(ErrorKind::kInvalid, "{}: {} is not a setting; did you mean {}?", where, given, nearest);
}

std::optional<int64_t> UnitFactor(Unit unit, std::string_view suffix) {
  const std::pair<std::string_view, int64_t> bytes[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
  const std::pair<std::string_view, int64_t> times[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", kDay}};
  if (unit == Unit::kBytes) {
    for (const auto& [name, factor] : bytes) {
      if (name == suffix) return factor;
    }
  }
  if (unit == Unit::kMs) {
    for (const auto& [name, factor] : times) {
      if (name == suffix) return factor;
    }
  }
  return std::nullopt;
}

Status SetNumber(const Setting& setting, std::string_view where, int64_t value, Config* config) {
  if (static_cast<double>(value) < setting.min || static_cast<double>(value) > setting.max) {
    return MakeError(ErrorKind::kInvalid, "{}: {} must be between {} and {}, not {}", where, setting.key,
                     static_cast<int64_t>(setting.min), static_cast<int64_t>(setting.max), value);
  }
  *std::get<1>(setting.place)(config) = value;
  return Status::OK();
}

Status SetFraction(const Setting& setting, std::string_view where, double value, Config* config) {
  if (!(value >= setting.min && value <= setting.max)) {
    return MakeError(ErrorKind::kInvalid, "{}: {} must be between {} and {}, not {}", where, setting.key, setting.min,
                     setting.max, value);
  }
  *std::get<2>(setting.place)(config) = value;
  return Status::OK();
}

/// Sets from text: of a variable, a flag, or a TOML string.
Status SetText(const Setting& setting, std::string_view where, std::string_view text, Config* config) {
  if (IsText(setting)) {
    const bool known = fmt::format(" {} ", setting.choices).find(fmt::format(" {} ", text)) != std::string::npos;
    if (setting.unit == Unit::kChoice && !known) {
      return MakeError(ErrorKind::kInvalid, "{}: {} must be one of {}, not '{}'", where, setting.key, setting.choices, text);
    }
    *std::get<0>(setting.place)(config) = text;
    return Status::OK();
  }
  if (IsFraction(setting)) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      return MakeError(ErrorKind::kInvalid, "{}: {} must be a number, not '{}'", where, setting.key, text);
    }
    return SetFraction(setting, where, value, config);
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  while (suffix.starts_with(' ')) suffix.remove_prefix(1);
  const std::optional<int64_t> factor = suffix.empty() ? 1 : UnitFactor(setting.unit, suffix);
  if (error != std::errc() || !factor || __builtin_mul_overflow(value, *factor, &value)) {
    const char* unit = setting.unit == Unit::kBytes ? " of bytes (or with KiB, MiB, GiB)"
                       : setting.unit == Unit::kMs  ? " of milliseconds (or with s, m, h, d)"
                                                    : "";
    return MakeError(ErrorKind::kInvalid, "{}: {} must be a whole number{}, not '{}'", where, setting.key, unit, text);
  }
  return SetNumber(setting, where, value, config);
}

const Setting* FindSetting(std::string_view key) {
  for (const Setting& setting : Settings()) {
    if (setting.key == key) return &setting;
  }
  return nullptr;
}

Status SetFromToml(const Setting& setting, const std::string& where, const toml::node& value, Config* config) {
  if (const auto text = value.value_exact<std::string>()) return SetText(setting, where, *text, config);
  if (const auto number = value.value_exact<int64_t>()) {
    if (IsNumber(setting)) return SetNumber(setting, where, *number, config);
    if (IsFraction(setting)) return SetFraction(setting, where, static_cast<double>(*number), config);
  }
  if (const auto number = value.value_exact<double>()) {
    if (IsFraction(setting)) return SetFraction(setting, where, *number, config);
  }
  return MakeError(ErrorKind::kInvalid, "{}: {} has a value of the wrong type", where, setting.key);
}

/// The line of the first character beyond ASCII that stands neither in a comment nor in a text of one line, or 0. toml++ 3.3 runs
/// into undefined behaviour where one could be white space (is_non_ascii_horizontal_whitespace()), and TOML 1.0 has no use for
/// one there.
int64_t LineOfForeignCharacter(std::string_view toml) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  int64_t line = 1;
  char quote = '\0';
  bool comment = false;
  for (size_t i = toml.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; i < toml.size(); ++i) {
    const char c = toml[i];
    if (c == '\n') {
      ++line;
      quote = '\0';
      comment = false;
    } else if (comment) {
      continue;
    } else if (quote != '\0') {
      if (c == quote) quote = '\0';
      if (c == '\\' && quote == '"') ++i;
    } else if (c == '#') {
      comment = true;
    } else if (c == '"' || c == '\'') {
      const bool several_lines = toml.substr(i, 3) == std::string(3, c);  // What is inside counts as outside: the worse case.
      if (several_lines) {
        i += 2;
      } else {
        quote = c;
      }
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return line;
    }
  }
  return 0;
}

Result<toml::table> ParseToml(const std::string& path, std::string_view text) {
  if (const int64_t line = LineOfForeignCharacter(text); line > 0) {
    return MakeError(ErrorKind::kInvalid, "{}:{}: a character beyond ASCII may stand in comments and texts of one line only",
                     path, line);
  }
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return MakeError(ErrorKind::kInvalid, "{}:{}: {}", path, error.source().begin.line, error.description());
  } catch (const TomlAssertion&) {
    return MakeError(ErrorKind::kInvalid, "{}: is no TOML", path);
  }
}

Status ReadToml(io::FileSystem* files, const std::string& path, Config* config) {
  constexpr int64_t kFileBytesMax = 1 << 20;
  SHEAF_ASSIGN_OR_RETURN(const auto bytes, io::ReadFile(files, path, kFileBytesMax));
  const std::string_view text(reinterpret_cast<const char*>(bytes->data()), static_cast<size_t>(bytes->size()));
  SHEAF_ASSIGN_OR_RETURN(const toml::table parsed, ParseToml(path, text));
  const auto where = [&](const toml::node& node) { return fmt::format("{}:{}", path, node.source().begin.line); };
  const auto spell = [](std::string_view key) { return std::string(key); };
  for (const auto& [section, content] : parsed) {
    const toml::table* table = content.as_table();
    if (table == nullptr) return Unknown(where(content), section.str(), spell);
    for (const auto& [name, value] : *table) {
      const std::string key = fmt::format("{}.{}", section.str(), name.str());
      const Setting* setting = FindSetting(key);
      if (setting == nullptr) return Unknown(where(value), key, spell);
      SHEAF_RETURN_NOT_OK(SetFromToml(*setting, where(value), value, config));
    }
  }
  return Status::OK();
}

Status ReadEnvironment(const std::vector<std::string>& environment, Config* config) {
  std::set<std::string> prefixes;
  for (const Setting& setting : Settings()) prefixes.insert(VariableOf(SectionOf(setting)) + "_");
  for (const std::string& entry : environment) {
    const size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    const bool ours = std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& prefix) { return name.starts_with(prefix); });
    if (equals == std::string::npos || !ours) continue;
    const auto& settings = Settings();
    const auto named = [&](const Setting& each) { return VariableOf(each.key) == name; };
    const auto setting = std::find_if(settings.begin(), settings.end(), named);
    if (setting == settings.end()) return Unknown("environment", name, VariableOf);
    SHEAF_RETURN_NOT_OK(SetText(*setting, name, std::string_view(entry).substr(equals + 1), config));
  }
  return Status::OK();
}

std::string ValueText(const Setting& setting, Config* config) {
  if (const auto* text = std::get_if<0>(&setting.place)) return fmt::format("\"{}\"", *(*text)(config));
  if (const auto* number = std::get_if<1>(&setting.place)) return fmt::format("{}", *(*number)(config));
  return fmt::format("{}", *std::get<2>(setting.place)(config));
}

/// A TOML basic string of any text.
std::string TomlText(const Setting& setting, Config* config) {
  const auto* text = std::get_if<0>(&setting.place);
  if (text == nullptr) return ValueText(setting, config);
  std::string quoted = "\"";
  for (const char c : *(*text)(config)) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string RangeText(const Setting& setting) {
  if (setting.unit == Unit::kChoice) return fmt::format("one of {}", setting.choices);
  if (IsText(setting)) return "text";
  if (IsFraction(setting)) return fmt::format("{} to {}", setting.min, setting.max);
  return fmt::format("{} to {}", static_cast<int64_t>(setting.min), static_cast<int64_t>(setting.max));
}

}  // namespace

LogLevel Config::log_level() const {
  if (log.level == "debug") return LogLevel::kDebug;
  if (log.level == "warn") return LogLevel::kWarn;
  if (log.level == "error") return LogLevel::kError;
  return LogLevel::kInfo;
}

namespace {

/// The defaults of a profile; docs/settings.md tells of them.
Config ProfileDefaults(const std::string& profile) {
  Config config;
  Config::Query& query = config.query;
  query.profile = profile;
  if (profile == "large") {
    query.memory_bytes = int64_t{8} << 30;
    query.concurrent_max = 4;
    query.result_cache_bytes = int64_t{256} << 20;
  } else if (profile == "low-latency") {
    query.threads = 1;
    query.concurrent_max = 64;
    query.result_cache_bytes = int64_t{64} << 20;
  }
  return config;
}

Status ReadSources(io::FileSystem* files, const ConfigSources& sources, Config* config) {
  if (!sources.file.empty()) SHEAF_RETURN_NOT_OK(ReadToml(files, sources.file, config));
  SHEAF_RETURN_NOT_OK(ReadEnvironment(sources.environment, config));
  for (const auto& [key, text] : sources.flags) {
    const Setting* setting = FindSetting(key);
    if (setting == nullptr) return Unknown("flags", key, [](std::string_view known) { return std::string(known); });
    SHEAF_RETURN_NOT_OK(SetText(*setting, key, text, config));
  }
  return Status::OK();
}

}  // namespace

Result<Config> LoadConfig(io::FileSystem* files, const ConfigSources& sources) {
  Config config;
  SHEAF_RETURN_NOT_OK(ReadSources(files, sources, &config));
  if (config.query.profile != Config().query.profile) {
    // Read once more: what is given counts more than the profile, wherever that stands.
    config = ProfileDefaults(config.query.profile);
    SHEAF_RETURN_NOT_OK(ReadSources(files, sources, &config));
  }
  const auto rules = SamplingRules::Parse(config.sampling.traces, static_cast<int>(config.sampling.precision_digits));
  if (!rules.ok()) return WithContext(rules.status(), "sampling.traces");
  if (const auto origins = ParseOrigins(config.http.cors_origins); !origins.ok()) {
    return WithContext(origins.status(), "http.cors_origins");
  }
  if (config.tls.certificate.empty() != config.tls.key.empty()) {
    return MakeError(ErrorKind::kInvalid, "tls.certificate and tls.key must both be set, or neither");
  }
  if (!config.tls.client_ca.empty() && config.tls.certificate.empty()) {
    return MakeError(ErrorKind::kInvalid, "tls.client_ca needs tls.certificate and tls.key");
  }
  return config;
}

Result<std::vector<int>> ParseCpus(std::string_view text) {
  std::vector<int> cpus;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const char* const end = text.data() + comma;
    int first = 0, last = 0;
    auto read = std::from_chars(text.data() + at, end, first);
    last = first;
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
    if (read.ec != std::errc() || read.ptr != end || first < 0 || last < first || last >= kCpusMax) {
      return MakeError(ErrorKind::kInvalid,
                       "server.cpus is '{}': expected are processors below {} and ranges of them, as in 0-3,8", text, kCpusMax);
    }
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    at = comma + 1;
  }
  return cpus;
}

std::string ConfigToToml(const Config& config) {
  Config copy = config;
  std::string toml;
  std::string_view section;
  for (const Setting& setting : Settings()) {
    if (SectionOf(setting) != section) {
      section = SectionOf(setting);
      toml += fmt::format("{}[{}]\n", toml.empty() ? "" : "\n", section);
    }
    toml += fmt::format("{} = {}\n", setting.key.substr(section.size() + 1), TomlText(setting, &copy));
  }
  return toml;
}

std::string SettingsMarkdown() {
  Config defaults;
  std::string text;
  std::string_view section;
  for (const Setting& setting : Settings()) {
    if (SectionOf(setting) != section) {
      section = SectionOf(setting);
      text += fmt::format("{}## [{}]\n\n| key | default | range | what it does, why change it |\n|---|---|---|---|\n",
                          text.empty() ? "" : "\n", section);
    }
    text += fmt::format("| `{}` | `{}` | {} | {} |\n", setting.key.substr(section.size() + 1), ValueText(setting, &defaults),
                        RangeText(setting), setting.why);
  }
  return text;
}

}  // namespace sheaf::serve
