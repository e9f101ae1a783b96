#include "query/testing.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/table.h>
#include <fmt/format.h>

#include "columns/key_codec.h"
#include "core/check.h"
#include "core/hex.h"
#include "decode/decoder.h"
#include "query/formats.h"
#include "store/names.h"
#include "store/ready_tables.h"
#include "store/table_change.h"
#include "wire/otlp_json.h"

#if defined(__SANITIZE_THREAD__)
/// DuckDB locks out of TSan's sight and unlocks in it, so that the detector of deadlocks soon takes everything for held.
extern "C" const char* __tsan_default_options() { return "detect_deadlocks=0"; }
#endif

namespace sheaf::query {

namespace {

using columns::Zone;

/// The stored bytes of a value that an index can look up.
std::optional<std::string_view> Bytes(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return std::nullopt;
  switch (array.type_id()) {
    case arrow::Type::FIXED_SIZE_BINARY: return static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(row);
    case arrow::Type::STRING: return static_cast<const arrow::StringArray&>(array).GetView(row);
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
      if (dictionary.dictionary()->type_id() != arrow::Type::STRING) return std::nullopt;
      return Bytes(*dictionary.dictionary(), dictionary.GetValueIndex(row));
    }
    default: return std::nullopt;
  }
}

template <typename ArrayType>
void WidenInt(const arrow::Array& array, int64_t row, Zone* zone) {
  const auto value = static_cast<int64_t>(static_cast<const ArrayType&>(array).Value(row));
  const bool first = zone->kind == Zone::Kind::kNone;
  zone->kind = Zone::Kind::kInt64;
  zone->int_min = first ? value : std::min(zone->int_min, value);
  zone->int_max = first ? value : std::max(zone->int_max, value);
}

void WidenDouble(const arrow::Array& array, int64_t row, Zone* zone) {
  const double value = static_cast<const arrow::DoubleArray&>(array).Value(row);
  if (value != value) {
    zone->has_nan = true;
    return;
  }
  const bool first = zone->kind == Zone::Kind::kNone;
  zone->kind = Zone::Kind::kDouble;
  zone->double_min = first ? value : std::min(zone->double_min, value);
  zone->double_max = first ? value : std::max(zone->double_max, value);
}

void WidenBytes(const arrow::Array& array, int64_t row, Zone* zone) {
  const auto bytes = Bytes(array, row);
  if (!bytes) return;
  const bool first = zone->kind == Zone::Kind::kNone;
  zone->kind = Zone::Kind::kBytes;
  if (first || *bytes < zone->bytes_min) zone->bytes_min = *bytes;
  if (first || *bytes > zone->bytes_max) zone->bytes_max = *bytes;
}

Zone ZoneOf(const arrow::Array& array, int64_t begin, int64_t end) {
  Zone zone;
  for (int64_t row = begin; row < end; ++row) {
    if (array.IsNull(row)) {
      ++zone.null_count;
      continue;
    }
    switch (array.type_id()) {
      case arrow::Type::TIMESTAMP: WidenInt<arrow::TimestampArray>(array, row, &zone); break;
      case arrow::Type::INT64: WidenInt<arrow::Int64Array>(array, row, &zone); break;
      case arrow::Type::INT32: WidenInt<arrow::Int32Array>(array, row, &zone); break;
      case arrow::Type::UINT32: WidenInt<arrow::UInt32Array>(array, row, &zone); break;
      case arrow::Type::DOUBLE: WidenDouble(array, row, &zone); break;
      default: WidenBytes(array, row, &zone); break;
    }
  }
  return zone;
}

class MemorySource : public columns::GranuleSource {
 public:
  MemorySource(std::string name, uint64_t ordinal, std::shared_ptr<arrow::RecordBatch> batch, int64_t granule_rows,
               std::vector<int> indexed)
      : name_(std::move(name)), ordinal_(ordinal), batch_(std::move(batch)), granule_rows_(granule_rows) {
    for (int column = 0; column < batch_->num_columns(); ++column) {
      const arrow::Array& array = *batch_->column(column);
      source_zones_.push_back(ZoneOf(array, 0, array.length()));
      for (int granule = 0; granule < num_granules(); ++granule) {
        granule_zones_[{granule, column}] = ZoneOf(array, granule * granule_rows_, granule * granule_rows_ + this->granule_rows(granule));
      }
    }
    for (int column : indexed) {
      auto& index = index_[column];
      for (int64_t row = 0; row < batch_->num_rows(); ++row) {
        const auto bytes = Bytes(*batch_->column(column), row);
        if (!bytes) continue;
        auto& granules = index[std::string(*bytes)];
        const int granule = static_cast<int>(row / granule_rows_);
        if (granules.empty() || granules.back() != granule) granules.push_back(granule);
      }
    }
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return batch_->schema(); }
  const std::string& name() const override { return name_; }
  uint64_t ordinal() const override { return ordinal_; }
  int64_t rows() const override { return batch_->num_rows(); }
  Lsn min_lsn() const override { return Lsn(ordinal_); }
  Lsn max_lsn() const override { return Lsn(ordinal_); }
  int num_granules() const override { return static_cast<int>((rows() + granule_rows_ - 1) / granule_rows_); }
  int64_t granule_rows(int granule) const override { return std::min(granule_rows_, rows() - granule * granule_rows_); }
  const Zone* source_zone(int column) const override { return Kept(source_zones_[static_cast<size_t>(column)], rows()); }
  const Zone* granule_zone(int granule, int column) const override {
    return Kept(granule_zones_.at({granule, column}), granule_rows(granule));
  }
  bool has_filter(int column) const override { return index_.contains(column); }
  Status FindGranules(int column, std::string_view value, std::vector<int>* granules) const override {
    const auto& index = index_.at(column);
    const auto found = index.find(std::string(value));
    if (found != index.end()) granules->insert(granules->end(), found->second.begin(), found->second.end());
    return Status::OK();
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Read(int granule, const std::vector<int>& columns) const override {
    SHEAF_ASSIGN_OR_RETURN(auto chosen, batch_->SelectColumns(columns));
    return chosen->Slice(granule * granule_rows_, granule_rows(granule));
  }
  int64_t granule_bytes(int granule, const std::vector<int>& columns) const override {
    return granule_rows(granule) * static_cast<int64_t>(columns.size()) * 8;
  }

 private:
  static const Zone* Kept(const Zone& zone, int64_t rows) {
    return zone.kind == Zone::Kind::kNone && zone.null_count < rows ? nullptr : &zone;
  }

  const std::string name_;
  const uint64_t ordinal_;
  const std::shared_ptr<arrow::RecordBatch> batch_;
  const int64_t granule_rows_;
  std::vector<Zone> source_zones_;
  std::map<std::pair<int, int>, Zone> granule_zones_;
  std::map<int, std::map<std::string, std::vector<int>>> index_;
};

const char* RequestName(decode::Signal signal) {
  return signal == decode::Signal::kTraces ? "traces" : signal == decode::Signal::kLogs ? "logs" : "metrics";
}

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) {
    fmt::print(stderr, "{}\n", result.status().ToString());
    std::abort();
  }
  return std::move(result).ValueUnsafe();
}

}  // namespace

std::shared_ptr<const columns::GranuleSource> MakeMemorySource(std::string name, uint64_t ordinal,
                                                               std::shared_ptr<arrow::RecordBatch> batch, int64_t granule_rows,
                                                               std::vector<int> indexed_columns) {
  return std::make_shared<MemorySource>(std::move(name), ordinal, std::move(batch), granule_rows, std::move(indexed_columns));
}

class MemoryDatabase::MemorySnapshot : public store::Snapshot {
 public:
  MemorySnapshot(std::vector<MemoryDatabase::Table> tables, Lsn lsn) : tables_(std::move(tables)), lsn_(lsn) {
    for (const auto& table : tables_) infos_.push_back(table.info);
  }
  Lsn lsn() const override { return lsn_; }
  const std::vector<std::shared_ptr<const store::TableInfo>>& tables() const override { return infos_; }
  Result<store::TableSnapshot> Table(TableId id) const override {
    SHEAF_ASSIGN_OR_RETURN(const auto* table, Find(id));
    store::TableSnapshot snapshot{.info = table->info, .sources = table->sources};
    for (const auto& view : table->sources) snapshot.rows += view.source->rows() - (view.dead ? view.dead->count() : 0);
    return snapshot;
  }
  Result<store::KeyedRow> Get(TableId id, std::string_view key) const override {
    SHEAF_ASSIGN_OR_RETURN(const auto* table, Find(id));
    const auto found = table->versions->find(key);
    if (found == table->versions->end() || found->second.deleted) return store::KeyedRow{};
    const Version& version = found->second;
    std::vector<int> all;
    for (int i = 0; i < table->info->schema->num_fields(); ++i) all.push_back(i);
    SHEAF_ASSIGN_OR_RETURN(auto batch, table->sources[version.source].source->Read(version.position.granule, all));
    return store::KeyedRow{.lsn = version.lsn, .batch = std::move(batch), .row = version.position.row};
  }
  Result<std::vector<store::KeyedRow>> MultiGet(TableId id, const columns::KeyColumn& keys) const override {
    std::vector<store::KeyedRow> rows;
    for (int64_t i = 0; i < keys.size(); ++i) {
      SHEAF_ASSIGN_OR_RETURN(auto row, Get(id, keys[i]));
      rows.push_back(std::move(row));
    }
    return rows;
  }
  /// All columns, a batch a row.
  Result<std::unique_ptr<store::RowCursor>> Scan(TableId id, const store::KeyRange& range, const store::ScanOptions&) const override {
    SHEAF_CHECK(range.from.empty() && !range.to);
    SHEAF_ASSIGN_OR_RETURN(const auto* table, Find(id));
    auto cursor = std::make_unique<Cursor>();
    for (const auto& [key, version] : *table->versions) {
      SHEAF_ASSIGN_OR_RETURN(auto row, Get(id, key));
      if (row) cursor->rows.push_back(row.Slice());
    }
    return cursor;
  }

 private:
  struct Cursor : public store::RowCursor {
    Result<std::shared_ptr<arrow::RecordBatch>> Next() override { return next < rows.size() ? rows[next++] : nullptr; }
    arrow::RecordBatchVector rows;
    size_t next = 0;
  };

  Result<const MemoryDatabase::Table*> Find(TableId id) const {
    for (const auto& table : tables_) {
      if (table.info->id == id) return &table;
    }
    return MakeError(ErrorKind::kNotFound, "no table with id {}", id);
  }

  const std::vector<MemoryDatabase::Table> tables_;
  const Lsn lsn_;
  std::vector<std::shared_ptr<const store::TableInfo>> infos_;
};

MemoryDatabase::MemoryDatabase() {
  options_.directory = "/tmp/sheaf-query-test";
  for (int i = 0; i < decode::kSignals; ++i) {
    const auto signal = static_cast<decode::Signal>(i);
    AddTable("otel", decode::SignalTable(signal), decode::SignalSchema(signal));
  }
}

TableId MemoryDatabase::AddTable(const std::string& schema_name, const std::string& name, std::shared_ptr<arrow::Schema> schema) {
  MutexLock lock(&mutex_);
  auto info = std::make_shared<store::TableInfo>();
  info->id = TableId(next_table_++);
  info->schema_name = schema_name;
  info->name = name;
  info->schema = std::move(schema);
  tables_.push_back({.info = info});
  return info->id;
}

void MemoryDatabase::AddTradingTables() {
  MutexLock lock(&mutex_);
  for (store::TableInfo& ready : store::ReadyTables()) {
    if (ready.schema_name != "trading") continue;
    ready.id = TableId(next_table_++);
    tables_.push_back({.info = std::make_shared<const store::TableInfo>(std::move(ready))});
  }
}

void MemoryDatabase::Add(decode::Signal signal, std::shared_ptr<arrow::RecordBatch> batch, const std::string& name, int64_t granule_rows) {
  uint64_t ordinal;
  {
    MutexLock lock(&mutex_);
    ordinal = next_ordinal_++;
  }
  const int trace_id = batch->schema()->GetFieldIndex("trace_id");
  std::vector<int> indexed;
  if (trace_id >= 0 && name != "memtable") indexed.push_back(trace_id);
  AddSource(TableId(static_cast<uint64_t>(signal) + 1),
            MakeMemorySource(name.empty() ? fmt::format("{}.part", ordinal) : name, ordinal, std::move(batch), granule_rows, indexed));
}

void MemoryDatabase::AddSource(TableId table, std::shared_ptr<const columns::GranuleSource> source) {
  MutexLock lock(&mutex_);
  Find(table)->sources.push_back({std::move(source), nullptr});
}

MemoryDatabase::Table* MemoryDatabase::Find(TableId id) {
  for (auto& table : tables_) {
    if (table.info->id == id) return &table;
  }
  return nullptr;
}

void MemoryDatabase::FailNextAppend(Status error) {
  MutexLock lock(&mutex_);
  next_error_ = std::move(error);
}

int64_t MemoryDatabase::appends() const {
  MutexLock lock(&mutex_);
  return appends_;
}

uint64_t MemoryDatabase::catalog_version() const {
  MutexLock lock(&mutex_);
  return catalog_version_;
}

Status MemoryDatabase::AppendAsync(const std::vector<store::TableRows>& rows, const store::WriteOptions&, Done done) noexcept {
  Lsn lsn;
  Status outcome;
  {
    MutexLock lock(&mutex_);
    outcome = std::exchange(next_error_, Status::OK());
    for (const auto& given : rows) {
      if (outcome.ok()) outcome = Check(given);
    }
    if (outcome.ok()) {
      lsn = lsn_ = lsn_.Next();
      ++appends_;
      for (const auto& given : rows) SHEAF_CHECK(Apply(given, lsn).ok());
    }
  }
  if (outcome.ok()) {
    done(lsn);
  } else if (KindOf(outcome) == ErrorKind::kConflict || KindOf(outcome) == ErrorKind::kAlreadyExists) {
    done(outcome);
  } else {
    return outcome;
  }
  return Status::OK();
}

Status MemoryDatabase::Check(const store::TableRows& rows) {
  const Table* table = Find(rows.table);
  if (table == nullptr) return MakeError(ErrorKind::kNotFound, "no table with id {}", rows.table);
  const bool is_delete = rows.op == store::RowOp::kDelete;
  const auto& info = *table->info;
  if (!is_delete && !rows.batch->schema()->Equals(*info.schema, false)) return MakeError(ErrorKind::kInvalid, "another schema");
  if (info.kind == store::TableKind::kAppend) return Status::OK();
  if (is_delete && !rows.batch->schema()->Equals(*info.keys->key_schema(), false)) return MakeError(ErrorKind::kInvalid, "another key");
  SHEAF_ASSIGN_OR_RETURN(const auto keys, is_delete ? info.keys->EncodeKeys(*rows.batch) : info.keys->Encode(*rows.batch));
  for (int64_t i = 0; i < keys.size(); ++i) {
    const auto found = table->versions->find(keys[i]);
    const bool there = found != table->versions->end() && !found->second.deleted;
    if (rows.op == store::RowOp::kInsert && there) {
      return MakeError(ErrorKind::kAlreadyExists, "{}.{} has the key {} already", info.schema_name, info.name, info.keys->ToText(keys[i]));
    }
    if (rows.unchanged_since && (!there || found->second.lsn > *rows.unchanged_since)) {
      return MakeError(ErrorKind::kConflict, "the key {} of {}.{} was changed", info.keys->ToText(keys[i]), info.schema_name, info.name);
    }
  }
  return Status::OK();
}

Status MemoryDatabase::Apply(const store::TableRows& rows, Lsn lsn) {
  constexpr int64_t kGranuleRows = 1000;
  Table* table = Find(rows.table);
  const bool is_delete = rows.op == store::RowOp::kDelete;
  if (!is_delete) {
    const uint64_t ordinal = next_ordinal_++;
    table->sources.push_back({MakeMemorySource("memtable", ordinal, rows.batch, kGranuleRows, {}), nullptr});
  }
  const auto& info = *table->info;
  if (info.kind == store::TableKind::kAppend) return Status::OK();
  SHEAF_ASSIGN_OR_RETURN(const auto keys, is_delete ? info.keys->EncodeKeys(*rows.batch) : info.keys->Encode(*rows.batch));
  auto versions = std::make_shared<Versions>(*table->versions);
  for (int64_t i = 0; i < keys.size(); ++i) {
    Version& version = (*versions)[std::string(keys[i])];
    if (version.lsn.value > 0 && !version.deleted) {
      auto& dead = table->sources[version.source].dead;
      dead = (dead ? *dead : columns::DeadRows()).With({version.position});
    }
    version = {.lsn = lsn, .deleted = is_delete};
    if (!is_delete) {
      version.source = table->sources.size() - 1;
      version.position = {static_cast<int>(i / kGranuleRows), i % kGranuleRows};
    }
  }
  table->versions = std::move(versions);
  return Status::OK();
}

Result<std::shared_ptr<const store::TableInfo>> MemoryDatabase::CreateTable(const store::NewTable& wanted) noexcept {
  SHEAF_ASSIGN_OR_RETURN(auto made, store::MakeTable(wanted));
  MutexLock lock(&mutex_);
  for (auto table = tables_.begin(); table != tables_.end(); ++table) {
    if (table->info->schema_name != made.schema_name || !store::SameName(table->info->name, made.name)) continue;
    if (wanted.if_not_exists) return table->info;
    if (!wanted.or_replace) return MakeError(ErrorKind::kAlreadyExists, "there is a table {}.{}", made.schema_name, made.name);
    tables_.erase(table);
    break;
  }
  made.id = TableId(next_table_++);
  ++catalog_version_;
  tables_.push_back({.info = std::make_shared<const store::TableInfo>(std::move(made))});
  return tables_.back().info;
}

Status MemoryDatabase::DropTable(TableId id) noexcept {
  MutexLock lock(&mutex_);
  ++catalog_version_;
  const auto dropped = std::erase_if(tables_, [&](const Table& table) { return table.info->id == id; });
  return dropped > 0 ? Status::OK() : MakeError(ErrorKind::kNotFound, "no table with id {}", id);
}

Result<std::shared_ptr<const store::TableInfo>> MemoryDatabase::Alter(TableId id, const store::AlterTable& change) noexcept {
  if (change.kind == store::AlterTable::Kind::kWidenColumn) return MakeError(ErrorKind::kUnsupported, "a MemoryDatabase widens nothing");
  MutexLock lock(&mutex_);
  Table* table = Find(id);
  if (table == nullptr) return MakeError(ErrorKind::kNotFound, "no table with id {}", id);
  SHEAF_ASSIGN_OR_RETURN(auto changed, store::ChangeTable(*table->info, change, lsn_));
  ++catalog_version_;
  const auto after = std::make_shared<const store::TableInfo>(std::move(changed));
  const auto before = std::exchange(table->info, after);
  if (!store::ColumnsChanged(*before, *after)) return after;
  for (auto& [source, dead] : table->sources) {
    arrow::RecordBatchVector granules;
    for (int granule = 0; granule < source->num_granules(); ++granule) {
      arrow::ArrayVector columns;
      for (const auto& field : after->schema->fields()) {
        int column = -1;
        for (int i = 0; i < before->schema->num_fields(); ++i) {
          if (store::ColumnId(*before->schema->field(i)) == store::ColumnId(*field)) column = i;
        }
        if (column >= 0) {
          columns.push_back(Must(source->Read(granule, {column}))->column(0));
        } else {
          const auto scalar = change.default_value ? change.default_value : arrow::MakeNullScalar(field->type());
          columns.push_back(Must(arrow::MakeArrayFromScalar(*scalar, source->granule_rows(granule))));
        }
      }
      granules.push_back(arrow::RecordBatch::Make(after->schema, source->granule_rows(granule), std::move(columns)));
    }
    if (granules.empty()) continue;
    source = MakeMemorySource(source->name(), source->ordinal(), Must(arrow::ConcatenateRecordBatches(granules)), 1000, {});
  }
  return after;
}

Status MemoryDatabase::MakeCold(std::optional<TableId>) noexcept {
  return MakeError(ErrorKind::kUnsupported, "a MemoryDatabase has no cold parts");
}
Status MemoryDatabase::SetRetention(TableId, std::optional<int64_t>) noexcept {
  return MakeError(ErrorKind::kUnsupported, "a MemoryDatabase has no retention");
}

std::shared_ptr<const store::Snapshot> MemoryDatabase::GetSnapshot() const {
  MutexLock lock(&mutex_);
  return std::make_shared<MemorySnapshot>(tables_, lsn_);
}

Result<std::shared_ptr<const store::TableInfo>> MemoryDatabase::FindTable(const std::string& schema_name, const std::string& name) const {
  const auto snapshot = GetSnapshot();
  for (const auto& info : snapshot->tables()) {
    if (info->schema_name == schema_name && info->name == name) return info;
  }
  return MakeError(ErrorKind::kNotFound, "no table {}.{}", schema_name, name);
}

std::vector<store::PartStatus> MemoryDatabase::Parts() const {
  std::vector<store::PartStatus> all;
  const auto snapshot = GetSnapshot();
  for (const auto& info : snapshot->tables()) {
    const auto table = Must(snapshot->Table(info->id));
    for (const auto& [source, dead] : table.sources) {
      if (source->name() == "memtable") continue;
      store::PartStatus part{.table = info};
      part.info.id = PartId(source->ordinal());
      part.info.table = info->id;
      part.info.file_name = source->name();
      part.info.rows = source->rows();
      all.push_back(std::move(part));
    }
  }
  return all;
}

std::shared_ptr<arrow::RecordBatch> BatchFromOtlpJson(decode::Signal signal, const std::string& json) {
  std::string request;
  const std::string name = RequestName(signal);
  const auto kind = name == "traces" ? wire::OtlpRequest::kTraces : name == "logs" ? wire::OtlpRequest::kLogs : wire::OtlpRequest::kMetrics;
  const Status converted = wire::OtlpJsonToProtobuf(kind, json, &request);
  if (!converted.ok()) fmt::print(stderr, "{}\n", converted.ToString());
  SHEAF_CHECK(converted.ok());
  decode::Decoder decoder;
  const auto bytes = std::as_bytes(std::span(request.data(), request.size()));
  auto decoded = Must(name == "traces" ? decoder.Traces(bytes) : name == "logs" ? decoder.Logs(bytes) : decoder.Metrics(bytes));
  for (auto& table : decoded.batches) {
    if (table.signal == signal) return table.batch;
  }
  fmt::print(stderr, "the request holds no rows of {}\n", decode::SignalTable(signal));
  std::abort();
}

std::shared_ptr<arrow::RecordBatch> RandomSpans(int64_t traces, int64_t spans_per_trace, int64_t time_ns, std::mt19937_64* random) {
  constexpr const char* kServices[] = {"frontend", "cart", "payment"};
  constexpr const char* kNames[] = {"GET /", "GET /cart", "POST /pay", "SELECT", "publish"};
  std::string by_service[3];
  for (int64_t trace = 0; trace < traces; ++trace) {
    const std::string trace_id = fmt::format("{:016x}{:016x}", (*random)(), (*random)());
    uint64_t parent = 0;
    for (int64_t span = 0; span < spans_per_trace; ++span) {
      const uint64_t span_id = (*random)() | 1;
      const size_t service = (*random)() % 3;
      const int64_t start = time_ns + trace * 1'000'000'000 + span * 1000;
      std::string& spans = by_service[service];
      if (!spans.empty()) spans += ',';
      spans += fmt::format(
          R"({{"traceId":"{}","spanId":"{:016x}",{}"name":"{}","kind":{},"startTimeUnixNano":"{}","endTimeUnixNano":"{}",)"
          R"("attributes":[{{"key":"http.route","value":{{"stringValue":"{}"}}}},{{"key":"http.status","value":{{"intValue":"{}"}}}}],)"
          R"("status":{{"code":{}}}}})",
          trace_id, span_id, parent == 0 ? "" : fmt::format(R"("parentSpanId":"{:016x}",)", parent), kNames[(*random)() % 5],
          1 + (*random)() % 5, start, start + static_cast<int64_t>((*random)() % 500'000'000), (*random)() % 10 == 0 ? "/cart" : "/other",
          (*random)() % 20 == 0 ? 500 : 200, (*random)() % 3);
      if (parent == 0) parent = span_id;
    }
  }
  std::string json = R"({"resourceSpans":[)";
  for (size_t service = 0; service < 3; ++service) {
    json += fmt::format(R"({}{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{}"}}}}]}},"scopeSpans":[)"
                        R"({{"scope":{{"name":"lib","version":"1.2"}},"spans":[{}]}}]}})",
                        service == 0 ? "" : ",", kServices[service], by_service[service]);
  }
  return BatchFromOtlpJson(decode::Signal::kTraces, json + "]}");
}

Result<std::shared_ptr<arrow::Table>> RunAll(Engine* engine, const QueryRequest& request, QueryStats* stats) {
  SHEAF_ASSIGN_OR_RETURN(auto query, engine->Start(request));
  arrow::RecordBatchVector batches;
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(auto batch, query->Next());
    if (!batch) break;
    batches.push_back(std::move(batch));
  }
  if (stats != nullptr) *stats = query->stats();
  return arrow::Table::FromRecordBatches(query->schema(), batches);
}

Result<std::string> RunToText(Engine* engine, const QueryRequest& request, Format format, QueryStats* stats) {
  SHEAF_ASSIGN_OR_RETURN(auto query, engine->Start(request));
  std::string text;
  SHEAF_ASSIGN_OR_RETURN(auto writer, ResultWriter::Make(format, query->schema(), [&](std::string_view bytes) {
                           text += bytes;
                           return Status::OK();
                         }));
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(auto batch, query->Next());
    if (!batch) break;
    SHEAF_RETURN_NOT_OK(writer->Write(*batch));
  }
  SHEAF_RETURN_NOT_OK(writer->Finish());
  if (stats != nullptr) *stats = query->stats();
  return text;
}

}  // namespace sheaf::query
