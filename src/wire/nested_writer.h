/// Writes protobuf with nested messages whose lengths are not known beforehand, without moving bytes once for every level.
///
///   NestedWriter writer;
///   const auto resource = writer.Begin(1);
///   writer.Bytes(3, "https://…");
///   writer.End(resource);
///   writer.AppendTo(&out);

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wire/protobuf_reader.h"

namespace sheaf::wire {

/// Gathers a message. Lengths are canonical (shortest). Not thread-safe.
class NestedWriter {
 public:
  void Varint(uint32_t field, uint64_t value);
  void Fixed32(uint32_t field, uint32_t value);
  void Fixed64(uint32_t field, uint64_t value);
  void Bytes(uint32_t field, std::string_view value);

  /// Opens a length-delimited field (a message, or packed numbers); everything until End(handle) is inside. Nests properly.
  size_t Begin(uint32_t field);
  void End(size_t handle);

  /// sint32's form of a varint.
  static uint64_t ZigZag(int64_t value) { return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63); }

  /// Values without a tag, for packed fields.
  void PackedVarint(uint64_t value);
  void PackedFixed32(uint32_t value);
  void PackedFixed64(uint64_t value);

  /// Requires: everything begun has ended.
  void AppendTo(std::string* out) const;

 private:
  /// Where a length belongs, in order of position.
  struct Length {
    size_t position;      // In bytes_.
    size_t prefix_bytes;  // Bytes of lengths inside, while open: those before it.
    size_t value;
  };
  void Tag(uint32_t field, WireType type);

  std::string bytes_;            // Everything but the lengths of what was begun.
  std::vector<Length> lengths_;
  size_t prefix_bytes_ = 0;      // Of all lengths known so far.
  size_t open_ = 0;
};

}  // namespace sheaf::wire
