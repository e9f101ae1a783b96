#include "local_source.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "command.h"
#include "io/posix.h"
#include "query/engine.h"
#include "store/database.h"

namespace sheaf::cli {
namespace {

constexpr std::chrono::milliseconds kInterruptPoll{50};

/// Cancels a query once the user interrupts. Asked by a thread, since a signal handler may not.
class InterruptWatch {
 public:
  explicit InterruptWatch(query::Query* query) : thread_([this, query] { Watch(query); }) {}
  ~InterruptWatch() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void Watch(query::Query* query) {
    std::unique_lock lock(mutex_);
    while (!done_) {
      if (Interrupted()) {
        query->Cancel();
        return;
      }
      changed_.wait_for(lock, kInterruptPoll);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

class LocalRows : public Rows {
 public:
  explicit LocalRows(std::unique_ptr<query::Query> query) : query_(std::move(query)), watch_(query_.get()) {}
  const std::shared_ptr<arrow::Schema>& schema() const override { return query_->schema(); }
  Result<std::shared_ptr<arrow::RecordBatch>> Next() override { return query_->Next(); }

 private:
  const std::unique_ptr<query::Query> query_;
  InterruptWatch watch_;
};

class LocalSource : public QuerySource {
 public:
  explicit LocalSource(int64_t timeout_ms) : timeout_ms_(timeout_ms) {}
  ~LocalSource() override {
    const Status closed = Close();
    if (!closed.ok()) Fail(closed);
  }

  Status Open(const std::string& directory, bool writes) {
    store::Options options;
    options.directory = directory;
    options.read_only = !writes;
    SHEAF_RETURN_NOT_OK(io::PosixFileSystem()->Stat(directory).status());  // A wrong name must not make a new database.
    SHEAF_ASSIGN_OR_RETURN(database_, store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
    SHEAF_ASSIGN_OR_RETURN(engine_, query::Engine::Open(database_.get(), {}));
    return Status::OK();
  }

  Result<std::unique_ptr<Rows>> Start(const std::string& sql) override {
    query::QueryRequest request;
    request.sql = sql;
    request.trusted = true;
    request.timeout_ms = timeout_ms_;
    SHEAF_ASSIGN_OR_RETURN(auto query, engine_->Start(request));
    return std::make_unique<LocalRows>(std::move(query));
  }

  Status Close() override {
    engine_.reset();
    if (database_ == nullptr) return Status::OK();
    const Status status = database_->Close();
    database_.reset();
    return status;
  }

 private:
  const int64_t timeout_ms_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<query::Engine> engine_;
};

}  // namespace

Result<std::unique_ptr<QuerySource>> OpenLocalSource(const SourceOptions& options) {
  auto source = std::make_unique<LocalSource>(options.timeout_ms);
  SHEAF_RETURN_NOT_OK(source->Open(options.data, options.writes));
  return source;
}

}  // namespace sheaf::cli
