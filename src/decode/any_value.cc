#include "decode/any_value.h"

#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

bool CheckAnyValue(std::string_view bytes, int depth, RequestContext* context);

bool CheckKeyValue(std::string_view bytes, int depth, RequestContext* context) {
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() == Tag(2, WireType::kBytes)) {
      const std::string_view value = reader.Bytes();
      if (reader.ok() && !CheckAnyValue(value, depth, context)) return false;
    } else {
      reader.Skip();
    }
  }
  return reader.ok() || context->Malformed(reader.position(), "KeyValue");
}

/// An ArrayValue or a KeyValueList whose values stand at `depth`.
bool CheckNested(ValueType type, std::string_view bytes, int depth, RequestContext* context) {
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() != Tag(1, WireType::kBytes)) {
      reader.Skip();
      continue;
    }
    const std::string_view item = reader.Bytes();
    if (!reader.ok()) break;
    if (!(type == ValueType::kArray ? CheckAnyValue(item, depth, context) : CheckKeyValue(item, depth, context))) return false;
  }
  return reader.ok() || context->Malformed(reader.position(), type == ValueType::kArray ? "ArrayValue" : "KeyValueList");
}

bool CheckDepth(int depth, RequestContext* context) {
  if (depth <= context->limits.attribute_depth_max) [[likely]] return true;
  return context->TooLarge(fmt::format("an attribute value is nested deeper than {} levels", context->limits.attribute_depth_max));
}

bool CheckAnyValue(std::string_view bytes, int depth, RequestContext* context) {
  if (!CheckDepth(depth, context)) return false;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() == Tag(5, WireType::kBytes) || reader.tag() == Tag(6, WireType::kBytes)) {
      const auto type = static_cast<ValueType>(wire::FieldOf(reader.tag()));
      const std::string_view nested = reader.Bytes();
      if (reader.ok() && !CheckNested(type, nested, depth + 1, context)) return false;
    } else {
      reader.Skip();
    }
  }
  return reader.ok() || context->Malformed(reader.position(), "AnyValue");
}

}  // namespace

void Merge(std::string_view piece, bool* seen, std::string_view* whole, RequestContext* context) {
  if (!*seen) [[likely]] {
    *seen = true;
    *whole = piece;
    return;
  }
  context->odd = true;
  if (!context->careful) {
    context->suspect = true;
    return;
  }
  *whole = context->Join(*whole, piece);
}

bool ReadAnyValue(std::string_view bytes, int depth, RequestContext* context, AttributeValue* value) {
  if (!CheckDepth(depth, context)) return false;
  *value = {};
  int members = 0;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    const auto type = static_cast<ValueType>(wire::FieldOf(reader.tag()));
    ++members;
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes):
        *value = {type, 0, reader.Bytes()};
        break;
      case Tag(2, WireType::kVarint):
        *value = {type, reader.Varint() != 0 ? 1 : 0, {}};
        break;
      case Tag(3, WireType::kVarint):
        *value = {type, static_cast<int64_t>(reader.Varint()), {}};
        break;
      case Tag(4, WireType::kFixed64):
        *value = {type, static_cast<int64_t>(reader.Fixed64()), {}};
        break;
      case Tag(5, WireType::kBytes):
      case Tag(6, WireType::kBytes): {
        const std::string_view nested = reader.Bytes();
        if (!reader.ok()) break;
        if (!CheckNested(type, nested, depth + 1, context)) return false;
        bool merging = value->type == type;  // The same member again: protobuf joins the lists.
        if (!merging) *value = {type, 0, {}};
        Merge(nested, &merging, &value->val, context);
        break;
      }
      case Tag(7, WireType::kBytes):
        *value = {type, 0, reader.Bytes()};
        break;
      case Tag(8, WireType::kVarint):  // string_value_strindex: the other member of the oneof that profiles use.
        reader.Skip();
        *value = {};
        context->odd = true;
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "AnyValue");
  if (members > 1) context->odd = true;
  if (value->type == ValueType::kString) value->val = context->Text(value->val);
  return true;
}

bool ReadKeyValue(std::string_view bytes, RequestContext* context, KeyValue* out) {
  std::string_view key, value;
  bool has_value = false;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes):
        key = reader.Bytes();
        break;
      case Tag(2, WireType::kBytes):
        Merge(reader.Bytes(), &has_value, &value, context);
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "KeyValue");
  if (!has_value) context->odd = true;  // The columns say "a value that is empty" only.
  out->key = context->Text(key);
  return ReadAnyValue(value, 1, context, &out->value);
}

bool AppendChargedText(const AttributeValue& value, RequestContext* context, std::string* out) {
  // A control character becomes six bytes of JSON; one that is no character becomes three, twice on its way there.
  constexpr size_t kJsonBytesMax = 7, kNumberBytesMax = 64;
  const size_t size = value.val.size();
  context->memory->Reserve(out, value.type == ValueType::kString ? size : size * kJsonBytesMax + kNumberBytesMax);
  return AppendText(value, out);
}

bool CheckAttributeHolder(std::string_view bytes, uint32_t attributes_field, RequestContext* context, std::string* service_name) {
  bool named = false;
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.tag() != Tag(attributes_field, WireType::kBytes)) {
      reader.Skip();
      continue;
    }
    const std::string_view item = reader.Bytes();
    if (!reader.ok()) break;
    KeyValue attribute;
    if (!ReadKeyValue(item, context, &attribute)) return false;
    if (service_name != nullptr && !named && attribute.key == "service.name") {
      named = true;
      service_name->clear();
      AppendChargedText(attribute.value, context, service_name);
    }
  }
  return reader.ok() || context->Malformed(reader.position(), "resource, scope or metric");
}

}  // namespace sheaf::decode
