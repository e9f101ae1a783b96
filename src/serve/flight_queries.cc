#include "serve/flight_queries.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include <arrow/array/util.h>

#include "core/memory.h"
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
/// Clients take messages of 4 to 16 MiB unless told otherwise.
constexpr size_t kMessageBytesMax = 4 << 20;

/// A ticket's own message: id 1, SQL 2, parameters as an IPC stream 3, the answer as one 4.
constexpr uint32_t kId = 1, kSql = 2, kParameters = 3, kAnswer = 4;

int64_t SetsOf(const StatementTicket& ticket) {
  int64_t rows = 0;
  for (const auto& batch : ticket.parameters) rows += batch->num_rows();
  return ticket.parameters.empty() ? 1 : rows;
}

Result<std::vector<query::Parameter>> ParametersOf(const StatementTicket& ticket, int64_t set) {
  for (const auto& batch : ticket.parameters) {
    if (set < batch->num_rows()) return ParametersOfRow(*batch, set);
    set -= batch->num_rows();
  }
  return std::vector<query::Parameter>();
}

Status Cancelled() { return MakeError(ErrorKind::kCancelled, "the statement was cancelled"); }

/// One message, or several where it would be too large.
Status SendRows(const arrow::RecordBatch& batch, GrpcStreamCall* call) {
  SHEAF_ASSIGN_OR_RETURN(std::string data, EncodeBatchData(batch));
  if (data.size() <= kMessageBytesMax || batch.num_rows() < 2) return call->Send(std::move(data)) ? Status::OK() : Cancelled();
  data.clear();
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

/// A statement that runs: known to Cancel() and to the call until it ends.
class FlightQueries::Running {
 public:
  Running(FlightQueries* queries, uint64_t id) : queries_(queries), id_(id) {}
  ~Running() { queries_->Leave(id_); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  FlightQueries* const queries_;
  const uint64_t id_;
};

StatementTicket FlightQueries::MakeTicket(std::string sql, std::vector<std::shared_ptr<arrow::RecordBatch>> parameters) {
  std::random_device random;  // Who could guess an id could stop a statement of others.
  const uint64_t id = uint64_t{random()} << 32 | random() | 1;
  return {.id = id, .sql = std::move(sql), .parameters = std::move(parameters)};
}

Result<std::shared_ptr<arrow::Schema>> FlightQueries::SchemaOf(const StatementTicket& ticket, const StatementShape& shape) {
  if (!shape.result_open) return shape.result;
  if (!shape.reads_only || ticket.parameters.empty() || SetsOf(ticket) == 0) return nullptr;
  query::QueryRequest request{.sql = ticket.sql};
  SHEAF_ASSIGN_OR_RETURN(request.parameters, ParametersOf(ticket, 0));
  SHEAF_ASSIGN_OR_RETURN(const auto started, engine_->Start(request));  // And stopped: it only reads.
  return started->schema();
}

Result<std::unique_ptr<query::Query>> FlightQueries::Start(const StatementTicket& ticket, int64_t set, const GrpcCall& call) {
  query::QueryRequest request{.sql = ticket.sql};
  SHEAF_ASSIGN_OR_RETURN(request.parameters, ParametersOf(ticket, set));
  if (call.deadline) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*call.deadline - std::chrono::steady_clock::now());
    request.timeout_ms = std::max<int64_t>(1, left.count());
  }
  return engine_->Start(request);
}

Status FlightQueries::Enter(uint64_t id, const std::shared_ptr<query::Query>& query) {
  MutexLock lock(&mutex_);
  if (std::find(cancelled_.begin(), cancelled_.end(), id) != cancelled_.end()) return Cancelled();
  running_.emplace(id, query);
  return Status::OK();
}

void FlightQueries::Leave(uint64_t id) {
  MutexLock lock(&mutex_);
  if (const auto found = running_.find(id); found != running_.end()) running_.erase(found);
}

void FlightQueries::Cancel(uint64_t id) {
  std::vector<std::shared_ptr<query::Query>> stopped;
  {
    MutexLock lock(&mutex_);
    const auto [first, last] = running_.equal_range(id);
    for (auto it = first; it != last; ++it) {
      if (auto query = it->second.lock()) stopped.push_back(std::move(query));
    }
    cancelled_.push_back(id);
    if (cancelled_.size() > kCancelledKept) cancelled_.pop_front();
  }
  for (const auto& query : stopped) query->Cancel();
}

Status FlightQueries::SendSet(const StatementTicket& ticket, int64_t set, const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(auto started, Start(ticket, set, *call));
  const std::shared_ptr<query::Query> query = std::move(started);
  SHEAF_RETURN_NOT_OK(Enter(ticket.id, query));
  const Running running(this, ticket.id);
  call->OnCancel([weak = std::weak_ptr<query::Query>(query)] {
    if (const auto stopped = weak.lock()) stopped->Cancel();
  });
  if (set == 0) {
    SHEAF_ASSIGN_OR_RETURN(std::string schema, EncodeSchemaData(*query->schema()));
    if (!call->Send(std::move(schema))) return Cancelled();
  }
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, query->Next());
    if (batch == nullptr) return Status::OK();
    SHEAF_RETURN_NOT_OK(SendRows(*batch, call.get()));
  }
}

Status FlightQueries::Send(const StatementTicket& ticket, const std::shared_ptr<GrpcStreamCall>& call) {
  if (ticket.answer != nullptr) return SendBatch(*ticket.answer, call);
  const int64_t sets = SetsOf(ticket);
  for (int64_t set = 0; set < sets; ++set) SHEAF_RETURN_NOT_OK(SendSet(ticket, set, call));
  return Status::OK();
}

Status FlightQueries::SendBatch(const arrow::RecordBatch& batch, const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(std::string schema, EncodeSchemaData(*batch.schema()));
  return call->Send(std::move(schema)) ? SendRows(batch, call.get()) : Cancelled();
}

Result<int64_t> FlightQueries::UpdateSet(const StatementTicket& ticket, int64_t set, StatementShape::Answer answer,
                                         const std::shared_ptr<GrpcStreamCall>& call) {
  SHEAF_ASSIGN_OR_RETURN(auto started, Start(ticket, set, *call));
  const std::shared_ptr<query::Query> query = std::move(started);
  SHEAF_RETURN_NOT_OK(Enter(ticket.id, query));
  const Running running(this, ticket.id);
  call->OnCancel([weak = std::weak_ptr<query::Query>(query)] {
    if (const auto stopped = weak.lock()) stopped->Cancel();
  });
  int64_t rows = 0;
  while (true) {
    SHEAF_ASSIGN_OR_RETURN(const auto batch, query->Next());
    if (batch == nullptr) return rows;
    if (answer != StatementShape::Answer::kChangedRows) {
      rows += batch->num_rows();
    } else if (batch->num_rows() > 0 && batch->num_columns() == 1 && batch->column(0)->type_id() == arrow::Type::INT64) {
      rows += static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(0);
    }
  }
}

Result<int64_t> FlightQueries::Update(const StatementTicket& ticket, StatementShape::Answer answer,
                                      const std::shared_ptr<GrpcStreamCall>& call) {
  const int64_t sets = SetsOf(ticket);
  int64_t rows = 0;
  for (int64_t set = 0; set < sets; ++set) {
    const Result<int64_t> changed = UpdateSet(ticket, set, answer, call);
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
