#include "serve/service_testing.h"

#include "core/check.h"
#include "decode/schemas.h"

namespace sheaf::serve {
namespace {

class MemoryBody final : public Body {
 public:
  explicit MemoryBody(std::string bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> bytes() const override { return std::as_bytes(std::span(bytes_.data(), bytes_.size())); }

 private:
  const std::string bytes_;
};

class FakeQuery final : public query::Query {
 public:
  explicit FakeQuery(FakeEngine* engine) : engine_(engine) {}
  const std::shared_ptr<arrow::Schema>& schema() const override { return engine_->batches.at(0)->schema(); }
  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    if (engine_->before_next) engine_->before_next();
    if (cancelled_) return MakeError(ErrorKind::kCancelled, "cancelled");
    if (next_ < engine_->batches.size()) return engine_->batches[next_++];
    if (!engine_->end.ok()) return engine_->end;
    return nullptr;
  }
  void Cancel() override {
    cancelled_ = true;
    ++engine_->cancelled;
  }
  query::QueryStats stats() const override { return {}; }

 private:
  FakeEngine* const engine_;
  size_t next_ = 0;
  bool cancelled_ = false;
};

}  // namespace

std::unique_ptr<Body> MakeBody(std::string bytes) { return std::make_unique<MemoryBody>(std::move(bytes)); }

FakeExchange::FakeExchange(std::string method, std::string path, Headers headers, std::string body, std::string query) {
  request.method = std::move(method);
  request.path = std::move(path);
  request.query = std::move(query);
  request.headers = std::move(headers);
  request.body = MakeBody(std::move(body));
}

void FakeExchange::Respond(int status, Headers headers, std::string body) {
  MutexLock lock(&mutex_);
  SHEAF_CHECK(answer_.status == 0);
  if (!gone_) answer_ = {.status = status, .headers = std::move(headers), .body = std::move(body), .ended = true};
  changed_.NotifyAll();
}

void FakeExchange::Begin(int status, Headers headers) {
  MutexLock lock(&mutex_);
  SHEAF_CHECK(answer_.status == 0);
  answer_ = {.status = status, .headers = std::move(headers), .streamed = true};
}

bool FakeExchange::Write(std::string chunk) {
  std::function<void()> action;
  {
    MutexLock lock(&mutex_);
    SHEAF_CHECK(answer_.streamed && !answer_.ended && !answer_.aborted);
    ++answer_.writes;
    answer_.body += chunk;
    if (answer_.writes != gone_at_write_) return !gone_;
    gone_ = true;
    action = std::exchange(on_cancel_, nullptr);
  }
  if (action) action();
  return false;
}

void FakeExchange::End() {
  MutexLock lock(&mutex_);
  SHEAF_CHECK(answer_.streamed && !answer_.aborted);
  answer_.ended = true;
  changed_.NotifyAll();
}

void FakeExchange::Abort() {
  MutexLock lock(&mutex_);
  SHEAF_CHECK(answer_.streamed && !answer_.ended);
  answer_.aborted = true;
  changed_.NotifyAll();
}

bool FakeExchange::cancelled() const {
  MutexLock lock(&mutex_);
  return gone_;
}

void FakeExchange::OnCancel(std::function<void()> action) {
  {
    MutexLock lock(&mutex_);
    if (!gone_) {
      on_cancel_ = std::move(action);
      return;
    }
  }
  action();
}

void FakeExchange::Cancel() {
  std::function<void()> action;
  {
    MutexLock lock(&mutex_);
    gone_ = true;
    action = std::exchange(on_cancel_, nullptr);
    changed_.NotifyAll();
  }
  if (action) action();
}

void FakeExchange::CancelAtWrite(int n) {
  MutexLock lock(&mutex_);
  gone_at_write_ = n;
}

FakeExchange::Answer FakeExchange::answer() const {
  MutexLock lock(&mutex_);
  return answer_;
}

FakeExchange::Answer FakeExchange::Wait() {
  MutexLock lock(&mutex_);
  while (!answer_.ended && !answer_.aborted && !gone_) changed_.Wait(&mutex_);
  return answer_;
}

std::string FakeExchange::Answer::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

FakeCall::FakeCall(std::string message_bytes) { message = MakeBody(std::move(message_bytes)); }

void FakeCall::Finish(GrpcStatus finished, std::string reply) {
  if (status) return;  // Only the first one counts, as the transport has it.
  status = std::move(finished);
  replies.push_back(std::move(reply));
}

void FakeTransport::HandleHttp(const std::string& listener, const std::string& method, const std::string& path, HttpHandler handler, bool) {
  SHEAF_CHECK(http_.emplace(listener + " " + method + " " + path, std::move(handler)).second);
}
void FakeTransport::HandleGrpc(const std::string&, const std::string& path, GrpcHandler handler, bool) {
  SHEAF_CHECK(grpc_.emplace(path, std::move(handler)).second);
}
void FakeTransport::HandleGrpcStream(const std::string&, const std::string& path, GrpcStreamHandler handler) {
  SHEAF_CHECK(streams_.emplace(path, std::move(handler)).second);
}

void FakeTransport::HandleGrpcDuplex(const std::string&, const std::string& path, GrpcDuplexHandler handler) {
  SHEAF_CHECK(duplex_.emplace(path, std::move(handler)).second);
}

std::shared_ptr<FakeExchange> FakeTransport::Http(const std::string& listener, const std::string& method, const std::string& path,
                                                  Headers headers, std::string body, std::string query) {
  const auto exchange = std::make_shared<FakeExchange>(method, path, std::move(headers), std::move(body), std::move(query));
  exchange->request.identity = sender;
  http_.at(listener + " " + method + " " + path)(exchange);
  return exchange;
}

std::set<std::string> FakeTransport::HttpRoutes(const std::string& listener) const {
  std::set<std::string> routes;
  for (const auto& [name, handler] : http_) {
    if (name.starts_with(listener + " ")) routes.insert(name.substr(listener.size() + 1));
  }
  return routes;
}

std::shared_ptr<FakeCall> FakeTransport::Grpc(const std::string& path, std::string message) {
  const auto call = std::make_shared<FakeCall>(std::move(message));
  call->identity = sender;
  grpc_.at(path)(call);
  return call;
}

std::shared_ptr<FakeCall> FakeTransport::GrpcStream(const std::string& path, std::string message) {
  const auto call = std::make_shared<FakeCall>(std::move(message));
  call->identity = sender;
  streams_.at(path)(call);
  return call;
}

std::pair<std::shared_ptr<FakeCall>, std::shared_ptr<GrpcReceiver>> FakeTransport::GrpcDuplex(const std::string& path) {
  const auto call = std::make_shared<FakeCall>("");
  call->message.reset();
  call->identity = sender;
  return {call, duplex_.at(path)(call)};
}

FakeDatabase::FakeDatabase() {
  for (int i = 0; i < decode::kSignals; ++i) {
    auto table = std::make_shared<store::TableInfo>();
    table->id = TableId(static_cast<uint64_t>(100 + i));
    table->schema_name = "otel";
    table->name = decode::SignalTable(static_cast<decode::Signal>(i));
    tables_.push_back(std::move(table));
  }
}

Status FakeDatabase::AppendAsync(const std::vector<store::TableRows>& all, const store::WriteOptions&, Done done) noexcept {
  SHEAF_RETURN_NOT_OK(refuse);
  int64_t count = 0;
  for (const store::TableRows& some : all) count += some.batch->num_rows();
  if (count > rows_max) return MakeError(ErrorKind::kTooLarge, "{} rows", count);
  ++appends;
  for (const store::TableRows& some : all) rows[tables_.at(some.table.value - 100)->name] += some.batch->num_rows();
  if (answer) {
    done(*answer);
  } else {
    waiting_.push_back(std::move(done));
  }
  return Status::OK();
}

Result<std::shared_ptr<const store::TableInfo>> FakeDatabase::FindTable(const std::string&, const std::string& name) const {
  for (const auto& table : tables_) {
    if (table->name == name) return table;
  }
  return MakeError(ErrorKind::kNotFound, "no table {}", name);
}

void FakeDatabase::Release(Result<Lsn> result) {
  SHEAF_CHECK(!waiting_.empty());
  const Done done = std::move(waiting_.front());
  waiting_.pop_front();
  done(std::move(result));
}

Result<std::unique_ptr<query::Query>> FakeEngine::Start(const query::QueryRequest& request) {
  last = request;
  SHEAF_RETURN_NOT_OK(refuse);
  return std::make_unique<FakeQuery>(this);
}

Result<query::StatementShape> FakeEngine::Describe(const query::QueryRequest&) {
  SHEAF_RETURN_NOT_OK(refuse);
  return query::StatementShape{.answer = query::StatementShape::Answer::kRows,
                               .result = batches.front()->schema(),
                               .parameters = arrow::schema({}),
                               .reads_only = true};
}

}  // namespace sheaf::serve
