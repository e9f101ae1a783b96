/// The SQL types TRACE_ID (an alias of UUID) and SPAN_ID (an alias of UBIGINT): 16 and 8 bytes whose
/// text is lower-case hex. Text literals, parameters and columns compare with them as they are; the
/// big-endian bytes of an id order like its number, so range and equality prune on the stored bytes.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "query/duckdb_headers.h"

namespace sheaf::query {

duckdb::LogicalType TraceIdType();
duckdb::LogicalType SpanIdType();
bool IsTraceId(const duckdb::LogicalType& type);
bool IsSpanId(const duckdb::LogicalType& type);

/// The number that stands for `bytes` (16 or 8 of them, big-endian) in a vector of the type, and back.
duckdb::hugeint_t TraceIdFromBytes(const uint8_t* bytes);
uint64_t SpanIdFromBytes(const uint8_t* bytes);
void TraceIdToBytes(duckdb::hugeint_t id, uint8_t* bytes);
void SpanIdToBytes(uint64_t id, uint8_t* bytes);

/// Registers the types, their casts from and to text, and `trace_id_prefix(id, n)`.
void RegisterIdTypes(duckdb::ExtensionLoader* loader);

}  // namespace sheaf::query
