/// LocalDatabase: what is particular to keyed tables: memtables to parts in key order, delete vectors.

#include <algorithm>
#include <numeric>
#include <utility>

#include <arrow/array.h>

#include "columns/row_union.h"
#include "core/check.h"
#include "core/memory.h"
#include "parts/delete_vector.h"
#include "parts/keyed_part.h"
#include "parts/part_stream.h"
#include "store/keyed_read.h"
#include "store/local_database.h"
#include "store/part_columns.h"

namespace sheaf::store {
namespace {

/// Granules that are gathered at once; see parts::WritePart().
constexpr int64_t kGranulesAtOnce = 8;

/// The rows of a memtable that are alive, in key order: which batches, which rows of them, and who wrote them.
struct AliveRows {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::vector<columns::DeadRows::Position> rows;  // Batch and row.
  std::vector<uint64_t> lsns;
};

Result<AliveRows> TakeAlive(const memtable::KeyedMemtable& memtable) {
  AliveRows alive;
  const auto source = memtable.ViewAt(memtable.max_lsn()).source;
  std::vector<int> columns(static_cast<size_t>(memtable.schema()->num_fields()));
  std::iota(columns.begin(), columns.end(), 0);
  for (int granule = 0; source != nullptr && granule < source->num_granules(); ++granule) {
    SHEAF_ASSIGN_OR_RETURN(alive.batches.emplace_back(), source->Read(granule, columns));
  }
  const auto cursor = memtable.Scan("", memtable.max_lsn());
  std::string_view key;
  memtable::KeyedHit hit;
  while (cursor->Next(&key, &hit)) {
    if (hit.kind != memtable::KeyedHit::Kind::kRow) continue;
    alive.rows.push_back({hit.granule, hit.row});
    alive.lsns.push_back(hit.lsn.value);
  }
  return alive;
}

/// A granule of the table's columns, with the column of LSNs behind them.
std::shared_ptr<arrow::RecordBatch> WithLsns(const std::shared_ptr<arrow::Schema>& schema, const arrow::RecordBatch& granule,
                                             const std::shared_ptr<arrow::Buffer>& lsns, int64_t first) {
  arrow::ArrayDataVector columns = granule.column_data();
  columns.push_back(arrow::ArrayData::Make(arrow::uint64(), granule.num_rows(), {nullptr, lsns}, 0, first));
  return arrow::RecordBatch::Make(schema, granule.num_rows(), std::move(columns));
}

bool Holds(const std::vector<PartId>& ids, PartId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

}  // namespace

/// Returns no part where no row is alive.
Result<std::shared_ptr<const Part>> LocalDatabase::WriteKeyed(const TableInfo& table, const TableMemtable& memtable,
                                                              parts::PartInfo info) {
  SHEAF_ASSIGN_OR_RETURN(const AliveRows alive, TakeAlive(*memtable.keyed));
  if (alive.rows.empty()) return nullptr;
  SHEAF_ASSIGN_OR_RETURN(const auto rows, columns::RowUnion::Make(table.schema, alive.batches, &NamedPool("seal")));
  std::vector<uint32_t> order;
  order.reserve(alive.rows.size());
  for (const auto& [batch, row] : alive.rows) order.push_back(static_cast<uint32_t>(rows->first_row(batch) + row));
  {
    MutexLock lock(&commit_mutex_);
    info.database_uuid = database_uuid_;
  }
  info.created_ns = clock_->NowNs();
  const auto schema = parts::KeyedSchema(*table.schema);
  const auto lsns = arrow::Buffer::Wrap(alive.lsns);
  SHEAF_ASSIGN_OR_RETURN(auto stream, parts::PartStream::Open(files_, paths_.parts, std::move(info), table.layout, schema));
  const size_t at_once = static_cast<size_t>(table.layout.granule_rows * kGranulesAtOnce);
  int64_t first = 0;
  for (size_t at = 0; at < order.size(); at += at_once) {
    const auto part_of_them = std::span(order).subspan(at, std::min(at_once, order.size() - at));
    SHEAF_ASSIGN_OR_RETURN(const auto granules, rows->Gather(part_of_them, table.layout.granule_rows));
    for (const auto& granule : granules) {
      SHEAF_RETURN_NOT_OK(stream->Write(WithLsns(schema, *granule, lsns, first)));
      first += granule->num_rows();
    }
  }
  SHEAF_ASSIGN_OR_RETURN(parts::PartInfo written, stream->Finish());
  return OpenPartOf(table, std::move(written));
}

Result<std::shared_ptr<const Part>> LocalDatabase::OpenPartOf(const TableInfo& table, parts::PartInfo info) const {
  Part part;
  SHEAF_ASSIGN_OR_RETURN(const auto written, SchemaOf(table, info.schema_version));
  if (table.kind != TableKind::kKeyed) {
    SHEAF_ASSIGN_OR_RETURN(part.file, parts::OpenPart(files_, paths_.parts, info, written));
    SHEAF_ASSIGN_OR_RETURN(part.source, ReadAs(part.file, info.schema_version, table));
  } else {
    parts::KeyedPart::Options options;
    options.keys = table.keys;
    options.schema = table.schema;
    options.written = written;
    options.fills = table.fills;
    options.cache = granule_cache_.get();
    SHEAF_ASSIGN_OR_RETURN(part.keyed, parts::KeyedPart::Open(files_, paths_.parts, info, std::move(options)));
    part.source = part.file = part.keyed->source();
    SHEAF_ASSIGN_OR_RETURN(part.dead, parts::ReadDeadRows(files_, paths_.parts, info, *part.source));
  }
  part.info = std::move(info);
  return std::make_shared<const Part>(std::move(part));
}

/// The part with `dead`, written down, in place of the vector that it had.
Result<std::shared_ptr<const Part>> LocalDatabase::WithDead(const Part& part, std::shared_ptr<const columns::DeadRows> dead,
                                                            Lsn through) {
  auto updated = std::make_shared<Part>(part);
  // A manifest that failed may name the file of its attempt; the number is that of this one.
  SHEAF_RETURN_NOT_OK(
      parts::WriteDeadRows(files_, paths_.parts, *part.source, manifest_number_ + 1, *dead, through, &updated->info));
  updated->dead = std::move(dead);
  return updated;
}

/// Rows of the inputs of a merge that died while it ran live on in its outputs: finds them there, by their keys.
Status LocalDatabase::CarryDeaths(const TableVersion& table, Lsn through, VersionChange* change) {
  columns::KeyColumn keys;
  for (const auto& input : change->inputs) {
    const auto now =
        std::find_if(table.parts.begin(), table.parts.end(), [&](const auto& part) { return part->info.id == input->info.id; });
    SHEAF_CHECK(now != table.parts.end());
    const auto dead = table.deaths->DeadAt(**now, through);
    if (dead == nullptr) continue;
    for (int granule = 0; granule < input->source->num_granules(); ++granule) {
      const auto* bits = dead->granule(granule);
      if (bits == nullptr) continue;
      for (int64_t row = 0; row < input->source->granule_rows(granule); ++row) {
        if (!dead->IsDead(granule, row) || (input->dead != nullptr && input->dead->IsDead(granule, row))) continue;
        SHEAF_ASSIGN_OR_RETURN(const auto found, input->keyed->Row({granule, row}));
        SHEAF_ASSIGN_OR_RETURN(const columns::KeyColumn key, table.info->keys->Encode(*found.batch->Slice(found.row, 1)));
        keys.Add(key[0]);
      }
    }
  }
  if (keys.size() == 0) return Status::OK();
  static const columns::DeadRows none;
  for (auto& output : change->added) {
    SHEAF_ASSIGN_OR_RETURN(const auto positions, output->keyed->FindMany(keys));
    std::vector<columns::DeadRows::Position> fresh;
    for (const auto& position : positions) {
      if (position) fresh.push_back(*position);
    }
    if (fresh.empty()) continue;
    SHEAF_ASSIGN_OR_RETURN(output,
                           WithDead(*output, (output->dead == nullptr ? none : *output->dead).With(std::move(fresh)), through));
  }
  return Status::OK();
}

/// Writes down which rows of older parts the memtable that becomes a part has replaced, and makes the overlay for the
/// version after the change: afterwards every key is alive in one part at most, without its memtable.
Status LocalDatabase::PrepareDeaths(VersionChange* change) {
  const auto [version, visible] = versions_.Now();
  const TableVersion* table = version->Find(change->table);
  if (table == nullptr || !table->is_keyed()) return Status::OK();
  const Lsn sealed = change->sealed ? std::max(table->sealed, change->sealed.max_lsn()) : table->sealed;
  TableVersion sound = *table;  // Without the parts that are set aside in this step: nothing is looked up in them any more.
  for (auto& part : sound.parts) {
    for (const auto& updated : change->updated) {
      if (updated->info.id == part->info.id && updated->damaged()) part = updated;
    }
  }
  SHEAF_RETURN_NOT_OK(table->deaths->Advance(sound, visible));
  for (const auto& part : sound.parts) {
    if (Holds(change->removed, part->info.id) || part->damaged()) continue;
    auto dead = table->deaths->DeadAt(*part, sealed);
    // Where columns change in the same step, the part has been opened anew; where it moves to another level, it is one of before, and
    // a memtable may have become a part since: its rows that died then are dead.
    const auto anew = std::find_if(change->updated.begin(), change->updated.end(),
                                   [&](const auto& updated) { return updated->info.id == part->info.id; });
    const bool behind = anew != change->updated.end() && (*anew)->info.dead_rows != part->info.dead_rows;
    if (dead == nullptr || (dead->count() == part->info.dead_rows && !behind)) continue;
    SHEAF_ASSIGN_OR_RETURN(auto updated, WithDead(anew == change->updated.end() ? *part : **anew, std::move(dead), sealed));
    if (anew != change->updated.end()) {
      *anew = std::move(updated);
    } else {
      change->updated.push_back(std::move(updated));
    }
  }
  SHEAF_RETURN_NOT_OK(CarryDeaths(*table, sealed, change));
  const VersionSet::Prospect after = versions_.Preview(*change);
  SHEAF_ASSIGN_OR_RETURN(change->deaths, DeathOverlay::After(table->deaths.get(), *table, *after.version->Find(change->table)));
  return Status::OK();
}

}  // namespace sheaf::store
