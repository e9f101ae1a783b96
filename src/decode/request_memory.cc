#include "decode/request_memory.h"

#include <algorithm>

namespace sheaf::decode {
namespace {

/// What a string holds outside itself.
int64_t HeapBytes(const std::string& text) {
  static const size_t inline_bytes = std::string().capacity();
  return text.capacity() > inline_bytes ? static_cast<int64_t>(text.capacity()) : 0;
}

}  // namespace

void RequestMemory::Reserve(std::string* text, size_t more) {
  const size_t needed = text->size() + more;
  if (needed <= text->capacity()) return;
  const size_t wanted = std::max(needed, text->capacity() * 2);
  const int64_t old = HeapBytes(*text);
  Charge(static_cast<int64_t>(wanted));  // While it moves, the old memory is there too.
  text->reserve(wanted);
  Release(static_cast<int64_t>(wanted) + old - HeapBytes(*text));
}

void RequestMemory::Forget(std::string* text) {
  Release(HeapBytes(*text));
  std::string().swap(*text);
}

}  // namespace sheaf::decode
