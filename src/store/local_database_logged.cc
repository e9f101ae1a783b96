/// LocalDatabase: what entries of the log did, for those who follow them.

#include <algorithm>
#include <utility>

#include "core/out_of_memory.h"
#include "memtable/memtable.h"
#include "store/local_database.h"

namespace sheaf::store {
namespace {

/// A snapshot with other rows of one table.
class OtherRows : public Snapshot {
 public:
  OtherRows(std::shared_ptr<const Snapshot> base, TableId table, const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows)
      : base_(std::move(base)), table_(table), rows_(rows) {}

  Lsn lsn() const override { return base_->lsn(); }
  bool FindsByKey(TableId id) const override { return id != table_ && base_->FindsByKey(id); }
  const std::vector<std::shared_ptr<const TableInfo>>& tables() const override { return base_->tables(); }

  Result<TableSnapshot> Table(TableId id) const override {
    if (id != table_) return base_->Table(id);
    const auto is_it = [id](const auto& info) { return info->id == id; };
    const auto info = std::find_if(tables().begin(), tables().end(), is_it);
    if (info == tables().end()) return MakeError(ErrorKind::kNotFound, "there is no table {}", id);
    memtable::Memtable memtable((*info)->schema, (*info)->layout.time_column, {}, /*ordinal=*/0);
    for (const auto& batch : rows_) {
      if (batch->num_rows() > 0) memtable.Add(lsn(), batch, 0);
    }
    TableSnapshot snapshot{.info = *info};
    snapshot.rows = memtable.rows();
    if (auto source = memtable.Source(lsn())) snapshot.sources.push_back({std::move(source), nullptr});
    return snapshot;
  }
  Result<KeyedRow> Get(TableId id, std::string_view key) const override { return base_->Get(id, key); }
  Result<std::vector<KeyedRow>> MultiGet(TableId id, const columns::KeyColumn& keys) const override { return base_->MultiGet(id, keys); }

 private:
  const std::shared_ptr<const Snapshot> base_;
  const TableId table_;
  const std::vector<std::shared_ptr<arrow::RecordBatch>> rows_;
};

}  // namespace

std::shared_ptr<const Snapshot> WithRows(std::shared_ptr<const Snapshot> base, TableId table,
                                         const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) {
  return std::make_shared<OtherRows>(std::move(base), table, rows);
}

Status LocalDatabase::VisitLogged(const wal::LoggedEntry& entry, const std::vector<TableId>& tables,
                                  const std::function<Status(const LoggedRows&)>& visit) const {
  if (entry.entry.type != kRowsEntry) return Status::OK();
  const std::shared_ptr<const Version> version = versions_.current();
  auto sections = SplitPayload(entry.entry.payload);
  if (!sections.ok()) return WithContext(sections.status(), fmt::format("log entry {}", entry.lsn));
  for (const PayloadSection& section : *sections) {
    if (std::find(tables.begin(), tables.end(), section.table) == tables.end()) continue;
    const TableVersion* table = version->Find(section.table);
    if (table == nullptr) return MakeError(ErrorKind::kNotFound, "table {} was dropped", section.table);
    if (table->info->schema_version != section.schema_version) {
      return MakeError(ErrorKind::kConflict, "the columns of {}.{} changed after log entry {}", table->info->schema_name,
                       table->info->name, entry.lsn);
    }
    LoggedRows logged{.lsn = entry.lsn, .table = section.table, .batch = nullptr, .keys = {}, .bytes = section.messages->size()};
    if (table->is_keyed()) {
      auto rows = ReplaySection(section, *table);
      if (!rows.ok()) return WithContext(rows.status(), fmt::format("log entry {}", entry.lsn));
      logged.keys = std::move(rows->keys);
    } else {
      auto batch = DecodeSection(section, *table->codec);
      if (!batch.ok()) return WithContext(batch.status(), fmt::format("log entry {}", entry.lsn));
      logged.batch = *std::move(batch);
    }
    SHEAF_RETURN_NOT_OK(visit(logged));
  }
  return Status::OK();
}

Status LocalDatabase::ReadLogged(Lsn after, Lsn through, const std::vector<TableId>& tables,
                                 const std::function<Status(const LoggedRows&)>& visit) const {
  if (log_->durable_lsn() < through) SHEAF_RETURN_NOT_OK(log_->SyncThrough(through));
  return log_->Read(after, through, [&](const wal::LoggedEntry& entry) { return VisitLogged(entry, tables, visit); });
}

}  // namespace sheaf::store
