/// SQL rows and values as a table stores them: column types, batches, single values.

#pragma once

#include <memory>
#include <string>

#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include "core/status.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// The Arrow type of a column that CREATE TABLE asks for. Error: Unsupported (names the column, and a type to take instead).
Result<std::shared_ptr<arrow::DataType>> StoredType(const std::string& column, const duckdb::LogicalType& type);

/// Copies `chunk`, which has the table's columns, into a batch of `schema`, the table's. Throws duckdb::Exception.
/// Errors: Invalid (a NULL where the column allows none; names it), OutOfMemory, Unsupported.
Result<std::shared_ptr<arrow::RecordBatch>> ToTableBatch(duckdb::ClientContext& context, duckdb::DataChunk& chunk,
                                                         const std::shared_ptr<arrow::Schema>& schema);

/// One value, not NULL, as the table stores it in a column of Arrow type `type`. Errors as above.
Result<std::shared_ptr<arrow::Scalar>> ToScalar(duckdb::ClientContext& context, const duckdb::Value& value,
                                                const std::shared_ptr<arrow::DataType>& type);
/// Back to SQL. Error: Unsupported.
Result<duckdb::Value> ToValue(const arrow::Scalar& scalar);

}  // namespace sheaf::query
