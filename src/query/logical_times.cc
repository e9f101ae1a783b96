#include "query/logical_times.h"

namespace sheaf::query {

namespace {

int64_t Scaled(int64_t value, int64_t factor) {
  int64_t us = 0;
  return __builtin_mul_overflow(value, factor, &us) ? kNoTime : us;
}

}  // namespace

bool IsTime(const duckdb::LogicalType& type) {
  using Id = duckdb::LogicalTypeId;
  switch (type.id()) {
    case Id::DATE:
    case Id::TIMESTAMP:
    case Id::TIMESTAMP_TZ:
    case Id::TIMESTAMP_NS:
    case Id::TIMESTAMP_MS:
    case Id::TIMESTAMP_SEC: return true;
    default: return false;
  }
}

int64_t MicrosOf(const duckdb::Vector& times, duckdb::idx_t row) {
  using Id = duckdb::LogicalTypeId;
  if (!IsTime(times.GetType()) || duckdb::FlatVector::IsNull(times, row)) return kNoTime;
  const Id id = times.GetType().id();
  if (id == Id::DATE) {
    const auto date = duckdb::FlatVector::GetData<duckdb::date_t>(times)[row];
    return duckdb::Date::IsFinite(date) ? Scaled(date.days, duckdb::Interval::MICROS_PER_DAY) : kNoTime;
  }
  const int64_t value = duckdb::FlatVector::GetData<int64_t>(times)[row];
  if (!duckdb::Timestamp::IsFinite(duckdb::timestamp_t(value))) return kNoTime;
  switch (id) {
    case Id::TIMESTAMP_NS: return value / 1000 - (value % 1000 < 0 ? 1 : 0);
    case Id::TIMESTAMP_MS: return Scaled(value, 1'000);
    case Id::TIMESTAMP_SEC: return Scaled(value, 1'000'000);
    default: return value;
  }
}

}  // namespace sheaf::query
