/// Values of Arrow's many types as tables and statements take them.

#pragma once

#include <memory>
#include <vector>

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include "core/status.h"
#include "query/engine.h"

namespace sheaf::serve {

/// The type that a column of `type` gets in a table and in SQL: itself, or the one that holds the same values where Arrow has
/// several (large and view layouts, run ends, dictionaries, small floats, days as milliseconds). Types that have none stay: the
/// store says so.
std::shared_ptr<arrow::DataType> StoredType(const std::shared_ptr<arrow::DataType>& type);

/// The columns of `schema` with those types, names and nullability; metadata is left out.
std::shared_ptr<arrow::Schema> StoredSchema(const arrow::Schema& schema);

/// A statement's parameters, a set a row, cast to their StoredType(); text for a number or a time becomes what `expected` (by
/// position) says, where it can. Errors: Invalid (another number of columns than `expected` has), Unsupported, OutOfMemory.
Result<std::shared_ptr<arrow::RecordBatch>> PrepareParameters(const arrow::RecordBatch& given, const arrow::Schema& expected,
                                                              arrow::MemoryPool* pool);

/// One set, from a batch that PrepareParameters() made.
Result<std::vector<query::Parameter>> ParametersOfRow(const arrow::RecordBatch& batch, int64_t row);

}  // namespace sheaf::serve
