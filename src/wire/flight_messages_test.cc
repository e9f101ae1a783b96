#include "wire/flight_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/flight_sql_messages.h"
#include "wire/protobuf_writer.h"

namespace sheaf::wire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

/// Builds a message field by field.
class Message {
 public:
  Message& Bytes(uint32_t field, std::string_view bytes) {
    ProtobufWriter(&bytes_).Bytes(field, bytes);
    return *this;
  }
  Message& Number(uint32_t field, uint64_t number) {
    ProtobufWriter(&bytes_).Varint(field, number);
    return *this;
  }
  operator std::string() const { return bytes_; }

 private:
  std::string bytes_;
};

TEST(FlightMessagesTest, DescriptorsArePathsOrCommands) {
  const std::vector<std::string> names = {"otel", "traces"};
  const auto path = ReadFlightDescriptor(EncodeFlightPath(names)).ValueOrDie();
  EXPECT_EQ(path.kind, FlightDescriptor::Kind::kPath);
  EXPECT_EQ(path.path, names);
  const auto command = ReadFlightDescriptor(std::string(Message().Number(1, 2).Bytes(2, "SELECT 1"))).ValueOrDie();
  EXPECT_EQ(command.kind, FlightDescriptor::Kind::kCommand);
  EXPECT_EQ(command.command, "SELECT 1");
  EXPECT_EQ(ReadFlightDescriptor(std::string(Message().Number(1, 77))).ValueOrDie().kind, FlightDescriptor::Kind::kUnknown);
}

TEST(FlightMessagesTest, LongListsAreRefused) {
  const std::vector<std::string> names(kFlightPathNamesMax + 1, "x");
  EXPECT_THAT(ReadFlightDescriptor(EncodeFlightPath(names)).status().message(), HasSubstr("16 names"));
  FlightInfo info;
  info.tickets.assign(kFlightEndpointsMax + 1, "t");
  EXPECT_EQ(KindOf(ReadFlightTickets(EncodeFlightInfo(info)).status()), ErrorKind::kInvalid);
  Message types;
  for (size_t i = 0; i <= kFlightSqlListMax; ++i) types.Bytes(4, "TABLE");
  EXPECT_EQ(KindOf(ReadFlightSqlTables(std::string(types)).status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(ReadSqlInfoNumbers(std::string(Message().Bytes(1, std::string(kFlightSqlListMax + 1, '\1')))).status()),
            ErrorKind::kInvalid);
}

TEST(FlightMessagesTest, InfosGiveTheirTicketsBack) {
  FlightInfo info;
  info.schema = "schema";
  info.tickets = {"first", std::string("\0second", 7)};
  info.rows = -1;
  EXPECT_THAT(ReadFlightTickets(EncodeFlightInfo(info)).ValueOrDie(), ElementsAre("first", std::string("\0second", 7)));
}

TEST(FlightMessagesTest, DataHasItsBodyLast) {
  std::string bytes;
  BeginFlightData("header", "mine", 4, &bytes);
  bytes += "body";
  const FlightData data = ReadFlightData(bytes).ValueOrDie();
  EXPECT_EQ(data.header, "header");
  EXPECT_EQ(data.metadata, "mine");
  EXPECT_EQ(data.body, "body");
  EXPECT_EQ(bytes.substr(bytes.size() - 7, 3), std::string("\xC2\x3E\x04")) << "field 1000";
  bytes.pop_back();
  EXPECT_EQ(KindOf(ReadFlightData(bytes).status()), ErrorKind::kInvalid);
}

TEST(FlightMessagesTest, SessionOptionsOfEveryTypeAreTexts) {
  const auto entry = [](const char* name, const Message& value) { return Message().Bytes(1, name).Bytes(2, std::string(value)); };
  std::string number;
  ProtobufWriter(&number).Fixed64(3, static_cast<uint64_t>(int64_t{-5}));
  const std::string request = Message()
                                  .Bytes(1, std::string(entry("schema", Message().Bytes(1, "otel"))))
                                  .Bytes(1, std::string(entry("flag", Message().Number(2, 1))))
                                  .Bytes(1, std::string(Message().Bytes(1, "number").Bytes(2, number)));
  EXPECT_THAT(ReadSessionOptions(request).ValueOrDie(),
              ElementsAre(Pair("schema", "otel"), Pair("flag", "true"), Pair("number", "-5")));
  EXPECT_THAT(ReadSessionOptions(EncodeSessionOptions({{"catalog", "c"}})).ValueOrDie(), ElementsAre(Pair("catalog", "c")));
}

TEST(FlightMessagesTest, SessionOptionsHaveLimits) {
  EXPECT_TRUE(ReadSessionOptions(EncodeSessionOptions(SessionOptions(kSessionOptionsMax))).ok());
  EXPECT_EQ(KindOf(ReadSessionOptions(EncodeSessionOptions(SessionOptions(kSessionOptionsMax + 1))).status()), ErrorKind::kTooLarge);
  const std::string large(kSessionOptionBytesMax + 1, 'x');
  EXPECT_EQ(KindOf(ReadSessionOptions(EncodeSessionOptions({{large, ""}})).status()), ErrorKind::kTooLarge);
  EXPECT_EQ(KindOf(ReadSessionOptions(EncodeSessionOptions({{"schema", large}})).status()), ErrorKind::kTooLarge);
}

TEST(FlightSqlMessagesTest, AnyNamesWhatItHolds) {
  const std::string any = EncodeFlightSqlAny("CommandStatementQuery", std::string(Message().Bytes(1, "SELECT 1")));
  const auto message = ReadFlightSqlAny(any);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->name, "CommandStatementQuery");
  const auto statement = ReadFlightSqlStatement(message->value).ValueOrDie();
  EXPECT_EQ(statement.text, "SELECT 1");
  EXPECT_FALSE(statement.in_transaction);
  EXPECT_TRUE(ReadFlightSqlStatement(std::string(Message().Bytes(1, "x").Bytes(2, "id"))).ValueOrDie().in_transaction);
  EXPECT_FALSE(ReadFlightSqlAny("SELECT 1"));
  EXPECT_FALSE(ReadFlightSqlAny(""));
  EXPECT_FALSE(ReadFlightSqlAny(std::string(Message().Bytes(1, "type.googleapis.com/google.protobuf.Empty"))));
}

TEST(FlightSqlMessagesTest, AbsentAndEmptyNamesAreToldApart) {
  const auto all = ReadFlightSqlTables("").ValueOrDie();
  EXPECT_FALSE(all.catalog || all.schema_pattern || all.table_pattern || all.include_schema);
  const auto some =
      ReadFlightSqlTables(std::string(Message().Bytes(1, "").Bytes(2, "o%").Bytes(4, "VIEW").Number(5, 1))).ValueOrDie();
  EXPECT_EQ(some.catalog, "");
  EXPECT_EQ(some.schema_pattern, "o%");
  EXPECT_THAT(some.types, ElementsAre("VIEW"));
  EXPECT_TRUE(some.include_schema);
  const auto table = ReadFlightSqlTable(std::string(Message().Bytes(3, "orders"))).ValueOrDie();
  EXPECT_EQ(table.table, "orders");
  EXPECT_FALSE(table.schema);
}

TEST(FlightSqlMessagesTest, IngestSaysWhatToDoWithTheTable) {
  const std::string options = Message().Number(1, 1).Number(2, 3);
  const auto ingest = ReadFlightSqlIngest(std::string(Message()
                                                          .Bytes(1, options)
                                                          .Bytes(2, "t")
                                                          .Bytes(3, "s")
                                                          .Number(5, 1)
                                                          .Bytes(1000, std::string(Message().Bytes(1, "k").Bytes(2, "v")))))
                          .ValueOrDie();
  EXPECT_EQ(ingest.if_missing, FlightSqlIngest::IfMissing::kCreate);
  EXPECT_EQ(ingest.if_there, FlightSqlIngest::IfThere::kReplace);
  EXPECT_EQ(ingest.target.table, "t");
  EXPECT_EQ(ingest.target.schema, "s");
  EXPECT_FALSE(ingest.target.catalog);
  EXPECT_TRUE(ingest.temporary);
  EXPECT_THAT(ingest.options, ElementsAre(Pair("k", "v")));
  EXPECT_EQ(ReadFlightSqlIngest(std::string(Message().Bytes(1, std::string(Message().Number(1, 99))))).ValueOrDie().if_missing,
            FlightSqlIngest::IfMissing::kUnspecified);
}

TEST(FlightSqlMessagesTest, NumbersComePackedOrNot) {
  EXPECT_THAT(ReadSqlInfoNumbers(std::string(Message().Number(1, 8).Number(1, 500))).ValueOrDie(), ElementsAre(8, 500));
  EXPECT_THAT(ReadSqlInfoNumbers(std::string(Message().Bytes(1, "\x08\xF4\x03"))).ValueOrDie(), ElementsAre(8, 500));
  EXPECT_EQ(KindOf(ReadSqlInfoNumbers(std::string(Message().Bytes(1, "\xF4"))).status()), ErrorKind::kInvalid);
  EXPECT_EQ(ReadXdbcType(std::string(Message().Number(1, static_cast<uint64_t>(int64_t{-5})))).ValueOrDie(), -5);
  EXPECT_FALSE(ReadXdbcType("").ValueOrDie());
}

TEST(FlightMessagesTest, WhatIsCutOffIsRefusedWhereverThatIs) {
  const std::string whole =
      EncodeFlightSqlAny("CommandStatementIngest", std::string(Message().Bytes(2, "table").Bytes(3, "schema")));
  const std::string_view value = ReadFlightSqlAny(whole)->value;
  for (size_t size = 1; size < value.size(); ++size) {
    if (size == 7) continue;  // Between two fields.
    EXPECT_FALSE(ReadFlightSqlIngest(value.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace sheaf::wire
