/// Files and log entries that are sound as such, but say what no program has written: definitions and extra settings of a manifest,
/// batch ids, changes of tables. More: table_change_test.cc, manifest_extra_test.cc.

#include "store/table_record.h"

#include <memory>
#include <span>
#include <string>

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/crc32c.h"
#include "store/batch_id_file.h"
#include "store/batch_ids.h"
#include "store/definition_log.h"
#include "store/manifest_extra.h"
#include "store/ready_tables.h"
#include "store/table_change.h"

namespace sheaf::store {
namespace {

using nlohmann::json;

parts::TableRecord Record(bool keyed) {
  NewTable table;
  table.schema_name = "main";
  table.name = "t";
  table.schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO)),
                                arrow::field("word", arrow::utf8())});
  if (keyed) table.primary_key = {"id"};
  table.settings = {.retention_ms = 5, .filters = {"word"}, .time_column = "time"};
  return ToRecord(MakeTable(table).ValueOrDie()).ValueOrDie();
}

/// Values as a record has them: `rows` rows, in batches unless none are wanted.
std::string Values(const std::string& column, const std::shared_ptr<arrow::DataType>& type, int64_t rows, bool batch = true) {
  const auto schema = arrow::schema({arrow::field(column, type)});
  const auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto writer = arrow::ipc::MakeStreamWriter(sink, schema).ValueOrDie();
  if (batch) {
    const auto array = arrow::MakeArrayOfNull(type, rows).ValueOrDie();
    EXPECT_TRUE(writer->WriteRecordBatch(*arrow::RecordBatch::Make(schema, rows, {array})).ok());
  }
  EXPECT_TRUE(writer->Close().ok());
  return arrow::util::base64_encode(std::string_view(*sink->Finish().ValueOrDie()));
}

TEST(TableRecordSettings, EachThatMakesNoSenseIsCorruptionAndNamed) {
  struct Case {
    const char* key;
    json value;
  };
  const Case cases[] = {
      {"time", "nix"}, {"time", 7}, {"trace", "nix"}, {"service", json::array()}, {"parent", true},
      {"sort", "time"}, {"sort", {"nix"}}, {"sort", {1, 2}}, {"filters", {{"word", 1}}}, {"key", 5}, {"cluster_traces", 1},
      {"cluster_traces", nullptr}, {"granule_rows", "many"}, {"granule_rows", 1.5}, {"retention_ms", "5"}, {"next_column_id", false},
      {"since", "x"}, {"durability", "maybe"}, {"durability", 1}, {"defaults", 7}, {"defaults", "AAAA"}, {"defaults", "?"}, {"fills", "?"},
      {"defaults", Values("0", arrow::int64(), 2)}, {"defaults", Values("0", arrow::int64(), 0)},
      {"defaults", Values("0", arrow::int64(), 0, /*batch=*/false)}, {"fills", Values("3", arrow::int64(), 1)},
      {"fills", Values("x", arrow::int64(), 1)}, {"fills", Values("-1", arrow::int64(), 1)}, {"fills", Values("0", arrow::int8(), 1)},
      {"history", {1}}, {"history", {{{"since", 0}, {"schema", ""}}}}, {"history", {{{"version", 1}, {"since", -1}, {"schema", ""}}}},
      {"history", {{{"version", 1}, {"since", 0}, {"schema", 7}}}}, {"history", {{{"version", 1}, {"since", 0}, {"schema", "?"}}}},
      {"history", {{{"version", 1}, {"since", 0}, {"schema", "AAAA"}}}}};
  for (const Case& one : cases) {
    parts::TableRecord record = Record(/*keyed=*/true);
    json settings = json::parse(record.settings_json);
    settings[one.key] = one.value;
    record.settings_json = settings.dump();
    const auto read = FromRecord(record);
    ASSERT_FALSE(read.ok()) << one.key << one.value;
    EXPECT_EQ(KindOf(read.status()), ErrorKind::kCorruption) << read.status().ToString();
    EXPECT_NE(read.status().message().find(fmt::format("setting '{}' of main.t", one.key)), std::string::npos) << read.status().ToString();
  }
}

TEST(TableRecordSettings, AnyMayBeMissing) {
  const parts::TableRecord whole = Record(/*keyed=*/false);
  const json settings = json::parse(whole.settings_json);
  for (const auto& [key, value] : settings.items()) {
    parts::TableRecord record = whole;
    json less = settings;
    less.erase(key);
    record.settings_json = less.dump();
    EXPECT_TRUE(FromRecord(record).ok()) << key;
  }
  parts::TableRecord none = whole;
  none.settings_json = "{}";
  const TableInfo table = FromRecord(none).ValueOrDie();
  EXPECT_EQ(table.layout.time_column, -1);
  EXPECT_FALSE(table.retention_ms.has_value());
  EXPECT_TRUE(table.layout.filter_columns.empty());
}

TEST(TableRecordSettings, KindAndKeyGoTogether) {
  for (const bool keyed : {true, false}) {
    parts::TableRecord record = Record(keyed);
    json settings = json::parse(record.settings_json);
    settings["kind"] = keyed ? "append" : "keyed";
    record.settings_json = settings.dump();
    EXPECT_EQ(KindOf(FromRecord(record).status()), ErrorKind::kCorruption);
  }
  parts::TableRecord record = Record(/*keyed=*/true);
  json settings = json::parse(record.settings_json);
  settings["key"] = {"id", "id", "id"};
  settings["key"].push_back("time");
  record.settings_json = settings.dump();
  const auto read = FromRecord(record);
  EXPECT_TRUE(read.ok() || KindOf(read.status()) == ErrorKind::kCorruption) << read.status().ToString();
}

TEST(TableRecordSettings, WhatIsNoSchemaOrNoJsonIsCorruption) {
  parts::TableRecord record = Record(/*keyed=*/false);
  record.settings_json = "[]";
  EXPECT_EQ(KindOf(FromRecord(record).status()), ErrorKind::kCorruption);
  record.settings_json = "{";
  EXPECT_EQ(KindOf(TableOf(record).status()), ErrorKind::kCorruption);
  record = Record(/*keyed=*/false);
  record.arrow_schema = "nothing";
  EXPECT_EQ(KindOf(FromRecord(record).status()), ErrorKind::kCorruption);
}

TEST(TableRecordSettings, ATelemetryTableWithOtherColumnsIsOfAnotherVersion) {
  TableInfo logs = *FindReadyTable("otel", "logs");
  EXPECT_EQ(TableOf(ToRecord(logs).ValueOrDie()).ValueOrDie()->schema, FindReadyTable("otel", "logs")->schema);
  logs.schema = logs.schema->AddField(logs.schema->num_fields(), arrow::field("more", arrow::int8())).ValueOrDie();
  EXPECT_EQ(KindOf(TableOf(ToRecord(logs).ValueOrDie()).status()), ErrorKind::kUnsupported);
  parts::TableRecord own = Record(/*keyed=*/false);
  own.schema_name = "otel";
  EXPECT_TRUE(TableOf(own).ok()) << "of that schema, but none that this program has";
}

TEST(ManifestExtraSettings, EachThatMakesNoSenseIsCorruptionAndNamed) {
  struct Case {
    const char *key, *value;
  };
  const Case cases[] = {{"sealed", "[1]"}, {"sealed", R"({"":1})"}, {"sealed", R"({"1x":1})"}, {"dropped", R"({"1":"2"})"},
                        {"batch_ids", "{}"}, {"batch_ids", "[7]"}, {"batch_ids", R"(["x-1"])"}, {"batch_ids", R"(["ids-/"])"},
                        {"damaged", "[]"}, {"damaged", R"({"x":"why"})"}, {"damaged", R"({"1":2})"}, {"damaged", R"({"":"why"})"},
                        {"unlogged", "7"}, {"unlogged", "[7]"}, {"unlogged", R"([{"table":1,"dropped":1}])"},
                        {"unlogged", R"([{"number":1,"dropped":1}])"}, {"unlogged", R"([{"number":1,"table":1}])"},
                        {"unlogged", R"([{"number":1,"table":-1,"dropped":1}])"}, {"retention_clock_ns", "1.5"}, {"definitions", "-1"}};
  for (const Case& one : cases) {
    parts::ManifestState state;
    state.extra_json = fmt::format(R"({{"{}":{}}})", one.key, one.value);
    const auto extra = ReadExtra(state);
    ASSERT_FALSE(extra.ok()) << state.extra_json;
    EXPECT_EQ(KindOf(extra.status()), ErrorKind::kCorruption);
    EXPECT_NE(extra.status().message().find(fmt::format("'{}'", one.key)), std::string::npos) << extra.status().ToString();
  }
  parts::ManifestState state;
  state.extra_json = R"({"damaged":{"7":"why"}})";
  EXPECT_TRUE(ReadExtra(state).ok());
}

/// With the checksum that it should have.
std::string Summed(std::string bytes) {
  const uint32_t crc = Crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  return bytes;
}

TEST(BatchIdFile, EachWayToBeWrongIsTold) {
  const std::string whole = EncodeBatchIds({{"one", Lsn(1), 10}, {"two", Lsn(2), 20}});
  EXPECT_EQ(DecodeBatchIds(whole, "f").ValueOrDie().size(), 2u);
  EXPECT_TRUE(DecodeBatchIds("", "f").ValueOrDie().empty()) << "what an operator put in its place";
  const std::string body = whole.substr(0, whole.size() - 4);
  for (size_t length = 1; length < whole.size(); ++length) {
    EXPECT_EQ(KindOf(DecodeBatchIds(whole.substr(0, length), "f").status()), ErrorKind::kCorruption) << length;
  }
  for (size_t length = 0; length < body.size(); ++length) {  // Cut, with a checksum that matches.
    EXPECT_EQ(KindOf(DecodeBatchIds(Summed(body.substr(0, length)), "f").status()), ErrorKind::kCorruption) << length;
  }
  const auto with = [&](size_t at, char value) {
    std::string bytes = body;
    bytes[at] = value;
    return DecodeBatchIds(Summed(bytes), "f").status();
  };
  EXPECT_NE(with(0, 'X').message().find("not a file of batch ids"), std::string::npos);
  EXPECT_NE(with(4, 0).message().find("no format version"), std::string::npos);
  EXPECT_EQ(KindOf(with(4, 9)), ErrorKind::kUnsupported);
  EXPECT_NE(with(8, 1).message().find("bytes after its end"), std::string::npos);
  EXPECT_NE(with(8, 3).message().find("ends early"), std::string::npos);
}

TEST(BatchIdsKnown, OldOnesAreForgottenAndNewOnesOfTheSameNameAreNot) {
  BatchIds ids;
  const auto ask = [&](const char* id) { return ids.Ask(id, [](Result<Lsn>) {}).kind; };
  ids.Remember({"a", Lsn(1), 0});
  ids.Remember({"b", Lsn(2), 0});
  ids.Remember({"a", Lsn(3), kBatchIdWindowNs});  // Known again: forgetting the first one leaves it.
  ids.Remember({"c", Lsn(4), kBatchIdWindowNs + 1});
  EXPECT_EQ(ask("a"), BatchIds::Claim::Kind::kKnown);
  EXPECT_EQ(ask("b"), BatchIds::Claim::Kind::kFirst);
  EXPECT_EQ(ask("b"), BatchIds::Claim::Kind::kWaiting);
  EXPECT_EQ(ids.Settle("b").size(), 1u);
  EXPECT_TRUE(ids.Settle("b").empty()) << "nobody waits any more";
  EXPECT_EQ(ids.size(), 2u);
}

TEST(DefinitionLog, WhatNoProgramWroteIsCorruption) {
  const auto decode = [](const parts::ManifestState& state) {
    return DecodeDefinition(*arrow::Buffer::FromString(parts::EncodeManifest(state)));
  };
  parts::ManifestState state;
  state.number = 3;
  state.database_uuid = std::string(16, '\0');
  state.extra_json = R"({"dropped":7})";
  EXPECT_EQ(decode(state).ValueOrDie().dropped, TableId(7));
  for (const char* extra : {"[]", "", "{}", R"({"dropped":-1})"}) {
    parts::ManifestState wrong = state;
    wrong.extra_json = extra;
    EXPECT_EQ(KindOf(decode(wrong).status()), ErrorKind::kCorruption) << extra;
  }
  parts::ManifestState two = state;
  two.tables = {Record(true), Record(false)};
  two.tables.back().id = TableId(2);
  EXPECT_EQ(KindOf(decode(two).status()), ErrorKind::kCorruption);
  const auto bytes = EncodeDefinition({.number = 1, .dropped = TableId(1), .table = {}}).ValueOrDie();
  for (int64_t length = 0; length < bytes->size(); ++length) {
    EXPECT_EQ(KindOf(DecodeDefinition(*arrow::SliceBuffer(bytes, 0, length)).status()), ErrorKind::kCorruption) << length;
  }
}

}  // namespace
}  // namespace sheaf::store
