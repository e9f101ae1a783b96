/// Reading attribute values: typed, as text, as JSON. For SQL, the CLI and the encoder.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace sheaf::decode {

/// The AnyValue field numbers, as stored in `type`.
enum class ValueType : uint8_t { kEmpty = 0, kString = 1, kBool = 2, kInt = 3, kDouble = 4, kArray = 5, kKvList = 6, kBytes = 7 };

/// One value as an attributes column stores it. Borrows its bytes.
struct AttributeValue {
  ValueType type = ValueType::kEmpty;
  int64_t num = 0;         // int, bool, or the bits of a double
  std::string_view val;    // string, bytes, or OTLP bytes of a nested value
};

struct Attribute {
  std::string_view key;
  AttributeValue value;
};

/// What an AnyValue message holds: the last member in it, as protobuf has it. Borrows the bytes; what is not protobuf reads as empty.
AttributeValue ViewAnyValue(std::string_view bytes);

/// Appends the value's text as the contract says: numbers and booleans as in JSON, bytes as base64,
/// arrays and maps as JSON, strings as they are. Returns false (appends nothing) for an empty value.
bool AppendText(const AttributeValue& value, std::string* out);
/// Appends the value as JSON: as above, but strings quoted and empty as null.
void AppendJson(const AttributeValue& value, std::string* out);

/// What the envelope columns hold (see schemas.h). Views borrow the envelope's bytes.
struct ResourceEnvelope {
  std::vector<Attribute> attributes;
  uint32_t dropped_attributes_count = 0;
  std::string_view schema_url;
};
struct ScopeEnvelope {
  std::string_view name, version;
  std::vector<Attribute> attributes;
  uint32_t dropped_attributes_count = 0;
  std::string_view schema_url;
};
struct MetricEnvelope {
  std::string_view name, description, unit;
  std::vector<Attribute> metadata;
};
/// Errors: Corruption (the bytes are not what a decoder writes).
Result<ResourceEnvelope> ParseResourceEnvelope(std::string_view bytes);
Result<ScopeEnvelope> ParseScopeEnvelope(std::string_view bytes);
Result<MetricEnvelope> ParseMetricEnvelope(std::string_view bytes);

}  // namespace sheaf::decode
