/// The tables of an OTel-Arrow batch as they were received: columns where they lie, and what a stream keeps between batches.
///
/// Every payload type of a stream has an IPC stream of its own: a schema, dictionaries, then batches; later ones bring
/// dictionary deltas and replacements. An OtapReader keeps the schema and the dictionaries, and turns a payload into an
/// OtapTable, whose columns point into the payload, the dictionaries, or scratch memory where the payload is compressed.
///
/// Everything that a column's later use relies on is checked here, once: lengths, offsets, dictionary indexes, types.

#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "decode/column_buffers.h"
#include "decode/recycled_buffers.h"
#include "decode/request_memory.h"
#include "wire/arrow_ipc.h"
#include "wire/otap_messages.h"

namespace sheaf::decode {

/// The columns that OTel-Arrow defines, in whatever tables they stand.
enum class OtapField : uint8_t {
  kId,
  kParentId,
  kResource,
  kResourceId,
  kResourceSchemaUrl,
  kResourceDropped,
  kScope,
  kScopeId,
  kScopeName,
  kScopeVersion,
  kScopeDropped,
  kSchemaUrl,
  kDroppedAttributes,
  kFlags,
  kName,
  kTraceId,
  kSpanId,
  kTime,
  kStartTime,
  kDuration,
  kTraceState,
  kParentSpanId,
  kKind,
  kDroppedEvents,
  kDroppedLinks,
  kStatus,
  kStatusCode,
  kStatusMessage,
  kObservedTime,
  kSeverityNumber,
  kSeverityText,
  kEventName,
  kBody,
  kBodyType,
  kBodyStr,
  kBodyInt,
  kBodyDouble,
  kBodyBool,
  kBodyBytes,
  kBodySer,
  kKey,
  kType,
  kStr,
  kInt,
  kDouble,
  kBool,
  kBytes,
  kSer,
  kMetricType,
  kDescription,
  kUnit,
  kTemporality,
  kIsMonotonic,
  kIntValue,
  kDoubleValue,
  kCount,
  kSum,
  kMin,
  kMax,
  kBucketCounts,
  kExplicitBounds,
  kScale,
  kZeroCount,
  kZeroThreshold,
  kPositive,
  kPositiveOffset,
  kPositiveCounts,
  kNegative,
  kNegativeOffset,
  kNegativeCounts,
  kQuantiles,
  kQuantile,
  kQuantileValue,
};
inline constexpr size_t kOtapFields = static_cast<size_t>(OtapField::kQuantileValue) + 1;

/// A column's place in a schema, -1 where it has none.
using OtapFieldPlaces = std::array<int16_t, kOtapFields>;

/// How an id column was encoded: as the protocol says of that column, or as its field's metadata says.
enum class IdEncoding : uint8_t { kDefault, kPlain, kDelta, kQuasiDelta };

/// The values of a dictionary, which a stream grows and replaces. Not thread-safe.
class OtapDictionary {
 public:
  OtapDictionary(int64_t id, wire::IpcType type, int32_t width) : id_(id), type_(type), width_(width) {}
  int64_t id() const { return id_; }
  wire::IpcType type() const { return type_; }
  int32_t width() const { return width_; }
  int64_t size() const { return size_; }
  bool IsNull(int64_t i) const { return !nulls_.empty() && nulls_[static_cast<size_t>(i)] != 0; }
  const uint8_t* fixed() const { return reinterpret_cast<const uint8_t*>(heap_.data()); }
  bool Bit(int64_t i) const { return heap_[static_cast<size_t>(i)] != 0; }  // Of kBool: a byte each.
  std::string_view bytes(int64_t i) const {
    const auto at = static_cast<size_t>(i);
    return {heap_.data() + offsets_[at], offsets_[at + 1] - offsets_[at]};
  }
  /// How far beyond a value may be read.
  uintptr_t readable_end() const { return reinterpret_cast<uintptr_t>(heap_.data()) + heap_.size(); }

  /// For who numbers the values anew, for one column: place for a number each, none of them given yet.
  class Numbers {
   public:
    /// Borrows the dictionary, of which one Numbers at a time may be in use.
    explicit Numbers(const OtapDictionary& dictionary) : round_(dictionary.StartRound()), numbers_(dictionary.numbers_.data()) {}
    /// Negative where none was given.
    int32_t Get(int64_t i) const { return numbers_[i] >> 32 == round_ ? static_cast<int32_t>(numbers_[i] & 0x7fffffff) : -1; }
    void Set(int64_t i, int32_t number) { numbers_[i] = round_ << 32 | static_cast<uint32_t>(number); }

   private:
    const uint64_t round_;
    uint64_t* const numbers_;
  };
  bool has_nulls() const { return !nulls_.empty(); }

  int64_t held_bytes() const;

 private:
  friend class OtapReader;
  uint64_t StartRound() const;
  /// Makes it empty, for `bytes` of values to come.
  void Clear(size_t bytes);

  const int64_t id_;
  const wire::IpcType type_;
  const int32_t width_;
  int64_t size_ = 0;
  std::string heap_;                       // Fixed-width values, or the bytes of all values.
  std::vector<uint32_t> offsets_;          // size + 1 of them, where the width varies.
  std::vector<uint8_t> nulls_;             // A byte a value; empty without nulls.
  mutable std::vector<uint64_t> numbers_;  // {round, number}
  mutable uint64_t round_ = 0;
};

/// Reads a value that need not be aligned.
template <typename T>
T LoadAt(const uint8_t* values, int64_t i) {
  T value;
  std::memcpy(&value, values + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// Whether all bits of [begin, end) are set.
bool AllSet(const uint8_t* bits, int64_t begin, int64_t end);

/// One column where it lies. `values` holds fixed-width values, bits (kBool), or dictionary indexes.
struct OtapColumn {
  wire::IpcType type = wire::IpcType::kNull;
  IdEncoding encoding = IdEncoding::kDefault;
  int32_t width = 0;        // Of a plain or a dictionary's value.
  int32_t index_width = 0;  // 0: plain.
  int64_t rows = 0;
  const uint8_t* valid = nullptr;  // Bits; null where all are valid. Of a struct's child, the struct's nulls included.
  const uint8_t* values = nullptr;
  const uint8_t* offsets = nullptr;  // int32, of kText, kBytes, kList.
  std::string_view heap;             // Of kText, kBytes.
  const OtapDictionary* dictionary = nullptr;

  bool IsNull(int64_t i) const { return valid != nullptr && ((valid[i >> 3] >> (i & 7)) & 1) == 0; }
  int64_t Index(int64_t i) const {
    switch (index_width) {
      case 0: return i;
      case 1: return values[i];
      case 2: return LoadAt<uint16_t>(values, i);
      case 4: return LoadAt<uint32_t>(values, i);
      default: return static_cast<int64_t>(LoadAt<uint64_t>(values, i));
    }
  }
  /// Whether row `i` has no value: it is NULL, or the value in the dictionary is.
  bool IsNullValue(int64_t i) const {
    return IsNull(i) || (dictionary != nullptr && dictionary->has_nulls() && dictionary->IsNull(Index(i)));
  }
  /// Whether there may be such rows.
  bool MayHaveNulls() const { return valid != nullptr || (dictionary != nullptr && dictionary->has_nulls()); }
  /// The same of rows [begin, end): values of other types leave NULLs in the rest of a column.
  bool MayHaveNulls(int64_t begin, int64_t end) const {
    return (dictionary != nullptr && dictionary->has_nulls()) || (valid != nullptr && !AllSet(valid, begin, end));
  }
  int32_t Offset(int64_t i) const { return LoadAt<int32_t>(offsets, i); }
  /// Text or bytes of row `i`, which is not null.
  std::string_view PlainBytes(int64_t i) const {
    const auto begin = static_cast<size_t>(Offset(i));
    return {heap.data() + begin, static_cast<size_t>(Offset(i + 1)) - begin};
  }
  std::string_view Bytes(int64_t i) const {
    if (IsNullValue(i)) return {};
    return dictionary == nullptr ? PlainBytes(i) : dictionary->bytes(Index(i));
  }
  uintptr_t readable_end() const {
    return dictionary != nullptr ? dictionary->readable_end() : reinterpret_cast<uintptr_t>(heap.data()) + heap.size();
  }
};

/// A payload. Lives until its reader's next Read() and the scratch memory's next Start(). `places` is the reader's.
struct OtapTable {
  wire::OtapPayload type{};
  int64_t rows = 0;
  std::vector<OtapColumn> columns;
  const OtapFieldPlaces* places = nullptr;

  /// Null where the table has no such column.
  const OtapColumn* Find(OtapField field) const {
    if (places == nullptr) return nullptr;
    const int16_t place = (*places)[static_cast<size_t>(field)];
    return place < 0 ? nullptr : &columns[static_cast<size_t>(place)];
  }
};

/// Memory that a stream may take between batches, counted by its readers.
struct StreamMemory {
  int64_t bytes_max = 0, held = 0;
};

/// Decompressors and memory for compressed buffers. Not thread-safe.
class OtapScratch {
 public:
  void Start(RequestMemory* memory) { buffers_.Start(memory); }
  void Trim() { buffers_.Trim(); }
  uint8_t* Bytes(int64_t bytes) { return buffers_.Next(bytes, false)->data(); }
  Result<std::string_view> Inflate(wire::IpcCodec codec, std::string_view compressed);

 private:
  RecycledBuffers buffers_;
  wire::IpcInflater inflater_;
};

/// The IPC stream of one payload type. Not thread-safe.
class OtapReader {
 public:
  OtapReader(wire::OtapPayload type, std::string_view schema_id, StreamMemory* memory)
      : type_(type), schema_id_(schema_id), memory_(memory) {}
  ~OtapReader() { memory_->held -= held_; }
  OtapReader(const OtapReader&) = delete;
  OtapReader& operator=(const OtapReader&) = delete;

  wire::OtapPayload type() const { return type_; }
  const std::string& schema_id() const { return schema_id_; }

  /// Whether a payload was not read for its size or for want of memory, and no schema has come since: the sender is right about
  /// what it sends, and later payloads build on what is not here.
  bool lost() const { return state_ == State::kLost; }

  /// Reads a payload's messages into `table`. Errors: Invalid, Unsupported, TooLarge (the stream's memory, `rows_max`),
  /// OutOfMemory; throws what `scratch` throws. After an error the state of both sides may differ, so that every Read() fails
  /// until one begins with a schema again: with Unavailable while lost(), else with Invalid.
  Status Read(std::string_view record, int64_t rows_max, OtapScratch* scratch, OtapTable* table);

 private:
  Status TryRead(std::string_view record, int64_t rows_max, OtapScratch* scratch, OtapTable* table);
  Status TakeSchema(wire::IpcReader* reader);
  Status TakeDictionary(wire::IpcReader* reader, OtapScratch* scratch);
  /// Appends to what is there, or replaces it.
  Status Append(const OtapColumn& values, bool replace, OtapDictionary* dictionary);
  /// That columns have the rows that readers go by, whatever the schema was taken for.
  Status CheckRows(const OtapTable& table) const;
  /// Loads fields from `field` on with nodes and buffers from `node` and `buffer` on.
  struct Cursor {
    const wire::IpcBatch* batch;
    std::string_view body;
    size_t node = 0, buffer = 0;
  };
  Status LoadField(size_t* field, int64_t rows_min, const uint8_t* outer_valid, Cursor* cursor, OtapScratch* scratch,
                   std::vector<OtapColumn>* columns);
  Status LoadColumn(const wire::IpcField& field, bool as_dictionary, Cursor* cursor, OtapScratch* scratch, OtapColumn* column);
  Status LoadOffsets(const wire::IpcField& field, Cursor* cursor, OtapScratch* scratch, OtapColumn* column);
  Status CheckIndexes(const wire::IpcField& field, const OtapColumn& column) const;
  Result<std::string_view> NextBuffer(Cursor* cursor, OtapScratch* scratch) const;
  OtapDictionary* FindDictionary(int64_t id);
  /// Counts what is held against the stream's memory.
  Status Account();
  Status OverMemory() const;
  enum class State : uint8_t { kNew, kReady, kBroken, kLost };
  /// The error of a payload without a schema before it, unless kReady.
  Status CheckState() const;
  /// Drops everything, which is of no use until a schema comes.
  void GiveUp(State state);

  const wire::OtapPayload type_;
  const std::string schema_id_;
  StreamMemory* const memory_;  // Borrowed.
  State state_ = State::kNew;
  std::vector<wire::IpcField> fields_;
  std::vector<IdEncoding> encodings_;  // Of the fields.
  OtapFieldPlaces places_{};
  std::vector<std::unique_ptr<OtapDictionary>> dictionaries_;
  int64_t held_ = 0;
};

}  // namespace sheaf::decode
