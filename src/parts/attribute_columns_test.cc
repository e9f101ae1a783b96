#include "parts/attribute_columns.h"

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <arrow/array.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "decode/attributes.h"
#include "decode/batch_reader.h"
#include "decode/schemas.h"
#include "io/sim_testing.h"
#include "parts/conform_source.h"
#include "parts/part.h"
#include "parts/spans_testing.h"

namespace sheaf::parts {
namespace {

using columns::AttributeForm;
using columns::AttributeKey;
using decode::ValueType;
using testing::ElementsAre;

constexpr int kList = 1;
const char* const kFolder = "/parts";

std::shared_ptr<arrow::Schema> NumberedSchema() {
  return arrow::schema({arrow::field("number", arrow::int64(), false), arrow::field("attributes", decode::AttributesType(), false)});
}

std::shared_ptr<arrow::RecordBatch> Batch(AttributeLists lists, int64_t first = 0) {
  const auto rows = static_cast<int64_t>(lists.offsets.size()) - 1;
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < rows; ++i) numbers.push_back(first + i);
  auto number = arrow::ArrayData::Make(arrow::int64(), rows, {nullptr, arrow::Buffer::FromVector(std::move(numbers))}, 0);
  return arrow::RecordBatch::Make(NumberedSchema(), rows, {std::move(number), lists.Finish()});
}

Result<BatchesWithAttributes> Add(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  return AddAttributeColumns(NumberedSchema(), batches, arrow::default_memory_pool());
}

/// The values of a column of texts, dictionary or not.
std::vector<std::optional<std::string>> Texts(const arrow::Array& array) {
  std::vector<std::optional<std::string>> out;
  for (int64_t i = 0; i < array.length(); ++i) {
    if (array.IsNull(i)) {
      out.emplace_back();
    } else if (array.type_id() == arrow::Type::DICTIONARY) {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      out.emplace_back(static_cast<const arrow::StringArray&>(*coded.dictionary()).GetString(coded.GetValueIndex(i)));
    } else {
      out.emplace_back(static_cast<const arrow::StringArray&>(array).GetString(i));
    }
  }
  return out;
}

/// What SQL would say of attributes['key'], made from the lists.
std::vector<std::optional<std::string>> FromLists(const arrow::Array& array, const std::string& key) {
  std::vector<std::optional<std::string>> out;
  const decode::AttributesView lists(array);
  for (int64_t row = 0; row < array.length(); ++row) {
    out.emplace_back();
    for (int64_t i = lists.begin(row); i < lists.end(row); ++i) {
      if (lists.item(i).key != key) continue;
      std::string text;
      if (decode::AppendText(lists.item(i).value, &text)) out.back() = text;
      break;
    }
  }
  return out;
}

TEST(AttributeColumns, HaveTheTextsThatSqlShows) {
  AttributeLists lists;
  const double half = 0.5;
  int64_t half_bits;
  std::memcpy(&half_bits, &half, sizeof half_bits);
  const auto add = [&](ValueType type, int64_t num, std::string val) { lists.Add("k", static_cast<uint8_t>(type), num, std::move(val)); };
  add(ValueType::kString, 0, "text");
  lists.EndRow();
  lists.EndRow();  // Without.
  add(ValueType::kInt, -7, "");
  lists.EndRow();
  add(ValueType::kBool, 1, "");
  lists.EndRow();
  add(ValueType::kInt, 1, "");
  lists.EndRow();
  add(ValueType::kDouble, half_bits, "");
  lists.EndRow();
  add(ValueType::kBytes, 0, std::string("\0\xFF", 2));
  lists.EndRow();
  add(ValueType::kEmpty, 0, "");
  lists.EndRow();
  add(ValueType::kString, 0, "first");  // Twice in one record.
  add(ValueType::kString, 0, "second");
  lists.EndRow();
  add(ValueType::kEmpty, 0, "");
  add(ValueType::kString, 0, "after nothing");
  lists.EndRow();
  add(ValueType::kString, 0, "");
  lists.EndRow();
  const auto out = Add({Batch(std::move(lists))}).ValueOrDie();
  const AttributeKey* key = out.keys.Find(kList, "k");
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(key->position, 2);
  EXPECT_EQ(key->values, 12);
  EXPECT_EQ(out.schema->field(2)->name(), "attributes[k]");
  const auto none = std::optional<std::string>();
  EXPECT_THAT(Texts(*out.batches[0]->column(2)), ElementsAre("text", none, "-7", "true", "1", "0.5", "AP8=", none, "first", none, ""));
  EXPECT_EQ(Texts(*out.batches[0]->column(2)), FromLists(*out.batches[0]->column(kList), "k"));
}

TEST(AttributeColumns, AreMadeOfWhatIsFrequentAndShort) {
  AttributeLists lists;
  constexpr int kRows = 200;
  for (int i = 0; i < kRows; ++i) {
    lists.String("everywhere", "x");
    lists.String("different", std::to_string(i));
    lists.String("long", std::string(kAttributeBytesMax + 1, 'x'));
    lists.Add("empty", 0, 0, "");
    if (i % kAttributeRowsPerValueMax == 0) lists.Int("just often enough", i);
    if (i % kAttributeRowsPerValueMax == 1 && i > 20) lists.Int("too rare", i);
    lists.EndRow();
  }
  const auto out = Add({Batch(std::move(lists))}).ValueOrDie();
  EXPECT_TRUE(out.keys.complete);
  std::map<std::string, bool> own;
  for (const AttributeKey& key : out.keys.keys) own[key.key] = key.position >= 0;
  EXPECT_THAT(own, ElementsAre(std::pair("different", true), std::pair("empty", false), std::pair("everywhere", true),
                               std::pair("just often enough", true), std::pair("long", false), std::pair("too rare", false)));
  EXPECT_EQ(out.schema->num_fields(), 5);
}

TEST(AttributeColumns, OfManyDistinctTextsAreNoDictionary) {
  AttributeLists lists;
  for (int i = 0; i < 5000; ++i) {
    lists.String("id", "request-" + std::to_string(i));
    lists.String("shard", std::to_string(i % 100));
    lists.EndRow();
  }
  const auto out = Add({Batch(std::move(lists))}).ValueOrDie();
  EXPECT_EQ(out.keys.Find(kList, "id")->form, AttributeForm::kText);
  EXPECT_EQ(out.keys.Find(kList, "shard")->form, AttributeForm::kDictionary);
  for (const char* key : {"id", "shard"}) {
    const int position = out.keys.Find(kList, key)->position;
    EXPECT_EQ(Texts(*out.batches[0]->column(position)), FromLists(*out.batches[0]->column(kList), key));
  }
}

TEST(AttributeColumns, AreAtMostSoMany) {
  AttributeLists lists;
  for (int i = 0; i < 4; ++i) {
    for (size_t k = 0; k < kAttributeKeysMax + 10; ++k) lists.Int(fmt::format("key {:04}", k).c_str(), i);
    lists.EndRow();
  }
  const auto out = Add({Batch(std::move(lists))}).ValueOrDie();
  EXPECT_EQ(out.schema->num_fields(), 2 + static_cast<int>(kAttributeColumnsMax));
  EXPECT_EQ(out.keys.keys.size(), kAttributeKeysMax);
  EXPECT_FALSE(out.keys.complete) << "a key that is not told may be there";
}

TEST(AttributeColumns, AreTheSameOverBatchesWithDictionariesOfTheirOwnAndSlices) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int b = 0; b < 3; ++b) {
    AttributeLists lists;
    for (int i = 0; i < 50; ++i) {
      if (b > 0) lists.Int("later", b * 100 + i % 7);
      lists.String("route", "/" + std::to_string((i + b) % 5));
      lists.EndRow();
    }
    batches.push_back(Batch(std::move(lists), b * 50));
  }
  batches[1] = batches[1]->Slice(13, 21);
  const auto out = Add(batches).ValueOrDie();
  for (const char* key : {"route", "later"}) {
    const int position = out.keys.Find(kList, key)->position;
    ASSERT_GE(position, 2);
    for (const auto& batch : out.batches) EXPECT_EQ(Texts(*batch->column(position)), FromLists(*batch->column(kList), key));
  }
  EXPECT_EQ(out.keys.Find(kList, "later")->values, 71);
}

TEST(AttributeColumns, BatchesOfOtherColumnsAreRefused) {
  const auto other = arrow::RecordBatch::Make(arrow::schema({arrow::field("number", arrow::int64())}), 0, arrow::ArrayVector{
      arrow::MakeArray(arrow::ArrayData::Make(arrow::int64(), 0, {nullptr, nullptr}))});
  EXPECT_EQ(KindOf(Add({other}).status()), ErrorKind::kInvalid);
}

class AttributesOfParts : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, AttributesOfParts, testing::Values(Format::kHot, Format::kCold),
                         [](const auto& info) { return info.param == Format::kHot ? "Hot" : "Cold"; });

TEST_P(AttributesOfParts, AreReadPrunedAndConformed) {
  io::SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
  const auto batches = MakeSpans(3, 4, 2000);
  const auto schema = batches[0]->schema();
  Layout layout = SpanLayout();
  layout.granule_rows = 1000;
  const PartInfo info = WritePart(&disk, kFolder, {.id = PartId(1), .table = TableId(1), .format = GetParam()}, layout, schema, batches)
                            .ValueOrDie();
  ASSERT_TRUE(VerifyPart(&disk, kFolder, info).ok());
  const auto part = OpenPart(&disk, kFolder, info, schema).ValueOrDie();
  EXPECT_TRUE(part->schema()->Equals(*schema)) << "they are not among the table's columns";
  const int list = schema->GetFieldIndex("attributes");

  // Another version of the table's columns: one was dropped in front of the list, one came.
  arrow::FieldVector fields = schema->fields();
  fields.erase(fields.begin());
  fields.push_back(arrow::field("new", arrow::int64()));
  const auto conformed = ConformSource(part, arrow::schema(fields), {}).ValueOrDie();
  for (const auto& [source, column] : {std::pair(part, list), std::pair(conformed, list - 1)}) {
    ASSERT_NE(source->attributes(), nullptr);
    int read = 0;
    for (const AttributeKey& key : source->attributes()->keys) {
      ASSERT_EQ(key.column, column);
      if (key.position < 0) continue;
      ++read;
      EXPECT_GE(key.position, source->schema()->num_fields());
      EXPECT_TRUE(source->has_filter(key.position));
      for (int g = 0; g < source->num_granules(); ++g) {
        const auto batch = source->Read(g, {key.position, column, key.position}).ValueOrDie();
        ASSERT_TRUE(batch->ValidateFull().ok());
        const auto texts = Texts(*batch->column(0));
        EXPECT_EQ(texts, FromLists(*batch->column(1), key.key)) << key.key;
        EXPECT_EQ(texts, Texts(*batch->column(2)));
        std::vector<int> found;
        ASSERT_TRUE(source->FindGranules(key.position, *texts[0], &found).ok());
        EXPECT_THAT(found, testing::Contains(g));
        const columns::Zone* zone = source->granule_zone(g, key.position);
        ASSERT_NE(zone, nullptr);
        EXPECT_GE(*texts[0], zone->bytes_min);
        EXPECT_GT(source->granule_bytes(g, {key.position}), 0);
      }
    }
    EXPECT_EQ(read, 6);
  }
  // Where the list is dropped, so are they.
  const auto without = ConformSource(part, arrow::schema({schema->field(0)}), {}).ValueOrDie();
  ASSERT_NE(without->attributes(), nullptr);
  EXPECT_TRUE(without->attributes()->keys.empty());
}

}  // namespace
}  // namespace sheaf::parts
