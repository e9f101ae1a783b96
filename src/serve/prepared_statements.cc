#include "serve/prepared_statements.h"

#include <random>
#include <utility>

#include <arrow/util/byte_size.h>

namespace sheaf::serve {
namespace {

/// A statement's own objects, roughly.
constexpr int64_t kStatementBytes = 1024;

/// Of a field's objects without what its name holds, roughly.
constexpr int64_t kFieldBytes = 512;
/// How often those that nobody uses are looked for.
constexpr std::chrono::seconds kSweepInterval{60};

int64_t BytesOf(const arrow::Field& field) {
  int64_t bytes = kFieldBytes + static_cast<int64_t>(field.name().size());
  for (const auto& inner : field.type()->fields()) bytes += BytesOf(*inner);
  return bytes;
}

int64_t BytesOf(const std::shared_ptr<arrow::Schema>& schema) {
  int64_t bytes = 0;
  if (schema == nullptr) return bytes;
  for (const auto& field : schema->fields()) bytes += BytesOf(*field);
  return bytes;
}

int64_t BytesOf(const PreparedStatement& statement) {
  int64_t bytes = kStatementBytes + static_cast<int64_t>(statement.sql.size());
  bytes += BytesOf(statement.shape.result) + BytesOf(statement.shape.parameters);
  for (const auto& batch : statement.parameters) bytes += arrow::util::TotalBufferSize(*batch);
  return bytes;
}

std::string MakeHandle() {
  std::random_device random;
  std::string handle;
  for (int i = 0; i < 4; ++i) handle += fmt::format("{:08x}", random());
  return handle;
}

}  // namespace

void PreparedStatements::Forget(All::iterator which) {
  bytes_ -= which->second.bytes;
  all_.erase(which);
}

void PreparedStatements::SweepIdle(Clock::time_point now) {
  swept_ = now;
  for (auto it = all_.begin(); it != all_.end();) {
    const auto next = std::next(it);
    if (now - it->second.used > limits_.idle_max) Forget(it);
    it = next;
  }
}

void PreparedStatements::ForgetIdle(Clock::time_point now) {
  MutexLock lock(&mutex_);
  if (now - swept_ > kSweepInterval) SweepIdle(now);
}

Status PreparedStatements::CheckRoom(int64_t count, int64_t bytes) const {
  if (count > limits_.count_max) {
    return MakeError(ErrorKind::kTooLarge, "{} prepared statements are open, as many as may be: close those that are done with",
                     limits_.count_max);
  }
  if (bytes > limits_.bytes_max) {
    return MakeError(ErrorKind::kTooLarge,
                     "prepared statements and their parameters take {} bytes already; all of them together may take "
                     "{}: close those that are done with, bind fewer rows at once, or use bulk ingest",
                     bytes_, limits_.bytes_max);
  }
  return Status::OK();
}

Result<std::string> PreparedStatements::Add(PreparedStatement statement, Clock::time_point now) {
  const int64_t bytes = BytesOf(statement);
  std::string handle = MakeHandle();
  MutexLock lock(&mutex_);
  const bool full = static_cast<int64_t>(all_.size()) >= limits_.count_max || bytes_ + bytes > limits_.bytes_max;
  if (full || now - swept_ > kSweepInterval) SweepIdle(now);
  SHEAF_RETURN_NOT_OK(CheckRoom(static_cast<int64_t>(all_.size()) + 1, bytes_ + bytes));
  all_[handle] = {std::make_shared<const PreparedStatement>(std::move(statement)), bytes, now};
  bytes_ += bytes;
  return handle;
}

Result<PreparedStatements::All::iterator> PreparedStatements::FindKept(const std::string& handle, const std::string& user,
                                                                     Clock::time_point now) {
  auto found = all_.find(handle);
  if (found != all_.end() && found->second.statement->user != user) found = all_.end();
  const bool idle = found != all_.end() && now - found->second.used > limits_.idle_max;
  if (idle) Forget(found);
  if (found == all_.end() || idle) {
    return MakeError(ErrorKind::kNotFound,
                     "there is no such prepared statement: it was closed, or not used for {} s; prepare it again",
                     limits_.idle_max.count() / 1000);
  }
  found->second.used = now;
  return found;
}

Result<std::shared_ptr<const PreparedStatement>> PreparedStatements::Find(const std::string& handle, const std::string& user,
                                                                          Clock::time_point now) {
  MutexLock lock(&mutex_);
  SHEAF_ASSIGN_OR_RETURN(const auto found, FindKept(handle, user, now));
  return found->second.statement;
}

Status PreparedStatements::Bind(const std::string& handle, const std::string& user,
                                std::vector<std::shared_ptr<arrow::RecordBatch>> parameters, Clock::time_point now) {
  MutexLock lock(&mutex_);
  SHEAF_ASSIGN_OR_RETURN(const auto found, FindKept(handle, user, now));
  Kept& kept = found->second;
  PreparedStatement bound{kept.statement->sql, kept.statement->shape, std::move(parameters), user};
  const int64_t bytes = BytesOf(bound);
  SHEAF_RETURN_NOT_OK(CheckRoom(static_cast<int64_t>(all_.size()), bytes_ + bytes - kept.bytes));
  bytes_ += bytes - std::exchange(kept.bytes, bytes);
  kept.statement = std::make_shared<const PreparedStatement>(std::move(bound));
  return Status::OK();
}

void PreparedStatements::Close(const std::string& handle, const std::string& user) {
  MutexLock lock(&mutex_);
  if (const auto found = all_.find(handle); found != all_.end() && found->second.statement->user == user) Forget(found);
}

int64_t PreparedStatements::count() const {
  MutexLock lock(&mutex_);
  return static_cast<int64_t>(all_.size());
}

}  // namespace sheaf::serve
