/// Rows and snapshots over HTTP, beside SQL: POST /v1/tables/{schema.table}, GET …/rows/{key}, /v1/snapshots.
/// docs/http.md describes them.

#pragma once

#include <memory>
#include <string>

#include "query/row_errors.h"
#include "serve/transport.h"
#include "store/database.h"

namespace sheaf::serve {

/// Thread-safe. Must outlive the transport it is registered with. Borrows the database.
class TableApi {
 public:
  TableApi(store::Database* database, int64_t retry_after_ms) : database_(database), retry_after_ms_(retry_after_ms) {}

  /// Registers its paths on `listener`.
  void Register(Transport* transport, const std::string& listener);

  /// Adds rows; answers {"rows", "lsn"} once they are durable. Idempotency-Key makes a retry answer as the first did. Of NDJSON and CSV an
  /// error names the lines that are wrong.
  void AddRows(const std::shared_ptr<HttpExchange>& exchange);
  /// Answers one row as JSON, or 404. Key columns are joined by '/'.
  void GetRow(const std::shared_ptr<HttpExchange>& exchange);
  /// GET lists snapshots, POST makes one ({"id"} may name it).
  void ListSnapshots(const std::shared_ptr<HttpExchange>& exchange);
  void MakeSnapshot(const std::shared_ptr<HttpExchange>& exchange);

 private:
  void Answer(const std::shared_ptr<HttpExchange>& exchange, const Result<std::string>& body) const;
  /// `*wrong`: rows of a refused document that are to blame, where there are such.
  Result<std::string> AddRowsNow(const HttpRequest& request, query::RowErrors* wrong);
  Result<std::string> GetRowNow(const HttpRequest& request);

  store::Database* const database_;
  const int64_t retry_after_ms_;
};

}  // namespace sheaf::serve
