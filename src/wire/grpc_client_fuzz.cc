/// Whatever a server sends to our gRPC client: HTTP/2 frames and the gRPC messages in them, in pieces of any size. The first
/// byte picks what is fuzzed: a connection, message frames, or a google.rpc.Status.

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/check.h"
#include "wire/grpc_frames.h"
#include "wire/http2_client.h"

namespace {

namespace wire = sheaf::wire;
constexpr int64_t kMessageBytesMax = 4096;

/// A client with a few open calls, and nothing else.
class Calls : public wire::Http2ClientEvents {
 public:
  void OnHeaders(int32_t stream, Headers headers, bool) override {
    SHEAF_CHECK(!closed_[stream]);
    size_t bytes = 0;
    for (const auto& [name, value] : headers) bytes += name.size() + value.size();
    SHEAF_CHECK(bytes <= 16 << 10);
  }
  void OnData(int32_t stream, std::span<const std::byte> data) override {
    SHEAF_CHECK(!closed_[stream]);
    const sheaf::Status read =
        readers_.try_emplace(stream, kMessageBytesMax).first->second.Push(data, [](std::string message) {
          SHEAF_CHECK(message.size() <= kMessageBytesMax);
        });
    if (!read.ok()) session->Cancel(stream);
  }
  void OnClosed(int32_t stream, wire::Http2StreamEnd) override {
    SHEAF_CHECK(!closed_[stream]);
    closed_[stream] = true;
  }
  Produced OnProduce(int32_t, std::span<std::byte> out) override { return {.bytes = std::min<size_t>(out.size(), 7), .end = true}; }

  wire::Http2Client* session = nullptr;

 private:
  std::map<int32_t, bool> closed_;
  std::map<int32_t, wire::GrpcFrameReader> readers_;
};

void Connection(std::span<const std::byte> bytes, size_t step) {
  Calls calls;
  const auto session = wire::Http2Client::Make({}, &calls).ValueOrDie();
  calls.session = session.get();
  for (int i = 0; i < 3; ++i) {
    SHEAF_CHECK(session->Request({{":method", "POST"}, {":scheme", "http"}, {":path", "/a.B/C"}, {":authority", "x"}}).ok());
  }
  std::vector<uint8_t> out;
  bool open = session->Fill(&out, 1 << 20);
  while (open && !bytes.empty()) {
    const size_t n = std::min(step, bytes.size());
    open = session->Receive(bytes.first(n));
    out.clear();
    open = open && session->Fill(&out, 1 << 20);
    bytes = bytes.subspan(n);
  }
}

void Frames(std::span<const std::byte> bytes, size_t step, wire::Encoding encoding) {
  wire::GrpcFrameReader reader(kMessageBytesMax);
  reader.SetEncoding(encoding);
  while (!bytes.empty()) {
    const size_t n = std::min(step, bytes.size());
    const auto take = [](std::string message) { SHEAF_CHECK(message.size() <= kMessageBytesMax); };
    if (!reader.Push(bytes.first(n), take).ok()) return;
    bytes = bytes.subspan(n);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto bytes = std::as_bytes(std::span(data + 2, size - 2));
  const size_t step = 1 + data[1];
  switch (data[0] % 3) {
    case 0: Connection(bytes, step); break;
    case 1: Frames(bytes, step, static_cast<wire::Encoding>(data[0] / 3 % 4)); break;
    default: {
      const auto status = wire::ReadRpcStatus({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      SHEAF_CHECK(!status.ok() || status->retry_after_ms.value_or(0) >= 0);
    }
  }
  return 0;
}
