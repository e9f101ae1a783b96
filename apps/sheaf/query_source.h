/// Where a command's SQL runs: in this process over a directory that no server holds, or at a server.

#pragma once

#include <memory>
#include <string>

#include <arrow/record_batch.h>

#include "core/status.h"

namespace CLI {
class App;
}

namespace sheaf::cli {

inline constexpr const char* kDefaultUrl = "http://127.0.0.1:8080";

struct SourceOptions {
  std::string data;        // A directory, or…
  std::string url;         // …a server; neither: kDefaultUrl.
  std::string user;        // At the server; see credentials.h.
  bool writes = false;     // Open the directory for statements that write, too.
  int64_t timeout_ms = 0;  // Per statement; 0: none of ours (a server has its own).
};

/// Adds --data, --url, --user and --timeout-ms.
void AddSourceFlags(CLI::App* command, SourceOptions* options);

/// The rows of one statement, one batch after the other.
class Rows {
 public:
  virtual ~Rows() = default;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  /// The next rows, or null at the end. Errors: as query::Query::Next(); kCancelled after an interrupt.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
};

/// Not thread-safe; one statement at a time. An interrupt (see command.h) cancels the running one.
class QuerySource {
 public:
  /// Errors: Invalid (a URL that cannot work; both given), and those of store::Database::Open().
  static Result<std::unique_ptr<QuerySource>> Open(const SourceOptions& options);
  virtual ~QuerySource() = default;
  virtual Result<std::unique_ptr<Rows>> Start(const std::string& sql) = 0;
  /// Closes the database; nothing may be running.
  virtual Status Close() = 0;
};

}  // namespace sheaf::cli
