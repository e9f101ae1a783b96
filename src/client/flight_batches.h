/// Record batches as a client of Arrow Flight writes and reads them: one IPC message in each FlightData.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/record_batch.h>

#include "core/status.h"
#include "wire/arrow_ipc.h"
#include "wire/flight_messages.h"

namespace sheaf::client {

/// Writes one stream: its schema, then batches. Not thread-safe.
class FlightBatchWriter {
 public:
  /// `codec` compresses the buffers of batches; those that do not become smaller are sent as they are.
  FlightBatchWriter(std::shared_ptr<arrow::Schema> schema, wire::IpcCodec codec);
  ~FlightBatchWriter();

  /// The stream's first message, for the descriptor (encoded). Errors: Unsupported, Arrow's.
  Result<std::string> Begin(std::string_view descriptor);
  /// The messages of a batch: its dictionaries where they changed, then itself with `metadata`, the application's. Errors: Invalid (another
  /// schema), Unsupported, Arrow's.
  Result<std::vector<std::string>> Batch(const arrow::RecordBatch& batch, std::string_view metadata);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

/// Reads one stream. What a server sends is checked before it is handed on. Not thread-safe.
class FlightBatchReader {
 public:
  FlightBatchReader();
  ~FlightBatchReader();

  /// Takes the next message; returns its batch, or null where it is a schema or a dictionary. Errors: Invalid (no Arrow data), OutOfMemory.
  Result<std::shared_ptr<arrow::RecordBatch>> Take(const wire::FlightData& data);
  /// Null until it came.
  const std::shared_ptr<arrow::Schema>& schema() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace sheaf::client
