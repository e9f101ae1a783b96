#include "query/pruning.h"

#include <algorithm>

#include <arrow/util/utf8.h>

#include "duckdb/common/types/decimal.hpp"

#include "query/id_types.h"

namespace sheaf::query {

namespace {

using duckdb::BaseStatistics;
using duckdb::LogicalType;
using duckdb::NumericStats;
using duckdb::PhysicalType;
using duckdb::TableFilterType;
using duckdb::Value;
using Kind = columns::Zone::Kind;

std::optional<std::string> StoredBytes(const Value& value) {
  if (value.IsNull()) return std::nullopt;
  const LogicalType& type = value.type();
  if (IsTraceId(type)) {
    std::string bytes(16, '\0');
    TraceIdToBytes(value.GetValueUnsafe<duckdb::hugeint_t>(), reinterpret_cast<uint8_t*>(bytes.data()));
    return bytes;
  }
  if (IsSpanId(type)) {
    std::string bytes(8, '\0');
    SpanIdToBytes(value.GetValueUnsafe<uint64_t>(), reinterpret_cast<uint8_t*>(bytes.data()));
    return bytes;
  }
  if (type.InternalType() == PhysicalType::VARCHAR) return duckdb::StringValue::Get(value);
  return std::nullopt;
}

bool CollectKeys(const duckdb::TableFilter& filter, size_t values_max, std::vector<Value>* values);

bool CollectOfAny(const duckdb::ConjunctionAndFilter& filter, size_t values_max, std::vector<Value>* values) {
  for (const auto& child : filter.child_filters) {
    std::vector<Value> of_child;
    if (!CollectKeys(*child, values_max, &of_child)) continue;
    *values = std::move(of_child);
    return true;
  }
  return false;
}

/// Returns whether `filter` lets only rows pass that equal one of `values`.
bool CollectKeys(const duckdb::TableFilter& filter, size_t values_max, std::vector<Value>* values) {
  switch (filter.filter_type) {
    case TableFilterType::CONSTANT_COMPARISON: {
      const auto& comparison = filter.Cast<duckdb::ConstantFilter>();
      if (comparison.comparison_type != duckdb::ExpressionType::COMPARE_EQUAL) return false;
      values->push_back(comparison.constant);
      return true;
    }
    case TableFilterType::IN_FILTER: {
      const auto& in = filter.Cast<duckdb::InFilter>();
      if (in.values.size() > values_max) return false;
      values->insert(values->end(), in.values.begin(), in.values.end());
      return true;
    }
    case TableFilterType::CONJUNCTION_AND: return CollectOfAny(filter.Cast<duckdb::ConjunctionAndFilter>(), values_max, values);
    case TableFilterType::CONJUNCTION_OR:
      for (const auto& child : filter.Cast<duckdb::ConjunctionOrFilter>().child_filters) {
        if (!CollectKeys(*child, values_max, values)) return false;
      }
      return values->size() <= values_max;
    case TableFilterType::OPTIONAL_FILTER: {
      // Rows that fail it are not needed: something above drops them.
      const auto& child = filter.Cast<duckdb::OptionalFilter>().child_filter;
      return child && CollectKeys(*child, values_max, values);
    }
    default: return false;
  }
}

Value IntegerBound(const LogicalType& type, int64_t bound) {
  if (type.InternalType() == PhysicalType::UINT64) {
    Value value = Value::UBIGINT(static_cast<uint64_t>(bound));
    value.Reinterpret(type);
    return value;
  }
  return Value::Numeric(type, bound);
}

bool IdBounds(const LogicalType& type, const columns::Zone& zone, Value* low, Value* high) {
  const auto* from = reinterpret_cast<const uint8_t*>(zone.bytes_min.data());
  const auto* to = reinterpret_cast<const uint8_t*>(zone.bytes_max.data());
  if (IsTraceId(type) && zone.bytes_min.size() == 16 && zone.bytes_max.size() == 16) {
    *low = Value::UUID(TraceIdFromBytes(from));
    *high = Value::UUID(TraceIdFromBytes(to));
    return true;
  }
  if (IsSpanId(type) && zone.bytes_min.size() == 8 && zone.bytes_max.size() == 8) {
    *low = Value::UBIGINT(SpanIdFromBytes(from));
    *high = Value::UBIGINT(SpanIdFromBytes(to));
    return true;
  }
  return false;
}

/// Whether DuckDB compares values of the type as the integers that zones keep.
bool ComparesAsInteger(const LogicalType& type) {
  switch (type.id()) {
    case duckdb::LogicalTypeId::TIMESTAMP_SEC:
    case duckdb::LogicalTypeId::TIMESTAMP_MS:
    case duckdb::LogicalTypeId::TIMESTAMP:
    case duckdb::LogicalTypeId::TIMESTAMP_NS:
    case duckdb::LogicalTypeId::TIMESTAMP_TZ:
    case duckdb::LogicalTypeId::DATE: return true;
    case duckdb::LogicalTypeId::DECIMAL: return duckdb::DecimalType::GetWidth(type) <= duckdb::Decimal::MAX_WIDTH_INT64;
    default: return type.IsIntegral();
  }
}

bool NumericBounds(const LogicalType& type, const columns::Zone& zone, Value* low, Value* high) {
  switch (zone.kind) {
    case Kind::kInt64:
    case Kind::kUint64:
      if (!ComparesAsInteger(type)) return false;
      *low = IntegerBound(type, zone.int_min);
      *high = IntegerBound(type, zone.int_max);
      return true;
    case Kind::kDouble:
      // NaN is greater than every number in SQL, and a zone does not count it in.
      if (zone.has_nan) return false;
      if (type.id() == duckdb::LogicalTypeId::FLOAT) {
        *low = Value::FLOAT(static_cast<float>(zone.double_min));
        *high = Value::FLOAT(static_cast<float>(zone.double_max));
        return true;
      }
      if (type.id() != duckdb::LogicalTypeId::DOUBLE) return false;
      *low = Value::DOUBLE(zone.double_min);
      *high = Value::DOUBLE(zone.double_max);
      return true;
    default: return false;
  }
}

}  // namespace

namespace {

/// Whether a row without a value may pass. DuckDB's check of a constant comparison's statistics says that none does, and forgets
/// IS DISTINCT FROM, which it pushes into scans as part of an OR.
bool MayPassNull(const duckdb::TableFilter& filter) {
  const auto any = [](const duckdb::ConjunctionFilter& conjunction) {
    return std::any_of(conjunction.child_filters.begin(), conjunction.child_filters.end(),
                       [](const auto& child) { return MayPassNull(*child); });
  };
  switch (filter.filter_type) {
    case TableFilterType::CONSTANT_COMPARISON: {
      const auto comparison = filter.Cast<duckdb::ConstantFilter>().comparison_type;
      return comparison == duckdb::ExpressionType::COMPARE_DISTINCT_FROM ||
             comparison == duckdb::ExpressionType::COMPARE_NOT_DISTINCT_FROM;
    }
    case TableFilterType::CONJUNCTION_AND: return any(filter.Cast<duckdb::ConjunctionAndFilter>());
    case TableFilterType::CONJUNCTION_OR: return any(filter.Cast<duckdb::ConjunctionOrFilter>());
    case TableFilterType::OPTIONAL_FILTER: {
      const auto& child = filter.Cast<duckdb::OptionalFilter>().child_filter;
      return child && MayPassNull(*child);
    }
    default: return false;
  }
}

bool IsText(const std::string& bytes) {
  arrow::util::InitializeUTF8();
  return arrow::util::ValidateUTF8(bytes);
}

}  // namespace

std::optional<BaseStatistics> ZoneStatistics(const LogicalType& type, const columns::Zone& zone, int64_t rows) {
  auto statistics = BaseStatistics::CreateEmpty(type);
  if (zone.null_count > 0) statistics.SetHasNull();
  if (zone.null_count < rows) statistics.SetHasNoNull();
  if (zone.null_count >= rows && rows > 0) return statistics;
  if (type.InternalType() == PhysicalType::VARCHAR && zone.kind == Kind::kBytes) {
    // A long bound is cut, perhaps in the middle of a character, which DuckDB's statistics do not take.
    const bool text = type.id() == duckdb::LogicalTypeId::VARCHAR;
    if (text && (!IsText(zone.bytes_min) || !IsText(zone.bytes_max))) return std::nullopt;
    duckdb::StringStats::Update(statistics, duckdb::string_t(zone.bytes_min.data(), static_cast<uint32_t>(zone.bytes_min.size())));
    duckdb::StringStats::Update(statistics, duckdb::string_t(zone.bytes_max.data(), static_cast<uint32_t>(zone.bytes_max.size())));
    duckdb::StringStats::ResetMaxStringLength(statistics);
    duckdb::StringStats::SetContainsUnicode(statistics);
    return statistics;
  }
  Value low, high;
  if (zone.kind == Kind::kBytes ? !IdBounds(type, zone, &low, &high) : !NumericBounds(type, zone, &low, &high)) return std::nullopt;
  NumericStats::SetMin(statistics, low);
  NumericStats::SetMax(statistics, high);
  return statistics;
}

Passing PassingOfZone(const duckdb::TableFilter& filter, const LogicalType& type, const columns::Zone& zone, int64_t rows) {
  auto statistics = ZoneStatistics(type, zone, rows);
  if (!statistics || (zone.null_count > 0 && MayPassNull(filter))) return Passing::kPerhapsSome;
  const auto checked = filter.CheckStatistics(*statistics);
  if (checked == duckdb::FilterPropagateResult::FILTER_ALWAYS_FALSE) return Passing::kNone;
  if (type.InternalType() != PhysicalType::VARCHAR || zone.null_count >= rows) {
    // A zone may be wider than its rows, which then pass all the more.
    const bool all = checked == duckdb::FilterPropagateResult::FILTER_ALWAYS_TRUE && zone.null_count == 0 && rows > 0;
    return all && type.InternalType() != PhysicalType::VARCHAR ? Passing::kAll : Passing::kPerhapsSome;
  }
  // DuckDB's statistics keep eight bytes of a text; an equality can use all of the zone's.
  const auto keys = ImpliedKeys(filter, 64);
  if (!keys) return Passing::kPerhapsSome;
  for (const std::string& key : *keys) {
    if (key >= zone.bytes_min && key <= zone.bytes_max) return Passing::kPerhapsSome;
  }
  return Passing::kNone;
}

std::optional<std::vector<Value>> ImpliedValues(const duckdb::TableFilter& filter, size_t values_max) {
  std::vector<Value> values;
  if (!CollectKeys(filter, values_max, &values)) return std::nullopt;
  return values;
}

std::optional<std::vector<std::string>> ImpliedKeys(const duckdb::TableFilter& filter, size_t values_max) {
  std::vector<Value> values;
  if (!CollectKeys(filter, values_max, &values)) return std::nullopt;
  std::vector<std::string> keys;
  for (const Value& value : values) {
    auto bytes = StoredBytes(value);
    if (bytes) {
      keys.push_back(std::move(*bytes));
    } else if (!value.IsNull()) {
      return std::nullopt;  // NULL equals nothing; anything else is not kept as bytes.
    }
  }
  return keys;
}

}  // namespace sheaf::query
