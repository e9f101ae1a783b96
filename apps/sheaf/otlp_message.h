/// Writes parts of OTLP messages: attributes, resources, scopes. For the demo's telemetry.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "wire/nested_writer.h"

namespace sheaf::cli {

/// An attribute's value; a list of texts stands for OTLP's arrays.
using OtlpValue = std::variant<std::string, int64_t, double, bool, std::vector<std::string>>;
using OtlpAttributes = std::vector<std::pair<std::string, OtlpValue>>;

/// Writes an AnyValue's field into the message that is open.
void WriteAnyValue(const OtlpValue& value, wire::NestedWriter* writer);
/// Writes each attribute as a KeyValue in `field`.
void WriteAttributes(uint32_t field, const OtlpAttributes& attributes, wire::NestedWriter* writer);
/// Writes the Resource of a service (field 1).
void WriteResource(const OtlpAttributes& attributes, wire::NestedWriter* writer);
/// Writes an InstrumentationScope (field 1).
void WriteScope(std::string_view name, std::string_view version, wire::NestedWriter* writer);
/// Writes a double as a fixed64 field.
void WriteDouble(uint32_t field, double value, wire::NestedWriter* writer);

}  // namespace sheaf::cli
