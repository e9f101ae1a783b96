/// Any bytes to an HTTP/2 connection with HTTP and gRPC handlers: must neither crash nor keep memory.
/// The first byte says in what pieces they come; the client's preface is put in front.

#include <cstdint>
#include <string>

#include "core/check.h"
#include "serve/http_heads.h"
#include "serve/protocol_testing.h"
#include "wire/http2_session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::serve;
  if (size == 0) return 0;
  TransportOptions options;
  options.message_bytes_max = 1 << 20;
  ProtocolRig rig(ProtocolRig::Version::kHttp2, options);
  rig.set_head_checker(MakeHeadChecker({"https://tool.example"}));
  rig.Feed(sheaf::wire::kHttp2Preface);
  rig.Feed({reinterpret_cast<const char*>(data + 1), size - 1}, data[0] % 64 == 0 ? SIZE_MAX : data[0]);
  rig.Pass(std::chrono::milliseconds(500));
  rig.EndInput();
  SHEAF_CHECK(rig.memory_bytes() <= options.connection_memory_bytes_max);
  return 0;
}
