/// Whether the server is ready, told in three ways: grpc.health.v1, /healthz and /readyz.
///
/// "" is the server as a whole: ready from the end of Start() to the beginning of Stop(). The OTLP and OTel-Arrow services are also not
/// serving while the database takes no writes (a full disk); reads go on then, and /readyz stays 200.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "serve/transport.h"

namespace sheaf::serve {

/// Thread-safe. Must outlive the transport it is registered with.
class Health {
 public:
  /// grpc.health.v1.HealthCheckResponse.ServingStatus.
  enum class Serving { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

  /// Registers Check and Watch on listener `grpc`, /healthz and /readyz on `http`.
  void Register(Transport* transport, const std::string& grpc, const std::string& http);

  /// Sets what is told, and tells those who watch. `reason` is shown by /readyz while not ready.
  void Set(bool ready, bool writable, const std::string& reason) SHEAF_EXCLUDES(mutex_);

  /// Answers those who watch for the last time; they would keep the transport from draining.
  void EndWatches() SHEAF_EXCLUDES(mutex_);

  Serving Check(const std::string& service) const SHEAF_EXCLUDES(mutex_);

 private:
  struct Watcher {
    std::string service;
    Serving last;
    std::shared_ptr<GrpcStreamCall> call;
  };

  Serving CheckLocked(const std::string& service) const SHEAF_REQUIRES(mutex_);
  void Watch(std::shared_ptr<GrpcStreamCall> call) SHEAF_EXCLUDES(mutex_);
  void Forget(const GrpcStreamCall* call) SHEAF_EXCLUDES(mutex_);
  void AnswerReady(HttpExchange* exchange) const SHEAF_EXCLUDES(mutex_);

  mutable Mutex mutex_;
  bool ready_ SHEAF_GUARDED_BY(mutex_) = false;
  bool writable_ SHEAF_GUARDED_BY(mutex_) = false;
  bool ended_ SHEAF_GUARDED_BY(mutex_) = false;
  std::string reason_ SHEAF_GUARDED_BY(mutex_) = "starting";
  std::vector<Watcher> watchers_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::serve
