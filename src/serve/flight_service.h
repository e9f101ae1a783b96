/// Arrow Flight and Flight SQL on the transport of this folder: docs/flight.md says what clients see, and
/// docs/decisions/0009-flight-on-own-transport.md why Arrow's own server is not used.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "access/authenticator.h"
#include "core/mutex.h"
#include "core/status.h"
#include "query/engine.h"
#include "serve/flight_metadata.h"
#include "serve/flight_put.h"
#include "serve/flight_queries.h"
#include "serve/prepared_statements.h"
#include "serve/transport.h"
#include "store/database.h"
#include "wire/flight_messages.h"

namespace sheaf::serve {

struct FlightOptions {
  PreparedLimits prepared;
  int64_t retry_after_ms = 1000;
  int64_t put_memory_bytes_max = int64_t{256} << 20;         // Batches of one stream of DoPut.
  int64_t put_memory_of_all_bytes_max = int64_t{512} << 20;  // Of all streams together.
  std::chrono::milliseconds put_idle_max{600'000};           // A stream that brings nothing for so long is ended.
  int64_t query_timeout_ms = 0;                              // Of a call: all its statements, and sending their rows; 0: none.
  int64_t sql_bytes_max = 0;                                 // Of a statement's text, as the engine has it; 0: no limit.
  access::Authenticator* users = nullptr;                    // Begins the sessions of Handshake; borrowed. Null: there are no users.
};

/// Thread-safe. Must outlive the transport it is registered with. Borrows engine and database.
class FlightService {
 public:
  FlightService(query::Engine* engine, store::Database* database, const FlightOptions& options);

  /// Registers the methods of Flight on `listener`.
  void Register(Transport* transport, const std::string& listener);

  /// Ends what has had its time: streams that bring nothing, readers that are too slow, prepared statements that nobody uses. To
  /// be called about once a second.
  void EndOverdue(std::chrono::steady_clock::time_point now) SHEAF_EXCLUDES(mutex_);
  /// Ends the streams of DoPut, once what came is answered: the server stops.
  void EndStreams() SHEAF_EXCLUDES(mutex_);

 private:
  /// What a descriptor or a ticket stands for.
  struct Plan {
    std::shared_ptr<arrow::Schema> schema;  // Null: it shows only when the statement runs.
    std::string ticket;
    int64_t rows = -1;
  };

  /// Whether planning a statement that gives no rows runs it.
  enum class Updates : uint8_t { kRun, kPlan };
  /// Plan what `call` asks for.
  Result<Plan> PlanOf(std::string_view descriptor, Updates updates, const std::shared_ptr<GrpcStreamCall>& call);
  Result<Plan> PlanCommand(const std::string& command, Updates updates, const std::shared_ptr<GrpcStreamCall>& call);
  Result<Plan> PlanTable(const store::TableInfo& table, const std::shared_ptr<GrpcStreamCall>& call);
  Result<Plan> PlanStatement(StatementTicket ticket, const query::StatementShape& shape, Updates updates,
                             const std::shared_ptr<GrpcStreamCall>& call);
  Result<Plan> PlanSql(const std::string& sql, Updates updates, const std::shared_ptr<GrpcStreamCall>& call);
  Status GetFlightInfo(const std::shared_ptr<GrpcStreamCall>& call);
  Status GetSchema(const std::shared_ptr<GrpcStreamCall>& call);
  Status DoGet(const std::shared_ptr<GrpcStreamCall>& call);
  Status ListFlights(const std::shared_ptr<GrpcStreamCall>& call);
  Status ListActions(const std::shared_ptr<GrpcStreamCall>& call);
  Status DoAction(const std::shared_ptr<GrpcStreamCall>& call);
  std::shared_ptr<GrpcReceiver> DoPut(std::shared_ptr<GrpcStreamCall> call) SHEAF_EXCLUDES(mutex_);
  /// Gives whoever comes with a password a session, whose token goes back as the header that is to come with every call.
  GrpcStatus Handshake(const GrpcCall& call);

  // Actions: bodies of their results.
  Result<std::string> CreatePrepared(std::string_view body, const GrpcCall& call);
  Result<std::string> CancelTickets(std::string_view info, const GrpcCall& call);
  Result<std::string> SetSession(std::string_view body);
  Result<std::string> MakeSnapshot(std::string_view body, const GrpcCall& call);
  Status Flush(const GrpcCall& call);
  Result<std::string> TellHealth();

  std::vector<std::shared_ptr<FlightPut>> Puts() const SHEAF_REQUIRES(mutex_);
  /// Ends the stream of DoPut that holds most memory.
  void EndLargestPut() SHEAF_EXCLUDES(mutex_);

  query::Engine* const engine_;
  store::Database* const database_;
  const FlightOptions options_;
  FlightQueries queries_;
  FlightMetadata metadata_;
  PreparedStatements prepared_;

  mutable Mutex mutex_;
  std::map<const FlightPut*, std::weak_ptr<FlightPut>> puts_ SHEAF_GUARDED_BY(mutex_);  // Under way.
  bool stopping_ SHEAF_GUARDED_BY(mutex_) = false;
};

}  // namespace sheaf::serve
