/// Payloads of log entries of whatever bytes: read or refused, never a crash, never more memory than the bytes could fill.
/// A batch that is read is valid through and through, so that nothing behind it has to look again; what is read is written
/// and read back the same.
///
/// The first byte picks the table whose columns the payload's sections are read with. What sections of rows and keys hold is
/// columns_row_codec_fuzz's affair.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <arrow/array.h>

#include "columns/random_testing.h"
#include "core/check.h"
#include "decode/schemas.h"
#include "store/log_payload.h"
#include "store/ready_tables.h"

namespace {

using sheaf::ErrorKind;
namespace store = sheaf::store;

constexpr int64_t kBytesMax = int64_t{16} << 20;
constexpr int64_t kRowsComparedMax = 1000;

const std::vector<std::shared_ptr<const store::BatchCodec>>& Codecs() {
  static const auto codecs = [] {
    std::vector<std::shared_ptr<const store::BatchCodec>> made;
    for (const store::TableInfo& table : store::ReadyTables()) made.push_back(*store::BatchCodec::Make(table.schema));
    made.push_back(*store::BatchCodec::Make(sheaf::columns::EveryType()));
    return made;
  }();
  return codecs;
}

void CheckRefusal(const sheaf::Status& error) {
  const ErrorKind kind = sheaf::KindOf(error);
  SHEAF_CHECK(kind == ErrorKind::kCorruption || kind == ErrorKind::kUnsupported);
}

std::vector<std::string> Texts(const std::shared_ptr<arrow::RecordBatch>& batch) {
  return sheaf::columns::RowTexts({batch->Slice(0, kRowsComparedMax)});
}

/// Reads every section; true where all can be.
bool ReadSections(const std::vector<store::PayloadSection>& sections, const std::shared_ptr<const store::BatchCodec>& codec,
                  std::vector<store::PayloadRows>* rows) {
  for (const store::PayloadSection& section : sections) {
    store::PayloadRows& read = rows->emplace_back();
    read.table = section.table, read.schema_version = section.schema_version;
    read.op = section.op, read.form = section.form, read.condition = section.condition;
    if (section.form == store::SectionForm::kArrow) {
      const auto batch = store::DecodeSection(section, *codec);
      if (!batch.ok()) return CheckRefusal(batch.status()), false;
      SHEAF_CHECK((*batch)->ValidateFull().ok() && (*batch)->num_rows() == section.rows);
      read.codec = codec, read.batch = *batch;
    } else {
      const auto packed = store::DecodePacked(section);
      if (!packed.ok()) return CheckRefusal(packed.status()), false;
      SHEAF_CHECK(static_cast<int64_t>(packed->size()) == section.rows);
      read.packed = *packed;
    }
  }
  return true;
}

void CheckRoundTrip(const std::vector<store::PayloadRows>& rows, const std::shared_ptr<const store::BatchCodec>& codec) {
  const auto written = store::EncodePayload(rows, kBytesMax);
  if (!written.ok()) {  // Dictionaries that were shared by overlapping buffers are written one by one.
    SHEAF_CHECK(sheaf::KindOf(written.status()) == ErrorKind::kTooLarge);
    return;
  }
  const auto sections = store::SplitPayload(written->bytes);
  SHEAF_CHECK(sections.ok());
  std::vector<store::PayloadRows> again;
  SHEAF_CHECK(ReadSections(*sections, codec, &again) && again.size() == rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    SHEAF_CHECK(again[i].table == rows[i].table && again[i].op == rows[i].op && again[i].form == rows[i].form);
    SHEAF_CHECK(again[i].packed == rows[i].packed);
    if (rows[i].batch) SHEAF_CHECK(Texts(again[i].batch) == Texts(rows[i].batch));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto& codec = Codecs()[data[0] % Codecs().size()];
  std::shared_ptr<arrow::Buffer> payload = *arrow::AllocateBuffer(static_cast<int64_t>(size - 1));  // Aligned, as recovery's copy is.
  if (size > 1) std::memcpy(payload->mutable_data(), data + 1, size - 1);
  if (const auto single = store::AsSingleItem(*payload)) SHEAF_CHECK(single->item.size() + 16 == size - 1);
  const auto sections = store::SplitPayload(payload);
  if (!sections.ok()) return CheckRefusal(sections.status()), 0;
  std::vector<store::PayloadRows> rows;
  if (!ReadSections(*sections, codec, &rows)) return 0;
  // A condition's LSN stands once in an entry: sections of different ones cannot be written.
  const bool arrow_rows = std::all_of(rows.begin(), rows.end(), [](const auto& one) { return !one.condition; });
  if (arrow_rows && !rows.empty()) CheckRoundTrip(rows, codec);
  return 0;
}
