/// DuckDB result chunks to Arrow record batches: exact types, ids as their bytes.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <arrow/record_batch.h>

#include "core/status.h"
#include "query/duckdb_headers.h"

namespace sheaf::query {

/// The Arrow schema of a result. Types without an Arrow counterpart (UUID, BIT, ENUM, UNION, VARIANT,
/// UHUGEINT…) become their text; HUGEINT becomes decimal128(38, 0). Ids carry metadata "sheaf.type".
std::shared_ptr<arrow::Schema> ResultSchema(const duckdb::vector<duckdb::LogicalType>& types,
                                            const duckdb::vector<std::string>& names);

/// Copies `chunk` into a batch of `schema`, which is the chunk's ResultSchema(). May flatten the chunk's
/// vectors. Throws duckdb::Exception. Errors: OutOfMemory, Invalid (an integer beyond 38 digits).
Result<std::shared_ptr<arrow::RecordBatch>> ToRecordBatch(duckdb::ClientContext& context, duckdb::DataChunk& chunk,
                                                          const std::shared_ptr<arrow::Schema>& schema);

/// Copies the values of `vector`, which has `size` rows, at `rows` into an array of `type`, which is that of ResultSchema() for the
/// vector's type. May flatten the vector. Errors as above.
Result<std::shared_ptr<arrow::Array>> ToArrowArray(duckdb::Vector& vector, duckdb::idx_t size, const std::vector<duckdb::idx_t>& rows,
                                                   const std::shared_ptr<arrow::DataType>& type);

}  // namespace sheaf::query
