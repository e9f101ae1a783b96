#include "store/local_database.h"

#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "core/metrics.h"

namespace sheaf::store {
namespace {

/// How long Close() waits for memtables to become parts; what is not done by then stays in the log.
constexpr int64_t kCloseSealNs = int64_t{20} * 1'000'000'000;

/// The log's payload together with the chunks made from it, so that making them visible needs no reading.
/// The chunks hold the bytes, and this holds the chunks only until the log lets go of it.
class PreparedPayload : public arrow::Buffer {
 public:
  PreparedPayload(std::shared_ptr<arrow::Buffer> bytes, std::vector<VersionSet::NewRows> rows)
      : arrow::Buffer(bytes->data(), bytes->size()), rows_(std::move(rows)), bytes_(std::move(bytes)) {}
  const std::vector<VersionSet::NewRows>& rows() const { return rows_; }

 private:
  const std::vector<VersionSet::NewRows> rows_;
  const std::shared_ptr<arrow::Buffer> bytes_;
};

int64_t TableBytes(const std::vector<VersionSet::NewRows>& rows) {
  int64_t bytes = 0;
  for (const auto& added : rows) bytes += added.chunk->bytes();
  return bytes;
}

}  // namespace

LocalDatabase::LocalDatabase(io::FileSystem* files, io::Clock* clock, Options options)
    : files_(files),
      clock_(clock),
      options_(std::move(options)),
      paths_(options_.directory),
      versions_(options_.memtable_bytes, options_.ingest_memory_bytes_max) {}

LocalDatabase::~LocalDatabase() {
  const Status status = Close();
  if (!status.ok()) LogError("database.close_failed", {{"directory", options_.directory}, {"error", status.message()}});
}

Result<std::unique_ptr<Database>> LocalDatabase::Open(io::FileSystem* files, io::Clock* clock, const Options& options) {
  std::unique_ptr<LocalDatabase> database(new LocalDatabase(files, clock, options));
  const Status recovered = database->Recover();
  if (!recovered.ok()) {
    MutexLock lock(&database->state_mutex_);
    database->closed_ = true;
    return WithContext(recovered, fmt::format("open database {}", options.directory));
  }
  database->answerer_ = std::thread([self = database.get()] { self->AnswerLoop(); });
  if (!options.read_only) {
    database->sealer_ = std::thread([self = database.get()] { self->SealLoop(); });
    database->upkeep_ = std::thread([self = database.get()] { self->UpkeepLoop(); });
  }
  return database;
}

Status LocalDatabase::CheckWritable() const {
  if (options_.read_only) {
    return MakeError(ErrorKind::kUnavailable, "the database {} was opened read-only", options_.directory);
  }
  MutexLock lock(&state_mutex_);
  if (closed_) return MakeError(ErrorKind::kUnavailable, "the database {} is closing", options_.directory);
  if (!poisoned_.empty()) return MakeStatus(ErrorKind::kUnavailable, poisoned_);
  if (!disk_full_.empty()) return MakeStatus(ErrorKind::kUnavailable, disk_full_);
  return Status::OK();
}

bool LocalDatabase::BeginAppend() {
  MutexLock lock(&state_mutex_);
  if (closed_) return false;
  ++appending_;
  return true;
}

void LocalDatabase::EndAppend() {
  MutexLock lock(&state_mutex_);
  if (--appending_ == 0 && closed_) state_changed_.NotifyAll();
}

Result<std::vector<PayloadRows>> LocalDatabase::CheckRows(const Version& version, const std::vector<TableRows>& rows) const {
  if (rows.empty() || rows.size() > kEntryTablesMax) {
    return MakeError(ErrorKind::kInvalid, "an append has rows for {} tables; 1 to {} are possible", rows.size(), kEntryTablesMax);
  }
  std::vector<PayloadRows> checked;
  checked.reserve(rows.size());
  for (const TableRows& given : rows) {
    const TableVersion* table = version.Find(given.table);
    if (table == nullptr) return MakeError(ErrorKind::kNotFound, "there is no table with id {}", given.table);
    const TableInfo& info = *table->info;
    if (given.op != RowOp::kPut || given.expected || given.unchanged_since) {
      return MakeError(ErrorKind::kInvalid, "{}.{} has no primary key: rows can only be added", info.schema_name, info.name);
    }
    if (given.batch == nullptr || given.batch->num_rows() == 0) {
      return MakeError(ErrorKind::kInvalid, "an append brings no rows for {}.{}", info.schema_name, info.name);
    }
    if (given.batch->schema() != info.schema && !given.batch->schema()->Equals(*info.schema, /*check_metadata=*/false)) {
      return MakeError(ErrorKind::kInvalid, "rows for {}.{} have another schema than the table; expected:\n{}", info.schema_name,
                       info.name, info.schema->ToString());
    }
    checked.push_back({given.table, info.schema_version, table->codec, given.batch});
  }
  return checked;
}

Status LocalDatabase::AppendAsync(const std::vector<TableRows>& rows, const WriteOptions& options, Done done) {
  const std::string& batch_id = options.batch_id;
  SHEAF_RETURN_NOT_OK(CheckWritable());
  if (static_cast<int64_t>(batch_id.size()) > wal::kBatchIdBytesMax) {
    return MakeError(ErrorKind::kInvalid, "a batch id has {} bytes; at most {} are possible", batch_id.size(), wal::kBatchIdBytesMax);
  }
  const std::shared_ptr<const Version> version = versions_.current();
  SHEAF_ASSIGN_OR_RETURN(const std::vector<PayloadRows> checked, CheckRows(*version, rows));
  if (!BeginAppend()) return MakeError(ErrorKind::kUnavailable, "the database {} is closing", options_.directory);
  if (!batch_id.empty()) {
    const BatchIds::Claim claim = batch_ids_.Ask(batch_id, done);
    if (claim.kind != BatchIds::Claim::Kind::kFirst) {
      EndAppend();
      if (claim.kind == BatchIds::Claim::Kind::kWaiting) return Status::OK();
      if (answers_.TryPush({std::move(done), claim.lsn})) return Status::OK();
      return MakeError(ErrorKind::kThrottled, "too many retries of known batches at once; try again");
    }
  }
  const Status submitted = Submit(checked, *version, batch_id, std::move(done));
  if (submitted.ok()) return submitted;
  if (!batch_id.empty()) {
    for (const Done& waiting : batch_ids_.Settle(batch_id)) waiting(submitted);
  }
  EndAppend();
  return submitted;
}

Status LocalDatabase::Submit(const std::vector<PayloadRows>& rows, const Version& version, const std::string& batch_id, Done done) {
  static Counter& throttled = Metrics().AddCounter("sheaf_store_throttled_total", "Appends refused because memory for rows is full.");
  const auto Refuse = [&](int64_t more) {
    throttled.Add();
    return MakeError(ErrorKind::kThrottled, "rows waiting in memory take {} bytes, and {} more would pass the limit of {}; try again",
                     ingest_bytes_.load(), more, options_.ingest_memory_bytes_max);
  };
  if (ingest_bytes_.load(std::memory_order_relaxed) >= options_.ingest_memory_bytes_max) return Refuse(0);
  SHEAF_ASSIGN_OR_RETURN(EncodedPayload encoded, EncodePayload(rows, wal::kPayloadBytesMax));
  std::vector<VersionSet::NewRows> prepared;
  prepared.reserve(encoded.tables.size());
  for (EncodedPayload::Table& table : encoded.tables) {
    const memtable::Memtable& active = *version.Find(table.table)->active;
    prepared.push_back({table.table, active.MakeChunk(std::move(table.batch), table.bytes)});
  }
  const int64_t bytes = TableBytes(prepared);
  if (ingest_bytes_.fetch_add(bytes) + bytes > options_.ingest_memory_bytes_max) {
    ingest_bytes_.fetch_sub(bytes);
    return Refuse(bytes);
  }
  wal::Entry entry;
  entry.type = kRowsEntry;
  entry.batch_id = batch_id;
  entry.payload = std::make_shared<PreparedPayload>(std::move(encoded.bytes), std::move(prepared));
  const Status appended = log_->Append(std::move(entry), [this, batch_id, bytes, done = std::move(done)](Result<Lsn> outcome) {
    Finish(batch_id, bytes, done, outcome);
  });
  if (!appended.ok()) ingest_bytes_.fetch_sub(bytes);
  return appended;
}

void LocalDatabase::OnDurable(const wal::LoggedEntry& entry) {
  const auto* prepared = dynamic_cast<const PreparedPayload*>(entry.entry.payload.get());
  SHEAF_CHECK(prepared != nullptr);
  if (versions_.Publish(entry.lsn, prepared->rows(), clock_->MonotonicNs())) {
    MutexLock lock(&state_mutex_);
    ++seal_wanted_;
    state_changed_.NotifyAll();
  }
  if (!entry.entry.batch_id.empty()) batch_ids_.Remember({entry.entry.batch_id, entry.lsn, entry.time_ns});
}

/// Runs on the log's thread once the outcome of an append is known.
void LocalDatabase::Finish(const std::string& batch_id, int64_t bytes, const Done& done, const Result<Lsn>& outcome) {
  if (!outcome.ok()) {
    ingest_bytes_.fetch_sub(bytes);
    if (KindOf(outcome.status()) == ErrorKind::kUnknown) {
      SetNotWritable(fmt::format("the log of {} failed: {}; restart to recover", options_.directory, outcome.status().message()));
    }
  }
  std::vector<Done> waiting;
  if (!batch_id.empty()) waiting = batch_ids_.Settle(batch_id);
  done(outcome);
  for (const Done& other : waiting) other(outcome);
  EndAppend();
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
    for (const auto& part : table->parts) parts.push_back({table->info, part->info});
  }
  return parts;
}

Stats LocalDatabase::GetStats() const {
  Stats stats;
  stats.durable = log_->durable_lsn();
  stats.covered = Lsn(covered_lsn_.load());
  const std::shared_ptr<const Version> version = versions_.current();
  for (const auto& table : version->tables) {
    for (const auto& memtable : table->sealing) {
      stats.memtable_bytes += memtable->bytes();
      stats.memtable_rows += memtable->rows();
    }
    stats.memtable_bytes += table->active->bytes();
    stats.memtable_rows += table->active->rows();
    stats.parts += static_cast<int64_t>(table->parts.size());
    for (const auto& part : table->parts) stats.part_bytes += part->info.data_bytes + part->info.index_bytes;
  }
  stats.log_bytes = log_->disk_bytes();
  stats.seals = seals_.load();
  stats.cold_conversions = cold_conversions_.load();
  stats.parts_expired = parts_expired_.load();
  const Status writable = CheckWritable();
  stats.writable = writable.ok();
  if (!writable.ok()) stats.not_writable_reason = writable.message();
  return stats;
}

Status LocalDatabase::Close() {
  {
    MutexLock lock(&state_mutex_);
    if (closed_) return Status::OK();
    closed_ = true;
    while (appending_ > 0) state_changed_.Wait(&state_mutex_);
  }
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
    state_changed_.NotifyAll();
  }
  if (sealer_.joinable()) sealer_.join();
  if (upkeep_.joinable()) upkeep_.join();
  if (!options_.read_only && status.ok()) SettleManifests();
  if (log_ != nullptr) {
    const Status closed = log_->Close();
    if (status.ok()) status = closed;
  }
  answers_.Close();
  if (answerer_.joinable()) answerer_.join();
  lock_.reset();
  return status;
}

}  // namespace sheaf::store
