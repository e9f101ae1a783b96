/// Support for tests of services: exchanges, calls, a transport, a database and an engine that do as they are told.

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "query/engine.h"
#include "serve/transport.h"
#include "store/database.h"

namespace sheaf::serve {

/// Bytes in memory.
std::unique_ptr<Body> MakeBody(std::string bytes);

/// Records its answer. Thread-safe.
class FakeExchange : public HttpExchange {
 public:
  FakeExchange(std::string method, std::string path, Headers headers, std::string body, std::string query = {});

  void Respond(int status, Headers headers, std::string body) override SHEAF_EXCLUDES(mutex_);
  void Begin(int status, Headers headers) override SHEAF_EXCLUDES(mutex_);
  bool Write(std::string chunk) override SHEAF_EXCLUDES(mutex_);
  void End() override SHEAF_EXCLUDES(mutex_);
  void Abort() override SHEAF_EXCLUDES(mutex_);
  bool cancelled() const override SHEAF_EXCLUDES(mutex_);
  void OnCancel(std::function<void()> action) override SHEAF_EXCLUDES(mutex_);

  /// The peer goes away.
  void Cancel() SHEAF_EXCLUDES(mutex_);
  /// The peer goes away while that write, counted from 1, is under way.
  void CancelAtWrite(int n) SHEAF_EXCLUDES(mutex_);

  struct Answer {
    int status = 0;        // 0: none yet.
    Headers headers;
    std::string body;
    int writes = 0;        // Chunks of a streamed answer.
    bool streamed = false, ended = false, aborted = false;
    std::string header(std::string_view name) const;
  };
  Answer answer() const SHEAF_EXCLUDES(mutex_);
  /// Waits for the end of the answer, in whatever way.
  Answer Wait() SHEAF_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  Answer answer_ SHEAF_GUARDED_BY(mutex_);
  bool gone_ SHEAF_GUARDED_BY(mutex_) = false;
  int gone_at_write_ SHEAF_GUARDED_BY(mutex_) = 0;
  std::function<void()> on_cancel_ SHEAF_GUARDED_BY(mutex_);
};

/// Records its answers. Also serves as a unary call.
class FakeCall : public GrpcStreamCall {
 public:
  explicit FakeCall(std::string message_bytes);

  void Finish(GrpcStatus status, std::string reply) override;
  void Write(std::string reply) override { replies.push_back(std::move(reply)); }
  bool Send(std::string reply) override {
    if (is_cancelled) return false;
    Write(std::move(reply));
    return true;
  }
  void OnCancel(std::function<void()> action) override { on_cancel = std::move(action); }
  bool cancelled() const override { return is_cancelled; }

  std::vector<std::string> replies;
  std::optional<GrpcStatus> status;
  std::function<void()> on_cancel;
  bool is_cancelled = false;
};

/// Remembers handlers and runs them at once.
class FakeTransport : public Transport {
 public:
  void HandleHttp(const std::string& listener, const std::string& method, const std::string& path, HttpHandler handler, bool) override;
  void HandleGrpc(const std::string& listener, const std::string& path, GrpcHandler handler, bool) override;
  void HandleGrpcStream(const std::string& listener, const std::string& path, GrpcStreamHandler handler) override;
  void HandleGrpcDuplex(const std::string& listener, const std::string& path, GrpcDuplexHandler handler) override;
  Result<uint16_t> Listen(const std::string&, const std::string&, uint16_t port) override { return port; }
  void SetOverloaded(std::function<bool()>) override {}
  void SetGate(Gate*) override {}
  Status ReloadTls() override { return Status::OK(); }
  void FormatErrors(const std::string& listener, ErrorFormatter formatter) override {
    error_formatters[listener] = std::move(formatter);
  }
  void CheckHeads(const std::string& listener, HeadChecker checker) override { head_checkers[listener] = std::move(checker); }
  void Shutdown(std::chrono::milliseconds) override {}
  int64_t connections() const override { return 3; }
  int64_t memory_bytes() const override { return 4096; }

  std::shared_ptr<const access::Identity> sender;  // Of the requests below; null: there is no gate.

  /// Sends a request to a handler; aborts where there is none.
  std::shared_ptr<FakeExchange> Http(const std::string& listener, const std::string& method, const std::string& path, Headers headers = {},
                                     std::string body = {}, std::string query = {});
  /// "GET /path" of all that is handled there.
  std::set<std::string> HttpRoutes(const std::string& listener) const;
  std::shared_ptr<FakeCall> Grpc(const std::string& path, std::string message);
  std::shared_ptr<FakeCall> GrpcStream(const std::string& path, std::string message);
  /// Begins a bidirectional call; the receiver is null where the handler has finished it.
  std::pair<std::shared_ptr<FakeCall>, std::shared_ptr<GrpcReceiver>> GrpcDuplex(const std::string& path);

  std::map<std::string, ErrorFormatter> error_formatters;  // By listener.
  std::map<std::string, HeadChecker> head_checkers;        // By listener.

 private:
  std::map<std::string, HttpHandler> http_;
  std::map<std::string, GrpcHandler> grpc_;
  std::map<std::string, GrpcStreamHandler> streams_;
  std::map<std::string, GrpcDuplexHandler> duplex_;
};

/// Has the ready tables' names; keeps what is appended. Answers each append at once, or when Release() is called.
class FakeDatabase : public store::Database {
 public:
  FakeDatabase();

  Status AppendAsync(const std::vector<store::TableRows>& rows, const store::WriteOptions& options, Done done) noexcept override;
  std::shared_ptr<const store::Snapshot> GetSnapshot() const override { return nullptr; }
  Result<std::shared_ptr<const store::TableInfo>> FindTable(const std::string& schema_name, const std::string& name) const override;
  uint64_t catalog_version() const override { return 1; }
  Status Flush() noexcept override { return Status::OK(); }
  Status MakeCold(std::optional<TableId>) noexcept override { return Status::OK(); }
  Status SetRetention(TableId, std::optional<int64_t>) noexcept override { return Status::OK(); }
  std::vector<store::PartStatus> Parts() const override { return {}; }
  store::Stats GetStats() const override { return stats; }
  const store::Options& options() const override { return options_; }
  Status Close() noexcept override { return Status::OK(); }

  /// Ends the oldest append that waits.
  void Release(Result<Lsn> result);

  std::map<std::string, int64_t> rows;      // By table name.
  Status refuse;                            // Not OK: AppendAsync fails with it.
  int64_t rows_max = INT64_MAX;             // Of an append; beyond, it is TooLarge.
  std::optional<Result<Lsn>> answer = Result<Lsn>(Lsn(1));  // Nothing: appends wait.
  int appends = 0;
  store::Stats stats;

 private:
  std::vector<std::shared_ptr<const store::TableInfo>> tables_;
  std::deque<Done> waiting_;
  store::Options options_;
};

/// Answers every statement with the same batches.
class FakeEngine : public query::Engine {
 public:
  Result<std::unique_ptr<query::Query>> Start(const query::QueryRequest& request) override;
  Result<query::StatementShape> Describe(const query::QueryRequest& request) override;

  query::QueryRequest last;                                    // What was started.
  Status refuse;                                               // Not OK: Start() fails with it.
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;    // At least one, for the schema.
  Status end;                                                  // Not OK: instead of the end.
  std::function<void()> before_next;                           // Run by each Next().
  int cancelled = 0;                                           // Queries that were told to stop.
};

}  // namespace sheaf::serve
