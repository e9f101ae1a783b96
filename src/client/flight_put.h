/// Rows to a table of a Flight server, durable, and each batch there once: several streams, many batches on their way on each, and what
/// was under way when a stream broke is sent again with its id, which the server knows.
///
///   auto put = FlightPut::Open(client, {"main", "readings"}, {}).ValueOrDie();
///   put->Put(batch, "", [](Result<uint64_t> lsn) { … });   // Waits only while too much is under way.
///   Status all = put->Finish();

#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arrow/record_batch.h>

#include "client/flight_client.h"
#include "core/mutex.h"
#include "core/status.h"

namespace sheaf::client {

struct FlightPutOptions {
  int streams = 1;                                  // At once. With more than one, batches may come in another order than they were put.
  int batches_max = 16;                             // Under way on one stream.
  int64_t waiting_bytes_max = int64_t{64} << 20;    // Put and not acknowledged; Put() waits beyond. One batch always fits.
  int attempts_max = 20;                            // Of one batch in a row; then it is told the error.
};

/// Thread-safe. Borrows its client, which outlives it.
class FlightPut {
 public:
  /// The LSN of the batch, once it is on disk there, or why it is not: the server's error for this batch; Unknown (no attempt was answered:
  /// it may be there; put again with its id it is there once), Cancelled. 0: it had no rows.
  using Done = std::function<void(Result<uint64_t> lsn)>;

  /// `path`: [schema, table], or [table]. Connects by and by. Error: Invalid (no path; options).
  static Result<std::unique_ptr<FlightPut>> Open(FlightClient* client, std::vector<std::string> path, const FlightPutOptions& options);
  /// Gives up what is not acknowledged: those are told Cancelled, and may be there or not.
  ~FlightPut();

  /// Puts a batch. `id`, up to 64 bytes: the server takes it once; empty: one is made. Waits while waiting_bytes_max are under way.
  /// `done`, which may be empty, runs once, on another thread; it must be short, and may not put. Errors (then `done` is not run): Invalid
  /// (an id that is too long), Unavailable (finished).
  Status Put(std::shared_ptr<arrow::RecordBatch> batch, std::string id, Done done) SHEAF_EXCLUDES(mutex_);

  /// Takes no more, and waits until each batch is acknowledged or told its error. Returns the first such error.
  Status Finish() SHEAF_EXCLUDES(mutex_);

 private:
  struct Item {
    std::shared_ptr<arrow::RecordBatch> batch;
    std::string id;
    Done done;
    int64_t bytes = 0;
    int attempts = 0;  // In a row that said nothing of it.
  };
  class Lane;
  /// Told by the callbacks of connections too, which may outlive this.
  struct Signal {
    Mutex mutex;
    CondVar changed;
  };
  FlightPut(FlightClient* client, std::vector<std::string> path, const FlightPutOptions& options);
  /// The next item. Null where `or_until` is true, at `deadline`, and where no more will come.
  std::unique_ptr<Item> Next(const std::function<bool()>& or_until, std::chrono::steady_clock::time_point deadline) SHEAF_EXCLUDES(mutex_);
  /// Waits; false where this is to end before.
  bool Pause(std::chrono::milliseconds wait) SHEAF_EXCLUDES(mutex_);
  bool finished() const SHEAF_EXCLUDES(mutex_);
  bool aborted() const SHEAF_EXCLUDES(mutex_);
  void Answer(std::unique_ptr<Item> item, Result<uint64_t> lsn) SHEAF_EXCLUDES(mutex_);

  FlightClient* const client_;
  const std::vector<std::string> path_;
  const FlightPutOptions options_;
  const std::string id_prefix_;  // Of ids that are made: random.
  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();
  Mutex& mutex_ = signal_->mutex;
  CondVar& changed_ = signal_->changed;
  std::deque<std::unique_ptr<Item>> waiting_ SHEAF_GUARDED_BY(mutex_);
  int64_t bytes_ SHEAF_GUARDED_BY(mutex_) = 0, items_ SHEAF_GUARDED_BY(mutex_) = 0;  // Put and not answered.
  uint64_t made_ids_ SHEAF_GUARDED_BY(mutex_) = 0;
  bool finished_ SHEAF_GUARDED_BY(mutex_) = false;  // Nothing more is taken.
  bool aborted_ SHEAF_GUARDED_BY(mutex_) = false;   // Nothing more is waited for.
  Status first_error_ SHEAF_GUARDED_BY(mutex_);
  std::vector<std::thread> lanes_;
};

}  // namespace sheaf::client
