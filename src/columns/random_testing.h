/// Random Arrow data of any type for property tests, and rows as text to compare whatever its encoding.

#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <arrow/array/array_base.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

namespace sheaf::columns {

using Random = std::mt19937_64;

/// Seed of this run: SHEAF_SEED where set, else a fresh one. Prints it with the command that replays the test.
uint64_t TestSeed();

/// Values from a small range (so that they repeat), some NULL where `nullable`, text of 0 to 80 bytes, and
/// often with an offset into larger buffers.
std::shared_ptr<arrow::Array> RandomArray(const std::shared_ptr<arrow::DataType>& type, int64_t rows, bool nullable, Random* random);
std::shared_ptr<arrow::RecordBatch> RandomBatch(const std::shared_ptr<arrow::Schema>& schema, int64_t rows, Random* random);

/// A schema with every type that a part has code for.
std::shared_ptr<arrow::Schema> EveryType();

/// One row as text: equal if and only if the values are, however dictionaries, offsets and chunks differ.
std::string RowText(const arrow::RecordBatch& batch, int64_t row);
std::vector<std::string> RowTexts(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

}  // namespace sheaf::columns
