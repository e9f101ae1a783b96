#include "decode/attribute_column.h"

#include <cstring>

#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::Tag;
using wire::WireType;

constexpr int64_t kValuesMin = 64, kValueBytesMin = 1024;

/// The value of a varint of `n` bytes (1 to 8) at `p`, where 8 bytes may be read: seven bits of each byte,
/// brought together by halves. False where it does not end with its last byte.
bool ShortVarint(const char* p, size_t n, int64_t* value) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  const uint64_t keep = ~0ull >> (64 - 8 * n);
  const uint64_t marks = 0x8080808080808080ull & (keep >> 8);  // All but the last byte go on.
  if ((v & keep & 0x8080808080808080ull) != marks) return false;
  v &= keep & 0x7f7f7f7f7f7f7f7full;
  v = (v & 0x007f007f007f007full) | ((v & 0x7f007f007f007f00ull) >> 1);
  v = (v & 0x00003fff00003fffull) | ((v & 0x3fff00003fff0000ull) >> 2);
  v = (v & 0x000000000fffffffull) | ((v & 0x0fffffff00000000ull) >> 4);
  *value = static_cast<int64_t>(v);
  return true;
}

/// Reads an AnyValue of `n` < 128 bytes that is exactly one short scalar; 10 bytes may be read at `p`.
bool ShortValue(const char* p, size_t n, AttributeValue* value) {
  if (n < 2) return false;
  switch (static_cast<uint8_t>(p[0])) {
    case Tag(1, WireType::kBytes):
    case Tag(7, WireType::kBytes):
      *value = {static_cast<ValueType>(p[0] >> 3), 0, {p + 2, n - 2}};
      return static_cast<uint8_t>(p[1]) == n - 2;
    case Tag(2, WireType::kVarint):
      *value = {ValueType::kBool, p[1] != 0, {}};
      return n == 2 && static_cast<uint8_t>(p[1]) < 0x80;
    case Tag(3, WireType::kVarint):
      *value = {ValueType::kInt, 0, {}};
      return n <= 9 && ShortVarint(p + 1, n - 1, &value->num);
    case Tag(4, WireType::kFixed64):
      *value = {ValueType::kDouble, 0, {}};
      std::memcpy(&value->num, p + 1, 8);
      return n == 9;
    default:
      return false;
  }
}

}  // namespace

void AttributeColumn::Start(RequestMemory* memory, int64_t rows) {
  dictionary_.Start(memory);
  capacity_ = 0;  // Not usable until all of them are.
  const int64_t values = std::max(kValuesMin, keys_.capacity());
  offsets_.Start(memory, rows + 1);
  keys_.Start(memory, values);
  types_.Start(memory, values);
  nums_.Start(memory, values);
  vals_.Start(memory, values, kValueBytesMin);
  capacity_ = values;
  size_ = 0;
  offsets_[0] = 0;
  patterns_.assign(1, Pattern{});
  last_ = 0;
}

void AttributeColumn::Grow() {
  const int64_t wanted = capacity_ * 2;
  CheckOffset(wanted);
  keys_.Reserve(wanted);
  types_.Reserve(wanted);
  nums_.Reserve(wanted);
  vals_.Reserve(wanted);
  capacity_ = wanted;
}

bool AttributeColumn::AddPredicted(std::string_view key_value, RequestContext* context) {
  // What is read here reaches at most 64 bytes beyond the start: pattern, a length, a short number.
  const char* p = key_value.data();
  if (key_value.size() >= 128 || reinterpret_cast<uintptr_t>(p) + 64 > context->readable_end) return false;
  const uint32_t predicted = patterns_[last_].next;
  const Pattern& pattern = patterns_[predicted];
  const auto* want = reinterpret_cast<const __m128i*>(pattern.bytes);
  const auto* have = reinterpret_cast<const __m128i*>(p);
  const auto low = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(want), _mm_loadu_si128(have))));
  const auto high = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(want + 1), _mm_loadu_si128(have + 1))));
  if (((low | high << 16) & pattern.mask) != pattern.mask || pattern.size == 0) return false;
  const char* value_at = p + pattern.size;
  const size_t value_size = static_cast<uint8_t>(*value_at);
  if (value_at + 1 + value_size != p + key_value.size()) return false;
  AttributeValue value;
  if (!ShortValue(value_at + 1, value_size, &value)) return false;
  last_ = predicted;
  Append(static_cast<int32_t>(predicted) - 1, value, context->readable_end);
  return true;
}

bool AttributeColumn::AddAny(std::string_view key_value, RequestContext* context) {
  KeyValue parsed;
  if (!ReadKeyValue(key_value, context, &parsed)) return false;
  bool is_new;
  const int32_t id = dictionary_.Id(parsed.key, &is_new);
  if (is_new) {
    if (!context->careful && !IsUtf8(parsed.key)) context->suspect = true;
    Learn(id, parsed.key);
  }
  const auto at = id < kPatternsMax ? static_cast<uint32_t>(id) + 1 : 0;
  patterns_[last_].next = at;
  last_ = at;
  Append(id, parsed.value, context->readable_end);
  return true;
}

void AttributeColumn::Learn(int32_t id, std::string_view key) {
  if (id >= kPatternsMax) return;
  patterns_.resize(static_cast<size_t>(id) + 2);
  Pattern& pattern = patterns_.back();
  if (key.size() + 3 > sizeof(pattern.bytes)) return;
  pattern.bytes[0] = Tag(1, WireType::kBytes);
  pattern.bytes[1] = static_cast<uint8_t>(key.size());
  if (!key.empty()) std::memcpy(pattern.bytes + 2, key.data(), key.size());
  pattern.bytes[key.size() + 2] = Tag(2, WireType::kBytes);
  pattern.size = static_cast<uint32_t>(key.size()) + 3;
  pattern.mask = pattern.size == 32 ? ~0u : (1u << pattern.size) - 1;
}

void AttributeColumn::Rewind(int64_t row) {
  size_ = offsets_[row];
  vals_.Rewind(size_);
}

bool AttributeColumn::TextIsUtf8() const {
  if (IsAscii(vals_.heap())) return true;
  for (int64_t i = 0; i < size_; ++i) {
    if (types_[i] == static_cast<uint8_t>(ValueType::kString) && !IsUtf8(vals_.value(i))) return false;
  }
  return true;
}

ArrayDataPtr AttributeColumn::Finish(const TypePtr& type, int64_t rows) const {
  ArrayDataPtr items =
      MakeStruct(ItemType(type), size_,
                 {dictionary_.MakeColumn(FieldType(type, 0), size_, keys_.View(size_)),
                  MakeArray(FieldType(type, 1), size_, types_.View(size_)),
                  MakeArray(FieldType(type, 2), size_, nums_.View(size_)), MakeArray(FieldType(type, 3), size_, vals_)});
  return MakeList(type, rows, offsets_, std::move(items));
}

void AttributeColumn::Trim(int64_t bytes_max) {
  dictionary_.Trim(bytes_max);
  offsets_.Trim(bytes_max);
  keys_.Trim(bytes_max);
  types_.Trim(bytes_max);
  nums_.Trim(bytes_max);
  vals_.Trim(bytes_max);
}

}  // namespace sheaf::decode
