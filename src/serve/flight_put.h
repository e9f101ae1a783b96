/// DoPut: batches that a client sends, to a table or as parameters of a statement.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <arrow/record_batch.h>

#include "core/memory.h"
#include "core/status.h"
#include "query/engine.h"
#include "serve/flight_batches.h"
#include "serve/flight_queries.h"
#include "serve/prepared_statements.h"
#include "serve/transport.h"
#include "store/database.h"
#include "wire/flight_sql_messages.h"

namespace sheaf::serve {

/// What becomes of the batches of one stream. Batch() and End() are called one at a time, on workers; Stop() by any thread.
class PutSink {
 public:
  virtual ~PutSink() = default;
  /// Before the first batch, and where none comes.
  virtual Status Schema(const std::shared_ptr<arrow::Schema>& schema) = 0;
  /// `metadata` is the client's own. Does not keep the batch.
  virtual Status Batch(const std::shared_ptr<arrow::RecordBatch>& batch, std::string_view metadata) = 0;
  /// Runs `next` once another batch is wanted.
  virtual void WhenReady(std::function<void()> next) = 0;
  /// The client has sent all: finishes the call when everything is done.
  virtual void End() = 0;
  /// Finishes the call with `why`, once what is under way is done.
  virtual void Stop(GrpcStatus why) = 0;
  /// An error of reading into pool(), as clients are told it.
  virtual Status Explained(const Status& error) const { return error; }
  /// Memory that batches are read into.
  virtual arrow::MemoryPool* pool() = 0;
  /// Whether that is for this stream alone.
  virtual bool owns_pool() const = 0;
};

/// What puts are made of; all borrowed.
struct PutContext {
  store::Database* database = nullptr;
  query::Engine* engine = nullptr;
  FlightQueries* queries = nullptr;
  PreparedStatements* prepared = nullptr;
  int64_t retry_after_ms = 1000;
  int64_t memory_bytes_max = int64_t{256} << 20;             // Of one stream's batches, inflated.
  arrow::MemoryPool* memory = arrow::default_memory_pool();  // What all streams share.
  std::function<void()> relieve = [] {};                     // Ends the stream that holds most of it, since it is used up.
  int unanswered_batches_max = 32;  // A stream with so many batches on their way to disk is read no further.
};

/// One call of DoPut: finds out what its first message is about, and hands the rest to the sink for it.
class FlightPut final : public GrpcReceiver {
 public:
  using Clock = std::chrono::steady_clock;

  FlightPut(const PutContext& context, std::shared_ptr<GrpcStreamCall> call, std::function<void(FlightPut*)> gone)
      : context_(context), call_(std::move(call)), gone_(std::move(gone)) {}
  ~FlightPut() override { gone_(this); }

  void OnMessage(std::unique_ptr<Body> message, std::function<void()> next) override;
  void OnEnd() override;
  /// The server stops.
  void Stop() SHEAF_EXCLUDES(mutex_);
  /// Ends the stream, once what came is answered.
  void Stop(const Status& why) SHEAF_EXCLUDES(mutex_);
  /// Bytes of its batches that it holds.
  int64_t memory_bytes() const SHEAF_EXCLUDES(mutex_);
  /// Since when it waits for the client; nothing where it does not.
  std::optional<Clock::time_point> idle_since() const SHEAF_EXCLUDES(mutex_);

 private:
  Status Begin(std::string_view descriptor);
  Status Take(std::string_view message);
  Status TellSchema();
  void Fail(const Status& error);
  void StopWith(GrpcStatus why) SHEAF_EXCLUDES(mutex_);
  void SetIdle(std::optional<Clock::time_point> since) SHEAF_EXCLUDES(mutex_);
  bool stopping() const SHEAF_EXCLUDES(mutex_);
  std::shared_ptr<PutSink> sink() const SHEAF_EXCLUDES(mutex_);

  const PutContext context_;
  const std::shared_ptr<GrpcStreamCall> call_;
  const std::function<void(FlightPut*)> gone_;
  bool schema_told_ = false, failed_ = false;
  mutable Mutex mutex_;
  std::shared_ptr<PutSink> sink_ SHEAF_GUARDED_BY(mutex_);
  bool stopping_ SHEAF_GUARDED_BY(mutex_) = false;
  std::optional<Clock::time_point> idle_since_ SHEAF_GUARDED_BY(mutex_) = Clock::now();
  std::unique_ptr<FlightBatchReader> reader_;  // Goes before the sink, whose memory it uses.
};

/// Whether clients may send rows for the table as they are: not for those of telemetry, whose rows only OTLP knows how to make,
/// nor for the engine's own. Error: Denied (says what does work).
Status CheckTakesRows(const store::TableInfo& table);

/// Rows for a table that is there; each batch is acknowledged with {"rows", "lsn"} once it is durable, and the client's metadata
/// of it is its batch id. Error: NotFound, Denied.
Result<std::shared_ptr<PutSink>> MakeTableSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                               const std::vector<std::string>& path);
/// Bulk ingest: makes or replaces the table as asked, and answers once with the number of rows. Errors: Unsupported, Invalid.
Result<std::shared_ptr<PutSink>> MakeIngestSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                                const wire::FlightSqlIngest& ingest);
/// A statement that writes, with or without parameters. `handle` empty: not prepared, `sql` is its text. Errors: NotFound, the
/// engine's.
Result<std::shared_ptr<PutSink>> MakeUpdateSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                                const std::string& handle, const std::string& sql);
/// Parameters of a prepared statement, for its next execution. Error: NotFound.
Result<std::shared_ptr<PutSink>> MakeBindSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                              const std::string& handle);

/// The table that a path of Flight means: [schema, table], [table] of the default schema, or [otlp, signal]. NotFound (names the
/// nearest).
Result<std::shared_ptr<const store::TableInfo>> FindPathTable(const store::Database& database,
                                                              const std::vector<std::string>& path);

}  // namespace sheaf::serve
