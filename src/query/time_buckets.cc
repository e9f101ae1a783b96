#include "query/time_buckets.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "duckdb/common/enums/date_part_specifier.hpp"
#include "duckdb/common/types/interval.hpp"
#include "duckdb/common/types/timestamp.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"

namespace sheaf::query {

namespace {

using duckdb::Expression;
using duckdb::ExpressionClass;
using duckdb::Interval;
using duckdb::interval_t;
using duckdb::LogicalType;
using duckdb::LogicalTypeId;
using duckdb::timestamp_ns_t;
using duckdb::timestamp_t;
using ExpressionPtr = duckdb::unique_ptr<Expression>;

constexpr int64_t kOriginUs = 10'959 * Interval::MICROS_PER_DAY;  // 2000-01-03, a Monday, from which DuckDB counts.
constexpr int32_t kDaysMax = 1'000'000;                           // Longer widths are left to DuckDB: none of ours overflows.
constexpr int64_t kMicrosMax = kDaysMax * Interval::MICROS_PER_DAY;

/// Finds the bucket that a time is in. Times come in order mostly: a bucket is looked for first where the last time was.
class Buckets {
 public:
  explicit Buckets(int64_t width_us) : width_us_(width_us), offset_us_(kOriginUs % width_us) {}

  /// In microseconds, or as the time itself where it is infinite; `ns` counts as the microsecond that DuckDB casts it to, the one
  /// nearer to 1970.
  int64_t Find(int64_t ns) {
    if (static_cast<uint64_t>(ns) - first_ns_ < span_ns_) return start_us_;
    return FindAnew(ns);
  }

 private:
  int64_t FindAnew(int64_t ns) {
    if (!duckdb::Timestamp::IsFinite(timestamp_t(ns))) return ns;
    const int64_t us = ns / Interval::NANOS_PER_MICRO - offset_us_;
    int64_t start = us / width_us_ * width_us_;
    if (start > us) start -= width_us_;
    start += offset_us_;
    int64_t first = 0, end = 0;
    if (start < 0 || __builtin_mul_overflow(start, Interval::NANOS_PER_MICRO, &first))
      return start;  // Before 1970 casts round up.
    if (__builtin_mul_overflow(start + width_us_, Interval::NANOS_PER_MICRO, &end)) end = std::numeric_limits<int64_t>::max();
    start_us_ = start;
    first_ns_ = static_cast<uint64_t>(first);
    span_ns_ = static_cast<uint64_t>(end) - first_ns_;
    return start;
  }

  const int64_t width_us_, offset_us_;
  int64_t start_us_ = 0;
  uint64_t first_ns_ = 0, span_ns_ = 0;  // What the last time's bucket holds; nothing yet.
};

timestamp_t Cast(int64_t us, timestamp_t*) { return timestamp_t(us); }
timestamp_ns_t Cast(int64_t us, timestamp_ns_t*) {
  const timestamp_t time(us);
  timestamp_ns_t ns;
  ns.value = duckdb::Timestamp::IsFinite(time) ? duckdb::Timestamp::GetEpochNanoSeconds(time) : us;  // Throws as the cast does.
  return ns;
}

/// `arguments`: the width, a constant; the times, of TIMESTAMP_NS.
template <typename Time>
void BucketTimes(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  const interval_t width = *duckdb::ConstantVector::GetData<interval_t>(arguments.data[0]);
  Buckets buckets(Interval::GetMicro(width));
  duckdb::UnaryExecutor::Execute<timestamp_ns_t, Time>(arguments.data[1], result, arguments.size(), [&](timestamp_ns_t time) {
    return Cast(buckets.Find(time.value), static_cast<Time*>(nullptr));
  });
}

/// Widths that always take the same time and are longer than nothing.
std::optional<interval_t> Width(const duckdb::Value& value) {
  if (value.IsNull()) return std::nullopt;
  if (value.type().id() == LogicalTypeId::INTERVAL) {
    const auto width = value.GetValueUnsafe<interval_t>();
    const bool simple =
        width.months == 0 && width.days >= 0 && width.days <= kDaysMax && width.micros >= 0 && width.micros <= kMicrosMax;
    return simple && (width.days > 0 || width.micros > 0) ? std::optional(width) : std::nullopt;
  }
  duckdb::DatePartSpecifier part{};
  if (value.type().id() != LogicalTypeId::VARCHAR || !duckdb::TryGetDatePartSpecifier(duckdb::StringValue::Get(value), part)) {
    return std::nullopt;
  }
  switch (part) {
    case duckdb::DatePartSpecifier::SECOND: return interval_t{.months = 0, .days = 0, .micros = Interval::MICROS_PER_SEC};
    case duckdb::DatePartSpecifier::MINUTE: return interval_t{.months = 0, .days = 0, .micros = Interval::MICROS_PER_MINUTE};
    case duckdb::DatePartSpecifier::HOUR: return interval_t{.months = 0, .days = 0, .micros = Interval::MICROS_PER_HOUR};
    case duckdb::DatePartSpecifier::DAY: return interval_t{.months = 0, .days = 1, .micros = 0};
    case duckdb::DatePartSpecifier::WEEK: return interval_t{.months = 0, .days = 7, .micros = 0};
    default: return std::nullopt;
  }
}

/// The operand, if `expression` casts one of type `from` to `to` or fails.
Expression* CastOperand(Expression& expression, LogicalTypeId from, LogicalTypeId to) {
  if (expression.GetExpressionClass() != ExpressionClass::BOUND_CAST || expression.return_type.id() != to) return nullptr;
  auto& cast = expression.Cast<duckdb::BoundCastExpression>();
  return !cast.try_cast && cast.child->return_type.id() == from ? cast.child.get() : nullptr;
}

/// The call of ours that stands for `expression`, which is of type `time`, if it is a call of those replaced.
template <typename Time>
ExpressionPtr OwnCall(Expression& expression, const LogicalType& time) {
  if (expression.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) return nullptr;
  auto& call = expression.Cast<duckdb::BoundFunctionExpression>();
  const std::string& name = call.function.name;
  if ((name != "time_bucket" && name != "date_trunc") || call.children.size() != 2) return nullptr;
  if (call.return_type.id() != LogicalTypeId::TIMESTAMP ||
      call.children[0]->GetExpressionClass() != ExpressionClass::BOUND_CONSTANT) {
    return nullptr;
  }
  Expression* const ns = CastOperand(*call.children[1], LogicalTypeId::TIMESTAMP_NS, LogicalTypeId::TIMESTAMP);
  const auto width = Width(call.children[0]->Cast<duckdb::BoundConstantExpression>().value);
  if (ns == nullptr || !width) return nullptr;
  duckdb::ScalarFunction function("time_bucket", {LogicalType::INTERVAL, LogicalType::TIMESTAMP_NS}, time, BucketTimes<Time>);
  function.SetFallible();
  duckdb::vector<ExpressionPtr> arguments;
  arguments.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::INTERVAL(*width)));
  arguments.push_back(ns->Copy());
  auto own = duckdb::make_uniq<duckdb::BoundFunctionExpression>(time, std::move(function), std::move(arguments), nullptr);
  return own;
}

void Rewrite(ExpressionPtr* expression) {
  Expression* const call = CastOperand(**expression, LogicalTypeId::TIMESTAMP, LogicalTypeId::TIMESTAMP_NS);
  auto own = call != nullptr ? OwnCall<timestamp_ns_t>(*call, LogicalType::TIMESTAMP_NS)
                             : OwnCall<timestamp_t>(**expression, LogicalType::TIMESTAMP);
  if (own) {
    own->SetAlias((*expression)->GetAlias());
    *expression = std::move(own);
  }
  duckdb::ExpressionIterator::EnumerateChildren(**expression, [](ExpressionPtr& child) { Rewrite(&child); });
}

}  // namespace

void RewriteTimeBuckets(duckdb::LogicalOperator* plan) {
  for (auto& child : plan->children) RewriteTimeBuckets(child.get());
  duckdb::LogicalOperatorVisitor::EnumerateExpressions(*plan, [](ExpressionPtr* expression) { Rewrite(expression); });
}

}  // namespace sheaf::query
