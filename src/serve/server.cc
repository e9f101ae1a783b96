#include "serve/server.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/log.h"
#include "core/memory.h"
#include "decode/schemas.h"
#include "io/posix.h"
#include "serve/api_document.h"
#include "serve/http_heads.h"

namespace sheaf::serve {
namespace {

constexpr std::chrono::milliseconds kWatchInterval{50};
constexpr std::chrono::seconds kOverdueInterval{1};

/// Descriptors that connections must leave to the log, parts, spilling, and whoever embeds this server.
constexpr int64_t kDescriptorsReserved = 256;

store::Options DatabaseOptions(const Config& config) {
  const Config::Storage& storage = config.storage;
  store::Options options;
  options.directory = storage.data;
  options.memtable_bytes = storage.memtable_bytes;
  options.seal_age_ms = storage.seal_age_ms;
  options.ingest_memory_bytes_max = storage.ingest_memory_bytes;
  options.cold_after_ms = storage.cold_after_ms;
  options.log_segment_bytes = storage.log_segment_bytes;
  options.log_queue_bytes_max = storage.log_queue_bytes;
  options.free_space_min_fraction = storage.free_space_min_fraction;
  options.buffered_sync_ms = storage.buffered_sync_ms;
  options.granule_cache_bytes_max = storage.granule_cache_bytes;
  options.compaction_cpu_share = storage.compaction_cpu_share;
  options.scrub_interval_ms = storage.scrub_interval_ms;
  options.scrub_bytes_per_second = storage.scrub_bytes_per_second;
  options.snapshot_interval_ms = storage.snapshot_interval_ms;
  options.snapshots_kept = storage.snapshots_kept;
  options.archive_log = storage.archive_log == "on";
  options.log_direct_io = storage.log_direct_io == "on";
  options.log_cpu = static_cast<int>(storage.log_cpu);
  return options;
}

query::EngineOptions EngineOptionsOf(const Config& config) {
  const Config::Query& query = config.query;
  query::EngineOptions options;
  options.threads = static_cast<int>(query.threads);
  options.memory_bytes_max = query.memory_bytes;
  options.temp_directory = query.temp_directory;
  options.temp_bytes_max = query.temp_bytes;
  options.timeout_ms = query.timeout_ms;
  options.concurrent_queries_max = static_cast<int>(query.concurrent_max);
  options.waiting_queries_max = options.concurrent_queries_max;
  options.sql_bytes_max = query.sql_bytes;
  options.read_ahead_granules = static_cast<int>(query.read_ahead_granules);
  options.slow_ms = query.slow_ms;
  options.result_cache_bytes_max = query.result_cache_bytes;
  return options;
}

TransportOptions TransportOptionsOf(const Config& config) {
  TransportOptions options;
  options.io_threads = static_cast<int>(config.server.io_threads);
  options.worker_threads = static_cast<int>(config.server.worker_threads);
  options.tls_certificate_file = config.tls.certificate;
  options.tls_key_file = config.tls.key;
  options.tls_client_ca_file = config.tls.client_ca;
  options.message_bytes_max = config.limits.message_bytes;
  options.memory_bytes_max = config.limits.memory_bytes;
  options.connection_memory_bytes_max = config.limits.connection_memory_bytes;
  options.header_bytes_max = config.limits.header_bytes;
  options.streams_max = static_cast<int>(config.limits.streams);
  options.connections_max = static_cast<int>(config.limits.connections);
  options.connections_per_address_max = static_cast<int>(config.limits.connections_per_address);
  return options;
}

/// A flood of connections must not take the descriptors that storage needs.
void FitConnections(int64_t descriptors, TransportOptions* options) {
  const int64_t possible = std::max<int64_t>(descriptors - kDescriptorsReserved, descriptors / 4);
  if (options->connections_max <= possible) return;
  LogWarn("server.connections_lowered", {{"wanted", options->connections_max},
                                         {"connections", possible},
                                         {"descriptors", descriptors},
                                         {"advice", "raise the limit of open files (ulimit -n)"}});
  // One address keeps its share.
  const int64_t here = possible * options->connections_per_address_max / options->connections_max;
  options->connections_per_address_max = static_cast<int>(std::clamp<int64_t>(here, 1, possible));
  options->connections_max = static_cast<int>(possible);
}

decode::Limits DecodeLimitsOf(const Config& config) {
  decode::Limits limits;
  limits.records_max = config.limits.records;
  limits.attributes_per_record_max = config.limits.attributes_per_record;
  limits.attribute_depth_max = static_cast<int>(config.limits.attribute_depth);
  return limits;
}

Result<OtlpOptions> OtlpOptionsOf(const Config& config) {
  OtlpOptions options;
  SHEAF_ASSIGN_OR_RETURN(options.sampling,
                         SamplingRules::Parse(config.sampling.traces, static_cast<int>(config.sampling.precision_digits)));
  options.tail = {.errors = config.sampling.keep_errors == "on",
                  .slow_ns = config.sampling.keep_slow_ms * 1'000'000,
                  .window_ns = config.sampling.window_ms * 1'000'000,
                  .window_bytes = config.sampling.window_bytes};
  options.limits = DecodeLimitsOf(config);
  options.retry_after_ms = config.limits.retry_after_ms;
  options.batching = {.latency_target_ns = config.ingest.batch_latency_ms * 1'000'000,
                      .batch_bytes_max = config.ingest.batch_bytes,
                      .workers_max = static_cast<int>(std::max<int64_t>(config.server.worker_threads - 1, 1))};
  return options;
}

OtapOptions OtapOptionsOf(const Config& config) {
  OtapOptions options;
  options.limits.batch = DecodeLimitsOf(config);
  options.limits.stream_bytes_max = config.limits.otap_stream_memory_bytes;
  options.memory_bytes_max = config.limits.otap_memory_bytes;
  return options;
}

HttpApiOptions HttpApiOptionsOf(const Config& config) {
  HttpApiOptions options;
  options.sql.sql_bytes_max = config.query.sql_bytes;
  options.sql.timeout_ms_max = config.query.timeout_ms;
  options.statements_max = 4 * config.query.concurrent_max;  // The engine refuses sooner, but for look-ups.
  options.retry_after_ms = config.limits.retry_after_ms;
  return options;
}

FlightOptions FlightOptionsOf(const Config& config, access::Authenticator* users) {
  FlightOptions options;
  options.retry_after_ms = config.limits.retry_after_ms;
  options.put_memory_bytes_max = config.limits.flight_stream_memory_bytes;
  options.put_memory_of_all_bytes_max = config.limits.flight_memory_bytes;
  options.query_timeout_ms = config.query.timeout_ms;
  options.sql_bytes_max = config.query.sql_bytes;
  options.users = users;
  return options;
}

/// Nobody may read and write everything just because he can connect, nor see passwords and tokens on their way.
Status CheckAddress(const Config& config, bool has_users) {
  if (IsLoopback(config.server.bind) || !config.tls.client_ca.empty()) return Status::OK();
  if (!has_users) {
    return MakeError(ErrorKind::kDenied,
                     "refusing to listen on {}: others could connect, and there is no authentication. Add a user by `sheaf user add "
                     "NAME --role admin --data {} --password-stdin`, bind to 127.0.0.1, or set tls.certificate, tls.key and "
                     "tls.client_ca so that clients must show a certificate",
                     config.server.bind, config.storage.data);
  }
  if (!config.tls.certificate.empty() || config.access.cleartext == "on") return Status::OK();
  return MakeError(ErrorKind::kDenied,
                   "refusing to listen on {} without TLS: passwords and tokens could be read on the way. Set tls.certificate and "
                   "tls.key, or access.cleartext = \"on\" where the network is protected otherwise",
                   config.server.bind);
}

/// All threads are started from this one, and inherit what it may use.
Status BindToProcessors(const std::string& cpus) {
  if (cpus.empty()) return Status::OK();
  SHEAF_ASSIGN_OR_RETURN(const std::vector<int> chosen, ParseCpus(cpus));
  const Status bound = io::PinThread(chosen);
  return bound.ok() ? bound : WithContext(bound, "server.cpus");
}

/// Of components that all databases of a process share.
void LimitMemory(const Config& config) {
  NamedPool("decode").SetLimit(config.limits.decode_memory_bytes);
  NamedPool("cold_read").SetLimit(config.query.cold_read_memory_bytes);
  NamedPool("compaction").SetLimit(config.storage.compaction_memory_bytes);
}

Status SetRetention(store::Database* database, int64_t retention_ms) {
  for (int i = 0; i < decode::kSignals; ++i) {
    SHEAF_ASSIGN_OR_RETURN(const auto table, database->FindTable("otel", decode::SignalTable(static_cast<decode::Signal>(i))));
    const std::optional<int64_t> wanted = retention_ms > 0 ? std::optional(retention_ms) : std::nullopt;
    if (table->retention_ms != wanted) SHEAF_RETURN_NOT_OK(database->SetRetention(table->id, wanted));
  }
  return Status::OK();
}

}  // namespace

bool IsLoopback(const std::string& address) {
  // A name such as 127.example.org may mean anything: only digits and dots are an address.
  const bool numeric = address.find_first_not_of("0123456789.") == std::string::npos;
  return address == "localhost" || address == "::1" || address == "[::1]" || (numeric && address.starts_with("127."));
}

Result<std::unique_ptr<Server>> Server::Start(const Config& config, io::FileSystem* files, io::Clock* clock) {
  ConfigureLog(config.log_level(), config.log.format == "json");
  std::unique_ptr<Server> server(new Server(config));
  SHEAF_RETURN_NOT_OK(server->OpenUsers(files, clock));
  SHEAF_RETURN_NOT_OK(BindToProcessors(config.server.cpus));
  LimitMemory(config);
  SHEAF_RETURN_NOT_OK(server->OpenDatabase(files, clock));
  SHEAF_RETURN_NOT_OK(server->StartServices(files, clock));
  SHEAF_RETURN_NOT_OK(server->Listen());
  server->Observe();
  server->watch_ = std::thread([started = server.get()] { started->Watch(); });
  LogInfo("server.ready", {{"data", config.storage.data}});
  return server;
}

Status Server::OpenUsers(io::FileSystem* files, io::Clock* clock) {
  SHEAF_ASSIGN_OR_RETURN(users_, access::Authenticator::Open(files, clock, config_.storage.data));
  gate_ = std::make_unique<Gate>(users_.get(), clock,
                                 access::UserLimitOptions{.requests_at_once = config_.access.user_requests_at_once,
                                                          .requests_per_second = config_.access.user_requests_per_second});
  return CheckAddress(config_, users_->required());
}

Status Server::OpenDatabase(io::FileSystem* files, io::Clock* clock) {
  SHEAF_ASSIGN_OR_RETURN(database_, store::Database::Open(files, clock, DatabaseOptions(config_)));
  if (config_.storage.retention_ms >= 0) SHEAF_RETURN_NOT_OK(SetRetention(database_.get(), config_.storage.retention_ms));
  const store::Stats stats = database_->GetStats();
  LogInfo("server.database_opened", {{"data", config_.storage.data},
                                     {"durable_lsn", stats.durable.value},
                                     {"parts", stats.parts},
                                     {"memtable_rows", stats.memtable_rows}});
  return Status::OK();
}

Status Server::StartServices(io::FileSystem* files, io::Clock* clock) {
  SHEAF_ASSIGN_OR_RETURN(engine_, query::Engine::Open(database_.get(), EngineOptionsOf(config_)));
  SHEAF_ASSIGN_OR_RETURN(OtlpOptions otlp, OtlpOptionsOf(config_));
  // Not the transport's valve: that one would refuse queries as well.
  otlp.overloaded = [this] { return overloaded_.load(std::memory_order_relaxed); };
  SHEAF_ASSIGN_OR_RETURN(otlp_, OtlpService::Make(database_.get(), otlp));
  otap_ = std::make_unique<OtapService>(otlp_.get(), OtapOptionsOf(config_));
  http_ = std::make_unique<HttpApi>(engine_.get(), database_.get(), HttpApiOptionsOf(config_));
  tables_ = std::make_unique<TableApi>(database_.get(), HttpApiOptionsOf(config_).retry_after_ms);
  flight_ = std::make_unique<FlightService>(engine_.get(), database_.get(), FlightOptionsOf(config_, users_.get()));
  TransportOptions transport = TransportOptionsOf(config_);
  FitConnections(io::RaiseDescriptorLimit(), &transport);
  SHEAF_ASSIGN_OR_RETURN(transport_, Transport::Make(transport));
  transport_->SetGate(gate_.get());
  certificates_ = std::make_unique<CertificateWatch>(
      files, clock, std::vector{config_.tls.certificate, config_.tls.key, config_.tls.client_ca},
      [this] { return transport_->ReloadTls(); });
  otlp_->Register(transport_.get(), "otlp_grpc", "otlp_http");
  otap_->Register(transport_.get(), "otlp_grpc");
  health_.Register(transport_.get(), "otlp_grpc", "http");
  http_->Register(transport_.get(), "http");
  tables_->Register(transport_.get(), "http");
  RegisterApiDocument(transport_.get(), "http");
  SHEAF_ASSIGN_OR_RETURN(Origins origins, ParseOrigins(config_.http.cors_origins));
  transport_->CheckHeads("http", MakeHeadChecker(std::move(origins)));
  flight_->Register(transport_.get(), "flight");
  return Status::OK();
}

Status Server::Listen() {
  const struct {
    const char* listener;
    int64_t wanted;
    uint16_t* port;
  } listeners[] = {
      {"otlp_grpc", config_.server.port_otlp_grpc, &ports_.otlp_grpc},
      {"otlp_http", config_.server.port_otlp_http, &ports_.otlp_http},
      {"flight", config_.server.port_flight, &ports_.flight},
      {"http", config_.server.port_http, &ports_.http},
  };
  std::string address = config_.server.bind;
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);  // An IPv6 literal.
  for (const auto& each : listeners) {
    const auto wanted = static_cast<uint16_t>(each.wanted);
    SHEAF_ASSIGN_OR_RETURN(*each.port, transport_->Listen(each.listener, address, wanted));
    LogInfo("server.listening", {{"listener", each.listener},
                                 {"address", config_.server.bind},
                                 {"port", *each.port},
                                 {"tls", !config_.tls.certificate.empty()}});
  }
  return Status::OK();
}

/// Looks at the database now and then, so that valve and health need not ask it for every request.
void Server::Watch() {
  auto looked = std::chrono::steady_clock::now();
  MutexLock lock(&mutex_);
  while (!stopping_) {
    if (wake_.WaitFor(&mutex_, kWatchInterval)) continue;
    mutex_.Unlock();
    Observe();
    if (const auto now = std::chrono::steady_clock::now(); now - looked >= kOverdueInterval) {
      looked = now;
      flight_->EndOverdue(now);
    }
    users_->Look();
    certificates_->Look();
    mutex_.Lock();
  }
}

void Server::Observe() {
  const store::Stats stats = database_->GetStats();
  overloaded_.store(stats.memtable_bytes >= config_.storage.ingest_memory_bytes, std::memory_order_relaxed);
  health_.Set(true, stats.writable, stats.writable ? "" : "not writable: " + stats.not_writable_reason);
}

Status Server::Stop() {
  if (std::exchange(stopped_, true)) return stop_status_;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (watch_.joinable()) watch_.join();
  health_.Set(false, false, "stopping");
  health_.EndWatches();
  if (otap_ != nullptr) otap_->EndStreams();
  if (flight_ != nullptr) flight_->EndStreams();
  LogInfo("server.stopping", {{"grace_ms", config_.server.stop_grace_ms}});
  if (transport_ != nullptr) transport_->Shutdown(std::chrono::milliseconds(config_.server.stop_grace_ms));
  LogInfo("server.drained");
  // Closing ends every append that still runs, and with it every use of the services by the log's thread.
  if (database_ != nullptr) stop_status_ = database_->Close();
  transport_.reset();
  engine_.reset();
  if (stop_status_.ok()) {
    LogInfo("server.stopped");
  } else {
    LogError("server.stopped", {{"error", stop_status_.ToString()}});
  }
  return stop_status_;
}

Server::~Server() {
  const Status status = Stop();
  if (!status.ok()) LogError("server.close_failed", {{"error", status.ToString()}});
}

}  // namespace sheaf::serve
