#include "query/result_cache.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <string_view>
#include <utility>

#include <arrow/util/byte_size.h>

#include "columns/dead_rows.h"
#include "core/metrics.h"

namespace sheaf::query {

namespace {

struct CacheMetrics {
  Counter& hits = Metrics().AddCounter("sheaf_query_cache_hits_total", "Statements whose answer was there already.");
  Counter& misses = Metrics().AddCounter("sheaf_query_cache_misses_total", "Statements whose answer was not there.");
  Counter& outdated = Metrics().AddCounter("sheaf_query_cache_outdated_total", "Answers that went since a table of theirs changed.");
  Gauge& bytes = Metrics().AddGauge("sheaf_query_cache_bytes", "Bytes of kept answers.");
};

CacheMetrics& Shown() {
  static CacheMetrics metrics;
  return metrics;
}

/// What is another value in another statement. DuckDB computes some of these while it binds, where no plan shows them: a test holds this
/// list against duckdb_functions().
constexpr std::string_view kChanging[] = {
    "age", "current_connection_id", "current_database", "current_schema", "current_schemas", "current_date",
    "current_localtime", "current_localtimestamp", "current_query", "current_query_id", "current_setting", "current_time",
    "current_timestamp", "current_transaction_id", "currval", "gen_random_uuid", "get_current_time", "get_current_timestamp", "getvariable",
    "in_search_path", "localtime", "localtimestamp", "nextval", "now", "query", "query_table", "random", "sample", "setseed", "sleep_ms",
    "stats", "tablesample", "today", "transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7", "write_log"};

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0; }
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

/// One space for white space between words, a new line where it holds one (two texts with one between them are a single one). Texts with
/// comments, escapes or quoting by dollars are left as they are: where white space counts is harder to tell there.
std::string Normalized(const std::string& sql) {
  if (sql.find('\\') != std::string::npos || sql.find("--") != std::string::npos || sql.find("/*") != std::string::npos ||
      sql.find("$$") != std::string::npos) {
    return sql;
  }
  std::string text;
  text.reserve(sql.size());
  char quote = '\0', gap = '\0';
  for (size_t i = 0; i < sql.size(); ++i) {
    const char c = sql[i];
    const char next = i + 1 < sql.size() ? sql[i + 1] : '\0';
    if (quote == '\0' && c == '$' && IsWord(next) && std::isdigit(static_cast<unsigned char>(next)) == 0) return sql;
    if (quote == '\0' && IsSpace(c)) {
      gap = c == '\n' || c == '\r' || gap == '\n' ? '\n' : ' ';
      continue;
    }
    if (gap != '\0' && !text.empty()) text.push_back(gap);
    gap = '\0';
    if (c == '\'' || c == '"') quote = quote == '\0' ? c : quote == c ? '\0' : quote;
    text.push_back(c);
  }
  while (quote == '\0' && !text.empty() && (text.back() == ';' || IsSpace(text.back()))) text.pop_back();
  return text;
}

int64_t BytesOf(const std::string& key, const KeptAnswer& answer) {
  size_t bytes = sizeof(KeptAnswer) + 2 * key.size() + 200;
  for (const TableState& table : answer.tables) bytes += sizeof(table) + table.sources.size() * sizeof(TableState::Source);
  return static_cast<int64_t>(bytes) + answer.bytes;
}

}  // namespace

TableState StateOf(const store::TableSnapshot& table) {
  TableState state{.info = table.info, .sources = {}};
  state.sources.reserve(table.sources.size());
  for (const auto& [source, dead] : table.sources) {
    state.sources.push_back({.ordinal = source->ordinal(), .max_lsn = source->max_lsn(), .rows = source->rows(),
                             .dead = dead == nullptr ? 0 : dead->count()});
  }
  return state;
}

ResultCache::ResultCache(int64_t bytes_max, const store::Database* database, std::function<uint64_t()> definitions)
    : bytes_max_(bytes_max), database_(database), definitions_(std::move(definitions)),
      memory_(std::make_shared<MemoryCounter>("result_cache", bytes_max)) {
  if (enabled()) AddMemorySource(memory_);
}

std::string ResultCache::KeyOf(const QueryRequest& request) {
  std::string key = Normalized(request.sql);
  struct Append {
    std::string* key;
    void operator()(std::monostate) const {}
    void operator()(bool value) const { key->push_back(value ? '1' : '0'); }
    void operator()(int64_t value) const { key->append(reinterpret_cast<const char*>(&value), sizeof(value)); }
    void operator()(double value) const { key->append(reinterpret_cast<const char*>(&value), sizeof(value)); }
    void operator()(const std::string& value) const { key->append(std::to_string(value.size())).append(":").append(value); }
    void operator()(const std::shared_ptr<arrow::Scalar>&) const {}
  };
  for (const Parameter& parameter : request.parameters) {
    if (std::holds_alternative<std::shared_ptr<arrow::Scalar>>(parameter)) return {};
    key.push_back('\0');
    key.push_back(static_cast<char>('a' + parameter.index()));
    std::visit(Append{&key}, parameter);
  }
  // Who may not read every schema shares answers with those of the same roles only.
  if (request.identity && !request.identity->roles.everywhere) key.append(1, '\0').append(RolesText(request.identity->roles));
  return key;
}

bool ResultCache::IsRepeatableText(const std::string& sql) {
  if (sql.find("&\"") != std::string::npos) return false;  // U&"\006eow" is a name, too.
  for (size_t at = 0; at < sql.size();) {
    size_t end = at;
    while (end < sql.size() && IsWord(sql[end])) ++end;
    if (end == at) {
      ++at;
      continue;
    }
    std::string word = sql.substr(at, end - at);
    std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (std::find(std::begin(kChanging), std::end(kChanging), word) != std::end(kChanging)) return false;
    at = end;
  }
  return true;
}

bool ResultCache::IsNow(const KeptAnswer& answer) const {
  // The same before and after: the snapshot in between has these definitions.
  if (definitions_() != answer.definitions) return false;
  const auto snapshot = database_->GetSnapshot();
  for (const TableState& table : answer.tables) {
    const auto now = snapshot->Table(table.info->id);
    if (!now.ok() || StateOf(*now) != table) return false;
  }
  return definitions_() == answer.definitions;
}

std::shared_ptr<const KeptAnswer> ResultCache::Find(const std::string& key) {
  std::shared_ptr<const KeptAnswer> answer;
  {
    MutexLock lock(&mutex_);
    const auto found = by_key_.find(key);
    if (found != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      answer = found->second->answer;
    }
  }
  if (answer != nullptr && !IsNow(*answer)) {
    Shown().outdated.Add();
    MutexLock lock(&mutex_);
    const auto found = by_key_.find(key);
    if (found != by_key_.end() && found->second->answer == answer) Remove(found->second);
    answer = nullptr;
  }
  (answer == nullptr ? Shown().misses : Shown().hits).Add();
  return answer;
}

void ResultCache::Keep(const std::string& key, std::shared_ptr<const KeptAnswer> answer) {
  const int64_t bytes = BytesOf(key, *answer);
  if (bytes > answer_bytes_max()) return;
  MutexLock lock(&mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) Remove(found->second);
  while (!entries_.empty() && bytes_ + bytes > bytes_max_) Remove(std::prev(entries_.end()));
  entries_.push_front({.key = key, .answer = std::move(answer), .bytes = bytes});
  by_key_[key] = entries_.begin();
  bytes_ += bytes;
  memory_->Add(bytes);
  Shown().bytes.Add(bytes);
}

void ResultCache::Remove(Entries::iterator entry) {
  bytes_ -= entry->bytes;
  memory_->Add(-entry->bytes);
  Shown().bytes.Add(-entry->bytes);
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

bool AnswerDraft::Add(const std::shared_ptr<arrow::RecordBatch>& batch) {
  answer_.rows += batch->num_rows();
  answer_.bytes += arrow::util::TotalBufferSize(*batch);
  answer_.batches.push_back(batch);
  return answer_.bytes <= cache_->answer_bytes_max();
}

}  // namespace sheaf::query
