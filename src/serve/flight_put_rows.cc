/// Rows that go to a table: many batches are on their way to disk at once, so that a stream is as fast as the log.

#include <atomic>
#include <cctype>
#include <utility>

#include <arrow/table.h>

#include "query/row_reader.h"
#include "serve/audit.h"
#include "serve/error_codes.h"
#include "serve/flight_metadata.h"
#include "serve/flight_parameters.h"
#include "serve/flight_put.h"
#include "serve/gate.h"
#include "store/ready_tables.h"

namespace sheaf::serve {
namespace {

using wire::FlightSqlIngest;

class RowsSink : public PutSink, public std::enable_shared_from_this<RowsSink> {
 public:
  RowsSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call)
      : context_(context), call_(std::move(call)), pool_("rows", context.memory_bytes_max, context.memory) {}

  arrow::MemoryPool* pool() override { return &pool_; }
  bool owns_pool() const override { return true; }

  Status Explained(const Status& error) const override {
    if (KindOf(error) != ErrorKind::kOutOfMemory) return Located(error, batches_ + 1);
    if (pool_.refused()) {
      return MakeError(ErrorKind::kTooLarge,
                       "batch {} takes more than the {} bytes that a stream may have; send fewer rows at once", batches_ + 1,
                       context_.memory_bytes_max);
    }
    context_.relieve();
    return MakeError(ErrorKind::kThrottled, "batch {}: the streams of all clients hold as much as they may; send it again later",
                     batches_ + 1);
  }

  Status Batch(const std::shared_ptr<arrow::RecordBatch>& batch, std::string_view metadata) override {
    const auto conformed = Conformed(batch, table_->schema);
    if (!conformed.ok()) return Explained(conformed.status());
    const auto& rows = *conformed;
    ++batches_;
    {
      MutexLock lock(&mutex_);
      if (finished_) return Status::OK();
      ++unanswered_;
    }
    if (rows->num_rows() == 0) {
      Answer(0, batches_, std::nullopt);
      return Status::OK();
    }
    store::WriteOptions options;
    if (acknowledges()) options.batch_id = metadata;
    const Status appended = context_.database->AppendAsync(
        {{table_->id, rows}}, options, [self = shared_from_this(), count = rows->num_rows(), number = batches_](Result<Lsn> lsn) {
          self->Answered(count, number, lsn);
        });
    if (appended.ok()) return appended;
    MutexLock lock(&mutex_);
    --unanswered_;
    return Located(appended, batches_);
  }

  void WhenReady(std::function<void()> next) override {
    {
      MutexLock lock(&mutex_);
      if (finished_ || stopping_) return;
      if (unanswered_ >= context_.unanswered_batches_max) {
        next_ = std::move(next);
        return;
      }
    }
    next();
  }

  void End() override {
    MutexLock lock(&mutex_);
    input_ended_ = true;
    FinishIfDone();
  }

  void Stop(GrpcStatus why) override {
    MutexLock lock(&mutex_);
    if (!std::exchange(stopping_, true)) why_ = std::move(why);
    FinishIfDone();
  }

 protected:
  Result<std::shared_ptr<arrow::RecordBatch>> Conformed(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                        const std::shared_ptr<arrow::Schema>& schema) {
    if (batch->num_columns() == 0 && batch->num_rows() > 0) {
      return MakeError(ErrorKind::kInvalid, "there are {} rows without a column", batch->num_rows());
    }
    if (batch->schema()->Equals(*schema, false)) return batch;
    SHEAF_ASSIGN_OR_RETURN(const auto given, arrow::Table::FromRecordBatches({batch}));
    SHEAF_ASSIGN_OR_RETURN(const auto rows, query::ConformRows(*given, schema, &pool_));
    return rows->CombineChunksToBatch(&pool_);
  }

  /// Whether each batch is answered, or the whole.
  virtual bool acknowledges() const = 0;

  const PutContext context_;
  const std::shared_ptr<GrpcStreamCall> call_;
  std::shared_ptr<const store::TableInfo> table_;  // Before the first batch.

 private:
  static Status Located(const Status& error, int64_t batch) { return WithContext(error, fmt::format("batch {}", batch)); }

  void Answered(int64_t rows, int64_t batch, const Result<Lsn>& lsn) {
    if (lsn.ok()) return Answer(rows, batch, *lsn);
    MutexLock lock(&mutex_);
    --unanswered_;
    if (!std::exchange(stopping_, true)) why_ = ToGrpcStatus(Located(lsn.status(), batch), context_.retry_after_ms);
    FinishIfDone();
  }

  void Answer(int64_t rows, int64_t batch, std::optional<Lsn> lsn) {
    std::function<void()> next;
    {
      MutexLock lock(&mutex_);
      --unanswered_;
      rows_ += rows;
      if (acknowledges() && !finished_) {
        // Which batch it is: one that was there already, or after one that failed, is answered before those ahead of it.
        const std::string text =
            fmt::format(R"({{"rows": {}, "lsn": {}, "batch": {}}})", rows, lsn ? std::to_string(lsn->value) : "null", batch);
        call_->Write(wire::EncodeFirstBytes(text));  // Only queues: under the lock, so that none comes after the end.
      }
      if (!stopping_) next = std::exchange(next_, nullptr);
      FinishIfDone();
    }
    if (next) next();
  }

  void FinishIfDone() SHEAF_REQUIRES(mutex_) {
    if (finished_ || unanswered_ > 0 || !(input_ended_ || stopping_)) return;
    finished_ = true;
    if (!stopping_ && !acknowledges()) call_->Write(wire::EncodeFirstBytes(wire::EncodeFirstNumber(rows_)));
    call_->Finish(stopping_ ? why_ : GrpcStatus());
  }

  TrackingPool pool_;
  int64_t batches_ = 0;

  Mutex mutex_;
  int64_t rows_ SHEAF_GUARDED_BY(mutex_) = 0;
  int unanswered_ SHEAF_GUARDED_BY(mutex_) = 0;
  bool input_ended_ SHEAF_GUARDED_BY(mutex_) = false, stopping_ SHEAF_GUARDED_BY(mutex_) = false;
  bool finished_ SHEAF_GUARDED_BY(mutex_) = false;
  GrpcStatus why_ SHEAF_GUARDED_BY(mutex_);              // Of stopping.
  std::function<void()> next_ SHEAF_GUARDED_BY(mutex_);  // To be run when a batch was answered.
};

/// As SQL refuses such a name. AlreadyExists.
Status CheckNoView(query::Engine* engine, const std::string& schema, const std::string& name) {
  query::QueryRequest request{
      .sql =
          "SELECT 1 FROM information_schema.tables WHERE table_type = 'VIEW' AND lower(table_schema) = lower($1) AND "
          "lower(table_name) = lower($2)"};
  request.parameters = {schema, name};
  SHEAF_ASSIGN_OR_RETURN(const auto views, engine->Start(request));
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, views->Next());
    if (batch == nullptr) return Status::OK();
    if (batch->num_rows() > 0) return MakeError(ErrorKind::kAlreadyExists, "{}.{} is a view: take another name", schema, name);
  }
}

class TableSink final : public RowsSink {
 public:
  TableSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call, std::shared_ptr<const store::TableInfo> table)
      : RowsSink(context, std::move(call)) {
    table_ = std::move(table);
  }
  Status Schema(const std::shared_ptr<arrow::Schema>&) override { return Status::OK(); }

 protected:
  bool acknowledges() const override { return true; }
};

class IngestSink final : public RowsSink {
 public:
  IngestSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call, FlightSqlIngest ingest)
      : RowsSink(context, std::move(call)), ingest_(std::move(ingest)) {}

  Status Schema(const std::shared_ptr<arrow::Schema>& schema) override {
    std::string schema_name = ingest_.target.schema.value_or("main");
    for (char& c : schema_name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const access::Identity* const sender = call_->identity.get();
    SHEAF_RETURN_NOT_OK(CheckRight(sender, access::Action::kWrite, schema_name));
    const auto found = context_.database->FindTable(schema_name, ingest_.target.table);
    if (!found.ok() && KindOf(found.status()) != ErrorKind::kNotFound) return found.status();
    if (found.ok() && ingest_.if_there == FlightSqlIngest::IfThere::kFail) {
      return MakeError(ErrorKind::kAlreadyExists, "table {}.{} is there already", schema_name, ingest_.target.table);
    }
    if (found.ok() && ingest_.if_there != FlightSqlIngest::IfThere::kReplace) {
      table_ = *found;
      return CheckTakesRows(*table_);
    }
    if (!found.ok() && ingest_.if_missing != FlightSqlIngest::IfMissing::kCreate) return found.status();
    SHEAF_RETURN_NOT_OK(CheckRight(sender, access::Action::kDefine, schema_name));
    if (found.ok()) SHEAF_RETURN_NOT_OK(CheckTakesRows(**found));
    SHEAF_RETURN_NOT_OK(CheckNoView(context_.engine, schema_name, ingest_.target.table));
    if (!found.ok()) SHEAF_RETURN_NOT_OK(CheckTakesNoPlace(schema_name));
    made_.schema_name = schema_name;
    made_.name = ingest_.target.table;
    made_.schema = StoredSchema(*schema);
    made_.or_replace = found.ok();
    made_.if_not_exists = ingest_.if_there == FlightSqlIngest::IfThere::kAppend;  // Another client may have made it since.
    return Status::OK();
  }

  /// The table is made once there are rows that fit it: what it replaces is not lost, and nothing is left, where they do not.
  Status Batch(const std::shared_ptr<arrow::RecordBatch>& batch, std::string_view metadata) override {
    if (table_ == nullptr) {
      const auto fits = Conformed(batch, made_.schema);
      if (!fits.ok()) return Explained(fits.status());
      SHEAF_RETURN_NOT_OK(MakeTable());
    }
    return RowsSink::Batch(batch, metadata);
  }

  void End() override {
    const Status made = table_ == nullptr && made_.schema != nullptr ? MakeTable() : Status::OK();
    if (!made.ok()) RowsSink::Stop(ToGrpcStatus(made, context_.retry_after_ms));
    RowsSink::End();
  }

 protected:
  bool acknowledges() const override { return false; }

 private:
  /// As SQL has it: names without a schema are looked for in several.
  Status CheckTakesNoPlace(const std::string& schema_name) const {
    const access::Identity* const sender = call_->identity.get();
    if (sender == nullptr || access::Allow(*sender, access::Action::kDefine).ok()) return Status::OK();
    const auto snapshot = context_.database->GetSnapshot();
    for (const auto& info : snapshot->tables()) {
      if (info->name != ingest_.target.table || info->schema_name == schema_name) continue;
      return CheckRight(sender, access::Action::kDefine);
    }
    return Status::OK();
  }
  Status MakeTable() {
    SHEAF_ASSIGN_OR_RETURN(table_, context_.database->CreateTable(made_));
    AuditStatement(call_->identity.get(), fmt::format("bulk ingest: CREATE {}TABLE {}.{}", made_.or_replace ? "OR REPLACE " : "",
                                                      made_.schema_name, made_.name),
                   true, Status::OK());
    return CheckTakesRows(*table_);
  }

  const FlightSqlIngest ingest_;
  store::NewTable made_;  // Without a schema: the table is there.
};

}  // namespace

Status CheckTakesRows(const store::TableInfo& table) {
  if (table.schema_name == store::kEngineSchema) {
    return MakeError(ErrorKind::kDenied, "{}.{} is the engine's own", table.schema_name, table.name);
  }
  if (table.schema_name != store::kOtelSchema || store::FindReadyTable(table.schema_name, table.name) == nullptr)
    return Status::OK();
  return MakeError(
      ErrorKind::kDenied,
      "{}.{} is filled by OTLP, which knows how its rows are made: send them as OTLP or OTel-Arrow, or make a table of your "
      "own for rows like these",
      table.schema_name, table.name);
}

Result<std::shared_ptr<PutSink>> MakeTableSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                               const std::vector<std::string>& path) {
  SHEAF_ASSIGN_OR_RETURN(auto table, FindPathTable(*context.database, path));
  SHEAF_RETURN_NOT_OK(CheckRight(call->identity.get(), access::Action::kWrite, table->schema_name));
  SHEAF_RETURN_NOT_OK(CheckTakesRows(*table));
  return std::make_shared<TableSink>(context, std::move(call), std::move(table));
}

Result<std::shared_ptr<PutSink>> MakeIngestSink(const PutContext& context, std::shared_ptr<GrpcStreamCall> call,
                                                const FlightSqlIngest& ingest) {
  if (ingest.temporary) return MakeError(ErrorKind::kUnsupported, "there are no temporary tables");
  if (ingest.target.table.empty()) return MakeError(ErrorKind::kInvalid, "the bulk ingest names no table");
  const std::string catalog = ingest.target.catalog.value_or("");
  if (!catalog.empty() && catalog != kCatalogName) {
    return MakeError(ErrorKind::kNotFound, "there is no catalog {}; the only one is {}", catalog, kCatalogName);
  }
  FlightSqlIngest checked = ingest;
  if (checked.target.schema && checked.target.schema->empty()) checked.target.schema.reset();
  if (checked.if_missing == FlightSqlIngest::IfMissing::kUnspecified) checked.if_missing = FlightSqlIngest::IfMissing::kFail;
  if (checked.if_there == FlightSqlIngest::IfThere::kUnspecified) checked.if_there = FlightSqlIngest::IfThere::kFail;
  return std::make_shared<IngestSink>(context, std::move(call), std::move(checked));
}

}  // namespace sheaf::serve
