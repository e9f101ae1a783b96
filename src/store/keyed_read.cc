#include "store/keyed_read.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "store/damaged_part.h"
#include "store/version.h"

namespace sheaf::store {
namespace {

using Kind = memtable::KeyedHit::Kind;

/// The newest version of a key in memtables; kNone where parts have to be asked.
memtable::KeyedHit FindInMemtables(const TableVersion& table, std::string_view key, Lsn at) {
  memtable::KeyedHit hit = table.active.keyed->Get(key, at);
  for (size_t i = table.sealing.size(); i-- > 0 && hit.kind == Kind::kNone;) hit = table.sealing[i].keyed->Get(key, at);
  return hit;
}

struct PartHit {
  const Part* part = nullptr;
  columns::DeadRows::Position position;
};

/// The row that is alive in parts, as memtables have nothing to say about the key.
Result<std::optional<PartHit>> FindInParts(const TableVersion& table, std::string_view key) {
  for (size_t i = table.parts.size(); i-- > 0;) {
    const Part& part = *table.parts[i];
    if (part.damaged()) continue;
    SHEAF_ASSIGN_OR_RETURN(const auto position, part.keyed->Find(key));
    if (!position || (part.dead != nullptr && part.dead->IsDead(position->granule, position->row))) continue;
    return PartHit{&part, *position};
  }
  // Only where no sound part has the key, as a damaged one may still have it where it was replaced.
  for (const auto& part : table.parts) {
    if (part->damaged()) SHEAF_RETURN_NOT_OK(CheckNotNeeded(*part, key));
  }
  return std::optional<PartHit>();
}

/// One of the sources that a scan merges: rows in key order, each with its key.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Goes to the next row; false at the end.
  virtual Result<bool> Next() = 0;
  std::string_view key() const { return key_; }
  const KeyedRow& row() const { return row_; }  // Empty: the key was deleted.

 protected:
  std::string_view key_;
  KeyedRow row_;
};

class MemtableStream : public Stream {
 public:
  MemtableStream(const memtable::KeyedMemtable& memtable, std::string_view from, Lsn at) : cursor_(memtable.Scan(from, at)) {}

  Result<bool> Next() override {
    memtable::KeyedHit hit;
    if (!cursor_->Next(&key_, &hit)) return false;
    row_ = hit.kind == Kind::kRow ? KeyedRow{hit.lsn, std::move(hit.batch), hit.row} : KeyedRow{};
    return true;
  }

 private:
  const std::unique_ptr<memtable::KeyedMemtable::Cursor> cursor_;
};

class PartStream : public Stream {
 public:
  static Result<std::unique_ptr<Stream>> Open(const Part& part, std::string_view from) {
    auto stream = std::unique_ptr<PartStream>(new PartStream(part));
    SHEAF_ASSIGN_OR_RETURN(stream->cursor_, part.keyed->Scan(from));
    return stream;
  }

  Result<bool> Next() override {
    while (true) {
      SHEAF_ASSIGN_OR_RETURN(const bool more, cursor_->Next());
      if (!more) return false;
      const columns::DeadRows::Position at = cursor_->position();
      if (part_.dead != nullptr && part_.dead->IsDead(at.granule, at.row)) continue;
      key_ = cursor_->key();
      SHEAF_ASSIGN_OR_RETURN(parts::KeyedPartRow row, cursor_->Row());
      row_ = {row.lsn, std::move(row.batch), row.row};
      return true;
    }
  }

 private:
  explicit PartStream(const Part& part) : part_(part) {}

  const Part& part_;
  std::unique_ptr<parts::KeyedPart::Cursor> cursor_;
};

/// Merges streams; for one key that several have, the first in the list counts: memtables from newest to oldest, then parts.
class MergingCursor : public RowCursor {
 public:
  MergingCursor(std::shared_ptr<const TableVersion> table, KeyRange range, ScanOptions options)
      : table_(std::move(table)), range_(std::move(range)), options_(std::move(options)), left_(options_.limit) {}

  Status Start(Lsn at) {
    std::vector<std::unique_ptr<Stream>> all;
    all.push_back(std::make_unique<MemtableStream>(*table_->active.keyed, range_.from, at));
    for (size_t i = table_->sealing.size(); i-- > 0;) {
      all.push_back(std::make_unique<MemtableStream>(*table_->sealing[i].keyed, range_.from, at));
    }
    for (const auto& part : table_->parts) {
      if (part->damaged()) {
        const bool outside = part->info.key_max < range_.from || (range_.to && part->info.key_min >= *range_.to);
        if (!outside) SHEAF_RETURN_NOT_OK(CheckNotNeeded(*part, part->info.key_min));
        continue;
      }
      SHEAF_ASSIGN_OR_RETURN(auto stream, PartStream::Open(*part, range_.from));
      all.push_back(std::move(stream));
    }
    for (auto& stream : all) {
      SHEAF_ASSIGN_OR_RETURN(const bool more, stream->Next());
      if (more) streams_.push_back(std::move(stream));
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    arrow::RecordBatchVector runs;
    KeyedRow run;  // `run.lsn` is not used.
    int64_t run_rows = 0, rows = 0;
    const auto EndRun = [&] {
      if (run_rows > 0) runs.push_back(Project(*run.batch)->Slice(run.row, run_rows));
      run_rows = 0;
    };
    const int64_t wanted = std::min(left_, options_.batch_rows_max);
    while (rows < wanted) {
      SHEAF_ASSIGN_OR_RETURN(const KeyedRow row, NextRow());
      if (!row) break;
      if (run_rows > 0 && row.batch == run.batch && row.row == run.row + run_rows) {
        ++run_rows;
      } else {
        EndRun();
        run = row;
        run_rows = 1;
      }
      ++rows;
    }
    EndRun();
    left_ -= rows;
    if (runs.empty()) return nullptr;
    if (runs.size() == 1) return runs.front();
    return arrow::ConcatenateRecordBatches(runs);
  }

 private:
  std::shared_ptr<arrow::RecordBatch> Project(const arrow::RecordBatch& batch) const {
    const arrow::Schema& schema = *table_->info->schema;
    std::vector<std::shared_ptr<arrow::Field>> fields;
    arrow::ArrayDataVector columns;
    const auto Take = [&](int column) {
      fields.push_back(schema.field(column));
      columns.push_back(batch.column_data(column));
    };
    if (options_.columns.empty()) {
      for (int column = 0; column < schema.num_fields(); ++column) Take(column);
    } else {
      for (const int column : options_.columns) Take(column);
    }
    return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), batch.num_rows(), std::move(columns));
  }

  /// The next row that is there; an empty one at the end.
  Result<KeyedRow> NextRow() {
    while (!streams_.empty()) {
      size_t least = 0;
      for (size_t i = 1; i < streams_.size(); ++i) {
        if (streams_[i]->key() < streams_[least]->key()) least = i;
      }
      if (range_.to && streams_[least]->key() >= *range_.to) {
        streams_.clear();
        break;
      }
      const KeyedRow row = streams_[least]->row();
      key_.assign(streams_[least]->key());
      for (size_t i = least; i < streams_.size();) {
        if (streams_[i]->key() != key_) {
          ++i;
          continue;
        }
        SHEAF_ASSIGN_OR_RETURN(const bool more, streams_[i]->Next());
        if (more) {
          ++i;
        } else {
          streams_.erase(streams_.begin() + static_cast<std::ptrdiff_t>(i));
        }
      }
      if (row) return row;
    }
    return KeyedRow{};
  }

  const std::shared_ptr<const TableVersion> table_;
  const KeyRange range_;
  const ScanOptions options_;
  int64_t left_;
  std::vector<std::unique_ptr<Stream>> streams_;  // None at its end; in order of precedence.
  std::string key_;
};

}  // namespace

Result<KeyedRow> GetRow(const TableVersion& table, std::string_view key, Lsn at) {
  memtable::KeyedHit hit = FindInMemtables(table, key, at);
  if (hit.kind == Kind::kRow) return KeyedRow{hit.lsn, std::move(hit.batch), hit.row};
  if (hit.kind == Kind::kDeleted) return KeyedRow{};
  SHEAF_ASSIGN_OR_RETURN(const auto found, FindInParts(table, key));
  if (!found) return KeyedRow{};
  SHEAF_ASSIGN_OR_RETURN(auto row, found->part->keyed->Row(found->position));
  return KeyedRow{row.lsn, std::move(row.batch), row.row};
}

Result<std::vector<KeyedRow>> GetRows(const TableVersion& table, const columns::KeyColumn& keys, Lsn at) {
  std::vector<KeyedRow> rows(static_cast<size_t>(keys.size()));
  columns::KeyColumn left;  // Keys that memtables know nothing of, and where their answers go.
  std::vector<size_t> places;
  for (int64_t i = 0; i < keys.size(); ++i) {
    memtable::KeyedHit hit = FindInMemtables(table, keys[i], at);
    if (hit.kind == Kind::kRow) rows[static_cast<size_t>(i)] = {hit.lsn, std::move(hit.batch), hit.row};
    if (hit.kind != Kind::kNone) continue;
    left.Add(keys[i]);
    places.push_back(static_cast<size_t>(i));
  }
  for (const auto& part : table.parts) {
    if (places.empty()) break;
    if (part->damaged()) continue;
    SHEAF_ASSIGN_OR_RETURN(const auto found, part->keyed->FindMany(left));
    for (size_t i = 0; i < found.size(); ++i) {
      if (!found[i] || (part->dead != nullptr && part->dead->IsDead(found[i]->granule, found[i]->row))) continue;
      SHEAF_ASSIGN_OR_RETURN(auto row, part->keyed->Row(*found[i]));
      rows[places[i]] = {row.lsn, std::move(row.batch), row.row};
    }
  }
  for (const auto& part : table.parts) {
    if (!part->damaged()) continue;
    for (size_t i = 0; i < places.size(); ++i) {
      if (!rows[places[i]]) SHEAF_RETURN_NOT_OK(CheckNotNeeded(*part, left[static_cast<int64_t>(i)]));
    }
  }
  return rows;
}

Result<Lsn> VersionOf(const TableVersion& table, std::string_view key, Lsn at) {
  SHEAF_ASSIGN_OR_RETURN(const KeyedRow row, GetRow(table, key, at));
  return row.lsn;
}

Result<std::unique_ptr<RowCursor>> ScanRows(std::shared_ptr<const TableVersion> table, const KeyRange& range,
                                            const ScanOptions& options, Lsn at) {
  for (const int column : options.columns) {
    if (column < 0 || column >= table->info->schema->num_fields()) {
      return MakeError(ErrorKind::kInvalid, "{}.{} has no column {}", table->info->schema_name, table->info->name, column);
    }
  }
  auto cursor = std::make_unique<MergingCursor>(std::move(table), range, options);
  SHEAF_RETURN_NOT_OK(cursor->Start(at));
  return cursor;
}

}  // namespace sheaf::store
