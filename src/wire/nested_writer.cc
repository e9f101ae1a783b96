#include "wire/nested_writer.h"

#include <bit>

#include "core/check.h"

namespace sheaf::wire {
namespace {

void PutVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

size_t VarintBytes(uint64_t value) {
  const auto bits = static_cast<size_t>(std::bit_width(value | 1));
  return (bits + 6) / 7;
}

}  // namespace

void NestedWriter::Tag(uint32_t field, WireType type) { PutVarint(uint64_t{field} << 3 | static_cast<uint64_t>(type), &bytes_); }

void NestedWriter::PackedVarint(uint64_t value) { PutVarint(value, &bytes_); }

void NestedWriter::PackedFixed32(uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<char>(value >> shift));
}

void NestedWriter::PackedFixed64(uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes_.push_back(static_cast<char>(value >> shift));
}

void NestedWriter::Varint(uint32_t field, uint64_t value) {
  Tag(field, WireType::kVarint);
  PutVarint(value, &bytes_);
}

void NestedWriter::Fixed32(uint32_t field, uint32_t value) {
  Tag(field, WireType::kFixed32);
  PackedFixed32(value);
}

void NestedWriter::Fixed64(uint32_t field, uint64_t value) {
  Tag(field, WireType::kFixed64);
  PackedFixed64(value);
}

void NestedWriter::Bytes(uint32_t field, std::string_view value) {
  Tag(field, WireType::kBytes);
  PutVarint(value.size(), &bytes_);
  bytes_.append(value);
}

size_t NestedWriter::Begin(uint32_t field) {
  Tag(field, WireType::kBytes);
  lengths_.push_back({.position = bytes_.size(), .prefix_bytes = prefix_bytes_, .value = 0});
  ++open_;
  return lengths_.size() - 1;
}

void NestedWriter::End(size_t handle) {
  SHEAF_CHECK(open_ > 0 && handle < lengths_.size());
  Length& length = lengths_[handle];
  length.value = bytes_.size() - length.position + (prefix_bytes_ - length.prefix_bytes);
  prefix_bytes_ += VarintBytes(length.value);
  --open_;
}

void NestedWriter::AppendTo(std::string* out) const {
  SHEAF_CHECK(open_ == 0);
  out->reserve(out->size() + bytes_.size() + prefix_bytes_);
  size_t done = 0;
  for (const Length& length : lengths_) {
    out->append(bytes_, done, length.position - done);
    PutVarint(length.value, out);
    done = length.position;
  }
  out->append(bytes_, done);
}

}  // namespace sheaf::wire
