/// Little-endian numbers and counted text, written to a string and read back with every bound checked.
/// For the index and the manifest.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace sheaf::parts {

class ByteWriter {
 public:
  explicit ByteWriter(std::string* out) : out_(out) {}

  template <typename T>
  void Number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    out_->append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void Raw(std::string_view bytes) { out_->append(bytes); }
  /// A u32 count, then the bytes.
  void Text(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    Raw(text);
  }
  /// Exactly `width` bytes: cut, or filled with zeros.
  void Fixed(std::string_view bytes, size_t width) {
    out_->append(bytes.substr(0, width));
    out_->append(width - std::min(width, bytes.size()), '\0');
  }

 private:
  std::string* const out_;
};

/// Reading past the end gives zeros and empty text, and ok() is false from then on.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  T Number() {
    T value{};
    const std::string_view raw = Raw(sizeof value);
    if (raw.size() == sizeof value) std::memcpy(&value, raw.data(), sizeof value);
    return value;
  }
  std::string_view Raw(size_t bytes) {
    if (bytes > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view out = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return out;
  }
  std::string Text() { return std::string(Raw(Number<uint32_t>())); }

  bool ok() const { return ok_; }
  size_t left() const { return rest_.size(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace sheaf::parts
