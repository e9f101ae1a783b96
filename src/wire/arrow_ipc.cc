#include "wire/arrow_ipc.h"

#include <limits>

#include <arrow/util/compression.h>
#include <zstd.h>

namespace sheaf::wire {
namespace {

// Numbers of format/Message.fbs and format/Schema.fbs: slots of tables, members of unions, values of enums.
constexpr uint32_t kContinuation = 0xffffffff;
namespace message {
enum Slot { kVersion, kHeaderType, kHeader, kBodyLength };
}
namespace schema {
enum Slot { kEndianness, kFields };
}
namespace field {
enum Slot { kName, kNullable, kTypeType, kType, kDictionary, kChildren, kMetadata };
}
namespace encoding {
enum Slot { kId, kIndexType };
}
namespace batch {
enum Slot { kLength, kNodes, kBuffers, kCompression };
}
constexpr int16_t kVersion4 = 3, kVersion5 = 4;

enum Header : uint8_t { kHeaderSchema = 1, kHeaderDictionary = 2, kHeaderBatch = 3 };
enum Type : uint8_t {
  kNull = 1,
  kInt = 2,
  kFloatingPoint = 3,
  kBinary = 4,
  kUtf8 = 5,
  kBool = 6,
  kDecimal = 7,
  kDate = 8,
  kTime = 9,
  kTimestamp = 10,
  kInterval = 11,
  kList = 12,
  kStruct = 13,
  kFixedSizeBinary = 15,
  kDuration = 18,
};
constexpr int16_t kNanoseconds = 3, kMilliseconds = 1;
constexpr int32_t kFixedBytesMax = 1 << 20;

int32_t IntWidth(int32_t bits) { return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0; }

}  // namespace

const char* IpcTypeName(IpcType type) {
  switch (type) {
    case IpcType::kNull: return "null";
    case IpcType::kBool: return "bool";
    case IpcType::kSigned: return "signed integer";
    case IpcType::kUnsigned: return "unsigned integer";
    case IpcType::kFloat: return "floating point";
    case IpcType::kTimestampNs: return "timestamp[ns]";
    case IpcType::kDurationNs: return "duration[ns]";
    case IpcType::kText: return "utf8";
    case IpcType::kBytes: return "binary";
    case IpcType::kFixedBytes: return "fixed_size_binary";
    case IpcType::kList: return "list";
    case IpcType::kStruct: return "struct";
    case IpcType::kOtherFixed: break;
  }
  return "other";
}

Status IpcReader::Malformed(const char* what) const {
  return MakeError(ErrorKind::kInvalid, "malformed Arrow IPC in the message that ends at byte {}: {}", next_, what);
}

Result<bool> IpcReader::Next() {
  FlatBuffer frame(bytes_);
  if (next_ == bytes_.size()) return false;
  auto metadata_bytes = frame.Load<uint32_t>(next_);
  next_ += sizeof(uint32_t);
  if (metadata_bytes == kContinuation) {
    metadata_bytes = frame.Load<uint32_t>(next_);
    next_ += sizeof(uint32_t);
  }
  if (!frame.ok()) return Malformed("cut off");
  if (metadata_bytes == 0) {
    if (next_ != bytes_.size()) return Malformed("bytes after the end of the stream");
    return false;
  }
  metadata_ = FlatBuffer(frame.Bytes(next_, metadata_bytes));
  if (!frame.ok()) return Malformed("cut off");
  next_ += metadata_bytes;

  const FlatTable table = FlatTable::Root(&metadata_);
  const auto version = table.Scalar<int16_t>(message::kVersion);
  const auto header = table.Scalar<uint8_t>(message::kHeaderType);
  const auto body_bytes = table.Scalar<int64_t>(message::kBodyLength);
  header_ = table.Table(message::kHeader);
  if (!metadata_.ok() || !header_.exists() || body_bytes < 0) return Malformed("metadata");
  if (version != kVersion4 && version != kVersion5)
    return MakeError(ErrorKind::kUnsupported, "Arrow IPC metadata version {}", version + 1);
  if (header < kHeaderSchema || header > kHeaderBatch)
    return MakeError(ErrorKind::kUnsupported, "Arrow IPC message of type {}", header);
  kind_ = header == kHeaderSchema ? IpcKind::kSchema : header == kHeaderDictionary ? IpcKind::kDictionary : IpcKind::kBatch;
  body_ = frame.Bytes(next_, static_cast<size_t>(body_bytes));
  if (!frame.ok()) return Malformed("the body is cut off");
  next_ += static_cast<size_t>(body_bytes);
  return true;
}

Status IpcReader::ReadSchema(std::vector<IpcField>* fields) {
  fields->clear();
  if (header_.Scalar<int16_t>(schema::kEndianness) != 0) return MakeError(ErrorKind::kUnsupported, "big-endian Arrow IPC");
  const FlatVector top = header_.Vector(schema::kFields, sizeof(uint32_t));
  for (size_t i = 0; i < top.size; ++i) SHEAF_RETURN_NOT_OK(ReadField(FlatTable::Element(top, i), -1, 1, fields));
  return metadata_.ok() ? Status::OK() : Malformed("schema");
}

Status IpcReader::ReadName(const FlatTable& table, int32_t parent, const std::vector<IpcField>& fields, IpcField* out) {
  const std::string_view name = table.Text(field::kName);
  if (name.size() > kIpcNameBytesMax) {
    return MakeError(ErrorKind::kTooLarge, "a column's name of {} bytes, \"{}…\"; at most {} are taken", name.size(),
                     name.substr(0, 32), kIpcNameBytesMax);
  }
  if (parent >= 0) out->path = fields[static_cast<size_t>(parent)].path + ".";
  out->parent = parent;
  out->name_begin = out->path.size();
  out->path += name;
  return Status::OK();
}

Status IpcReader::ReadMetadata(const FlatTable& table, IpcField* out) const {
  const FlatVector metadata = table.Vector(field::kMetadata, sizeof(uint32_t));
  if (metadata.size > kIpcMetadataMax) {
    return MakeError(ErrorKind::kTooLarge, "column {}: {} entries of metadata; at most {} are taken", out->path, metadata.size,
                     kIpcMetadataMax);
  }
  for (size_t i = 0; i < metadata.size && metadata_.ok(); ++i) {
    const FlatTable entry = FlatTable::Element(metadata, i);
    if (entry.Text(0) != "encoding") continue;
    out->encoding = entry.Text(1).substr(0, kIpcEncodingBytesMax);
    break;
  }
  return Status::OK();
}

Status IpcReader::ReadField(const FlatTable& table, int32_t parent, int depth, std::vector<IpcField>* fields) {
  if (!metadata_.ok()) return Malformed("schema");
  if (fields->size() == kIpcFieldsMax) return MakeError(ErrorKind::kTooLarge, "a schema of more than {} fields", kIpcFieldsMax);
  if (depth > kIpcDepthMax) return MakeError(ErrorKind::kTooLarge, "a schema nested deeper than {} levels", kIpcDepthMax);
  IpcField out;
  SHEAF_RETURN_NOT_OK(ReadName(table, parent, *fields, &out));
  SHEAF_RETURN_NOT_OK(ReadType(table, &out));
  const FlatVector children = table.Vector(field::kChildren, sizeof(uint32_t));
  const bool nested = out.type == IpcType::kList || out.type == IpcType::kStruct;
  if (nested ? out.type == IpcType::kList && children.size != 1 : children.size != 0) return Malformed("children of a field");
  out.children = static_cast<int32_t>(children.size);
  const FlatTable dictionary = table.Table(field::kDictionary);
  if (dictionary.exists()) {
    if (nested) return MakeError(ErrorKind::kUnsupported, "column {}: a dictionary of nested values", out.path);
    out.dictionary_id = dictionary.Scalar<int64_t>(encoding::kId);
    const FlatTable index = dictionary.Table(encoding::kIndexType);
    out.index_width = index.exists() ? IntWidth(index.Scalar<int32_t>(0)) : 4;
    if (out.index_width == 0 || out.dictionary_id < 0) return Malformed("dictionary of a field");
  }
  SHEAF_RETURN_NOT_OK(ReadMetadata(table, &out));
  const auto place = static_cast<int32_t>(fields->size());
  fields->push_back(std::move(out));
  for (size_t i = 0; i < children.size; ++i) {
    SHEAF_RETURN_NOT_OK(ReadField(FlatTable::Element(children, i), place, depth + 1, fields));
  }
  return Status::OK();
}

Status IpcReader::ReadType(const FlatTable& table, IpcField* out) const {
  const FlatTable type = table.Table(field::kType);
  const auto set = [&](IpcType of, int32_t width = 0) {
    out->type = of;
    out->width = width;
    return width >= 0 && width <= kFixedBytesMax ? Status::OK() : Malformed("the width of a type");
  };
  switch (table.Scalar<uint8_t>(field::kTypeType)) {
    case kNull: return set(IpcType::kNull);
    case kBool: return set(IpcType::kBool);
    case kBinary: return set(IpcType::kBytes);
    case kUtf8: return set(IpcType::kText);
    case kList: return set(IpcType::kList);
    case kStruct: return set(IpcType::kStruct);
    case kInt: {
      const int32_t width = IntWidth(type.Scalar<int32_t>(0));
      if (width == 0) return Malformed("an integer's width");
      return set(type.Scalar<uint8_t>(1) != 0 ? IpcType::kSigned : IpcType::kUnsigned, width);
    }
    case kFloatingPoint: return set(IpcType::kFloat, 2 << (type.Scalar<int16_t>(0) & 3));
    case kTimestamp: return set(type.Scalar<int16_t>(0) == kNanoseconds ? IpcType::kTimestampNs : IpcType::kOtherFixed, 8);
    case kDuration:
      return set(type.Scalar<int16_t>(0, kMilliseconds) == kNanoseconds ? IpcType::kDurationNs : IpcType::kOtherFixed, 8);
    case kDate: return set(IpcType::kOtherFixed, type.Scalar<int16_t>(0, kMilliseconds) == 0 ? 4 : 8);
    case kTime: return set(IpcType::kOtherFixed, type.Scalar<int32_t>(1, 32) / 8);
    case kDecimal: return set(IpcType::kOtherFixed, type.Scalar<int32_t>(2, 128) / 8);
    case kInterval: return set(IpcType::kOtherFixed, 4 << (type.Scalar<int16_t>(0) & 3));
    case kFixedSizeBinary: return set(IpcType::kFixedBytes, type.Scalar<int32_t>(0));
    default:
      return MakeError(ErrorKind::kUnsupported, "column {}: Arrow type number {} is not part of OTel-Arrow", out->path,
                       table.Scalar<uint8_t>(field::kTypeType));
  }
}

Result<IpcBatch> IpcReader::ReadBatch() {
  const FlatTable table = kind_ == IpcKind::kDictionary ? header_.Table(1) : header_;
  if (!table.exists()) return Malformed("a dictionary without values");
  IpcBatch out;
  out.rows = table.Scalar<int64_t>(batch::kLength);
  out.nodes = table.Vector(batch::kNodes, 16);
  out.buffers = table.Vector(batch::kBuffers, 16);
  const FlatTable compression = table.Table(batch::kCompression);
  if (compression.exists()) {
    const auto codec = compression.Scalar<int8_t>(0);
    if (codec != 0 && codec != 1) return MakeError(ErrorKind::kUnsupported, "Arrow IPC compression {}", codec);
    out.codec = codec == 0 ? IpcCodec::kLz4 : IpcCodec::kZstd;
  }
  if (!metadata_.ok() || out.rows < 0) return Malformed("batch");
  return out;
}

struct IpcInflater::Decoders {
  ~Decoders() { ZSTD_freeDCtx(zstd); }
  ZSTD_DCtx* zstd = nullptr;
  std::unique_ptr<arrow::util::Codec> lz4;
};

IpcInflater::IpcInflater() : decoders_(std::make_unique<Decoders>()) {}
IpcInflater::~IpcInflater() = default;

Result<int64_t> IpcInflater::ClaimedBytes(std::string_view buffer) {
  FlatBuffer bytes(buffer);
  const auto claimed = bytes.Load<int64_t>(0);
  if (bytes.ok() && claimed >= -1 && claimed <= std::numeric_limits<int32_t>::max()) return claimed;
  return MakeError(ErrorKind::kInvalid, "a compressed buffer of {} bytes that claims to inflate to {}", buffer.size(), claimed);
}

Status IpcInflater::Inflate(IpcCodec codec, std::string_view buffer, uint8_t* out, int64_t bytes) {
  buffer.remove_prefix(sizeof(int64_t));
  int64_t got = -1;
  if (codec == IpcCodec::kZstd) {
    if (decoders_->zstd == nullptr) decoders_->zstd = ZSTD_createDCtx();
    if (decoders_->zstd == nullptr) return MakeError(ErrorKind::kOutOfMemory, "no memory for a zstd decoder");
    const size_t n = ZSTD_decompressDCtx(decoders_->zstd, out, static_cast<size_t>(bytes), buffer.data(), buffer.size());
    if (!ZSTD_isError(n)) got = static_cast<int64_t>(n);
  } else {
    if (decoders_->lz4 == nullptr) {
      SHEAF_ASSIGN_OR_RETURN(decoders_->lz4, arrow::util::Codec::Create(arrow::Compression::LZ4_FRAME));
    }
    const auto n = decoders_->lz4->Decompress(static_cast<int64_t>(buffer.size()),
                                              reinterpret_cast<const uint8_t*>(buffer.data()), bytes, out);
    if (n.ok()) got = *n;
  }
  if (got == bytes) return Status::OK();
  return MakeError(ErrorKind::kInvalid, "a compressed buffer of {} bytes that does not inflate to {}", buffer.size(), bytes);
}

}  // namespace sheaf::wire
