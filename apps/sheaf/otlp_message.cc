#include "otlp_message.h"

#include <bit>

namespace sheaf::cli {
namespace {

// AnyValue's fields.
constexpr uint32_t kString = 1, kBool = 2, kInt = 3, kDouble = 4, kArray = 5;

}  // namespace

void WriteDouble(uint32_t field, double value, wire::NestedWriter* writer) {
  writer->Fixed64(field, std::bit_cast<uint64_t>(value));
}

void WriteAnyValue(const OtlpValue& value, wire::NestedWriter* writer) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    writer->Bytes(kString, *text);
  } else if (const auto* number = std::get_if<int64_t>(&value)) {
    writer->Varint(kInt, static_cast<uint64_t>(*number));
  } else if (const auto* real = std::get_if<double>(&value)) {
    WriteDouble(kDouble, *real, writer);
  } else if (const auto* truth = std::get_if<bool>(&value)) {
    writer->Varint(kBool, *truth ? 1 : 0);
  } else {
    const size_t array = writer->Begin(kArray);
    for (const std::string& item : std::get<std::vector<std::string>>(value)) {
      const size_t element = writer->Begin(1);
      writer->Bytes(kString, item);
      writer->End(element);
    }
    writer->End(array);
  }
}

void WriteAttributes(uint32_t field, const OtlpAttributes& attributes, wire::NestedWriter* writer) {
  for (const auto& [key, value] : attributes) {
    const size_t pair = writer->Begin(field);
    writer->Bytes(1, key);
    const size_t any = writer->Begin(2);
    WriteAnyValue(value, writer);
    writer->End(any);
    writer->End(pair);
  }
}

void WriteResource(const OtlpAttributes& attributes, wire::NestedWriter* writer) {
  const size_t resource = writer->Begin(1);
  WriteAttributes(1, attributes, writer);
  writer->End(resource);
}

void WriteScope(std::string_view name, std::string_view version, wire::NestedWriter* writer) {
  const size_t scope = writer->Begin(1);
  writer->Bytes(1, name);
  writer->Bytes(2, version);
  writer->End(scope);
}

}  // namespace sheaf::cli
