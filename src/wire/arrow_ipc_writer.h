/// Arrow IPC messages, written buffer by buffer: for streams whose batches are made as buffers, not as arrays.
///
/// Arrow's own writer takes arrays, compares whole dictionaries to find what is new in them, and makes a compressor for each
/// buffer; for small batches of many columns that costs more than the rest. This one writes what it is given and keeps its
/// compressor. The counterpart of arrow_ipc.h; the format is that of Arrow's specification, metadata version V5.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/type_fwd.h>

#include "core/status.h"
#include "wire/arrow_ipc.h"

namespace sheaf::wire {

/// Appends the message of `schema`. Its dictionaries have the ids 0, 1, … in the order of their fields, those in structs included.
/// Errors: those of Arrow's writer.
Status AppendIpcSchema(const arrow::Schema& schema, std::string* out);

/// What a batch's metadata is made from: {rows, nulls} of its fields, {offset in the body, bytes} of its buffers.
struct IpcBatchParts {
  int64_t rows;
  const std::vector<std::pair<int64_t, int64_t>>&nodes, &buffers;
  IpcCodec codec;
  int64_t body_bytes;
};
/// The metadata of a message with a batch, or with a dictionary that one makes up where `dictionary`, its id, is not negative.
std::string IpcBatchMetadata(const IpcBatchParts& parts, int64_t dictionary, bool is_delta);

/// Writes batches and dictionaries, one after the other:
///
///   writer.Begin(rows);
///   writer.Node(rows, nulls);         // For each field in the order of the schema, children after their parents…
///   writer.Buffer(…);                 // … and its buffers: null bits (none at all without nulls), offsets, values.
///   writer.FinishBatch(&out);         // Or FinishDictionary().
///
/// Compresses each buffer where a codec is given and it becomes smaller. Recycles its memory. Not thread-safe.
class IpcWriter {
 public:
  explicit IpcWriter(IpcCodec codec = IpcCodec::kNone, int zstd_level = 1);
  ~IpcWriter();
  IpcWriter(const IpcWriter&) = delete;
  IpcWriter& operator=(const IpcWriter&) = delete;

  void Begin(int64_t rows);
  void Node(int64_t rows, int64_t nulls) { nodes_.emplace_back(rows, nulls); }
  /// Errors: OutOfMemory, Internal (the compressor fails).
  Status Buffer(std::string_view bytes);
  template <typename T>
  Status Values(const T* values, int64_t n) {
    return Buffer({reinterpret_cast<const char*>(values), static_cast<size_t>(n) * sizeof(T)});
  }
  /// Appends the message to `out`.
  void FinishBatch(std::string* out);
  /// The same of a dictionary, whose values are the one field. A delta extends what was sent, else it is replaced.
  void FinishDictionary(int64_t id, bool is_delta, std::string* out);

  /// The memory it keeps.
  int64_t held_bytes() const { return static_cast<int64_t>(body_.capacity()); }

 private:
  struct Compressors;
  Status Compress(std::string_view bytes);
  /// Room for `bytes` more at the end of the body.
  char* Room(size_t bytes);
  void AppendMessage(const std::string& metadata, std::string* out);

  const IpcCodec codec_;
  const int zstd_level_;
  std::unique_ptr<Compressors> compressors_;
  int64_t rows_ = 0;
  std::vector<std::pair<int64_t, int64_t>> nodes_;    // {rows, nulls}
  std::vector<std::pair<int64_t, int64_t>> buffers_;  // {offset, bytes}
  std::string body_;                                  // As long as its memory; used_ bytes of it count.
  size_t used_ = 0;
};

}  // namespace sheaf::wire
