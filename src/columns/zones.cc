#include "columns/zones.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/float16.h>

#include "columns/byte_values.h"
#include "columns/dictionaries.h"

namespace sheaf::columns {
namespace {

/// Walks the values that are not NULL, as T.
template <typename T, typename Visit>
void EachValue(const arrow::ArrayData& data, const Visit& visit) {
  if (data.length == 0 || !data.buffers[1]) return;
  const uint8_t* values = data.buffers[1]->data() + data.offset * static_cast<int64_t>(sizeof(T));
  const auto load = [values](int64_t i) {
    T value;
    std::memcpy(&value, values + i * static_cast<int64_t>(sizeof(T)), sizeof value);
    return value;
  };
  if (!data.MayHaveNulls() || !data.buffers[0]) {  // By itself, so that nothing stands in the way of the loop.
    for (int64_t i = 0; i < data.length; ++i) visit(load(i));
    return;
  }
  const uint8_t* validity = data.buffers[0]->data();
  for (int64_t i = 0; i < data.length; ++i) {
    if (arrow::bit_util::GetBit(validity, data.offset + i)) visit(load(i));
  }
}

template <typename T>
void IntegerZone(const arrow::ArrayData& data, Zone* zone) {
  T low = std::numeric_limits<T>::max(), high = std::numeric_limits<T>::min();
  EachValue<T>(data, [&](T v) {
    low = std::min(low, v);
    high = std::max(high, v);
  });
  if (low > high) return;  // No value at all.
  zone->kind = std::is_signed_v<T> ? Zone::Kind::kInt64 : Zone::Kind::kUint64;
  zone->int_min = static_cast<int64_t>(low);
  zone->int_max = static_cast<int64_t>(high);
}

template <typename T, typename ToDouble>
void FloatZone(const arrow::ArrayData& data, const ToDouble& to_double, Zone* zone) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  bool any = false;
  EachValue<T>(data, [&](T raw) {
    const double v = to_double(raw);
    if (v != v) {
      zone->has_nan = true;
      return;
    }
    low = std::min(low, v);
    high = std::max(high, v);
    any = true;
  });
  if (!any) return;
  zone->kind = Zone::Kind::kDouble;
  zone->double_min = low;
  zone->double_max = high;
}

void BoolZone(const arrow::ArrayData& data, Zone* zone) {
  bool seen[2] = {false, false};
  for (int64_t i = 0; i < data.length; ++i) {
    if (data.MayHaveNulls() && data.buffers[0] && !arrow::bit_util::GetBit(data.buffers[0]->data(), data.offset + i)) continue;
    seen[arrow::bit_util::GetBit(data.buffers[1]->data(), data.offset + i) ? 1 : 0] = true;
  }
  if (!seen[0] && !seen[1]) return;
  zone->kind = Zone::Kind::kInt64;
  zone->int_min = seen[0] ? 0 : 1;
  zone->int_max = seen[1] ? 1 : 0;
}

struct Decimal128Bits {
  uint64_t low;
  int64_t high;
};

void DecimalZone(const arrow::ArrayData& data, Zone* zone) {
  int64_t low = std::numeric_limits<int64_t>::max(), high = std::numeric_limits<int64_t>::min();
  bool any = false, fits = true;
  EachValue<Decimal128Bits>(data, [&](const Decimal128Bits& v) {
    const auto value = static_cast<int64_t>(v.low);
    fits &= v.high == (value < 0 ? -1 : 0);
    low = std::min(low, value);
    high = std::max(high, value);
    any = true;
  });
  if (!any || !fits) return;
  zone->kind = Zone::Kind::kInt64;
  zone->int_min = low;
  zone->int_max = high;
}

/// Sets byte bounds, cut to kZoneBytesMax where a bound remains one.
void SetBytes(std::string_view low, std::string_view high, Zone* zone) {
  zone->kind = Zone::Kind::kBytes;
  zone->bytes_min = low.substr(0, kZoneBytesMax);
  zone->bytes_min_is_exact = low.size() <= kZoneBytesMax;
  zone->bytes_max = high;
  zone->bytes_max_is_exact = true;
  if (high.size() <= kZoneBytesMax) return;
  std::string cut(high.substr(0, kZoneBytesMax));
  while (!cut.empty() && static_cast<uint8_t>(cut.back()) == 0xFF) cut.pop_back();
  if (cut.empty()) return;  // Nothing is above a run of 0xFF but a longer one: the bound stays whole.
  cut.back() = static_cast<char>(static_cast<uint8_t>(cut.back()) + 1);
  zone->bytes_max = std::move(cut);
  zone->bytes_max_is_exact = false;
}

/// A value that orders as its first eight bytes do; what is shorter counts as padded with zeros.
uint64_t Head(std::string_view v) {
  uint64_t word = 0;
  if (v.size() >= sizeof word) {
    std::memcpy(&word, v.data(), sizeof word);
  } else if (!v.empty()) {
    std::memcpy(&word, v.data(), v.size());
  }
  return __builtin_bswap64(word);
}

void BytesZone(const ByteValues& values, Zone* zone) {
  std::string_view low, high, last;
  uint64_t low_head = 0, high_head = 0;
  bool any = false;
  for (int64_t i = 0; i < values.size(); ++i) {
    if (values.IsNull(i)) continue;
    const std::string_view v = values[i];
    const uint64_t head = Head(v);
    if (!any) {
      low = high = v;
      low_head = high_head = head;
      any = true;
    } else if (head < low_head || (head == low_head && v != last && v < low)) {
      low = v;
      low_head = head;
    } else if (head > high_head || (head == high_head && v != last && v > high)) {
      high = v;
      high_head = head;
    }
    last = v;
  }
  if (any) SetBytes(low, high, zone);
}

Status DictionaryZone(const arrow::ArrayData& data, Zone* zone) {
  SHEAF_ASSIGN_OR_RETURN(const std::vector<int64_t> used, UsedIndexes(data));
  const auto id = data.dictionary->type->storage_id();
  const std::optional<ByteValues> values = ByteValues::Of(*data.dictionary);
  const bool bytes = arrow::is_base_binary_like(id) || id == arrow::Type::FIXED_SIZE_BINARY;
  if (!values || !bytes || used.empty()) return Status::OK();
  std::optional<std::string_view> low, high;
  for (const int64_t i : used) {
    if (values->IsNull(i)) {
      zone->kind = Zone::Kind::kNone;
      return Status::OK();  // NULL as a dictionary's value: nobody writes that; say nothing about it.
    }
    const std::string_view v = (*values)[i];
    if (!low || v < *low) low = v;
    if (!high || v > *high) high = v;
  }
  SetBytes(*low, *high, zone);
  return Status::OK();
}

}  // namespace

Result<Zone> ComputeZone(const arrow::ArrayData& data) {
  Zone zone;
  zone.null_count = data.type->storage_id() == arrow::Type::NA ? data.length : data.GetNullCount();
  if (data.length == 0) return zone;
  using arrow::Type;
  switch (data.type->storage_id()) {
    case Type::BOOL: BoolZone(data, &zone); break;
    case Type::INT8: IntegerZone<int8_t>(data, &zone); break;
    case Type::INT16: IntegerZone<int16_t>(data, &zone); break;
    case Type::INT32:
    case Type::DATE32:
    case Type::TIME32: IntegerZone<int32_t>(data, &zone); break;
    case Type::INT64:
    case Type::DATE64:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION: IntegerZone<int64_t>(data, &zone); break;
    case Type::UINT8: IntegerZone<uint8_t>(data, &zone); break;
    case Type::UINT16: IntegerZone<uint16_t>(data, &zone); break;
    case Type::UINT32: IntegerZone<uint32_t>(data, &zone); break;
    case Type::UINT64: IntegerZone<uint64_t>(data, &zone); break;
    case Type::HALF_FLOAT:
      FloatZone<uint16_t>(data, [](uint16_t v) { return static_cast<double>(arrow::util::Float16::FromBits(v).ToFloat()); }, &zone);
      break;
    case Type::FLOAT: FloatZone<float>(data, [](float v) { return static_cast<double>(v); }, &zone); break;
    case Type::DOUBLE: FloatZone<double>(data, [](double v) { return v; }, &zone); break;
    case Type::DECIMAL128: DecimalZone(data, &zone); break;
    case Type::STRING:
    case Type::BINARY:
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
    case Type::FIXED_SIZE_BINARY: BytesZone(*ByteValues::Of(data), &zone); break;
    case Type::DICTIONARY: SHEAF_RETURN_NOT_OK(DictionaryZone(data, &zone)); break;
    default: break;
  }
  return zone;
}

void MergeZone(const Zone& other, int64_t other_rows, int64_t zone_rows, Zone* zone) {
  const bool zone_has_values = zone->null_count < zone_rows, other_has_values = other.null_count < other_rows;
  zone->null_count += other.null_count;
  zone->has_nan |= other.has_nan;
  if (!other_has_values) return;
  if (!zone_has_values) {
    const int64_t null_count = zone->null_count;
    const bool has_nan = zone->has_nan;
    *zone = other;
    zone->null_count = null_count;
    zone->has_nan = has_nan;
    return;
  }
  if (zone->kind != other.kind) {
    zone->kind = Zone::Kind::kNone;
    return;
  }
  switch (zone->kind) {
    case Zone::Kind::kInt64:
      zone->int_min = std::min(zone->int_min, other.int_min);
      zone->int_max = std::max(zone->int_max, other.int_max);
      break;
    case Zone::Kind::kUint64:
      zone->int_min = static_cast<int64_t>(std::min(static_cast<uint64_t>(zone->int_min), static_cast<uint64_t>(other.int_min)));
      zone->int_max = static_cast<int64_t>(std::max(static_cast<uint64_t>(zone->int_max), static_cast<uint64_t>(other.int_max)));
      break;
    case Zone::Kind::kDouble:
      zone->double_min = std::min(zone->double_min, other.double_min);
      zone->double_max = std::max(zone->double_max, other.double_max);
      break;
    case Zone::Kind::kBytes:
      if (other.bytes_min < zone->bytes_min) {
        zone->bytes_min = other.bytes_min;
        zone->bytes_min_is_exact = other.bytes_min_is_exact;
      } else if (other.bytes_min == zone->bytes_min) {
        zone->bytes_min_is_exact &= other.bytes_min_is_exact;
      }
      if (other.bytes_max > zone->bytes_max) {
        zone->bytes_max = other.bytes_max;
        zone->bytes_max_is_exact = other.bytes_max_is_exact;
      } else if (other.bytes_max == zone->bytes_max) {
        zone->bytes_max_is_exact |= other.bytes_max_is_exact;
      }
      break;
    case Zone::Kind::kNone: break;
  }
}

}  // namespace sheaf::columns
