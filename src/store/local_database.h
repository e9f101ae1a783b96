/// The Database in this process: log, memtables, parts and the threads that move rows between them.
///
///   AppendAsync()            serialises, hands to the log                       caller's thread
///   OnVisible()              makes rows visible, in LSN order                   log's thread, or the sender's
///   CreateTable() … Alter()  definitions; hold up appends to the table          caller's thread
///   SealLoop()               memtable to hot part, manifest, log truncation     sealer
///   CompactLoop()            parts of keyed tables to fewer, larger ones         compactor
///   UpkeepLoop()             disk space, retention, cold parts, old files       upkeep
///   ScrubLoop()              checks parts; sets damaged ones aside              scrubber
///
/// Every change of parts or tables goes through Commit(): manifest first, then the visible version.

#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "compact/merge.h"
#include "compact/plan.h"
#include "compact/rate_limit.h"
#include "core/bounded_queue.h"
#include "core/memory.h"
#include "core/mutex.h"
#include "parts/granule_cache.h"
#include "store/batch_ids.h"
#include "store/database.h"
#include "store/definition_log.h"
#include "store/layout.h"
#include "store/replayer.h"
#include "store/retention_clock.h"
#include "store/version.h"
#include "wal/log.h"

namespace sheaf::store {

class LocalDatabase : public Database {
 public:
  /// See Database::Open().
  static Result<std::unique_ptr<Database>> Open(io::FileSystem* files, io::Clock* clock, const Options& options);
  ~LocalDatabase() override;

  Status AppendAsync(const std::vector<TableRows>& rows, const WriteOptions& options, Done done) noexcept override;
  Status PutRowAsync(TableId table, std::string_view row, const WriteOptions& options, Done done) noexcept override;
  Status DeleteRowAsync(TableId table, std::string_view key, const WriteOptions& options, Done done) noexcept override;
  std::shared_ptr<const Snapshot> GetSnapshot() const override { return versions_.GetSnapshot(); }
  Lsn WaitForVisible(Lsn lsn, std::chrono::nanoseconds timeout) const override { return versions_.WaitForVisible(lsn, timeout); }
  Status ReadLogged(Lsn after, Lsn through, const std::vector<TableId>& tables,
                    const std::function<Status(const LoggedRows&)>& visit) const override;
  void KeepLogAfter(std::optional<Lsn> lsn) override { log_kept_after_.store(lsn ? lsn->value : UINT64_MAX); }
  Result<KeyedRow> Get(TableId table, std::string_view key) const override;
  Result<std::vector<KeyedRow>> MultiGet(TableId table, const columns::KeyColumn& keys) const override;
  Result<std::shared_ptr<const TableInfo>> FindTable(const std::string& schema_name, const std::string& name) const override;
  uint64_t catalog_version() const override { return versions_.current()->catalog_version; }
  Result<std::shared_ptr<const TableInfo>> CreateTable(const NewTable& table) noexcept override;
  Status DropTable(TableId table) noexcept override;
  Result<std::shared_ptr<const TableInfo>> Alter(TableId table, const AlterTable& change) noexcept override;
  Status Flush() noexcept override;
  Status MakeCold(std::optional<TableId> table) noexcept override;
  Status SetRetention(TableId table, std::optional<int64_t> retention_ms) noexcept override;
  Result<SnapshotInfo> CreateSnapshot(const std::string& id) noexcept override;
  Result<std::vector<SnapshotInfo>> Snapshots() const override;
  Status DropSnapshot(const std::string& id) noexcept override;
  /// Appends an entry of another log of this database, whose LSN must be the next here, and does what it did there: for restoring.
  /// Waits until it is durable. Errors: Unsupported (it is for a table that is not there, or of another schema), Corruption, those of
  /// AppendAsync().
  /// `skip_sealed`: not for tables whose rows of that LSN are in parts already, as a recovery does.
  Status AppendLogged(const wal::LoggedEntry& entry, bool skip_sealed = false) noexcept;
  std::vector<PartStatus> Parts() const override;
  Result<std::vector<PartStatus>> Scrub() noexcept override;
  Stats GetStats() const override;
  const Options& options() const override { return options_; }
  Status Close() noexcept override;

 private:
  LocalDatabase(io::FileSystem* files, io::Clock* clock, Options options);
  void StartThreads() noexcept;

  // Recovery (local_database_recover.cc).
  Status Recover();
  Result<parts::ManifestLoad> LoadOrCreateManifest();
  Status OpenTables(const parts::ManifestState& state);
  Status OpenLog(const parts::ManifestLoad& manifest);
  Status ReplayEntry(const wal::LoggedEntry& entry, Replayer* replayer);
  Status PublishReplayed(const Replayer::Entry& entry, int64_t now_ns);
  /// Null: nothing of the rows is to be done again.
  Result<const TableVersion*> TableToReplay(const Version& version, Lsn lsn, TableId table, uint32_t schema_version,
                                            bool skip_sealed) const;
  Result<VersionSet::NewRows> ReplaySection(const PayloadSection& section, const TableVersion& table) const;
  static Status ReplaySingle(const SingleItem& single, const TableVersion& table, VersionSet::NewRows* added);
  Result<std::vector<VersionSet::NewRows>> ReplaySections(const Version& version, Lsn lsn, const std::shared_ptr<arrow::Buffer>& bytes,
                                                          bool skip_sealed) const;
  /// `damaged`: parts that are set aside whatever became of their files, with the reasons.
  Result<std::shared_ptr<const Part>> OpenOrSetAside(const TableInfo& table, const parts::PartInfo& info,
                                                     const std::map<std::string, std::string>& damaged) const;
  Status FindOrphans(parts::ManifestState* state);
  bool WasDropped(TableId table, Lsn lsn) const SHEAF_EXCLUDES(commit_mutex_);

  // Appending (local_database.cc).
  /// What appends go through before anything else; counts the caller among those whose outcome is open. Waits, up to a second, while a
  /// table that the append `touches` is being changed. What the append sees of definitions after this stays as it is until EndAppend()
  /// of the turn returned here. Errors: Invalid (the batch id), Unavailable, Throttled (the second is over).
  Result<int> BeginAppend(const WriteOptions& options, const std::function<bool(TableId)>& touches) SHEAF_EXCLUDES(state_mutex_);
  void EndAppend(int turn) SHEAF_EXCLUDES(state_mutex_);
  Status CheckWritable() const SHEAF_EXCLUDES(state_mutex_);
  /// The same, but a full disk is no reason.
  Status CheckOpen() const SHEAF_EXCLUDES(state_mutex_);
  Status WhyNotOpen() const SHEAF_REQUIRES(state_mutex_);
  Result<std::vector<PayloadRows>> CheckRows(const Version& version, const std::vector<TableRows>& rows,
                                             std::vector<VersionSet::NewRows>* prepared) const;
  /// Makes and submits an entry, unless its batch id is known: then answers as the first did.
  template <typename MakeDraft>
  Status AppendOnce(const WriteOptions& options, const std::function<bool(TableId)>& touches, Done done, const MakeDraft& make);
  class Draft;
  Result<std::shared_ptr<Draft>> DraftRows(const std::vector<TableRows>& rows, const WriteOptions& options) const;
  Result<std::shared_ptr<Draft>> DraftPacked(TableId table, RowOp op, std::string_view item, const WriteOptions& options) const;
  Status Submit(std::shared_ptr<Draft> draft, int turn, Done done);
  Status SubmitLogged(std::shared_ptr<arrow::Buffer> bytes, std::vector<VersionSet::NewRows> rows, const std::string& batch_id, int turn,
                      Done done);
  Status Refuse(int64_t more) const;
  void OnVisible(const wal::LoggedEntry& entry);
  void Finish(Draft& draft, int turn, const Done& done, const Result<Lsn>& outcome);
  void AnswerLoop();

  // Reading the log (local_database_logged.cc).
  Status VisitLogged(const wal::LoggedEntry& entry, const std::vector<TableId>& tables,
                     const std::function<Status(const LoggedRows&)>& visit) const;

  // Definitions (local_database_define.cc).
  class HeldTables;
  Status HoldAppends(TableId table, TableId coming) SHEAF_EXCLUDES(state_mutex_);
  void ReleaseAppends() SHEAF_EXCLUDES(state_mutex_);
  Status SealAll(TableId table);
  Status Create(const std::shared_ptr<const TableInfo>& info, TableId replaced) SHEAF_REQUIRES(definitions_mutex_);
  Status Drop(TableId id, std::shared_ptr<const TableVersion> successor) SHEAF_REQUIRES(definitions_mutex_);
  Result<std::shared_ptr<const TableInfo>> Change(const TableVersion& table, TableInfo changed, bool again)
      SHEAF_REQUIRES(definitions_mutex_, upkeep_mutex_);
  Status CommitDefinition(const VersionChange& change) SHEAF_REQUIRES(definitions_mutex_);
  Status CheckNameIsFree(const std::string& schema_name, const std::string& name) const;
  Result<TableId> TakeTableId() SHEAF_EXCLUDES(commit_mutex_);
  Result<VersionChange> SwitchColumns(const TableVersion& table, std::shared_ptr<const TableInfo> after);

  // Definitions in the log (local_database_redo.cc).
  /// Writes what the log lacks of changes that manifests have. Where it cannot, that stays to be done; nothing here depends on it.
  void LogDefinitions() SHEAF_EXCLUDES(commit_mutex_);
  Result<Lsn> AppendDefinition(const std::shared_ptr<arrow::Buffer>& payload);
  /// Of recovery: the manifest knows the definition already.
  Status NoteDefinition(const wal::LoggedEntry& entry) SHEAF_EXCLUDES(commit_mutex_);
  /// Of a restore: does it.
  Status RedoDefinition(const wal::LoggedEntry& entry) SHEAF_EXCLUDES(definitions_mutex_, commit_mutex_);
  Status Redo(const DefinitionStep& step) SHEAF_REQUIRES(definitions_mutex_);

  // Sealing and the manifest (local_database_seal.cc).
  void SealLoop();
  Status Seal(TableId table, const TableMemtable& memtable);
  Status WaitForSeals(const std::vector<TableMemtable>& memtables, int64_t timeout_ns);
  /// Writes a manifest with `change` in it, makes it visible, truncates the log. One at a time.
  Status Commit(VersionChange change) SHEAF_EXCLUDES(commit_mutex_);
  Result<parts::ManifestState> StateOf(const VersionSet::Prospect& prospect) SHEAF_REQUIRES(commit_mutex_);
  Result<std::string> ExtraJson(const Version& version, Lsn covered) SHEAF_REQUIRES(commit_mutex_);
  Status SaveBatchIds(Lsn covered) SHEAF_REQUIRES(commit_mutex_);
  Status LoadBatchIds(const std::vector<std::string>& names);
  void RemoveObsolete() SHEAF_REQUIRES(commit_mutex_);
  void DiscardRemoved(const VersionChange& change, const Version& before) SHEAF_REQUIRES(commit_mutex_);
  void Discard(const Part& part) SHEAF_REQUIRES(commit_mutex_);
  void DiscardDead(const Part& part) SHEAF_REQUIRES(commit_mutex_);
  Result<std::shared_ptr<const Part>> WriteAndOpen(parts::PartInfo info, const TableInfo& table,
                                                   const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

  // Keyed tables (local_database_keyed.cc).
  Result<std::shared_ptr<const Part>> WriteKeyed(const TableInfo& table, const TableMemtable& memtable, parts::PartInfo info)
      SHEAF_EXCLUDES(commit_mutex_);
  /// The part with the table's columns as they are now.
  Result<std::shared_ptr<const Part>> OpenPartOf(const TableInfo& table, parts::PartInfo info) const;
  Result<std::shared_ptr<const Part>> WithDead(const Part& part, std::shared_ptr<const columns::DeadRows> dead, Lsn through)
      SHEAF_REQUIRES(commit_mutex_);
  Status CarryDeaths(const TableVersion& table, Lsn through, VersionChange* change) SHEAF_REQUIRES(commit_mutex_);
  Status PrepareDeaths(VersionChange* change) SHEAF_REQUIRES(commit_mutex_);

  // Snapshots on disk (local_database_snapshot.cc).
  struct WantedSnapshot {
    std::string id;
    std::promise<Result<SnapshotInfo>> outcome;
  };
  void ServeSnapshots() SHEAF_EXCLUDES(state_mutex_);
  void FailCut(const Status& why);
  void FailSnapshots(const Status& why) SHEAF_EXCLUDES(state_mutex_);
  Result<SnapshotInfo> TakeSnapshot(const std::string& id, Lsn lsn, int64_t began_ns) SHEAF_EXCLUDES(commit_mutex_);
  Status LinkSnapshot(const std::string& folder, SnapshotInfo* info) SHEAF_REQUIRES(commit_mutex_);
  Status SnapshotWhenDue();
  Status PruneArchive();

  // Compaction of keyed tables (local_database_compact.cc).
  void CompactLoop();
  void Pause(std::chrono::nanoseconds wait) const SHEAF_EXCLUDES(state_mutex_);
  Result<bool> CompactOnce();
  Status Merge(const TableVersion& table, const compact::Merge& merge, int64_t output_bytes);
  Result<std::vector<std::shared_ptr<const Part>>> MergeInputs(const TableInfo& table,
                                                               const std::vector<std::shared_ptr<const Part>>& inputs,
                                                               const compact::Merge& merge, int64_t output_bytes,
                                                               compact::MergeProgress* progress);
  Status CommitMerge(const TableVersion& table, const VersionChange& change) SHEAF_EXCLUDES(upkeep_mutex_);
  Status MakeKeyedCold(TableId table);
  static void CountCompactionCpu(const char* work, int64_t ns);
  Status StallWrite(const TableVersion& table) const;

  // Checking parts in the background (local_database_scrub.cc).
  void ScrubLoop();
  /// The part whose turn it is, with its table; null: none is due.
  struct ScrubTurn {
    TableId table;
    std::shared_ptr<const Part> part;
  };
  std::optional<ScrubTurn> NextScrub() SHEAF_EXCLUDES(scrub_mutex_);
  /// Checks the part, calling `pace` with the bytes of each piece, and sets it aside where it is damaged. Returns what is wrong.
  Result<std::string> ScrubPart(const ScrubTurn& turn, const std::function<Status(int64_t)>& pace) SHEAF_EXCLUDES(scrub_mutex_);
  Status SetAside(const ScrubTurn& turn, const std::string& damage);
  /// Reading these parts has shown damage: they are checked next.
  void Suspect(const std::vector<std::shared_ptr<const Part>>& parts) SHEAF_EXCLUDES(scrub_mutex_);

  // Upkeep (local_database_upkeep.cc).
  void UpkeepLoop();
  void Upkeep();
  void CheckDisk();
  Status Expire();
  Status ConvertOldParts();
  Status MakeAppendedCold(std::optional<TableId> wanted, std::vector<TableId>* keyed_tables);
  Status MergeIntoCold(const TableInfo& table, const std::vector<std::shared_ptr<const Part>>& inputs);
  void SettleManifests();
  void SetNotWritable(const std::string& reason) SHEAF_EXCLUDES(state_mutex_);
  bool stopping() const SHEAF_EXCLUDES(state_mutex_);

  io::FileSystem* const files_;  // Borrowed.
  io::Clock* const clock_;       // Borrowed.
  const Options options_;
  const DirectoryLayout paths_;
  std::unique_ptr<io::FileLock> lock_;
  const std::shared_ptr<parts::GranuleCache> granule_cache_;
  VersionSet versions_;
  BatchIds batch_ids_;
  std::unique_ptr<wal::Log> log_;

  const std::shared_ptr<MemoryCounter> ingest_;  // Rows queued, in memtables and being sealed.
  std::atomic<int64_t> seals_{0}, cold_conversions_{0}, compactions_{0}, parts_expired_{0};

  /// Guards what follows; held for moments only.
  mutable Mutex state_mutex_;
  mutable CondVar state_changed_;
  bool closed_ SHEAF_GUARDED_BY(state_mutex_) = false;      // No more appends.
  bool stopping_ SHEAF_GUARDED_BY(state_mutex_) = false;    // Threads end.
  /// Appends whose outcome is open, by turn: a change of a definition starts the other turn and waits for the appends of this one.
  int64_t appending_[2] SHEAF_GUARDED_BY(state_mutex_) = {0, 0};
  int turn_ SHEAF_GUARDED_BY(state_mutex_) = 0;
  std::vector<TableId> changing_ SHEAF_GUARDED_BY(state_mutex_);  // Appends to them wait.
  std::string poisoned_ SHEAF_GUARDED_BY(state_mutex_);     // Why nothing can be written until a restart.
  std::string disk_full_ SHEAF_GUARDED_BY(state_mutex_);    // Why nothing can be written for now.
  uint64_t seal_wanted_ SHEAF_GUARDED_BY(state_mutex_) = 0;   // Counts requests, to end a pause early.
  uint64_t seal_failures_ SHEAF_GUARDED_BY(state_mutex_) = 0;
  std::vector<WantedSnapshot> snapshots_wanted_ SHEAF_GUARDED_BY(state_mutex_);
  Status seal_error_ SHEAF_GUARDED_BY(state_mutex_);        // The last failure.

  /// One change of a definition at a time; held across I/O on purpose, taken before upkeep_mutex_.
  Mutex definitions_mutex_;

  /// Serialises manifests. Held across I/O on purpose: readers and appends never take it.
  mutable Mutex commit_mutex_;
  uint64_t manifest_number_ SHEAF_GUARDED_BY(commit_mutex_) = 0;
  std::string database_uuid_ SHEAF_GUARDED_BY(commit_mutex_);
  TableId next_table_ SHEAF_GUARDED_BY(commit_mutex_){1};
  /// What manifests say of the tables: most are as they were in the last one.
  std::map<TableId, std::pair<std::shared_ptr<const TableInfo>, parts::TableRecord>> records_ SHEAF_GUARDED_BY(commit_mutex_);
  std::map<TableId, Lsn> dropped_ SHEAF_GUARDED_BY(commit_mutex_);  // The log may have their rows through this LSN.
  uint64_t definitions_ SHEAF_GUARDED_BY(commit_mutex_) = 0;  // Changes of definitions so far.
  struct UnloggedStep {
    uint64_t number = 0;
    TableId table, dropped;                                 // As DefinitionStep's; 0: none.
  };
  std::vector<UnloggedStep> unlogged_ SHEAF_GUARDED_BY(commit_mutex_);  // In manifests, but not known to be in the log.
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
  std::atomic<uint64_t> log_kept_after_{UINT64_MAX};        // See KeepLogAfter().

  /// Of the sealer: a memtable whose part is written, but not yet in a manifest that is known to be current. It may
  /// be in one that is not known to be, so the next attempt must take the same files.
  std::pair<TableMemtable, std::shared_ptr<const Part>> uncommitted_;

  /// Of the sealer: snapshots that wait for all that was cut to be in parts.
  struct PendingCut {
    VersionSet::Cut cut;
    std::vector<WantedSnapshot> wanted;
    int64_t began_ns = 0;
  };
  std::unique_ptr<PendingCut> cut_;
  /// Of the upkeep thread: when the next automatic snapshot is due (monotonic; 0: not set), and what the last one holds.
  int64_t snapshot_due_ns_ = 0;
  Lsn snapshot_lsn_;

  /// One conversion or expiry at a time; held across I/O, taken before commit_mutex_.
  Mutex upkeep_mutex_;
  RetentionClock retention_clock_ SHEAF_GUARDED_BY(upkeep_mutex_);
  int64_t convert_not_before_ns_ SHEAF_GUARDED_BY(upkeep_mutex_) = 0;
  std::atomic<int64_t> retention_now_ns_{0};                // For the manifest.

  Mutex scrub_mutex_;
  std::map<PartId, int64_t> scrubbed_ns_ SHEAF_GUARDED_BY(scrub_mutex_);  // When parts were checked last; wall clock.
  std::atomic<int64_t> scrubbed_parts_{0}, scrubbed_bytes_{0};

  BoundedQueue<std::pair<Done, Lsn>> answers_{1 << 16};     // For retries of known batches; refuses when full.
  compact::RateLimit rate_limit_;
  std::atomic<bool> cancel_compaction_{false};
  std::thread sealer_, upkeep_, compactor_, scrubber_, answerer_;
};

}  // namespace sheaf::store
