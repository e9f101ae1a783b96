/// Entries of changes of tables, and the table records in them: read or refused whatever they hold, never a crash, never
/// more memory than the bytes could fill; what is read is written and read back the same.
///
/// The first byte says which field of a sound entry the rest stands for: what is dropped, the table's settings, its schema.
/// The frame around them, with its checksums, is what parts_manifest_fuzz is for.

#include <cstdint>
#include <string>

#include "core/check.h"
#include "parts/manifest.h"
#include "store/definition_log.h"
#include "store/ready_tables.h"
#include "store/table_record.h"

namespace {

using sheaf::ErrorKind;
namespace store = sheaf::store;
namespace parts = sheaf::parts;

void CheckRefusal(const sheaf::Status& error) {
  const ErrorKind kind = sheaf::KindOf(error);
  SHEAF_CHECK(kind == ErrorKind::kCorruption || kind == ErrorKind::kUnsupported);
}

void ReadTable(const parts::TableRecord& record) {
  const auto table = store::FromRecord(record);
  SHEAF_CHECK(table.ok() || !store::TableOf(record).ok());
  if (!table.ok()) return CheckRefusal(table.status());
  const auto written = store::ToRecord(*table);
  SHEAF_CHECK(written.ok());
  const auto again = store::FromRecord(*written);
  SHEAF_CHECK(again.ok());
  const auto twice = store::ToRecord(*again);
  SHEAF_CHECK(twice.ok() && twice->settings_json == written->settings_json && twice->arrow_schema == written->arrow_schema);
}

void ReadPayload(const arrow::Buffer& payload) {
  const auto step = store::DecodeDefinition(payload);
  if (!step.ok()) return CheckRefusal(step.status());
  const auto written = store::EncodeDefinition(*step);
  SHEAF_CHECK(written.ok());
  const auto again = store::DecodeDefinition(**written);
  SHEAF_CHECK(again.ok() && again->number == step->number && again->dropped == step->dropped);
  SHEAF_CHECK(again->table.has_value() == step->table.has_value());
  if (step->table) ReadTable(*step->table);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const parts::TableRecord sound = *store::ToRecord(*store::FindReadyTable("trading", "orders"));
  if (size == 0) return 0;
  parts::ManifestState entry;
  entry.number = 7;
  entry.database_uuid = std::string(16, '\0');
  entry.extra_json = R"({"dropped": 3})";
  entry.tables.push_back(sound);
  std::string* const fields[] = {&entry.extra_json, &entry.tables[0].settings_json, &entry.tables[0].arrow_schema};
  fields[data[0] % 3]->assign(reinterpret_cast<const char*>(data + 1), size - 1);
  ReadPayload(*arrow::Buffer::FromString(parts::EncodeManifest(entry)));
  return 0;
}
