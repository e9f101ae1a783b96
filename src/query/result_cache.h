/// Answers that are kept for as long as the tables they were read from stay exactly as they were.
///
/// An answer belongs to a statement's text and parameters, to the definitions of all tables (a name may come to mean another one), and to
/// the rows of the tables it read: each source of a table only gains rows and only loses rows to deaths, so that its number, its rows
/// and its dead rows say what is in it. A write to another table changes nothing of that.

#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arrow/record_batch.h>

#include "core/memory.h"
#include "core/mutex.h"
#include "query/engine.h"
#include "store/database.h"

namespace sheaf::query {

/// What a table holds at one instant. Equal states: equal rows.
struct TableState {
  struct Source {
    uint64_t ordinal = 0;
    Lsn max_lsn;
    int64_t rows = 0, dead = 0;
    bool operator==(const Source&) const = default;
  };
  std::shared_ptr<const store::TableInfo> info;  // The definition itself: a changed table has another.
  std::vector<Source> sources;
  bool operator==(const TableState&) const = default;
};
TableState StateOf(const store::TableSnapshot& table);

/// A whole answer. Immutable once it is kept.
struct KeptAnswer {
  uint64_t definitions = 0;  // The cache's number of them, before and after it was planned.
  std::vector<TableState> tables;
  std::shared_ptr<arrow::Schema> schema;
  arrow::RecordBatchVector batches;
  int64_t rows = 0, bytes = 0;
};

/// Thread-safe. Shows its hits and misses as metrics, and its bytes as memory component `result_cache`.
class ResultCache {
 public:
  /// Beyond `bytes_max` the least recently used answers go; one of more than an eighth of it is not kept. 0: nothing is.
  /// `definitions` gives a number that changes whenever a name may come to mean another table or view. Borrows `database`.
  ResultCache(int64_t bytes_max, const store::Database* database, std::function<uint64_t()> definitions);

  bool enabled() const { return bytes_max_ > 0; }
  int64_t answer_bytes_max() const { return bytes_max_ / 8; }

  /// Text that differs only in white space gives the same key; parameters count with their types, and the roles
  /// of whoever may not read all schemas. Empty: a parameter is an Arrow scalar,
  /// and the answer is not to be kept.
  static std::string KeyOf(const QueryRequest& request);
  /// Whether the text names nothing that may be another value next time (now(), random(), …), even where it is computed while planning.
  static bool IsRepeatableText(const std::string& sql);

  /// The answer of `key` if it is that of the database now; null where there is none. One that is out of date goes.
  std::shared_ptr<const KeptAnswer> Find(const std::string& key) SHEAF_EXCLUDES(mutex_);
  void Keep(const std::string& key, std::shared_ptr<const KeptAnswer> answer) SHEAF_EXCLUDES(mutex_);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const KeptAnswer> answer;
    int64_t bytes = 0;
  };
  using Entries = std::list<Entry>;
  bool IsNow(const KeptAnswer& answer) const;
  void Remove(Entries::iterator entry) SHEAF_REQUIRES(mutex_);

  const int64_t bytes_max_;
  const store::Database* const database_;  // Borrowed.
  const std::function<uint64_t()> definitions_;
  const std::shared_ptr<MemoryCounter> memory_;
  Mutex mutex_;
  Entries entries_ SHEAF_GUARDED_BY(mutex_);  // The most recently used first.
  std::unordered_map<std::string, Entries::iterator> by_key_ SHEAF_GUARDED_BY(mutex_);
  int64_t bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
};

/// An answer that is being read, to be kept at its end. Not thread-safe.
class AnswerDraft {
 public:
  /// Borrows `cache`. `start` has everything but the schema and batches.
  AnswerDraft(ResultCache* cache, std::string key, KeptAnswer start) : cache_(cache), key_(std::move(key)), answer_(std::move(start)) {}
  void SetSchema(std::shared_ptr<arrow::Schema> schema) { answer_.schema = std::move(schema); }
  /// False: it has become too large, and will not be kept.
  bool Add(const std::shared_ptr<arrow::RecordBatch>& batch);
  void Keep() { cache_->Keep(key_, std::make_shared<const KeptAnswer>(std::move(answer_))); }

 private:
  ResultCache* cache_;
  std::string key_;
  KeptAnswer answer_;
};

}  // namespace sheaf::query
