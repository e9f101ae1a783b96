/// OTel-Arrow's protobuf messages of whatever bytes: read within bounds or refused, and what was read is read again from what
/// is written of it.

#include <cstdint>
#include <string>

#include "core/check.h"
#include "wire/otap_messages.h"

namespace {

namespace wire = sheaf::wire;

void CheckBatch(const std::string& bytes) {
  wire::BatchArrowRecords batch, again;
  const sheaf::Status status = wire::ReadBatchArrowRecords(bytes, &batch);
  if (!status.ok()) {
    SHEAF_CHECK(sheaf::KindOf(status) == sheaf::ErrorKind::kInvalid || sheaf::KindOf(status) == sheaf::ErrorKind::kTooLarge);
    return;
  }
  std::string written;
  wire::BatchArrowRecordsWriter writer(batch.batch_id, &written);
  for (const wire::ArrowPayload& payload : batch.payloads) writer.Add(payload);
  SHEAF_CHECK(wire::ReadBatchArrowRecords(written, &again).ok());
  SHEAF_CHECK(again.batch_id == batch.batch_id && again.payloads.size() == batch.payloads.size());
  for (size_t i = 0; i < batch.payloads.size(); ++i) {
    const wire::ArrowPayload &a = batch.payloads[i], &b = again.payloads[i];
    SHEAF_CHECK(a.schema_id == b.schema_id && a.type == b.type && a.record == b.record);
  }
}

void CheckStatus(const std::string& bytes) {
  wire::BatchStatus status, again;
  const sheaf::Status read = wire::ReadBatchStatus(bytes, &status);
  if (!read.ok()) {
    SHEAF_CHECK(sheaf::KindOf(read) == sheaf::ErrorKind::kInvalid);
    return;
  }
  const std::string written = wire::EncodeBatchStatus(status.batch_id, status.status_code, status.message);
  SHEAF_CHECK(wire::ReadBatchStatus(written, &again).ok());
  SHEAF_CHECK(again.batch_id == status.batch_id && again.status_code == status.status_code && again.message == status.message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);  // In memory of its own: what is read beyond it is seen.
  CheckBatch(bytes);
  CheckStatus(bytes);
  return 0;
}
