#include "query/sampling.h"

#include <cmath>

#include "query/id_types.h"

namespace sheaf::query {

namespace {

constexpr uint64_t kRandomValues = uint64_t{1} << 56;

void IsSampled(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::BinaryExecutor::Execute<duckdb::hugeint_t, double, bool>(
      arguments.data[0], arguments.data[1], result, arguments.size(), [](duckdb::hugeint_t id, double probability) {
        if (!(probability >= 0 && probability <= 1)) {  // NaN is neither.
          throw duckdb::InvalidInputException("is_sampled: the probability is %f, but must be from 0 to 1", probability);
        }
        return (id.lower & (kRandomValues - 1)) >= RejectionThreshold(probability);
      });
}

}  // namespace

uint64_t RejectionThreshold(double probability) {
  // The probability is scaled, and not 1 - probability: near 0, where it matters, a double has more digits.
  return kRandomValues - static_cast<uint64_t>(std::llround(probability * static_cast<double>(kRandomValues)));
}

void RegisterSampling(duckdb::ExtensionLoader* loader) {
  duckdb::ScalarFunction is_sampled("is_sampled", {TraceIdType(), duckdb::LogicalType::DOUBLE}, duckdb::LogicalType::BOOLEAN, IsSampled);
  is_sampled.SetFallible();
  loader->RegisterFunction(is_sampled);
}

}  // namespace sheaf::query
