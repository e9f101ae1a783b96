#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <vector>

#include <simdjson.h>

#include <nlohmann/json.hpp>

#include "core/hex.h"
#include "wire/base64.h"
#include "wire/otlp_json.h"
#include "wire/otlp_schema.h"
#include "wire/protobuf_reader.h"

namespace sheaf::wire {
namespace {

void AppendJsonText(std::string_view text, std::string* out) {
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    *out += nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return;
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"': *out += "\\\""; break;
      case '\\': *out += "\\\\"; break;
      case '\n': *out += "\\n"; break;
      case '\r': *out += "\\r"; break;
      case '\t': *out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) {
          out->push_back(c);
        } else {
          *out += "\\u00";
          out->push_back(kHex[static_cast<unsigned char>(c) >> 4]);
          out->push_back(kHex[static_cast<unsigned char>(c) & 15]);
        }
    }
  }
  out->push_back('"');
}

void AppendDouble(double value, std::string* out) {
  if (std::isnan(value)) {
    *out += "\"NaN\"";
  } else if (std::isinf(value)) {
    *out += value < 0 ? "\"-Infinity\"" : "\"Infinity\"";
  } else if (value == 0 && std::signbit(value)) {
    *out += "-0.0";  // A bare -0 is an integer to libprotobuf, and loses its sign.
  } else {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out->append(digits.data(), end);
  }
}

/// One occurrence of a field: a number, or bytes.
struct Occurrence {
  uint64_t number = 0;
  std::string_view bytes;
};

bool IsText(FieldKind kind) { return kind == FieldKind::kString || kind == FieldKind::kBytes || kind == FieldKind::kId; }

WireType TypeOfKind(FieldKind kind) {
  switch (kind) {
    case FieldKind::kString: case FieldKind::kBytes: case FieldKind::kId: case FieldKind::kMessage: return WireType::kBytes;
    case FieldKind::kFixed32: return WireType::kFixed32;
    case FieldKind::kFixed64: case FieldKind::kSFixed64: case FieldKind::kDouble: return WireType::kFixed64;
    default: return WireType::kVarint;
  }
}

uint64_t ReadNumber(FieldKind kind, ProtobufReader* reader) {
  switch (TypeOfKind(kind)) {
    case WireType::kFixed32: return reader->Fixed32();
    case WireType::kFixed64: return reader->Fixed64();
    default: return kind == FieldKind::kSInt32 ? static_cast<uint64_t>(int64_t{reader->ZigZag32()}) : reader->Varint();
  }
}

/// Appends the number in the form that its kind has in JSON: 64-bit ones as text.
void AppendNumber(FieldKind kind, uint64_t number, std::string* out) {
  switch (kind) {
    case FieldKind::kBool: *out += number != 0 ? "true" : "false"; break;
    case FieldKind::kDouble: AppendDouble(std::bit_cast<double>(number), out); break;
    case FieldKind::kInt32: case FieldKind::kSInt32: case FieldKind::kEnum:
      fmt::format_to(std::back_inserter(*out), "{}", static_cast<int32_t>(number));
      break;
    case FieldKind::kUInt32: case FieldKind::kFixed32:
      fmt::format_to(std::back_inserter(*out), "{}", static_cast<uint32_t>(number));
      break;
    case FieldKind::kInt64: case FieldKind::kSFixed64:
      fmt::format_to(std::back_inserter(*out), "\"{}\"", static_cast<int64_t>(number));
      break;
    default: fmt::format_to(std::back_inserter(*out), "\"{}\"", number); break;
  }
}

/// Writes messages by the tables. Fields of one message may stand in any order and mixed on the wire, so each message is
/// read once into lists by field before anything of it is written.
class JsonWriter {
 public:
  explicit JsonWriter(std::string* out) : out_(out) {}

  Status Message(std::string_view bytes, const MessageSchema& message, int depth) {
    if (depth > kOtlpNestingMax) {
      return MakeError(ErrorKind::kTooLarge, "OTLP: {} is nested deeper than {} levels", message.name, kOtlpNestingMax);
    }
    std::vector<std::vector<Occurrence>> found(message.fields.size());
    SHEAF_RETURN_NOT_OK(Gather(bytes, message, &found));
    out_->push_back('{');
    bool first = true;
    for (size_t i = 0; i < found.size(); ++i) {
      const FieldSchema& field = message.fields[i];
      if (found[i].empty()) continue;
      const Occurrence& last = found[i].back();
      if (field.rule == FieldRule::kPlain && field.kind != FieldKind::kMessage && last.number == 0 && last.bytes.empty()) continue;
      if (!first) out_->push_back(',');
      first = false;
      fmt::format_to(std::back_inserter(*out_), "\"{}\":", field.json_name);
      SHEAF_RETURN_NOT_OK(field.rule == FieldRule::kRepeated ? List(found[i], field, depth) : Single(found[i], field, depth));
    }
    out_->push_back('}');
    return Status::OK();
  }

 private:
  Status Gather(std::string_view bytes, const MessageSchema& message, std::vector<std::vector<Occurrence>>* found) {
    ProtobufReader reader(bytes);
    int oneof = -1;
    while (reader.Next()) {
      const int index = FindField(message, FieldOf(reader.tag()));
      const FieldSchema* field = index < 0 ? nullptr : &message.fields[static_cast<size_t>(index)];
      const WireType type = TypeOf(reader.tag());
      const bool packed = field != nullptr && field->rule == FieldRule::kRepeated && type == WireType::kBytes &&
                          TypeOfKind(field->kind) != WireType::kBytes;
      if (field == nullptr || (type != TypeOfKind(field->kind) && !packed)) {
        reader.Skip();
        continue;
      }
      auto& list = (*found)[static_cast<size_t>(index)];
      if (field->rule == FieldRule::kOneof) {
        if (oneof >= 0 && oneof != index) (*found)[static_cast<size_t>(oneof)].clear();  // The last one on the wire counts.
        oneof = index;
      }
      if (packed) {
        const std::string_view run = reader.Bytes();
        ProtobufReader numbers(run);
        while (numbers.ok() && numbers.position() != run.data() + run.size()) list.push_back({.number = ReadNumber(field->kind, &numbers)});
        if (!numbers.ok()) return Malformed(*field);
      } else if (type == WireType::kBytes) {
        list.push_back({.bytes = reader.Bytes()});
      } else {
        list.push_back({.number = ReadNumber(field->kind, &reader)});
      }
    }
    if (reader.ok()) return Status::OK();
    return MakeError(ErrorKind::kInvalid, "OTLP: not protobuf: {} breaks at byte {} of its {}", message.name,
                     reader.position() - bytes.data(), bytes.size());
  }

  Status Malformed(const FieldSchema& field) {
    return MakeError(ErrorKind::kInvalid, "OTLP: not protobuf: the packed numbers of {} are cut off", field.proto_name);
  }

  Status List(const std::vector<Occurrence>& occurrences, const FieldSchema& field, int depth) {
    out_->push_back('[');
    for (size_t i = 0; i < occurrences.size(); ++i) {
      if (i > 0) out_->push_back(',');
      SHEAF_RETURN_NOT_OK(Value(occurrences[i], field, depth));
    }
    out_->push_back(']');
    return Status::OK();
  }

  /// A field that should stand once: the last value counts, messages are merged (which joining their bytes does).
  Status Single(const std::vector<Occurrence>& occurrences, const FieldSchema& field, int depth) {
    if (field.kind != FieldKind::kMessage || occurrences.size() == 1) return Value(occurrences.back(), field, depth);
    std::string merged;
    for (const Occurrence& occurrence : occurrences) merged += occurrence.bytes;
    return Value({.bytes = merged}, field, depth);
  }

  Status Value(const Occurrence& value, const FieldSchema& field, int depth) {
    if (field.kind == FieldKind::kMessage) return Message(value.bytes, *field.message, depth + 1);
    if (!IsText(field.kind)) {
      AppendNumber(field.kind, value.number, out_);
    } else if (field.kind == FieldKind::kString) {
      AppendJsonText(value.bytes, out_);
    } else {
      out_->push_back('"');
      if (field.kind == FieldKind::kId) {
        *out_ += ToHex(value.bytes);
      } else {
        AppendBase64(value.bytes, out_);
      }
      out_->push_back('"');
    }
    return Status::OK();
  }

  std::string* const out_;
};

}  // namespace

Status OtlpProtobufToJson(OtlpRequest kind, std::string_view protobuf, std::string* out) {
  const size_t before = out->size();
  const Status written = JsonWriter(out).Message(protobuf, OtlpRequestSchema(kind), 1);
  if (!written.ok()) out->resize(before);
  return written;
}

}  // namespace sheaf::wire
