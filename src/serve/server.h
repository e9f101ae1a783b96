/// The whole server in one object: database, engine, services and listening ports, started and stopped in order.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "access/authenticator.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "io/posix.h"
#include "query/engine.h"
#include "serve/certificate_watch.h"
#include "serve/config.h"
#include "serve/flight_service.h"
#include "serve/gate.h"
#include "serve/health.h"
#include "serve/http_api.h"
#include "serve/otap_service.h"
#include "serve/otlp_service.h"
#include "serve/table_api.h"
#include "serve/transport.h"
#include "store/database.h"

namespace sheaf::serve {

/// The ports that are really listened on.
struct ServerPorts {
  uint16_t otlp_grpc = 0, otlp_http = 0, flight = 0, http = 0;
};

/// Serves from the end of Start() until Stop(). One thread may call Stop(); everything else is thread-safe.
class Server {
 public:
  /// Opens the database, recovers it, and listens. Borrows `files` and `clock`.
  /// Denied: an address that others can reach, without users and TLS or client certificates. Others as of Authenticator::Open,
  /// Database::Open, Engine::Open, Transport::Make and Listen. Nothing is left running after an error.
  static Result<std::unique_ptr<Server>> Start(const Config& config, io::FileSystem* files = io::PosixFileSystem(),
                                               io::Clock* clock = io::SystemClock());
  /// Stops, if Stop() was not called.
  ~Server();

  const ServerPorts& ports() const { return ports_; }
  store::Database* database() { return database_.get(); }
  /// For other servers of the same process, such as that of Flight.
  access::Authenticator* users() { return users_.get(); }

  /// Refuses new requests, lets running ones finish for server.stop_grace_ms, seals what is in memory, closes. Afterwards
  /// everything acknowledged is in parts. Returns the database's error, if closing it failed; the log still holds what
  /// was acknowledged then. A second call returns the same.
  Status Stop();

 private:
  explicit Server(const Config& config) : config_(config) {}
  Status OpenUsers(io::FileSystem* files, io::Clock* clock);
  Status OpenDatabase(io::FileSystem* files, io::Clock* clock);
  Status StartServices(io::FileSystem* files, io::Clock* clock);
  Status Listen();
  void Watch();
  void Observe();

  const Config config_;
  ServerPorts ports_;

  // In the order of who needs whom: destroyed from the last to the first.
  std::unique_ptr<access::Authenticator> users_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<query::Engine> engine_;
  std::unique_ptr<OtlpService> otlp_;
  std::unique_ptr<OtapService> otap_;
  std::unique_ptr<HttpApi> http_;
  std::unique_ptr<TableApi> tables_;
  std::unique_ptr<FlightService> flight_;
  Health health_;
  std::atomic<bool> overloaded_{false};  // Recent rows are at their limit, as the watch thread last saw it.
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<CertificateWatch> certificates_;  // Used by the watch thread.

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ SHEAF_GUARDED_BY(mutex_) = false;
  std::thread watch_;
  bool stopped_ = false;
  Status stop_status_;
};

/// Whether only programs on this machine can reach `address`.
bool IsLoopback(const std::string& address);

}  // namespace sheaf::serve
