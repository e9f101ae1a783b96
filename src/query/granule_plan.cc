#include "query/granule_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "query/pruning.h"

namespace sheaf::query {

namespace {

constexpr size_t kKeysMax = 256;      // A longer list is checked by zones and row by row: it would touch every granule anyway.
constexpr int kGranuleBits = 20, kRowBits = 24;  // Leaves 19 bits of a BIGINT for the source.
constexpr char kMemtable[] = "memtable";
constexpr size_t kRunMax = 8;          // Granules: 131,072 rows of a part.
constexpr size_t kRunsOfAThread = 4;   // At least, of what is left: threads that began with little come back for more.

/// Position of the column in the stored schema, where its stored values are what SQL compares; else -1.
int StoredColumn(const LogicalColumn* column) {
  return column != nullptr && column->field == Field::kWhole && column->form == Form::kPlain ? column->physical : -1;
}

constexpr int kNoColumn = -1, kNoRowHasIt = -2;

/// Where the attribute has a column of its own in `source`, kNoRowHasIt where it is known not to occur, or kNoColumn.
int AttributeIn(const columns::GranuleSource& source, const LogicalColumn& column) {
  const columns::AttributeKeys* attributes = source.attributes();
  if (attributes == nullptr) return kNoColumn;
  const columns::AttributeKey* key = attributes->Find(column.physical, column.key);
  if (key == nullptr) return attributes->complete ? kNoRowHasIt : kNoColumn;
  return key->position;
}

columns::Zone RowIdZone(int64_t first, int64_t last) {
  columns::Zone zone;
  zone.kind = columns::Zone::Kind::kInt64;
  zone.int_min = first;
  zone.int_max = last;
  return zone;
}

bool MayHoldAny(const columns::Zone& zone, const std::vector<std::string>& keys) {
  return zone.kind == columns::Zone::Kind::kBytes && std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
           return key >= zone.bytes_min && key <= zone.bytes_max;
         });
}

/// Leaves in `granules` (nothing: all) those that are in `found`, too, which is made a set.
void Intersect(std::vector<int> found, std::optional<std::vector<int>>* granules) {
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  if (!*granules) {
    *granules = std::move(found);
    return;
  }
  std::vector<int> both;
  std::set_intersection((*granules)->begin(), (*granules)->end(), found.begin(), found.end(), std::back_inserter(both));
  *granules = std::move(both);
}

void AddName(const std::string& name, std::string* names) {
  if (names->find(name) == std::string::npos) *names += (names->empty() ? "" : ", ") + name;
}

std::string Megabytes(int64_t bytes) { return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6); }

}  // namespace

int64_t RowId(size_t source, int granule, int64_t row) {
  return (static_cast<int64_t>(source) << kGranuleBits | granule) << kRowBits | row;
}

RowPlace PlaceOf(int64_t row_id) {
  return {.source = static_cast<size_t>(row_id >> (kGranuleBits + kRowBits)),
          .granule = static_cast<int>(row_id >> kRowBits & ((int64_t{1} << kGranuleBits) - 1)),
          .row = row_id & ((int64_t{1} << kRowBits) - 1)};
}

GranulePlan::GranulePlan(const ScanBind& bind, const std::vector<PushedFilter>& filters, StatementRecord* record)
    : bind_(bind), filters_(filters), record_(record), live_(bind.table.sources.size()) {
  const std::vector<int>& searched = bind.table.info->layout.token_columns;
  for (const PushedFilter& filter : filters_) {
    keys_.push_back(ImpliedKeys(*filter.filter, kKeysMax));
    const bool is_searched = std::find(searched.begin(), searched.end(), StoredColumn(filter.logical)) != searched.end();
    texts_.push_back(is_searched ? ImpliedTexts(*filter.filter) : std::nullopt);
  }
  FindAttributes();
}

void GranulePlan::FindAttributes() {
  const auto on_attribute = [](const PushedFilter& filter) { return filter.logical != nullptr && IsOwnAttribute(*filter.logical); };
  if (std::none_of(filters_.begin(), filters_.end(), on_attribute)) return;
  for (const auto& view : bind_.table.sources) {
    for (const PushedFilter& filter : filters_) {
      attributes_.push_back(on_attribute(filter) ? AttributeIn(*view.source, *filter.logical) : kNoColumn);
    }
  }
}

int GranulePlan::StoredIn(size_t source, size_t filter) const {
  const LogicalColumn* logical = filters_[filter].logical;
  if (logical == nullptr || !IsOwnAttribute(*logical)) return StoredColumn(logical);
  return std::max(kNoColumn, attributes_[source * filters_.size() + filter]);
}

Result<std::unique_ptr<GranulePlan>> GranulePlan::Make(const ScanBind& bind, const std::vector<PushedFilter>& filters,
                                                       StatementRecord* record) {
  std::unique_ptr<GranulePlan> plan(new GranulePlan(bind, filters, record));
  for (size_t i = 0; i < bind.table.sources.size(); ++i) SHEAF_RETURN_NOT_OK(plan->AddSource(i));
  if (bind.order) plan->OrderByZones();
  if (!plan->token_columns_.empty()) record->counters.indexes.fetch_or(kByTokens, std::memory_order_relaxed);
  if (plan->index_lookups_ > 0) record->counters.indexes.fetch_or(kByFilter, std::memory_order_relaxed);
  return plan;
}

Status GranulePlan::AddSource(size_t source) {
  const auto& granules = *bind_.table.sources[source].source;
  const int64_t all = granules.num_granules();
  live_[source] = all;
  counters_.granules += all;
  record_->counters.granules += all;
  if (granules.name() != kMemtable) {
    ++counters_.parts;
    ++record_->counters.parts;
  }
  if (SourceRuledOut(source)) {
    CountPruned(source, all);
    return Status::OK();
  }
  SHEAF_ASSIGN_OR_RETURN(auto found, LookUp(source));
  if (!found) {
    for (int i = 0; i < all; ++i) work_.push_back({static_cast<uint32_t>(source), i});
    return Status::OK();
  }
  for (int granule : *found) work_.push_back({static_cast<uint32_t>(source), granule});
  CountPruned(source, all - static_cast<int64_t>(found->size()));
  return Status::OK();
}

bool GranulePlan::SourceRuledOut(size_t source) const {
  const auto& granules = *bind_.table.sources[source].source;
  for (size_t i = 0; i < filters_.size(); ++i) {
    const PushedFilter& filter = filters_[i];
    if (filter.logical == nullptr) {
      if (ZoneRulesOut(*filter.filter, filter.type, RowIdZone(RowId(source, 0, 0), RowId(source + 1, 0, 0) - 1), granules.rows())) {
        return true;
      }
      continue;
    }
    if (!attributes_.empty() && attributes_[source * filters_.size() + i] == kNoRowHasIt) {
      const columns::Zone nulls{.null_count = granules.rows()};
      if (ZoneRulesOut(*filter.filter, filter.type, nulls, granules.rows())) return true;
      continue;
    }
    const int column = StoredIn(source, i);
    const columns::Zone* zone = column < 0 ? nullptr : granules.source_zone(column);
    // Bytes are compared at once: statistics of DuckDB take longer to make than it takes to look the value up.
    if (zone != nullptr && keys_[i] && MayHoldAny(*zone, *keys_[i])) continue;
    if (zone != nullptr && ZoneRulesOut(*filter.filter, filter.type, *zone, granules.rows())) return true;
  }
  return false;
}

std::optional<uint64_t> GranulePlan::CheckGranule(const Work& work) const {
  const auto& granules = *bind_.table.sources[work.source].source;
  const int64_t rows = granules.granule_rows(work.granule);
  uint64_t certain = 0;
  for (size_t i = 0; i < filters_.size(); ++i) {
    const PushedFilter& filter = filters_[i];
    const int column = filter.logical == nullptr ? -1 : StoredIn(work.source, i);
    columns::Zone of_row_ids;
    const columns::Zone* zone = column < 0 ? nullptr : granules.granule_zone(work.granule, column);
    if (filter.logical == nullptr) {
      of_row_ids = RowIdZone(RowId(work.source, work.granule, 0), RowId(work.source, work.granule, rows - 1));
      zone = &of_row_ids;
    }
    if (zone == nullptr) continue;
    const Passing passing = PassingOfZone(*filter.filter, filter.type, *zone, rows);
    if (passing == Passing::kNone) return std::nullopt;
    if (passing == Passing::kAll && i < 64) certain |= uint64_t{1} << i;
  }
  return certain;
}

Result<std::optional<std::vector<int>>> GranulePlan::LookUp(size_t source) {
  const auto& granules = *bind_.table.sources[source].source;
  std::optional<std::vector<int>> result;
  for (size_t i = 0; i < filters_.size(); ++i) {
    const int column = StoredIn(source, i);
    if (column >= 0 && texts_[i] && granules.has_tokens(column)) SHEAF_RETURN_NOT_OK(SearchTexts(source, i, &result));
    if (column < 0 || !keys_[i] || !granules.has_filter(column)) continue;
    std::vector<int> found;
    for (const std::string& key : *keys_[i]) {
      Status looked_up = granules.FindGranules(column, key, &found);
      if (!looked_up.ok()) return WithContext(looked_up, fmt::format("looking up {}", filters_[i].logical->name));
      ++index_lookups_;
    }
    AddName(filters_[i].logical->name, &index_columns_);
    Intersect(std::move(found), &result);
  }
  return result;
}

Status GranulePlan::SearchTexts(size_t source, size_t i, std::optional<std::vector<int>>* granules) {
  const auto& searched = *bind_.table.sources[source].source;
  std::vector<int> found;
  for (const columns::TextNeeds& needs : *texts_[i]) {
    const Status looked_up = searched.FindTokens(StoredColumn(filters_[i].logical), needs, &found);
    if (!looked_up.ok()) return WithContext(looked_up, fmt::format("searching {}", filters_[i].logical->name));
  }
  AddName(filters_[i].logical->name, &token_columns_);
  const int64_t before = *granules ? std::ssize(**granules) : searched.num_granules();
  Intersect(std::move(found), granules);
  token_granules_ += before;
  token_granules_pruned_ += before - std::ssize(**granules);
  return Status::OK();
}

void GranulePlan::OrderByZones() {
  const LogicalColumn* logical = bind_.Find(bind_.order->column_idx.GetPrimaryIndex());
  const int column = StoredColumn(logical);
  if (column < 0) return;
  const bool by_max = bind_.order->order_by == duckdb::OrderByStatistics::MAX;
  const bool descending = bind_.order->order_type == duckdb::OrderType::DESCENDING;
  std::vector<std::pair<int64_t, Work>> keyed;
  for (const Work& work : work_) {
    const columns::Zone* zone = bind_.table.sources[work.source].source->granule_zone(work.granule, column);
    if (zone == nullptr || zone->kind != columns::Zone::Kind::kInt64) return;  // No order to be had; any is right.
    const int64_t key = by_max ? zone->int_max : zone->int_min;
    keyed.emplace_back(descending ? ~key : key, work);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < keyed.size(); ++i) work_[i] = keyed[i].second;
  record_->counters.indexes.fetch_or(kByTopN, std::memory_order_relaxed);
}

void GranulePlan::CountPruned(size_t source, int64_t granules) {
  if (granules == 0) return;
  counters_.granules_pruned += granules;
  record_->counters.granules_pruned += granules;
  if (live_[source].fetch_sub(granules) == granules && bind_.table.sources[source].source->name() != kMemtable) {
    ++counters_.parts_pruned;
    ++record_->counters.parts_pruned;
  }
}

GranulePlan::Run GranulePlan::TakeRun() {
  const size_t taken = std::min(next_.load(std::memory_order_relaxed), work_.size());
  const size_t share = (work_.size() - taken) / (threads_ * kRunsOfAThread);
  const size_t granules = bind_.order ? 1 : std::clamp<size_t>(share, 1, kRunMax);  // The best granules of a Top-N rule the others out.
  const size_t first = next_.fetch_add(granules, std::memory_order_relaxed);
  return {.next = first, .end = std::min(first + granules, work_.size())};
}

std::optional<GranulePlan::Granule> GranulePlan::Take(Run* run) {
  while (true) {
    if (run->next >= run->end) *run = TakeRun();
    if (run->next >= run->end) return std::nullopt;
    const size_t order = run->next++;
    const Work& work = work_[order];
    const auto certain = CheckGranule(work);
    if (certain) return Granule{work.source, work.granule, order, *certain};
    CountPruned(work.source, 1);
  }
}

double GranulePlan::progress_percent() const {
  if (work_.empty()) return 100.0;
  return 100.0 * static_cast<double>(std::min(next_.load(), work_.size())) / static_cast<double>(work_.size());
}

void GranulePlan::CountRead(int64_t rows, int64_t bytes) {
  counters_.rows_scanned += rows;
  counters_.bytes_read += bytes;
  record_->counters.rows_scanned += rows;
  record_->counters.bytes_read += bytes;
}

std::vector<std::pair<std::string, std::string>> GranulePlan::Explain() const {
  std::vector<std::pair<std::string, std::string>> lines;
  lines.emplace_back("Parts", fmt::format("pruned {} of {} parts", counters_.parts_pruned.load(), counters_.parts.load()));
  lines.emplace_back("Granules", fmt::format("pruned {} of {} row groups", counters_.granules_pruned.load(), counters_.granules.load()));
  lines.emplace_back("Rows scanned", fmt::format("{}", counters_.rows_scanned.load()));
  lines.emplace_back("Bytes read", Megabytes(counters_.bytes_read.load()));
  lines.emplace_back("Index", index_columns_.empty() ? "none" : fmt::format("{} ({} look-ups)", index_columns_, index_lookups_));
  if (!token_columns_.empty()) {
    lines.emplace_back("Token index",
                       fmt::format("{} (ruled out {} of {} row groups)", token_columns_, token_granules_pruned_, token_granules_));
  }
  return lines;
}

}  // namespace sheaf::query
