#include "query/query_log.h"

#include <algorithm>
#include <utility>

#include "io/clock.h"

namespace sheaf::query {

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
  for (const auto& [bit, name] : {std::pair(kByKey, "key"), std::pair(kByFilter, "filter"), std::pair(kByTokens, "tokens"),
                                  std::pair(kByTopN, "top-n")}) {
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

QueryStats StatsOf(const StatementRecord& record) {
  const StatementCounters& counters = record.counters;
  const StatementCosts& costs = record.costs;
  const auto seconds = [](int64_t ns) { return static_cast<double>(ns) * 1e-9; };
  return {.rows = costs.rows,
          .rows_scanned = counters.rows_scanned,
          .bytes_read = counters.bytes_read,
          .parts = counters.parts,
          .parts_pruned = counters.parts_pruned,
          .granules = counters.granules,
          .granules_pruned = counters.granules_pruned,
          .lsn = record.lsn(),
          .queue_seconds = seconds(costs.queue_ns),
          .parse_seconds = seconds(costs.parse_ns),
          .plan_seconds = seconds(costs.plan_ns),
          .execute_seconds = seconds(costs.execute_ns),
          .peak_memory_bytes = costs.peak_memory_bytes,
          .spilled_bytes = costs.spilled_bytes,
          .cache_hit = costs.cache_hit,
          .definition = record.kind_now() == StatementKind::kDefinition};
}

void QueryLog::Update(const Running& running, LoggedQuery* query) {
  query->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - running.started).count();
  if (running.record->costs.queued) query->state = "queued";
  query->kind = running.record->kind_now();
  query->indexes = running.record->counters.indexes;
  query->stats = StatsOf(*running.record);
}

std::shared_ptr<const LoggedQuery> QueryLog::Ended(uint64_t id, const Status& outcome) {
  std::shared_ptr<const LoggedQuery> oldest;  // Freed outside the lock.
  MutexLock lock(&mutex_);
  auto node = running_.extract(id);
  if (node.empty()) return std::make_shared<const LoggedQuery>();
  auto query = std::make_shared<LoggedQuery>(std::move(node.mapped().query));
  Update(node.mapped(), query.get());
  query->state = outcome.ok() ? "done" : ErrorKindName(KindOf(outcome));
  if (!outcome.ok()) query->error = Shortened(outcome.message(), kLoggedErrorBytesMax);
  ended_.push_front(query);
  if (ended_.size() > kKeptMax) {
    oldest = std::move(ended_.back());
    ended_.pop_back();
  }
  return query;
}

void QueryLog::Forget(uint64_t id) {
  MutexLock lock(&mutex_);
  running_.erase(id);
}

std::vector<LoggedQuery> QueryLog::All() const {
  MutexLock lock(&mutex_);
  std::vector<LoggedQuery> all;
  for (auto running = running_.rbegin(); running != running_.rend(); ++running) {
    all.push_back(running->second.query);
    Update(running->second, &all.back());
  }
  for (const auto& query : ended_) all.push_back(*query);
  return all;
}

}  // namespace sheaf::query
