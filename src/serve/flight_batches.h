/// Record batches as Flight carries them: one IPC message in each FlightData.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "core/status.h"
#include "wire/flight_messages.h"

namespace sheaf::serve {

/// An encapsulated IPC message, as FlightInfo, SchemaResult and Flight SQL's results have schemas. Errors: Unsupported (a
/// dictionary).
Result<std::string> SchemaBytes(const arrow::Schema& schema);

/// A FlightData each, of plain (not dictionary-encoded) columns. One copy of the batch's bytes. Errors: Unsupported, Arrow's.
Result<std::string> EncodeSchemaData(const arrow::Schema& schema);
Result<std::string> EncodeBatchData(const arrow::RecordBatch& batch);

/// Most bytes of a message's header; what it may make a reader allocate is limited by wire/ipc_schema_limits.h.
inline constexpr size_t kFlightHeaderBytesMax = 1 << 20;
/// Most messages that bring no rows (dictionaries, their deltas, empty batches) in a row.
inline constexpr int kFlightIdleMessagesMax = 10'000;

/// Reads the batches of one stream, which come from a stranger: everything is checked before it is handed on. Not thread-safe.
class FlightBatchReader {
 public:
  /// Batches live in memory of `pool`, which must outlive them, and whose limit is how far a message may inflate.
  explicit FlightBatchReader(arrow::MemoryPool* pool);
  ~FlightBatchReader();

  /// Takes the next message; the batch that it holds, or null where it is a schema, a dictionary or empty. Copies what it keeps.
  /// Errors: Invalid (malformed; a batch before its schema), TooLarge (also more rows than query::kRowsReadMax), OutOfMemory.
  Result<std::shared_ptr<arrow::RecordBatch>> Take(const wire::FlightData& data);

  /// Null until it came.
  const std::shared_ptr<arrow::Schema>& schema() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

/// With buffers of its own, in memory of `pool`: what a slice of a message keeps alive is the whole of it. OutOfMemory.
Result<std::shared_ptr<arrow::RecordBatch>> CopyOfBatch(const arrow::RecordBatch& batch, arrow::MemoryPool* pool);

/// An IPC stream of one schema and its batches, and back: parameters of a statement inside a ticket.
Result<std::string> BatchesToIpc(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);
/// Batches live in memory of `pool`, whose limit is how far they may inflate. Errors: Invalid, OutOfMemory.
Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> BatchesFromIpc(std::string_view bytes, arrow::MemoryPool* pool);

}  // namespace sheaf::serve
