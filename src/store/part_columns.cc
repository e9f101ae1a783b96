#include "store/part_columns.h"

#include <utility>

#include "parts/conform_source.h"

namespace sheaf::store {

Result<std::shared_ptr<arrow::Schema>> SchemaOf(const TableInfo& table, uint32_t version) {
  if (version == table.schema_version) return table.schema;
  for (const SchemaVersion& old : table.history) {
    if (old.version == version) return old.schema;
  }
  return MakeError(ErrorKind::kCorruption, "{}.{} has version {} of its columns, and no version {} in its history", table.schema_name,
                   table.name, table.schema_version, version);
}

Result<std::shared_ptr<const columns::GranuleSource>> ReadAs(std::shared_ptr<const columns::GranuleSource> file, uint32_t version,
                                                             const TableInfo& table) {
  if (version == table.schema_version) return file;
  return parts::ConformSource(std::move(file), table.schema, table.fills);
}

}  // namespace sheaf::store
