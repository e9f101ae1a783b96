/// Decoders to borrow: as many as there are requests being decoded at once.

#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/mutex.h"

namespace sheaf::serve {

/// Of decode::Decoder or decode::OtapDecoder. Thread-safe.
template <typename Decoder, typename Limits>
class DecoderPoolOf {
 public:
  /// What decoders that nobody uses may keep for the next requests, all together.
  static constexpr int64_t kIdleBytesMax = int64_t{64} << 20;

  explicit DecoderPoolOf(Limits limits) : limits_(limits) {}

  std::unique_ptr<Decoder> Take() SHEAF_EXCLUDES(mutex_) {
    {
      MutexLock lock(&mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Decoder> decoder = std::move(idle_.back());
        idle_.pop_back();
        idle_bytes_ -= decoder->kept_bytes();
        return decoder;
      }
    }
    return std::make_unique<Decoder>(limits_, &NamedPool("decode"));
  }
  /// Drops the decoder where the idle ones would keep too much.
  void GiveBack(std::unique_ptr<Decoder> decoder) SHEAF_EXCLUDES(mutex_) {
    const int64_t bytes = decoder->kept_bytes();
    MutexLock lock(&mutex_);
    if (idle_bytes_ + bytes > kIdleBytesMax) return;  // Freed by the caller's frame, after the lock.
    idle_bytes_ += bytes;
    idle_.push_back(std::move(decoder));
  }
  int64_t idle_bytes() const SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return idle_bytes_;
  }

 private:
  const Limits limits_;
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Decoder>> idle_ SHEAF_GUARDED_BY(mutex_);
  int64_t idle_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
};

/// A decoder for a scope. Declared before the batches that share its memory, so that it goes back after they are gone.
template <typename Decoder, typename Limits>
class BorrowedDecoder {
 public:
  explicit BorrowedDecoder(DecoderPoolOf<Decoder, Limits>* pool) : pool_(pool), decoder_(pool->Take()) {}
  ~BorrowedDecoder() { pool_->GiveBack(std::move(decoder_)); }
  BorrowedDecoder(const BorrowedDecoder&) = delete;
  BorrowedDecoder& operator=(const BorrowedDecoder&) = delete;
  Decoder* get() { return decoder_.get(); }
  Decoder* operator->() { return decoder_.get(); }

 private:
  DecoderPoolOf<Decoder, Limits>* const pool_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace sheaf::serve
