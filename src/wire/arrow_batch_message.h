/// Record batches as Arrow IPC messages, straight from the buffers of their arrays.
///
/// Arrow's own writer makes an object of each column, child and dictionary first; for a batch of a thousand rows in seventy buffers that
/// costs several times what copying the bytes does. This one walks the arrays' data, notes where the buffers lie, and leaves what is
/// rare to Arrow's: slices, and types whose arrays it does not know. The format is that of Arrow's specification, metadata version V5.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arrow/type_fwd.h>

namespace sheaf::wire {

/// A message that is not written yet. Points to the arrays' buffers. May be used again, with its memory.
struct IpcMessage {
  std::string metadata;                   // A multiple of 8 bytes; may be padded with zeros.
  std::vector<std::string_view> buffers;  // Of the body, each padded with zeros to a multiple of 8 bytes.
  int64_t body_bytes = 0;

  std::vector<std::pair<int64_t, int64_t>> nodes, places;  // What the metadata says of fields and buffers.
};

/// Makes the message of a batch, and adds the dictionaries of its columns to `dictionaries`, those in structs and lists included, in the
/// order of the schema's fields: their ids are 0, 1, …. Returns false where Arrow's writer has to do it: an array begins at an offset,
/// is longer than its parent, or has a type other than numbers, times, booleans, text and bytes (with 32-bit offsets), lists, structs
/// and dictionaries of those.
bool MakeBatchMessage(const arrow::RecordBatch& batch, IpcMessage* message, std::vector<const arrow::ArrayData*>* dictionaries);

/// Makes the message of a dictionary, which replaces what was sent under its id. Returns false as above.
bool MakeDictionaryMessage(int64_t id, const arrow::ArrayData& values, IpcMessage* message);

/// What the message takes in a stream.
int64_t MessageBytes(const IpcMessage& message);
/// Writes MessageBytes() bytes, and returns where they end.
char* WriteMessage(const IpcMessage& message, char* to);

}  // namespace sheaf::wire
