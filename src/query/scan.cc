#include "query/scan.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>

#include "columns/dead_rows.h"
#include "columns/few_rows.h"
#include "columns/zones.h"
#include "query/alive_rows.h"
#include "query/column_reader.h"
#include "query/distinct_estimate.h"
#include "query/error_map.h"
#include "query/granule_plan.h"
#include "query/key_lookup.h"
#include "query/precedence.h"
#include "query/pruning.h"
#include "query/statement_state.h"
#include "query/store_transaction.h"
#include "query/text_search.h"
#include "query/wanted_ids.h"

namespace sheaf::query {

namespace {

using duckdb::ClientContext;
using duckdb::column_t;
using duckdb::DataChunk;
using duckdb::idx_t;
using duckdb::LogicalType;

/// One column that the scan delivers or filters by.
struct ScanColumn {
  const LogicalColumn* logical = nullptr;  // Null: the row id.
  LogicalType type;
  bool filtered = false;  // Read and converted before the others, to decide which rows pass.
  bool delivered = true;
  int slot = -1;  // Position of its physical column in the read that brings it.
};

/// The type of column `id` of a scan, which is `column`. The table has made those of its own columns already; maps take long to
/// make.
LogicalType ColumnType(const ScanBind& bind, column_t id, const LogicalColumn* column) {
  if (column == nullptr) return LogicalType(LogicalType::BIGINT);
  if (bind.entry && id < bind.logical->columns.size()) return bind.entry->GetColumns().GetColumn(duckdb::LogicalIndex(id)).Type();
  return LogicalColumnType(*column, *bind.table.info->schema).ValueOrDie();
}

/// One column of a read.
struct ReadColumn {
  int physical = -1;  // In the table's schema…
  std::string key;    // …and the attribute in it that is wanted alone; empty: all of it.

  bool operator==(const ReadColumn&) const = default;
};

/// Adds what `column` is made of to a read's list, once, and returns its position.
int SlotOf(const LogicalColumn& column, std::vector<ReadColumn>* columns) {
  const ReadColumn wanted{.physical = column.physical, .key = IsOwnAttribute(column) ? column.key : std::string()};
  const auto found = std::find(columns->begin(), columns->end(), wanted);
  if (found != columns->end()) return static_cast<int>(found - columns->begin());
  columns->push_back(wanted);
  return static_cast<int>(columns->size()) - 1;
}

/// Where `source` has them: an attribute that has no column of its own there is read with its list.
std::vector<int> PositionsIn(const columns::GranuleSource& source, const std::vector<ReadColumn>& columns) {
  std::vector<int> positions;
  for (const ReadColumn& column : columns) {
    const auto* attributes = column.key.empty() ? nullptr : source.attributes();
    const auto* own = attributes == nullptr ? nullptr : attributes->Find(column.physical, column.key);
    positions.push_back(own != nullptr && own->position >= 0 ? own->position : column.physical);
  }
  return positions;
}

/// Shared by the threads of one scan. Immutable but for the plan, which is thread-safe.
class ScanState : public duckdb::GlobalTableFunctionState {
 public:
  ScanState(ClientContext& context, duckdb::TableFunctionInitInput& input)
      : bind_(input.bind_data->Cast<ScanBind>()),
        record_(SessionState::Of(context).record()),
        read_ahead_(SessionState::Of(context).read_ahead_granules()) {
    for (idx_t i : input.projection_ids) projection_.push_back(i);
    std::vector<idx_t> all(input.column_ids.size());
    std::iota(all.begin(), all.end(), idx_t{0});
    if (projection_ == all) projection_.clear();  // No column is only filtered by: no chunk beside the answer's is needed.
    for (column_t id : input.column_ids) {
      ScanColumn column{.logical = bind_.Find(id)};
      column.type = ColumnType(bind_, id, column.logical);
      columns_.push_back(std::move(column));
    }
    if (input.filters) AddFilters(*input.filters);
    LookUpKeys(context);
    for (size_t i = 0; i < columns_.size(); ++i) {
      ScanColumn& column = columns_[i];
      column.delivered = projection_.empty() || std::find(projection_.begin(), projection_.end(), i) != projection_.end();
      if (column.logical != nullptr) column.slot = SlotOf(*column.logical, column.filtered ? &early_ : &late_);
    }
    auto plan = GranulePlan::Make(*scanned_, filters_, record_.get());
    if (!plan.ok()) Throw(plan.status());
    plan_ = std::move(plan).ValueUnsafe();
    plan_->ShareAmong(duckdb::TaskScheduler::GetScheduler(context).NumberOfThreads());
    wanted_ids_ = FindWantedIds(filters_, *plan_, *bind_.table.info->schema);
    CountAccess();
  }

  idx_t MaxThreads() const override { return std::max<idx_t>(1, plan_->size()); }

  /// Throws, and keeps the error's kind for the statement.
  [[noreturn]] void Throw(const Status& error) const {
    record_->SetError(error);
    throw duckdb::IOException("%s", error.message());
  }

  std::shared_ptr<arrow::RecordBatch> Read(const GranulePlan::Granule& granule, const std::vector<ReadColumn>& columns) const {
    const auto& source = *scanned_->table.sources[granule.source].source;
    auto batch = source.Read(granule.granule, PositionsIn(source, columns));
    if (!batch.ok()) Throw(batch.status());
    return std::move(batch).ValueUnsafe();
  }

  /// Read() of columns of which only `rows` will be looked at; null where the source can only read whole granules.
  std::shared_ptr<arrow::RecordBatch> ReadRows(const GranulePlan::Granule& granule, const std::vector<ReadColumn>& columns,
                                               std::span<const int64_t> rows) const {
    const auto& granules = *scanned_->table.sources[granule.source].source;
    const auto* source = dynamic_cast<const columns::FewRowsSource*>(&granules);
    if (source == nullptr) return nullptr;
    auto batch = source->ReadRows(granule.granule, PositionsIn(granules, columns), rows);
    if (!batch.ok()) Throw(batch.status());
    return std::move(batch).ValueUnsafe();
  }

  void CountBytes(const GranulePlan::Granule& granule, const std::vector<ReadColumn>& columns) const {
    const auto& source = *scanned_->table.sources[granule.source].source;
    plan_->CountRead(0, source.granule_bytes(granule.granule, PositionsIn(source, columns)));
  }

  /// Has the granules fetched that will be read after `granule`, each once.
  void ReadAhead(const GranulePlan::Granule& granule) const {
    const size_t ahead = static_cast<size_t>(read_ahead_);
    for (size_t order = granule.order == 0 ? 1 : granule.order + ahead; ahead > 0 && order <= granule.order + ahead; ++order) {
      const auto next = plan_->At(order);
      if (!next) continue;
      const auto& source = *scanned_->table.sources[next->source].source;
      source.ReadAhead(next->granule, PositionsIn(source, early_.empty() ? late_ : early_));
    }
  }

  const ScanBind& bind() const { return *scanned_; }
  bool finds_few_rows() const { return found_ != nullptr || bind_.few_rows; }
  /// The number of a row of a granule.
  int64_t RowNumber(const GranulePlan::Granule& granule, int64_t row) const {
    return found_numbers_.empty() ? RowId(granule.source, granule.granule, row)
                                  : found_numbers_[static_cast<size_t>(granule.granule)];
  }
  const char* access_name() const { return AccessName(bind_, filters_, scanned_ != &bind_); }
  const std::vector<ScanColumn>& columns() const { return columns_; }
  const std::vector<PushedFilter>& filters() const { return filters_; }
  const std::vector<idx_t>& projection() const { return projection_; }
  const std::vector<ReadColumn>& early() const { return early_; }
  /// Ids of which a filter makes rows hold one, where there is such a filter.
  const std::optional<WantedIds>& wanted_ids() const { return wanted_ids_; }
  const std::vector<ReadColumn>& late() const { return late_; }
  GranulePlan& plan() const { return *plan_; }

 private:
  /// Takes the rows that the filters name by key in place of the table's sources. Row numbers of such rows mean something only to
  /// UPDATE, DELETE and MERGE: other statements may compare them with those of a scan.
  void LookUpKeys(ClientContext& context) {
    const auto is_number = [](const auto& column) { return column.logical == nullptr; };
    const bool numbered = std::any_of(columns_.begin(), columns_.end(), is_number);
    const bool filtered = std::any_of(filters_.begin(), filters_.end(), is_number);
    if (filtered || (numbered && !SessionState::Of(context).writes())) return;
    auto found = FindByKey(context, bind_, filters_);
    if (!found.ok()) Throw(found.status());
    if (!*found) return;
    auto copy = duckdb::unique_ptr_cast<duckdb::FunctionData, ScanBind>(bind_.Copy());
    copy->table.sources.assign(1, store::SourceView{.source = (*found)->source, .dead = nullptr});
    copy->order = nullptr;
    found_ = std::move(copy);
    scanned_ = found_.get();
    if (!numbered) return;
    auto& transaction = StoreTransaction::Get(context, bind_.entry->catalog);
    for (auto& row : (*found)->rows) found_numbers_.push_back(transaction.KeepFoundRow(std::move(row)));
  }

  void CountAccess() {
    StatementCounters& counters = record_->counters;
    counters.scans.fetch_add(1, std::memory_order_relaxed);
    if (found_) counters.indexes.fetch_or(kByKey, std::memory_order_relaxed);
    if (finds_few_rows()) counters.look_ups.fetch_add(1, std::memory_order_relaxed);
  }

  void AddFilters(duckdb::TableFilterSet& filters) {
    for (auto& [position, filter] : filters.filters) {
      ScanColumn& column = columns_[position];
      column.filtered = true;
      filters_.push_back({.column = position, .filter = filter.get(), .logical = column.logical, .type = column.type});
    }
  }

  const ScanBind& bind_;
  duckdb::unique_ptr<ScanBind> found_;  // Null: the table's sources are scanned.
  const ScanBind* scanned_ = &bind_;
  std::vector<int64_t> found_numbers_;
  const std::shared_ptr<StatementRecord> record_;
  const int read_ahead_;  // Granules.
  std::vector<ScanColumn> columns_;
  std::optional<WantedIds> wanted_ids_;
  std::vector<idx_t> projection_;
  std::vector<PushedFilter> filters_;
  std::vector<ReadColumn> early_, late_;  // Read before and after the filters.
  std::unique_ptr<GranulePlan> plan_;
};

/// From this share of a chunk's rows on, skipping the others costs less than copying those that are wanted together.
constexpr double kSliceShare = 0.75;
constexpr double kListShare = 0.25;  // Up to this share of a chunk's rows, converting a list costs less than converting all.
constexpr size_t kFewRowsMax = 64;   // Of a granule; more are not worth asking for one by one.

/// One thread's place in the scan.
class ScanCursor : public duckdb::LocalTableFunctionState {
 public:
  ScanCursor(ClientContext& context, const ScanState& scan) : scan_(scan) {
    duckdb::vector<LogicalType> types;
    for (const ScanColumn& column : scan.columns()) {
      types.push_back(column.type);
      const auto& schema = *scan.bind().table.info->schema;
      readers_.push_back(column.logical == nullptr ? nullptr : MakeColumnReader(*column.logical, column.type, schema));
    }
    if (!scan.projection().empty()) all_.Initialize(context, types);
    for (const PushedFilter& filter : scan.filters()) {
      filter_states_.push_back(duckdb::TableFilterState::Initialize(context, *filter.filter));
    }
  }

  /// Fills `out` with the next rows that pass; leaves it empty at the end.
  void Next(DataChunk* out) {
    DataChunk* target = scan_.projection().empty() ? out : &all_;
    while (EnsureGranule()) {
      if (!scan_.finds_few_rows()) Precedence::MakeWay();
      const Window window = alive_.Take(STANDARD_VECTOR_SIZE);
      if (window.living == 0) continue;
      target->Reset();
      const idx_t passed = Produce(window, target);
      if (passed == 0) continue;
      if (target != out) {
        for (idx_t i = 0; i < scan_.projection().size(); ++i) out->data[i].Reference(target->data[scan_.projection()[i]]);
      }
      out->SetCardinality(passed);
      return;
    }
    out->SetCardinality(0);
  }

  idx_t order() const { return granule_.order; }

 private:
  bool EnsureGranule() {
    if (alive_.HasMore()) return true;
    const auto taken = scan_.plan().Take(&run_);
    if (!taken) return false;
    granule_ = *taken;
    scan_.ReadAhead(granule_);
    const auto& [source, dead] = scan_.bind().table.sources[granule_.source];
    alive_ = AliveRows(source->granule_rows(granule_.granule), dead ? dead->granule(granule_.granule) : nullptr);
    late_ = Late::kNone;
    late_rows_ = 0;
    scan_.plan().CountRead(source->granule_rows(granule_.granule), 0);
    if (!scan_.early().empty()) {
      const auto batch = scan_.Read(granule_, scan_.early());
      Load(*batch, true);
      scan_.CountBytes(granule_, scan_.early());
      searched_ = scan_.wanted_ids() && !frequent_;
      if (searched_ && !FindIds(*batch)) alive_ = AliveRows();  // Nothing more is read of this granule.
    }
    return true;
  }

  /// Finds the rows of the granule that hold a wanted id; comparing bytes costs a tenth of making ids of them for the filter.
  bool FindIds(const arrow::RecordBatch& early) {
    const WantedIds& wanted = *scan_.wanted_ids();
    const auto& column = scan_.columns()[scan_.filters()[wanted.filter].column];
    found_.clear();
    next_found_ = 0;
    const Status searched = wanted.search.Find(*early.column_data(column.slot), 0, early.num_rows(), &found_);
    if (!searched.ok()) scan_.Throw(searched);
    frequent_ = static_cast<double>(found_.size()) > static_cast<double>(early.num_rows()) * kListShare;
    return !found_.empty();
  }

  /// Puts those of the found rows that are in `window` and live into living_. False: they are so many that all rows are better
  /// gone through.
  bool ListFound(const Window& window) {
    living_.clear();
    for (; next_found_ < found_.size() && found_[next_found_] < window.offset + window.count; ++next_found_) {
      const int64_t at = found_[next_found_] - window.offset;
      const bool lives = at >= 0 && (window.whole() || (window.dead[at >> 6] >> (at & 63) & 1) == 0);
      if (lives) living_.push_back(found_[next_found_]);
    }
    return static_cast<double>(living_.size()) <= static_cast<double>(window.living) * kListShare;
  }

  void Load(const arrow::RecordBatch& batch, bool filtered) {
    for (size_t i = 0; i < readers_.size(); ++i) {
      const ScanColumn& column = scan_.columns()[i];
      if (readers_[i] && column.filtered == filtered) readers_[i]->Load(batch.column(column.slot));
    }
  }

  /// Has the late columns loaded, `rows` of them at least; empty: all rows.
  void LoadLate(std::span<const int64_t> rows = {}) {
    if (late_ == Late::kAllRows || scan_.late().empty()) return;
    if (late_ == Late::kNone) scan_.CountBytes(granule_, scan_.late());
    if (!rows.empty() && late_rows_ + rows.size() <= kFewRowsMax) {
      if (const auto batch = scan_.ReadRows(granule_, scan_.late(), rows)) {
        late_ = Late::kSomeRows;
        late_rows_ += rows.size();
        return Load(*batch, false);
      }
    }
    Load(*scan_.Read(granule_, scan_.late()), false);
    late_ = Late::kAllRows;
  }

  /// Converts living rows of the granule that pass the filters into `target`; returns how many.
  idx_t Produce(const Window& window, DataChunk* target) {
    auto living = static_cast<idx_t>(window.living);
    by_id_ = listed_ = searched_ && ListFound(window);
    if (by_id_) living = living_.size();
    if (living == 0) return 0;
    ConvertWindow(window, true, target);
    duckdb::SelectionVector passing;
    idx_t passed = living;
    for (size_t i = 0; i < scan_.filters().size() && passed > 0; ++i) {
      if (i < 64 && (granule_.certain >> i & 1) != 0) continue;
      const PushedFilter& filter = scan_.filters()[i];
      duckdb::Vector& column = target->data[filter.column];
      duckdb::UnifiedVectorFormat format;
      column.ToUnifiedFormat(living, format);
      duckdb::ColumnSegment::FilterSelection(passing, column, format, *filter.filter, *filter_states_[i], living, passed);
    }
    if (passed == 0) return 0;
    if (passed >= static_cast<idx_t>(static_cast<double>(living) * kSliceShare)) {  // The others are skipped, not left out.
      LoadLate(by_id_ ? std::span<const int64_t>(living_) : std::span<const int64_t>());
      ConvertWindow(window, false, target);
      if (passed < living) target->Slice(passing, passed);
    } else {
      const Rows rows = LivingRows(window);
      chosen_.resize(passed);
      for (idx_t i = 0; i < passed; ++i) chosen_[i] = rows[static_cast<int64_t>(passing.get_index(i))];
      LoadLate(chosen_);
      for (size_t i = 0; i < readers_.size(); ++i) {
        if (!scan_.columns()[i].filtered) Convert(i, {.count = static_cast<int64_t>(passed), .list = chosen_.data()}, target);
      }
      for (size_t i = 0; i < readers_.size(); ++i) {
        if (scan_.columns()[i].filtered && scan_.columns()[i].delivered) target->data[i].Slice(passing, passed);
      }
    }
    target->SetCardinality(passed);
    return passed;
  }

  /// Columns become vectors without the dead rows: DuckDB's loops over selected rows are slower than bringing the living ones
  /// together.
  void ConvertWindow(const Window& window, bool filtered, DataChunk* target) {
    for (size_t i = 0; i < readers_.size(); ++i) {
      if (scan_.columns()[i].filtered != filtered) continue;
      const bool copied = !by_id_ && !window.whole() && readers_[i] && readers_[i]->ConvertLiving(window, &target->data[i]);
      if (!copied) Convert(i, LivingRows(window), target);
    }
  }

  void Convert(size_t column, const Rows& rows, DataChunk* target) {
    if (readers_[column]) return readers_[column]->Convert(rows, &target->data[column]);
    auto* ids = duckdb::FlatVector::GetData<int64_t>(target->data[column]);
    for (int64_t k = 0; k < rows.count; ++k) ids[k] = scan_.RowNumber(granule_, rows[k]);
  }

  /// Those that hold a wanted id, or all that live; the list is made for the first column of a window that wants one.
  Rows LivingRows(const Window& window) {
    if (!listed_ && window.whole()) return {.offset = window.offset, .count = window.count};
    if (!listed_) ListLivingRows(window, &living_);
    listed_ = true;
    return {.count = static_cast<int64_t>(living_.size()), .list = living_.data()};
  }

  const ScanState& scan_;
  std::vector<std::unique_ptr<ColumnReader>> readers_;  // Null: the row id.
  std::vector<duckdb::unique_ptr<duckdb::TableFilterState>> filter_states_;
  DataChunk all_;  // All scanned columns, where some are only filtered by.
  GranulePlan::Run run_;
  GranulePlan::Granule granule_;
  AliveRows alive_;
  enum class Late { kNone, kSomeRows, kAllRows } late_ = Late::kNone;  // What of the granule's other columns is loaded.
  size_t late_rows_ = 0;                                               // Of kSomeRows, over all windows of the granule.
  std::vector<int64_t> found_;  // Of the granule, where ids are wanted: the rows that hold one, dead ones among them.
  size_t next_found_ = 0;
  bool searched_ = false;        // Whether the granule was searched for them.
  bool frequent_ = false;        // So many rows held one that the filters alone are faster: no granule more is searched.
  bool by_id_ = false;           // Whether of the window only found rows are looked at.
  bool listed_ = false;          // Whether living_ are those of the window.
  std::vector<int64_t> living_;  // Rows of the granule; where ids are wanted and few found, those that hold one.
  std::vector<int64_t> chosen_;  // Of those, the ones that pass.
};

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> InitGlobal(ClientContext& context, duckdb::TableFunctionInitInput& input) {
  return duckdb::make_uniq<ScanState>(context, input);
}

duckdb::unique_ptr<duckdb::LocalTableFunctionState> InitLocal(duckdb::ExecutionContext& context, duckdb::TableFunctionInitInput&,
                                                              duckdb::GlobalTableFunctionState* global) {
  return duckdb::make_uniq<ScanCursor>(context.client, global->Cast<ScanState>());
}

void Scan(ClientContext&, duckdb::TableFunctionInput& input, DataChunk& out) { input.local_state->Cast<ScanCursor>().Next(&out); }

duckdb::unique_ptr<duckdb::NodeStatistics> Cardinality(ClientContext&, const duckdb::FunctionData* data) {
  const auto rows = static_cast<idx_t>(data->Cast<ScanBind>().table.rows);
  return duckdb::make_uniq<duckdb::NodeStatistics>(rows, rows);
}

/// The range over all sources, where each of them knows its own; dead rows may make it wider than what is alive. Too narrow
/// ranges would give wrong answers: the optimizer leaves filters away that they make certain.
duckdb::unique_ptr<duckdb::BaseStatistics> Range(const ScanBind& bind, const LogicalColumn& column, const LogicalType& type) {
  if (type.InternalType() == duckdb::PhysicalType::VARCHAR) return nullptr;
  columns::Zone merged;  // Converted once: statistics of DuckDB take long to make, and there may be thousands of sources.
  int64_t rows = 0;
  for (const auto& [source, dead] : bind.table.sources) {
    const columns::Zone* zone = source->source_zone(column.physical);
    if (zone == nullptr || zone->kind == columns::Zone::Kind::kNone || zone->null_count >= source->rows()) return nullptr;
    if (rows == 0) {
      merged = *zone;
    } else {
      columns::MergeZone(*zone, source->rows(), rows, &merged);
    }
    rows += source->rows();
  }
  if (rows == 0) return nullptr;
  const auto statistics = ZoneStatistics(type, merged, rows);
  return statistics ? statistics->ToUnique() : nullptr;
}

/// For the optimizer: the range of a column and how many of its values differ, as far as they are known.
duckdb::unique_ptr<duckdb::BaseStatistics> Statistics(ClientContext&, const duckdb::FunctionData* data, column_t id) {
  const auto& bind = data->Cast<ScanBind>();
  const LogicalColumn* column = bind.few_rows ? nullptr : bind.Find(id);
  if (column == nullptr || column->field != Field::kWhole || column->form != Form::kPlain) return nullptr;
  const LogicalType type = ColumnType(bind, id, column);
  if (type.IsNested()) return nullptr;
  auto statistics = Range(bind, *column, type);
  const int64_t distinct = EstimateDistinct(bind.table, column->physical);
  if (distinct < 0) return statistics;
  if (!statistics) statistics = duckdb::BaseStatistics::CreateUnknown(type).ToUnique();
  statistics->SetDistinctCount(static_cast<idx_t>(distinct));
  return statistics;
}

/// The ranges of a source's columns, for min() and max() of a whole table without a scan. They are exact for integers and times
/// where no row is dead; others are told as unknown. Borrows its arguments, for as long as the statement is planned.
class SourceRanges : public duckdb::PartitionRowGroup {
 public:
  SourceRanges(const ScanBind& bind, const store::SourceView& view) : bind_(bind), view_(view) {}

  duckdb::unique_ptr<duckdb::BaseStatistics> GetColumnStatistics(const duckdb::StorageIndex& index) override {
    const column_t id = index.GetPrimaryIndex();
    const LogicalType type = ColumnType(bind_, id, bind_.Find(id));
    const columns::Zone* zone = ExactZone(index);
    const auto statistics = zone != nullptr ? ZoneStatistics(type, *zone, view_.source->rows()) : std::nullopt;
    return statistics ? statistics->ToUnique() : duckdb::BaseStatistics::CreateUnknown(type).ToUnique();
  }
  bool MinMaxIsExact(const duckdb::BaseStatistics&, const duckdb::StorageIndex& index) override {
    return ExactZone(index) != nullptr;
  }

 private:
  const columns::Zone* ExactZone(const duckdb::StorageIndex& index) const {
    using Kind = columns::Zone::Kind;
    const LogicalColumn* column = index.HasChildren() ? nullptr : bind_.Find(index.GetPrimaryIndex());
    if (column == nullptr || column->field != Field::kWhole || column->form != Form::kPlain) return nullptr;
    if (!view_.source->damage().empty()) return nullptr;
    const columns::Zone* zone = view_.source->source_zone(column->physical);
    if (zone == nullptr || (zone->kind != Kind::kInt64 && zone->kind != Kind::kUint64)) return nullptr;
    return zone->null_count < view_.source->rows() && (view_.dead == nullptr || view_.dead->count() == 0) ? zone : nullptr;
  }

  const ScanBind& bind_;
  const store::SourceView& view_;
};

/// Lets DuckDB answer count(*), min() and max() without a scan: the counts of immutable sources are exact, and so are those of
/// dead rows. Of a damaged part nothing is certain: the scan will tell.
duckdb::vector<duckdb::PartitionStatistics> PartitionStats(ClientContext&, duckdb::GetPartitionStatsInput& input) {
  duckdb::vector<duckdb::PartitionStatistics> partitions;
  const auto& bind = input.bind_data->Cast<ScanBind>();
  for (const store::SourceView& view : bind.table.sources) {
    duckdb::PartitionStatistics partition;
    partition.count = static_cast<idx_t>(view.source->rows() - (view.dead ? view.dead->count() : 0));
    partition.count_type = view.source->damage().empty() ? duckdb::CountType::COUNT_EXACT : duckdb::CountType::COUNT_APPROXIMATE;
    partition.partition_row_group = duckdb::make_shared_ptr<SourceRanges>(bind, view);
    partitions.push_back(std::move(partition));
  }
  return partitions;
}

duckdb::InsertionOrderPreservingMap<std::string> ToString(duckdb::TableFunctionToStringInput& input) {
  duckdb::InsertionOrderPreservingMap<std::string> lines;
  const auto& info = *input.bind_data->Cast<ScanBind>().table.info;
  lines["Table"] = info.schema_name + "." + info.name;
  return lines;
}

duckdb::InsertionOrderPreservingMap<std::string> ToStringAfterwards(duckdb::TableFunctionDynamicToStringInput& input) {
  duckdb::InsertionOrderPreservingMap<std::string> lines;
  if (input.global_state) {
    const auto& scan = input.global_state->Cast<ScanState>();
    lines["Access"] = scan.access_name();
    for (auto& [name, text] : scan.plan().Explain()) lines[name] = text;
  }
  return lines;
}

}  // namespace

duckdb::unique_ptr<duckdb::FunctionData> ScanBind::Copy() const {
  auto copy = duckdb::make_uniq<ScanBind>();
  copy->table = table;
  copy->logical = logical;
  copy->entry = entry;
  copy->extracts = extracts;
  copy->order = order;
  copy->few_rows = few_rows;
  return copy;
}

bool ScanBind::Equals(const duckdb::FunctionData& other) const {
  const auto& bind = other.Cast<ScanBind>();
  if (table.info->id != bind.table.info->id || table.sources != bind.table.sources || extracts.size() != bind.extracts.size()) {
    return false;
  }
  for (size_t i = 0; i < extracts.size(); ++i) {
    if (extracts[i].name != bind.extracts[i].name || extracts[i].key != bind.extracts[i].key) return false;
  }
  return true;
}

const LogicalColumn* ScanBind::Find(column_t id) const {
  if (id < logical->columns.size()) return &logical->columns[id];
  if (id >= kExtractBase && id - kExtractBase < extracts.size()) return &extracts[id - kExtractBase];
  if (id >= kHiddenBase && id - kHiddenBase < logical->hidden.size()) return &logical->hidden[id - kHiddenBase];
  return nullptr;
}

duckdb::TableFunction MakeScanFunction(bool late_materialization) {
  duckdb::TableFunction function(kScanName, {}, Scan, nullptr, InitGlobal, InitLocal);
  function.projection_pushdown = true;
  function.filter_pushdown = true;
  function.filter_prune = true;
  function.pushdown_expression = TakesTextFilter;
  function.late_materialization = late_materialization;
  function.cardinality = Cardinality;
  function.statistics = Statistics;
  function.get_partition_stats = PartitionStats;
  function.to_string = ToString;
  function.dynamic_to_string = ToStringAfterwards;
  function.get_partition_data = [](ClientContext&, duckdb::TableFunctionGetPartitionInput& input) {
    return duckdb::OperatorPartitionData(input.local_state->Cast<ScanCursor>().order());
  };
  function.get_bind_info = [](const duckdb::optional_ptr<duckdb::FunctionData> data) {
    auto entry = data->Cast<ScanBind>().entry;
    return duckdb::BindInfo(*entry);
  };
  function.get_virtual_columns = [](ClientContext&, duckdb::optional_ptr<duckdb::FunctionData> data) {
    return data->Cast<ScanBind>().entry->GetVirtualColumns();
  };
  function.get_row_id_columns = [](ClientContext&, duckdb::optional_ptr<duckdb::FunctionData>) {
    return duckdb::vector<column_t>{duckdb::COLUMN_IDENTIFIER_ROW_ID};
  };
  function.set_scan_order = [](duckdb::unique_ptr<duckdb::RowGroupOrderOptions> order,
                               duckdb::optional_ptr<duckdb::FunctionData> data) {
    data->Cast<ScanBind>().order = std::shared_ptr<duckdb::RowGroupOrderOptions>(order.release());
  };
  function.table_scan_progress = [](ClientContext&, const duckdb::FunctionData*, const duckdb::GlobalTableFunctionState* global) {
    return global->Cast<ScanState>().plan().progress_percent();
  };
  return function;
}

}  // namespace sheaf::query
