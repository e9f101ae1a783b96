/// RocksDB, LMDB and SQLite behind KeyValue, with the settings that suit the work: caches large enough, Bloom filters at
/// 10 bits a key, fdatasync where durability is asked for.

#include <sys/stat.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <lmdb.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sqlite3.h>

#include "key_value.h"

namespace sheaf::bench {
namespace {

[[noreturn]] void Die(const char* what, const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", what, why.c_str());
  std::exit(1);
}

int64_t Sum(const char* bytes, size_t size) {
  int64_t sum = 0;
  for (size_t i = 0; i < size; ++i) sum += static_cast<unsigned char>(bytes[i]);
  return sum;
}

class RocksDb : public KeyValue {
 public:
  RocksDb(const std::string& folder, const EngineLimits& limits) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.write_buffer_size = limits.memtable_bytes;
    options.max_background_jobs = 2;
    rocksdb::BlockBasedTableOptions table;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
    table.block_cache = rocksdb::NewLRUCache(limits.cache_bytes);
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* db = nullptr;
    Check(rocksdb::DB::Open(options, folder, &db));
    db_.reset(db);
  }
  const char* name() const override { return "rocksdb"; }
  void Put(std::string_view key, std::string_view value, bool durable) override {
    Check(db_->Put(Write(durable), Slice(key), Slice(value)));
  }
  void PutBatch(const Pairs& pairs, bool durable) override {
    rocksdb::WriteBatch batch;
    for (const auto& [key, value] : pairs) Check(batch.Put(key, value));
    Check(db_->Write(Write(durable), &batch));
  }
  int64_t Get(std::string_view key) override {
    rocksdb::PinnableSlice value;
    const auto status = db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), Slice(key), &value);
    if (status.IsNotFound()) return -1;
    Check(status);
    return Sum(value.data(), value.size());
  }
  void Flush() override { Check(db_->Flush(rocksdb::FlushOptions())); }
  void Settle() override {
    Flush();
    Check(db_->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr));
  }

 private:
  static rocksdb::Slice Slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
  static rocksdb::WriteOptions Write(bool durable) {
    rocksdb::WriteOptions options;
    options.sync = durable;
    return options;
  }
  static void Check(const rocksdb::Status& status) {
    if (!status.ok()) Die("rocksdb", status.ToString());
  }
  std::unique_ptr<rocksdb::DB> db_;
};

/// Writers are one at a time in LMDB; each put is a transaction, and a sync ends each durable one.
class Lmdb : public KeyValue {
 public:
  Lmdb(const std::string& folder, const EngineLimits&) {
    ::mkdir(folder.c_str(), 0755);
    Check(mdb_env_create(&env_));
    Check(mdb_env_set_mapsize(env_, size_t{16} << 30));
    Check(mdb_env_set_maxreaders(env_, 256));
    Check(mdb_env_open(env_, folder.c_str(), MDB_NOTLS | MDB_NOSYNC, 0644));
    MDB_txn* txn = nullptr;
    Check(mdb_txn_begin(env_, nullptr, 0, &txn));
    Check(mdb_dbi_open(txn, nullptr, MDB_CREATE, &dbi_));
    Check(mdb_txn_commit(txn));
  }
  ~Lmdb() override {
    if (read_ != nullptr) mdb_txn_abort(read_);
    mdb_env_close(env_);
  }
  const char* name() const override { return "lmdb"; }
  void Put(std::string_view key, std::string_view value, bool durable) override {
    const std::lock_guard lock(mutex_);
    MDB_txn* txn = nullptr;
    Check(mdb_txn_begin(env_, nullptr, 0, &txn));
    PutOne(txn, key, value);
    Commit(txn, durable);
  }
  void PutBatch(const Pairs& pairs, bool durable) override {
    const std::lock_guard lock(mutex_);
    MDB_txn* txn = nullptr;
    Check(mdb_txn_begin(env_, nullptr, 0, &txn));
    for (const auto& [key, value] : pairs) PutOne(txn, key, value);
    Commit(txn, durable);
  }
  int64_t Get(std::string_view key) override {
    if (stale_.exchange(false)) {
      if (read_ != nullptr) mdb_txn_abort(read_);
      Check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &read_));
    }
    MDB_val k{key.size(), const_cast<char*>(key.data())}, v;
    const int code = mdb_get(read_, dbi_, &k, &v);
    if (code == MDB_NOTFOUND) return -1;
    Check(code);
    return Sum(static_cast<const char*>(v.mv_data), v.mv_size);
  }
  void Settle() override { Check(mdb_env_sync(env_, 1)); }

 private:
  void PutOne(MDB_txn* txn, std::string_view key, std::string_view value) {
    MDB_val k{key.size(), const_cast<char*>(key.data())}, v{value.size(), const_cast<char*>(value.data())};
    Check(mdb_put(txn, dbi_, &k, &v, 0));
  }
  void Commit(MDB_txn* txn, bool durable) {
    Check(mdb_txn_commit(txn));
    stale_ = true;
    if (durable) Check(mdb_env_sync(env_, 1));
  }
  static void Check(int code) {
    if (code != 0) Die("lmdb", mdb_strerror(code));
  }
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
  std::mutex mutex_;
  MDB_txn* read_ = nullptr;  // Of the one thread that reads.
  std::atomic<bool> stale_{true};
};

/// One connection; unsynced puts go 1,000 to a transaction, durable ones one each (WAL mode, synchronous=FULL).
class Sqlite : public KeyValue {
 public:
  Sqlite(const std::string& folder, const EngineLimits& limits) {
    ::mkdir(folder.c_str(), 0755);
    if (sqlite3_open((folder + "/db").c_str(), &db_) != SQLITE_OK) Die("sqlite", "open");
    Run("PRAGMA journal_mode=WAL");
    Run(("PRAGMA cache_size=-" + std::to_string(limits.cache_bytes / 1024)).c_str());
    Run("CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
    put_ = Prepare("INSERT OR REPLACE INTO kv VALUES(?, ?)");
    get_ = Prepare("SELECT v FROM kv WHERE k = ?");
  }
  ~Sqlite() override {
    End();
    sqlite3_finalize(put_);
    sqlite3_finalize(get_);
    sqlite3_close(db_);
  }
  const char* name() const override { return "sqlite"; }
  void Put(std::string_view key, std::string_view value, bool durable) override {
    const std::lock_guard lock(mutex_);
    if (durable != durable_) {
      End();
      Run(durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
      durable_ = durable;
    }
    if (!durable && !open_) Begin();
    PutOne(key, value);
    if (open_ && ++pending_ >= 1000) End();
  }
  void PutBatch(const Pairs& pairs, bool durable) override {
    const std::lock_guard lock(mutex_);
    End();
    Run(durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
    durable_ = durable;
    Begin();
    for (const auto& [key, value] : pairs) PutOne(key, value);
    End();
  }
  int64_t Get(std::string_view key) override {
    const std::lock_guard lock(mutex_);
    sqlite3_bind_blob(get_, 1, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
    int64_t sum = -1;
    if (sqlite3_step(get_) == SQLITE_ROW) {
      sum = Sum(static_cast<const char*>(sqlite3_column_blob(get_, 0)), static_cast<size_t>(sqlite3_column_bytes(get_, 0)));
    }
    sqlite3_reset(get_);
    return sum;
  }
  void Settle() override {
    const std::lock_guard lock(mutex_);
    End();
    Run("PRAGMA wal_checkpoint(TRUNCATE)");
  }

 private:
  void Begin() {
    Run("BEGIN");
    open_ = true;
  }
  void End() {
    if (open_) Run("COMMIT");
    open_ = false;
    pending_ = 0;
  }
  void PutOne(std::string_view key, std::string_view value) {
    sqlite3_bind_blob(put_, 1, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
    sqlite3_bind_blob(put_, 2, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    if (sqlite3_step(put_) != SQLITE_DONE) Die("sqlite", sqlite3_errmsg(db_));
    sqlite3_reset(put_);
  }
  void Run(const char* sql) {
    char* why = nullptr;
    if (sqlite3_exec(db_, sql, nullptr, nullptr, &why) != SQLITE_OK) Die("sqlite", why == nullptr ? sql : why);
  }
  sqlite3_stmt* Prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) != SQLITE_OK) Die("sqlite", sqlite3_errmsg(db_));
    return statement;
  }
  sqlite3* db_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
  sqlite3_stmt* get_ = nullptr;
  std::mutex mutex_;
  bool open_ = false, durable_ = true;
  int pending_ = 0;
};

}  // namespace

std::unique_ptr<KeyValue> OpenRocksDb(const std::string& folder, const EngineLimits& limits) {
  return std::make_unique<RocksDb>(folder, limits);
}
std::unique_ptr<KeyValue> OpenLmdb(const std::string& folder, const EngineLimits& limits) {
  return std::make_unique<Lmdb>(folder, limits);
}
std::unique_ptr<KeyValue> OpenSqlite(const std::string& folder, const EngineLimits& limits) {
  return std::make_unique<Sqlite>(folder, limits);
}

}  // namespace sheaf::bench
