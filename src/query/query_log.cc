#include "query/query_log.h"

#include <algorithm>

#include "io/clock.h"

namespace sheaf::query {

uint64_t QueryLog::Started(const std::string& sql, std::shared_ptr<const StatementRecord> record) {
  const int64_t now_ns = io::SystemClock()->NowNs();
  MutexLock lock(&mutex_);
  const uint64_t id = next_id_++;
  Running& running = running_[id];
  running.query.id = id;
  running.query.sql = sql.substr(0, kLoggedSqlBytesMax);
  // A character may not be cut in half: it would not be text any more.
  while (!running.query.sql.empty() && running.query.sql.size() < sql.size() && (sql[running.query.sql.size()] & 0xC0) == 0x80) {
    running.query.sql.pop_back();
  }
  running.query.started_ns = now_ns;
  running.query.state = "running";
  running.started = std::chrono::steady_clock::now();
  running.record = std::move(record);
  return id;
}

LoggedQuery QueryLog::Now(const Running& running) {
  LoggedQuery query = running.query;
  query.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - running.started).count();
  query.rows_scanned = running.record->counters.rows_scanned;
  query.bytes_read = running.record->counters.bytes_read;
  return query;
}

void QueryLog::Ended(uint64_t id, const std::string& state, int64_t rows) {
  MutexLock lock(&mutex_);
  const auto running = running_.find(id);
  if (running == running_.end()) return;
  LoggedQuery query = Now(running->second);
  query.state = state;
  query.rows = rows;
  running_.erase(running);
  ended_.push_front(std::move(query));
  if (ended_.size() > kKeptMax) ended_.pop_back();
}

std::vector<LoggedQuery> QueryLog::All() const {
  MutexLock lock(&mutex_);
  std::vector<LoggedQuery> all;
  for (auto running = running_.rbegin(); running != running_.rend(); ++running) all.push_back(Now(running->second));
  all.insert(all.end(), ended_.begin(), ended_.end());
  return all;
}

}  // namespace sheaf::query
