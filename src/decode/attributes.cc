#include "decode/attributes.h"

#include <bit>
#include <charconv>
#include <cmath>

#include <arrow/util/base64.h>

#include "decode/utf8.h"
#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

/// Deeper than any decoder lets through: only damaged bytes get here, and the stack must hold.
constexpr int kJsonDepthMax = 100;

void AppendAnyValueJson(std::string_view bytes, int depth, std::string* out);

void AppendInt(int64_t value, std::string* out) {
  char text[24];
  out->append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

/// Shortest digits that read back as the same number. False (appends nothing) where JSON has none.
bool AppendFiniteDouble(double value, std::string* out) {
  if (!std::isfinite(value)) return false;
  char text[32];
  out->append(text, std::to_chars(text, text + sizeof(text), value).ptr);
  return true;
}

const char* NonFiniteName(double value) {
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

void AppendJsonString(std::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string repaired;
  if (!IsUtf8(text)) {
    RepairUtf8(text, &repaired);
    text = repaired;
  }
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (static_cast<uint8_t>(c) >= 0x20) {
      out->push_back(c);
    } else if (c == '\n') {
      *out += "\\n";
    } else if (c == '\t') {
      *out += "\\t";
    } else if (c == '\r') {
      *out += "\\r";
    } else {
      *out += "\\u00";
      out->push_back(kHex[c >> 4]);
      out->push_back(kHex[c & 15]);
    }
  }
  out->push_back('"');
}

void AppendKeyValueJson(std::string_view bytes, int depth, std::string* out) {
  std::string_view key, value;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() == Tag(1, WireType::kBytes)) {
      key = reader.Bytes();
    } else if (reader.tag() == Tag(2, WireType::kBytes)) {
      value = reader.Bytes();
    } else {
      reader.Skip();
    }
  }
  AppendJsonString(key, out);
  out->push_back(':');
  AppendAnyValueJson(value, depth, out);
}

/// An ArrayValue or KeyValueList as a JSON array or object.
void AppendNestedJson(ValueType type, std::string_view bytes, int depth, std::string* out) {
  const bool is_array = type == ValueType::kArray;
  out->push_back(is_array ? '[' : '{');
  bool first = true;
  ProtobufReader reader(bytes);
  while (depth < kJsonDepthMax && reader.Next()) {
    if (reader.tag() != Tag(1, WireType::kBytes)) {
      reader.Skip();
      continue;
    }
    const std::string_view item = reader.Bytes();
    if (!reader.ok()) break;
    if (!first) out->push_back(',');
    first = false;
    if (is_array) {
      AppendAnyValueJson(item, depth + 1, out);
    } else {
      AppendKeyValueJson(item, depth + 1, out);
    }
  }
  out->push_back(is_array ? ']' : '}');
}

void AppendValueJson(const AttributeValue& value, int depth, std::string* out) {
  switch (value.type) {
    case ValueType::kString:
      AppendJsonString(value.val, out);
      break;
    case ValueType::kBool:
      *out += value.num != 0 ? "true" : "false";
      break;
    case ValueType::kInt:
      AppendInt(value.num, out);
      break;
    case ValueType::kDouble: {
      const double number = std::bit_cast<double>(value.num);
      if (!AppendFiniteDouble(number, out)) AppendJsonString(NonFiniteName(number), out);
      break;
    }
    case ValueType::kArray:
    case ValueType::kKvList:
      AppendNestedJson(value.type, value.val, depth, out);
      break;
    case ValueType::kBytes:
      out->push_back('"');
      *out += arrow::util::base64_encode(value.val);
      out->push_back('"');
      break;
    case ValueType::kEmpty:
      *out += "null";
      break;
  }
}

void AppendAnyValueJson(std::string_view bytes, int depth, std::string* out) { AppendValueJson(ViewAnyValue(bytes), depth, out); }

/// Appends a KeyValue message as an attribute.
void AddAttribute(std::string_view bytes, std::vector<Attribute>* attributes) {
  Attribute attribute;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() == Tag(1, WireType::kBytes)) {
      attribute.key = reader.Bytes();
    } else if (reader.tag() == Tag(2, WireType::kBytes)) {
      attribute.value = ViewAnyValue(reader.Bytes());
    } else {
      reader.Skip();
    }
  }
  attributes->push_back(attribute);
}

Status Damaged(const char* what, std::string_view bytes, const ProtobufReader& reader) {
  return MakeError(ErrorKind::kCorruption, "{} envelope of {} bytes is not OTLP at byte {}", what, bytes.size(),
                   reader.position() - bytes.data());
}

}  // namespace

AttributeValue ViewAnyValue(std::string_view bytes) {
  AttributeValue value;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    const auto type = static_cast<ValueType>(wire::FieldOf(reader.tag()));
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes):
      case Tag(5, WireType::kBytes):
      case Tag(6, WireType::kBytes):
      case Tag(7, WireType::kBytes):
        value = {type, 0, reader.Bytes()};
        break;
      case Tag(2, WireType::kVarint):
        value = {type, reader.Varint() != 0 ? 1 : 0, {}};
        break;
      case Tag(3, WireType::kVarint):
        value = {type, static_cast<int64_t>(reader.Varint()), {}};
        break;
      case Tag(4, WireType::kFixed64):
        value = {type, static_cast<int64_t>(reader.Fixed64()), {}};
        break;
      default:
        reader.Skip();
    }
  }
  return value;
}

bool AppendText(const AttributeValue& value, std::string* out) {
  switch (value.type) {
    case ValueType::kEmpty:
      return false;
    case ValueType::kString:
      out->append(value.val);
      return true;
    case ValueType::kBytes:
      *out += arrow::util::base64_encode(value.val);
      return true;
    case ValueType::kDouble: {
      const double number = std::bit_cast<double>(value.num);
      if (!AppendFiniteDouble(number, out)) *out += NonFiniteName(number);
      return true;
    }
    default:
      AppendValueJson(value, 1, out);
      return true;
  }
}

void AppendJson(const AttributeValue& value, std::string* out) { AppendValueJson(value, 1, out); }

Result<ResourceEnvelope> ParseResourceEnvelope(std::string_view bytes) {
  ResourceEnvelope envelope;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() == Tag(1, WireType::kBytes)) {
      const std::string_view resource = reader.Bytes();
      ProtobufReader fields(resource);
      while (fields.Next()) {
        if (fields.tag() == Tag(1, WireType::kBytes)) {
          AddAttribute(fields.Bytes(), &envelope.attributes);
        } else if (fields.tag() == Tag(2, WireType::kVarint)) {
          envelope.dropped_attributes_count = static_cast<uint32_t>(fields.Varint());
        } else {
          fields.Skip();
        }
      }
      if (!fields.ok()) return Damaged("resource", bytes, fields);
    } else if (reader.tag() == Tag(3, WireType::kBytes)) {
      envelope.schema_url = reader.Bytes();
    } else {
      reader.Skip();
    }
  }
  if (!reader.ok()) return Damaged("resource", bytes, reader);
  return envelope;
}

Result<ScopeEnvelope> ParseScopeEnvelope(std::string_view bytes) {
  ScopeEnvelope envelope;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() == Tag(1, WireType::kBytes)) {
      const std::string_view scope = reader.Bytes();
      ProtobufReader fields(scope);
      while (fields.Next()) {
        if (fields.tag() == Tag(1, WireType::kBytes)) {
          envelope.name = fields.Bytes();
        } else if (fields.tag() == Tag(2, WireType::kBytes)) {
          envelope.version = fields.Bytes();
        } else if (fields.tag() == Tag(3, WireType::kBytes)) {
          AddAttribute(fields.Bytes(), &envelope.attributes);
        } else if (fields.tag() == Tag(4, WireType::kVarint)) {
          envelope.dropped_attributes_count = static_cast<uint32_t>(fields.Varint());
        } else {
          fields.Skip();
        }
      }
      if (!fields.ok()) return Damaged("scope", bytes, fields);
    } else if (reader.tag() == Tag(3, WireType::kBytes)) {
      envelope.schema_url = reader.Bytes();
    } else {
      reader.Skip();
    }
  }
  if (!reader.ok()) return Damaged("scope", bytes, reader);
  return envelope;
}

Result<MetricEnvelope> ParseMetricEnvelope(std::string_view bytes) {
  MetricEnvelope envelope;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes):
        envelope.name = reader.Bytes();
        break;
      case Tag(2, WireType::kBytes):
        envelope.description = reader.Bytes();
        break;
      case Tag(3, WireType::kBytes):
        envelope.unit = reader.Bytes();
        break;
      case Tag(12, WireType::kBytes):
        AddAttribute(reader.Bytes(), &envelope.metadata);
        break;
      default:
        reader.Skip();
    }
  }
  if (!reader.ok()) return Damaged("metric", bytes, reader);
  return envelope;
}

}  // namespace sheaf::decode
