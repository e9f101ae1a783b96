/// Reads protobuf wire format field by field, in place: no message objects, no allocation, no exceptions.
///
/// A reader walks one message. Next() steps to a field; then exactly one of the value calls or Skip()
/// takes its value. What is malformed ends the walk: Next() returns false, values read as zero or empty,
/// and ok() says so. Check ok() once, after the loop:
///
///   ProtobufReader reader(bytes);
///   while (reader.Next()) {
///     switch (reader.tag()) {
///       case Tag(1, WireType::kBytes): name = reader.Bytes(); break;
///       default: reader.Skip();
///     }
///   }
///   if (!reader.ok()) return …;   // reader.position() is where the bytes stop making sense
///
/// A field with a known number and another wire type than expected is an unknown field, as in every
/// protobuf implementation: switch on the whole tag.

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sheaf::wire {

static_assert(std::endian::native == std::endian::little, "fixed-width fields are read as they stand");

enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kGroupStart = 3, kGroupEnd = 4, kFixed32 = 5 };

/// The number that precedes a field's value.
constexpr uint32_t Tag(uint32_t field, WireType type) { return field << 3 | static_cast<uint32_t>(type); }
constexpr uint32_t FieldOf(uint32_t tag) { return tag >> 3; }
constexpr WireType TypeOf(uint32_t tag) { return static_cast<WireType>(tag & 7); }

/// Reads a varint of any length at `p`; returns the place after it, or null where it runs past `end` or
/// over ten bytes.
const char* ReadLongVarint(const char* p, const char* end, uint64_t* value);

/// Skips the group whose start tag was just read, nested groups included (at most kGroupDepthMax).
/// Returns the place after its end tag, or null where it is malformed.
const char* SkipGroup(const char* p, const char* end, uint32_t start_tag);
inline constexpr int kGroupDepthMax = 100;  // What libprotobuf allows.

/// See the file comment. Borrows `message`. Not thread-safe; cheap to make.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view message) : p_(message.data()), end_(message.data() + message.size()) {}

  /// Steps to the next field. False at the end of the message, and where it is malformed.
  bool Next() {
    if (p_ == end_) return false;
    const uint8_t first = static_cast<uint8_t>(*p_);
    if (first < 0x80) [[likely]] {
      tag_ = first;
      ++p_;
    } else {
      const uint64_t tag = Varint();
      if (tag > UINT32_MAX) return Fail();
      tag_ = static_cast<uint32_t>(tag);
    }
    if (tag_ < 8) [[unlikely]] return Fail();  // Field number 0.
    return true;
  }

  uint32_t tag() const { return tag_; }

  uint64_t Varint() {
    if (p_ != end_ && static_cast<uint8_t>(*p_) < 0x80) [[likely]] return static_cast<uint8_t>(*p_++);
    uint64_t value = 0;
    const char* after = ReadLongVarint(p_, end_, &value);
    if (after == nullptr) [[unlikely]] {
      Fail();
      return 0;
    }
    p_ = after;
    return value;
  }
  /// A varint as protobuf's sint32 reads it.
  int32_t ZigZag32() {
    const uint32_t v = static_cast<uint32_t>(Varint());
    return static_cast<int32_t>((v >> 1) ^ (~(v & 1) + 1));
  }
  uint64_t Fixed64() { return Fixed<uint64_t>(); }
  uint32_t Fixed32() { return Fixed<uint32_t>(); }
  double Double() { return std::bit_cast<double>(Fixed64()); }

  /// A length-delimited value: text, bytes, a message or packed numbers. Borrows the message's bytes.
  std::string_view Bytes() {
    const uint64_t size = Varint();
    if (size > static_cast<uint64_t>(end_ - p_)) [[unlikely]] {
      Fail();
      return {};
    }
    const std::string_view bytes(p_, static_cast<size_t>(size));
    p_ += size;
    return bytes;
  }

  /// Takes the value of the current field, whatever it is.
  void Skip() {
    switch (TypeOf(tag_)) {
      case WireType::kVarint:
        Varint();
        return;
      case WireType::kFixed64:
        Fixed64();
        return;
      case WireType::kBytes:
        Bytes();
        return;
      case WireType::kFixed32:
        Fixed32();
        return;
      case WireType::kGroupStart: {
        const char* after = SkipGroup(p_, end_, tag_);
        if (after == nullptr) {
          Fail();
        } else {
          p_ = after;
        }
        return;
      }
      default:
        Fail();  // A group's end without its start, or a wire type that does not exist.
    }
  }

  /// False once something malformed was met.
  bool ok() const { return ok_; }
  /// Where the reader stands; after a failure, where it failed.
  const char* position() const { return p_; }

 private:
  bool Fail() {
    end_ = p_;
    ok_ = false;
    return false;
  }
  template <typename T>
  T Fixed() {
    if (end_ - p_ < static_cast<ptrdiff_t>(sizeof(T))) [[unlikely]] {
      Fail();
      return 0;
    }
    T value;
    std::memcpy(&value, p_, sizeof(T));
    p_ += sizeof(T);
    return value;
  }

  const char* p_;
  const char* end_;
  uint32_t tag_ = 0;
  bool ok_ = true;
};

/// Walks repeated numbers of one field: a packed run, or a single number where it came unpacked.
/// Next() returns false at the end of the run; ok() as above.
class PackedReader {
 public:
  explicit PackedReader(std::string_view run) : p_(run.data()), end_(run.data() + run.size()) {}
  bool NextVarint(uint64_t* value) {
    if (p_ == end_) return false;
    const char* after = ReadLongVarint(p_, end_, value);
    if (after == nullptr) {
      ok_ = false;
      end_ = p_;
      return false;
    }
    p_ = after;
    return true;
  }
  bool ok() const { return ok_; }
  const char* position() const { return p_; }

 private:
  const char* p_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace sheaf::wire
