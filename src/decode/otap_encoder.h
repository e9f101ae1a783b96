/// Record batches of the ready tables to OTel-Arrow (OTAP) batches: the way out, for exporters and forwarding.
///
///   OtapStreamEncoder encoder(OtapSignal::kTraces);                    // One for each gRPC stream.
///   SHEAF_ASSIGN_OR_RETURN(const OtapEncoded sent, encoder.Encode({&table, 1}, &message));
///   … send `message`, wait for the BatchStatus of sent.batch_id (wire/otap_messages.h) …
///
/// A stream's messages build on each other: schemas and dictionaries are sent once and then extended. So every message must be
/// sent, in order, in the stream that its encoder stands for, and none of them twice. A batch that must be sent again is encoded
/// again: keep the rows, not the message. Where a stream ends, or refuses a batch in a way that leaves open what it made of it,
/// open another and Restart(). docs/otel-arrow.md says how it is written.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/status.h"
#include "decode/decoder.h"
#include "decode/otap_decoder.h"
#include "wire/arrow_ipc.h"

namespace sheaf::decode {

/// What the rows of one message may be at most, of all its tables together: ids of records have 16 bits. Slice what is larger.
inline constexpr int64_t kOtapRowsMax = 65'535;

struct OtapEncoderOptions {
  /// Of the buffers inside. Where the gRPC stream compresses as a whole, kNone: once is enough, and about as small.
  wire::IpcCodec codec = wire::IpcCodec::kZstd;
  int zstd_level = 1;
  /// What the encoder may keep between messages, and ask its receiver to keep: dictionaries. They begin anew before it is
  /// reached.
  int64_t stream_bytes_max = int64_t{32} << 20;
  /// Whether the metadata of metrics is sent, as METRIC_ATTRS. The Go library (0.46) refuses batches that hold them: for
  /// receivers that are known to take them, as this project's does.
  bool metric_metadata = false;
};

/// What became of the rows.
struct OtapEncoded {
  int64_t batch_id = 0;  // Which their BatchStatus names. From 0 on in each stream.
  int64_t rows = 0;
  /// Rows about which the message does not say all that OTLP would: they have an `original` (unknown fields, text that was
  /// repaired, …), or their resource, scope or metric has fields that OTel-Arrow has no columns for. What the columns hold is
  /// sent.
  int64_t inexact_rows = 0;
};

/// Encodes the batches of one stream. Recycles its memory. Not thread-safe.
class OtapStreamEncoder {
 public:
  explicit OtapStreamEncoder(OtapSignal signal, const OtapEncoderOptions& options = {});
  ~OtapStreamEncoder();
  OtapStreamEncoder(const OtapStreamEncoder&) = delete;
  OtapStreamEncoder& operator=(const OtapStreamEncoder&) = delete;

  OtapSignal signal() const;
  /// What it keeps between messages.
  int64_t held_bytes() const;

  /// Appends to `out` a serialised BatchArrowRecords of all rows of `tables`: batches of tables of this signal, each with
  /// SignalSchema(), in any number; metrics of several tables may share a message. Rows come by resource and scope, otherwise in
  /// their order. Without rows, a message without payloads, which is answered as any other.
  ///
  /// Errors: Invalid (a table of another signal, another schema, or values that no decoder writes; column and row are named),
  /// TooLarge (more than kOtapRowsMax rows), OutOfMemory. Then `out` is as it was, no id was used, and the stream goes on with
  /// the next message, which brings its schemas and dictionaries anew.
  Result<OtapEncoded> Encode(std::span<const TableBatch> tables, std::string* out);

  /// Begins again, for a new gRPC stream: batch ids from 0, schemas and dictionaries from nothing.
  void Restart();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sheaf::decode
