#include "query/query_log.h"

#include <algorithm>
#include <utility>

#include "io/clock.h"

namespace sheaf::query {

namespace {

double Seconds(const std::atomic<int64_t>& ns) { return static_cast<double>(ns.load(std::memory_order_relaxed)) * 1e-9; }

}  // namespace

const char* NameOf(StatementKind kind) {
  switch (kind) {
    case StatementKind::kSelect: return "select";
    case StatementKind::kLookUp: return "lookup";
    case StatementKind::kWrite: return "write";
    case StatementKind::kDefinition: return "definition";
    case StatementKind::kOther: break;
  }
  return "other";
}

std::string NamesOfIndexes(uint32_t indexes) {
  std::string names;
  for (const auto& [bit, name] : {std::pair(kByKey, "key"), std::pair(kByFilter, "filter"), std::pair(kByTopN, "top-n")}) {
    if ((indexes & bit) == 0) continue;
    if (!names.empty()) names += ", ";
    names += name;
  }
  return names;
}

std::string Shortened(const std::string& text, size_t bytes_max) {
  std::string cut = text.substr(0, bytes_max);
  // A character may not be cut in half: it would not be text any more.
  while (!cut.empty() && cut.size() < text.size() && (text[cut.size()] & 0xC0) == 0x80) cut.pop_back();
  return cut;
}

uint64_t QueryLog::Started(const std::string& sql, std::shared_ptr<const StatementRecord> record) {
  Running running{.started = std::chrono::steady_clock::now(), .record = std::move(record)};
  running.query.sql = Shortened(sql, kLoggedSqlBytesMax);
  running.query.started_ns = io::SystemClock()->NowNs();
  running.query.state = "running";
  MutexLock lock(&mutex_);
  const uint64_t id = next_id_++;
  running.query.id = id;
  running_.emplace_hint(running_.end(), id, std::move(running));
  return id;
}

LoggedQuery QueryLog::Now(const Running& running) {
  const StatementCounters& counters = running.record->counters;
  const StatementCosts& costs = running.record->costs;
  LoggedQuery query = running.query;
  query.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - running.started).count();
  if (costs.queued) query.state = "queued";
  query.kind = running.record->kind_now();
  query.cache_hit = costs.cache_hit;
  query.queue_seconds = Seconds(costs.queue_ns);
  query.parse_seconds = Seconds(costs.parse_ns);
  query.plan_seconds = Seconds(costs.plan_ns);
  query.execute_seconds = Seconds(costs.execute_ns);
  query.rows = costs.rows;
  query.rows_scanned = counters.rows_scanned;
  query.bytes_read = counters.bytes_read;
  query.parts = counters.parts;
  query.parts_pruned = counters.parts_pruned;
  query.granules = counters.granules;
  query.granules_pruned = counters.granules_pruned;
  query.indexes = counters.indexes;
  query.peak_memory_bytes = costs.peak_memory_bytes;
  query.spilled_bytes = costs.spilled_bytes;
  return query;
}

LoggedQuery QueryLog::Ended(uint64_t id, const Status& outcome) {
  MutexLock lock(&mutex_);
  const auto running = running_.find(id);
  if (running == running_.end()) return {};
  LoggedQuery query = Now(running->second);
  query.state = outcome.ok() ? "done" : ErrorKindName(KindOf(outcome));
  if (!outcome.ok()) query.error = Shortened(outcome.message(), kLoggedErrorBytesMax);
  running_.erase(running);
  ended_.push_front(query);
  if (ended_.size() > kKeptMax) ended_.pop_back();
  return query;
}

std::vector<LoggedQuery> QueryLog::All() const {
  MutexLock lock(&mutex_);
  std::vector<LoggedQuery> all;
  for (auto running = running_.rbegin(); running != running_.rend(); ++running) all.push_back(Now(running->second));
  all.insert(all.end(), ended_.begin(), ended_.end());
  return all;
}

}  // namespace sheaf::query
