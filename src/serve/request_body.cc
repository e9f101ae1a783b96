#include "serve/request_body.h"

#include <algorithm>

namespace sheaf::serve {
namespace {

constexpr int64_t kReserveStepBytes = 64 << 10;    // So that a small DATA frame is not an atomic operation each.
constexpr int64_t kFirstPieceBytes = 1 << 20;      // Allocated (not touched) on the word of the peer.

class HeldBody final : public Body {
 public:
  HeldBody(wire::ByteBuffer buffer, MemoryShare share) : share_(std::move(share)), buffer_(std::move(buffer)) {
    if (share_.account()) share_.account()->EnterHandler();
  }
  ~HeldBody() override {
    const std::shared_ptr<MemoryAccount> account = share_.account();
    buffer_ = wire::ByteBuffer();
    share_.Clear();
    if (account) account->LeaveHandler();
  }
  std::span<const std::byte> bytes() const override { return buffer_.bytes(); }

 private:
  MemoryShare share_;
  wire::ByteBuffer buffer_;
};

}  // namespace

bool MessageBuffer::Append(std::span<const std::byte> data) {
  const int64_t total = size() + static_cast<int64_t>(data.size());
  if (share_.bytes() < total + kRequestOverheadBytes) {
    int64_t want = total + kReserveStepBytes - 1 - (total - 1) % kReserveStepBytes;
    if (expected_ >= total) want = std::min(want, expected_);
    if (!share_.GrowTo(want + kRequestOverheadBytes)) return false;
  }
  if (total > static_cast<int64_t>(buffer_.capacity())) {
    int64_t room = std::max(total, 2 * static_cast<int64_t>(buffer_.capacity()));
    if (buffer_.capacity() == 0) room = std::max(total, std::min(expected_, kFirstPieceBytes));
    if (expected_ >= total) room = std::min(room, expected_);
    if (!buffer_.Grow(static_cast<size_t>(room))) return false;
  }
  buffer_.Append(data.data(), data.size());
  return true;
}

Result<std::unique_ptr<Body>> MakeBody(MessageBuffer message, wire::Encoding encoding, const wire::InflateLimits& limits) {
  // Nothing at all is nothing, whatever it claims to be compressed with.
  if (encoding == wire::Encoding::kIdentity || message.size() == 0) {
    return std::make_unique<HeldBody>(std::move(message.buffer_), std::move(message.share_));
  }
  MemoryShare share(message.share_.account());
  const auto reserve = [&share](int64_t bytes_total) { return share.GrowTo(bytes_total + kRequestOverheadBytes); };
  SHEAF_ASSIGN_OR_RETURN(wire::ByteBuffer inflated, wire::Inflate(encoding, message.bytes(), limits, reserve));
  return std::make_unique<HeldBody>(std::move(inflated), std::move(share));
}

}  // namespace sheaf::serve
