#include "query/statement_writes.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <arrow/util/byte_size.h>

#include "columns/key_codec.h"
#include "core/check.h"

namespace sheaf::query {

namespace {

constexpr int64_t kBatchRowsMax = 122'880;  // A larger batch would become one granule of the memtable.
constexpr auto kThrottledWaitMin = std::chrono::milliseconds(1), kThrottledWaitMax = std::chrono::milliseconds(100);
constexpr int kInsertTries = 20;

bool MustBeAtomic(WriteKind kind) { return kind == WriteKind::kInsert || kind == WriteKind::kChange; }

/// The rows of `batch` at the positions, which rise.
Result<std::shared_ptr<arrow::RecordBatch>> Take(const std::shared_ptr<arrow::RecordBatch>& batch, const std::vector<int64_t>& rows) {
  if (static_cast<int64_t>(rows.size()) == batch->num_rows()) return batch;
  arrow::RecordBatchVector runs;
  for (size_t i = 0; i < rows.size();) {
    size_t end = i + 1;
    while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
    runs.push_back(batch->Slice(rows[i], static_cast<int64_t>(end - i)));
    i = end;
  }
  if (runs.empty()) return batch->Slice(0, 0);
  return arrow::ConcatenateRecordBatches(runs);
}

}  // namespace

/// Keys that are inserted at once.
struct StatementWrites::Inserted {
  std::deque<columns::KeyColumn> keys;
  std::unordered_set<std::string_view> seen;  // Points into keys.
};

StatementWrites::~StatementWrites() {
  std::shared_ptr<const store::TableInfo> made;
  {
    MutexLock lock(&mutex_);
    if (new_table_ && !committed_) made = table_;
  }
  // Fails only where the database is closing; then the rows stay, as those of a load that broke off.
  if (made) (void)database_->DropTable(made->id);
}

void StatementWrites::Begin(std::shared_ptr<const store::TableInfo> table, Lsn snapshot) {
  MutexLock lock(&mutex_);
  SHEAF_CHECK(!table_ || table_->id == table->id);
  table_ = std::move(table);
  snapshot_ = snapshot;
}

void StatementWrites::BeginNew(store::NewTable table) {
  MutexLock lock(&mutex_);
  new_table_ = std::move(table);
}

Status StatementWrites::Add(WriteKind kind, std::shared_ptr<arrow::RecordBatch> batch, std::shared_ptr<arrow::RecordBatch> old_rows) {
  if (batch->num_rows() == 0) return Status::OK();
  const int64_t bytes = arrow::util::ReferencedBufferSize(*batch).ValueOr(arrow::util::TotalBufferSize(*batch));
  std::vector<Staged> ready;
  {
    MutexLock lock(&mutex_);
    const bool atomic = MustBeAtomic(kind) || std::any_of(staged_.begin(), staged_.end(),
                                                          [](const Staged& other) { return MustBeAtomic(other.kind); });
    if (atomic && staged_bytes_ + bytes > kAtomicBytesMax) {
      return MakeError(ErrorKind::kTooLarge,
                       "the statement changes more than {} MiB of rows, which cannot be done at once: narrow it down and run it in parts",
                       kAtomicBytesMax >> 20);
    }
    staged_.push_back({kind, std::move(batch), std::move(old_rows)});
    staged_bytes_ += bytes;
    if (staged_bytes_ < kAtomicBytesMax) return Status::OK();
    ready.swap(staged_);
    staged_bytes_ = 0;
  }
  return Append(std::move(ready));
}

Status StatementWrites::Commit() {
  std::vector<Staged> ready;
  {
    MutexLock lock(&mutex_);
    ready.swap(staged_);
    staged_bytes_ = 0;
  }
  SHEAF_RETURN_NOT_OK(Target().status());
  SHEAF_RETURN_NOT_OK(Append(std::move(ready)));
  MutexLock lock(&mutex_);
  committed_ = true;
  return Status::OK();
}

Result<std::shared_ptr<const store::TableInfo>> StatementWrites::Target() {
  store::NewTable wanted;
  {
    MutexLock lock(&mutex_);
    while (making_) made_.Wait(&mutex_);
    if (table_ || !new_table_) return table_;
    making_ = true;  // The others wait: a second making would replace the first one's table.
    wanted = *new_table_;
  }
  auto made = database_->CreateTable(wanted);
  MutexLock lock(&mutex_);
  making_ = false;
  made_.NotifyAll();
  SHEAF_ASSIGN_OR_RETURN(table_, std::move(made));
  return table_;
}

Status StatementWrites::Append(std::vector<Staged> staged) {
  if (staged.empty()) return Status::OK();
  SHEAF_ASSIGN_OR_RETURN(const auto table, Target());
  Lsn snapshot;
  {
    MutexLock lock(&mutex_);
    snapshot = snapshot_;
  }
  std::vector<store::TableRows> rows;
  std::vector<Staged> written;
  Inserted inserted;
  for (size_t i = 0; i < staged.size();) {
    const WriteKind kind = staged[i].kind;
    arrow::RecordBatchVector batches;
    int64_t count = 0;
    for (; i < staged.size() && staged[i].kind == kind && (batches.empty() || count + staged[i].batch->num_rows() <= kBatchRowsMax); ++i) {
      batches.push_back(staged[i].batch);
      count += staged[i].batch->num_rows();
      written.push_back(staged[i]);
    }
    SHEAF_ASSIGN_OR_RETURN(auto batch, batches.size() == 1 ? batches[0] : arrow::ConcatenateRecordBatches(batches));
    if (kind == WriteKind::kPutMissing) {
      SHEAF_RETURN_NOT_OK(AppendMissing(*table, std::move(batch)));
      written.clear();  // Such a statement has no other rows, and they are counted.
      continue;
    }
    store::TableRows more{.table = table->id, .batch = std::move(batch)};
    if (kind == WriteKind::kInsert) {
      SHEAF_RETURN_NOT_OK(CheckDistinct(*table, *more.batch, &inserted));
      more.op = store::RowOp::kInsert;
    } else if (kind == WriteKind::kChange || kind == WriteKind::kDelete) {
      if (kind == WriteKind::kDelete) more.op = store::RowOp::kDelete;
      more.unchanged_since = snapshot;
    }
    rows.push_back(std::move(more));
  }
  if (rows.empty()) return Status::OK();
  auto lsn = AppendToStore(rows);
  if (!lsn.ok() && KindOf(lsn.status()) == ErrorKind::kAlreadyExists) {
    return MakeError(ErrorKind::kConflict, "{}", lsn.status().message());  // It was not there when the statement looked.
  }
  SHEAF_RETURN_NOT_OK(lsn.status());
  for (const Staged& what : written) CountWritten(*lsn, what);
  return Status::OK();
}

void StatementWrites::CountWritten(Lsn lsn, const Staged& what) {
  MutexLock lock(&mutex_);
  rows_ += what.batch->num_rows();
  lsn_ = std::max(lsn_, lsn);
  if (returns_) returned_.push_back(what.old_rows ? what.old_rows : what.batch);
}

Status StatementWrites::AppendMissing(const store::TableInfo& table, std::shared_ptr<arrow::RecordBatch> batch) {
  for (int attempt = 1;; ++attempt) {
    SHEAF_ASSIGN_OR_RETURN(const columns::KeyColumn keys, table.keys->Encode(*batch));
    SHEAF_ASSIGN_OR_RETURN(const auto found, database_->MultiGet(table.id, keys));
    std::vector<int64_t> missing;
    std::unordered_set<std::string_view> seen;
    for (int64_t row = 0; row < keys.size(); ++row) {
      if (!found[static_cast<size_t>(row)] && seen.insert(keys[row]).second) missing.push_back(row);
    }
    SHEAF_ASSIGN_OR_RETURN(auto rows, Take(batch, missing));
    if (rows->num_rows() == 0) return Status::OK();
    const auto lsn = AppendToStore({{.table = table.id, .batch = rows, .op = store::RowOp::kInsert}});
    if (lsn.ok()) {
      CountWritten(*lsn, {WriteKind::kPutMissing, rows, nullptr});
      return Status::OK();
    }
    // Somebody inserted one of the keys in between: look again, and leave that one out too.
    if (KindOf(lsn.status()) != ErrorKind::kAlreadyExists || attempt == kInsertTries) return lsn.status();
  }
}

Status StatementWrites::CheckDistinct(const store::TableInfo& table, const arrow::RecordBatch& batch, Inserted* inserted) {
  SHEAF_ASSIGN_OR_RETURN(columns::KeyColumn encoded, table.keys->Encode(batch));
  const columns::KeyColumn& keys = inserted->keys.emplace_back(std::move(encoded));
  for (int64_t row = 0; row < keys.size(); ++row) {
    if (!inserted->seen.insert(keys[row]).second) {
      return MakeError(ErrorKind::kInvalid, "the statement inserts the key {} into {}.{} twice", table.keys->ToText(keys[row]),
                       table.schema_name, table.name);
    }
  }
  return Status::OK();
}

Result<Lsn> StatementWrites::AppendToStore(const std::vector<store::TableRows>& rows) {
  for (auto wait = kThrottledWaitMin;; wait = std::min(2 * wait, kThrottledWaitMax)) {
    auto lsn = database_->Append(rows, store::WriteOptions{});
    if (lsn.ok() || KindOf(lsn.status()) != ErrorKind::kThrottled) return lsn;
    if (stopped_()) return MakeError(ErrorKind::kCancelled, "interrupted");
    MutexLock lock(&mutex_);
    made_.WaitFor(&mutex_, wait);  // Nobody needs to wake it: it is the time that counts.
  }
}

int64_t StatementWrites::rows() const {
  MutexLock lock(&mutex_);
  return rows_;
}

Lsn StatementWrites::lsn() const {
  MutexLock lock(&mutex_);
  return lsn_;
}

arrow::RecordBatchVector StatementWrites::TakeReturned() {
  MutexLock lock(&mutex_);
  return std::exchange(returned_, {});
}

}  // namespace sheaf::query
