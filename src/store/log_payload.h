/// What store puts into a log entry: rows of one or more tables, as Arrow IPC messages.
///
/// The entry is serialised once into one buffer. The log writes that buffer, and the memtable's record
/// batches point into it: from then on the rows are never copied until they are sealed into a part.
/// Byte layout: docs/formats/log_payload.md.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <arrow/buffer.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/options.h>
#include <arrow/record_batch.h>

#include "core/ids.h"
#include "core/status.h"
#include "store/database.h"

namespace sheaf::store {

/// Type of a log entry that holds rows.
inline constexpr uint8_t kRowsEntry = 1;
/// Most tables in one entry.
inline constexpr int kEntryTablesMax = 1024;

/// What serialising batches of one schema needs, made once a schema. Immutable, thread-safe.
class BatchCodec {
 public:
  static Result<std::shared_ptr<const BatchCodec>> Make(std::shared_ptr<arrow::Schema> schema);

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  const arrow::ipc::DictionaryFieldMapper& mapper() const { return mapper_; }
  /// The metadata of the schema message that the log leaves out; put before a section it makes an IPC stream.
  const std::shared_ptr<arrow::Buffer>& schema_message() const { return schema_message_; }
  /// A dictionary of the schema, nested ones included.
  struct Dictionary {
    int64_t id;
    std::shared_ptr<arrow::DataType> value_type;
  };
  /// In the order of a walk over the schema.
  const std::vector<Dictionary>& dictionaries() const { return dictionaries_; }
  /// Whether batches of written messages can be built without reading these; otherwise Arrow's reader is used.
  bool can_rebase() const { return can_rebase_; }

 private:
  explicit BatchCodec(std::shared_ptr<arrow::Schema> schema) : schema_(std::move(schema)), mapper_(*schema_) {}
  Status Walk(const arrow::DataType& type, std::vector<int>* path);

  const std::shared_ptr<arrow::Schema> schema_;
  const arrow::ipc::DictionaryFieldMapper mapper_;
  std::shared_ptr<arrow::Buffer> schema_message_;
  std::vector<Dictionary> dictionaries_;
  bool can_rebase_ = true;
};

/// How a section holds its rows. The numbers stand in the log.
enum class SectionForm : uint8_t {
  kArrow = 0,  // IPC messages.
  kRows = 1,   // Packed: compact rows (columns::RowCodec).
  kKeys = 2,   // Packed: encoded keys (columns::KeyCodec), of a deletion.
};

/// What must hold for a write to be done; one of them at most. See TableRows.
struct WriteCondition {
  std::optional<Lsn> expected, unchanged_since;
  explicit operator bool() const { return expected || unchanged_since; }
};

/// Rows of one table to be written.
struct PayloadRows {
  TableId table;
  uint32_t schema_version = 1;
  std::shared_ptr<const BatchCodec> codec;    // kArrow only.
  std::shared_ptr<arrow::RecordBatch> batch;  // kArrow: has the codec's schema; values are valid (see ValidateFull).
  RowOp op = RowOp::kPut;
  SectionForm form = SectionForm::kArrow;
  std::vector<std::string_view> packed = {};  // The other forms.
  WriteCondition condition = {};              // Of its keys. Those of one entry name the same LSN.
};

/// An entry as it is in memory: the log's bytes, and batches that point into them.
struct EncodedPayload {
  std::shared_ptr<arrow::Buffer> bytes;
  struct Table {
    TableId table;
    std::shared_ptr<arrow::RecordBatch> batch;  // Null for packed forms, whose bytes the caller has.
    int64_t bytes = 0;                        // This table's share of `bytes`.
  };
  std::vector<Table> tables;                  // In the order given.
};

/// Serialises `rows` into one buffer. The batches given are no longer needed afterwards.
/// Errors: TooLarge (more than `bytes_max`), OutOfMemory, Invalid.
Result<EncodedPayload> EncodePayload(const std::vector<PayloadRows>& rows, int64_t bytes_max);
/// The same for one table with packed rows or keys, without Arrow: what a single-row write takes.
Result<std::shared_ptr<arrow::Buffer>> EncodePacked(TableId table, uint32_t schema_version, RowOp op, SectionForm form,
                                                    std::span<const std::string_view> packed, const WriteCondition& condition);

/// The first item of what EncodePacked() made, padding behind it included.
std::string_view FirstPacked(const arrow::Buffer& payload);

/// A payload of one row or key and nothing else, as most single-row writes are.
struct SingleItem {
  TableId table;
  uint32_t schema_version = 0;
  RowOp op = RowOp::kPut;
  SectionForm form = SectionForm::kRows;
  std::string_view item;  // In the payload; what it holds is not checked.
};
/// None where the payload is something else, or damaged: see SplitPayload().
std::optional<SingleItem> AsSingleItem(const arrow::Buffer& payload);

/// One table's rows in a payload, not yet read.
struct PayloadSection {
  TableId table;
  uint32_t schema_version = 0;
  int64_t rows = 0;
  std::shared_ptr<arrow::Buffer> messages;
  RowOp op = RowOp::kPut;
  SectionForm form = SectionForm::kArrow;
  WriteCondition condition = {};
  bool bare = false;  // Packed: `messages` is one row or key and nothing else.
};

/// Splits a payload into its sections, without reading them. Error: Corruption, Unsupported (newer version, unknown form).
Result<std::vector<PayloadSection>> SplitPayload(const std::shared_ptr<arrow::Buffer>& payload);

/// Reads a section's batch, which points into it, and checks it fully (bounds, indices, UTF-8), so that
/// damage that passed the log's checksum cannot crash a query. Error: Corruption.
Result<std::shared_ptr<arrow::RecordBatch>> DecodeSection(const PayloadSection& section, const BatchCodec& codec);
/// The rows or keys of a packed section, which point into it; what they hold is not checked. Error: Corruption.
Result<std::vector<std::string_view>> DecodePacked(const PayloadSection& section);

}  // namespace sheaf::store
