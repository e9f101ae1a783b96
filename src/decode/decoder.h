/// OTLP export requests to record batches, without message objects: the hot path of ingest.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "core/status.h"
#include "decode/schemas.h"
#include "wire/otlp_json.h"

namespace sheaf::decode {

/// What a request may hold at most. Beyond: kTooLarge.
struct Limits {
  int64_t records_max = 1'000'000;
  int attribute_depth_max = 32;         // nesting of AnyValue
  int64_t attributes_per_record_max = 65'536;
  /// Memory that decoding may take beyond the request: so much, and so many bytes for each of its bytes. Together with
  /// the request itself that makes four times its size and 64 MiB.
  int64_t memory_bytes_base = int64_t{64} << 20;
  int64_t memory_per_request_byte = 3;
};

/// One table's rows out of a request, or out of several.
struct TableBatch {
  Signal signal;
  std::shared_ptr<arrow::RecordBatch> batch;  // never empty
};

/// What became of a request's records.
struct RecordCounts {
  int64_t accepted = 0;              // rows in `batches`
  int64_t rejected = 0;              // spans, log records or data points left out
  std::string rejected_reason;       // the first reason and how many others; empty where none
};

struct DecodeResult : RecordCounts {
  std::vector<TableBatch> batches;   // one for traces and logs; up to five for metrics
};

struct JointResult {
  std::vector<TableBatch> batches;     // As above, with the rows of all requests, in their order.
  std::vector<RecordCounts> requests;  // Of each.
};

/// Decodes one request after the other and recycles its memory between them: no allocation per record in
/// the steady state. What a large request needed beyond kKeptBytesMax is not kept. Not thread-safe; have one
/// per thread (or a pool of them).
///
/// The batches of a result may share the decoder's buffers. They stay valid for as long as they are
/// referenced (a buffer that is still referenced is replaced, not overwritten), but memory is reused
/// only if they are dropped before the next call: serialise (store does) and let go.
class Decoder {
 public:
  /// Borrows `pool`, from which all columns come; it must outlive the batches too.
  explicit Decoder(Limits limits = {}, arrow::MemoryPool* pool = arrow::default_memory_pool());
  ~Decoder();

  /// Of its own accord a decoder keeps no more than this between requests.
  static constexpr int64_t kKeptBytesMax = int64_t{24} << 20;
  /// The memory it keeps now.
  int64_t kept_bytes() const;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Decode the bytes of an Export{Trace,Logs,Metrics}ServiceRequest.
  /// Records with bad ids (spans: wrong length or all zero) are counted in `rejected`; the rest is kept.
  /// Errors: Invalid (not protobuf; the offset is named), TooLarge (a limit; which one is named),
  /// OutOfMemory (the pool refused). After an error the decoder is ready for the next request.
  Result<DecodeResult> Traces(std::span<const std::byte> request);
  Result<DecodeResult> Logs(std::span<const std::byte> request);
  Result<DecodeResult> Metrics(std::span<const std::byte> request);

  /// Decodes several requests of a kind into one batch a table: most of what a small request costs is the batch that it would be.
  /// Each has the limits that it has alone, but for memory, where all share what their bytes and one base allow. Errors: the first
  /// one's that failed, or TooLarge for them all; nothing is decoded then, and each is to be tried by itself.
  Result<JointResult> Together(wire::OtlpRequest kind, std::span<const std::string_view> requests);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sheaf::decode
