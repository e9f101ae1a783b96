#include "serve/flight_queries.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include <arrow/array/util.h>
#include <arrow/ipc/writer.h>

#include "core/memory.h"
#include "serve/audit.h"
#include "serve/flight_batches.h"
#include "serve/flight_parameters.h"
#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::serve {
namespace {

using query::StatementShape;
using wire::Tag;
using wire::WireType;

constexpr int64_t kParameterBytesMax = int64_t{128} << 20;
constexpr size_t kCancelledKept = 1024;
/// How long after its time a call is ended for its reader's slowness: the statement's own word about its time-out comes first.
constexpr std::chrono::seconds kOverdueGrace{1};
constexpr size_t kRedeemedKept = 65'536;
/// Clients take messages of 4 to 16 MiB unless told otherwise.
constexpr int64_t kMessageBytesMax = 4 << 20;
/// Lengths of messages are of 31 bits in most clients.
constexpr int64_t kRowBytesMax = INT32_MAX - (1 << 20);

/// A ticket's own message: id 1, SQL 2, parameters as an IPC stream 3, the answer as one 4, once_by 5, user 6.
constexpr uint32_t kId = 1, kSql = 2, kParameters = 3, kAnswer = 4, kOnceBy = 5, kUser = 6;

Result<int64_t> SetsOf(const StatementTicket& ticket) {
  if (ticket.parameters.empty()) return 1;
  int64_t rows = 0;
  for (const auto& batch : ticket.parameters) SHEAF_RETURN_NOT_OK(AddParameterSets(batch->num_rows(), &rows));
  return rows;
}

uint64_t RandomId() {
  std::random_device random;  // Who could guess an id could stop a statement of others.
  return uint64_t{random()} << 32 | random() | 1;
}

Result<std::vector<query::Parameter>> ParametersOf(const StatementTicket& ticket, int64_t set) {
  for (const auto& batch : ticket.parameters) {
    if (set < batch->num_rows()) return ParametersOfRow(*batch, set);
    set -= batch->num_rows();
  }
  return std::vector<query::Parameter>();
}

Status Cancelled() { return MakeError(ErrorKind::kCancelled, "the statement was cancelled"); }

/// The statement of a call that runs now, for those who would stop it. It is theirs only under the lock: the last reference is the
/// worker's, since ending a statement may wait and I/O threads must not. Thread-safe.
class Current {
 public:
  /// Null: none runs.
  void Set(query::Query* query) SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    query_ = query;
    if (cancelled_ && query != nullptr) query->Cancel();
  }
  void Cancel() SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    cancelled_ = true;
    if (query_ != nullptr) query_->Cancel();
  }
  bool cancelled() const SHEAF_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return cancelled_;
  }

 private:
  mutable Mutex mutex_;
  bool cancelled_ SHEAF_GUARDED_BY(mutex_) = false;
  query::Query* query_ SHEAF_GUARDED_BY(mutex_) = nullptr;
};

/// One message, or several where it would be too large. TooLarge: a row that none can hold.
Status SendRows(const arrow::RecordBatch& batch, GrpcStreamCall* call) {
  int64_t bytes = 0;
  SHEAF_RETURN_NOT_OK(arrow::ipc::GetRecordBatchSize(batch, &bytes));
  if (bytes <= kMessageBytesMax || batch.num_rows() < 2) {
    if (bytes > kRowBytesMax) {
      return MakeError(ErrorKind::kTooLarge, "a row takes {} bytes, and a message can have {}: select less of it", bytes,
                       kRowBytesMax);
    }
    SHEAF_ASSIGN_OR_RETURN(std::string data, EncodeBatchData(batch));
    return call->Send(std::move(data)) ? Status::OK() : Cancelled();
  }
  const int64_t half = batch.num_rows() / 2;
  SHEAF_RETURN_NOT_OK(SendRows(*batch.Slice(0, half), call));
  return SendRows(*batch.Slice(half), call);
}

}  // namespace

arrow::MemoryPool* ParameterPool() {
  static TrackingPool* const pool = [] {
    TrackingPool* const made = &NamedPool("parameters");
    made->SetLimit(kParameterBytesMax);
    return made;
  }();
  return pool;
}

Status AddParameterSets(int64_t added, int64_t* sets) {
  if (added < 0) return MakeError(ErrorKind::kInvalid, "a batch of parameters says that it has {} rows", added);
  if (added > kParameterSetsMax - *sets) {
    return MakeError(ErrorKind::kTooLarge, "more than {} sets of parameters; for many rows use bulk ingest", kParameterSetsMax);
  }
  *sets += added;
  return Status::OK();
}

Result<std::string> EncodeTicket(const StatementTicket& ticket) {
  std::string out;
  wire::ProtobufWriter writer(&out);
  writer.Fixed64(kId, ticket.id);
  writer.Bytes(kSql, ticket.sql);
  if (!ticket.parameters.empty()) {
    SHEAF_ASSIGN_OR_RETURN(const std::string parameters, BatchesToIpc(ticket.parameters));
    writer.Bytes(kParameters, parameters);
  }
  if (ticket.answer != nullptr) {
    SHEAF_ASSIGN_OR_RETURN(const std::string answer, BatchesToIpc({ticket.answer}));
    writer.Bytes(kAnswer, answer);
  }
  if (ticket.once_by != 0) writer.Fixed64(kOnceBy, ticket.once_by);
  if (!ticket.user.empty()) writer.Bytes(kUser, ticket.user);
  return out;
}

Result<StatementTicket> DecodeTicket(std::string_view bytes) {
  StatementTicket ticket;
  wire::ProtobufReader reader(bytes);
  std::string_view parameters, answer;
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(kId, WireType::kFixed64): ticket.id = reader.Fixed64(); break;
      case Tag(kSql, WireType::kBytes): ticket.sql = reader.Bytes(); break;
      case Tag(kParameters, WireType::kBytes): parameters = reader.Bytes(); break;
      case Tag(kAnswer, WireType::kBytes): answer = reader.Bytes(); break;
      case Tag(kOnceBy, WireType::kFixed64): ticket.once_by = reader.Fixed64(); break;
      case Tag(kUser, WireType::kBytes): ticket.user = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  if (!reader.ok() || ticket.id == 0) return MakeError(ErrorKind::kInvalid, "the ticket is none of this server's");
  if (!parameters.empty()) {
    SHEAF_ASSIGN_OR_RETURN(ticket.parameters, BatchesFromIpc(parameters, ParameterPool()));
  }
  if (!answer.empty()) {
    SHEAF_ASSIGN_OR_RETURN(const auto batches, BatchesFromIpc(answer, ParameterPool()));
    if (batches.size() != 1) return MakeError(ErrorKind::kInvalid, "the ticket is none of this server's");
    ticket.answer = batches.front();
  }
  return ticket;
}

std::string UserOf(const GrpcCall& call) { return call.identity == nullptr ? std::string() : call.identity->user; }

Result<StatementTicket> ReadTicket(std::string_view bytes, const GrpcCall& call) {
  SHEAF_ASSIGN_OR_RETURN(StatementTicket ticket, DecodeTicket(bytes));
  if (ticket.user == UserOf(call)) return ticket;
  return MakeError(ErrorKind::kNotFound, "there is no such ticket: it was not made for this user; send the statement again");
}

/// One call: its cancelling stops whichever of its statements runs, and its time is for all of them. Known to Cancel() and
/// EndOverdue() between Enter() and its end.
class FlightQueries::OfCall {
 public:
  enum class Kind : uint8_t { kSends, kWrites };

  OfCall(FlightQueries* queries, Key key, std::shared_ptr<GrpcStreamCall> call, int64_t sets, Kind kind)
      : queries_(queries), key_(std::move(key)), call_(std::move(call)), deadline_(call_->deadline) {
    if (queries->timeout_ms_ > 0) {
      const auto own = std::chrono::steady_clock::now() + std::chrono::milliseconds(queries->timeout_ms_);
      if (sets > 1) deadline_ = deadline_ ? std::min(*deadline_, own) : own;  // One alone has the engine's time-out.
      if (kind == Kind::kSends) overdue_ = own + kOverdueGrace;
    }
    call_->OnCancel([current = current_] { current->Cancel(); });
  }
  ~OfCall() { queries_->Leave(key_, this); }
  OfCall(const OfCall&) = delete;
  OfCall& operator=(const OfCall&) = delete;

  GrpcStreamCall* call() const { return call_.get(); }

  /// Before each statement.
  Status Check() const {
    if (call_->cancelled() || current_->cancelled()) return Cancelled();
    if (!deadline_ || std::chrono::steady_clock::now() < *deadline_) return Status::OK();
    return MakeError(ErrorKind::kTimeout, "the time for all sets of parameters is over");
  }

  /// Negative: there is no deadline.
  int64_t left_ms() const {
    if (!deadline_) return -1;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline_ - std::chrono::steady_clock::now());
    return std::max<int64_t>(1, left.count());
  }

  /// A statement of the call while it runs. Declared after the statement, so that it ends first.
  class Running {
   public:
    Running(const OfCall& of_call, query::Query* query) : current_(of_call.current_.get()) { current_->Set(query); }
    ~Running() { current_->Set(nullptr); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    Current* const current_;
  };

  void Cancel() { current_->Cancel(); }
  void EndIfOverdue(std::chrono::steady_clock::time_point now, int64_t timeout_ms) {
    if (!overdue_ || now < *overdue_) return;
    call_->Finish({GrpcCode::kDeadlineExceeded,
                   fmt::format("the rows were not taken within the statement's time of {} ms: narrow it down, read faster or ask "
                               "for more time",
                               timeout_ms),
                   {}});
  }

 private:
  FlightQueries* const queries_;
  const Key key_;
  const std::shared_ptr<GrpcStreamCall> call_;
  std::optional<std::chrono::steady_clock::time_point> deadline_, overdue_;
  const std::shared_ptr<Current> current_ = std::make_shared<Current>();
};

FlightQueries::FlightQueries(query::Engine* engine, int64_t timeout_ms)
    : engine_(engine), timeout_ms_(timeout_ms), self_(RandomId()) {}

StatementTicket FlightQueries::MakeTicket(std::string sql, std::vector<std::shared_ptr<arrow::RecordBatch>> parameters) {
  return {.id = RandomId(), .sql = std::move(sql), .parameters = std::move(parameters)};
}

Result<StatementShape> FlightQueries::Describe(const std::string& sql, const GrpcCall& call) const {
  query::QueryRequest request{.sql = sql};
  request.identity = call.identity;
  auto shape = engine_->Describe(request);
  AuditStatement(call.identity.get(), sql, false, shape.status());
  return shape;
}

Result<std::shared_ptr<arrow::Schema>> FlightQueries::SchemaOf(const StatementTicket& ticket, const StatementShape& shape,
                                                               const GrpcCall& call) {
  if (!shape.result_open) return shape.result;
  SHEAF_ASSIGN_OR_RETURN(const int64_t sets, SetsOf(ticket));
  if (!shape.reads_only || ticket.parameters.empty() || sets == 0) return nullptr;
  query::QueryRequest request{.sql = ticket.sql};
  request.identity = call.identity;
  SHEAF_ASSIGN_OR_RETURN(request.parameters, ParametersOf(ticket, 0));
  SHEAF_ASSIGN_OR_RETURN(const auto started, engine_->Start(request));  // And stopped: it only reads.
  return started->schema();
}

Result<std::unique_ptr<query::Query>> FlightQueries::Start(const StatementTicket& ticket, int64_t set, const OfCall& of_call) {
  SHEAF_RETURN_NOT_OK(of_call.Check());
  query::QueryRequest request{.sql = ticket.sql, .timeout_ms = of_call.left_ms()};
  request.identity = of_call.call()->identity;
  SHEAF_ASSIGN_OR_RETURN(request.parameters, ParametersOf(ticket, set));
  auto started = engine_->Start(request);
  AuditStatement(request.identity.get(), ticket.sql, false, started.status());
  return started;
}

Status FlightQueries::Redeem(const StatementTicket& ticket) {
  if (ticket.once_by == 0) return Status::OK();
  if (ticket.once_by != self_) {
    return MakeError(ErrorKind::kInvalid,
                     "the ticket is of a statement that writes, from before the server started anew: send it again");
  }
  MutexLock lock(&mutex_);
  if (!redeemed_keys_.insert(KeyOf(ticket)).second) {
    return MakeError(ErrorKind::kInvalid,
                     "the ticket is of a statement that writes, and was redeemed already: send the statement again");
  }
  redeemed_.push_back(KeyOf(ticket));
  if (redeemed_.size() > kRedeemedKept) {
    redeemed_keys_.erase(redeemed_.front());
    redeemed_.pop_front();
  }
  return Status::OK();
}

Status FlightQueries::Enter(const Key& key, OfCall* of_call) {
  MutexLock lock(&mutex_);
  if (std::find(cancelled_.begin(), cancelled_.end(), key) != cancelled_.end()) return Cancelled();
  running_.emplace(key, of_call);
  return Status::OK();
}

void FlightQueries::Leave(const Key& key, const OfCall* of_call) {
  MutexLock lock(&mutex_);
  const auto [first, last] = running_.equal_range(key);
  const auto found = std::find_if(first, last, [of_call](const auto& each) { return each.second == of_call; });
  if (found != last) running_.erase(found);
}

void FlightQueries::Cancel(const StatementTicket& ticket) {
  const Key key = KeyOf(ticket);
  MutexLock lock(&mutex_);
  const auto [first, last] = running_.equal_range(key);
  for (auto it = first; it != last; ++it) it->second->Cancel();
  cancelled_.push_back(key);
  if (cancelled_.size() > kCancelledKept) cancelled_.pop_front();
}

void FlightQueries::EndOverdue(std::chrono::steady_clock::time_point now) {
  MutexLock lock(&mutex_);
  for (const auto& [key, of_call] : running_) of_call->EndIfOverdue(now, timeout_ms_);
}

Status FlightQueries::SendSet(const StatementTicket& ticket, int64_t set, OfCall* of_call) {
  SHEAF_ASSIGN_OR_RETURN(const auto query, Start(ticket, set, *of_call));
  const OfCall::Running running(*of_call, query.get());
  if (set == 0) {
    SHEAF_ASSIGN_OR_RETURN(std::string schema, EncodeSchemaData(*query->schema()));
    if (!of_call->call()->Send(std::move(schema))) return Cancelled();
  }
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, query->Next());
    if (batch == nullptr) {
      AuditStatement(of_call->call()->identity.get(), ticket.sql, query->stats().definition, Status::OK());
      return Status::OK();
    }
    SHEAF_RETURN_NOT_OK(SendRows(*batch, of_call->call()));
  }
}

Status FlightQueries::Send(const StatementTicket& ticket, const std::shared_ptr<GrpcStreamCall>& call) {
  if (ticket.answer != nullptr) return SendBatch(*ticket.answer, call);
  SHEAF_ASSIGN_OR_RETURN(const int64_t sets, SetsOf(ticket));
  SHEAF_RETURN_NOT_OK(Redeem(ticket));
  OfCall of_call(this, KeyOf(ticket), call, sets, OfCall::Kind::kSends);
  SHEAF_RETURN_NOT_OK(Enter(KeyOf(ticket), &of_call));
  for (int64_t set = 0; set < sets; ++set) SHEAF_RETURN_NOT_OK(SendSet(ticket, set, &of_call));
  return Status::OK();
}

Status FlightQueries::SendBatch(const arrow::RecordBatch& batch, const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(std::string schema, EncodeSchemaData(*batch.schema()));
  return call->Send(std::move(schema)) ? SendRows(batch, call.get()) : Cancelled();
}

Result<int64_t> FlightQueries::UpdateSet(const StatementTicket& ticket, int64_t set, StatementShape::Answer answer,
                                         OfCall* of_call) {
  SHEAF_ASSIGN_OR_RETURN(const auto query, Start(ticket, set, *of_call));
  const OfCall::Running running(*of_call, query.get());
  int64_t rows = 0;
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, query->Next());
    if (batch == nullptr) {
      AuditStatement(of_call->call()->identity.get(), ticket.sql, query->stats().definition, Status::OK());
      return rows;
    }
    if (answer != StatementShape::Answer::kChangedRows) {
      rows += batch->num_rows();
    } else if (batch->num_rows() > 0 && batch->num_columns() == 1 && batch->column(0)->type_id() == arrow::Type::INT64) {
      rows += static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(0);
    }
  }
}

Result<int64_t> FlightQueries::Update(const StatementTicket& ticket, StatementShape::Answer answer,
                                      const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const int64_t sets, SetsOf(ticket));
  OfCall of_call(this, KeyOf(ticket), call, sets, OfCall::Kind::kWrites);
  SHEAF_RETURN_NOT_OK(Enter(KeyOf(ticket), &of_call));
  int64_t rows = 0;
  for (int64_t set = 0; set < sets; ++set) {
    const Result<int64_t> changed = UpdateSet(ticket, set, answer, &of_call);
    if (!changed.ok() && sets == 1) return changed.status();
    if (!changed.ok()) {
      return WithContext(changed.status(),
                         fmt::format("row {} of {} of the parameters; those before it are done", set + 1, sets));
    }
    rows += *changed;
  }
  return rows;
}

Result<std::shared_ptr<arrow::RecordBatch>> FlightQueries::UpdateToRows(const StatementTicket& ticket,
                                                                        const StatementShape& shape,
                                                                        const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(const int64_t rows, Update(ticket, shape.answer, call));
  if (shape.answer != StatementShape::Answer::kChangedRows) return arrow::RecordBatch::MakeEmpty(shape.result);
  SHEAF_ASSIGN_OR_RETURN(const auto count, arrow::MakeArrayFromScalar(arrow::Int64Scalar(rows), 1));
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("Count", arrow::int64())}), 1, {count});
}

}  // namespace sheaf::serve
