/// What Flight SQL's questions about the database itself answer: catalogs, schemas, tables, keys, types, abilities.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "core/status.h"
#include "query/engine.h"
#include "wire/flight_sql_messages.h"

namespace sheaf::serve {

/// The one catalog, as SQL names it.
inline constexpr const char* kCatalogName = "sheaf_db";

/// What SqlInfo tells of limits; 0: there is none.
struct SqlInfoLimits {
  int64_t sql_bytes = 0, prepared_statements = 0;
};

/// Thread-safe. Borrows the engine.
class FlightMetadata {
 public:
  FlightMetadata(query::Engine* engine, const SqlInfoLimits& limits) : engine_(engine), limits_(limits) {}

  /// Whether `name` is a question that is answered here: CommandGetCatalogs and its kin.
  static bool Answers(std::string_view name);
  /// The schema of the answer. Requires: Answers(message.name). Errors: Invalid.
  static Result<std::shared_ptr<arrow::Schema>> SchemaOf(const wire::FlightSqlMessage& message);
  /// Who asks is told of what he may read; null: of everything.
  using Asker = std::shared_ptr<const access::Identity>;
  /// The answer, of that schema. Errors: Invalid, and the engine's.
  Result<std::shared_ptr<arrow::RecordBatch>> Answer(const wire::FlightSqlMessage& message, const Asker& asker) const;

 private:
  Result<std::shared_ptr<arrow::RecordBatch>> Ask(const std::string& sql, std::vector<query::Parameter> parameters,
                                                  const std::shared_ptr<arrow::Schema>& schema, const Asker& asker) const;
  Result<std::shared_ptr<arrow::RecordBatch>> Tables(const wire::FlightSqlTables& asked, const Asker& asker) const;
  Result<std::shared_ptr<arrow::Array>> SchemasOf(const arrow::RecordBatch& tables, const Asker& asker) const;

  query::Engine* const engine_;
  const SqlInfoLimits limits_;
};

/// The answer to CommandGetSqlInfo: a row for each of `asked` that is known; empty: all.
Result<std::shared_ptr<arrow::RecordBatch>> SqlInfoBatch(std::span<const uint32_t> asked, const SqlInfoLimits& limits);
std::shared_ptr<arrow::Schema> SqlInfoSchema();

/// The answer to CommandGetXdbcTypeInfo: the types of SQL, or those of one number.
Result<std::shared_ptr<arrow::RecordBatch>> XdbcTypesBatch(std::optional<int32_t> type);
std::shared_ptr<arrow::Schema> XdbcTypesSchema();

}  // namespace sheaf::serve
