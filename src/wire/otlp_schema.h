/// The messages of OTLP as tables: what a generic reader or writer needs to know of opentelemetry-proto.
///
/// The decoder of the hot path does not use them; the JSON mapping does, in both directions. A test compares
/// them field by field with the official .proto files.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "wire/otlp_json.h"

namespace sheaf::wire {

/// How a field's value is written, in protobuf and in JSON.
enum class FieldKind : uint8_t {
  kString, kBytes,
  kId,                        // bytes in protobuf, hex in JSON
  kBool, kInt32, kUInt32, kSInt32, kInt64, kUInt64, kFixed32, kFixed64, kSFixed64, kDouble, kEnum, kMessage,
};

enum class FieldRule : uint8_t {
  kPlain,                     // Zero is the same as absent.
  kOptional,                  // Zero differs from absent.
  kOneof,                     // Like kOptional, and at most one of them is set; OTLP has at most one oneof a message.
  kRepeated,
};

struct EnumName {
  std::string_view name;
  int32_t number;
};

struct MessageSchema;

struct FieldSchema {
  std::string_view json_name;    // lowerCamelCase
  std::string_view proto_name;   // snake_case
  uint32_t number;
  FieldKind kind;
  FieldRule rule = FieldRule::kPlain;
  const MessageSchema* message = nullptr;      // Of kMessage.
  std::span<const EnumName> enum_names = {};   // Of kEnum.
};

struct MessageSchema {
  std::string_view name;
  std::span<const FieldSchema> fields;  // At most 32.
};

/// The Export{Trace,Logs,Metrics}ServiceRequest.
const MessageSchema& OtlpRequestSchema(OtlpRequest kind);

/// Index in `message.fields` of the field of that JSON or proto name, or -1. Looks at `hint` first: fields come in similar order.
int FindField(const MessageSchema& message, std::string_view name, int hint);
/// The same by number.
int FindField(const MessageSchema& message, uint32_t number);

}  // namespace sheaf::wire
