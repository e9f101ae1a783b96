/// How much memory one request may take while it is decoded, beyond its own bytes.
///
/// A few bytes of OTLP can ask for many bytes of columns (a span of two fields, a key met once), so everything that
/// grows with what a request holds is charged here before it is allocated: column buffers, the hash tables of
/// dictionaries, texts that were repaired or joined, envelopes. Recycled memory stays charged until it is given back.

#pragma once

#include <cstdint>
#include <exception>
#include <limits>
#include <string>

#include <arrow/memory_pool.h>

namespace sheaf::decode {

/// Thrown where a request would pass its budget; the Decoder turns it into TooLarge, it never leaves it.
class OverBudget : public std::exception {
 public:
  const char* what() const noexcept override { return "over the memory budget of one request"; }
};

/// Not thread-safe: its decoder's alone. Batches may outlive it, they know only the pool.
class RequestMemory {
 public:
  /// Borrows `pool`, from which buffers come.
  explicit RequestMemory(arrow::MemoryPool* pool) : pool_(pool) {}
  RequestMemory(const RequestMemory&) = delete;
  RequestMemory& operator=(const RequestMemory&) = delete;

  void set_bytes_max(int64_t bytes_max) { bytes_max_ = bytes_max; }
  int64_t bytes_max() const { return bytes_max_; }
  int64_t held() const { return held_; }
  arrow::MemoryPool* pool() const { return pool_; }

  /// Call before allocating. Throws OverBudget, and charges nothing, where the budget would be passed.
  void Charge(int64_t bytes) {
    if (bytes > bytes_max_ - held_) [[unlikely]] throw OverBudget();
    held_ += bytes;
  }
  void Release(int64_t bytes) { held_ -= bytes; }

  /// Makes room for `more` bytes at the end of `text`, whose memory is charged until Forget().
  void Reserve(std::string* text, size_t more);
  /// What `text` is charged with is given back with its memory.
  void Forget(std::string* text);

 private:
  arrow::MemoryPool* const pool_;  // Borrowed.
  int64_t bytes_max_ = std::numeric_limits<int64_t>::max();
  int64_t held_ = 0;
};

/// A text whose memory, charged by Reserve(), is given back at the end, however that comes. Borrows the memory.
class ChargedText {
 public:
  explicit ChargedText(RequestMemory* memory) : memory_(memory) {}
  ~ChargedText() { memory_->Forget(&text_); }
  ChargedText(const ChargedText&) = delete;
  ChargedText& operator=(const ChargedText&) = delete;
  std::string& operator*() { return text_; }

 private:
  RequestMemory* const memory_;
  std::string text_;
};

}  // namespace sheaf::decode
