#include "decode/otap_cbor.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

enum Major : uint8_t {
  kPositive = 0,
  kNegative = 1,
  kByteString = 2,
  kTextString = 3,
  kArray = 4,
  kMap = 5,
  kTagged = 6,
  kSimple = 7
};
constexpr uint8_t kIndefinite = 31;
constexpr uint8_t kBreak = 0xff;

/// A data item's first bytes.
struct Head {
  uint8_t major = 0, info = 0;
  uint64_t value = 0;  // A number, a length, or a float's bits.
  bool indefinite() const { return info == kIndefinite; }
};

double HalfToDouble(uint64_t half) {
  const auto exponent = static_cast<int>((half >> 10) & 31);
  const auto mantissa = static_cast<double>(half & 1023);
  double value = std::numeric_limits<double>::quiet_NaN();
  if (exponent == 0) {
    value = std::ldexp(mantissa, -24);
  } else if (exponent < 31) {
    value = std::ldexp(mantissa + 1024, exponent - 25);
  } else if (mantissa == 0) {
    value = std::numeric_limits<double>::infinity();
  }
  return (half & 0x8000) != 0 ? -value : value;
}

class CborReader {
 public:
  CborReader(std::string_view bytes, int depth_max, std::string* out) : bytes_(bytes), depth_max_(depth_max), writer_(out) {}

  Status Whole(ValueType type) {
    Head head;
    SHEAF_RETURN_NOT_OK(ReadHead(&head));
    if (head.major != (type == ValueType::kArray ? kArray : kMap)) return Malformed("not a value of the type that its row names");
    SHEAF_RETURN_NOT_OK(ReadItems(head, 2));
    return at_ == bytes_.size() ? Status::OK() : Malformed("bytes after the value");
  }

 private:
  Status Malformed(const char* what) const {
    return MakeError(ErrorKind::kInvalid, "malformed CBOR at byte {} of {}: {}", at_, bytes_.size(), what);
  }

  Status ReadHead(Head* head) {
    if (at_ == bytes_.size()) return Malformed("cut off");
    const auto first = static_cast<uint8_t>(bytes_[at_++]);
    head->major = first >> 5;
    head->info = first & 31;
    head->value = head->info;
    if (head->info < 24) return Status::OK();
    if (head->info > 27) {
      const bool may_be_indefinite = head->major >= kByteString && head->major <= kMap;
      return head->info == kIndefinite && may_be_indefinite ? Status::OK() : Malformed("a length that does not exist");
    }
    const size_t n = size_t{1} << (head->info - 24);
    if (bytes_.size() - at_ < n) return Malformed("cut off");
    head->value = 0;
    for (size_t i = 0; i < n; ++i) head->value = head->value << 8 | static_cast<uint8_t>(bytes_[at_++]);
    return Status::OK();
  }

  /// True where an indefinite value ends here; the mark is then taken.
  bool TakeBreak() {
    if (at_ == bytes_.size() || static_cast<uint8_t>(bytes_[at_]) != kBreak) return false;
    ++at_;
    return true;
  }

  /// A text or byte string; in pieces, it is put together in `joined_`.
  Status ReadString(const Head& head, std::string_view* string) {
    if (!head.indefinite()) {
      if (head.value > bytes_.size() - at_) return Malformed("cut off");
      *string = bytes_.substr(at_, static_cast<size_t>(head.value));
      at_ += string->size();
      return Status::OK();
    }
    joined_.clear();
    while (!TakeBreak()) {
      Head piece_head;
      SHEAF_RETURN_NOT_OK(ReadHead(&piece_head));
      if (piece_head.major != head.major || piece_head.indefinite()) return Malformed("a piece of a string that is none");
      std::string_view piece;
      SHEAF_RETURN_NOT_OK(ReadString(piece_head, &piece));
      joined_ += piece;
    }
    *string = joined_;
    return Status::OK();
  }

  /// The items of an array or map, each as field 1 of what is open; values stand at `depth`.
  Status ReadItems(const Head& head, int depth) {
    for (uint64_t i = 0; head.indefinite() ? !TakeBreak() : i < head.value; ++i) {
      const size_t item = writer_.Open(1);
      if (head.major == kMap) {
        Head key;
        SHEAF_RETURN_NOT_OK(ReadHead(&key));
        if (key.major != kTextString) return Malformed("a key that is not text");
        std::string_view text;
        SHEAF_RETURN_NOT_OK(ReadString(key, &text));
        writer_.Bytes(1, text);
        const size_t value = writer_.Open(2);
        SHEAF_RETURN_NOT_OK(ReadAnyValue(depth));
        writer_.Close(value);
      } else {
        SHEAF_RETURN_NOT_OK(ReadAnyValue(depth));
      }
      writer_.Close(item);
    }
    return Status::OK();
  }

  Status ReadAnyValue(int depth) {
    if (depth > depth_max_)
      return MakeError(ErrorKind::kTooLarge, "an attribute value is nested deeper than {} levels", depth_max_);
    Head head;
    SHEAF_RETURN_NOT_OK(ReadHead(&head));
    switch (head.major) {
      case kPositive:
      case kNegative:
        if (head.value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
          return Malformed("an integer beyond 64 bits signed");
        writer_.Varint(3, head.major == kPositive ? head.value : ~head.value);
        return Status::OK();
      case kByteString:
      case kTextString: {
        std::string_view string;
        SHEAF_RETURN_NOT_OK(ReadString(head, &string));
        writer_.Bytes(head.major == kTextString ? 1 : 7, string);
        return Status::OK();
      }
      case kArray:
      case kMap: {
        const size_t nested = writer_.Open(head.major == kArray ? 5 : 6);
        SHEAF_RETURN_NOT_OK(ReadItems(head, depth + 1));
        writer_.Close(nested);
        return Status::OK();
      }
      case kSimple: return WriteSimple(head);
      default: return Malformed("a tag, which no OTLP value has");
    }
  }

  Status WriteSimple(const Head& head) {
    switch (head.info) {
      case 20:
      case 21: writer_.Varint(2, head.info == 21); return Status::OK();
      case 22:
      case 23: return Status::OK();  // null and undefined: a value that is empty.
      case 25: writer_.Double(4, HalfToDouble(head.value)); return Status::OK();
      case 26: writer_.Double(4, std::bit_cast<float>(static_cast<uint32_t>(head.value))); return Status::OK();
      case 27: writer_.Double(4, std::bit_cast<double>(head.value)); return Status::OK();
      default: return Malformed("a simple value that OTLP does not have");
    }
  }

  const std::string_view bytes_;
  const int depth_max_;
  wire::ProtobufWriter writer_;
  size_t at_ = 0;
  std::string joined_;
};

}  // namespace

Status CborToOtlp(ValueType type, std::string_view cbor, int depth_max, std::string* out) {
  return cbor.empty() ? Status::OK() : CborReader(cbor, depth_max, out).Whole(type);
}

}  // namespace sheaf::decode
