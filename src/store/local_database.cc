#include "store/local_database.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <arrow/array/data.h>
#include <arrow/stl_allocator.h>
#include <arrow/type.h>
#include <arrow/util/bit_util.h>

#include "core/check.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/out_of_memory.h"
#include "core/test_hooks.h"
#include "store/keyed_read.h"

namespace sheaf::store {
namespace {

/// How long Close() waits for memtables to become parts; what is not done by then stays in the log.
constexpr int64_t kCloseSealNs = int64_t{20} * 1'000'000'000;

/// How long an append waits for a change of its table.
constexpr std::chrono::seconds kChangeWait{1};

/// An entry whose rows have a condition is for one table: else a table that is in parts already could not decide again,
/// after a crash, what another one needs to know. And it names one LSN, which stands in the entry once.
Status CheckConditional(const std::vector<TableRows>& rows) {
  std::optional<Lsn> named;
  for (const TableRows& given : rows) {
    if (given.expected && given.unchanged_since) {
      return MakeError(ErrorKind::kInvalid, "an append expects a version of its rows, or that they have not changed, but not both");
    }
    const std::optional<Lsn> condition = given.expected ? given.expected : given.unchanged_since;
    if (given.op != RowOp::kInsert && !condition) continue;
    const auto other = std::find_if(rows.begin(), rows.end(), [&](const TableRows& also) { return also.table != given.table; });
    if (other != rows.end()) {
      return MakeError(ErrorKind::kInvalid, "an append with a condition is for one table only, and this one has rows for tables {} and {}",
                       given.table, other->table);
    }
    if (condition && named && *condition != *named) {
      return MakeError(ErrorKind::kInvalid, "the conditions of one append name one LSN, not {} and {}", *named, *condition);
    }
    if (condition) named = condition;
  }
  return Status::OK();
}

/// How many values of `inner`, a child of `outer` that belongs to a row where that is not NULL, are missing. Lists may leave stretches
/// of their values unused, so that what they do not reach is not counted.
int64_t MissingInside(const arrow::ArrayData& outer, const arrow::ArrayData& inner) {
  if (inner.GetNullCount() == 0) return 0;
  const auto valid = [](const arrow::ArrayData& data, int64_t i) {
    return data.buffers[0] == nullptr || arrow::bit_util::GetBit(data.buffers[0]->data(), data.offset + i);
  };
  int64_t missing = 0;
  const auto count = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) missing += valid(inner, i) ? 0 : 1;
  };
  const arrow::Type::type id = outer.type->id();
  const int32_t* const offsets = id == arrow::Type::LIST || id == arrow::Type::MAP ? outer.GetValues<int32_t>(1) : nullptr;
  const int64_t width = id == arrow::Type::FIXED_SIZE_LIST ? static_cast<const arrow::FixedSizeListType&>(*outer.type).list_size() : 1;
  // A struct's child has the struct's offset besides its own.
  const int64_t base = id == arrow::Type::STRUCT || id == arrow::Type::FIXED_SIZE_LIST ? outer.offset * width : 0;
  for (int64_t row = 0; row < outer.length; ++row) {
    if (!valid(outer, row)) continue;
    if (offsets != nullptr) count(offsets[row], offsets[row + 1]);
    else count(base + row * width, base + (row + 1) * width);
  }
  return missing;
}

/// Invalid: a NULL inside `data`, of `field`, whose type does not allow it.
Status CheckNotNullInside(const std::string& path, const arrow::Field& field, const arrow::ArrayData& data) {
  if (data.dictionary != nullptr) return Status::OK();  // Dictionaries of nested values are none of ours.
  for (size_t i = 0; i < data.child_data.size(); ++i) {
    const arrow::Field& inner = *field.type()->field(static_cast<int>(i));
    if (!inner.nullable()) {
      if (const int64_t missing = MissingInside(data, *data.child_data[i]); missing > 0) {
        return MakeError(ErrorKind::kInvalid, "{}.{} is NOT NULL, and {} values of it are missing", path, inner.name(), missing);
      }
    }
    if (!data.child_data[i]->child_data.empty()) {
      SHEAF_RETURN_NOT_OK(CheckNotNullInside(path + "." + inner.name(), inner, *data.child_data[i]));
    }
  }
  return Status::OK();
}

Status CheckNotNull(const TableInfo& info, const arrow::RecordBatch& batch) {
  const auto path = [&info](const arrow::Field& field) { return info.schema_name + "." + info.name + "." + field.name(); };
  for (int i = 0; i < info.schema->num_fields(); ++i) {
    const arrow::Field& field = *info.schema->field(i);
    const arrow::ArrayData& data = *batch.column_data(i);
    if (!field.nullable() && data.GetNullCount() != 0) {
      return MakeError(ErrorKind::kInvalid, "{} is NOT NULL, and {} of {} rows have no value for it", path(field), data.GetNullCount(),
                       batch.num_rows());
    }
    if (!data.child_data.empty()) SHEAF_RETURN_NOT_OK(CheckNotNullInside(path(field), field, data));
  }
  return Status::OK();
}

}  // namespace

/// The log's payload together with what publishing it does, so that making rows visible needs no reading. The chunks hold
/// the bytes, and this holds the chunks only until they are visible.
class LocalDatabase::Draft : public arrow::Buffer {
 public:
  /// From Arrow's pool, since the log's thread frees it; see PooledBytes in log_payload.cc.
  static std::shared_ptr<Draft> Make(std::shared_ptr<arrow::Buffer> bytes, std::vector<VersionSet::NewRows> rows) {
    return std::allocate_shared<Draft>(arrow::stl::allocator<Draft>(), std::move(bytes), std::move(rows));
  }
  Draft(std::shared_ptr<arrow::Buffer> bytes, std::vector<VersionSet::NewRows> rows)
      : arrow::Buffer(bytes->data(), bytes->size()), rows_(std::move(rows)), bytes_(std::move(bytes)) {
    for (const VersionSet::NewRows& added : rows_) counted_ += added.bytes;
  }
  const std::vector<VersionSet::NewRows>& rows() const { return rows_; }
  int64_t counted() const { return counted_; }
  /// Once they are published, or never will be: on the thread that made them where it waited, so that malloc() finds its own.
  void ForgetRows() { rows_ = std::vector<VersionSet::NewRows>(); }

  std::string batch_id;
  bool buffered = false;
  bool caller_waits = false;
  mutable Status outcome;  // Of publishing; set before `done` is run.

 private:
  std::vector<VersionSet::NewRows> rows_;
  const std::shared_ptr<arrow::Buffer> bytes_;
  int64_t counted_ = 0;
};

LocalDatabase::LocalDatabase(io::FileSystem* files, io::Clock* clock, Options options)
    : files_(files),
      clock_(clock),
      options_(std::move(options)),
      paths_(options_.directory),
      granule_cache_(std::make_shared<parts::GranuleCache>(options_.granule_cache_bytes_max)),
      versions_(options_.memtable_bytes, options_.ingest_memory_bytes_max),
      ingest_(std::make_shared<MemoryCounter>("recent_rows", options_.ingest_memory_bytes_max)),
      rate_limit_(clock, {.cpu_share = options_.compaction_cpu_share,
                          .cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()))}) {
  AddMemorySource(ingest_);
  AddMemorySource(granule_cache_);
}

LocalDatabase::~LocalDatabase() {
  const Status status = Close();
  if (!status.ok()) LogError("database.close_failed", {{"directory", options_.directory}, {"error", status.message()}});
}

Result<std::unique_ptr<Database>> LocalDatabase::Open(io::FileSystem* files, io::Clock* clock, const Options& options) {
  std::unique_ptr<LocalDatabase> database;
  const Status recovered = CatchOutOfMemory([&] {
    database.reset(new LocalDatabase(files, clock, options));
    return database->Recover();
  });
  if (database == nullptr) return recovered;
  if (!recovered.ok()) {
    MutexLock lock(&database->state_mutex_);
    database->closed_ = true;
    return WithContext(recovered, fmt::format("open database {}", options.directory));
  }
  database->StartThreads();
  return database;
}

void LocalDatabase::StartThreads() noexcept {
  answerer_ = std::thread([this] { AnswerLoop(); });
  if (options_.read_only) return;
  sealer_ = std::thread([this] { SealLoop(); });
  upkeep_ = std::thread([this] { UpkeepLoop(); });
  compactor_ = std::thread([this] { CompactLoop(); });
  if (options_.scrub_interval_ms > 0) scrubber_ = std::thread([this] { ScrubLoop(); });
}

Status LocalDatabase::CheckOpen() const {
  MutexLock lock(&state_mutex_);
  return WhyNotOpen();
}

Status LocalDatabase::CheckWritable() const {
  MutexLock lock(&state_mutex_);
  SHEAF_RETURN_NOT_OK(WhyNotOpen());
  return disk_full_.empty() ? Status::OK() : MakeStatus(ErrorKind::kUnavailable, disk_full_);
}

Status LocalDatabase::WhyNotOpen() const {
  if (options_.read_only) {
    return MakeError(ErrorKind::kUnavailable, "the database {} was opened read-only", options_.directory);
  }
  if (closed_) return MakeError(ErrorKind::kUnavailable, "the database {} is closing", options_.directory);
  if (!poisoned_.empty()) return MakeStatus(ErrorKind::kUnavailable, poisoned_);
  return Status::OK();
}

Result<int> LocalDatabase::BeginAppend(const WriteOptions& options, const std::function<bool(TableId)>& touches) {
  if (static_cast<int64_t>(options.batch_id.size()) > wal::kBatchIdBytesMax) {
    return MakeError(ErrorKind::kInvalid, "a batch id has {} bytes; at most {} are possible", options.batch_id.size(),
                     wal::kBatchIdBytesMax);
  }
  MutexLock lock(&state_mutex_);
  std::optional<std::chrono::steady_clock::time_point> deadline;
  while (!closed_ && std::any_of(changing_.begin(), changing_.end(), touches)) {
    const auto now = std::chrono::steady_clock::now();
    if (!deadline) deadline = now + kChangeWait;
    if (now >= *deadline) {
      return MakeError(ErrorKind::kThrottled, "table {} is being changed; nothing was written, try again", changing_.front());
    }
    state_changed_.WaitFor(&state_mutex_, *deadline - now);
  }
  SHEAF_RETURN_NOT_OK(WhyNotOpen());
  if (!disk_full_.empty()) return MakeStatus(ErrorKind::kUnavailable, disk_full_);
  ++appending_[turn_];
  return turn_;
}

void LocalDatabase::EndAppend(int turn) {
  MutexLock lock(&state_mutex_);
  if (--appending_[turn] == 0 && (closed_ || !changing_.empty())) state_changed_.NotifyAll();
}

Result<std::vector<PayloadRows>> LocalDatabase::CheckRows(const Version& version, const std::vector<TableRows>& rows,
                                                          std::vector<VersionSet::NewRows>* prepared) const {
  if (rows.empty() || rows.size() > kEntryTablesMax) {
    return MakeError(ErrorKind::kInvalid, "an append has rows for {} tables; 1 to {} are possible", rows.size(), kEntryTablesMax);
  }
  SHEAF_RETURN_NOT_OK(CheckConditional(rows));
  std::vector<PayloadRows> checked;
  checked.reserve(rows.size());
  prepared->reserve(rows.size());  // Nothing moves: keys are looked at until the end.
  InsertedKeys inserted;
  for (const TableRows& given : rows) {
    const TableVersion* table = version.Find(given.table);
    if (table == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", given.table);
    const TableInfo& info = *table->info;
    if (!table->is_keyed() && (given.op != RowOp::kPut || given.expected || given.unchanged_since)) {
      return MakeError(ErrorKind::kInvalid, "{}.{} has no primary key: rows can only be added", info.schema_name, info.name);
    }
    if (given.batch == nullptr || given.batch->num_rows() == 0) {
      return MakeError(ErrorKind::kInvalid, "an append brings no rows for {}.{}", info.schema_name, info.name);
    }
    const auto& schema = given.op == RowOp::kDelete ? info.keys->key_schema() : info.schema;
    if (given.batch->schema() != schema && !given.batch->schema()->Equals(*schema, /*check_metadata=*/false)) {
      return MakeError(ErrorKind::kInvalid, "rows for {}.{} have another schema than the table{}; expected:\n{}", info.schema_name,
                       info.name, given.op == RowOp::kDelete ? "'s key" : "", schema->ToString());
    }
    VersionSet::NewRows& added = prepared->emplace_back();
    added.table = given.table;
    added.op = given.op;
    added.condition = {given.expected, given.unchanged_since};
    PayloadRows& section = checked.emplace_back();
    section.table = given.table;
    section.schema_version = info.schema_version;
    section.op = given.op;
    section.condition = added.condition;
    if (given.op == RowOp::kDelete) {
      SHEAF_ASSIGN_OR_RETURN(added.keys, info.keys->EncodeKeys(*given.batch));
      section.form = SectionForm::kKeys;
      for (int64_t i = 0; i < added.keys.size(); ++i) section.packed.push_back(added.keys[i]);
    } else {
      SHEAF_RETURN_NOT_OK(CheckNotNull(info, *given.batch));
      if (table->is_keyed()) {
        SHEAF_ASSIGN_OR_RETURN(added.keys, info.keys->Encode(*given.batch));
      }
      section.codec = table->codec;
      section.batch = given.batch;
    }
    // Decided again, for good, when it is published: by then another write may have come first.
    SHEAF_RETURN_NOT_OK(CheckConditions(*table, given.op, added.condition, added.keys, versions_.visible(), &inserted));
  }
  return checked;
}

Result<std::shared_ptr<LocalDatabase::Draft>> LocalDatabase::DraftRows(const std::vector<TableRows>& rows,
                                                                       const WriteOptions& options) const {
  if (ingest_->bytes() >= options_.ingest_memory_bytes_max) return Refuse(0);
  const std::shared_ptr<const Version> version = versions_.current();
  std::vector<VersionSet::NewRows> prepared;
  SHEAF_ASSIGN_OR_RETURN(const std::vector<PayloadRows> checked, CheckRows(*version, rows, &prepared));
  SHEAF_ASSIGN_OR_RETURN(EncodedPayload encoded, EncodePayload(checked, wal::kPayloadBytesMax));
  bool buffered = true;
  for (size_t i = 0; i < prepared.size(); ++i) {
    VersionSet::NewRows& added = prepared[i];
    const TableVersion& table = *version->Find(added.table);
    if (table.is_keyed()) SHEAF_RETURN_NOT_OK(StallWrite(table));
    buffered = buffered && table.info->durability == Durability::kBuffered;
    added.bytes = encoded.tables[i].bytes;
    if (table.is_keyed()) {
      added.batch = std::move(encoded.tables[i].batch);
    } else {
      added.chunk = table.active.append->MakeChunk(std::move(encoded.tables[i].batch), added.bytes);
    }
  }
  auto draft = Draft::Make(std::move(encoded.bytes), std::move(prepared));
  draft->buffered = options.durability == Durability::kTable ? buffered : options.durability == Durability::kBuffered;
  draft->caller_waits = options.caller_waits;
  draft->batch_id = options.batch_id;
  return draft;
}

Result<std::shared_ptr<LocalDatabase::Draft>> LocalDatabase::DraftPacked(TableId id, RowOp op, std::string_view item,
                                                                         const WriteOptions& options) const {
  const std::shared_ptr<const Version> version = versions_.current();
  const TableVersion* table = version->Find(id);
  if (table == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", id);
  const TableInfo& info = *table->info;
  if (!table->is_keyed()) {
    return MakeError(ErrorKind::kInvalid, "{}.{} has no primary key: single rows are for keyed tables", info.schema_name, info.name);
  }
  SHEAF_RETURN_NOT_OK(StallWrite(*table));
  std::vector<VersionSet::NewRows> prepared(1);
  VersionSet::NewRows& added = prepared.front();
  added.table = id;
  added.op = op;
  added.condition.expected = options.expected;
  if (op == RowOp::kDelete) {
    if (item.empty() || item.size() > columns::kKeyBytesMax) {
      return MakeError(ErrorKind::kInvalid, "a key of {} bytes; 1 to {} are possible", item.size(), columns::kKeyBytesMax);
    }
    added.keys.Add(item);
  } else {
    if (info.rows == nullptr) {
      return MakeError(ErrorKind::kUnsupported, "{}.{} has nested columns, which compact rows cannot hold: append a batch",
                       info.schema_name, info.name);
    }
    SHEAF_RETURN_NOT_OK(info.rows->Check(item));
    SHEAF_RETURN_NOT_OK(info.keys->EncodeRow(*info.rows, item, &added.keys.bytes));
    added.keys.ends.push_back(static_cast<uint32_t>(added.keys.bytes.size()));
  }
  InsertedKeys inserted;
  SHEAF_RETURN_NOT_OK(CheckConditions(*table, op, added.condition, added.keys, versions_.visible(), &inserted));
  const SectionForm form = op == RowOp::kDelete ? SectionForm::kKeys : SectionForm::kRows;
  const std::string_view items[] = {item};
  SHEAF_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bytes,
                         EncodePacked(id, info.schema_version, op, form, items, added.condition));
  added.bytes = bytes->size();
  if (op != RowOp::kDelete) added.row = FirstPacked(*bytes).substr(0, item.size());
  const Durability durability = options.durability == Durability::kTable ? info.durability : options.durability;
  auto draft = Draft::Make(std::move(bytes), std::move(prepared));
  draft->buffered = durability == Durability::kBuffered;
  draft->caller_waits = options.caller_waits;
  draft->batch_id = options.batch_id;
  return draft;
}

template <typename MakeDraft>
Status LocalDatabase::AppendOnce(const WriteOptions& options, const std::function<bool(TableId)>& touches, Done done,
                                 const MakeDraft& make) {
  SHEAF_ASSIGN_OR_RETURN(const int turn, BeginAppend(options, touches));
  const std::string& batch_id = options.batch_id;
  if (!batch_id.empty()) {
    const BatchIds::Claim claim = batch_ids_.Ask(batch_id, done);
    if (claim.kind != BatchIds::Claim::Kind::kFirst) {
      EndAppend(turn);
      if (claim.kind == BatchIds::Claim::Kind::kWaiting) return Status::OK();
      if (answers_.TryPush({std::move(done), claim.lsn})) return Status::OK();
      return MakeError(ErrorKind::kThrottled, "too many retries of known batches at once; try again");
    }
  }
  Status submitted;
  if (auto draft = make(); draft.ok()) {
    submitted = Submit(*std::move(draft), turn, std::move(done));
  } else {
    submitted = draft.status();
  }
  if (submitted.ok()) return submitted;
  if (!batch_id.empty()) {
    for (const Done& waiting : batch_ids_.Settle(batch_id)) waiting(submitted);
  }
  EndAppend(turn);
  return submitted;
}

Status LocalDatabase::AppendAsync(const std::vector<TableRows>& rows, const WriteOptions& options, Done done) noexcept {
  return AppendOnce(
      options,
      [&rows](TableId table) {
        return std::any_of(rows.begin(), rows.end(), [&](const TableRows& given) { return given.table == table; });
      },
      std::move(done), [&] { return DraftRows(rows, options); });
}

Status LocalDatabase::PutRowAsync(TableId table, std::string_view row, const WriteOptions& options, Done done) noexcept {
  if (options.op == RowOp::kDelete) return MakeError(ErrorKind::kInvalid, "a row cannot be put as a deletion: delete its key");
  return AppendOnce(
      options, [table](TableId changed) { return changed == table; }, std::move(done),
      [&] { return DraftPacked(table, options.op, row, options); });
}

Status LocalDatabase::DeleteRowAsync(TableId table, std::string_view key, const WriteOptions& options, Done done) noexcept {
  return AppendOnce(
      options, [table](TableId changed) { return changed == table; }, std::move(done),
      [&] { return DraftPacked(table, RowOp::kDelete, key, options); });
}

Result<KeyedRow> LocalDatabase::Get(TableId id, std::string_view key) const {
  const auto [version, at] = versions_.Now();
  const TableVersion* table = version->Find(id);
  if (table == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", id);
  if (!table->is_keyed()) {
    return MakeError(ErrorKind::kInvalid, "{}.{} has no primary key to find rows by", table->info->schema_name, table->info->name);
  }
  return GetRow(*table, key, at);
}

Result<std::vector<KeyedRow>> LocalDatabase::MultiGet(TableId table, const columns::KeyColumn& keys) const {
  return GetSnapshot()->MultiGet(table, keys);
}

Status LocalDatabase::Refuse(int64_t more) const {
  static Counter& throttled = Metrics().AddCounter("sheaf_store_throttled_total", "Appends refused because memory for rows is full.");
  throttled.Add();
  return MakeError(ErrorKind::kThrottled, "rows waiting in memory take {} bytes, and {} more would pass the limit of {}; try again",
                   ingest_->bytes(), more, options_.ingest_memory_bytes_max);
}

Status LocalDatabase::Submit(std::shared_ptr<Draft> draft, int turn, Done done) {
  const int64_t bytes = draft->counted();
  if (ingest_->Add(bytes) > options_.ingest_memory_bytes_max) {
    ingest_->Add(-bytes);
    return Refuse(bytes);
  }
  wal::Entry entry;
  entry.type = kRowsEntry;
  entry.batch_id = draft->batch_id;
  entry.buffered = draft->buffered;
  entry.sender_waits = draft->caller_waits;
  entry.payload = draft;
  const Status appended = log_->Append(std::move(entry), [this, draft = std::move(draft), turn, done = std::move(done)](
                                                             Result<Lsn> outcome) { Finish(*draft, turn, done, outcome); });
  if (!appended.ok()) ingest_->Add(-bytes);
  return appended;
}

Status LocalDatabase::SubmitLogged(std::shared_ptr<arrow::Buffer> bytes, std::vector<VersionSet::NewRows> rows,
                                   const std::string& batch_id, int turn, Done done) {
  auto draft = Draft::Make(std::move(bytes), std::move(rows));
  draft->batch_id = batch_id;
  return Submit(std::move(draft), turn, std::move(done));
}

void LocalDatabase::OnVisible(const wal::LoggedEntry& entry) {
  if (entry.entry.type == kDefinitionEntry) {  // Its change is visible already.
    versions_.Publish(entry.lsn, {}, clock_->MonotonicNs());
    return;
  }
  const auto* draft = dynamic_cast<const Draft*>(entry.entry.payload.get());
  SHEAF_CHECK(draft != nullptr);
  VersionSet::Published published = versions_.Publish(entry.lsn, draft->rows(), clock_->MonotonicNs());
  draft->outcome = std::move(published.outcome);
  if (published.full) {
    MutexLock lock(&state_mutex_);
    ++seal_wanted_;
    state_changed_.NotifyAll();
  }
  if (!entry.entry.batch_id.empty() && draft->outcome.ok()) batch_ids_.Remember({entry.entry.batch_id, entry.lsn, entry.time_ns});
}

/// Runs once the outcome of an append is known, on the log's thread or a sender's.
void LocalDatabase::Finish(Draft& draft, int turn, const Done& done, const Result<Lsn>& logged) {
  Result<Lsn> outcome = logged;
  draft.ForgetRows();
  if (!logged.ok()) {
    if (KindOf(logged.status()) == ErrorKind::kUnknown) {
      SetNotWritable(fmt::format("the log of {} failed: {}; restart to recover", options_.directory, logged.status().message()));
    }
  } else if (!draft.outcome.ok()) {
    const ErrorKind kind = KindOf(draft.outcome);
    const bool decided = kind == ErrorKind::kConflict || kind == ErrorKind::kAlreadyExists;
    outcome = decided ? draft.outcome : MakeError(ErrorKind::kUnknown, "the append's condition: {}", draft.outcome.message());
  }
  if (!outcome.ok()) ingest_->Add(-draft.counted());
  std::vector<Done> waiting;
  if (!draft.batch_id.empty()) waiting = batch_ids_.Settle(draft.batch_id);
  done(outcome);
  for (const Done& other : waiting) other(outcome);
  EndAppend(turn);
}

void LocalDatabase::AnswerLoop() {
  while (auto answer = answers_.Pop()) answer->first(answer->second);
}

void LocalDatabase::SetNotWritable(const std::string& reason) {
  MutexLock lock(&state_mutex_);
  if (!poisoned_.empty()) return;
  poisoned_ = reason;
  LogError("database.not_writable", {{"directory", options_.directory}, {"reason", reason}});
}

bool LocalDatabase::stopping() const {
  MutexLock lock(&state_mutex_);
  return stopping_;
}

Result<std::shared_ptr<const TableInfo>> LocalDatabase::FindTable(const std::string& schema_name, const std::string& name) const {
  return versions_.current()->FindByName(schema_name, name);
}

std::vector<PartStatus> LocalDatabase::Parts() const {
  std::vector<PartStatus> parts;
  const std::shared_ptr<const Version> version = versions_.current();
  for (const auto& table : version->tables) {
    for (const auto& part : table->parts) parts.push_back({table->info, part->info, part->source->damage()});
  }
  return parts;
}

Stats LocalDatabase::GetStats() const {
  Stats stats;
  stats.durable = log_->durable_lsn();
  stats.covered = Lsn(covered_lsn_.load());
  const std::shared_ptr<const Version> version = versions_.current();
  for (const auto& table : version->tables) {
    for (const TableMemtable& memtable : table->sealing) {
      stats.memtable_bytes += memtable.bytes();
      stats.memtable_rows += memtable.rows();
    }
    stats.memtable_bytes += table->active.bytes();
    stats.memtable_rows += table->active.rows();
    stats.parts += static_cast<int64_t>(table->parts.size());
    for (const auto& part : table->parts) {
      stats.part_bytes += part->info.data_bytes + part->info.index_bytes;
      stats.damaged_parts += part->damaged() ? 1 : 0;
    }
  }
  stats.log_bytes = log_->disk_bytes();
  stats.seals = seals_.load();
  stats.cold_conversions = cold_conversions_.load();
  stats.compactions = compactions_.load();
  stats.parts_expired = parts_expired_.load();
  stats.scrubbed_parts = scrubbed_parts_.load();
  stats.scrubbed_bytes = scrubbed_bytes_.load();
  const Status writable = CheckWritable();
  stats.writable = writable.ok();
  if (!writable.ok()) stats.not_writable_reason = writable.message();
  return stats;
}

Status LocalDatabase::Close() noexcept {
  {
    MutexLock lock(&state_mutex_);
    if (closed_) return Status::OK();
    closed_ = true;
    state_changed_.NotifyAll();
    while (appending_[0] + appending_[1] > 0) state_changed_.Wait(&state_mutex_);
  }
  Failpoint("store.close_begun");
  { MutexLock lock(&definitions_mutex_); }  // A change that began before ends first; none begins any more.
  Status status;
  if (!options_.read_only) {
    versions_.Rotate(INT64_MAX);
    status = WaitForSeals(versions_.Sealing(), kCloseSealNs);
    if (!status.ok()) {
      LogWarn("database.closed_unsealed", {{"directory", options_.directory}, {"error", status.message()}});
      if (KindOf(status) == ErrorKind::kTimeout) status = Status::OK();  // The log has the rows.
    }
  }
  {
    MutexLock lock(&state_mutex_);
    stopping_ = true;
    cancel_compaction_.store(true);
    state_changed_.NotifyAll();
  }
  if (compactor_.joinable()) compactor_.join();
  if (scrubber_.joinable()) scrubber_.join();
  if (sealer_.joinable()) sealer_.join();
  if (upkeep_.joinable()) upkeep_.join();
  if (!options_.read_only && status.ok()) SettleManifests();
  Failpoint("store.log_closing");
  if (log_ != nullptr) {
    const Status closed = log_->Close();
    if (status.ok()) status = closed;
  }
  Failpoint("store.closed");
  answers_.Close();
  if (answerer_.joinable()) answerer_.join();
  lock_.reset();
  return status;
}

}  // namespace sheaf::store
