#include "wire/ipc_schema_limits.h"

#include <cstdint>

#include "wire/flat_buffer.h"

namespace sheaf::wire {
namespace {

// Numbers of format/Message.fbs and format/Schema.fbs.
namespace message {
enum Slot { kVersion, kHeaderType, kHeader, kBodyLength, kMetadata };
}
namespace schema {
enum Slot { kEndianness, kFields, kMetadata };
}
namespace field {
enum Slot { kName, kNullable, kTypeType, kType, kDictionary, kChildren, kMetadata };
}
constexpr uint8_t kSchemaHeader = 1, kTimestampType = 10, kUnionType = 14;
constexpr uint32_t kContinuation = 0xffffffff;

constexpr size_t kSharedBytesMax = 64 << 10;
/// The least that a field, or an entry of metadata, takes in a header by itself.
constexpr size_t kFieldBytes = 16, kEntryBytes = 8;

/// Walks one header and adds up what it asks for.
class Walk {
 public:
  explicit Walk(std::string_view header) : buffer_(header), bytes_max_(header.size() + kSharedBytesMax) {}

  Status Run() {
    const FlatTable root = FlatTable::Root(&buffer_);
    SHEAF_RETURN_NOT_OK(Metadata(root, message::kMetadata));
    if (root.Scalar<uint8_t>(message::kHeaderType) != kSchemaHeader) return Done();
    const FlatTable top = root.Table(message::kHeader);
    SHEAF_RETURN_NOT_OK(Metadata(top, schema::kMetadata));
    SHEAF_RETURN_NOT_OK(Fields(top.Vector(schema::kFields, sizeof(uint32_t)), 1));
    return Done();
  }

 private:
  Status Done() const {
    return buffer_.ok() ? Status::OK() : MakeError(ErrorKind::kInvalid, "the header of an Arrow message is malformed");
  }

  Status Add(size_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= bytes_max_) return Done();
    return MakeError(ErrorKind::kTooLarge, "the header of an Arrow message names more than the {} bytes that it may for its size",
                     bytes_max_);
  }

  Status Metadata(const FlatTable& table, size_t slot) {
    const FlatVector entries = table.Vector(slot, sizeof(uint32_t));
    for (size_t i = 0; i < entries.size; ++i) {
      const FlatTable entry = FlatTable::Element(entries, i);
      SHEAF_RETURN_NOT_OK(Add(kEntryBytes + entry.Text(0).size() + entry.Text(1).size()));
    }
    return Status::OK();
  }

  Status Fields(const FlatVector& fields, int depth) {
    if (fields.size > 0 && depth > kIpcSchemaDepthMax) {
      return MakeError(ErrorKind::kTooLarge, "the schema is nested deeper than {} levels", kIpcSchemaDepthMax);
    }
    for (size_t i = 0; i < fields.size; ++i) {
      if (++fields_ > kIpcSchemaFieldsMax) {
        return MakeError(ErrorKind::kTooLarge, "the schema has more than {} fields, those inside others included",
                         kIpcSchemaFieldsMax);
      }
      SHEAF_RETURN_NOT_OK(Field(FlatTable::Element(fields, i), depth));
    }
    return Status::OK();
  }

  Status Field(const FlatTable& table, int depth) {
    const FlatTable type = table.Table(field::kType);
    size_t bytes = kFieldBytes + table.Text(field::kName).size();
    switch (table.Scalar<uint8_t>(field::kTypeType)) {
      case kTimestampType: bytes += type.Text(1).size(); break;                                 // The time zone.
      case kUnionType: bytes += type.Vector(1, sizeof(int32_t)).size * sizeof(int32_t); break;  // Type codes.
      default: break;
    }
    SHEAF_RETURN_NOT_OK(Add(bytes));
    SHEAF_RETURN_NOT_OK(Metadata(table, field::kMetadata));
    return Fields(table.Vector(field::kChildren, sizeof(uint32_t)), depth + 1);
  }

  FlatBuffer buffer_;
  const size_t bytes_max_;
  size_t bytes_ = 0;
  int fields_ = 0;
};

}  // namespace

Status CheckIpcHeader(std::string_view header) { return Walk(header).Run(); }

Status CheckIpcStreamSchema(std::string_view stream) {
  FlatBuffer frame(stream);
  size_t at = sizeof(uint32_t);
  auto bytes = frame.Load<uint32_t>(0);
  if (bytes == kContinuation) {
    bytes = frame.Load<uint32_t>(at);
    at += sizeof(uint32_t);
  }
  const std::string_view header = frame.Bytes(at, bytes);
  if (!frame.ok()) return MakeError(ErrorKind::kInvalid, "the Arrow stream does not begin with its schema: it is cut off");
  return CheckIpcHeader(header);
}

}  // namespace sheaf::wire
