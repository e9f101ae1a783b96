/// The way out of otap_cbor.h.

#include <bit>

#include "decode/otap_cbor.h"
#include "decode/utf8.h"
#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

/// Deeper than any decoder lets through: only damaged bytes get here, and the stack must hold.
constexpr int kDepthMax = 100;

enum Major : uint8_t { kPositive = 0 << 5, kNegative = 1 << 5, kByteString = 2 << 5, kTextString = 3 << 5 };
constexpr char kArrayStart = '\x9f', kMapStart = '\xbf', kBreak = '\xff';
constexpr char kFalse = '\xf4', kTrue = '\xf5', kNull = '\xf6', kDouble = '\xfb';

class CborWriter {
 public:
  CborWriter(std::string* out, bool* exact) : out_(out), exact_(exact) {}

  Status Nested(ValueType type, std::string_view bytes, int depth) {
    if (depth > kDepthMax) return MakeError(ErrorKind::kInvalid, "a value is nested deeper than {} levels", kDepthMax);
    out_->push_back(type == ValueType::kArray ? kArrayStart : kMapStart);
    ProtobufReader reader(bytes);
    while (reader.Next()) {
      if (reader.tag() != Tag(1, WireType::kBytes)) {
        reader.Skip();
        *exact_ = false;
        continue;
      }
      const std::string_view item = reader.Bytes();
      if (!reader.ok()) break;
      SHEAF_RETURN_NOT_OK(type == ValueType::kArray ? Value(item, depth + 1) : KeyValue(item, depth + 1));
    }
    out_->push_back(kBreak);
    return reader.ok() ? Status::OK() : Malformed(bytes, reader);
  }

 private:
  static Status Malformed(std::string_view bytes, const ProtobufReader& reader) {
    return MakeError(ErrorKind::kInvalid, "a nested value is not OTLP at byte {} of {}", reader.position() - bytes.data(),
                     bytes.size());
  }

  Status KeyValue(std::string_view bytes, int depth) {
    std::string_view key, value;
    bool has_value = false;
    ProtobufReader reader(bytes);
    while (reader.Next()) {
      if (reader.tag() == Tag(1, WireType::kBytes)) {
        key = reader.Bytes();
      } else if (reader.tag() == Tag(2, WireType::kBytes)) {
        value = reader.Bytes();
        has_value = true;
      } else {
        reader.Skip();
        *exact_ = false;
      }
    }
    if (!reader.ok()) return Malformed(bytes, reader);
    if (!has_value) *exact_ = false;
    Text(key);
    return Value(value, depth);
  }

  Status Value(std::string_view bytes, int depth) {
    int fields = 0;
    ProtobufReader reader(bytes);
    while (reader.Next()) {
      reader.Skip();
      ++fields;
    }
    if (!reader.ok()) return Malformed(bytes, reader);
    const AttributeValue value = ViewAnyValue(bytes);
    if (fields != (value.type == ValueType::kEmpty ? 0 : 1)) *exact_ = false;
    switch (value.type) {
      case ValueType::kEmpty: out_->push_back(kNull); break;
      case ValueType::kString: Text(value.val); break;
      case ValueType::kBytes:
        Head(kByteString, value.val.size());
        out_->append(value.val);
        break;
      case ValueType::kBool: out_->push_back(value.num != 0 ? kTrue : kFalse); break;
      case ValueType::kInt:
        if (value.num >= 0)
          Head(kPositive, static_cast<uint64_t>(value.num));
        else
          Head(kNegative, ~static_cast<uint64_t>(value.num));
        break;
      case ValueType::kDouble:
        out_->push_back(kDouble);
        BigEndian(static_cast<uint64_t>(value.num), sizeof(uint64_t));
        break;
      case ValueType::kArray:
      case ValueType::kKvList: return Nested(value.type, value.val, depth);
    }
    return Status::OK();
  }

  void Text(std::string_view text) {
    std::string repaired;
    if (!IsUtf8(text)) {
      RepairUtf8(text, &repaired);
      text = repaired;
      *exact_ = false;
    }
    Head(kTextString, text.size());
    out_->append(text);
  }

  /// A number in the fewest bytes.
  void Head(Major major, uint64_t value) {
    if (value < 24) {
      out_->push_back(static_cast<char>(major | value));
      return;
    }
    const int log = value <= UINT8_MAX ? 0 : value <= UINT16_MAX ? 1 : value <= UINT32_MAX ? 2 : 3;
    out_->push_back(static_cast<char>(major | (24 + log)));
    BigEndian(value, 1 << log);
  }

  void BigEndian(uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) out_->push_back(static_cast<char>(value >> (8 * i)));
  }

  std::string* const out_;
  bool* const exact_;
};

}  // namespace

Status OtlpToCbor(ValueType type, std::string_view bytes, std::string* cbor, bool* exact) {
  return CborWriter(cbor, exact).Nested(type, bytes, 1);
}

}  // namespace sheaf::decode
