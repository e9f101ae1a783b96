#include "client/flight_client.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "core/log.h"
#include "wire/flight_messages.h"
#include "wire/flight_sql_messages.h"
#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kService = "/arrow.flight.protocol.FlightService/";
constexpr milliseconds kCancelPoll{100};
constexpr int kConnectionsMax = 64;
constexpr size_t kAnswersMax = 10'000;
constexpr std::pair<std::string_view, bool> kSchemes[] = {  // And whether it means TLS.
    {"grpc://", false}, {"grpc+tcp://", false}, {"flight://", false}, {"grpc+tls://", true}, {"grpcs://", true}, {"flights://", true}};

std::string DescriptorOf(std::string_view command, std::string_view value) {
  std::string out;
  wire::ProtobufWriter writer(&out);
  writer.Varint(1, static_cast<uint64_t>(wire::FlightDescriptor::Kind::kCommand));
  writer.Bytes(2, wire::EncodeFlightSqlAny(command, value));
  return out;
}

std::string ActionOf(std::string_view type, std::string_view message, std::string_view value) {
  std::string out;
  wire::ProtobufWriter writer(&out);
  writer.Bytes(1, type);
  writer.Bytes(2, wire::EncodeFlightSqlAny(message, value));
  return out;
}

/// Of a DoPutUpdateResult inside a PutResult. Error: Invalid.
Result<int64_t> RowsOfUpdate(std::string_view put_result) {
  SHEAF_ASSIGN_OR_RETURN(const std::string result, wire::ReadFirstBytes(put_result));
  wire::ProtobufReader reader(result);
  int64_t rows = 0;
  while (reader.Next()) {
    if (reader.tag() == wire::Tag(1, wire::WireType::kVarint)) {
      rows = static_cast<int64_t>(reader.Varint());
    } else {
      reader.Skip();
    }
  }
  if (!reader.ok()) return MakeError(ErrorKind::kInvalid, "the server's answer to the update cannot be read");
  return rows;
}

/// Whether an attempt that ended so may go well the next time.
bool IsPassing(const GrpcEnd& end) {
  if (end.code == GrpcCode::kUnavailable) return true;
  return end.from_server && end.retry_after_ms && end.code == GrpcCode::kResourceExhausted;
}

}  // namespace

/// The rows of one endpoint.
class EndpointRows {
 public:
  EndpointRows(FlightClient* client, std::string ticket)
      : client_(client),
        request_(wire::EncodeFirstBytes(ticket)),
        random_(client->NextSeed()),
        backoff_(client->options().retry, &random_) {
    Open();
  }

  const std::shared_ptr<arrow::Schema>& schema() const { return batches_->schema(); }

  /// The next batch, null at the end; with `schema_only` null once the schema is there, too.
  Result<std::shared_ptr<arrow::RecordBatch>> Next(bool schema_only) {
    for (;;) {
      if (schema_only && schema() != nullptr) return nullptr;
      auto next = reader_->Next(client_->options().timeout);
      if (!next.ok()) return WithContext(next.status(), "fetching rows of " + client_->authority());
      if (!*next) {
        const GrpcEnd end = reader_->end();
        if (end.ok()) return nullptr;
        if (given_ || !client_->WaitToRetry(end, /*harmless=*/true, ++attempts_, &backoff_)) {
          ++client_->counters()->failed_calls;
          return ErrorOfGrpc(end, "fetching rows of " + client_->authority(), false);
        }
        Open();
        continue;
      }
      client_->counters()->received_bytes += static_cast<int64_t>((*next)->size());
      SHEAF_ASSIGN_OR_RETURN(const wire::FlightData data, wire::ReadFlightData(**next));
      SHEAF_ASSIGN_OR_RETURN(auto batch, batches_->Take(data));
      if (batch == nullptr) continue;
      given_ = true;
      ++client_->counters()->received_batches;
      client_->counters()->received_rows += batch->num_rows();
      return batch;
    }
  }

 private:
  void Open() {
    batches_ = std::make_unique<FlightBatchReader>();
    ++client_->counters()->calls;
    reader_ = std::make_unique<GrpcReader>(client_->connection(), client_->RequestOf("DoGet", false), client_->options().cancelled);
    const Status written = reader_->Write(request_);  // Without compression it cannot fail.
    if (!written.ok()) reader_->Cancel();
    reader_->Finish();
  }

  FlightClient* const client_;
  const std::string request_;
  std::mt19937_64 random_;
  Backoff backoff_;
  int attempts_ = 0;
  bool given_ = false;  // A batch: then nothing is sent again.
  std::unique_ptr<FlightBatchReader> batches_;
  std::unique_ptr<GrpcReader> reader_;
};

namespace {

/// Endpoints in order; those that come next are being read already.
class Rows : public FlightRows {
 public:
  Rows(FlightClient* client, std::vector<std::string> tickets, int endpoints_max)
      : client_(client), tickets_(std::move(tickets)), endpoints_max_(static_cast<size_t>(std::max(endpoints_max, 1))) {}

  /// Waits for the schema.
  Status Begin() {
    if (tickets_.empty()) return MakeError(ErrorKind::kInvalid, "{} gives no endpoint for the statement", client_->authority());
    OpenMore();
    SHEAF_ASSIGN_OR_RETURN(first_, open_.front()->Next(/*schema_only=*/true));
    schema_ = open_.front()->schema();
    if (schema_ == nullptr) return MakeError(ErrorKind::kInvalid, "{} sent rows without a schema", client_->authority());
    return Status::OK();
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }

  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    while (!open_.empty()) {
      SHEAF_ASSIGN_OR_RETURN(auto batch, open_.front()->Next(false));
      if (batch != nullptr) return batch;
      open_.pop_front();
      OpenMore();
    }
    return nullptr;
  }

 private:
  void OpenMore() {
    while (next_ < tickets_.size() && open_.size() < endpoints_max_) {
      open_.push_back(std::make_unique<EndpointRows>(client_, std::move(tickets_[next_++])));
    }
  }

  FlightClient* const client_;
  std::vector<std::string> tickets_;
  const size_t endpoints_max_;
  size_t next_ = 0;
  std::deque<std::unique_ptr<EndpointRows>> open_;
  std::shared_ptr<arrow::Schema> schema_;
  std::shared_ptr<arrow::RecordBatch> first_;
};

}  // namespace

Result<std::unique_ptr<FlightClient>> FlightClient::Make(const Url& url, FlightClientOptions options) {
  SHEAF_RETURN_NOT_OK(CheckRequestHeaders(options.headers));
  if (options.connections < 1 || options.connections > kConnectionsMax) {
    return MakeError(ErrorKind::kInvalid, "{} connections; 1 to {}", options.connections, kConnectionsMax);
  }
  std::vector<std::unique_ptr<GrpcClient>> pool;
  for (int i = 0; i < options.connections; ++i) {
    SHEAF_ASSIGN_OR_RETURN(auto client, GrpcClient::Make(url, {.connect_timeout = options.connect_timeout,
                                                               .reply_bytes_max = options.message_bytes_max,
                                                               .tls = options.tls}));
    pool.push_back(std::move(client));
  }
  return std::unique_ptr<FlightClient>(new FlightClient(std::move(options), std::move(pool)));
}

FlightClient::~FlightClient() = default;

GrpcClient* FlightClient::connection() { return pool_[next_++ % pool_.size()].get(); }
std::string FlightClient::authority() const { return pool_[0]->url().authority(); }

GrpcRequest FlightClient::RequestOf(std::string_view method, bool with_timeout) const {
  GrpcRequest request{.path = std::string(kService) + std::string(method), .metadata = options_.headers};
  if (with_timeout) request.timeout = options_.timeout;
  return request;
}

bool FlightClient::WaitToRetry(const GrpcEnd& end, bool harmless, int attempt, Backoff* backoff) {
  if (attempt >= options_.attempts_max || !IsPassing(end)) return false;
  // The server's own UNAVAILABLE with RetryInfo is a refusal; without, a gateway may have said it.
  const bool untouched = end.from_server ? end.retry_after_ms.has_value() : !end.perhaps_processed;
  if (!harmless && !untouched) return false;
  milliseconds wait = backoff->Next(end.retry_after_ms ? std::optional(milliseconds(*end.retry_after_ms)) : std::nullopt);
  ++counters_.retries;
  if (options_.pause) {
    options_.pause(wait);
    return true;
  }
  Mutex mutex;
  CondVar never;
  for (; wait.count() > 0; wait -= kCancelPoll) {
    if (options_.cancelled && options_.cancelled()) return false;
    MutexLock lock(&mutex);
    never.WaitFor(&mutex, std::min(wait, kCancelPoll));
  }
  return true;
}

Result<std::vector<std::string>> FlightClient::CallForAll(std::string_view method, std::string_view message, bool harmless,
                                                          std::string_view what) {
  std::mt19937_64 random(NextSeed());
  Backoff backoff(options_.retry, &random);
  for (int attempt = 1;; ++attempt) {
    ++counters_.calls;
    GrpcReader reader(connection(), RequestOf(method, true), options_.cancelled);
    SHEAF_RETURN_NOT_OK(reader.Write(message));
    reader.Finish();
    std::vector<std::string> answers;
    for (;;) {
      SHEAF_ASSIGN_OR_RETURN(auto next, reader.Next(options_.timeout + options_.connect_timeout));
      if (!next) break;
      if (answers.size() == kAnswersMax) return MakeError(ErrorKind::kTooLarge, "{}: more than {} answers", what, kAnswersMax);
      answers.push_back(*std::move(next));
    }
    const GrpcEnd end = reader.end();
    if (end.ok()) return answers;
    if (WaitToRetry(end, harmless, attempt, &backoff)) continue;
    ++counters_.failed_calls;
    return ErrorOfGrpc(end, what, !harmless);
  }
}

Result<std::string> FlightClient::Call(std::string_view method, std::string_view message, bool harmless, std::string_view what) {
  SHEAF_ASSIGN_OR_RETURN(auto answers, CallForAll(method, message, harmless, what));
  if (answers.size() == 1) return std::move(answers[0]);
  return MakeError(ErrorKind::kInvalid, "{}: the server sent {} answers in place of one", what, answers.size());
}

Result<std::string> FlightClient::Prepare(const std::string& sql) {
  const std::string action =
      ActionOf("CreatePreparedStatement", "ActionCreatePreparedStatementRequest", wire::EncodeFirstBytes(sql));
  SHEAF_ASSIGN_OR_RETURN(const std::string answer, Call("DoAction", action, /*harmless=*/true, "preparing the statement"));
  SHEAF_ASSIGN_OR_RETURN(const std::string body, wire::ReadFirstBytes(answer));
  const auto any = wire::ReadFlightSqlAny(body);
  if (!any) return MakeError(ErrorKind::kInvalid, "the server's answer to a statement to be prepared cannot be read");
  return wire::ReadFirstBytes(any->value);
}

/// A server forgets those that nobody uses; that this one goes at once is only tidier.
void FlightClient::ClosePrepared(const std::string& handle) {
  const auto closed = CallForAll("DoAction", ActionOf("ClosePreparedStatement", "ActionClosePreparedStatementRequest",
                                                      wire::EncodeFirstBytes(handle)),
                                 /*harmless=*/true, "closing a prepared statement");
  if (!closed.ok()) LogDebug("flight.prepared_not_closed", {{"error", closed.status().message()}});
}

Result<std::vector<std::string>> FlightClient::PutForAnswers(std::string_view descriptor, const arrow::RecordBatch* rows,
                                                             std::string_view what) {
  const auto schema = rows != nullptr ? rows->schema() : arrow::schema({});
  FlightBatchWriter writer(schema, options_.codec);
  SHEAF_ASSIGN_OR_RETURN(const std::string head, writer.Begin(descriptor));
  ++counters_.calls;
  GrpcReader reader(connection(), RequestOf("DoPut", true), options_.cancelled);
  SHEAF_RETURN_NOT_OK(reader.Write(head));
  if (rows != nullptr) {
    SHEAF_ASSIGN_OR_RETURN(const auto messages, writer.Batch(*rows, {}));
    for (const std::string& message : messages) SHEAF_RETURN_NOT_OK(reader.Write(message));
  }
  reader.Finish();
  std::vector<std::string> answers;
  for (;;) {
    SHEAF_ASSIGN_OR_RETURN(auto next, reader.Next(options_.timeout + options_.connect_timeout));
    if (!next) break;
    if (answers.size() < kAnswersMax) answers.push_back(*std::move(next));
  }
  if (reader.end().ok()) return answers;
  ++counters_.failed_calls;
  return ErrorOfGrpc(reader.end(), what, true);
}

Status FlightClient::Bind(const std::string& handle, const arrow::RecordBatch& parameters) {
  return PutForAnswers(DescriptorOf("CommandPreparedStatementQuery", wire::EncodeFirstBytes(handle)), &parameters, "binding parameters")
      .status();
}

Result<std::unique_ptr<FlightRows>> FlightClient::Query(const std::string& sql, std::shared_ptr<arrow::RecordBatch> parameters,
                                                        int endpoints_max) {
  std::string info;
  if (parameters == nullptr) {
    const std::string descriptor = DescriptorOf("CommandStatementQuery", wire::EncodeFirstBytes(sql));
    SHEAF_ASSIGN_OR_RETURN(info, Call("GetFlightInfo", descriptor, /*harmless=*/false, "running the statement"));
  } else {
    SHEAF_ASSIGN_OR_RETURN(const std::string handle, Prepare(sql));
    const auto run = [&]() -> Result<std::string> {
      SHEAF_RETURN_NOT_OK(Bind(handle, *parameters));
      return Call("GetFlightInfo", DescriptorOf("CommandPreparedStatementQuery", wire::EncodeFirstBytes(handle)),
                  /*harmless=*/false, "running the statement");
    };
    Result<std::string> planned = run();
    ClosePrepared(handle);  // The tickets hold all that they need.
    SHEAF_ASSIGN_OR_RETURN(info, std::move(planned));
  }
  SHEAF_ASSIGN_OR_RETURN(auto tickets, wire::ReadFlightTickets(info));
  auto rows = std::make_unique<Rows>(this, std::move(tickets), endpoints_max);
  SHEAF_RETURN_NOT_OK(rows->Begin());
  return rows;
}

Result<int64_t> FlightClient::Update(const std::string& sql) {
  SHEAF_ASSIGN_OR_RETURN(const auto answers, PutForAnswers(DescriptorOf("CommandStatementUpdate", wire::EncodeFirstBytes(sql)), nullptr,
                                                           "running the statement"));
  if (answers.empty()) return -1;
  return RowsOfUpdate(answers[0]);
}

FlightClientStats FlightClient::stats() const {
  return {.calls = counters_.calls,
          .retries = counters_.retries,
          .failed_calls = counters_.failed_calls,
          .received_batches = counters_.received_batches,
          .received_rows = counters_.received_rows,
          .received_bytes = counters_.received_bytes,
          .sent_batches = counters_.sent_batches,
          .sent_rows = counters_.sent_rows,
          .sent_bytes = counters_.sent_bytes,
          .batches_sent_again = counters_.batches_sent_again};
}

bool IsFlightUrl(std::string_view address) {
  return std::any_of(std::begin(kSchemes), std::end(kSchemes), [&](const auto& scheme) { return address.starts_with(scheme.first); });
}

Result<Url> ParseFlightUrl(std::string_view address) {
  for (const auto& [scheme, tls] : kSchemes) {
    if (!address.starts_with(scheme)) continue;
    return ParseUrl((tls ? "https://" : "http://") + std::string(address.substr(scheme.size())), FlightClient::kPort);
  }
  return MakeError(ErrorKind::kInvalid, "'{}' is no address of Flight; write grpc://HOST:PORT or grpc+tls://HOST:PORT",
                   address.find('@') == std::string_view::npos ? address : "…");
}

}  // namespace sheaf::client
