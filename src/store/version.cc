#include "store/version.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "core/check.h"
#include "core/memory.h"
#include "core/test_hooks.h"
#include "store/keyed_read.h"
#include "store/names.h"

namespace sheaf::store {
namespace {

int64_t AliveRows(const std::vector<SourceView>& sources) {
  int64_t rows = 0;
  for (const SourceView& view : sources) rows += view.source->rows() - (view.dead == nullptr ? 0 : view.dead->count());
  return rows;
}

std::shared_ptr<const columns::DeadRows> NullIfNone(std::shared_ptr<const columns::DeadRows> dead) {
  return dead == nullptr || dead->count() == 0 ? nullptr : dead;
}

class VersionSnapshot : public Snapshot {
 public:
  VersionSnapshot(std::shared_ptr<const Version> version, Lsn lsn) : version_(std::move(version)), lsn_(lsn) {}

  Lsn lsn() const override { return lsn_; }
  const std::vector<std::shared_ptr<const TableInfo>>& tables() const override { return version_->infos; }

  Result<TableSnapshot> Table(TableId id) const override {
    SHEAF_ASSIGN_OR_RETURN(const auto table, Find(id));
    TableSnapshot snapshot;
    snapshot.info = table->info;
    if (table->is_keyed()) {
      SHEAF_RETURN_NOT_OK(table->deaths->Advance(*table, lsn_));
      for (const auto& part : table->parts) {
        snapshot.sources.push_back({part->source, NullIfNone(table->deaths->DeadAt(*part, lsn_))});
      }
    } else {
      for (const auto& part : table->parts) snapshot.sources.push_back({part->source, nullptr});
    }
    for (const TableMemtable& memtable : table->sealing) Append(memtable, &snapshot);
    Append(table->active, &snapshot);
    snapshot.rows = AliveRows(snapshot.sources);
    return snapshot;
  }

  Result<KeyedRow> Get(TableId id, std::string_view key) const override {
    SHEAF_ASSIGN_OR_RETURN(const auto table, FindKeyed(id));
    return GetRow(*table, key, lsn_);
  }
  Result<std::vector<KeyedRow>> MultiGet(TableId id, const columns::KeyColumn& keys) const override {
    SHEAF_ASSIGN_OR_RETURN(const auto table, FindKeyed(id));
    return GetRows(*table, keys, lsn_);
  }
  Result<std::unique_ptr<RowCursor>> Scan(TableId id, const KeyRange& range, const ScanOptions& options) const override {
    SHEAF_ASSIGN_OR_RETURN(auto table, FindKeyed(id));
    return ScanRows(std::move(table), range, options, lsn_);
  }

 private:
  Result<std::shared_ptr<const TableVersion>> Find(TableId id) const {
    for (const auto& table : version_->tables) {
      if (table->info->id == id) return table;
    }
    std::vector<std::string> names;
    for (const auto& info : version_->infos) names.push_back(info->schema_name + "." + info->name);
    return MakeError(ErrorKind::kNotFound, "there is no table with id {}; there are {}", id, fmt::join(names, ", "));
  }
  Result<std::shared_ptr<const TableVersion>> FindKeyed(TableId id) const {
    SHEAF_ASSIGN_OR_RETURN(auto table, Find(id));
    if (table->is_keyed()) return table;
    return MakeError(ErrorKind::kInvalid, "{}.{} has no primary key to find rows by", table->info->schema_name, table->info->name);
  }

  void Append(const TableMemtable& memtable, TableSnapshot* snapshot) const {
    if (memtable.keyed != nullptr) {
      auto view = memtable.keyed->ViewAt(lsn_);
      if (view.source != nullptr) snapshot->sources.push_back({std::move(view.source), NullIfNone(std::move(view.dead))});
    } else if (auto source = memtable.append->Source(lsn_); source != nullptr) {
      snapshot->sources.push_back({std::move(source), nullptr});
    }
  }

  const std::shared_ptr<const Version> version_;
  const Lsn lsn_;
};

}  // namespace

const TableVersion* Version::Find(TableId id) const {
  for (const auto& table : tables) {
    if (table->info->id == id) return table.get();
  }
  return nullptr;
}

bool Version::IsKeyed(TableId id) const {
  const TableVersion* table = Find(id);
  return table != nullptr && table->is_keyed();
}

Result<std::shared_ptr<const TableInfo>> Version::FindByName(const std::string& schema_name, const std::string& name) const {
  for (const auto& info : infos) {
    if (SameName(info->schema_name, schema_name) && SameName(info->name, name)) return info;
  }
  std::vector<std::string> known;
  for (const auto& info : infos) known.push_back(info->schema_name + "." + info->name);
  const std::string wanted = schema_name + "." + name;
  const std::string nearest = NearestName(known, wanted);
  if (nearest.empty()) return MakeError(ErrorKind::kNotFound, "there is no table {}", wanted);
  return MakeError(ErrorKind::kNotFound, "there is no table {}; did you mean {}?", wanted, nearest);
}

Status CheckConditions(const TableVersion& table, RowOp op, const WriteCondition& condition, const columns::KeyColumn& keys, Lsn at,
                       InsertedKeys* inserted) {
  if (op != RowOp::kInsert && !condition) return Status::OK();
  const TableInfo& info = *table.info;
  for (int64_t i = 0; i < keys.size(); ++i) {
    SHEAF_ASSIGN_OR_RETURN(const Lsn there, VersionOf(table, keys[i], at));
    if (condition.expected && there != *condition.expected) {
      return MakeError(ErrorKind::kConflict, "the row {} of {}.{} is of version {}, not {}: read it again", info.keys->ToText(keys[i]),
                       info.schema_name, info.name, there, *condition.expected);
    }
    if (condition.unchanged_since && (there == Lsn() || there > *condition.unchanged_since)) {
      return MakeError(ErrorKind::kConflict, "the row {} of {}.{} has changed since it was read: read it again", info.keys->ToText(keys[i]),
                       info.schema_name, info.name);
    }
    if (op != RowOp::kInsert) continue;
    if (there != Lsn() || !inserted->insert(keys[i]).second) {
      return MakeError(ErrorKind::kAlreadyExists, "{}.{} has a row {} already", info.schema_name, info.name, info.keys->ToText(keys[i]));
    }
  }
  return Status::OK();
}

namespace {

bool Before(const TableInfo& a, const TableInfo& b) { return std::tie(a.schema_name, a.name) < std::tie(b.schema_name, b.name); }

/// Sorts the tables and lists their definitions.
void Settle(Version* version) {
  std::sort(version->tables.begin(), version->tables.end(),
            [](const auto& a, const auto& b) { return Before(*a->info, *b->info); });
  version->infos.clear();
  for (const auto& table : version->tables) version->infos.push_back(table->info);
}

void CountLevel0(TableVersion* table) {
  table->level0 = static_cast<int>(
      std::count_if(table->parts.begin(), table->parts.end(), [](const auto& part) { return part->info.level == 0; }));
}

void ApplyToTable(const VersionChange& change, TableVersion* table) {
  std::erase_if(table->parts, [&](const auto& part) {
    return std::find(change.removed.begin(), change.removed.end(), part->info.id) != change.removed.end();
  });
  for (const auto& updated : change.updated) {
    for (auto& part : table->parts) {
      if (part->info.id == updated->info.id) part = updated;
    }
  }
  table->parts.insert(table->parts.end(), change.added.begin(), change.added.end());
  if (change.deaths != nullptr) table->deaths = change.deaths;
  std::stable_sort(table->parts.begin(), table->parts.end(),
                   [](const auto& a, const auto& b) { return a->info.min_lsn < b->info.min_lsn; });
  CountLevel0(table);
  if (change.sealed) {
    SHEAF_CHECK(std::erase(table->sealing, change.sealed) == 1);
    table->sealed = std::max(table->sealed, change.sealed.max_lsn());
  }
  if (change.info != nullptr) table->info = change.info;
  if (change.active) {
    SHEAF_CHECK(table->sealing.empty() && table->active.min_lsn() == Lsn());
    table->codec = change.codec;
    table->active = change.active;
  }
}

}  // namespace

std::shared_ptr<const Version> Apply(const Version& version, const VersionChange& change) {
  auto next = std::make_shared<Version>(version);
  if (change.dropped) {
    std::erase_if(next->tables, [&](const auto& table) { return table->info->id == change.table; });
  } else if (change.table != TableId()) {
    for (auto& found : next->tables) {
      if (found->info->id != change.table) continue;
      auto table = std::make_shared<TableVersion>(*found);
      ApplyToTable(change, table.get());
      found = std::move(table);
    }
  }
  if (change.created != nullptr) next->tables.push_back(change.created);
  if (!change.dropped && change.created == nullptr && change.info == nullptr) return next;
  ++next->catalog_version;
  Settle(next.get());
  return next;
}

VersionSet::VersionSet(int64_t memtable_bytes, int64_t ingest_bytes_max)
    : memtable_bytes_(memtable_bytes), ingest_bytes_max_(ingest_bytes_max), version_(std::make_shared<Version>()) {}

Result<TableMemtable> VersionSet::NewMemtable(const TableInfo& info) {
  const PartId id = std::exchange(next_part_, next_part_.Next());
  TableMemtable memtable;
  memtable.charged = std::make_shared<std::atomic<int64_t>>(0);
  if (info.kind == TableKind::kKeyed) {
    memtable::KeyedMemtable::Options options;
    options.schema = info.schema;
    options.keys = info.keys;
    options.rows = info.rows;
    options.time_column = info.layout.time_column;
    options.filter_columns = info.layout.filter_columns;
    options.ordinal = id.value;
    options.pool = &NamedPool("memtable");
    SHEAF_ASSIGN_OR_RETURN(memtable.keyed, memtable::KeyedMemtable::Make(std::move(options)));
  } else {
    memtable.append = std::make_shared<memtable::Memtable>(info.schema, info.layout.time_column, info.layout.filter_columns, id.value);
  }
  return memtable;
}

Result<TableMemtable> VersionSet::MakeMemtable(const TableInfo& info) {
  MutexLock lock(&mutex_);
  return NewMemtable(info);
}

Result<std::shared_ptr<TableVersion>> VersionSet::MakeTable(Table given) {
  auto table = std::make_shared<TableVersion>();
  table->info = std::move(given.info);
  SHEAF_ASSIGN_OR_RETURN(table->codec, BatchCodec::Make(table->info->schema));
  table->parts = std::move(given.parts);
  std::sort(table->parts.begin(), table->parts.end(), [](const auto& a, const auto& b) { return a->info.min_lsn < b->info.min_lsn; });
  table->sealed = given.sealed;
  CountLevel0(table.get());
  SHEAF_ASSIGN_OR_RETURN(table->active, MakeMemtable(*table->info));
  if (table->is_keyed()) table->deaths = std::make_shared<DeathOverlay>();
  return table;
}

Status VersionSet::Start(std::vector<Table> tables, Lsn visible, PartId next_part) {
  {
    MutexLock lock(&mutex_);
    visible_ = visible;
    next_part_ = next_part;
  }
  auto version = std::make_shared<Version>();
  for (Table& given : tables) {
    SHEAF_ASSIGN_OR_RETURN(auto table, MakeTable(std::move(given)));
    version->tables.push_back(std::move(table));
  }
  Settle(version.get());
  MutexLock lock(&mutex_);
  version_ = std::move(version);
  return Status::OK();
}

std::shared_ptr<const Snapshot> VersionSet::GetSnapshot() const {
  std::shared_ptr<const Version> version;
  Lsn lsn;
  {
    MutexLock lock(&mutex_);
    version = version_;
    lsn = visible_;
  }
  if (Mutant("stale_snapshot_read") && lsn > Lsn(1)) lsn = Lsn(lsn.value - 1);
  return std::make_shared<VersionSnapshot>(std::move(version), lsn);
}

std::shared_ptr<const Version> VersionSet::current() const {
  MutexLock lock(&mutex_);
  return version_;
}

std::pair<std::shared_ptr<const Version>, Lsn> VersionSet::Now() const {
  MutexLock lock(&mutex_);
  return {version_, visible_};
}

Lsn VersionSet::visible() const {
  MutexLock lock(&mutex_);
  return visible_;
}

Lsn VersionSet::WaitForVisible(Lsn lsn, std::chrono::nanoseconds timeout) const {
  const auto until = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(&mutex_);
  ++waiting_;
  while (visible_ <= lsn) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) break;
    advanced_.WaitFor(&mutex_, left);
  }
  --waiting_;
  return visible_;
}

VersionSet::Published VersionSet::Publish(Lsn lsn, const std::vector<NewRows>& rows, int64_t now_ns) {
  MutexLock publishing(&publish_mutex_);
  std::shared_ptr<const Version> version;
  Lsn before;
  {
    MutexLock lock(&mutex_);
    version = version_;
    before = visible_;
  }
  SHEAF_CHECK(lsn > before);
  Published published;
  InsertedKeys inserted;
  for (const NewRows& added : rows) {
    const TableVersion* table = version->Find(added.table);
    SHEAF_CHECK(table != nullptr);
    if (table->is_keyed() && published.outcome.ok()) {
      published.outcome = CheckConditions(*table, added.op, added.condition, added.keys, before, &inserted);
    }
  }
  for (const NewRows& added : rows) {
    if (!published.outcome.ok()) break;
    const TableMemtable& active = version->Find(added.table)->active;
    active.charged->fetch_add(added.bytes, std::memory_order_relaxed);
    if (active.append != nullptr) {
      active.append->Add(lsn, added.chunk);
      continue;
    }
    if (added.op == RowOp::kDelete) {
      active.keyed->AddDeletes(lsn, added.keys);
    } else if (added.batch != nullptr) {
      active.keyed->AddBatch(lsn, added.batch, added.keys, added.bytes);
    } else {
      active.keyed->AddRow(lsn, added.row, added.keys[0]);
    }
  }
  for (const NewRows& added : rows) {  // Only now: an entry may have several batches for one table.
    const TableMemtable& active = version->Find(added.table)->active;
    if (active.keyed != nullptr && published.outcome.ok()) active.keyed->Publish(lsn);
  }
  MutexLock lock(&mutex_);
  visible_ = lsn;
  if (waiting_ > 0) advanced_.NotifyAll();
  if (!published.outcome.ok()) return published;
  for (const NewRows& added : rows) {
    oldest_ns_.try_emplace(added.table, now_ns);
    unweighed_bytes_ += added.bytes;
  }
  if (unweighed_bytes_ >= memtable_bytes_ / 1024) {  // Single rows need not all add up what the tables hold.
    unweighed_bytes_ = 0;
    published.full = RotateFull();
  }
  return published;
}

/// Closes what is full by itself; and the largest, when all together hold half of the memory that they
/// may, so that appends are not refused while nothing is being sealed.
bool VersionSet::RotateFull() {
  bool rotated = false;
  int64_t total = 0, largest_bytes = 0;
  size_t largest = 0;
  bool sealing = false;
  for (size_t i = 0; i < version_->tables.size(); ++i) {
    if (version_->tables[i]->active.bytes() >= memtable_bytes_) {
      RotateTable(i);
      rotated = true;
    }
    const TableVersion& table = *version_->tables[i];
    sealing = sealing || !table.sealing.empty();
    const int64_t bytes = table.active.bytes();
    total += bytes;
    if (bytes <= largest_bytes) continue;
    largest_bytes = bytes;
    largest = i;
  }
  if (!sealing && total > ingest_bytes_max_ / 2) {
    RotateTable(largest);
    rotated = true;
  }
  return rotated;
}

void VersionSet::RotateTable(size_t index) {
  auto version = std::make_shared<Version>(*version_);
  auto table = std::make_shared<TableVersion>(*version->tables[index]);
  auto fresh = NewMemtable(*table->info);
  SHEAF_CHECK(fresh.ok());  // The table had one like it before.
  table->sealing.push_back(std::exchange(table->active, *std::move(fresh)));
  oldest_ns_.erase(table->info->id);
  version->tables[index] = std::move(table);
  version_ = std::move(version);
}

bool VersionSet::Rotate(int64_t arrived_ns) {
  MutexLock publishing(&publish_mutex_);
  MutexLock lock(&mutex_);
  bool sealing = false;
  for (size_t i = 0; i < version_->tables.size(); ++i) {
    const auto oldest = oldest_ns_.find(version_->tables[i]->info->id);
    if (oldest != oldest_ns_.end() && oldest->second <= arrived_ns) RotateTable(i);
    sealing = sealing || !version_->tables[i]->sealing.empty();
  }
  return sealing;
}

std::vector<TableMemtable> VersionSet::Rotate(TableId id) {
  MutexLock publishing(&publish_mutex_);
  MutexLock lock(&mutex_);
  for (size_t i = 0; i < version_->tables.size(); ++i) {
    if (version_->tables[i]->info->id != id) continue;
    if (version_->tables[i]->active.min_lsn() != Lsn()) RotateTable(i);
    return version_->tables[i]->sealing;
  }
  return {};
}

VersionSet::Cut VersionSet::CutAll() {
  MutexLock publishing(&publish_mutex_);
  MutexLock lock(&mutex_);
  Cut cut;
  cut.lsn = visible_;
  for (size_t i = 0; i < version_->tables.size(); ++i) {
    if (version_->tables[i]->active.min_lsn() != Lsn()) RotateTable(i);
    cut.memtables.insert(cut.memtables.end(), version_->tables[i]->sealing.begin(), version_->tables[i]->sealing.end());
  }
  return cut;
}

std::pair<TableId, TableMemtable> VersionSet::NextToSeal() const {
  MutexLock lock(&mutex_);
  std::pair<TableId, TableMemtable> next;
  for (const auto& table : version_->tables) {
    if (table->sealing.empty()) continue;
    const TableMemtable& memtable = table->sealing.front();
    if (!next.second || memtable.min_lsn() < next.second.min_lsn()) next = {table->info->id, memtable};
  }
  return next;
}

std::vector<TableMemtable> VersionSet::Sealing() const {
  MutexLock lock(&mutex_);
  std::vector<TableMemtable> sealing;
  for (const auto& table : version_->tables) sealing.insert(sealing.end(), table->sealing.begin(), table->sealing.end());
  return sealing;
}

VersionSet::Prospect VersionSet::Preview(const VersionChange& change) const {
  MutexLock lock(&mutex_);
  Prospect prospect;
  prospect.version = Apply(*version_, change);
  prospect.next_part = next_part_;
  prospect.covered = visible_;
  const auto uncovered = [&](const TableMemtable& memtable) {
    const Lsn first = memtable.min_lsn();
    if (first != Lsn()) prospect.covered = std::min(prospect.covered, Lsn(first.value - 1));
  };
  for (const auto& table : prospect.version->tables) {
    for (const TableMemtable& memtable : table->sealing) uncovered(memtable);
    uncovered(table->active);
  }
  return prospect;
}

void VersionSet::Install(const VersionChange& change) {
  MutexLock lock(&mutex_);
  version_ = Apply(*version_, change);
  if (change.dropped) oldest_ns_.erase(change.table);
}

PartId VersionSet::TakePartId() {
  MutexLock lock(&mutex_);
  return std::exchange(next_part_, next_part_.Next());
}

}  // namespace sheaf::store
