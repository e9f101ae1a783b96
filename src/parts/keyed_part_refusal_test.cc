/// Keyed parts whose keys are not those of their table, are no keys, or cannot be read: errors of whoever asks, never another row.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/id_filter.h"
#include "io/sim_testing.h"
#include "parts/keyed_part.h"
#include "parts/part_damage_testing.h"

namespace sheaf::parts {
namespace {

using columns::KeyCodec;
using testing::HasSubstr;
using Schema = std::shared_ptr<arrow::Schema>;
using Batch = std::shared_ptr<arrow::RecordBatch>;

const char* const kFolder = "/parts";
constexpr int kRows = 30, kGranuleRows = 10;

Schema Table(bool nullable = false) {
  return arrow::schema({arrow::field("id", arrow::int32(), nullable), arrow::field("tags", arrow::list(arrow::int32()), false)});
}

/// Keys 0, 2, 4 … with a list each. `null_at`: the row whose key is NULL.
Batch Rows(std::optional<int> null_at = {}) {
  arrow::Int32Builder id;
  arrow::UInt64Builder lsn;
  const auto items = std::make_shared<arrow::Int32Builder>();
  arrow::ListBuilder tags(arrow::default_memory_pool(), items);
  for (int i = 0; i < kRows; ++i) {
    EXPECT_TRUE((i == null_at ? id.AppendNull() : id.Append(2 * i)).ok() && lsn.Append(100 + static_cast<uint64_t>(i)).ok());
    EXPECT_TRUE(tags.Append().ok() && items->Append(i).ok());
  }
  return arrow::RecordBatch::Make(KeyedSchema(*Table(null_at.has_value())), kRows, {*id.Finish(), *tags.Finish(), *lsn.Finish()});
}

class KeyedRefusal : public testing::TestWithParam<Format> {
 protected:
  KeyedRefusal() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }

  void Write(const Batch& rows, bool keyed = true) {
    PartInfo info;
    info.id = PartId(7);
    info.format = GetParam();
    Layout layout;
    layout.granule_rows = kGranuleRows;
    if (keyed) layout.sort_columns = layout.key_columns = {0};
    written_ = rows->schema()->RemoveField(rows->num_columns() - 1).ValueOrDie();
    info_ = WritePart(&disk_, kFolder, info, layout, rows->schema(), {rows}).ValueOrDie();
  }
  Result<std::shared_ptr<const KeyedPart>> Open(const Schema& schema = Table(), const std::vector<int>& keys = {0}) {
    KeyedPart::Options options{.keys = KeyCodec::Make(schema, keys).ValueOrDie(), .schema = schema, .written = written_};
    options.cache = cached_ ? &cache_ : nullptr;
    return KeyedPart::Open(&disk_, kFolder, info_, std::move(options));
  }
  std::string Key(int id) {
    arrow::Int32Builder builder;
    EXPECT_TRUE(builder.Append(id).ok());
    const auto batch = arrow::RecordBatch::Make(arrow::schema({Table()->field(0)}), 1, {*builder.Finish()});
    return std::string((*KeyCodec::Make(batch->schema(), {0}).ValueOrDie()->Encode(*batch))[0]);
  }
  /// Changes index and data as somebody would who knows the checksums.
  void Rewrite(const std::function<void(IndexContents*)>& change, const std::function<void(std::string*)>& change_data = nullptr) {
    const std::string index_path = io::Join(kFolder, IndexFileName(info_.id)), data_path = io::Join(kFolder, info_.file_name);
    std::string data = disk_.Contents(data_path).ValueOrDie();
    const auto index = PartIndex::Open(arrow::Buffer::FromString(disk_.Contents(index_path).ValueOrDie()), "index").ValueOrDie();
    IndexContents contents = ContentsOf(*index);
    if (change_data) change_data(&data);
    contents.data_sums = BlockSums(data);
    if (change) change(&contents);
    const std::string bytes = EncodeIndex(contents);
    disk_.SetContents(index_path, bytes);
    disk_.SetContents(data_path, data);
    info_.index_bytes = static_cast<int64_t>(bytes.size());
    info_.digest = DigestOf(contents.data_sums);
    info_.key_min = contents.info.key_min;
    info_.key_max = contents.info.key_max;
  }
  static columns::KeyColumn Keys(const std::vector<std::string>& keys) {
    columns::KeyColumn out;
    for (const std::string& key : keys) out.Add(key);
    return out;
  }

  io::SimFileSystem disk_;
  PartInfo info_;
  Schema written_;
  bool cached_ = true;
  GranuleCache cache_{1 << 20};
};
INSTANTIATE_TEST_SUITE_P(Parts, KeyedRefusal, testing::Values(Format::kHot, Format::kCold),
                         [](const auto& info) { return info.param == Format::kHot ? "Hot" : "Cold"; });

TEST_P(KeyedRefusal, KeysOfAnotherTableAreRefused) {
  Write(Rows());
  ASSERT_TRUE(Open().ok());
  const auto refusal = [](const Result<std::shared_ptr<const KeyedPart>>& opened) { return opened.status(); };
  const auto wider = Table()->SetField(0, arrow::field("id", arrow::int64(), false)).ValueOrDie();
  EXPECT_EQ(KindOf(refusal(Open(wider))), ErrorKind::kCorruption);
  EXPECT_THAT(refusal(Open(wider)).message(), HasSubstr("its key column 0 is of type int32, the table's of int64"));
  const auto narrower = Table()->SetField(0, arrow::field("id", arrow::int8(), false)).ValueOrDie();
  EXPECT_EQ(KindOf(refusal(Open(narrower))), ErrorKind::kUnsupported);
  const auto two = arrow::schema({arrow::field("id", arrow::int32(), false), arrow::field("id2", arrow::int32())});
  EXPECT_EQ(KindOf(refusal(Open(two, {0, 1}))), ErrorKind::kCorruption);
  EXPECT_THAT(refusal(Open(two, {0, 1})).message(), HasSubstr("has 1 key columns, its table 2"));
  Write(Rows(), /*keyed=*/false);
  EXPECT_EQ(KindOf(refusal(Open())), ErrorKind::kCorruption);
  EXPECT_THAT(refusal(Open()).message(), HasSubstr("has 0 key columns, its table 1"));
}

TEST_P(KeyedRefusal, RowsWithNestedColumnsAreFoundWithAndWithoutACache) {
  Write(Rows());
  for (const bool cached : {true, false}) {
    cached_ = cached;
    const auto part = Open().ValueOrDie();
    for (const int i : {0, 9, 10, 29}) {
      const KeyedPartRow row = part->Row(*part->Find(Key(2 * i)).ValueOrDie()).ValueOrDie();
      EXPECT_EQ(row.lsn, Lsn(100 + static_cast<uint64_t>(i)));
      EXPECT_EQ(row.batch->column(1)->GetScalar(row.row).ValueOrDie()->ToString(), fmt::format("list<item: int32>[{}]", i));
    }
    EXPECT_EQ(cache_.stats().bytes > 0, cached && GetParam() == Format::kCold);
  }
}

/// A filter may name a granule for a key that it does not hold.
TEST_P(KeyedRefusal, AKeyThatOnlyTheFilterHasIsNotThere) {
  Write(Rows());
  Rewrite([&](IndexContents* c) {
    columns::IdFilterBuilder filter;
    for (int i = 0; i < 2 * kRows; ++i) filter.AddValue(Key(i), static_cast<uint32_t>(i / (2 * kGranuleRows)));
    c->key_filter = filter.Finish();
  });
  const auto part = Open().ValueOrDie();
  std::vector<std::string> keys;
  for (int i = 0; i < 2 * kRows; ++i) {
    keys.push_back(Key(i));
    EXPECT_EQ(part->Find(keys.back()).ValueOrDie().has_value(), i % 2 == 0) << i;
  }
  const auto found = part->FindMany(Keys(keys)).ValueOrDie();
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].has_value(), i % 2 == 0);
}

TEST_P(KeyedRefusal, AFilterThatLiesIsAnErrorOfTheLookUp) {
  Write(Rows());
  Rewrite([&](IndexContents* c) {
    columns::IdFilterBuilder filter;
    filter.AddValue(Key(4), 9);
    c->key_filter = filter.Finish();
  });
  const auto part = Open().ValueOrDie();
  EXPECT_EQ(KindOf(part->Find(Key(4)).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(part->FindMany(Keys({Key(0), Key(4)})).status()), ErrorKind::kCorruption);
}

TEST_P(KeyedRefusal, KeysThatAreNullAreAnErrorOfTheirGranule) {
  Write(Rows(kGranuleRows + 3), /*keyed=*/false);  // A keyed table would not have written it.
  Rewrite([&](IndexContents* c) {
    PartKeys& keys = c->keys.emplace();
    keys.columns = {0};
    columns::IdFilterBuilder filter;
    for (int i = 0; i < kRows; ++i) filter.AddValue(Key(2 * i), static_cast<uint32_t>(i / kGranuleRows));
    for (int g = 0; g < kRows / kGranuleRows; ++g) keys.separators.Add(g == 0 ? "" : Key(2 * g * kGranuleRows));
    c->info.key_min = Key(0);
    c->info.key_max = Key(2 * kRows);
    c->key_filter = filter.Finish();
  });
  const auto part = Open().ValueOrDie();
  EXPECT_TRUE(part->Find(Key(2)).ValueOrDie().has_value());
  const std::string lost = Key(2 * kGranuleRows + 2);
  EXPECT_EQ(KindOf(part->Find(lost).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(part->FindMany(Keys({Key(2), lost})).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(part->LowerBound(lost).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(part->Scan(lost).status()), ErrorKind::kCorruption);
  const auto cursor = part->Scan("").ValueOrDie();
  for (int i = 0; i < kGranuleRows; ++i) ASSERT_TRUE(cursor->Next().ValueOrDie()) << i;
  const Status refused = cursor->Next().status();
  EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
  EXPECT_THAT(refused.message(), HasSubstr("granule 1: a key is NULL"));
}

TEST_P(KeyedRefusal, RowsThatCannotBeReadAreErrors) {
  Write(Rows());
  Rewrite(nullptr, [](std::string* data) { data->replace(data->size() - 16, 16, 16, '?'); });
  const auto part = Open().ValueOrDie();
  EXPECT_EQ(KindOf(part->Find(Key(2)).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(part->Row({0, 0}).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(part->LowerBound(Key(2)).status()), ErrorKind::kCorruption);
  EXPECT_FALSE(part->Find(Key(1)).ValueOrDie().has_value()) << "the filter alone knows";
}

}  // namespace
}  // namespace sheaf::parts
