#include "store/database.h"

#include <future>
#include <utility>

#include "store/local_database.h"

namespace sheaf::store {
namespace {

Status NotThereYet(const char* what) { return MakeError(ErrorKind::kUnsupported, "{} is not there yet", what); }

}  // namespace

Result<KeyedRow> Snapshot::Get(TableId, std::string_view) const { return NotThereYet("reading by key"); }

Result<std::vector<KeyedRow>> Snapshot::MultiGet(TableId, const columns::KeyColumn&) const { return NotThereYet("reading by key"); }

Result<std::unique_ptr<RowCursor>> Snapshot::Scan(TableId, const KeyRange&, const ScanOptions&) const {
  return NotThereYet("reading in key order");
}

Result<std::unique_ptr<Database>> Database::Open(io::FileSystem* files, io::Clock* clock, const Options& options) {
  return LocalDatabase::Open(files, clock, options);
}

Result<Lsn> Database::Append(const std::vector<TableRows>& rows, const WriteOptions& options) {
  auto promise = std::make_shared<std::promise<Result<Lsn>>>();
  std::future<Result<Lsn>> outcome = promise->get_future();
  SHEAF_RETURN_NOT_OK(AppendAsync(rows, options, [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); }));
  return outcome.get();
}

Status Database::PutRowAsync(TableId, std::string_view, const WriteOptions&, Done) { return NotThereYet("writing single rows"); }

Status Database::DeleteRowAsync(TableId, std::string_view, const WriteOptions&, Done) { return NotThereYet("deleting rows"); }

Result<KeyedRow> Database::Get(TableId table, std::string_view key) const { return GetSnapshot()->Get(table, key); }

Result<std::vector<KeyedRow>> Database::MultiGet(TableId table, const columns::KeyColumn& keys) const {
  return GetSnapshot()->MultiGet(table, keys);
}

Result<SnapshotInfo> Database::CreateSnapshot(const std::string&) { return NotThereYet("making snapshots"); }

Result<std::vector<SnapshotInfo>> Database::Snapshots() const { return NotThereYet("listing snapshots"); }

Status Database::DropSnapshot(const std::string&) { return NotThereYet("dropping snapshots"); }

Result<std::shared_ptr<const TableInfo>> Database::CreateTable(const NewTable&) { return NotThereYet("creating tables"); }

Status Database::DropTable(TableId) { return NotThereYet("dropping tables"); }

Result<std::shared_ptr<const TableInfo>> Database::Alter(TableId, const AlterTable&) { return NotThereYet("altering tables"); }

}  // namespace sheaf::store
