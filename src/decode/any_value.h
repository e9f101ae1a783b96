/// OTLP's AnyValue, KeyValue and what holds them, read and checked.

#pragma once

#include <string>
#include <string_view>

#include "decode/attributes.h"
#include "decode/request_context.h"

namespace sheaf::decode {

/// One KeyValue message. What the columns cannot say marks the record as odd.
struct KeyValue {
  std::string_view key;
  AttributeValue value;
};

/// Reads an AnyValue standing at nesting `depth` (1 for an attribute's own). Nested values are checked
/// to the bottom and stay OTLP bytes. Returns false where the request must fail (context->error).
bool ReadAnyValue(std::string_view bytes, int depth, RequestContext* context, AttributeValue* value);
bool ReadKeyValue(std::string_view bytes, RequestContext* context, KeyValue* out);

/// Checks a Resource, InstrumentationScope or Metric that stays as it came: that it is protobuf to the
/// bottom, attributes (in `attributes_field`) included. Sets `service_name`, where given, to the text of
/// the first attribute service.name.
bool CheckAttributeHolder(std::string_view bytes, uint32_t attributes_field, RequestContext* context, std::string* service_name);

/// AppendText(), with `out` charged to the request.
bool AppendChargedText(const AttributeValue& value, RequestContext* context, std::string* out);

/// Reads one field's submessage that may come in several pieces: `*whole` holds the concatenation of all
/// pieces so far, which is what protobuf merges them to. In the plain pass a second piece makes the
/// request suspect.
void Merge(std::string_view piece, bool* seen, std::string_view* whole, RequestContext* context);

}  // namespace sheaf::decode
