/// The messages of one table's rows in a log entry: Arrow IPC, made from the arrays' buffers without copying these.

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <arrow/ipc/options.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>

#include "core/status.h"
#include "store/log_payload.h"
#include "wire/arrow_batch_message.h"

namespace sheaf::store {

/// Of sections and of the bodies in them.
inline constexpr int64_t kSectionAlignment = 64;
/// Continuation marker and length of the metadata, before each message.
inline constexpr int64_t kMessagePrefixBytes = 8;

const arrow::ipc::IpcWriteOptions& SectionIpcOptions();

/// Where the body of a message at `position` of a section begins: its metadata is padded so that the body is aligned.
int64_t BodyPosition(int64_t position, const wire::IpcMessage& message);

/// Not yet written: bodies still point at the caller's buffers.
struct Messages {
  std::vector<std::pair<int64_t, int64_t>> dictionaries = {};  // Id and length of the first messages, in order.
  std::vector<wire::IpcMessage> messages = {};                 // Dictionaries, then the record batch.
  std::vector<arrow::ipc::IpcPayload> payloads = {};  // Those that Arrow's writer made, whose buffers `messages` point to.
  int64_t bytes = 0;
};

/// Errors: those of Arrow's writer.
Result<Messages> PlanMessages(const BatchCodec& codec, const arrow::RecordBatch& batch);

}  // namespace sheaf::store
