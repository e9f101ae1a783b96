#include "store/contents_testing.h"

#include <vector>

#include <arrow/api.h>

#include "columns/dead_rows.h"
#include "store/snapshots.h"

namespace sheaf::store {

Result<Contents::Table> ReadTable(const Snapshot& snapshot, const TableInfo& info) {
  Contents::Table table;
  std::vector<int> columns;
  for (int i = 0; i < info.schema->num_fields(); ++i) {
    columns.push_back(i);
    table.columns += info.schema->field(i)->name() + " ";
  }
  SHEAF_ASSIGN_OR_RETURN(const TableSnapshot view, snapshot.Table(info.id));
  for (const auto& [source, dead] : view.sources) {
    for (int granule = 0; granule < source->num_granules(); ++granule) {
      SHEAF_ASSIGN_OR_RETURN(const auto batch, source->Read(granule, columns));
      for (int64_t row = 0; row < batch->num_rows(); ++row) {
        if (dead != nullptr && dead->IsDead(granule, row)) continue;
        std::string line;
        for (const auto& column : batch->columns()) {
          SHEAF_ASSIGN_OR_RETURN(const auto value, column->GetScalar(row));
          line += value->ToString() + " ";
        }
        table.rows.insert(line);
      }
    }
  }
  return table;
}

Result<Contents> ReadContents(io::FileSystem* files, const std::string& directory, const Database& database) {
  Contents contents;
  const auto snapshot = database.GetSnapshot();
  for (const auto& info : snapshot->tables()) {
    if (info->schema_name != "main") continue;
    SHEAF_ASSIGN_OR_RETURN(contents.tables[info->name], ReadTable(*snapshot, *info));
  }
  SHEAF_ASSIGN_OR_RETURN(const auto snapshots, database.Snapshots());
  for (const SnapshotInfo& made : snapshots) {
    SHEAF_RETURN_NOT_OK(VerifySnapshot(files, directory, made.id));
    contents.snapshots.insert(made.id);
  }
  return contents;
}

}  // namespace sheaf::store
