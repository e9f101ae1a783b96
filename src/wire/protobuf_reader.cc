#include "wire/protobuf_reader.h"

#include <array>

namespace sheaf::wire {

const char* ReadLongVarint(const char* p, const char* end, uint64_t* value) {
  uint64_t v = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (p == end) return nullptr;
    const uint8_t byte = static_cast<uint8_t>(*p++);
    v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = v;
      return p;
    }
  }
  return nullptr;
}

const char* SkipGroup(const char* p, const char* end, uint32_t start_tag) {
  std::array<uint32_t, kGroupDepthMax> open;  // Field numbers of the groups not yet ended.
  open[0] = FieldOf(start_tag);
  int depth = 1;
  ProtobufReader reader(std::string_view(p, static_cast<size_t>(end - p)));
  while (reader.Next()) {
    const uint32_t field = FieldOf(reader.tag());
    if (TypeOf(reader.tag()) == WireType::kGroupStart) {
      if (depth == kGroupDepthMax) return nullptr;
      open[static_cast<size_t>(depth++)] = field;
    } else if (TypeOf(reader.tag()) == WireType::kGroupEnd) {
      if (open[static_cast<size_t>(depth - 1)] != field) return nullptr;
      if (--depth == 0) return reader.position();
    } else {
      reader.Skip();
    }
  }
  return nullptr;
}

}  // namespace sheaf::wire
