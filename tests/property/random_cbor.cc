#include "property/random_cbor.h"

#include <bit>

namespace sheaf::property {
namespace {

namespace otlp = opentelemetry::proto;

class CborWriter {
 public:
  explicit CborWriter(Random* random) : random_(random) {}

  void CborHead(int major, uint64_t value, std::string* out) {
    const int bytes = value < 24 && !random_->OneIn(5) ? 0 : value < 256 ? 1 : value < 65'536 ? 2 : value >> 32 == 0 ? 4 : 8;
    const int info = bytes == 0 ? static_cast<int>(value) : bytes == 1 ? 24 : bytes == 2 ? 25 : bytes == 4 ? 26 : 27;
    out->push_back(static_cast<char>(major << 5 | info));
    for (int i = bytes - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
  }
  void CborString(int major, const std::string& text_to_send, std::string* out) {
    const std::string text = Replaced(text_to_send, kBadText, kBadBytes);
    if (!random_->OneIn(4)) {
      CborHead(major, text.size(), out);
      *out += text;
      return;
    }
    out->push_back(static_cast<char>(major << 5 | 31));
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + random_->Below(text.size() - at);
      CborHead(major, n, out);
      *out += text.substr(at, n);
      at += n;
    }
    out->push_back('\xff');
  }
  void Cbor(const otlp::common::v1::AnyValue& value, std::string* out) {
    using AnyValue = otlp::common::v1::AnyValue;
    const bool indefinite = random_->OneIn(2);
    switch (value.value_case()) {
      case AnyValue::kStringValue: return CborString(3, value.string_value(), out);
      case AnyValue::kBytesValue: return CborString(2, value.bytes_value(), out);
      case AnyValue::kBoolValue: return out->push_back(static_cast<char>(value.bool_value() ? 0xf5 : 0xf4));
      case AnyValue::kIntValue: {
        const int64_t n = value.int_value();
        return n >= 0 ? CborHead(0, static_cast<uint64_t>(n), out) : CborHead(1, static_cast<uint64_t>(~n), out);
      }
      case AnyValue::kDoubleValue: {
        const double d = value.double_value();
        const auto f = static_cast<float>(d);
        const bool single = static_cast<double>(f) == d && random_->OneIn(2);
        const uint64_t bits = single ? std::bit_cast<uint32_t>(f) : std::bit_cast<uint64_t>(d);
        out->push_back(static_cast<char>(single ? 0xfa : 0xfb));
        for (int i = single ? 3 : 7; i >= 0; --i) out->push_back(static_cast<char>(bits >> (8 * i)));
        return;
      }
      case AnyValue::kArrayValue: {
        const auto& values = value.array_value().values();
        if (indefinite)
          out->push_back('\x9f');
        else
          CborHead(4, static_cast<uint64_t>(values.size()), out);
        for (const auto& item : values) Cbor(item, out);
        break;
      }
      case AnyValue::kKvlistValue: {
        const auto& values = value.kvlist_value().values();
        if (indefinite)
          out->push_back('\xbf');
        else
          CborHead(5, static_cast<uint64_t>(values.size()), out);
        for (const auto& item : values) {
          CborString(3, item.key(), out);
          Cbor(item.value(), out);
        }
        break;
      }
      default: return out->push_back(static_cast<char>(random_->OneIn(2) ? 0xf6 : 0xf7));
    }
    if (indefinite) out->push_back('\xff');
  }

 private:
  Random* const random_;
};

}  // namespace

void AppendCbor(const otlp::common::v1::AnyValue& value, Random* random, std::string* out) {
  CborWriter(random).Cbor(value, out);
}

}  // namespace sheaf::property
