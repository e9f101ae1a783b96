/// Appends protobuf wire format to a string.
///
/// Messages inside messages are written in place: Open() leaves room for a length, Close() fills it in
/// and closes the gap that the length did not need. Scalars are written whatever their value; leaving out
/// defaults is the caller's decision.

#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "wire/protobuf_reader.h"

namespace sheaf::wire {

/// Appends to `out`, which it borrows. Not thread-safe.
class ProtobufWriter {
 public:
  /// Bytes and Raw fields that would make `out` longer than `bytes_max` are left out, and full() is true from then on: what was
  /// written is then not whole. Numbers are written all the same: they are few beside what they describe.
  explicit ProtobufWriter(std::string* out, size_t bytes_max = std::numeric_limits<size_t>::max())
      : out_(out), bytes_max_(bytes_max) {}
  bool full() const { return full_; }

  void RawVarint(uint64_t value) {
    char bytes[kVarintBytesMax];
    out_->append(bytes, EncodeVarint(value, bytes));
  }
  void Varint(uint32_t field, uint64_t value) {
    RawVarint(Tag(field, WireType::kVarint));
    RawVarint(value);
  }
  /// int32 and enums: negative numbers take ten bytes, as protobuf has it.
  void Int32(uint32_t field, int32_t value) { Varint(field, static_cast<uint64_t>(static_cast<int64_t>(value))); }
  void SInt32(uint32_t field, int32_t value) {
    Varint(field, (static_cast<uint32_t>(value) << 1) ^ static_cast<uint32_t>(value >> 31));
  }
  void Fixed64(uint32_t field, uint64_t value) {
    RawVarint(Tag(field, WireType::kFixed64));
    RawFixed64(value);
  }
  void Fixed32(uint32_t field, uint32_t value) {
    RawVarint(Tag(field, WireType::kFixed32));
    out_->append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void Double(uint32_t field, double value) { Fixed64(field, std::bit_cast<uint64_t>(value)); }
  void RawFixed64(uint64_t value) { out_->append(reinterpret_cast<const char*>(&value), sizeof(value)); }
  /// Text, bytes, or a message already encoded.
  void Bytes(uint32_t field, std::string_view bytes) {
    RawVarint(Tag(field, WireType::kBytes));
    RawVarint(bytes.size());
    Append(bytes);
  }
  /// Bytes that are whole fields already.
  void Raw(std::string_view fields) { Append(fields); }

  /// Begins a message or a packed run in `field`. What is written until Close() of the returned mark
  /// belongs to it. Marks nest: close the innermost first.
  size_t Open(uint32_t field) {
    RawVarint(Tag(field, WireType::kBytes));
    out_->append(kLengthRoom, '\0');
    return out_->size();
  }
  void Close(size_t mark) {
    const size_t size = out_->size() - mark;
    char bytes[kVarintBytesMax];
    const size_t n = EncodeVarint(size, bytes);
    out_->replace(mark - kLengthRoom, kLengthRoom, bytes, n);
  }

 private:
  static constexpr size_t kVarintBytesMax = 10;
  static constexpr size_t kLengthRoom = 2;  // Enough for most records, so that closing one moves nothing.

  static size_t EncodeVarint(uint64_t value, char* bytes) {
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) bytes[n++] = static_cast<char>(value | 0x80);
    bytes[n++] = static_cast<char>(value);
    return n;
  }

  void Append(std::string_view bytes) {
    full_ |= out_->size() > bytes_max_ || bytes.size() > bytes_max_ - out_->size();
    if (!full_) [[likely]]
      out_->append(bytes);
  }

  std::string* const out_;
  const size_t bytes_max_;
  bool full_ = false;
};

}  // namespace sheaf::wire
