#include "store/database.h"

#include <optional>
#include <utility>

#include "core/mutex.h"
#include "store/local_database.h"

namespace sheaf::store {
namespace {

Status NotThereYet(const char* what) { return MakeError(ErrorKind::kUnsupported, "{} is not there yet", what); }

/// The outcome of one append, for a caller that waits for it.
class Outcome {
 public:
  void Set(Result<Lsn> outcome) SHEAF_EXCLUDES(mutex_) {
    const MutexLock lock(&mutex_);
    outcome_ = std::move(outcome);
    known_.NotifyOne();  // Under the lock: the waiting one ends this object.
  }
  Result<Lsn> Wait() SHEAF_EXCLUDES(mutex_) {
    const MutexLock lock(&mutex_);
    while (!outcome_) known_.Wait(&mutex_);
    return *std::move(outcome_);
  }

 private:
  Mutex mutex_;
  CondVar known_;
  std::optional<Result<Lsn>> outcome_ SHEAF_GUARDED_BY(mutex_);
};

/// Starts an append by `start(options, done)` and waits.
template <typename Start>
Result<Lsn> Wait(WriteOptions options, const Start& start) {
  options.caller_waits = true;
  Outcome outcome;
  SHEAF_RETURN_NOT_OK(start(options, [&outcome](Result<Lsn> lsn) { outcome.Set(std::move(lsn)); }));
  return outcome.Wait();
}

}  // namespace

Result<KeyedRow> Snapshot::Get(TableId, std::string_view) const { return NotThereYet("reading by key"); }

Result<std::vector<KeyedRow>> Snapshot::MultiGet(TableId, const columns::KeyColumn&) const { return NotThereYet("reading by key"); }

Result<std::unique_ptr<RowCursor>> Snapshot::Scan(TableId, const KeyRange&, const ScanOptions&) const {
  return NotThereYet("reading in key order");
}

Lsn Database::WaitForVisible(Lsn, std::chrono::nanoseconds) const { return GetSnapshot()->lsn(); }
Status Database::ReadLogged(Lsn, Lsn, const std::vector<TableId>&, const std::function<Status(const LoggedRows&)>&) const {
  return NotThereYet("reading the log");
}
void Database::KeepLogAfter(std::optional<Lsn>) {}

Result<std::unique_ptr<Database>> Database::Open(io::FileSystem* files, io::Clock* clock, const Options& options) {
  return LocalDatabase::Open(files, clock, options);
}

Result<Lsn> Database::Append(const std::vector<TableRows>& rows, const WriteOptions& options) noexcept {
  return Wait(options, [&](const WriteOptions& waiting, Done done) { return AppendAsync(rows, waiting, std::move(done)); });
}

Result<Lsn> Database::PutRow(TableId table, std::string_view row, const WriteOptions& options) noexcept {
  return Wait(options, [&](const WriteOptions& waiting, Done done) { return PutRowAsync(table, row, waiting, std::move(done)); });
}

Result<Lsn> Database::DeleteRow(TableId table, std::string_view key, const WriteOptions& options) noexcept {
  return Wait(options, [&](const WriteOptions& waiting, Done done) { return DeleteRowAsync(table, key, waiting, std::move(done)); });
}

Status Database::PutRowAsync(TableId, std::string_view, const WriteOptions&, Done) noexcept { return NotThereYet("writing single rows"); }

Status Database::DeleteRowAsync(TableId, std::string_view, const WriteOptions&, Done) noexcept { return NotThereYet("deleting rows"); }

Result<KeyedRow> Database::Get(TableId table, std::string_view key) const { return GetSnapshot()->Get(table, key); }

Result<std::vector<KeyedRow>> Database::MultiGet(TableId table, const columns::KeyColumn& keys) const {
  return GetSnapshot()->MultiGet(table, keys);
}

Result<SnapshotInfo> Database::CreateSnapshot(const std::string&) noexcept { return NotThereYet("making snapshots"); }

Result<std::vector<SnapshotInfo>> Database::Snapshots() const { return NotThereYet("listing snapshots"); }

Result<std::vector<PartStatus>> Database::Scrub() noexcept { return NotThereYet("checking parts"); }

Status Database::DropSnapshot(const std::string&) noexcept { return NotThereYet("dropping snapshots"); }

Result<std::shared_ptr<const TableInfo>> Database::CreateTable(const NewTable&) noexcept { return NotThereYet("creating tables"); }

Status Database::DropTable(TableId) noexcept { return NotThereYet("dropping tables"); }

Result<std::shared_ptr<const TableInfo>> Database::Alter(TableId, const AlterTable&) noexcept { return NotThereYet("altering tables"); }

}  // namespace sheaf::store
