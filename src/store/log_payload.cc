#include "store/log_payload.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include <arrow/array.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/message.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/stl_allocator.h>
#include <arrow/type.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/checked_cast.h>

#include "core/check.h"
#include "core/memory.h"
#include "store/log_messages.h"

namespace sheaf::store {
namespace {

using arrow::internal::checked_cast;

constexpr uint32_t kMagic = 0x4c504853;  // "SHPL"
constexpr uint16_t kVersion = 2;
/// One row or key of one table, without a condition: what most single-row writes are. Little but the row, which is about as long as
/// the header of the other versions.
constexpr uint16_t kSingleVersion = 3;
/// Written where nothing needs the fields that version 2 added: the bytes are those that older programs write and read.
constexpr uint16_t kPlainVersion = 1;
constexpr int64_t kAlignment = kSectionAlignment;
/// Of buffers within a body; Arrow's writer knows no other.
constexpr int64_t kBufferAlignment = 8;
constexpr int64_t kFixedHeaderBytes = 16;
constexpr int64_t kTableHeaderBytes = 32;

struct FixedHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t tables;
  uint64_t condition;  // Version 2: the LSN that a condition names.
};
static_assert(sizeof(FixedHeader) == kFixedHeaderBytes);

struct TableHeader {
  uint64_t table;
  uint32_t schema_version;
  uint32_t what;      // Version 2: RowOp, SectionForm << 8, what a condition's LSN means.
  uint64_t rows;
  uint64_t bytes;  // Of the section, padding included.
};
static_assert(sizeof(TableHeader) == kTableHeaderBytes);

/// All of the header in kSingleVersion; the row or key follows, to the end.
struct SingleHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t what;
  uint32_t table;
  uint32_t schema_version;
};
static_assert(sizeof(SingleHeader) == kFixedHeaderBytes);

constexpr uint32_t kExpected = 1u << 16;        // The condition's LSN is that of every row's version.
constexpr uint32_t kUnchangedSince = 1u << 17;  // The condition's LSN is the highest of every row's version.

uint32_t What(RowOp op, SectionForm form, const WriteCondition& condition) {
  return static_cast<uint32_t>(op) | static_cast<uint32_t>(form) << 8 | (condition.expected ? kExpected : 0) |
         (condition.unchanged_since ? kUnchangedSince : 0);
}

uint64_t ConditionLsn(const WriteCondition& condition) {
  return condition.expected.value_or(condition.unchanged_since.value_or(Lsn())).value;
}

int64_t HeaderBytes(size_t tables) {
  return arrow::bit_util::RoundUp(kFixedHeaderBytes + kTableHeaderBytes * static_cast<int64_t>(tables), kAlignment);
}

/// Bytes and the object that owns them, both from Arrow's pool. Single rows are made by senders and freed by the log's thread, a
/// million a second: Arrow's pool takes back memory of another thread without a lock, and malloc() does not.
class PooledBytes : public arrow::MutableBuffer {
 public:
  static Result<std::shared_ptr<arrow::Buffer>> Make(int64_t bytes) {
    arrow::MemoryPool* const pool = arrow::default_memory_pool();
    uint8_t* data = nullptr;
    SHEAF_RETURN_NOT_OK(pool->Allocate(Allocated(bytes), kAlignment, &data));
    return std::allocate_shared<PooledBytes>(arrow::stl::allocator<PooledBytes>(pool), data, bytes, pool);
  }
  PooledBytes(uint8_t* data, int64_t bytes, arrow::MemoryPool* pool) : arrow::MutableBuffer(data, bytes), pool_(pool) {}
  ~PooledBytes() override { pool_->Free(mutable_data(), Allocated(size()), kAlignment); }

 private:
  /// Allocators have blocks of such sizes at hand, aligned; others they cut out of larger ones.
  static int64_t Allocated(int64_t bytes) { return arrow::bit_util::RoundUp(bytes, kAlignment); }

  arrow::MemoryPool* const pool_;  // Borrowed.
};

/// Bytes of a packed section: where each item ends, then the items.
int64_t PackedBytes(std::span<const std::string_view> packed) {
  int64_t bytes = static_cast<int64_t>(packed.size() * sizeof(uint32_t));
  for (const std::string_view item : packed) bytes += static_cast<int64_t>(item.size());
  return arrow::bit_util::RoundUp(bytes, kAlignment);
}

/// Writes a packed section of `bytes` at `target`.
void WritePacked(std::span<const std::string_view> packed, uint8_t* target, int64_t bytes) {
  uint8_t* const begin = target + packed.size() * sizeof(uint32_t);
  uint8_t* at = begin;
  for (size_t i = 0; i < packed.size(); ++i) {
    std::memcpy(at, packed[i].data(), packed[i].size());
    at += packed[i].size();
    const auto end = static_cast<uint32_t>(at - begin);
    std::memcpy(target + i * sizeof(uint32_t), &end, sizeof(end));
  }
  std::memset(at, 0, static_cast<size_t>(target + bytes - at));
}

Result<Messages> Plan(const PayloadRows& rows) {
  if (rows.form != SectionForm::kArrow) return Messages{.bytes = PackedBytes(rows.packed)};
  return PlanMessages(*rows.codec, *rows.batch);
}

/// Writes what Plan() made and notes where each body buffer went.
class MessageWriter {
 public:
  explicit MessageWriter(std::shared_ptr<arrow::Buffer> target)
      : target_(std::move(target)), data_(target_->mutable_data()) {}

  /// Writes a message at `position_`; returns its body buffers as slices of the target.
  arrow::BufferVector Write(const wire::IpcMessage& message) {
    const int64_t body = BodyPosition(position_, message);
    const int32_t prefix[2] = {-1, static_cast<int32_t>(body - position_ - kMessagePrefixBytes)};
    std::memcpy(data_ + position_, prefix, sizeof(prefix));
    Put(position_ + kMessagePrefixBytes, message.metadata, body);
    arrow::BufferVector slices;
    slices.reserve(message.buffers.size());
    position_ = body;
    for (const std::string_view buffer : message.buffers) {
      const auto size = static_cast<int64_t>(buffer.size());
      const int64_t end = arrow::bit_util::RoundUp(position_ + size, kBufferAlignment);
      if (size > 0) Put(position_, buffer, end);
      slices.push_back(size == 0 ? nullptr : Slice(position_, size));
      position_ = end;
    }
    SHEAF_CHECK(position_ - body == message.body_bytes);
    return slices;
  }

  void Seek(int64_t position) { position_ = position; }
  /// Fills up with zeros, which a reader takes for the end of the stream.
  void Align() {
    const int64_t end = arrow::bit_util::RoundUp(position_, kAlignment);
    std::memset(data_ + position_, 0, static_cast<size_t>(end - position_));
    position_ = end;
  }
  int64_t position() const { return position_; }

 private:
  void Put(int64_t at, std::string_view bytes, int64_t end) {
    std::memcpy(data_ + at, bytes.data(), bytes.size());
    std::memset(data_ + at + bytes.size(), 0, static_cast<size_t>(end - at) - bytes.size());
  }
  /// As arrow::SliceBuffer(), which looks up the memory manager anew.
  std::shared_ptr<arrow::Buffer> Slice(int64_t at, int64_t bytes) const {
    return std::make_shared<arrow::Buffer>(data_ + at, bytes, target_->memory_manager(), target_);
  }

  const std::shared_ptr<arrow::Buffer> target_;
  uint8_t* const data_;
  int64_t position_ = 0;
};

/// Builds the arrays that a reader of the message would, without reading it: `buffers` are the body's
/// buffers in the order of the IPC format, which is that of a walk over the schema.
class Rebaser {
 public:
  /// `dictionaries`: values of every dictionary of the schema, in the order of that walk.
  Rebaser(const arrow::BufferVector& buffers, const arrow::ArrayDataVector& dictionaries)
      : buffers_(buffers), dictionaries_(dictionaries) {}

  std::shared_ptr<arrow::ArrayData> Take(const std::shared_ptr<arrow::DataType>& type, int64_t length) {
    if (type->id() == arrow::Type::NA) return arrow::ArrayData::Make(type, length, {nullptr}, length);
    std::shared_ptr<arrow::Buffer> validity = Next();
    const int64_t null_count = validity == nullptr ? 0 : arrow::kUnknownNullCount;
    auto data = arrow::ArrayData::Make(type, length, {std::move(validity)}, null_count);
    switch (type->id()) {
      case arrow::Type::BINARY:
      case arrow::Type::STRING:
        data->buffers.push_back(NextOrZeros());
        data->buffers.push_back(NextOrZeros());
        break;
      case arrow::Type::LIST: {
        data->buffers.push_back(NextOrZeros());
        const int64_t items = length == 0 ? 0 : data->GetValues<int32_t>(1)[length];
        data->child_data.push_back(Take(type->field(0)->type(), items));
        break;
      }
      case arrow::Type::FIXED_SIZE_LIST: {
        const int64_t items = length * checked_cast<const arrow::FixedSizeListType&>(*type).list_size();
        data->child_data.push_back(Take(type->field(0)->type(), items));
        break;
      }
      case arrow::Type::STRUCT:
        for (const auto& field : type->fields()) data->child_data.push_back(Take(field->type(), length));
        break;
      case arrow::Type::DICTIONARY:
        data->buffers.push_back(NextOrZeros());
        SHEAF_CHECK(next_dictionary_ < dictionaries_.size());
        data->dictionary = dictionaries_[next_dictionary_++];
        break;
      default:
        data->buffers.push_back(NextOrZeros());
    }
    return data;
  }

  bool done() const { return next_ == buffers_.size(); }

 private:
  std::shared_ptr<arrow::Buffer> Next() {
    SHEAF_CHECK(next_ < buffers_.size());
    return buffers_[next_++];
  }
  /// Zeros stand for a buffer of no bytes: kernels want a pointer all the same.
  std::shared_ptr<arrow::Buffer> NextOrZeros() {
    alignas(kAlignment) static const uint8_t zeros[kAlignment] = {};
    static const auto empty = std::make_shared<arrow::Buffer>(zeros, 0);
    std::shared_ptr<arrow::Buffer> buffer = Next();
    return buffer == nullptr ? empty : buffer;
  }

  const arrow::BufferVector& buffers_;
  const arrow::ArrayDataVector& dictionaries_;
  size_t next_ = 0, next_dictionary_ = 0;
};

/// Feeds Arrow's stream reader: the schema message that the log leaves out, then the section's own.
class SectionMessages : public arrow::ipc::MessageReader {
 public:
  SectionMessages(std::shared_ptr<arrow::Buffer> schema_message, const std::shared_ptr<arrow::Buffer>& messages)
      : schema_message_(std::move(schema_message)), stream_(std::make_shared<arrow::io::BufferReader>(messages)) {}

  Result<std::unique_ptr<arrow::ipc::Message>> ReadNextMessage() override {
    if (schema_message_ != nullptr) return arrow::ipc::Message::Open(std::exchange(schema_message_, nullptr), nullptr);
    return arrow::ipc::ReadMessage(stream_.get());
  }

 private:
  std::shared_ptr<arrow::Buffer> schema_message_;
  const std::shared_ptr<arrow::io::BufferReader> stream_;
};

Status Damaged(const PayloadSection& section, const Status& why) {
  return MakeError(ErrorKind::kCorruption, "rows of table {} in a log entry cannot be read: {}", section.table, why.message());
}

Result<std::shared_ptr<arrow::RecordBatch>> ReadSection(const std::shared_ptr<arrow::Buffer>& messages, const BatchCodec& codec) {
  SHEAF_ASSIGN_OR_RETURN(const auto reader, arrow::ipc::RecordBatchStreamReader::Open(
                                                std::make_unique<SectionMessages>(codec.schema_message(), messages)));
  std::shared_ptr<arrow::RecordBatch> batch;
  SHEAF_RETURN_NOT_OK(reader->ReadNext(&batch));
  if (batch == nullptr) return Status::Invalid("no record batch");
  return arrow::RecordBatch::Make(codec.schema(), batch->num_rows(), batch->column_data());
}

/// Writes one table's messages and returns the batch that points into what was written.
Result<std::shared_ptr<arrow::RecordBatch>> WriteSection(const PayloadRows& rows, const Messages& messages,
                                                         const std::shared_ptr<arrow::Buffer>& target, MessageWriter* writer) {
  const BatchCodec& codec = *rows.codec;
  const int64_t start = writer->position();
  std::vector<arrow::BufferVector> bodies;
  bodies.reserve(messages.messages.size());
  for (const wire::IpcMessage& message : messages.messages) bodies.push_back(writer->Write(message));
  writer->Align();
  SHEAF_CHECK(writer->position() - start == messages.bytes);
  if (!codec.can_rebase()) return ReadSection(arrow::SliceBuffer(target, start, messages.bytes), codec);

  arrow::ArrayDataVector dictionaries;
  for (const BatchCodec::Dictionary& wanted : codec.dictionaries()) {
    for (size_t i = 0; i < messages.dictionaries.size(); ++i) {
      if (messages.dictionaries[i].first != wanted.id) continue;
      dictionaries.push_back(Rebaser(bodies[i], {}).Take(wanted.value_type, messages.dictionaries[i].second));
      break;
    }
  }
  SHEAF_CHECK(dictionaries.size() == codec.dictionaries().size());
  Rebaser rebaser(bodies.back(), dictionaries);
  arrow::ArrayDataVector columns;
  columns.reserve(static_cast<size_t>(codec.schema()->num_fields()));
  for (const auto& field : codec.schema()->fields()) columns.push_back(rebaser.Take(field->type(), rows.batch->num_rows()));
  SHEAF_CHECK(rebaser.done());
  return arrow::RecordBatch::Make(codec.schema(), rows.batch->num_rows(), std::move(columns));
}

}  // namespace

Result<std::shared_ptr<const BatchCodec>> BatchCodec::Make(std::shared_ptr<arrow::Schema> schema) {
  std::shared_ptr<BatchCodec> codec(new BatchCodec(std::move(schema)));
  arrow::ipc::IpcPayload payload;
  SHEAF_RETURN_NOT_OK(arrow::ipc::GetSchemaPayload(*codec->schema_, SectionIpcOptions(), codec->mapper_, &payload));
  codec->schema_message_ = payload.metadata;
  std::vector<int> path;
  for (int i = 0; i < codec->schema_->num_fields(); ++i) {
    path.assign(1, i);
    SHEAF_RETURN_NOT_OK(codec->Walk(*codec->schema_->field(i)->type(), &path));
  }
  return codec;
}

Status BatchCodec::Walk(const arrow::DataType& type, std::vector<int>* path) {
  switch (type.id()) {
    case arrow::Type::DICTIONARY: {
      SHEAF_ASSIGN_OR_RETURN(const int64_t id, mapper_.GetFieldId(*path));
      const auto& value_type = checked_cast<const arrow::DictionaryType&>(type).value_type();
      dictionaries_.push_back({id, value_type});
      can_rebase_ = can_rebase_ && (arrow::is_primitive(value_type->id()) || arrow::is_base_binary_like(value_type->id()));
      return Status::OK();
    }
    case arrow::Type::LIST:
    case arrow::Type::FIXED_SIZE_LIST:
    case arrow::Type::STRUCT:
      for (int i = 0; i < type.num_fields(); ++i) {
        path->push_back(i);
        SHEAF_RETURN_NOT_OK(Walk(*type.field(i)->type(), path));
        path->pop_back();
      }
      return Status::OK();
    case arrow::Type::NA:
    case arrow::Type::BINARY:
    case arrow::Type::STRING:
    case arrow::Type::FIXED_SIZE_BINARY:
    case arrow::Type::DECIMAL128: return Status::OK();
    default: can_rebase_ = can_rebase_ && arrow::is_primitive(type.id()); return Status::OK();
  }
}

Result<EncodedPayload> EncodePayload(const std::vector<PayloadRows>& rows, int64_t bytes_max) {
  const int64_t header_bytes = HeaderBytes(rows.size());
  std::vector<Messages> sections;
  sections.reserve(rows.size());
  int64_t total = header_bytes;
  for (const PayloadRows& table : rows) {
    SHEAF_ASSIGN_OR_RETURN(sections.emplace_back(), Plan(table));
    total += sections.back().bytes;
  }
  if (total > bytes_max) {
    return MakeError(ErrorKind::kTooLarge, "the batch is {} bytes and an entry of the log holds at most {}; send less at once", total,
                     bytes_max);
  }
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> target, arrow::AllocateBuffer(total, &NamedPool("ingest")));

  uint8_t* const header = target->mutable_data();
  std::memset(header, 0, static_cast<size_t>(header_bytes));
  uint32_t whats = 0;
  uint64_t condition_lsn = 0;
  EncodedPayload encoded;
  MessageWriter writer(target);
  writer.Seek(header_bytes);
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool packed = rows[i].form != SectionForm::kArrow;
    const uint64_t count = packed ? rows[i].packed.size() : static_cast<uint64_t>(rows[i].batch->num_rows());
    const TableHeader table = {rows[i].table.value, rows[i].schema_version, What(rows[i].op, rows[i].form, rows[i].condition), count,
                               static_cast<uint64_t>(sections[i].bytes)};
    whats |= table.what;
    if (rows[i].condition) condition_lsn = ConditionLsn(rows[i].condition);
    std::memcpy(header + kFixedHeaderBytes + kTableHeaderBytes * static_cast<int64_t>(i), &table, sizeof(table));
    std::shared_ptr<arrow::RecordBatch> batch;
    if (packed) {
      WritePacked(rows[i].packed, header + writer.position(), sections[i].bytes);
      writer.Seek(writer.position() + sections[i].bytes);
    } else {
      SHEAF_ASSIGN_OR_RETURN(batch, WriteSection(rows[i], sections[i], target, &writer));
    }
    encoded.tables.push_back({rows[i].table, std::move(batch), sections[i].bytes});
  }
  SHEAF_CHECK(writer.position() == total);
  const FixedHeader fixed = {kMagic, whats == 0 ? kPlainVersion : kVersion, static_cast<uint16_t>(rows.size()), condition_lsn};
  std::memcpy(header, &fixed, sizeof(fixed));
  encoded.bytes = std::move(target);
  return encoded;
}

Result<std::shared_ptr<arrow::Buffer>> EncodePacked(TableId table, uint32_t schema_version, RowOp op, SectionForm form,
                                                    std::span<const std::string_view> packed, const WriteCondition& condition) {
  if (packed.size() == 1 && !condition && table.value <= std::numeric_limits<uint32_t>::max()) {
    const std::string_view item = packed.front();
    SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> target,
                           PooledBytes::Make(static_cast<int64_t>(sizeof(SingleHeader) + item.size())));
    const SingleHeader header = {kMagic, kSingleVersion, static_cast<uint16_t>(What(op, form, {})), static_cast<uint32_t>(table.value),
                                 schema_version};
    std::memcpy(target->mutable_data(), &header, sizeof(header));
    std::memcpy(target->mutable_data() + sizeof(header), item.data(), item.size());
    return target;
  }
  const int64_t header_bytes = HeaderBytes(1);
  const int64_t bytes = PackedBytes(packed);
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> target, PooledBytes::Make(header_bytes + bytes));
  uint8_t* const header = target->mutable_data();
  std::memset(header, 0, static_cast<size_t>(header_bytes));
  const FixedHeader fixed = {kMagic, kVersion, 1, ConditionLsn(condition)};
  std::memcpy(header, &fixed, sizeof(fixed));
  const TableHeader written = {table.value, schema_version, What(op, form, condition), packed.size(), static_cast<uint64_t>(bytes)};
  std::memcpy(header + kFixedHeaderBytes, &written, sizeof(written));
  WritePacked(packed, header + header_bytes, bytes);
  return target;
}

std::string_view FirstPacked(const arrow::Buffer& payload) {
  uint16_t version;
  std::memcpy(&version, payload.data() + offsetof(FixedHeader, version), sizeof(version));
  const size_t header =
      version == kSingleVersion ? sizeof(SingleHeader) : static_cast<size_t>(HeaderBytes(1)) + sizeof(uint32_t);
  return std::string_view(reinterpret_cast<const char*>(payload.data()), static_cast<size_t>(payload.size())).substr(header);
}

namespace {

Status UnknownOperation(uint64_t table, uint32_t what) {
  return MakeError(ErrorKind::kUnsupported,
                   "a log entry does something with table {} that this program does not know ({:#x}); use a newer one", table, what);
}

bool KnownOperation(uint32_t what) {
  return (what & ~(kExpected | kUnchangedSince | 0xffff)) == 0 && (what & 0xff) <= static_cast<uint32_t>(RowOp::kDelete) &&
         (what >> 8 & 0xff) <= static_cast<uint32_t>(SectionForm::kKeys);
}

/// Requires: the payload has room for the header.
std::optional<SingleItem> ReadSingle(const arrow::Buffer& payload) {
  SingleHeader header;
  std::memcpy(&header, payload.data(), sizeof(header));
  const auto form = static_cast<SectionForm>(header.what >> 8);
  if (!KnownOperation(header.what) || form == SectionForm::kArrow) return std::nullopt;
  return SingleItem{.table = TableId(header.table),
                    .schema_version = header.schema_version,
                    .op = static_cast<RowOp>(header.what & 0xff),
                    .form = form,
                    .item = std::string_view(payload).substr(sizeof(header))};
}

Result<std::vector<PayloadSection>> SplitSingle(const std::shared_ptr<arrow::Buffer>& payload) {
  const std::optional<SingleItem> single = ReadSingle(*payload);
  if (!single) {
    SingleHeader header;
    std::memcpy(&header, payload->data(), sizeof(header));
    return UnknownOperation(header.table, header.what);
  }
  return std::vector<PayloadSection>{{.table = single->table,
                                      .schema_version = single->schema_version,
                                      .rows = 1,
                                      .messages = arrow::SliceBuffer(payload, sizeof(SingleHeader)),
                                      .op = single->op,
                                      .form = single->form,
                                      .bare = true}};
}

}  // namespace

std::optional<SingleItem> AsSingleItem(const arrow::Buffer& payload) {
  FixedHeader fixed;
  if (payload.size() < kFixedHeaderBytes) return std::nullopt;
  std::memcpy(&fixed, payload.data(), sizeof(fixed));
  if (fixed.magic != kMagic || fixed.version != kSingleVersion) return std::nullopt;
  return ReadSingle(payload);
}

Result<std::vector<PayloadSection>> SplitPayload(const std::shared_ptr<arrow::Buffer>& payload) {
  FixedHeader fixed;
  if (payload->size() < kFixedHeaderBytes) {
    return MakeError(ErrorKind::kCorruption, "a log entry of {} bytes is too short to hold rows", payload->size());
  }
  std::memcpy(&fixed, payload->data(), sizeof(fixed));
  if (fixed.magic != kMagic) return MakeError(ErrorKind::kCorruption, "a log entry does not begin as one that holds rows");
  if (fixed.version == 0) return MakeError(ErrorKind::kCorruption, "a log entry of rows has no format version");
  if (fixed.version > kSingleVersion) {
    return MakeError(ErrorKind::kUnsupported, "a log entry has format version {}; this program reads up to {}, use a newer one",
                     fixed.version, kSingleVersion);
  }
  if (fixed.version == kSingleVersion) return SplitSingle(payload);
  int64_t position = HeaderBytes(fixed.tables);
  if (fixed.tables > kEntryTablesMax || position > payload->size()) {
    return MakeError(ErrorKind::kCorruption, "a log entry of {} bytes claims {} tables", payload->size(), fixed.tables);
  }
  std::vector<PayloadSection> sections;
  for (int i = 0; i < fixed.tables; ++i) {
    TableHeader table;
    std::memcpy(&table, payload->data() + kFixedHeaderBytes + kTableHeaderBytes * i, sizeof(table));
    if (table.bytes > static_cast<uint64_t>(payload->size() - position) || table.bytes % kAlignment != 0) {
      return MakeError(ErrorKind::kCorruption, "a log entry claims {} bytes for table {} with {} left", table.bytes, table.table,
                       payload->size() - position);
    }
    const uint32_t what = fixed.version < kVersion ? 0 : table.what;
    if (!KnownOperation(what)) return UnknownOperation(table.table, what);
    const auto bytes = static_cast<int64_t>(table.bytes);
    const auto condition = [&](uint32_t flag) { return (what & flag) != 0 ? std::optional(Lsn(fixed.condition)) : std::nullopt; };
    sections.push_back({TableId(table.table),
                        table.schema_version,
                        static_cast<int64_t>(table.rows),
                        arrow::SliceBuffer(payload, position, bytes),
                        static_cast<RowOp>(what & 0xff),
                        static_cast<SectionForm>(what >> 8 & 0xff),
                        {condition(kExpected), condition(kUnchangedSince)}});
    position += bytes;
  }
  if (position != payload->size()) {
    return MakeError(ErrorKind::kCorruption, "a log entry has {} bytes after its last table", payload->size() - position);
  }
  return sections;
}

Result<std::vector<std::string_view>> DecodePacked(const PayloadSection& section) {
  const auto* const bytes = reinterpret_cast<const char*>(section.messages->data());
  const int64_t size = section.messages->size();
  if (section.bare) return std::vector<std::string_view>{{bytes, static_cast<size_t>(size)}};
  if (section.rows < 1 || section.rows > size / static_cast<int64_t>(sizeof(uint32_t))) {
    return Damaged(section, Status::Invalid("a section of ", size, " bytes cannot hold ", section.rows, " packed rows"));
  }
  const std::string_view items(bytes + section.rows * static_cast<int64_t>(sizeof(uint32_t)),
                               static_cast<size_t>(size) - static_cast<size_t>(section.rows) * sizeof(uint32_t));
  std::vector<std::string_view> packed(static_cast<size_t>(section.rows));
  uint32_t begin = 0;
  for (size_t i = 0; i < packed.size(); ++i) {
    uint32_t end;
    std::memcpy(&end, bytes + i * sizeof(end), sizeof(end));
    if (end < begin || end > items.size()) return Damaged(section, Status::Invalid("packed row ", i, " ends at ", end));
    packed[i] = items.substr(begin, end - begin);
    begin = end;
  }
  return packed;
}

Result<std::shared_ptr<arrow::RecordBatch>> DecodeSection(const PayloadSection& section, const BatchCodec& codec) {
  const auto batch = ReadSection(section.messages, codec);
  if (!batch.ok()) return Damaged(section, batch.status());
  if ((*batch)->num_rows() != section.rows) {
    return Damaged(section, Status::Invalid((*batch)->num_rows(), " rows, but ", section.rows, " were announced"));
  }
  if (const Status valid = (*batch)->ValidateFull(); !valid.ok()) return Damaged(section, valid);
  return batch;
}

}  // namespace sheaf::store
