/// Support for tests and benchmarks of store and what stands on it: made-up rows.

#pragma once

#include <cstdint>
#include <memory>
#include <random>

#include <arrow/record_batch.h>

namespace sheaf::store {

/// Rows of any schema with values of every shape (NULLs where allowed, empty text and lists, repeats in
/// dictionaries). Times lie in the hour after `time_ns`. The same generator state gives the same rows.
std::shared_ptr<arrow::RecordBatch> RandomBatch(const std::shared_ptr<arrow::Schema>& schema, int64_t rows, std::mt19937_64* random,
                                                int64_t time_ns = 1'700'000'000'000'000'000);

}  // namespace sheaf::store
