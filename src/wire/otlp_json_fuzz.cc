/// Property: what JSON reads as a request reads the same after it was written as JSON again; and any protobuf that can be
/// written as JSON can be read back.

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "wire/otlp_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sheaf::wire;
  if (size == 0) return 0;
  const auto kind = static_cast<OtlpRequest>(data[0] % 3);
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  std::string protobuf;
  if (OtlpJsonToProtobuf(kind, input, &protobuf).ok()) {
    std::string json, again;
    SHEAF_CHECK(OtlpProtobufToJson(kind, protobuf, &json).ok());
    SHEAF_CHECK(OtlpJsonToProtobuf(kind, json, &again).ok());
    SHEAF_CHECK(again.size() <= protobuf.size());  // Merged or equal; equality needs the order of fields, which JSON may change.
    std::string json_again;
    SHEAF_CHECK(OtlpProtobufToJson(kind, again, &json_again).ok());
    SHEAF_CHECK(json_again == json);
  }
  std::string json;
  if (OtlpProtobufToJson(kind, input, &json).ok()) {
    std::string back;
    SHEAF_CHECK(OtlpJsonToProtobuf(kind, json, &back).ok());
  }
  return 0;
}
