#include "store/version.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "core/check.h"

namespace sheaf::store {
namespace {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

int64_t AliveRows(const std::vector<SourceView>& sources) {
  int64_t rows = 0;
  for (const SourceView& view : sources) rows += view.source->rows();
  return rows;
}

class VersionSnapshot : public Snapshot {
 public:
  VersionSnapshot(std::shared_ptr<const Version> version, Lsn lsn) : version_(std::move(version)), lsn_(lsn) {}

  Lsn lsn() const override { return lsn_; }
  const std::vector<std::shared_ptr<const TableInfo>>& tables() const override { return version_->infos; }

  Result<TableSnapshot> Table(TableId id) const override {
    const TableVersion* table = version_->Find(id);
    if (table == nullptr) {
      std::vector<std::string> names;
      for (const auto& info : version_->infos) names.push_back(info->schema_name + "." + info->name);
      return MakeError(ErrorKind::kNotFound, "there is no table with id {}; there are {}", id, fmt::join(names, ", "));
    }
    TableSnapshot snapshot;
    snapshot.info = table->info;
    for (const auto& part : table->parts) snapshot.sources.push_back({part->source, nullptr});
    for (const auto& memtable : table->sealing) Append(*memtable, &snapshot);
    Append(*table->active, &snapshot);
    snapshot.rows = AliveRows(snapshot.sources);
    return snapshot;
  }

 private:
  void Append(const memtable::Memtable& memtable, TableSnapshot* snapshot) const {
    if (auto source = memtable.Source(lsn_); source != nullptr) snapshot->sources.push_back({std::move(source), nullptr});
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

Result<std::shared_ptr<const TableInfo>> Version::FindByName(const std::string& schema_name, const std::string& name) const {
  const std::string wanted = schema_name + "." + name;
  std::string nearest;
  size_t nearest_distance = SIZE_MAX;
  for (const auto& info : infos) {
    if (info->schema_name == schema_name && info->name == name) return info;
    const std::string known = info->schema_name + "." + info->name;
    const size_t distance = EditDistance(wanted, known);
    if (distance >= nearest_distance) continue;
    nearest_distance = distance;
    nearest = known;
  }
  if (nearest.empty()) return MakeError(ErrorKind::kNotFound, "there is no table {}", wanted);
  return MakeError(ErrorKind::kNotFound, "there is no table {}; did you mean {}?", wanted, nearest);
}

std::shared_ptr<const Version> Apply(const Version& version, const VersionChange& change) {
  auto next = std::make_shared<Version>(version);
  for (size_t i = 0; i < next->tables.size(); ++i) {
    if (next->tables[i]->info->id != change.table) continue;
    auto table = std::make_shared<TableVersion>(*next->tables[i]);
    std::erase_if(table->parts, [&](const auto& part) {
      return std::find(change.removed.begin(), change.removed.end(), part->info.id) != change.removed.end();
    });
    table->parts.insert(table->parts.end(), change.added.begin(), change.added.end());
    std::stable_sort(table->parts.begin(), table->parts.end(),
                     [](const auto& a, const auto& b) { return a->info.min_lsn < b->info.min_lsn; });
    if (change.sealed != nullptr) {
      SHEAF_CHECK(std::erase(table->sealing, change.sealed) == 1);
      table->sealed = std::max(table->sealed, change.sealed->max_lsn());
    }
    if (change.info != nullptr) {
      table->info = change.info;
      next->infos[i] = change.info;
      ++next->catalog_version;
    }
    next->tables[i] = std::move(table);
  }
  return next;
}

VersionSet::VersionSet(int64_t memtable_bytes, int64_t ingest_bytes_max)
    : memtable_bytes_(memtable_bytes), ingest_bytes_max_(ingest_bytes_max), version_(std::make_shared<Version>()) {}

std::shared_ptr<memtable::Memtable> VersionSet::NewMemtable(const TableInfo& info) {
  const PartId id = std::exchange(next_part_, next_part_.Next());
  return std::make_shared<memtable::Memtable>(info.schema, info.layout.time_column, info.layout.filter_columns, id.value);
}

Status VersionSet::Start(std::vector<Table> tables, Lsn visible, PartId next_part) {
  std::sort(tables.begin(), tables.end(), [](const Table& a, const Table& b) {
    return std::tie(a.info->schema_name, a.info->name) < std::tie(b.info->schema_name, b.info->name);
  });
  MutexLock lock(&mutex_);
  auto version = std::make_shared<Version>();
  visible_ = visible;
  next_part_ = next_part;
  for (Table& given : tables) {
    auto table = std::make_shared<TableVersion>();
    table->info = given.info;
    SHEAF_ASSIGN_OR_RETURN(table->codec, BatchCodec::Make(given.info->schema));
    table->parts = std::move(given.parts);
    std::sort(table->parts.begin(), table->parts.end(),
              [](const auto& a, const auto& b) { return a->info.min_lsn < b->info.min_lsn; });
    table->active = NewMemtable(*given.info);
    table->sealed = given.sealed;
    version->infos.push_back(given.info);
    version->tables.push_back(std::move(table));
  }
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
  return std::make_shared<VersionSnapshot>(std::move(version), lsn);
}

std::shared_ptr<const Version> VersionSet::current() const {
  MutexLock lock(&mutex_);
  return version_;
}

Lsn VersionSet::visible() const {
  MutexLock lock(&mutex_);
  return visible_;
}

bool VersionSet::Publish(Lsn lsn, const std::vector<NewRows>& rows, int64_t now_ns) {
  MutexLock lock(&mutex_);
  SHEAF_CHECK(lsn > visible_);
  for (const NewRows& added : rows) {
    const TableVersion* table = version_->Find(added.table);
    SHEAF_CHECK(table != nullptr);
    table->active->Add(lsn, added.chunk);
    oldest_ns_.try_emplace(added.table, now_ns);
  }
  visible_ = lsn;
  return RotateFull();
}

/// Closes what is full by itself; and the largest, when all together hold half of the memory that they
/// may, so that appends are not refused while nothing is being sealed.
bool VersionSet::RotateFull() {
  bool rotated = false;
  int64_t total = 0, largest_bytes = 0;
  size_t largest = 0;
  bool sealing = false;
  for (size_t i = 0; i < version_->tables.size(); ++i) {
    if (version_->tables[i]->active->bytes() >= memtable_bytes_) {
      RotateTable(i);
      rotated = true;
    }
    const TableVersion& table = *version_->tables[i];
    sealing = sealing || !table.sealing.empty();
    const int64_t bytes = table.active->bytes();
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
  table->sealing.push_back(std::exchange(table->active, NewMemtable(*table->info)));
  oldest_ns_.erase(table->info->id);
  version->tables[index] = std::move(table);
  version_ = std::move(version);
}

bool VersionSet::Rotate(int64_t arrived_ns) {
  MutexLock lock(&mutex_);
  bool sealing = false;
  for (size_t i = 0; i < version_->tables.size(); ++i) {
    const auto oldest = oldest_ns_.find(version_->tables[i]->info->id);
    if (oldest != oldest_ns_.end() && oldest->second <= arrived_ns) RotateTable(i);
    sealing = sealing || !version_->tables[i]->sealing.empty();
  }
  return sealing;
}

std::pair<TableId, std::shared_ptr<memtable::Memtable>> VersionSet::NextToSeal() const {
  MutexLock lock(&mutex_);
  std::pair<TableId, std::shared_ptr<memtable::Memtable>> next;
  for (const auto& table : version_->tables) {
    if (table->sealing.empty()) continue;
    const auto& memtable = table->sealing.front();
    if (next.second == nullptr || memtable->min_lsn() < next.second->min_lsn()) next = {table->info->id, memtable};
  }
  return next;
}

std::vector<std::shared_ptr<memtable::Memtable>> VersionSet::Sealing() const {
  MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<memtable::Memtable>> sealing;
  for (const auto& table : version_->tables) sealing.insert(sealing.end(), table->sealing.begin(), table->sealing.end());
  return sealing;
}

VersionSet::Prospect VersionSet::Preview(const VersionChange& change) const {
  MutexLock lock(&mutex_);
  Prospect prospect;
  prospect.version = Apply(*version_, change);
  prospect.next_part = next_part_;
  prospect.covered = visible_;
  const auto uncovered = [&](const memtable::Memtable& memtable) {
    const Lsn first = memtable.min_lsn();
    if (first != Lsn()) prospect.covered = std::min(prospect.covered, Lsn(first.value - 1));
  };
  for (const auto& table : prospect.version->tables) {
    for (const auto& memtable : table->sealing) uncovered(*memtable);
    uncovered(*table->active);
  }
  return prospect;
}

void VersionSet::Install(const VersionChange& change) {
  MutexLock lock(&mutex_);
  version_ = Apply(*version_, change);
}

PartId VersionSet::TakePartId() {
  MutexLock lock(&mutex_);
  return std::exchange(next_part_, next_part_.Next());
}

}  // namespace sheaf::store
