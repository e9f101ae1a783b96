#include "query/id_types.h"

#include <cstring>

#include "duckdb/common/operator/cast_operators.hpp"

namespace sheaf::query {

namespace {

constexpr uint64_t kSignBit = uint64_t{1} << 63;  // DuckDB stores a UUID with its top bit flipped.
constexpr char kHexDigits[] = "0123456789abcdef";
constexpr int64_t kFromTextCost = 1;    // Cheaper than any other cast of a text literal, so that it is the one chosen.
constexpr int64_t kToNumberCost = 10'000;
constexpr int64_t kToTextCost = 150;    // Dearer: `id = text` compares as ids, not as text.

uint64_t LoadBigEndian(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, 8);
  return __builtin_bswap64(value);
}

void StoreBigEndian(uint64_t value, uint8_t* bytes) {
  value = __builtin_bswap64(value);
  std::memcpy(bytes, &value, 8);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Reads exactly `digits` hex digits; 32 of them may be written with the dashes of a UUID.
bool ParseHex(std::string_view text, int digits, uint64_t* high, uint64_t* low) {
  *high = *low = 0;
  int seen = 0;
  for (char c : text) {
    if (c == '-' && digits == 32) continue;
    const int digit = HexDigit(c);
    if (digit < 0 || ++seen > digits) return false;
    *high = *high << 4 | *low >> 60;
    *low = *low << 4 | static_cast<uint64_t>(digit);
  }
  return seen == digits;
}

void FormatHex(uint64_t value, char* out) {
  for (int i = 15; i >= 0; --i, value >>= 4) out[i] = kHexDigits[value & 15];
}

template <typename T, int kDigits>
T FromWords(uint64_t high, uint64_t low) {
  if constexpr (kDigits == 32) {
    duckdb::hugeint_t id;
    id.upper = static_cast<int64_t>(high ^ kSignBit);
    id.lower = low;
    return id;
  } else {
    return low;
  }
}

template <typename T, int kDigits>
bool TextToId(duckdb::Vector& source, duckdb::Vector& result, duckdb::idx_t count, duckdb::CastParameters& parameters) {
  bool all_converted = true;
  duckdb::UnaryExecutor::ExecuteWithNulls<duckdb::string_t, T>(
      source, result, count, [&](duckdb::string_t text, duckdb::ValidityMask& mask, duckdb::idx_t row) -> T {
        uint64_t high, low;
        if (ParseHex({text.GetData(), text.GetSize()}, kDigits, &high, &low)) return FromWords<T, kDigits>(high, low);
        auto message = duckdb::StringUtil::Format("'%s' is not a %s: %d hex digits are expected", text.GetString(),
                                                  kDigits == 32 ? "trace id" : "span id", kDigits);
        duckdb::HandleCastError::AssignError(message, parameters);
        mask.SetInvalid(row);
        all_converted = false;
        return T();
      });
  return all_converted;
}

void FormatId(duckdb::hugeint_t id, char* out) {
  FormatHex(static_cast<uint64_t>(id.upper) ^ kSignBit, out);
  FormatHex(id.lower, out + 16);
}
void FormatId(uint64_t id, char* out) { FormatHex(id, out); }

template <typename T, int kDigits>
bool IdToText(duckdb::Vector& source, duckdb::Vector& result, duckdb::idx_t count, duckdb::CastParameters&) {
  duckdb::UnaryExecutor::Execute<T, duckdb::string_t>(source, result, count, [&](T id) {
    char text[kDigits];
    FormatId(id, text);
    return duckdb::StringVector::AddString(result, text, kDigits);
  });
  return true;
}

/// Lets SUMMARIZE, which averages whatever is stored as a number, get over a span id.
bool SpanIdToDouble(duckdb::Vector& source, duckdb::Vector& result, duckdb::idx_t count, duckdb::CastParameters&) {
  duckdb::UnaryExecutor::Execute<uint64_t, double>(source, result, count, [](uint64_t id) { return static_cast<double>(id); });
  return true;
}

/// trace_id_prefix(id, n): the first n hex digits, for sampling and sharding by prefix.
void TraceIdPrefix(duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::BinaryExecutor::Execute<duckdb::hugeint_t, int32_t, duckdb::string_t>(
      arguments.data[0], arguments.data[1], result, arguments.size(), [&](duckdb::hugeint_t id, int32_t digits) {
        if (digits < 0 || digits > 32) {
          throw duckdb::InvalidInputException("trace_id_prefix: n is %d, but must be from 0 to 32", digits);
        }
        char text[32];
        FormatId(id, text);
        return duckdb::StringVector::AddString(result, text, static_cast<duckdb::idx_t>(digits));
      });
}

}  // namespace

duckdb::LogicalType TraceIdType() {
  static const duckdb::LogicalType type = [] {
    duckdb::LogicalType made(duckdb::LogicalTypeId::UUID);
    made.SetAlias("TRACE_ID");
    return made;
  }();
  return type;
}

duckdb::LogicalType SpanIdType() {
  static const duckdb::LogicalType type = [] {
    duckdb::LogicalType made(duckdb::LogicalTypeId::UBIGINT);
    made.SetAlias("SPAN_ID");
    return made;
  }();
  return type;
}

bool IsTraceId(const duckdb::LogicalType& type) {
  return type.id() == duckdb::LogicalTypeId::UUID && type.HasAlias() && type.GetAlias() == "TRACE_ID";
}
bool IsSpanId(const duckdb::LogicalType& type) {
  return type.id() == duckdb::LogicalTypeId::UBIGINT && type.HasAlias() && type.GetAlias() == "SPAN_ID";
}

duckdb::hugeint_t TraceIdFromBytes(const uint8_t* bytes) {
  return FromWords<duckdb::hugeint_t, 32>(LoadBigEndian(bytes), LoadBigEndian(bytes + 8));
}
uint64_t SpanIdFromBytes(const uint8_t* bytes) { return LoadBigEndian(bytes); }
void TraceIdToBytes(duckdb::hugeint_t id, uint8_t* bytes) {
  StoreBigEndian(static_cast<uint64_t>(id.upper) ^ kSignBit, bytes);
  StoreBigEndian(id.lower, bytes + 8);
}
void SpanIdToBytes(uint64_t id, uint8_t* bytes) { StoreBigEndian(id, bytes); }

void RegisterIdTypes(duckdb::ExtensionLoader* loader) {
  using duckdb::BoundCastInfo;
  const duckdb::LogicalType text = duckdb::LogicalType::VARCHAR;
  loader->RegisterType("TRACE_ID", TraceIdType());
  loader->RegisterType("SPAN_ID", SpanIdType());
  loader->RegisterCastFunction(text, TraceIdType(), BoundCastInfo(TextToId<duckdb::hugeint_t, 32>), kFromTextCost);
  loader->RegisterCastFunction(text, SpanIdType(), BoundCastInfo(TextToId<uint64_t, 16>), kFromTextCost);
  loader->RegisterCastFunction(TraceIdType(), text, BoundCastInfo(IdToText<duckdb::hugeint_t, 32>), kToTextCost);
  loader->RegisterCastFunction(SpanIdType(), text, BoundCastInfo(IdToText<uint64_t, 16>), kToTextCost);
  for (const auto& [plain, id] : {std::pair{duckdb::LogicalType(duckdb::LogicalTypeId::UUID), TraceIdType()},
                                  std::pair{duckdb::LogicalType(duckdb::LogicalTypeId::UBIGINT), SpanIdType()}}) {
    loader->RegisterCastFunction(plain, id, BoundCastInfo(duckdb::DefaultCasts::ReinterpretCast), kToTextCost);
    loader->RegisterCastFunction(id, plain, BoundCastInfo(duckdb::DefaultCasts::ReinterpretCast), kToTextCost);
  }
  loader->RegisterCastFunction(SpanIdType(), duckdb::LogicalType::DOUBLE, BoundCastInfo(SpanIdToDouble), kToNumberCost);
  loader->RegisterFunction(duckdb::ScalarFunction("trace_id_prefix", {TraceIdType(), duckdb::LogicalType::INTEGER}, text,
                                                  TraceIdPrefix));
}

}  // namespace sheaf::query
