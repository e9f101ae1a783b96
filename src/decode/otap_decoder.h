/// OTel-Arrow (OTAP) batches to record batches of the ready tables: from the columns that were received to ours, without objects.
///
/// A stream's batches build on each other: each payload type has an Arrow IPC stream with dictionaries that later batches extend.
/// An OtapStream keeps that, one for each gRPC stream; an OtapDecoder has the memory in which batches are made, and is lent to
/// streams. docs/otel-arrow.md says what of the protocol is read and how.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "decode/decoder.h"
#include "wire/otap_messages.h"

namespace sheaf::decode {

enum class OtapSignal { kTraces, kLogs, kMetrics };

struct OtapLimits {
  Limits batch;                                  // Of one batch; its memory goes by the size of its payloads.
  int64_t stream_bytes_max = int64_t{64} << 20;  // What a stream may keep between batches: dictionaries and schemas.
};

/// What one stream keeps between its batches. Not thread-safe.
class OtapStream {
 public:
  explicit OtapStream(OtapSignal signal, const OtapLimits& limits = {});
  ~OtapStream();
  OtapStream(const OtapStream&) = delete;
  OtapStream& operator=(const OtapStream&) = delete;

  OtapSignal signal() const;
  /// The memory it keeps now, at most stream_bytes_max.
  int64_t held_bytes() const;
  /// Whether a payload was not applied for its size or for want of memory, through no fault of its sender: later batches that
  /// build on it are refused as Unavailable, until its payload type begins with a schema again. Another stream begins anew.
  bool lost() const;

 private:
  friend class OtapDecoder;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Decodes one batch after the other, of any streams, and recycles its memory between them, as Decoder does. Not thread-safe.
class OtapDecoder {
 public:
  /// Borrows `pool`, from which all columns come; it must outlive the batches too.
  explicit OtapDecoder(const OtapLimits& limits = {}, arrow::MemoryPool* pool = arrow::default_memory_pool());
  ~OtapDecoder();
  OtapDecoder(const OtapDecoder&) = delete;
  OtapDecoder& operator=(const OtapDecoder&) = delete;

  /// The memory it keeps between batches.
  int64_t kept_bytes() const;

  /// Decodes a batch. Spans with bad ids are counted in `rejected`; the rest is kept. What the columns cannot say goes to
  /// `original`, as Decoder does it: the batch then goes through OTLP.
  ///
  /// Errors: Invalid (not Arrow IPC, types or ids that the protocol does not allow, overflow; the table and row are named),
  /// Unsupported (a payload of another signal, or an Arrow type without a meaning here), TooLarge (a limit), OutOfMemory, Unavailable
  /// (OtapStream::lost()). Only this batch is lost: all of its payloads have been applied to the stream as far as they could be
  /// read, and payload types that could not be read wait for a schema.
  Result<DecodeResult> Decode(OtapStream* stream, const wire::BatchArrowRecords& batch);

  /// Applies a batch to its stream and makes no rows of it: for a batch that is refused, on which later ones build all the same.
  void Skip(OtapStream* stream, const wire::BatchArrowRecords& batch);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sheaf::decode
