/// Messages of Arrow Flight SQL: commands, tickets and actions, which travel inside Flight's, each in a google.protobuf.Any.
/// Names and field numbers are those of Arrow's format/FlightSql.proto.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/status.h"

namespace sheaf::wire {

/// What an Any holds. Borrows.
struct FlightSqlMessage {
  std::string_view name;   // "CommandStatementQuery"
  std::string_view value;  // To be read by the Read… of that name.
};

/// Nothing where `any` is no Any that holds a message of Flight SQL.
std::optional<FlightSqlMessage> ReadFlightSqlAny(std::string_view any);
std::string EncodeFlightSqlAny(std::string_view name, std::string_view value);

/// A statement's text, or the handle of a prepared one. Of CommandStatementQuery and …Update, CommandPreparedStatementQuery and
/// …Update, TicketStatementQuery, ActionCreatePreparedStatementRequest, ActionClosePreparedStatementRequest.
struct FlightSqlStatement {
  std::string text;
  bool in_transaction = false;  // It names one.
};

/// Of CommandGetDbSchemas and CommandGetTables. Patterns are those of LIKE.
struct FlightSqlTables {
  std::optional<std::string> catalog, schema_pattern, table_pattern;
  std::vector<std::string> types;
  bool include_schema = false;
};

/// Of CommandGetPrimaryKeys.
struct FlightSqlTable {
  std::optional<std::string> catalog, schema;
  std::string table;
};

/// Of CommandStatementIngest.
struct FlightSqlIngest {
  enum class IfMissing : uint8_t { kUnspecified = 0, kCreate = 1, kFail = 2 };
  enum class IfThere : uint8_t { kUnspecified = 0, kFail = 1, kAppend = 2, kReplace = 3 };
  IfMissing if_missing = IfMissing::kUnspecified;
  IfThere if_there = IfThere::kUnspecified;
  FlightSqlTable target;
  bool temporary = false, in_transaction = false;
  std::vector<std::pair<std::string, std::string>> options;
};

inline constexpr size_t kFlightSqlListMax = 4096;  // Entries of the lists of these messages.

/// Errors of all of these: Invalid (malformed, or too long a list).
Result<FlightSqlStatement> ReadFlightSqlStatement(std::string_view value);
Result<FlightSqlTables> ReadFlightSqlTables(std::string_view value);
Result<FlightSqlTable> ReadFlightSqlTable(std::string_view value);
Result<FlightSqlIngest> ReadFlightSqlIngest(std::string_view value);
/// Of CommandGetSqlInfo: which are asked for; empty: all.
Result<std::vector<uint32_t>> ReadSqlInfoNumbers(std::string_view value);
/// Of CommandGetXdbcTypeInfo.
Result<std::optional<int32_t>> ReadXdbcType(std::string_view value);

/// An ActionCreatePreparedStatementResult, in its Any. Schemas are IPC messages; empty: no rows, no parameters.
std::string EncodePreparedStatement(std::string_view handle, std::string_view result_schema, std::string_view parameter_schema);

}  // namespace sheaf::wire
