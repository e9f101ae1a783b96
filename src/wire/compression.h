/// gzip, deflate and zstd, as HTTP's Content-Encoding and gRPC's grpc-encoding use them.
///
/// What is inflated comes from strangers: output is limited before it exists, in bytes and, beyond 4 MiB, by
/// its ratio to the input, so that a small message cannot ask for gigabytes of memory or seconds of work.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/status.h"
#include "wire/byte_buffer.h"

namespace sheaf::wire {

enum class Encoding { kIdentity, kGzip, kDeflate, kZstd };

/// Returns the encoding of that name; "" is identity. Also knows the names "zstdarrow1" to "zstdarrow10" that
/// OTel-Arrow exporters give to plain zstd. Nothing for any other name.
std::optional<Encoding> ParseEncoding(std::string_view name);
const char* EncodingName(Encoding encoding);

/// Picks what `accept_encoding` (an HTTP header with optional q values) likes best: zstd, gzip, deflate or identity.
Encoding ChooseEncoding(std::string_view accept_encoding);

/// Output up to this size is free of the ratio limit.
inline constexpr int64_t kRatioFreeBytes = int64_t{4} << 20;
/// A zstd frame that needs a larger window is refused.
inline constexpr int kZstdWindowLogMax = 23;

struct InflateLimits {
  int64_t bytes_max = int64_t{64} << 20;
  int ratio_max = 100;  // Output to input, beyond kRatioFreeBytes.
};

/// Asked before the output grows to hold `bytes_total`; false refuses.
using ReserveOutput = std::function<bool(int64_t bytes_total)>;

/// Inflates the whole of `input`: for gzip and zstd any number of members or frames; "deflate" is the zlib format,
/// raw deflate is read as well. Thread-safe; keeps decoders per thread.
///
/// TooLarge: over the limits. Invalid: malformed, cut off, followed by other bytes, or a window over 8 MiB.
/// Throttled: `reserve` refused. OutOfMemory: the system has no memory.
Result<ByteBuffer> Inflate(Encoding encoding, std::span<const std::byte> input, const InflateLimits& limits,
                           const ReserveOutput& reserve = {});

/// Compresses `input` in one go at a fast level. Errors: OutOfMemory.
Result<std::string> Compress(Encoding encoding, std::string_view input);

/// Compresses an answer whose end is not yet known. Not thread-safe.
class StreamCompressor {
 public:
  static Result<std::unique_ptr<StreamCompressor>> Make(Encoding encoding);
  virtual ~StreamCompressor() = default;
  /// Returns what there is to send by now, possibly nothing. With `last` the stream is complete afterwards.
  virtual Result<std::string> Push(std::string_view input, bool last) = 0;
};

}  // namespace sheaf::wire
