/// OTel-Arrow (OTAP): bidirectional streams of Arrow batches in, a status for each out.
///
/// A batch is decoded on the worker that received it, in the order of its stream, and handed to the log; its status goes out when
/// its rows are on disk and visible to queries, from the log's thread. What is wrong with a batch is said in its status, and the
/// stream goes on; docs/otel-arrow.md says with which codes. A stream ends early only where its state is lost: a message that
/// cannot be taken at all, memory, the end of the server.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/mutex.h"
#include "decode/otap_decoder.h"
#include "serve/decoder_pool.h"
#include "serve/otlp_service.h"
#include "serve/transport.h"

namespace sheaf::serve {

struct OtapOptions {
  decode::OtapLimits limits;
  int64_t memory_bytes_max = int64_t{256} << 20;  // What all streams may keep between batches; beyond, those above their share end.
  int64_t unanswered_batches_max = 64;            // Of a stream; then it waits before it takes the next one.
};

/// Thread-safe. Must outlive the transport it is registered with, and every append that it started: close the database first.
class OtapService {
 public:
  /// Borrows `otlp`, which appends what is decoded here, and whose admission and metrics count.
  OtapService(OtlpService* otlp, const OtapOptions& options);
  ~OtapService();

  /// Registers the three services on listener `grpc`.
  void Register(Transport* transport, const std::string& grpc);

  /// Ends all streams as soon as the batches under way are answered, and takes no more: they would keep the transport from
  /// draining.
  void EndStreams() SHEAF_EXCLUDES(mutex_);

  int64_t streams() const SHEAF_EXCLUDES(mutex_);
  /// What the streams keep between batches.
  int64_t memory_bytes() const { return memory_->bytes(); }

 private:
  class Stream;

  std::shared_ptr<GrpcReceiver> Begin(wire::OtlpRequest kind, std::shared_ptr<GrpcStreamCall> call) SHEAF_EXCLUDES(mutex_);
  void Forget(const Stream* stream) SHEAF_EXCLUDES(mutex_);

  OtlpService* const otlp_;  // Borrowed.
  const OtapOptions options_;
  DecoderPoolOf<decode::OtapDecoder, decode::OtapLimits> decoders_;
  const std::shared_ptr<MemoryCounter> memory_;
  mutable Mutex mutex_;
  std::vector<std::pair<const Stream*, std::weak_ptr<Stream>>> streams_ SHEAF_GUARDED_BY(mutex_);
  bool ended_ SHEAF_GUARDED_BY(mutex_) = false;
};

}  // namespace sheaf::serve
