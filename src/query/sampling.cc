#include "query/sampling.h"

#include <array>

#include "columns/sampler.h"
#include "columns/trace_state.h"
#include "query/id_types.h"

namespace sheaf::query {

namespace {

using columns::SamplingThreshold;
using columns::TraceIdOrder;
using duckdb::ConstantVector;
using duckdb::FlatVector;
using duckdb::hugeint_t;
using duckdb::string_t;
using duckdb::VectorType;

uint64_t ThresholdOf(double probability) {
  if (!(probability >= 0 && probability <= 1)) {  // NaN is neither.
    throw duckdb::InvalidInputException("is_sampled: the probability is %f, but must be from 0 to 1", probability);
  }
  return SamplingThreshold(probability);
}

/// All at once, as a statement asks mostly: many ids, one probability.
void SampleVector(const duckdb::Vector& ids, double probability, duckdb::idx_t count, duckdb::Vector* result) {
  static_assert(sizeof(hugeint_t) == 16 && offsetof(hugeint_t, lower) == 0);
  std::array<uint64_t, STANDARD_VECTOR_SIZE / 64> kept;
  const auto* numbers = reinterpret_cast<const uint8_t*>(FlatVector::GetData<hugeint_t>(ids));
  columns::SampleTraces(TraceIdOrder::kNumbers, numbers, static_cast<int64_t>(count), ThresholdOf(probability), kept.data());
  result->SetVectorType(VectorType::FLAT_VECTOR);
  FlatVector::SetValidity(*result, FlatVector::Validity(ids));
  auto* out = FlatVector::GetData<bool>(*result);
  for (duckdb::idx_t i = 0; i < count; ++i) out[i] = (kept[i / 64] >> (i % 64) & 1) != 0;
}

void IsSampled(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::Vector& ids = arguments.data[0];
  duckdb::Vector& probabilities = arguments.data[1];
  const bool one = probabilities.GetVectorType() == VectorType::CONSTANT_VECTOR && !ConstantVector::IsNull(probabilities);
  if (one && ids.GetVectorType() == VectorType::FLAT_VECTOR && arguments.size() <= STANDARD_VECTOR_SIZE) {
    return SampleVector(ids, *ConstantVector::GetData<double>(probabilities), arguments.size(), &result);
  }
  duckdb::BinaryExecutor::Execute<hugeint_t, double, bool>(
      ids, probabilities, result, arguments.size(),
      [](hugeint_t id, double p) { return (id.lower & (columns::kSamplingRange - 1)) >= ThresholdOf(p); });
}

std::string_view View(const string_t& text) { return {text.GetData(), text.GetSize()}; }

void ReadThreshold(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::UnaryExecutor::ExecuteWithNulls<string_t, int64_t>(
      arguments.data[0], result, arguments.size(), [](string_t state, duckdb::ValidityMask& valid, duckdb::idx_t row) -> int64_t {
        const auto threshold = columns::ReadSamplingState(View(state)).threshold;
        if (!threshold) valid.SetInvalid(row);
        return static_cast<int64_t>(threshold.value_or(0));
      });
}

/// A trace state that is NULL says as little as an empty one.
void CountAdjusted(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::UnifiedVectorFormat states;
  arguments.data[0].ToUnifiedFormat(arguments.size(), states);
  const bool constant = arguments.AllConstant();
  auto* out = FlatVector::GetData<double>(result);
  for (duckdb::idx_t row = 0; row < (constant ? 1 : arguments.size()); ++row) {
    const duckdb::idx_t at = states.sel->get_index(row);
    const auto text = states.validity.RowIsValid(at) ? View(duckdb::UnifiedVectorFormat::GetData<string_t>(states)[at]) : "";
    out[row] = columns::AdjustedCount(columns::ReadSamplingState(text));
  }
  if (constant) result.SetVectorType(VectorType::CONSTANT_VECTOR);
}

}  // namespace

void RegisterSampling(duckdb::ExtensionLoader* loader) {
  using duckdb::LogicalType;
  duckdb::ScalarFunction is_sampled("is_sampled", {TraceIdType(), LogicalType::DOUBLE}, LogicalType::BOOLEAN, IsSampled);
  is_sampled.SetFallible();
  loader->RegisterFunction(is_sampled);
  loader->RegisterFunction(
      duckdb::ScalarFunction("sampling_threshold", {LogicalType::VARCHAR}, LogicalType::BIGINT, ReadThreshold));
  duckdb::ScalarFunction count("sampling_adjusted_count", {LogicalType::VARCHAR}, LogicalType::DOUBLE, CountAdjusted);
  count.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  loader->RegisterFunction(count);
}

}  // namespace sheaf::query
