#include "client/otlp_response.h"

#include <algorithm>

#include "wire/protobuf_reader.h"

namespace sheaf::client {

using wire::Tag;
using wire::WireType;

/// Export…ServiceResponse { Export…PartialSuccess partial_success = 1 { int64 rejected_… = 1; string error_message = 2; } }
Result<ExportResult> ReadOtlpResponse(std::string_view bytes) {
  ExportResult result;
  wire::ProtobufReader response(bytes);
  bool sound = true;
  while (sound && response.Next()) {
    if (response.tag() != Tag(1, WireType::kBytes)) {
      response.Skip();
      continue;
    }
    wire::ProtobufReader partial(response.Bytes());
    while (partial.Next()) {
      switch (partial.tag()) {
        case Tag(1, WireType::kVarint): result.rejected = std::max<int64_t>(0, static_cast<int64_t>(partial.Varint())); break;
        case Tag(2, WireType::kBytes): result.message = partial.Bytes(); break;
        default: partial.Skip();
      }
    }
    sound = partial.ok();
  }
  if (!sound || !response.ok()) return MakeError(ErrorKind::kInvalid, "the server's answer is no OTLP response");
  return result;
}

}  // namespace sheaf::client
