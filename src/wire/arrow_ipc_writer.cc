#include "wire/arrow_ipc_writer.h"

#include <algorithm>
#include <cstring>

#include <arrow/buffer.h>
#include <arrow/ipc/writer.h>
#include <arrow/type.h>
#include <arrow/util/compression.h>
#include <zstd.h>

namespace sheaf::wire {
namespace {

constexpr int16_t kVersionV5 = 4;
constexpr uint8_t kDictionaryHeader = 2, kBatchHeader = 3;
constexpr uint32_t kContinuation = 0xffffffff;
constexpr size_t kAlignment = 8;
/// Shorter buffers are not worth a compressor's call.
constexpr size_t kCompressBytesMin = 64;

constexpr size_t RoundUp(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

/// A flatbuffer whose layout is known beforehand: values are stored where they belong, references point forward.
class FlatBytes {
 public:
  explicit FlatBytes(size_t size) : bytes_(size, '\0') {}
  template <typename T>
  void Store(size_t at, T value) {
    std::memcpy(bytes_.data() + at, &value, sizeof(value));
  }
  void Refer(size_t at, size_t to) { Store(at, static_cast<uint32_t>(to - at)); }
  /// A table at `at`, its vtable right before it: where each of its fields stands in it, 0 where it is absent.
  void Table(size_t at, uint16_t bytes, std::initializer_list<uint16_t> fields) {
    const size_t vtable_bytes = 2 * sizeof(uint16_t) + fields.size() * sizeof(uint16_t);
    size_t entry = at - RoundUp4(vtable_bytes);
    Store(at, static_cast<int32_t>(at - entry));
    Store(entry, static_cast<uint16_t>(vtable_bytes));
    Store(entry + 2, bytes);
    entry += 4;
    for (const uint16_t field : fields) {
      Store(entry, field);
      entry += sizeof(uint16_t);
    }
  }
  /// A vector of pairs whose first element stands at `at`, its length right before it.
  void Pairs(size_t at, const std::vector<std::pair<int64_t, int64_t>>& pairs) {
    Store(at - sizeof(uint32_t), static_cast<uint32_t>(pairs.size()));
    if (!pairs.empty()) std::memcpy(bytes_.data() + at, pairs.data(), pairs.size() * kPairBytes);
  }
  static constexpr size_t kPairBytes = 16;
  static_assert(sizeof(std::pair<int64_t, int64_t>) == kPairBytes);
  const std::string& bytes() const { return bytes_; }

 private:
  static constexpr size_t RoundUp4(size_t n) { return (n + 3) / 4 * 4; }
  std::string bytes_;
};

// Where things stand in the metadata: the message's table, then that of a dictionary, if it is one, then the batch's, the nodes,
// the buffers, the compression. Tables that hold 64-bit numbers stand at multiples of 16, with their vtables in between.
constexpr size_t kMessageTable = 16, kInnerTable = 48, kDictionaryBatchTable = 80;
constexpr size_t kBatchTableBytes = 24;

}  // namespace

std::string IpcBatchMetadata(const IpcBatchParts& parts, int64_t id, bool is_delta) {
  const bool is_dictionary = id >= 0;
  const size_t batch = is_dictionary ? kDictionaryBatchTable : kInnerTable;
  const size_t nodes = batch + kBatchTableBytes + 8;  // The vector's length stands before it, and it is aligned.
  const size_t buffers = nodes + parts.nodes.size() * FlatBytes::kPairBytes + 8;
  const size_t compression = buffers + parts.buffers.size() * FlatBytes::kPairBytes + 8;
  const bool compressed = parts.codec != IpcCodec::kNone;
  FlatBytes out(compressed ? compression + 8 : compression - 8);
  out.Refer(0, kMessageTable);
  out.Table(kMessageTable, 20, {4, 6, 16, 8});  // version, header_type, header, bodyLength
  out.Store(kMessageTable + 4, kVersionV5);
  out.Store(kMessageTable + 6, is_dictionary ? kDictionaryHeader : kBatchHeader);
  out.Store(kMessageTable + 8, parts.body_bytes);
  out.Refer(kMessageTable + 16, kInnerTable);
  if (is_dictionary) {
    out.Table(kInnerTable, 20, {8, 4, 16});  // id, data, isDelta
    out.Refer(kInnerTable + 4, batch);
    out.Store(kInnerTable + 8, id);
    out.Store(kInnerTable + 16, static_cast<uint8_t>(is_delta));
  }
  out.Table(batch, kBatchTableBytes,
            {8, 4, 16, static_cast<uint16_t>(compressed ? 20 : 0)});  // length, nodes, buffers, compression
  out.Refer(batch + 4, nodes - sizeof(uint32_t));
  out.Store(batch + 8, parts.rows);
  out.Refer(batch + 16, buffers - sizeof(uint32_t));
  out.Pairs(nodes, parts.nodes);
  out.Pairs(buffers, parts.buffers);
  if (compressed) {
    out.Refer(batch + 20, compression);
    out.Table(compression, 8, {4, 5});  // codec, method: each buffer by itself
    out.Store(compression + 4, static_cast<int8_t>(parts.codec == IpcCodec::kZstd ? 1 : 0));
  }
  return out.bytes();
}

Status AppendIpcSchema(const arrow::Schema& schema, std::string* out) {
  SHEAF_ASSIGN_OR_RETURN(const std::shared_ptr<arrow::Buffer> message, arrow::ipc::SerializeSchema(schema));
  out->append(reinterpret_cast<const char*>(message->data()), static_cast<size_t>(message->size()));
  return Status::OK();
}

struct IpcWriter::Compressors {
  ~Compressors() { ZSTD_freeCCtx(zstd); }
  ZSTD_CCtx* zstd = nullptr;
  std::unique_ptr<arrow::util::Codec> lz4;
};

IpcWriter::IpcWriter(IpcCodec codec, int zstd_level)
    : codec_(codec), zstd_level_(zstd_level), compressors_(std::make_unique<Compressors>()) {}
IpcWriter::~IpcWriter() = default;

void IpcWriter::Begin(int64_t rows) {
  rows_ = rows;
  nodes_.clear();
  buffers_.clear();
  used_ = 0;
}

char* IpcWriter::Room(size_t bytes) {
  if (body_.size() - used_ < bytes) body_.resize(std::max(used_ + bytes, body_.size() * 2));
  return body_.data() + used_;
}

Status IpcWriter::Buffer(std::string_view bytes) {
  const size_t begin = used_;
  if (codec_ != IpcCodec::kNone && !bytes.empty()) {
    SHEAF_RETURN_NOT_OK(Compress(bytes));
  } else if (!bytes.empty()) {
    std::memcpy(Room(bytes.size()), bytes.data(), bytes.size());
    used_ += bytes.size();
  }
  buffers_.emplace_back(begin, used_ - begin);
  const size_t padding = RoundUp(used_) - used_;
  if (padding > 0) std::memset(Room(padding), 0, padding);
  used_ += padding;
  return Status::OK();
}

/// The length that the buffer inflates to, and its bytes; or -1, and the bytes as they are.
Status IpcWriter::Compress(std::string_view bytes) {
  int64_t length = static_cast<int64_t>(bytes.size());
  size_t size = bytes.size();
  if (bytes.size() >= kCompressBytesMin) {
    if (codec_ == IpcCodec::kZstd) {
      if (compressors_->zstd == nullptr) compressors_->zstd = ZSTD_createCCtx();
      if (compressors_->zstd == nullptr) return MakeError(ErrorKind::kOutOfMemory, "no memory for a zstd encoder");
      const size_t bound = ZSTD_compressBound(bytes.size());
      char* to = Room(sizeof(length) + bound) + sizeof(length);
      size = ZSTD_compressCCtx(compressors_->zstd, to, bound, bytes.data(), bytes.size(), zstd_level_);
      if (ZSTD_isError(size)) return MakeError(ErrorKind::kInternal, "zstd: {}", ZSTD_getErrorName(size));
    } else {
      if (compressors_->lz4 == nullptr) {
        SHEAF_ASSIGN_OR_RETURN(compressors_->lz4, arrow::util::Codec::Create(arrow::Compression::LZ4_FRAME));
      }
      const auto* from = reinterpret_cast<const uint8_t*>(bytes.data());
      const int64_t bound = compressors_->lz4->MaxCompressedLen(length, from);
      char* to = Room(sizeof(length) + static_cast<size_t>(bound)) + sizeof(length);
      SHEAF_ASSIGN_OR_RETURN(const int64_t n, compressors_->lz4->Compress(length, from, bound, reinterpret_cast<uint8_t*>(to)));
      size = static_cast<size_t>(n);
    }
  }
  if (size >= bytes.size()) {
    length = -1;
    size = bytes.size();
    std::memcpy(Room(sizeof(length) + size) + sizeof(length), bytes.data(), size);
  }
  std::memcpy(body_.data() + used_, &length, sizeof(length));
  used_ += sizeof(length) + size;
  return Status::OK();
}

void IpcWriter::AppendMessage(const std::string& metadata, std::string* out) {
  const auto size = static_cast<uint32_t>(metadata.size());
  out->append(reinterpret_cast<const char*>(&kContinuation), sizeof(kContinuation));
  out->append(reinterpret_cast<const char*>(&size), sizeof(size));
  out->append(metadata);
  out->append(body_.data(), used_);
}

void IpcWriter::FinishBatch(std::string* out) {
  AppendMessage(IpcBatchMetadata({rows_, nodes_, buffers_, codec_, static_cast<int64_t>(used_)}, -1, false), out);
}

void IpcWriter::FinishDictionary(int64_t id, bool is_delta, std::string* out) {
  AppendMessage(IpcBatchMetadata({rows_, nodes_, buffers_, codec_, static_cast<int64_t>(used_)}, id, is_delta), out);
}

}  // namespace sheaf::wire
