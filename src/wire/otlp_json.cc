#include "wire/otlp_json.h"

#include <simdjson.h>

#include <bit>
#include <limits>
#include <optional>
#include <vector>

#include "core/hex.h"
#include "wire/base64.h"
#include "wire/json_number.h"
#include "wire/nested_writer.h"
#include "wire/otlp_schema.h"

namespace sheaf::wire {
namespace {

namespace json = simdjson::ondemand;

/// Where in the document the reader is, for errors.
struct PathStep {
  std::string_view name;
  int64_t index = -1;
};

/// Reads one document by the tables. simdjson hands out each value once, in order; the writer takes them as they come.
class JsonReader {
 public:
  Status Request(json::document* document, const MessageSchema& message) {
    json::object object;
    if (const auto error = document->get_object().get(object)) {
      return error == simdjson::INCORRECT_TYPE ? Fail("the request must be a JSON object") : Broken(error);
    }
    SHEAF_RETURN_NOT_OK(Message(std::move(object), message, 1));
    const char* more = nullptr;
    if (!document->current_location().get(more)) return Fail("there is more text behind the request");
    return Status::OK();
  }

  const NestedWriter& writer() const { return writer_; }

 private:
  Status Message(json::object object, const MessageSchema& message, int depth) {
    if (depth > kOtlpNestingMax) return TooDeep();
    uint32_t seen = 0;
    bool oneof_seen = false;
    int last = -1;
    for (auto entry : object) {
      json::field pair;
      if (const auto error = std::move(entry).get(pair)) return Broken(error);
      std::string_view name;
      if (const auto error = pair.unescaped_key().get(name)) return Broken(error);
      const int found = FindField(message, name, last + 1);
      if (found < 0) {
        SHEAF_RETURN_NOT_OK(Skip(pair.value(), depth + 1));
        continue;
      }
      last = found;
      const FieldSchema& field = message.fields[static_cast<size_t>(found)];
      path_.push_back({field.json_name});
      bool null = false;
      SHEAF_RETURN_NOT_OK(IsNull(&pair.value(), &null));
      if (!null) {
        if (seen >> found & 1) return Fail("is given twice");
        seen |= uint32_t{1} << found;
        if (field.rule == FieldRule::kOneof) {
          if (oneof_seen) return Fail("{} holds one value only, and has another already", message.name);
          oneof_seen = true;
        }
        SHEAF_RETURN_NOT_OK(field.rule == FieldRule::kRepeated ? List(pair.value(), field, depth) : Field(pair.value(), field, depth));
      }
      path_.pop_back();
    }
    return Status::OK();
  }

  Status List(json::value& value, const FieldSchema& field, int depth) {
    json::array array;
    if (const auto error = value.get_array().get(array)) return Wrong(error, "an array");
    const bool packed = field.kind != FieldKind::kMessage && field.kind != FieldKind::kString;
    std::optional<size_t> open;
    int64_t index = 0;
    for (auto entry : array) {
      path_.back().index = index++;
      json::value element;
      if (const auto error = entry.get(element)) return Broken(error);
      if (!packed) {
        SHEAF_RETURN_NOT_OK(Field(element, field, depth));
        continue;
      }
      if (!open) open = writer_.Begin(field.number);
      SHEAF_RETURN_NOT_OK(PackedNumber(element, field));
    }
    if (open) writer_.End(*open);
    return Status::OK();
  }

  Status Field(json::value& value, const FieldSchema& field, int depth) {
    switch (field.kind) {
      case FieldKind::kMessage: return SubMessage(value, field, depth);
      case FieldKind::kString: case FieldKind::kBytes: case FieldKind::kId: return Text(value, field);
      case FieldKind::kDouble: {
        double number = 0;
        SHEAF_RETURN_NOT_OK(Double(value, &number));
        // Minus zero is not the default: its bits differ.
        const auto bits = std::bit_cast<uint64_t>(number);
        if (bits != 0 || field.rule != FieldRule::kPlain) writer_.Fixed64(field.number, bits);
        return Status::OK();
      }
      default: break;
    }
    uint64_t number = 0;
    SHEAF_RETURN_NOT_OK(Number(value, field, &number));
    if (number == 0 && field.rule == FieldRule::kPlain) return Status::OK();
    switch (field.kind) {
      case FieldKind::kFixed32: writer_.Fixed32(field.number, static_cast<uint32_t>(number)); break;
      case FieldKind::kFixed64: case FieldKind::kSFixed64: writer_.Fixed64(field.number, number); break;
      case FieldKind::kSInt32: writer_.Varint(field.number, NestedWriter::ZigZag(static_cast<int64_t>(number))); break;
      default: writer_.Varint(field.number, number); break;
    }
    return Status::OK();
  }

  Status SubMessage(json::value& value, const FieldSchema& field, int depth) {
    json::object object;
    if (const auto error = value.get_object().get(object)) return Wrong(error, "an object");
    const size_t handle = writer_.Begin(field.number);
    SHEAF_RETURN_NOT_OK(Message(std::move(object), *field.message, depth + 1));
    writer_.End(handle);
    return Status::OK();
  }

  Status PackedNumber(json::value& value, const FieldSchema& field) {
    if (field.kind == FieldKind::kDouble) {
      double number = 0;
      SHEAF_RETURN_NOT_OK(Double(value, &number));
      writer_.PackedFixed64(std::bit_cast<uint64_t>(number));
      return Status::OK();
    }
    uint64_t number = 0;
    SHEAF_RETURN_NOT_OK(Number(value, field, &number));
    if (field.kind == FieldKind::kFixed64) {
      writer_.PackedFixed64(number);
    } else {
      writer_.PackedVarint(number);
    }
    return Status::OK();
  }

  Status Text(json::value& value, const FieldSchema& field) {
    std::string_view text;
    if (const auto error = value.get_string().get(text)) return Wrong(error, "a string");
    if (text.empty() && field.rule == FieldRule::kPlain) return Status::OK();
    if (field.kind == FieldKind::kString) {
      writer_.Bytes(field.number, text);
      return Status::OK();
    }
    const bool id = field.kind == FieldKind::kId;
    const std::optional<std::string> bytes = id ? FromHex(text) : FromBase64(text);
    if (!bytes) return Fail("must be {}", id ? "hex digits, two for each byte" : "base64");
    writer_.Bytes(field.number, *bytes);
    return Status::OK();
  }

  /// The characters of a number, bare or quoted; `quoted` says which.
  Status NumberText(json::value& value, std::string_view* text, bool* quoted) {
    json::json_type type;
    if (const auto error = value.type().get(type)) return Broken(error);
    *quoted = type == json::json_type::string;
    if (*quoted) {
      if (const auto error = value.get_string().get(*text)) return Broken(error);
      return Status::OK();
    }
    if (type != json::json_type::number) return Fail("must be a number");
    *text = value.raw_json_token();
    while (!text->empty() && static_cast<unsigned char>(text->back()) <= ' ') text->remove_suffix(1);
    return Status::OK();
  }

  Status Number(json::value& value, const FieldSchema& field, uint64_t* out) {
    if (field.kind == FieldKind::kBool) {
      bool truth = false;
      if (const auto error = value.get_bool().get(truth)) return Wrong(error, "true or false");
      *out = truth ? 1 : 0;
      return Status::OK();
    }
    std::string_view text;
    bool quoted = false;
    SHEAF_RETURN_NOT_OK(NumberText(value, &text, &quoted));
    if (field.kind == FieldKind::kEnum && quoted) {
      for (const EnumName& known : field.enum_names) {
        if (known.name != text) continue;
        *out = static_cast<uint64_t>(int64_t{known.number});
        return Status::OK();
      }
    }
    const std::optional<WholeNumber> number = ParseWholeNumber(text);
    if (!number) {
      return field.kind == FieldKind::kEnum ? Fail("has no value of the name '{}'", text.substr(0, 64))
                                            : Fail("must be a whole number of 64 bits, not {}", text.substr(0, 64));
    }
    return InRange(*number, field.kind, text, out);
  }

  /// Checks the range and gives the number in two's complement.
  Status InRange(WholeNumber number, FieldKind kind, std::string_view text, uint64_t* out) {
    uint64_t max = std::numeric_limits<uint64_t>::max();
    bool with_sign = false;
    switch (kind) {
      case FieldKind::kInt32: case FieldKind::kSInt32: case FieldKind::kEnum: max = 0x7fffffff; with_sign = true; break;
      case FieldKind::kInt64: case FieldKind::kSFixed64: max = 0x7fffffffffffffff; with_sign = true; break;
      case FieldKind::kUInt32: case FieldKind::kFixed32: max = 0xffffffff; break;
      default: break;
    }
    if (number.negative && number.magnitude != 0) {
      if (!with_sign || number.magnitude > max + 1) return Fail("is out of range: {}", text.substr(0, 64));
      *out = ~number.magnitude + 1;
      return Status::OK();
    }
    if (number.magnitude > max) return Fail("is out of range: {}", text.substr(0, 64));
    *out = number.magnitude;
    return Status::OK();
  }

  Status Double(json::value& value, double* out) {
    std::string_view text;
    bool quoted = false;
    SHEAF_RETURN_NOT_OK(NumberText(value, &text, &quoted));
    if (quoted && text == "NaN") {
      *out = std::numeric_limits<double>::quiet_NaN();
    } else if (quoted && (text == "Infinity" || text == "-Infinity")) {
      *out = text[0] == '-' ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    } else if (const std::optional<double> number = ParseJsonDouble(text)) {
      *out = *number;
    } else {
      return Fail("must be a number within the range of a double, not {}", text.substr(0, 64));
    }
    return Status::OK();
  }

  Status IsNull(json::value* value, bool* null) {
    json::json_type type;
    if (const auto error = value->type().get(type)) return Broken(error);
    *null = type == json::json_type::null;
    bool whole = true;
    if (*null && (value->is_null().get(whole) != simdjson::SUCCESS || !whole)) return Broken(simdjson::N_ATOM_ERROR);
    return Status::OK();
  }

  /// Reads a value that nobody wants, so that what is ignored is JSON too.
  Status Skip(json::value& value, int depth) {
    if (depth > kOtlpNestingMax) return TooDeep();
    json::json_type type;
    if (const auto error = value.type().get(type)) return Broken(error);
    switch (type) {
      case json::json_type::object: return SkipObject(value, depth);
      case json::json_type::array: {
        json::array array;
        if (const auto error = value.get_array().get(array)) return Broken(error);
        for (auto entry : array) {
          json::value element;
          if (const auto error = entry.get(element)) return Broken(error);
          SHEAF_RETURN_NOT_OK(Skip(element, depth + 1));
        }
        return Status::OK();
      }
      case json::json_type::string: {
        std::string_view text;
        const auto error = value.get_string().get(text);
        return error ? Broken(error) : Status::OK();
      }
      case json::json_type::boolean: {
        bool truth;
        const auto error = value.get_bool().get(truth);
        return error ? Broken(error) : Status::OK();
      }
      case json::json_type::null: {
        bool null = false;
        return IsNull(&value, &null);
      }
      case json::json_type::number: break;
    }
    std::string_view text;
    bool quoted = false;
    SHEAF_RETURN_NOT_OK(NumberText(value, &text, &quoted));
    return IsJsonNumber(text) ? Status::OK() : Broken(simdjson::NUMBER_ERROR);
  }

  Status SkipObject(json::value& value, int depth) {
    json::object object;
    if (const auto error = value.get_object().get(object)) return Broken(error);
    for (auto entry : object) {
      json::field pair;
      if (const auto error = std::move(entry).get(pair)) return Broken(error);
      std::string_view name;
      if (const auto error = pair.unescaped_key().get(name)) return Broken(error);
      SHEAF_RETURN_NOT_OK(Skip(pair.value(), depth + 1));
    }
    return Status::OK();
  }

  std::string Path() const {
    std::string text;
    for (const PathStep& step : path_) {
      if (!text.empty()) text += '.';
      text += step.name;
      if (step.index >= 0) text += fmt::format("[{}]", step.index);
    }
    return text;
  }

  template <typename... Args>
  Status Fail(fmt::format_string<Args...> format, Args&&... args) const {
    const std::string path = Path();
    const std::string what = fmt::format(format, std::forward<Args>(args)...);
    return MakeError(ErrorKind::kInvalid, "OTLP/JSON: {}{}{}", path, path.empty() ? "" : " ", what);
  }
  Status Broken(simdjson::error_code error) const {
    if (error == simdjson::DEPTH_ERROR) return TooDeep();
    const std::string path = Path();
    return MakeError(ErrorKind::kInvalid, "OTLP/JSON: not JSON{}{}: {}", path.empty() ? "" : " near ", path,
                     simdjson::error_message(error));
  }
  Status Wrong(simdjson::error_code error, const char* wanted) const {
    return error == simdjson::INCORRECT_TYPE ? Fail("must be {}", wanted) : Broken(error);
  }
  Status TooDeep() const {
    return MakeError(ErrorKind::kTooLarge, "OTLP/JSON: {} is nested deeper than {} levels", Path(), kOtlpNestingMax);
  }

  NestedWriter writer_;
  std::vector<PathStep> path_;
};

}  // namespace

Status OtlpJsonToProtobuf(OtlpRequest kind, std::string_view json, std::string* out) {
  const simdjson::padded_string padded(json);
  json::parser parser;
  json::document document;
  if (const auto error = parser.iterate(padded).get(document)) {
    return MakeError(ErrorKind::kInvalid, "OTLP/JSON: not JSON: {}", simdjson::error_message(error));
  }
  JsonReader reader;
  SHEAF_RETURN_NOT_OK(reader.Request(&document, OtlpRequestSchema(kind)));
  reader.writer().AppendTo(out);
  return Status::OK();
}

}  // namespace sheaf::wire
