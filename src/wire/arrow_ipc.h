/// Arrow IPC messages, read in place: the framing, schemas, and where the buffers of batches lie.
///
/// For streams whose messages come in pieces from strangers (OTel-Arrow): no array objects, no copies, no alignment asked for,
/// dictionaries left to the caller, and a limit on everything. The format is Arrow's columnar specification, "Serialization and
/// Interprocess Communication", metadata version V4 and V5.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "wire/flat_buffer.h"

namespace sheaf::wire {

enum class IpcKind { kSchema, kDictionary, kBatch };

/// Types as far as they are told apart: by layout, and by meaning where a reader may care.
enum class IpcType : uint8_t {
  kNull,
  kBool,
  kSigned,
  kUnsigned,
  kFloat,
  kTimestampNs,
  kDurationNs,
  kText,
  kBytes,
  kFixedBytes,
  kList,
  kStruct,
  kOtherFixed,  // Of a fixed width, without a meaning here (dates, decimals, other units of time…).
};
const char* IpcTypeName(IpcType type);

/// A field of a schema. Schemas are flattened: a field's children follow it.
struct IpcField {
  std::string path;      // Names from the top, joined by dots: for people, since names may hold dots, or nothing.
  std::string encoding;  // Of the field's metadata `encoding`, which OTel-Arrow uses for ids; usually empty. Cut where long.
  size_t name_begin = 0;  // Where the field's own name begins in `path`.
  int32_t parent = -1;    // The place of the field that holds this one; negative at the top.
  IpcType type = IpcType::kNull;
  int32_t width = 0;           // Bytes a value of fixed width takes; 0 for kBool and all others.
  int32_t children = 0;        // Direct ones.
  int64_t dictionary_id = -1;  // Negative: plain.
  int32_t index_width = 0;     // Bytes of a dictionary index.

  std::string_view name() const { return std::string_view(path).substr(name_begin); }
};

inline constexpr size_t kIpcFieldsMax = 256;
inline constexpr int kIpcDepthMax = 8;
inline constexpr size_t kIpcNameBytesMax = 256;
inline constexpr size_t kIpcMetadataMax = 64;       // Entries a field.
inline constexpr size_t kIpcEncodingBytesMax = 16;  // Longer ones are cut: none that means something is as long.

enum class IpcCodec : uint8_t { kNone, kLz4, kZstd };

/// What a batch's or a dictionary's metadata says. Node i is {length, null count}; buffer i is {offset in the body, length}.
struct IpcBatch {
  int64_t rows = 0;
  FlatVector nodes, buffers;
  IpcCodec codec = IpcCodec::kNone;

  int64_t node_length(size_t i) const { return nodes.Load<int64_t>(i, 16); }
  int64_t node_nulls(size_t i) const { return nodes.Load<int64_t>(i, 16, 8); }
  int64_t buffer_offset(size_t i) const { return buffers.Load<int64_t>(i, 16); }
  int64_t buffer_bytes(size_t i) const { return buffers.Load<int64_t>(i, 16, 8); }
};

/// Walks the encapsulated messages in some bytes:
///
///   IpcReader reader(record);
///   while (true) {
///     SHEAF_ASSIGN_OR_RETURN(const bool more, reader.Next());
///     if (!more) break;
///     switch (reader.kind()) …
///   }
///
/// Borrows `bytes`. What it returns lives until the next Next(). Not thread-safe.
class IpcReader {
 public:
  explicit IpcReader(std::string_view bytes) : bytes_(bytes) {}
  IpcReader(const IpcReader&) = delete;
  IpcReader& operator=(const IpcReader&) = delete;

  /// Steps to the next message; false at the end (a mark of end of stream included). Errors: Invalid (cut off, or not Arrow IPC),
  /// Unsupported (another kind of message, or a byte order or version that is not read).
  Result<bool> Next();

  IpcKind kind() const { return kind_; }
  std::string_view body() const { return body_; }

  /// Of a schema message. Errors: Invalid; TooLarge (kIpcFieldsMax and the limits after it); Unsupported (unions, views, run-ends, maps,
  /// large lists: OTel-Arrow has none).
  Status ReadSchema(std::vector<IpcField>* fields);
  /// Of a batch or dictionary message. Errors: Invalid.
  Result<IpcBatch> ReadBatch();
  /// Of a dictionary message.
  int64_t dictionary_id() const { return header_.Scalar<int64_t>(0); }
  bool is_delta() const { return header_.Scalar<uint8_t>(2) != 0; }

 private:
  Status ReadField(const FlatTable& field, int32_t parent, int depth, std::vector<IpcField>* fields);
  static Status ReadName(const FlatTable& field, int32_t parent, const std::vector<IpcField>& fields, IpcField* out);
  Status ReadMetadata(const FlatTable& field, IpcField* out) const;
  Status ReadType(const FlatTable& field, IpcField* out) const;
  Status Malformed(const char* what) const;

  std::string_view bytes_, body_;
  size_t next_ = 0;  // Where the next message begins.
  FlatBuffer metadata_;
  FlatTable header_;
  IpcKind kind_ = IpcKind::kSchema;
};

/// Inflates compressed buffers; keeps its decoder, since making one costs more than most buffers do. Not thread-safe.
class IpcInflater {
 public:
  IpcInflater();
  ~IpcInflater();
  IpcInflater(const IpcInflater&) = delete;
  IpcInflater& operator=(const IpcInflater&) = delete;

  /// The length that a compressed buffer claims to inflate to; negative where it is not compressed after all, and follows its
  /// length as it is. Errors: Invalid (too short to say, or a claim beyond 2 GiB).
  static Result<int64_t> ClaimedBytes(std::string_view buffer);
  /// Inflates what follows the length into `out`, which has room for `bytes`. Errors: Invalid (malformed, or another length),
  /// OutOfMemory.
  Status Inflate(IpcCodec codec, std::string_view buffer, uint8_t* out, int64_t bytes);

 private:
  struct Decoders;
  std::unique_ptr<Decoders> decoders_;
};

}  // namespace sheaf::wire
