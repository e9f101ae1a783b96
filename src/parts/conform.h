/// Parquet knows fewer types than Arrow; this gives arrays read from it the type they were written with.

#pragma once

#include <memory>

#include <arrow/array/data.h>
#include <arrow/chunked_array.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include "core/status.h"

namespace sheaf::parts {

/// Returns the chunks as one array of exactly `type`: joined where there are several, plain values encoded
/// where a dictionary is wanted. Error: Corruption (the values are not such that they could have been written so).
Result<std::shared_ptr<arrow::ArrayData>> Conform(const arrow::ChunkedArray& chunks, const std::shared_ptr<arrow::DataType>& type,
                                                  arrow::MemoryPool* pool);

}  // namespace sheaf::parts
