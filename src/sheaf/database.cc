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
    engine.functions = options.functions;
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

  Result<store::TableRows> Prepare(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                                   const IngestOptions& options, bool remove, store::WriteOptions* write) const;
  Result<uint64_t> Write(const store::TableRows& given, const store::WriteOptions& write) const;

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

/// Rows by key. Keeps what it reads from open.
class ScanReader : public arrow::RecordBatchReader {
 public:
  ScanReader(std::shared_ptr<void> opened, std::shared_ptr<arrow::Schema> schema, std::unique_ptr<store::RowCursor> cursor)
      : opened_(std::move(opened)), schema_(std::move(schema)), cursor_(std::move(cursor)) {}
  ~ScanReader() override { cursor_.reset(); }

  std::shared_ptr<arrow::Schema> schema() const override { return schema_; }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override { return cursor_->Next().Value(batch); }

 private:
  const std::shared_ptr<void> opened_;
  const std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<store::RowCursor> cursor_;
};

/// Rows as the table has them: columns found by name, cast without loss.
Result<std::shared_ptr<arrow::RecordBatch>> Conformed(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                                                      const std::shared_ptr<arrow::Schema>& schema) {
  if (rows == nullptr) return MakeError(ErrorKind::kInvalid, "no rows were given for {}", table);
  if (rows->schema()->Equals(*schema, /*check_metadata=*/false)) return rows;
  SHEAF_ASSIGN_OR_RETURN(const auto whole, arrow::Table::FromRecordBatches({rows}));
  SHEAF_ASSIGN_OR_RETURN(const auto conformed, query::ConformRows(*whole, schema, arrow::default_memory_pool()));
  return conformed->CombineChunksToBatch();
}

Status NoKey(const std::string& table) {
  return MakeError(ErrorKind::kInvalid, "{} has no primary key to find rows by", table);
}

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
  for (const SqlParameter& parameter : parameters) {
    request.parameters.push_back(std::visit([](const auto& value) -> query::Parameter { return value; }, parameter));
  }
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

/// What a write hands to the store; `remove`: `rows` are keys.
Result<store::TableRows> Database::Opened::Prepare(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                                           const IngestOptions& options, bool remove, store::WriteOptions* write) const {
  SHEAF_ASSIGN_OR_RETURN(const auto info, Find(table));
  if (remove && info->keys == nullptr) return NoKey(table);
  store::TableRows given{info->id, nullptr, options.insert_only ? store::RowOp::kInsert : store::RowOp::kPut};
  if (remove) given.op = store::RowOp::kDelete;
  if (options.expected) given.expected = Lsn(*options.expected);
  SHEAF_ASSIGN_OR_RETURN(given.batch, Conformed(table, rows, remove ? info->keys->key_schema() : info->schema));
  write->batch_id = options.batch_id;
  write->durability = DurabilityOf(options.when);
  return given;
}

/// Waits while too much waits for disk or compaction.
Result<uint64_t> Database::Opened::Write(const store::TableRows& given, const store::WriteOptions& write) const {
  Mutex mutex;
  CondVar nobody;  // Never told: the store says only that it is worth trying again.
  for (auto wait = kWaitMin;; wait = std::min(2 * wait, kWaitMax)) {
    const auto lsn = database->Append({given}, write);
    if (lsn.ok()) return lsn->value;
    if (KindOf(lsn.status()) != ErrorKind::kThrottled) return lsn.status();
    const MutexLock lock(&mutex);
    nobody.WaitFor(&mutex, wait);
  }
}

arrow::Result<uint64_t> Database::Ingest(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                                         const IngestOptions& options) {
  store::WriteOptions write;
  SHEAF_ASSIGN_OR_RETURN(const store::TableRows given, opened_->Prepare(table, rows, options, /*remove=*/false, &write));
  return opened_->Write(given, write);
}

arrow::Result<uint64_t> Database::Delete(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& keys,
                                         const IngestOptions& options) {
  store::WriteOptions write;
  SHEAF_ASSIGN_OR_RETURN(const store::TableRows given, opened_->Prepare(table, keys, options, /*remove=*/true, &write));
  return opened_->Write(given, write);
}

arrow::Status Database::IngestAsync(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                                    const IngestOptions& options, IngestDone done) {
  store::WriteOptions write;
  SHEAF_ASSIGN_OR_RETURN(const store::TableRows given, opened_->Prepare(table, rows, options, /*remove=*/false, &write));
  return opened_->database->AppendAsync({given}, write, [done = std::move(done)](Result<Lsn> lsn) {
    if (lsn.ok()) return done(lsn->value);
    done(lsn.status());
  });
}

arrow::Result<std::vector<FoundRow>> Database::MultiGet(const std::string& table,
                                                        const std::shared_ptr<arrow::RecordBatch>& keys) const {
  SHEAF_ASSIGN_OR_RETURN(const auto info, opened_->Find(table));
  if (info->keys == nullptr) return NoKey(table);
  SHEAF_ASSIGN_OR_RETURN(const auto conformed, Conformed(table, keys, info->keys->key_schema()));
  SHEAF_ASSIGN_OR_RETURN(const columns::KeyColumn encoded, info->keys->EncodeKeys(*conformed));
  SHEAF_ASSIGN_OR_RETURN(const auto rows, opened_->database->MultiGet(info->id, encoded));
  std::vector<FoundRow> found;
  found.reserve(rows.size());
  for (const store::KeyedRow& row : rows) found.push_back(row ? FoundRow{row.Slice(), row.lsn.value} : FoundRow{});
  return found;
}

arrow::Result<std::shared_ptr<arrow::RecordBatchReader>> Database::Scan(const std::string& table, const KeyScan& range) const {
  SHEAF_ASSIGN_OR_RETURN(const auto info, opened_->Find(table));
  if (info->keys == nullptr) return NoKey(table);
  store::KeyRange keys;
  SHEAF_ASSIGN_OR_RETURN(keys.from, info->keys->EncodePrefix(range.from));
  if (!range.to.empty()) {
    SHEAF_ASSIGN_OR_RETURN(keys.to, info->keys->EncodePrefix(range.to));
  }
  store::ScanOptions options;
  options.limit = range.limit;
  arrow::FieldVector fields;
  for (const std::string& name : range.columns) {
    const int position = info->schema->GetFieldIndex(name);
    if (position < 0) return MakeError(ErrorKind::kInvalid, "{} has no column '{}'", table, name);
    options.columns.push_back(position);
    fields.push_back(info->schema->field(position));
  }
  SHEAF_ASSIGN_OR_RETURN(auto cursor, opened_->database->GetSnapshot()->Scan(info->id, keys, options));
  auto schema = fields.empty() ? info->schema : arrow::schema(std::move(fields));
  return std::make_shared<ScanReader>(opened_, std::move(schema), std::move(cursor));
}

arrow::Result<FoundRow> Database::Get(const std::string& table, const std::vector<std::shared_ptr<arrow::Scalar>>& key) const {
  SHEAF_ASSIGN_OR_RETURN(const auto info, opened_->Find(table));
  if (info->keys == nullptr) return NoKey(table);
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
