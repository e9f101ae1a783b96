#include "decode/column_buffers.h"

#include "decode/utf8.h"

namespace sheaf::decode {

void ColumnBuffer::Start(RequestMemory* memory, int64_t bytes, bool zeroed) {
  memory_ = memory;
  bool recycled = buffer_ != nullptr && buffer_.use_count() == 1 && capacity_ >= bytes;
#if !defined(__SANITIZE_THREAD__)
  // Pairs with the release of the reference that the last reader dropped, on whatever thread.
  if (recycled) std::atomic_thread_fence(std::memory_order_acquire);
#endif
  if (!recycled) {
    const int64_t wanted = std::max(bytes, capacity_);
    Trim(-1);
    memory->Charge(wanted + kBufferSlackBytes);
    auto made = arrow::AllocateResizableBuffer(wanted + kBufferSlackBytes, memory->pool());
    if (!made.ok()) {
      memory->Release(wanted + kBufferSlackBytes);
      throw std::bad_alloc();
    }
    buffer_ = std::move(*made);
    data_ = buffer_->mutable_data();
    capacity_ = wanted;
  }
  if (zeroed) std::memset(data_, 0, static_cast<size_t>(capacity_ + kBufferSlackBytes));
}

void ColumnBuffer::Grow(int64_t bytes, bool zeroed) {
  CheckOffset(bytes);
  const int64_t wanted = std::min(std::max(bytes, capacity_ * 2), std::max(bytes, kOffsetMax));
  const int64_t old = capacity_;
  memory_->Charge(wanted + kBufferSlackBytes);  // While it moves, the old memory is there too.
  if (!buffer_->Resize(wanted + kBufferSlackBytes, false).ok()) {
    memory_->Release(wanted + kBufferSlackBytes);
    throw std::bad_alloc();
  }
  memory_->Release(old + kBufferSlackBytes);
  data_ = buffer_->mutable_data();
  capacity_ = wanted;
  if (zeroed) std::memset(data_ + old, 0, static_cast<size_t>(wanted - old + kBufferSlackBytes));
}

void ColumnBuffer::Trim(int64_t bytes_max) {
  if (capacity_ <= bytes_max || buffer_ == nullptr) return;
  memory_->Release(capacity_ + kBufferSlackBytes);
  buffer_.reset();
  data_ = nullptr;
  capacity_ = 0;
}

bool BytesColumn::TextIsUtf8(int64_t values) const {
  if (IsAscii(heap())) return true;
  if (!IsUtf8(heap())) return false;
  // The whole is valid; so are its pieces, unless one begins in the middle of a character.
  for (int64_t i = 0; i < values; ++i) {
    const std::string_view text = value(i);
    if (!text.empty() && (static_cast<uint8_t>(text[0]) & 0xc0) == 0x80) return false;
  }
  return true;
}

}  // namespace sheaf::decode
