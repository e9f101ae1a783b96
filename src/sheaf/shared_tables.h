/// Tables of Arrow that several processes read from one copy in memory: made by one, by a statement or anything else that brings
/// record batches, and seen by all under a name.
///
///     auto shared = sheaf::SharedTables::Open().ValueOrDie();
///     auto mine = shared->Publish("prices", *database->Sql("SELECT * FROM prices").ValueOrDie()).ValueOrDie();
///     auto theirs = shared->Get("prices").ValueOrDie();       // In another process: the same memory, nothing is copied.
///
/// A table stays as long as any process holds it, or an array that lies in it. Where a process is killed, the system counts it out.
/// Only Arrow and the standard library are needed to compile against this header. No exception leaves it.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>
#include <arrow/result.h>
#include <arrow/status.h>
#include <arrow/table.h>

#include "sheaf/database.h"

namespace sheaf {

struct SharedTablesOptions {
  std::string folder = {};  // In a file system in memory; empty: one of this user's own in /dev/shm. Closed to other users.
  int64_t bytes_max = 0;    // Of all tables in the folder together; 0: as much as the file system has.
};

/// How buffers lie in a shared table.
enum class SharedCodec {
  kNone,  // As they are in memory: views copy nothing.
  kLz4,   // Smaller; each reader has decompressed buffers of its own.
  kZstd,
};

struct PublishOptions {
  bool replace = false;                   // A table of this name makes room; those who hold it keep it.
  SharedCodec codec = SharedCodec::kNone;
};

struct SharedTableInfo {
  std::string name;
  int64_t bytes = 0;
  int64_t holders = 0;  // Processes that hold it.
};

/// Thread-safe. Tables are Arrow IPC streams; what an error is, in one word: ErrorCode().
class SHEAF_API SharedTables {
 public:
  /// Errors: denied (the folder is not this user's alone), unsupported (its file system is not one in memory or lacks unnamed files).
  static arrow::Result<std::shared_ptr<SharedTables>> Open(const SharedTablesOptions& options = {});
  ~SharedTables();
  SharedTables(const SharedTables&) = delete;
  SharedTables& operator=(const SharedTables&) = delete;

  /// Writes all rows, then shows them under `name` at once, and returns a view which holds them. `name`: letters, digits, '_', '-'
  /// and '.' (not first), up to 200. Errors: invalid, already_exists, too_large, unavailable (memory is out), and those of `rows`;
  /// then nothing is left.
  arrow::Result<std::shared_ptr<arrow::Table>> Publish(const std::string& name, arrow::RecordBatchReader& rows,
                                                       const PublishOptions& options = {});

  /// A view of the table that has this name now. Errors: not_found, corruption (no Arrow stream).
  arrow::Result<std::shared_ptr<arrow::Table>> Get(const std::string& name) const;

  /// Takes the name away; holders keep the table. Errors: not_found.
  arrow::Status Remove(const std::string& name);

  arrow::Result<std::vector<SharedTableInfo>> List() const;

  /// Removes what killed processes left, and returns how many tables. Open() does so, too.
  arrow::Result<int64_t> RemoveUnused();

 private:
  class Buffers;
  explicit SharedTables(std::unique_ptr<Buffers> buffers);

  const std::unique_ptr<Buffers> buffers_;
};

}  // namespace sheaf
