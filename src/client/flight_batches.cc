#include "client/flight_batches.h"

#include <cstring>
#include <utility>

#include <arrow/buffer.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/compression.h>

#include "wire/dictionary_indexes.h"
#include "wire/ipc_schema_limits.h"
#include "wire/protobuf_writer.h"

namespace sheaf::client {
namespace {

/// Before a header in an IPC stream: 0xFFFFFFFF and the header's length.
constexpr int64_t kPrefixBytes = 8;
constexpr int64_t kBodyAlignment = 64;
constexpr int64_t kBufferBytesMax = int64_t{1} << 30;  // Of what comes, inflated.

int64_t PaddedTo(int64_t size, int64_t alignment) { return (size + alignment - 1) / alignment * alignment; }

Result<arrow::ipc::IpcWriteOptions> WriteOptionsOf(wire::IpcCodec codec) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.use_threads = false;
  if (codec == wire::IpcCodec::kNone) return options;
  const auto type = codec == wire::IpcCodec::kLz4 ? arrow::Compression::LZ4_FRAME : arrow::Compression::ZSTD;
  SHEAF_ASSIGN_OR_RETURN(options.codec, arrow::util::Codec::Create(type));
  return options;
}

Result<std::string> MessageOf(const arrow::ipc::IpcPayload& payload, std::string_view metadata) {
  std::string data;
  data.reserve(static_cast<size_t>(payload.metadata->size() + payload.body_length) + metadata.size() + 48);
  wire::BeginFlightData(std::string_view(*payload.metadata), metadata, static_cast<size_t>(payload.body_length), &data);
  const size_t begin = data.size();
  for (const auto& buffer : payload.body_buffers) {
    if (buffer == nullptr) continue;
    data.append(reinterpret_cast<const char*>(buffer->data()), static_cast<size_t>(buffer->size()));
    data.resize(begin + static_cast<size_t>(PaddedTo(static_cast<int64_t>(data.size() - begin), 8)));
  }
  if (data.size() - begin == static_cast<size_t>(payload.body_length)) return data;
  return MakeError(ErrorKind::kInternal, "a batch of {} bytes took {}", payload.body_length, data.size() - begin);
}

/// Keeps what Arrow's writer makes.
class Payloads final : public arrow::ipc::internal::IpcPayloadWriter {
 public:
  Status Start() override { return Status::OK(); }
  Status WritePayload(const arrow::ipc::IpcPayload& payload) override {
    made.push_back(payload);
    return Status::OK();
  }
  Status Close() override { return Status::OK(); }
  std::vector<arrow::ipc::IpcPayload> made;
};

/// Notes what a decoder finds.
class Found final : public arrow::ipc::Listener {
 public:
  Status OnSchemaDecoded(std::shared_ptr<arrow::Schema> decoded) override {
    schema = std::move(decoded);
    return Status::OK();
  }
  Status OnRecordBatchDecoded(std::shared_ptr<arrow::RecordBatch> decoded) override {
    batch = std::move(decoded);
    return Status::OK();
  }
  std::shared_ptr<arrow::Schema> schema;
  std::shared_ptr<arrow::RecordBatch> batch;
};

/// The default pool, but for single buffers beyond a limit: a compressed one says itself how large it becomes. Lives as long as the
/// process, as batches may outlive their reader.
class BufferLimitPool final : public arrow::MemoryPool {
 public:
  Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override {
    SHEAF_RETURN_NOT_OK(Check(size));
    return pool_->Allocate(size, alignment, out);
  }
  Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) override {
    SHEAF_RETURN_NOT_OK(Check(new_size));
    return pool_->Reallocate(old_size, new_size, alignment, ptr);
  }
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override { pool_->Free(buffer, size, alignment); }
  int64_t bytes_allocated() const override { return pool_->bytes_allocated(); }
  int64_t total_bytes_allocated() const override { return pool_->total_bytes_allocated(); }
  int64_t num_allocations() const override { return pool_->num_allocations(); }
  std::string backend_name() const override { return pool_->backend_name(); }

 private:
  static Status Check(int64_t bytes) {
    if (bytes <= kBufferBytesMax) return Status::OK();
    return MakeError(ErrorKind::kOutOfMemory, "a buffer of {} bytes came; at most {}", bytes, kBufferBytesMax);
  }
  arrow::MemoryPool* const pool_ = arrow::default_memory_pool();
};

arrow::MemoryPool* ReadPool() {
  static BufferLimitPool* const pool = new BufferLimitPool();  // Never destroyed.
  return pool;
}

arrow::ipc::IpcReadOptions ReadOptions() {
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = ReadPool();
  options.use_threads = false;
  options.ensure_alignment = arrow::ipc::Alignment::kDataTypeSpecificAlignment;
  return options;
}

Status Malformed(const Status& why) {
  if (KindOf(why) == ErrorKind::kOutOfMemory) return why;
  return MakeError(ErrorKind::kInvalid, "what the server sent is no valid Arrow data: {}", why.message());
}

}  // namespace

struct FlightBatchWriter::State {
  std::shared_ptr<arrow::Schema> schema;
  wire::IpcCodec codec;
  Payloads* payloads = nullptr;  // Of `writer`.
  std::unique_ptr<arrow::ipc::RecordBatchWriter> writer;
};

FlightBatchWriter::FlightBatchWriter(std::shared_ptr<arrow::Schema> schema, wire::IpcCodec codec)
    : state_(std::make_unique<State>(State{std::move(schema), codec, nullptr, nullptr})) {}
FlightBatchWriter::~FlightBatchWriter() = default;

Result<std::string> FlightBatchWriter::Begin(std::string_view descriptor) {
  SHEAF_ASSIGN_OR_RETURN(const auto options, WriteOptionsOf(state_->codec));
  auto payloads = std::make_unique<Payloads>();
  state_->payloads = payloads.get();
  SHEAF_ASSIGN_OR_RETURN(state_->writer, arrow::ipc::internal::OpenRecordBatchWriter(std::move(payloads), state_->schema, options));
  const arrow::ipc::DictionaryFieldMapper dictionaries(*state_->schema);
  arrow::ipc::IpcPayload payload;
  SHEAF_RETURN_NOT_OK(arrow::ipc::GetSchemaPayload(*state_->schema, options, dictionaries, &payload));
  state_->payloads->made.clear();
  std::string data;
  wire::ProtobufWriter(&data).Bytes(1, descriptor);
  SHEAF_ASSIGN_OR_RETURN(const std::string rest, MessageOf(payload, {}));
  return data + rest;
}

Result<std::vector<std::string>> FlightBatchWriter::Batch(const arrow::RecordBatch& batch, std::string_view metadata) {
  if (!batch.schema()->Equals(*state_->schema, false)) {
    return MakeError(ErrorKind::kInvalid, "the batch has another schema than its stream");
  }
  state_->payloads->made.clear();
  SHEAF_RETURN_NOT_OK(state_->writer->WriteRecordBatch(batch));
  std::vector<std::string> messages;
  for (const arrow::ipc::IpcPayload& payload : state_->payloads->made) {
    if (payload.type == arrow::ipc::MessageType::SCHEMA) continue;  // Begin() made it.
    const bool is_batch = payload.type == arrow::ipc::MessageType::RECORD_BATCH;
    SHEAF_ASSIGN_OR_RETURN(auto message, MessageOf(payload, is_batch ? metadata : std::string_view()));
    messages.push_back(std::move(message));
  }
  return messages;
}

struct FlightBatchReader::State {
  const std::shared_ptr<Found> found = std::make_shared<Found>();
  arrow::ipc::StreamDecoder decoder{found, ReadOptions()};
};

FlightBatchReader::FlightBatchReader() : state_(std::make_unique<State>()) {}
FlightBatchReader::~FlightBatchReader() = default;
const std::shared_ptr<arrow::Schema>& FlightBatchReader::schema() const { return state_->found->schema; }

Result<std::shared_ptr<arrow::RecordBatch>> FlightBatchReader::Take(const wire::FlightData& data) {
  if (data.header.empty() && data.body.empty()) return nullptr;
  SHEAF_RETURN_NOT_OK(wire::CheckIpcHeader(data.header));
  // As a message of an IPC stream, with its body where buffers are aligned.
  const int64_t body_begin = PaddedTo(kPrefixBytes + static_cast<int64_t>(data.header.size()), kBodyAlignment);
  const int64_t message_bytes = body_begin + static_cast<int64_t>(data.body.size());
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(message_bytes, ReadPool()));
  uint8_t* out = bytes->mutable_data();
  const uint32_t prefix[] = {0xFFFFFFFF, static_cast<uint32_t>(body_begin - kPrefixBytes)};
  std::memset(out, 0, static_cast<size_t>(body_begin));
  std::memcpy(out, prefix, sizeof prefix);
  std::memcpy(out + kPrefixBytes, data.header.data(), data.header.size());
  if (!data.body.empty()) std::memcpy(out + body_begin, data.body.data(), data.body.size());
  const int64_t before = state_->decoder.stats().num_messages;
  const Status consumed = state_->decoder.Consume(std::move(bytes));
  if (!consumed.ok()) return Malformed(consumed);
  const bool whole = state_->decoder.next_required_size() == static_cast<int64_t>(sizeof(uint32_t));  // Of the next message's prefix.
  if (state_->decoder.stats().num_messages != before + 1 || !whole) {
    return MakeError(ErrorKind::kInvalid, "the body of a message is not as long as its header says");
  }
  auto batch = std::exchange(state_->found->batch, nullptr);
  if (batch == nullptr) return nullptr;
  const Status valid = batch->ValidateFull();
  if (!valid.ok()) return Malformed(valid);
  return wire::ZeroNullIndexes(batch, ReadPool());
}

}  // namespace sheaf::client
