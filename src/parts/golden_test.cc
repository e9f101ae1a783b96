/// Parts, delete vectors and manifests of every released format still open, with the same rows; what a newer program wrote
/// is refused as such. After a wanted change of a format (with a new version), SHEAF_WRITE_GOLDEN=1 writes
/// the files of the new version, and from them the seeds of the fuzz targets. tests/golden/test_open_parts.py
/// opens the same data files without Sheaf.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <arrow/array/array_dict.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_nested.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "columns/random_testing.h"
#include "columns/tokens.h"
#include "core/check.h"
#include "core/crc32c.h"
#include "decode/schemas.h"
#include "io/posix.h"
#include "io/sim_testing.h"
#include "parts/delete_vector.h"
#include "parts/keyed_part.h"
#include "parts/manifest.h"
#include "parts/part.h"
#include "parts/part_damage_testing.h"
#include "parts/part_index.h"
#include "parts/part_source.h"
#include "parts/spans_testing.h"

namespace sheaf::parts {
namespace {

using testing::ElementsAre;

constexpr const char* kFolder = "/db";
constexpr const char* kFiles[] = {"MANIFEST-000001", "CURRENT", "part-1.arrow", "part-1.idx", "part-2.parquet", "part-2.idx"};
constexpr const char* kFilesOfKeyedTables[] = {"part-3.arrow",   "part-3.idx", "part-3-1.del",  // Since version 2.
                                               "part-4.parquet", "part-4.idx", "part-4-1.del"};
constexpr const char* kFilesWithTokens[] = {"part-5.arrow", "part-5.idx", "part-6.parquet", "part-6.idx"};  // Since version 3.
constexpr const char* kFilesWithAttributes[] = {"part-7.arrow", "part-7.idx", "part-8.parquet", "part-8.idx"};  // Since version 4.
constexpr int kVersionOfReports = 5;  // Parts tell of their columns; the files are those of version 4 but for that.
constexpr int kVersion = 5;           // Of the golden files: what is written now.
constexpr int kManifestVersion = 2;   // A token index is a new section, which older programs skip, and no new version. So are reports.
constexpr const char* kServices[] = {"cart", "checkout", "payment"};
constexpr int kRows = 10;
constexpr int kTrace = 0, kTime = 1, kService = 2, kMessage = 5;

std::string SourcePath(const std::string& path) {
  const char* source = std::getenv("SHEAF_SOURCE_DIR");
  return io::Join(source != nullptr ? source : ".", path);
}
std::string GoldenFolder(int version) { return SourcePath(fmt::format("tests/golden/parts/v{}", version)); }

std::string ReadGolden(int version, const std::string& name) {
  return io::ReadFile(io::PosixFileSystem(), io::Join(GoldenFolder(version), name), 1 << 20).ValueOrDie()->ToString();
}

std::vector<std::string> FilesOf(int version) {
  std::vector<std::string> out(std::begin(kFiles), std::end(kFiles));
  if (version > 1) out.insert(out.end(), std::begin(kFilesOfKeyedTables), std::end(kFilesOfKeyedTables));
  if (version > 2) out.insert(out.end(), std::begin(kFilesWithTokens), std::end(kFilesWithTokens));
  if (version > 3) out.insert(out.end(), std::begin(kFilesWithAttributes), std::end(kFilesWithAttributes));
  return out;
}

std::shared_ptr<arrow::Schema> GoldenSchema() {
  return arrow::schema({arrow::field("trace_id", arrow::fixed_size_binary(16), false),
                        arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), false),
                        arrow::field("service", arrow::dictionary(arrow::int32(), arrow::utf8()), false),
                        arrow::field("duration_ns", arrow::int64(), false), arrow::field("ratio", arrow::float64()),
                        arrow::field("message", arrow::utf8()), arrow::field("tags", arrow::list(arrow::utf8()), false)});
}

/// The rows in order of time. Those of a part are sorted by service, then time.
std::shared_ptr<arrow::RecordBatch> GoldenRows() {
  arrow::FixedSizeBinaryBuilder trace(arrow::fixed_size_binary(16));
  arrow::TimestampBuilder time(arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), arrow::default_memory_pool());
  arrow::Int32Builder service;
  arrow::StringBuilder services, message;
  arrow::Int64Builder duration;
  arrow::DoubleBuilder ratio;
  auto tag = std::make_shared<arrow::StringBuilder>();
  arrow::ListBuilder tags(arrow::default_memory_pool(), tag);
  const auto ok = [](const arrow::Status& status) { SHEAF_CHECK(status.ok()); };
  for (const char* name : kServices) ok(services.Append(name));
  for (int i = 0; i < kRows; ++i) {
    ok(trace.Append(std::string(16, static_cast<char>(i / 3 + 1))));
    ok(time.Append(1'700'000'000'000'000'000 + i * int64_t{1'000'000'001}));
    ok(service.Append(i % 3));
    ok(duration.Append(i * 1000));
    ok(i % 4 == 3 ? ratio.AppendNull() : ratio.Append(i / 8.0));
    ok(i % 5 == 0 ? message.AppendNull() : message.Append("message " + std::to_string(i)));
    ok(tags.Append());
    for (int t = 0; t < i % 3; ++t) ok(tag->Append("tag " + std::to_string(t)));
  }
  const auto schema = GoldenSchema();
  const auto words = arrow::DictionaryArray::FromArrays(schema->field(kService)->type(), service.Finish().ValueOrDie(),
                                                        services.Finish().ValueOrDie()).ValueOrDie();
  return arrow::RecordBatch::Make(schema, kRows,
                                  {trace.Finish().ValueOrDie(), time.Finish().ValueOrDie(), words, duration.Finish().ValueOrDie(),
                                   ratio.Finish().ValueOrDie(), message.Finish().ValueOrDie(), tags.Finish().ValueOrDie()});
}

/// A table with a key of two columns, in the order of time.
std::shared_ptr<arrow::Schema> KeyedGoldenSchema() {
  return arrow::schema({arrow::field("order_id", arrow::int64(), false), arrow::field("quantity", arrow::int32()),
                        arrow::field("book", arrow::utf8(), false)});
}
constexpr int kKeyColumns[] = {2, 0};

std::shared_ptr<arrow::RecordBatch> KeyedGoldenRows() {
  arrow::Int64Builder order;
  arrow::Int32Builder quantity;
  arrow::StringBuilder book;
  arrow::UInt64Builder lsn;
  const auto ok = [](const arrow::Status& status) { SHEAF_CHECK(status.ok()); };
  for (int i = 0; i < kRows; ++i) {
    ok(order.Append(i * 7 % kRows - 3));
    ok(i % 4 == 3 ? quantity.AppendNull() : quantity.Append(100 + i));
    ok(book.Append(i % 3 == 0 ? std::string("ask\0", 4) : "bid"));
    ok(lsn.Append(static_cast<uint64_t>(i + 1)));
  }
  return arrow::RecordBatch::Make(KeyedSchema(*KeyedGoldenSchema()), kRows,
                                  {order.Finish().ValueOrDie(), quantity.Finish().ValueOrDie(), book.Finish().ValueOrDie(),
                                   lsn.Finish().ValueOrDie()});
}

PartInfo WriteKeyed(io::SimFileSystem* disk, Format format, const std::string& database_uuid) {
  PartInfo info;
  info.id = PartId(format == Format::kHot ? 3 : 4);
  info.table = TableId(8);
  info.format = format;
  info.level = format == Format::kHot ? 0 : 1;
  info.file_uuid = format == Format::kHot ? "golden hot keyed" : "golden cold keys";
  info.database_uuid = database_uuid;
  info.min_lsn = Lsn(1);
  info.max_lsn = Lsn(10);
  info.created_ns = 1'700'000'000'000'000'000;
  Layout layout;
  layout.key_columns.assign(std::begin(kKeyColumns), std::end(kKeyColumns));
  layout.sort_columns = layout.key_columns;
  layout.granule_rows = 4;
  const auto schema = KeyedSchema(*KeyedGoldenSchema());
  info = WritePart(disk, kFolder, info, layout, schema, {KeyedGoldenRows()}).ValueOrDie();
  const auto part = OpenPart(disk, kFolder, info, schema).ValueOrDie();
  SHEAF_CHECK(WriteDeadRows(disk, kFolder, *part, 1, *columns::DeadRows().With({{0, 1}, {2, 0}}), Lsn(15), &info).ok());
  return info;
}

/// A table of attributes: all rows have a route, each second one a status.
std::shared_ptr<arrow::Schema> AttributesGoldenSchema() {
  return arrow::schema({arrow::field("number", arrow::int64(), false), arrow::field("attributes", decode::AttributesType(), false)});
}

std::shared_ptr<arrow::RecordBatch> AttributesGoldenRows() {
  arrow::Int64Builder number;
  AttributeLists attributes;
  for (int i = 0; i < kRows; ++i) {
    SHEAF_CHECK(number.Append(i).ok());
    attributes.String("http.route", "/route/" + std::to_string(i / 4));
    if (i % 2 == 0) attributes.Int("status", 200 + i);
    attributes.EndRow();
  }
  return arrow::RecordBatch::Make(AttributesGoldenSchema(), kRows, {number.Finish().ValueOrDie()->data(), attributes.Finish()});
}

/// The hot and the cold part of `rows`.
void WriteParts(io::SimFileSystem* disk, const Layout& layout, uint64_t first_id, TableId table,
                const std::shared_ptr<arrow::RecordBatch>& rows, ManifestState* state) {
  for (const Format format : {Format::kHot, Format::kCold}) {
    PartInfo info;
    info.id = PartId(format == Format::kHot ? first_id : first_id + 1);
    info.table = table;
    info.schema_version = table == TableId(7) ? 2 : 1;
    info.format = format;
    info.level = format == Format::kHot ? 0 : 1;
    info.file_uuid = format == Format::kHot ? "golden hot part!" : "golden cold part";
    info.database_uuid = state->database_uuid;
    info.min_lsn = Lsn(1);
    info.max_lsn = Lsn(20);
    info.created_ns = 1'700'000'000'000'000'000;
    state->parts.push_back(WritePart(disk, kFolder, info, layout, rows->schema(), {rows}).ValueOrDie());
  }
}

ManifestState WriteDatabase(io::SimFileSystem* disk) {
  SHEAF_CHECK(disk->MakeDirectories(kFolder).ok());
  Layout layout;
  layout.time_column = kTime;
  layout.sort_columns = {kService, kTime};
  layout.filter_columns = {kTrace, kService};
  layout.granule_rows = 4;
  ManifestState state;
  state.number = 1;
  state.database_uuid = "golden database!";
  state.epoch = Epoch(3);
  state.covered = Lsn(20);
  state.durable = Lsn(25);
  state.next_part = PartId(9);
  state.next_table = TableId(10);
  state.extra_json = R"({"sealed":{"7":20}})";
  state.tables.push_back({TableId(7), "otel", "golden", 2, arrow::ipc::SerializeSchema(*GoldenSchema()).ValueOrDie()->ToString(),
                          R"({"retention":"30d"})"});
  WriteParts(disk, layout, 1, TableId(7), GoldenRows(), &state);
  state.tables.push_back({TableId(8), "trading", "golden", 1,
                          arrow::ipc::SerializeSchema(*KeyedGoldenSchema()).ValueOrDie()->ToString(), R"({"kind":"keyed"})"});
  for (const Format format : {Format::kHot, Format::kCold}) state.parts.push_back(WriteKeyed(disk, format, state.database_uuid));
  layout.token_columns = {kMessage};
  WriteParts(disk, layout, 5, TableId(7), GoldenRows(), &state);
  state.tables.push_back({TableId(9), "otel", "attributes", 1,
                          arrow::ipc::SerializeSchema(*AttributesGoldenSchema()).ValueOrDie()->ToString(), "{}"});
  layout = {.sort_columns = {0}, .granule_rows = 4};
  WriteParts(disk, layout, 7, TableId(9), AttributesGoldenRows(), &state);
  SHEAF_CHECK(CommitManifest(disk, kFolder, state).ok());
  return state;
}

void Save(const std::string& folder, const std::string& name, const std::string& bytes) {
  io::FileSystem* files = io::PosixFileSystem();
  ASSERT_TRUE(files->MakeDirectories(folder).ok());
  ASSERT_TRUE(io::WriteFileAtomically(files, io::Join(folder, name), std::as_bytes(std::span(bytes))).ok());
}

/// Seeds: a byte of instructions (see the fuzz targets), then a file.
void SaveSeeds(const io::SimFileSystem& disk) {
  const auto file = [&](const char* name) { return disk.Contents(io::Join(kFolder, name)).ValueOrDie(); };
  const std::string manifests = SourcePath("src/parts/corpus/manifest"), indexes = SourcePath("src/parts/corpus/part_index");
  const auto with = [](char mode, const std::string& bytes) { return std::string(1, mode) + bytes; };
  ManifestState empty;
  empty.number = 1;
  Save(manifests, "as_written", with(0, file("MANIFEST-000001")));
  Save(manifests, "mended", with(1, file("MANIFEST-000001")));
  Save(manifests, "mended_without_parts", with(1, EncodeManifest(empty)));
  Save(manifests, "current", with(2, file("CURRENT")));
  Save(indexes, "hot", with(0, file("part-1.idx")));
  Save(indexes, "hot_mended", with(1, file("part-1.idx")));
  Save(indexes, "cold_mended", with(1, file("part-2.idx")));
  Save(indexes, "keyed_mended", with(1, file("part-3.idx")));
  Save(indexes, "tokens_mended", with(1, file("part-5.idx")));
  Save(indexes, "attributes_mended", with(1, file("part-7.idx")));
  Save(SourcePath("src/parts/corpus/delete_vector"), "as_written", with(0, file("part-3-1.del")));
  Save(SourcePath("src/parts/corpus/delete_vector"), "mended", with(1, file("part-4-1.del")));
  for (const Format format : {Format::kHot, Format::kCold}) {
    const std::string parts = SourcePath(format == Format::kHot ? "src/parts/corpus/hot_part" : "src/parts/corpus/cold_part");
    Save(parts, "data_file", SeedOfDataFile(format));
    Save(parts, "edits", SeedOfEdits());
  }
}

class Golden : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (std::getenv("SHEAF_WRITE_GOLDEN") == nullptr) return;
    io::SimFileSystem disk;
    WriteDatabase(&disk);
    for (const std::string& name : FilesOf(kVersion)) {
      Save(GoldenFolder(kVersion), name, disk.Contents(io::Join(kFolder, name)).ValueOrDie());
    }
    SaveSeeds(disk);
  }
  void SetUp() override { Place(kVersion); }
  void Place(int version) {
    ASSERT_TRUE(disk_.MakeDirectories(kFolder).ok());
    for (const std::string& name : FilesOf(version)) disk_.SetContents(io::Join(kFolder, name), ReadGolden(version, name));
  }
  Result<ManifestLoad> Load() { return LoadManifest(&disk_, kFolder); }

  io::SimFileSystem disk_;
};

class EachVersion : public Golden, public testing::WithParamInterface<int> {
 protected:
  void SetUp() override { Place(GetParam()); }
  /// Of parts of before, what their zones and sizes tell.
  static void ExpectReports(const std::vector<columns::ColumnReport>& reports, Format format) {
    ASSERT_EQ(reports.size(), 7u);
    const columns::ColumnReport& message = reports[kMessage];
    EXPECT_EQ(message.path, "message");
    EXPECT_EQ(message.analysis.values, kRows);
    EXPECT_EQ(message.analysis.nulls, 2);
    EXPECT_GT(message.stored_bytes, 0);
    const bool told = GetParam() >= kVersionOfReports;
    EXPECT_EQ(message.analysis.cardinality, told ? 8 : -1);
    EXPECT_EQ(message.analysis.runs, told ? kRows : -1);
    EXPECT_EQ(NameOf(reports[kService].stored.encoding), told ? "dictionary" : "");
    EXPECT_EQ(NameOf(reports[kTime].stored.encoding), !told ? "" : format == Format::kHot ? "plain" : "delta");
  }
};
INSTANTIATE_TEST_SUITE_P(Golden, EachVersion, testing::Range(1, kVersion + 1), testing::PrintToStringParamName());

TEST_P(EachVersion, OpensWithItsTableAndItsRows) {
  const ManifestLoad load = Load().ValueOrDie();
  EXPECT_FALSE(load.fell_back);
  ASSERT_EQ(load.state.tables.size(), GetParam() == 1 ? 1u : GetParam() < 4 ? 2u : 3u);
  ASSERT_EQ(load.state.parts.size(), 2u * static_cast<size_t>(std::min(GetParam(), 4)));
  EXPECT_EQ(load.state.covered, Lsn(20));
  EXPECT_EQ(load.state.extra_json, R"({"sealed":{"7":20}})");
  const TableRecord& table = load.state.tables[0];
  EXPECT_EQ(table.name, "golden");
  arrow::io::BufferReader reader(arrow::Buffer::FromString(table.arrow_schema));
  arrow::ipc::DictionaryMemo memo;
  const auto schema = arrow::ipc::ReadSchema(&reader, &memo).ValueOrDie();
  EXPECT_TRUE(schema->Equals(*GoldenSchema()));

  const auto rows = GoldenRows();
  std::vector<std::string> want;
  for (int service = 0; service < 3; ++service) {
    for (int i = service; i < kRows; i += 3) want.push_back(columns::RowText(*rows, i));
  }
  for (const PartInfo& info : load.state.parts) {
    const Status verified = VerifyPart(&disk_, kFolder, info);
    EXPECT_TRUE(verified.ok()) << verified.ToString();
    if (info.table != table.id) continue;
    EXPECT_TRUE(info.dead_file.empty() && info.key_max.empty());
    const auto source = OpenPart(&disk_, kFolder, info, schema).ValueOrDie();
    std::vector<std::shared_ptr<arrow::RecordBatch>> read;
    for (int g = 0; g < source->num_granules(); ++g) read.push_back(source->Read(g, {0, 1, 2, 3, 4, 5, 6}).ValueOrDie());
    EXPECT_EQ(columns::RowTexts(read), want) << info.file_name;
    EXPECT_EQ(source->source_zone(kTime)->int_min, 1'700'000'000'000'000'000);
    std::vector<int> found;
    ASSERT_TRUE(source->FindGranules(kService, "cart", &found).ok());
    EXPECT_THAT(found, ElementsAre(0)) << "four rows of the cart fill the first granule";
    ExpectReports(dynamic_cast<const columns::ColumnReportSource&>(*source).ReportColumns().ValueOrDie(), info.format);
  }
}

TEST_F(Golden, PartsOfKeyedTablesOpenWithTheirKeysAndDeadRows) {
  const auto codec = columns::KeyCodec::Make(KeyedGoldenSchema(), {std::begin(kKeyColumns), std::end(kKeyColumns)}).ValueOrDie();
  const auto rows = KeyedGoldenRows();
  const columns::KeyColumn keys = codec->Encode(*rows).ValueOrDie();
  for (const PartInfo& info : Load().ValueOrDie().state.parts) {
    if (info.table != TableId(8)) continue;
    const auto part = KeyedPart::Open(&disk_, kFolder, info, {.keys = codec, .schema = KeyedGoldenSchema()}).ValueOrDie();
    for (int64_t i = 0; i < kRows; ++i) {
      const auto found = part->Find(keys[i]).ValueOrDie();
      ASSERT_TRUE(found.has_value()) << codec->ToText(keys[i]);
      const KeyedPartRow row = part->Row(*found).ValueOrDie();
      EXPECT_EQ(columns::RowText(*row.batch, row.row), columns::RowText(*rows->RemoveColumn(3).ValueOrDie(), i));
      EXPECT_EQ(row.lsn, Lsn(static_cast<uint64_t>(i + 1)));
    }
    const auto dead = ReadDeadRows(&disk_, kFolder, info, *part->source()).ValueOrDie();
    EXPECT_EQ(dead->count(), 2);
    EXPECT_TRUE(dead->IsDead(0, 1) && dead->IsDead(2, 0));
    EXPECT_EQ(info.dead_through, Lsn(15));
  }
}

TEST_F(Golden, PartsWithATokenIndexFindTheirGranulesByIt) {
  columns::TextNeeds nine, word, absent;
  columns::AddNeedsOfToken("9", &nine);
  columns::AddNeedsOfLike("%essag%", 0, false, &word);
  columns::AddNeedsOfToken("absent", &absent);
  int searched = 0;
  for (const PartInfo& info : Load().ValueOrDie().state.parts) {
    if (info.table != TableId(7)) continue;
    const auto source = OpenPart(&disk_, kFolder, info, GoldenSchema()).ValueOrDie();
    EXPECT_EQ(source->has_tokens(kMessage), info.id.value >= 5);
    if (!source->has_tokens(kMessage)) continue;
    ++searched;
    const auto find = [&](const columns::TextNeeds& needs) {
      std::vector<int> found;
      EXPECT_TRUE(source->FindTokens(kMessage, needs, &found).ok());
      return found;
    };
    EXPECT_THAT(find(nine), ElementsAre(0)) << "the last of the cart's four rows";
    EXPECT_THAT(find(word), ElementsAre(0, 1, 2));
    EXPECT_THAT(find(absent), ElementsAre());
  }
  EXPECT_EQ(searched, 2);
}

TEST_F(Golden, PartsWithColumnsOfAttributesReadThem) {
  int read = 0;
  for (const PartInfo& info : Load().ValueOrDie().state.parts) {
    if (info.table != TableId(9)) continue;
    const auto source = OpenPart(&disk_, kFolder, info, AttributesGoldenSchema()).ValueOrDie();
    ASSERT_NE(source->attributes(), nullptr);
    EXPECT_TRUE(source->attributes()->complete);
    const columns::AttributeKey* route = source->attributes()->Find(1, "http.route");
    const columns::AttributeKey* status = source->attributes()->Find(1, "status");
    ASSERT_TRUE(route != nullptr && status != nullptr);
    EXPECT_EQ(route->values, kRows);
    EXPECT_EQ(status->values, kRows / 2);
    const std::vector<std::string> rows = columns::RowTexts({source->Read(1, {status->position, route->position, 0}).ValueOrDie()});
    const std::string route_1 = "2f726f7574652f31";
    EXPECT_THAT(rows, ElementsAre("323034|" + route_1 + "|0400000000000000|", "NULL|" + route_1 + "|0500000000000000|",
                                  "323036|" + route_1 + "|0600000000000000|", "NULL|" + route_1 + "|0700000000000000|"));
    std::vector<int> found;
    ASSERT_TRUE(source->FindGranules(route->position, "/route/2", &found).ok());
    EXPECT_THAT(found, ElementsAre(2));
    ++read;
  }
  EXPECT_EQ(read, 2);
}

TEST_F(Golden, FilesAreStillWrittenTheSame) {
  const auto golden = [](const std::string& name) { return ReadGolden(kVersion, name); };
  EXPECT_EQ(EncodeManifest(DecodeManifest(golden("MANIFEST-000001")).ValueOrDie()), golden("MANIFEST-000001"));
  for (const char* name : {"part-1.idx", "part-2.idx", "part-3.idx", "part-4.idx", "part-5.idx", "part-6.idx", "part-7.idx",
                           "part-8.idx"}) {
    const std::string bytes = golden(name);
    const auto index = PartIndex::Open(arrow::Buffer::FromString(bytes), name).ValueOrDie();
    EXPECT_EQ(EncodeIndex(ContentsOf(*index)), bytes) << name;
  }
  EXPECT_EQ(*EncodeDeadFile(DecodeDeadFile(golden("part-3-1.del"), "").ValueOrDie()), golden("part-3-1.del"));
  // What stands in a cold part changes with the Parquet library.
  EXPECT_EQ(ReadGolden(4, "part-1.idx"), ReadGolden(1, "part-1.idx")) << "indexes without keys and tokens are of version 1 still";
  EXPECT_EQ(ReadGolden(2, "part-2.idx"), ReadGolden(1, "part-2.idx"));
}

void SetDigest(std::string* manifest) {
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(manifest->data(), manifest->size() - sizeof digest));
  std::memcpy(manifest->data() + manifest->size() - sizeof digest, digest.digest, sizeof digest);
}

TEST_F(Golden, ANewerManifestIsRefusedAndNotTakenForDamage) {
  ManifestState next = Load().ValueOrDie().state;
  next.number = 2;
  ASSERT_TRUE(CommitManifest(&disk_, kFolder, next).ok());
  std::string newer = EncodeManifest(next);
  newer[8] = kManifestVersion + 1;
  SetDigest(&newer);
  EXPECT_EQ(KindOf(DecodeManifest(newer).status()), ErrorKind::kUnsupported);
  disk_.SetContents(io::Join(kFolder, "MANIFEST-000002"), newer);
  EXPECT_EQ(KindOf(Load().status()), ErrorKind::kUnsupported) << "falling back would lose what the newer program wrote";
  ASSERT_TRUE(disk_.Remove(io::Join(kFolder, "CURRENT")).ok());
  EXPECT_EQ(KindOf(Load().status()), ErrorKind::kUnsupported);
}

/// A manifest that ends with these records after its state.
std::string ManifestWith(const std::vector<std::pair<uint32_t, std::string>>& records) {
  ManifestState state;
  state.number = 1;
  std::string out = EncodeManifest(state);
  out.resize(out.size() - 16 - 12 - 8);  // Digest; frame and count of the end record.
  for (const auto& [kind, payload] : records) {
    const uint32_t words[2] = {static_cast<uint32_t>(payload.size()), kind};
    const std::string framed = std::string(reinterpret_cast<const char*>(words), sizeof words) + payload;
    const uint32_t crc = Crc32c(std::as_bytes(std::span(framed)));
    out.append(reinterpret_cast<const char*>(&crc), sizeof crc).append(framed);
  }
  out.append(16, '\0');
  SetDigest(&out);
  return out;
}

TEST_F(Golden, AManifestRecordOfAnUnknownKindIsRefused) {
  const std::string one("\1\0\0\0\0\0\0\0", 8), two("\2\0\0\0\0\0\0\0", 8);
  EXPECT_TRUE(DecodeManifest(ManifestWith({{4, one}})).ok());
  EXPECT_EQ(KindOf(DecodeManifest(ManifestWith({{9, ""}, {4, two}})).status()), ErrorKind::kUnsupported);
}

TEST_F(Golden, BytesOfAManifestThatNoFieldAccountsForAreRefused) {
  const std::string one("\1\0\0\0\0\0\0\0", 8);
  EXPECT_EQ(KindOf(DecodeManifest(ManifestWith({{4, one + "x"}})).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(DecodeManifest(ManifestWith({})).status()), ErrorKind::kCorruption) << "no end";
}

TEST_F(Golden, ANewerDeleteVectorIsRefusedAsUnsupported) {
  const ManifestLoad load = Load().ValueOrDie();
  const PartInfo& info = load.state.parts[3];
  std::string bytes = ReadGolden(kVersion, info.dead_file);
  bytes[8] = 2;
  SetDigest(&bytes);
  disk_.SetContents(io::Join(kFolder, info.dead_file), bytes);
  EXPECT_EQ(KindOf(VerifyPart(&disk_, kFolder, info)), ErrorKind::kUnsupported);
}

TEST_F(Golden, ANewerPartIsRefusedAsUnsupported) {
  const ManifestLoad load = Load().ValueOrDie();
  for (const PartInfo& info : load.state.parts) {
    const std::string path = io::Join(kFolder, IndexFileName(info.id));
    std::string bytes = disk_.Contents(path).ValueOrDie();
    bytes[8] = 3;
    uint32_t head_bytes = 0;
    std::memcpy(&head_bytes, bytes.data() + 12, sizeof head_bytes);
    const uint64_t sum = XXH3_64bits(bytes.data(), head_bytes - sizeof(uint64_t));
    std::memcpy(bytes.data() + head_bytes - sizeof sum, &sum, sizeof sum);
    disk_.SetContents(path, bytes);
    if (info.table == TableId(7)) EXPECT_EQ(KindOf(OpenPart(&disk_, kFolder, info, GoldenSchema()).status()), ErrorKind::kUnsupported);
    EXPECT_EQ(KindOf(VerifyPart(&disk_, kFolder, info)), ErrorKind::kUnsupported);
  }
}

}  // namespace
}  // namespace sheaf::parts
