/// A client of Arrow Flight and Flight SQL: statements, rows from several endpoints at once, rows to tables so that each batch is there
/// once, over a pool of connections that are made anew where they break.
///
/// **What is sent again.** Only what does no harm: a call that certainly was not acted on; the fetching of rows that gave none yet; a
/// batch with its id, which is there once however often it is sent. A statement that may have run is not sent again: Unknown. Between
/// attempts it waits as RetryOptions say, and not less than the server asks for.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "client/flight_batches.h"
#include "client/grpc_client.h"
#include "client/grpc_reader.h"
#include "client/retry.h"
#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::client {

struct FlightClientOptions {
  int connections = 2;                             // Of the pool; calls take turns.
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds timeout{60'000};       // Until a call is answered, or the next message of a stream comes.
  TlsOptions tls;
  RequestHeaders headers;                          // With every call, such as authorization. As CheckRequestHeaders() allows.
  RetryOptions retry;
  int attempts_max = 5;                            // In all; 1: nothing is sent again.
  wire::IpcCodec codec = wire::IpcCodec::kNone;    // Of what is sent.
  int64_t message_bytes_max = int64_t{64} << 20;   // Of one that comes.
  uint64_t jitter_seed = 1;
  std::function<bool()> cancelled;                 // Asked ten times a second while somebody waits; true ends that with kCancelled.
  std::function<void(std::chrono::milliseconds)> pause;  // Waits before another attempt; empty: really waits.
};

/// Figures since the start.
struct FlightClientStats {
  int64_t calls = 0, retries = 0, failed_calls = 0;  // Attempts; those after a first; calls that failed at last.
  int64_t received_batches = 0, received_rows = 0, received_bytes = 0;
  int64_t sent_batches = 0, sent_rows = 0, sent_bytes = 0;  // Acknowledged; bytes of all attempts.
  int64_t batches_sent_again = 0;
};

class FlightClient;

/// The rows of a statement, one batch after the other. Not thread-safe. Holds its client's connections: goes before it.
class FlightRows {
 public:
  virtual ~FlightRows() = default;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  /// The next rows, in the order of the endpoints; null at the end. Errors: the server's; Unavailable (a connection broke after rows had
  /// come), Timeout, Cancelled, Invalid (what came is no Arrow data).
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
};

/// Thread-safe. Must outlive the rows that it gave.
class FlightClient {
 public:
  /// The port of Flight, where an address names none.
  static constexpr uint16_t kPort = 8815;

  /// Connects with the first call. Errors: Invalid (headers, options), Io (certificates).
  static Result<std::unique_ptr<FlightClient>> Make(const Url& url, FlightClientOptions options = {});
  ~FlightClient();

  /// Runs a statement; `parameters`: one row, a column for each, or null. `endpoints_max`: read at once, those behind wait.
  /// Errors: the server's; Unavailable, Timeout, Cancelled; Unknown (it may have run, and writes perhaps).
  Result<std::unique_ptr<FlightRows>> Query(const std::string& sql, std::shared_ptr<arrow::RecordBatch> parameters = nullptr,
                                            int endpoints_max = 4);
  /// Runs a statement that writes; returns how many rows it changed (negative: not known). Errors as Query().
  Result<int64_t> Update(const std::string& sql);

  // For what stands on this.
  GrpcClient* connection();  // The next one of the pool.
  const FlightClientOptions& options() const { return options_; }
  GrpcRequest RequestOf(std::string_view method, bool with_timeout) const;
  std::string authority() const;
  /// A call with one message each way. `harmless`: it may be done twice.
  Result<std::string> Call(std::string_view method, std::string_view message, bool harmless, std::string_view what);
  /// A call with many answers, all of them. As Call().
  Result<std::vector<std::string>> CallForAll(std::string_view method, std::string_view message, bool harmless, std::string_view what);
  /// Whether to try again after `end`, having waited for that; `attempt`: from 1. False: no, or it was cancelled.
  bool WaitToRetry(const GrpcEnd& end, bool harmless, int attempt, Backoff* backoff);
  /// A source of jitter for a caller of its own.
  uint64_t NextSeed() { return options_.jitter_seed + ++seeds_; }

  FlightClientStats stats() const;
  struct Counters {
    std::atomic<int64_t> calls{0}, retries{0}, failed_calls{0}, received_batches{0}, received_rows{0}, received_bytes{0}, sent_batches{0},
        sent_rows{0}, sent_bytes{0}, batches_sent_again{0};
  };
  Counters* counters() { return &counters_; }

 private:
  FlightClient(FlightClientOptions options, std::vector<std::unique_ptr<GrpcClient>> pool)
      : options_(std::move(options)), pool_(std::move(pool)) {}
  Result<std::string> Prepare(const std::string& sql);
  void ClosePrepared(const std::string& handle);
  Status Bind(const std::string& handle, const arrow::RecordBatch& parameters);
  Result<std::vector<std::string>> PutForAnswers(std::string_view descriptor, const arrow::RecordBatch* rows, std::string_view what);

  const FlightClientOptions options_;
  Counters counters_;
  std::atomic<uint64_t> seeds_{0};
  std::atomic<size_t> next_{0};
  std::vector<std::unique_ptr<GrpcClient>> pool_;
};

/// An address of Flight: grpc://HOST[:8815], grpc+tcp:// or flight:// the same, grpc+tls:// or flights:// with TLS. Error: Invalid.
Result<Url> ParseFlightUrl(std::string_view address);
/// Whether an address is meant to be one.
bool IsFlightUrl(std::string_view address);

}  // namespace sheaf::client
