/// The bytes of one request: gathered as they arrive, in one piece, each step reserved before it is held.

#pragma once

#include <memory>
#include <span>

#include "core/status.h"
#include "serve/memory_account.h"
#include "serve/transport.h"
#include "wire/byte_buffer.h"
#include "wire/compression.h"

namespace sheaf::serve {

/// What a request costs beside its body, so that many empty ones count as well.
inline constexpr int64_t kRequestOverheadBytes = 1 << 10;

/// Not thread-safe.
class MessageBuffer {
 public:
  MessageBuffer() = default;
  explicit MessageBuffer(std::shared_ptr<MemoryAccount> account) : share_(std::move(account)) {}

  /// Promises the final size, if the peer told it. Reserves and allocates little of it: promises cost nothing.
  void Expect(int64_t bytes) { expected_ = bytes; }

  /// False when memory is short; the buffer is then as before.
  [[nodiscard]] bool Append(std::span<const std::byte> data);

  int64_t size() const { return static_cast<int64_t>(buffer_.size()); }
  std::span<const std::byte> bytes() const { return buffer_.bytes(); }

 private:
  friend Result<std::unique_ptr<Body>> MakeBody(MessageBuffer message, wire::Encoding encoding, const wire::InflateLimits& limits);

  MemoryShare share_;
  wire::ByteBuffer buffer_;
  int64_t expected_ = -1;  // Unknown.
};

/// Turns what arrived into what a handler gets: inflates it, if it is compressed, within `limits`. May take a while.
///
/// Invalid, TooLarge, Throttled (memory is short), OutOfMemory: as wire::Inflate.
Result<std::unique_ptr<Body>> MakeBody(MessageBuffer message, wire::Encoding encoding, const wire::InflateLimits& limits);

}  // namespace sheaf::serve
