/// The Database in this process: log, memtables, parts and the threads that move rows between them.
///
///   AppendAsync()            serialises, hands to the log                       caller's thread
///   OnDurable()              makes rows visible, in LSN order                   log's thread
///   SealLoop()               memtable to hot part, manifest, log truncation     sealer
///   UpkeepLoop()             disk space, retention, cold parts, old files       upkeep
///
/// Every change of parts or tables goes through Commit(): manifest first, then the visible version.

#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/bounded_queue.h"
#include "core/mutex.h"
#include "store/batch_ids.h"
#include "store/database.h"
#include "store/layout.h"
#include "store/retention_clock.h"
#include "store/version.h"
#include "wal/log.h"

namespace sheaf::store {

class LocalDatabase : public Database {
 public:
  /// See Database::Open().
  static Result<std::unique_ptr<Database>> Open(io::FileSystem* files, io::Clock* clock, const Options& options);
  ~LocalDatabase() override;

  Status AppendAsync(const std::vector<TableRows>& rows, const WriteOptions& options, Done done) override;
  std::shared_ptr<const Snapshot> GetSnapshot() const override { return versions_.GetSnapshot(); }
  Result<std::shared_ptr<const TableInfo>> FindTable(const std::string& schema_name, const std::string& name) const override;
  uint64_t catalog_version() const override { return versions_.current()->catalog_version; }
  Status Flush() override;
  Status MakeCold(std::optional<TableId> table) override;
  Status SetRetention(TableId table, std::optional<int64_t> retention_ms) override;
  std::vector<PartStatus> Parts() const override;
  Stats GetStats() const override;
  const Options& options() const override { return options_; }
  Status Close() override;

 private:
  LocalDatabase(io::FileSystem* files, io::Clock* clock, Options options);

  // Recovery (local_database_recover.cc).
  Status Recover();
  Result<parts::ManifestLoad> LoadOrCreateManifest();
  Status OpenTables(const parts::ManifestState& state);
  Status OpenLog(const parts::ManifestLoad& manifest);
  Status ReplayEntry(const wal::LoggedEntry& entry);
  Status FindOrphans(parts::ManifestState* state);

  // Appending (local_database.cc).
  Status CheckWritable() const SHEAF_EXCLUDES(state_mutex_);
  Result<std::vector<PayloadRows>> CheckRows(const Version& version, const std::vector<TableRows>& rows) const;
  Status Submit(const std::vector<PayloadRows>& rows, const Version& version, const std::string& batch_id, Done done);
  void OnDurable(const wal::LoggedEntry& entry);
  void Finish(const std::string& batch_id, int64_t bytes, const Done& done, const Result<Lsn>& outcome);
  void AnswerLoop();
  bool BeginAppend() SHEAF_EXCLUDES(state_mutex_);
  void EndAppend() SHEAF_EXCLUDES(state_mutex_);

  // Sealing and the manifest (local_database_seal.cc).
  void SealLoop();
  Status Seal(TableId table, const std::shared_ptr<memtable::Memtable>& memtable);
  Status WaitForSeals(const std::vector<std::shared_ptr<memtable::Memtable>>& memtables, int64_t timeout_ns);
  /// Writes a manifest with `change` in it, makes it visible, truncates the log. One at a time.
  Status Commit(const VersionChange& change) SHEAF_EXCLUDES(commit_mutex_);
  Result<std::string> ExtraJson(const Version& version, Lsn covered) SHEAF_REQUIRES(commit_mutex_);
  Status SaveBatchIds(Lsn covered) SHEAF_REQUIRES(commit_mutex_);
  Status LoadBatchIds(const std::vector<std::string>& names);
  void RemoveObsolete() SHEAF_REQUIRES(commit_mutex_);
  void Discard(const Part& part) SHEAF_REQUIRES(commit_mutex_);
  Result<std::shared_ptr<const Part>> WriteAndOpen(parts::PartInfo info, const TableInfo& table,
                                                   const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

  // Upkeep (local_database_upkeep.cc).
  void UpkeepLoop();
  void Upkeep();
  void CheckDisk();
  Status Expire();
  Status ConvertOldParts();
  Status MergeIntoCold(const TableInfo& table, const std::vector<std::shared_ptr<const Part>>& inputs);
  void SettleManifests();
  void SetNotWritable(const std::string& reason) SHEAF_EXCLUDES(state_mutex_);
  bool stopping() const SHEAF_EXCLUDES(state_mutex_);

  io::FileSystem* const files_;  // Borrowed.
  io::Clock* const clock_;       // Borrowed.
  const Options options_;
  const DirectoryLayout paths_;
  std::unique_ptr<io::FileLock> lock_;
  VersionSet versions_;
  BatchIds batch_ids_;
  std::unique_ptr<wal::Log> log_;

  std::atomic<int64_t> ingest_bytes_{0};  // Queued, in memtables and being sealed.
  std::atomic<int64_t> seals_{0}, cold_conversions_{0}, parts_expired_{0};

  /// Guards what follows; held for moments only.
  mutable Mutex state_mutex_;
  mutable CondVar state_changed_;
  bool closed_ SHEAF_GUARDED_BY(state_mutex_) = false;      // No more appends.
  bool stopping_ SHEAF_GUARDED_BY(state_mutex_) = false;    // Threads end.
  int64_t appending_ SHEAF_GUARDED_BY(state_mutex_) = 0;    // Appends whose outcome is open.
  std::string poisoned_ SHEAF_GUARDED_BY(state_mutex_);     // Why nothing can be written until a restart.
  std::string disk_full_ SHEAF_GUARDED_BY(state_mutex_);    // Why nothing can be written for now.
  uint64_t seal_wanted_ SHEAF_GUARDED_BY(state_mutex_) = 0;   // Counts requests, to end a pause early.
  uint64_t seal_failures_ SHEAF_GUARDED_BY(state_mutex_) = 0;
  Status seal_error_ SHEAF_GUARDED_BY(state_mutex_);        // The last failure.

  /// Serialises manifests. Held across I/O on purpose: readers and appends never take it.
  Mutex commit_mutex_;
  uint64_t manifest_number_ SHEAF_GUARDED_BY(commit_mutex_) = 0;
  std::string database_uuid_ SHEAF_GUARDED_BY(commit_mutex_);
  TableId next_table_ SHEAF_GUARDED_BY(commit_mutex_){1};
  Lsn covered_ SHEAF_GUARDED_BY(commit_mutex_);             // By the newest manifest.
  Lsn truncated_ SHEAF_GUARDED_BY(commit_mutex_);           // The log begins after this.
  int64_t committed_ns_ SHEAF_GUARDED_BY(commit_mutex_) = 0;  // Monotonic.
  std::vector<std::string> id_files_ SHEAF_GUARDED_BY(commit_mutex_);
  Lsn ids_through_ SHEAF_GUARDED_BY(commit_mutex_);         // Batch ids of entries through this are in id_files_.
  struct Obsolete {
    std::string path;
    uint64_t since = 0;                                     // First manifest that does not name it.
    std::weak_ptr<const columns::GranuleSource> reader;     // Must have expired.
  };
  std::vector<Obsolete> obsolete_ SHEAF_GUARDED_BY(commit_mutex_);
  std::atomic<uint64_t> covered_lsn_{0};                    // covered_, for GetStats().

  /// Of the sealer: a memtable whose part is written, but not yet in a manifest that is known to be current. It may
  /// be in one that is not known to be, so the next attempt must take the same files.
  std::pair<std::shared_ptr<memtable::Memtable>, std::shared_ptr<const Part>> uncommitted_;

  /// One conversion or expiry at a time; held across I/O, taken before commit_mutex_.
  Mutex upkeep_mutex_;
  RetentionClock retention_clock_ SHEAF_GUARDED_BY(upkeep_mutex_);
  int64_t convert_not_before_ns_ SHEAF_GUARDED_BY(upkeep_mutex_) = 0;
  std::atomic<int64_t> retention_now_ns_{0};                // For the manifest.

  BoundedQueue<std::pair<Done, Lsn>> answers_{1 << 16};     // For retries of known batches; refuses when full.
  std::thread sealer_, upkeep_, answerer_;
};

}  // namespace sheaf::store
