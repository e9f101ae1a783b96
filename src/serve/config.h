/// The settings of `sheaf serve`: few, each with unit, default and range, documented in docs/settings.md.
///
/// Precedence, later wins: defaults, the TOML file, environment variables SHEAF_SECTION_KEY, flags. A test keeps
/// docs/settings.md in step with the table in config.cc.

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/status.h"
#include "io/file_system.h"

namespace sheaf::serve {

/// Values as they will be used. Names are those of the file: [server] port_http is server.port_http.
struct Config {
  struct Server {
    std::string bind = "127.0.0.1";
    int64_t port_otlp_grpc = 4317, port_otlp_http = 4318, port_flight = 8815, port_http = 8080;
    int64_t io_threads = 1, worker_threads = 2;
    std::string cpus;
    int64_t stop_grace_ms = 5'000;
  } server;
  struct Storage {
    std::string data = "./sheaf-data";
    int64_t memtable_bytes = int64_t{128} << 20, seal_age_ms = 60'000, ingest_memory_bytes = int64_t{512} << 20;
    int64_t cold_after_ms = 3'600'000, retention_ms = -1;
    int64_t log_segment_bytes = int64_t{64} << 20, log_queue_bytes = int64_t{64} << 20;
    double free_space_min_fraction = 0.05;
    int64_t buffered_sync_ms = 100;
    int64_t granule_cache_bytes = int64_t{256} << 20, compaction_memory_bytes = int64_t{1} << 30;
    double compaction_cpu_share = 0.10;
    int64_t scrub_interval_ms = 604'800'000, scrub_bytes_per_second = int64_t{16} << 20;
    int64_t snapshot_interval_ms = 1'800'000;
    int64_t snapshots_kept = 4;
    std::string archive_log = "off", log_direct_io = "off";
    int64_t log_cpu = -1;
  } storage;
  struct Ingest {
    int64_t batch_latency_ms = 5, batch_bytes = 256 << 10;
  } ingest;
  struct Sampling {
    std::string traces;
    int64_t precision_digits = 4;
    std::string keep_errors = "off";
    int64_t keep_slow_ms = 0, window_ms = 10'000, window_bytes = int64_t{64} << 20;
  } sampling;
  struct Query {
    std::string profile = "recommended";  // Other defaults of what follows; see ProfileDefaults() in config.cc.
    int64_t threads = 0, memory_bytes = int64_t{1} << 30;
    std::string temp_directory;
    int64_t temp_bytes = int64_t{16} << 30, timeout_ms = 60'000, concurrent_max = 16, sql_bytes = int64_t{1} << 20;
    int64_t read_ahead_granules = 0, cold_read_memory_bytes = int64_t{1} << 30, slow_ms = 1'000;
    int64_t result_cache_bytes = int64_t{32} << 20;
  } query;
  struct Tls {
    std::string certificate, key, client_ca;
  } tls;
  struct Access {
    std::string cleartext = "off";
    int64_t user_requests_at_once = 0, user_requests_per_second = 0;
  } access;
  struct Http {
    std::string cors_origins;
  } http;
  struct Limits {
    int64_t message_bytes = int64_t{64} << 20, memory_bytes = int64_t{512} << 20, connection_memory_bytes = int64_t{128} << 20;
    int64_t header_bytes = 16 << 10, streams = 128, connections = 4096, connections_per_address = 1024;
    int64_t decode_memory_bytes = int64_t{1} << 30;
    int64_t otap_stream_memory_bytes = int64_t{64} << 20, otap_memory_bytes = int64_t{256} << 20;
    int64_t flight_stream_memory_bytes = int64_t{256} << 20, flight_memory_bytes = int64_t{512} << 20;
    int64_t records = 1'000'000, attributes_per_record = 65'536, attribute_depth = 32, retry_after_ms = 1'000;
  } limits;
  struct Log {
    std::string level = "info", format = "logfmt";
  } log;

  LogLevel log_level() const;
};

/// Where settings come from. Nothing here is read from the process by itself.
struct ConfigSources {
  std::string file;                                        // Path of the TOML file; empty: none.
  std::vector<std::string> environment;                    // "NAME=value"; names that are no setting's section are ignored.
  std::vector<std::pair<std::string, std::string>> flags;  // "server.port_http" and its value as text.
};

/// Gathers and checks the settings. Sizes and times given as text may carry a unit: 64MiB, 90s, 7d.
/// Errors: Invalid (unknown key, with the nearest known one; wrong type; out of range; names file and line, variable or
/// flag), NotFound or Io for the file.
Result<Config> LoadConfig(io::FileSystem* files, const ConfigSources& sources);

/// Processors written as numbers and ranges of them, `0-3,8`. Error: Invalid.
Result<std::vector<int>> ParseCpus(std::string_view text);

/// The settings in effect, as a TOML file that gives the same again.
std::string ConfigToToml(const Config& config);

/// The tables of docs/settings.md, one section after the other.
std::string SettingsMarkdown();

}  // namespace sheaf::serve
