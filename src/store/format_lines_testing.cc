#include "store/format_lines_testing.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "columns/key_codec.h"
#include "columns/random_testing.h"
#include "columns/row_codec.h"
#include "core/check.h"
#include "core/crc32c.h"
#include "core/hex.h"
#include "parts/delete_vector.h"
#include "parts/manifest.h"
#include "parts/part_index.h"
#include "store/batch_id_file.h"
#include "store/definition_log.h"
#include "store/golden_testing.h"
#include "store/log_payload.h"
#include "store/ready_tables.h"
#include "store/table_record.h"
#include "wal/format.h"

namespace sheaf::store {
namespace {

using nlohmann::json;

template <typename T>
uint64_t NumberAt(std::string_view bytes, size_t at) {
  T number{};
  SHEAF_CHECK(at + sizeof number <= bytes.size());
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

std::string_view View(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Bytes by their length and checksum; the first ones as they are, so that one sees what they begin with.
FormatLine OfBytes(std::string name, uint64_t version, std::string_view bytes) {
  constexpr size_t kShown = 24;
  return {std::move(name), version,
          fmt::format("{} bytes, crc {:08x}, begin {}", bytes.size(), Crc32c(std::as_bytes(std::span(bytes.data(), bytes.size()))),
                      ToHex(bytes.substr(0, kShown)))};
}

/// "a number, b [text]": the names and types that stand in some JSON. `by_id`: keys that are numbers are all alike.
std::string ShapeOf(const json& value) {
  if (value.is_number()) return "number";
  if (value.is_array()) return value.empty() ? "[]" : "[" + ShapeOf(value.front()) + "]";
  if (!value.is_object()) return value.type_name();
  std::set<std::string> fields;
  for (const auto& [key, inside] : value.items()) {
    const bool is_id = std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    fields.insert((is_id ? "<id>" : key) + " " + ShapeOf(inside));
  }
  std::string out;
  for (const std::string& field : fields) out += (out.empty() ? "" : ", ") + field;
  return "{" + out + "}";
}

std::string TextOf(const arrow::Schema& schema) {
  std::string out;
  for (const auto& field : schema.fields()) {
    const char* const nulls = field->nullable() ? "" : " not null";
    out += fmt::format("{}{} {}{}", out.empty() ? "" : ", ", field->name(), field->type()->ToString(), nulls);
  }
  return out;
}

parts::PartInfo FixedPart() {
  parts::PartInfo part;
  part.id = PartId(3), part.table = TableId(1), part.schema_version = 2, part.format = parts::Format::kCold, part.level = 4;
  part.file_name = "part-3.parquet", part.file_uuid = "uuid of the part", part.database_uuid = "database's uuid!";
  part.rows = 10, part.data_bytes = 70'000, part.index_bytes = 20, part.min_lsn = Lsn(5), part.max_lsn = Lsn(6);
  part.time_min = 7, part.time_max = 8, part.created_ns = 9, part.digest = "digest of blocks", part.key_min = "a", part.key_max = "b";
  part.dead_file = "part-3-1.del", part.dead_digest = "digest of deaths", part.dead_rows = 2, part.dead_through = Lsn(11);
  return part;
}

std::string FixedManifest() {
  parts::ManifestState state;
  state.number = 12, state.database_uuid = "database's uuid!", state.epoch = Epoch(3), state.covered = Lsn(20), state.durable = Lsn(25);
  state.next_part = PartId(4), state.next_table = TableId(2), state.extra_json = "{}";
  state.tables.push_back({TableId(1), "main", "t", 2, "schema", "{}"});
  state.parts.push_back(FixedPart());
  return parts::EncodeManifest(state);
}

std::string FixedIndex() {
  parts::IndexContents contents;
  contents.info = FixedPart();
  contents.columns = 2;
  contents.data_sums = {1, 2};
  contents.granules = {{.rows = 4, .offset = 100, .bytes = 200}, {.rows = 6, .offset = 300, .bytes = 400}};
  contents.column_bytes = {{10, 20}, {30, 40}};
  columns::Zone text{.kind = columns::Zone::Kind::kBytes, .bytes_min = "a", .bytes_max = "b", .null_count = 1};
  columns::Zone number{.kind = columns::Zone::Kind::kInt64, .int_min = -1, .int_max = 7};
  contents.zones = {{text, text, text}, {number, number, number}};
  contents.filters = {{0, "bytes of a filter"}};
  contents.keys.emplace();
  contents.keys->columns = {1, 0};
  contents.keys->separators.Add("a");
  contents.keys->separators.Add("b");
  contents.key_filter = "bytes of a key filter";
  return parts::EncodeIndex(contents);
}

void AddFiles(std::vector<FormatLine>* lines) {
  const std::string manifest = FixedManifest(), index = FixedIndex();
  lines->push_back(OfBytes("manifest", NumberAt<uint32_t>(manifest, 8), manifest));
  lines->push_back(OfBytes("part index", NumberAt<uint32_t>(index, 8), index));
  const std::string deaths = *parts::EncodeDeadFile({.part = PartId(3),
                                                     .part_uuid = "uuid of the part",
                                                     .database_uuid = "database's uuid!",
                                                     .through = Lsn(11),
                                                     .part_rows = 10,
                                                     .rows = {1, 8},
                                                     .digest = {}});
  lines->push_back(OfBytes("delete vector", NumberAt<uint32_t>(deaths, 8), deaths));
  const std::string ids = EncodeBatchIds({{"a", Lsn(7), 8}});
  lines->push_back(OfBytes("batch ids", NumberAt<uint32_t>(ids, 4), ids));

  wal::SegmentHeader header{};
  header.magic = wal::kSegmentMagic, header.version = wal::kFormatVersion, header.first_lsn = 1, header.epoch = 2, header.salt = 3;
  const auto page = wal::EncodeSegmentHeader(header);
  lines->push_back(OfBytes("log segment", NumberAt<uint32_t>(View(page), 8), View(page)));
  wal::PendingEntry entry;
  entry.logged = {.lsn = Lsn(1), .time_ns = 4, .entry = {.type = kRowsEntry, .batch_id = "id", .payload = arrow::Buffer::FromString("a")}};
  const wal::PendingEntry* const entries[] = {&entry};
  wal::EncodedBlock block;
  wal::EncodeBlock({.epoch = Epoch(2), .durable = Lsn(0), .salt = 3, .position = wal::kPageBytes}, entries, &block);
  std::string pieces;
  for (const auto& piece : block.pieces) pieces += View(piece);
  lines->push_back(OfBytes("log block", wal::kFormatVersion, pieces));
  const auto slot = wal::EncodeCommitSlot({.sequence = 5, .durable_lsn = 6, .closed = 1, .database_id = {}});
  lines->push_back(OfBytes("log COMMIT", NumberAt<uint32_t>(View(slot), 8), View(slot)));
}

void AddPayloads(std::vector<FormatLine>* lines) {
  const std::string_view items[] = {"one", "two"};
  const auto version = [](const arrow::Buffer& payload) { return NumberAt<uint16_t>(std::string_view(payload), 4); };
  const auto packed = *EncodePacked(TableId(1), 2, RowOp::kInsert, SectionForm::kRows, items, {.expected = Lsn(9)});
  lines->push_back(OfBytes("log payload, packed", version(*packed), std::string_view(*packed)));
  const auto single = *EncodePacked(TableId(1), 2, RowOp::kDelete, SectionForm::kKeys, std::span(items).first(1), {});
  lines->push_back(OfBytes("log payload, single", version(*single), std::string_view(*single)));
  // The messages are Arrow's: its writer may lay metadata out otherwise in another release.
  constexpr int64_t kHeaderBytes = 16 + 32;
  const auto schema = arrow::schema({arrow::field("n", arrow::int64(), false)});
  columns::Random random(7);
  const auto arrow_rows = *EncodePayload({{.table = TableId(1), .schema_version = 2, .codec = *BatchCodec::Make(schema),
                                           .batch = columns::RandomBatch(schema, 3, &random)}}, 1 << 20);
  lines->push_back(OfBytes("log payload, Arrow", version(*arrow_rows.bytes), std::string_view(*arrow_rows.bytes).substr(0, kHeaderBytes)));
  const parts::TableRecord table = {TableId(1), "main", "t", 2, "s", "{}"};
  const auto definition = *EncodeDefinition({.number = 7, .dropped = TableId(3), .table = table});
  const std::string_view change(*definition);
  lines->push_back(OfBytes("log payload, change of tables", NumberAt<uint32_t>(change, 8), change));
  lines->push_back({"log entry types", wal::kFormatVersion, fmt::format("rows {}, change of tables {}", kRowsEntry, kDefinitionEntry)});
}

/// Compact rows and keys of every type that can be one; they have no version of their own, but that of log and index.
void AddRowsAndKeys(std::vector<FormatLine>* lines) {
  using arrow::field;
  const auto schema = arrow::schema({field("on", arrow::boolean(), false), field("i8", arrow::int8(), false),
                                     field("u16", arrow::uint16(), false), field("i32", arrow::int32(), false),
                                     field("u64", arrow::uint64(), false), field("text", arrow::utf8(), false),
                                     field("blob", arrow::binary(), false), field("id", arrow::fixed_size_binary(3), false),
                                     field("day", arrow::date32(), false), field("at", arrow::timestamp(arrow::TimeUnit::NANO), false),
                                     field("price", arrow::decimal128(18, 6), false)});
  columns::Random random(7);
  const auto batch = columns::RandomBatch(schema, 1, &random);
  std::string row;
  SHEAF_CHECK((*columns::RowCodec::Make(schema))->FromBatch(*batch, 0, &row).ok());
  lines->push_back(OfBytes("compact row", wal::kFormatVersion, row));
  const auto keys = *columns::KeyCodec::Make(schema, {5, 6, 0, 1, 2, 3, 4, 7, 8, 9, 10});
  lines->push_back(OfBytes("key", NumberAt<uint32_t>(FixedIndex(), 8), keys->Encode(*batch)->bytes));
}

void AddTables(std::vector<FormatLine>* lines) {
  for (const TableInfo& table : ReadyTables()) {
    const parts::TableRecord record = *ToRecord(table);
    json settings = json::parse(record.settings_json);
    settings.erase("next_column_id");
    lines->push_back({fmt::format("table {}.{}", table.schema_name, table.name), table.schema_version,
                      TextOf(*table.schema) + "; " + settings.dump()});
  }
}

/// What only a whole database shows: the JSON in it, and the heads of its data files.
void AddDatabase(std::vector<FormatLine>* lines) {
  io::SimFileSystem disk;
  io::SimClock clock;
  const auto database = WriteGoldenDatabase(&disk, &clock, "/db");
  const parts::ManifestState state = parts::LoadManifest(&disk, "/db")->state;
  const uint64_t version = NumberAt<uint32_t>(FixedManifest(), 8);
  lines->push_back({"manifest, extra", version, ShapeOf(json::parse(state.extra_json))});
  for (const parts::TableRecord& table : state.tables) {
    if (table.name != "events" && table.name != "items") continue;
    lines->push_back({"manifest, settings of main." + table.name, version, ShapeOf(json::parse(table.settings_json))});
  }
  const std::string mark = *disk.Contents(fmt::format("/db/snapshots/{}/SNAPSHOT", kGoldenSnapshot));
  const json marked = json::parse(mark.substr(0, mark.find('\n')));
  lines->push_back({"snapshot", marked.at("version").get<uint64_t>(), ShapeOf(marked)});

  for (const parts::PartInfo& part : state.parts) {
    if (part.format != parts::Format::kHot || part.key_max.empty()) continue;
    const auto bytes = arrow::Buffer::FromString(*disk.Contents("/db/parts/" + part.file_name));
    const auto file = *arrow::ipc::RecordBatchFileReader::Open(std::make_shared<arrow::io::BufferReader>(bytes));
    std::string text = TextOf(*file->schema()) + "; metadata";
    for (const std::string& key : file->schema()->metadata()->keys()) text += " " + key;
    lines->push_back({"hot part, keyed", std::stoull(*file->schema()->metadata()->Get("sheaf.format_version")), text});
    break;
  }
}

}  // namespace

std::vector<FormatLine> FormatsWritten() {
  std::vector<FormatLine> lines;
  AddFiles(&lines);
  AddPayloads(&lines);
  AddRowsAndKeys(&lines);
  AddTables(&lines);
  AddDatabase(&lines);
  return lines;
}

std::string ToText(const FormatLine& line) { return fmt::format("{} | {} | {}", line.name, line.version, line.text); }

std::vector<FormatLine> ParseFormatLines(const std::vector<std::string>& lines) {
  constexpr std::string_view kBetween = " | ";
  std::vector<FormatLine> out;
  for (const std::string& line : lines) {
    const size_t first = line.find(kBetween), second = first == std::string::npos ? first : line.find(kBetween, first + kBetween.size());
    if (second == std::string::npos) continue;
    const size_t number = first + kBetween.size();
    out.push_back({line.substr(0, first), std::stoull(line.substr(number, second - number)), line.substr(second + kBetween.size())});
  }
  return out;
}

}  // namespace sheaf::store
