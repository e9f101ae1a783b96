#include "wire/flight_sql_messages.h"

#include <algorithm>
#include <limits>

#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::wire {
namespace {

constexpr std::string_view kPackage = "arrow.flight.protocol.sql.";
constexpr std::string_view kTypePrefix = "type.googleapis.com/";

Status Malformed(const char* message) {
  return MakeError(ErrorKind::kInvalid, "the {} is no well-formed protobuf message", message);
}
Status TooMany(const char* what) { return MakeError(ErrorKind::kInvalid, "more than {} {}", kFlightSqlListMax, what); }

Status ReadIngestOptions(std::string_view message, FlightSqlIngest* ingest) {
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint):
        if (const uint64_t value = reader.Varint(); value <= 2)
          ingest->if_missing = static_cast<FlightSqlIngest::IfMissing>(value);
        break;
      case Tag(2, WireType::kVarint):
        if (const uint64_t value = reader.Varint(); value <= 3) ingest->if_there = static_cast<FlightSqlIngest::IfThere>(value);
        break;
      default: reader.Skip();
    }
  }
  return reader.ok() ? Status::OK() : Malformed("TableDefinitionOptions");
}

Status ReadIngestOption(std::string_view message, FlightSqlIngest* ingest) {
  if (ingest->options.size() == kFlightSqlListMax) return TooMany("options");
  auto& [name, value] = ingest->options.emplace_back();
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): name = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): value = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  return reader.ok() ? Status::OK() : Malformed("option");
}

}  // namespace

std::optional<FlightSqlMessage> ReadFlightSqlAny(std::string_view any) {
  std::string_view type, value;
  ProtobufReader reader(any);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): type = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): value = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return std::nullopt;
  const size_t slash = type.rfind('/');  // What stands before it does not count.
  if (slash == std::string_view::npos) return std::nullopt;
  type.remove_prefix(slash + 1);
  if (!type.starts_with(kPackage)) return std::nullopt;
  return FlightSqlMessage{type.substr(kPackage.size()), value};
}

std::string EncodeFlightSqlAny(std::string_view name, std::string_view value) {
  std::string out;
  ProtobufWriter writer(&out);
  const size_t type = writer.Open(1);
  writer.Raw(kTypePrefix);
  writer.Raw(kPackage);
  writer.Raw(name);
  writer.Close(type);
  writer.Bytes(2, value);
  return out;
}

Result<FlightSqlStatement> ReadFlightSqlStatement(std::string_view value) {
  FlightSqlStatement statement;
  ProtobufReader reader(value);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): statement.text = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): statement.in_transaction = !reader.Bytes().empty(); break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("statement");
  return statement;
}

Result<FlightSqlTables> ReadFlightSqlTables(std::string_view value) {
  FlightSqlTables tables;
  ProtobufReader reader(value);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): tables.catalog = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): tables.schema_pattern = reader.Bytes(); break;
      case Tag(3, WireType::kBytes): tables.table_pattern = reader.Bytes(); break;
      case Tag(4, WireType::kBytes):
        if (tables.types.size() == kFlightSqlListMax) return TooMany("table types");
        tables.types.emplace_back(reader.Bytes());
        break;
      case Tag(5, WireType::kVarint): tables.include_schema = reader.Varint() != 0; break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("question for tables");
  return tables;
}

Result<FlightSqlTable> ReadFlightSqlTable(std::string_view value) {
  FlightSqlTable table;
  ProtobufReader reader(value);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): table.catalog = reader.Bytes(); break;
      case Tag(2, WireType::kBytes): table.schema = reader.Bytes(); break;
      case Tag(3, WireType::kBytes): table.table = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("question for a table's keys");
  return table;
}

Result<FlightSqlIngest> ReadFlightSqlIngest(std::string_view value) {
  FlightSqlIngest ingest;
  ProtobufReader reader(value);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes): SHEAF_RETURN_NOT_OK(ReadIngestOptions(reader.Bytes(), &ingest)); break;
      case Tag(2, WireType::kBytes): ingest.target.table = reader.Bytes(); break;
      case Tag(3, WireType::kBytes): ingest.target.schema = reader.Bytes(); break;
      case Tag(4, WireType::kBytes): ingest.target.catalog = reader.Bytes(); break;
      case Tag(5, WireType::kVarint): ingest.temporary = reader.Varint() != 0; break;
      case Tag(6, WireType::kBytes): ingest.in_transaction = !reader.Bytes().empty(); break;
      case Tag(1000, WireType::kBytes): SHEAF_RETURN_NOT_OK(ReadIngestOption(reader.Bytes(), &ingest)); break;
      default: reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("CommandStatementIngest");
  return ingest;
}

Result<std::vector<uint32_t>> ReadSqlInfoNumbers(std::string_view value) {
  std::vector<uint32_t> numbers;
  const auto add = [&numbers](uint64_t number) {
    if (numbers.size() == kFlightSqlListMax) return false;
    numbers.push_back(static_cast<uint32_t>(std::min<uint64_t>(number, std::numeric_limits<uint32_t>::max())));
    return true;
  };
  bool ok = true;
  ProtobufReader reader(value);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint):
        if (!add(reader.Varint())) return TooMany("numbers");
        break;
      case Tag(1, WireType::kBytes): {
        PackedReader run(reader.Bytes());
        for (uint64_t number = 0; run.NextVarint(&number);) {
          if (!add(number)) return TooMany("numbers");
        }
        ok &= run.ok();
        break;
      }
      default: reader.Skip();
    }
  }
  if (!ok || !reader.ok()) return Malformed("CommandGetSqlInfo");
  return numbers;
}

Result<std::optional<int32_t>> ReadXdbcType(std::string_view value) {
  std::optional<int32_t> type;
  ProtobufReader reader(value);
  while (reader.Next()) {
    if (reader.tag() == Tag(1, WireType::kVarint)) {
      type = static_cast<int32_t>(reader.Varint());
    } else {
      reader.Skip();
    }
  }
  if (!reader.ok()) return Malformed("CommandGetXdbcTypeInfo");
  return type;
}

std::string EncodePreparedStatement(std::string_view handle, std::string_view result_schema, std::string_view parameter_schema) {
  std::string value;
  ProtobufWriter writer(&value);
  writer.Bytes(1, handle);
  if (!result_schema.empty()) writer.Bytes(2, result_schema);
  if (!parameter_schema.empty()) writer.Bytes(3, parameter_schema);
  return EncodeFlightSqlAny("ActionCreatePreparedStatementResult", value);
}

}  // namespace sheaf::wire
