#include "sheaf/database.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <arrow/table.h>

#include "columns/key_codec.h"
#include "core/log.h"
#include "core/mutex.h"
#include "core/status.h"
#include "io/posix.h"
#include "query/engine.h"
#include "query/row_reader.h"
#include "store/database.h"

namespace sheaf {

/// Database and engine, closed when nothing uses them any more.
class Database::Opened {
 public:
  static Result<std::shared_ptr<Opened>> Open(const std::string& directory, const OpenOptions& options) {
    auto out = std::make_shared<Opened>();
    store::Options store;
    store.directory = directory;
    store.read_only = options.read_only;
    store.memtable_bytes = options.memtable_bytes;
    store.log_direct_io = options.log_direct_io;
    store.log_cpu = options.log_cpu;
    SHEAF_ASSIGN_OR_RETURN(out->database, store::Database::Open(io::PosixFileSystem(), io::SystemClock(), store));
    query::EngineOptions engine;
    engine.threads = options.query_threads;
    engine.memory_bytes_max = options.query_memory_bytes;
    engine.timeout_ms = 0;
    engine.read_ahead_granules = options.read_ahead_granules;
    SHEAF_ASSIGN_OR_RETURN(out->engine, query::Engine::Open(out->database.get(), engine));
    return out;
  }

  ~Opened() {
    engine.reset();
    if (database == nullptr) return;
    const Status closed = database->Close();
    if (!closed.ok()) LogWarn("database.close_failed", {{"reason", closed.message()}});
  }

  Result<std::shared_ptr<const store::TableInfo>> Find(const std::string& table) const {
    const size_t dot = table.find('.');
    return dot == std::string::npos ? database->FindTable("main", table) : database->FindTable(table.substr(0, dot), table.substr(dot + 1));
  }

  std::unique_ptr<store::Database> database;
  std::unique_ptr<query::Engine> engine;  // Above the database that it borrows.
};

namespace {

constexpr auto kWaitMin = std::chrono::milliseconds(1), kWaitMax = std::chrono::milliseconds(100);

/// A statement's rows. Keeps what it reads from open.
class SqlReader : public arrow::RecordBatchReader {
 public:
  SqlReader(std::shared_ptr<void> opened, std::unique_ptr<query::Query> query) : opened_(std::move(opened)), query_(std::move(query)) {}
  ~SqlReader() override { query_.reset(); }

  std::shared_ptr<arrow::Schema> schema() const override { return query_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override { return query_->Next().Value(batch); }

 private:
  std::shared_ptr<void> opened_;
  std::unique_ptr<query::Query> query_;
};

store::Durability DurabilityOf(Ingested when) {
  switch (when) {
    case Ingested::kVisible: return store::Durability::kBuffered;
    case Ingested::kDurable: return store::Durability::kLocal;
    case Ingested::kAsTableSays: break;
  }
  return store::Durability::kTable;
}

}  // namespace

Database::Database(std::shared_ptr<Opened> opened) : opened_(std::move(opened)) {}

Database::~Database() = default;

arrow::Result<std::shared_ptr<Database>> Database::Open(const std::string& directory, const OpenOptions& options) {
  SHEAF_ASSIGN_OR_RETURN(auto opened, Opened::Open(directory, options));
  return std::shared_ptr<Database>(new Database(std::move(opened)));
}

arrow::Result<std::shared_ptr<arrow::RecordBatchReader>> Database::Sql(const std::string& sql,
                                                                         const std::vector<SqlParameter>& parameters) {
  query::QueryRequest request;
  request.sql = sql;
  request.parameters = parameters;
  request.trusted = true;
  SHEAF_ASSIGN_OR_RETURN(auto query, opened_->engine->Start(request));
  return std::make_shared<SqlReader>(opened_, std::move(query));
}

arrow::Status Database::Execute(const std::string& sql, const std::vector<SqlParameter>& parameters) {
  SHEAF_ASSIGN_OR_RETURN(const auto rows, Sql(sql, parameters));
  std::shared_ptr<arrow::RecordBatch> batch;
  do {
    SHEAF_RETURN_NOT_OK(rows->ReadNext(&batch));
  } while (batch != nullptr);
  return Status::OK();
}

arrow::Result<uint64_t> Database::Ingest(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                                         const IngestOptions& options) {
  if (rows == nullptr) return MakeError(ErrorKind::kInvalid, "no rows were given for {}", table);
  SHEAF_ASSIGN_OR_RETURN(const auto info, opened_->Find(table));
  store::TableRows given{info->id, rows, options.insert_only ? store::RowOp::kInsert : store::RowOp::kPut};
  if (options.expected) given.expected = Lsn(*options.expected);
  if (!rows->schema()->Equals(*info->schema, /*check_metadata=*/false)) {
    SHEAF_ASSIGN_OR_RETURN(const auto whole, arrow::Table::FromRecordBatches({rows}));
    SHEAF_ASSIGN_OR_RETURN(const auto conformed, query::ConformRows(*whole, info->schema));
    SHEAF_ASSIGN_OR_RETURN(given.batch, conformed->CombineChunksToBatch());
  }
  store::WriteOptions write;
  write.batch_id = options.batch_id;
  write.durability = DurabilityOf(options.when);
  Mutex mutex;
  CondVar nobody;  // Never told: the store says only that it is worth trying again.
  for (auto wait = kWaitMin;; wait = std::min(2 * wait, kWaitMax)) {
    const auto lsn = opened_->database->Append({given}, write);
    if (lsn.ok()) return lsn->value;
    if (KindOf(lsn.status()) != ErrorKind::kThrottled) return lsn.status();
    const MutexLock lock(&mutex);
    nobody.WaitFor(&mutex, wait);
  }
}

arrow::Result<FoundRow> Database::Get(const std::string& table, const std::vector<std::shared_ptr<arrow::Scalar>>& key) const {
  SHEAF_ASSIGN_OR_RETURN(const auto info, opened_->Find(table));
  if (info->keys == nullptr) return MakeError(ErrorKind::kInvalid, "{} has no primary key to find rows by", table);
  SHEAF_ASSIGN_OR_RETURN(const std::string encoded, info->keys->EncodeScalars(key));
  SHEAF_ASSIGN_OR_RETURN(const store::KeyedRow found, opened_->database->Get(info->id, encoded));
  if (!found) return FoundRow{};
  return FoundRow{found.Slice(), found.lsn.value};
}

arrow::Result<std::string> Database::CreateSnapshot(const std::string& id) {
  SHEAF_ASSIGN_OR_RETURN(const store::SnapshotInfo made, opened_->database->CreateSnapshot(id));
  return made.id;
}

arrow::Status Database::Flush() { return opened_->database->Flush(); }

std::string_view ErrorCode(const arrow::Status& error) { return ErrorKindName(KindOf(error)); }

}  // namespace sheaf
