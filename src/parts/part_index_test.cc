/// Indexes that are wrong although their checksums are right, as those of another program could be: each is refused by name, or read
/// without what makes no sense.

#include "parts/part_index.h"

#include <cstring>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include <arrow/array/builder_binary.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "columns/id_filter.h"
#include "columns/token_filter.h"
#include "columns/tokens.h"

namespace sheaf::parts {
namespace {

using columns::Zone;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr size_t kHeadBytesAt = 12, kIdentityAt = 16, kFormatAt = 68, kBlockBytesAt = 76, kRowsAt = 80, kDataBytesAt = 88;
constexpr size_t kBodyBytesAt = 136, kGranulesAt = 144, kColumnsAt = 148, kSectionCountAt = 152, kBodyBlocksAt = 156;
constexpr size_t kDataBlocksAt = 160, kSectionsAt = 168, kSectionBytes = 24;
/// Sections of Sound(), in their order in the file.
enum SoundSection : size_t { kGranules, kColumnBytes, kZonesOf0, kZonesOf1, kFilterOf1, kKeys, kKeyFilter };

constexpr size_t SectionAt(SoundSection section) { return kSectionsAt + section * kSectionBytes; }

template <typename T>
void Store(T value, size_t at, std::string* file) {
  std::memcpy(file->data() + at, &value, sizeof value);
}

template <typename T>
T Load(const std::string& file, size_t at) {
  T out{};
  std::memcpy(&out, file.data() + at, sizeof out);
  return out;
}

/// Makes the head's checksum fit again.
void Seal(std::string* file) {
  const size_t end = Load<uint32_t>(*file, kHeadBytesAt) - sizeof(uint64_t);
  Store(static_cast<uint64_t>(XXH3_64bits(file->data(), end)), end, file);
}

Zone Between(int64_t low, int64_t high) {
  Zone zone;
  zone.kind = Zone::Kind::kInt64;
  zone.int_min = low;
  zone.int_max = high;
  return zone;
}

/// Of a part with two granules of two and three rows, keyed by column 0, with a filter on column 1.
IndexContents Sound() {
  IndexContents out;
  out.info.id = PartId(7);
  out.info.file_uuid = "0123456789abcdef";
  out.info.rows = 5;
  out.info.data_bytes = 100;
  out.info.key_min = "a";
  out.info.key_max = "e";
  out.columns = 2;
  out.data_sums = {1};
  out.granules = {{2, 0, 40}, {3, 40, 60}};
  out.column_bytes = {{10, 30}, {20, 40}};
  Zone words;
  words.kind = Zone::Kind::kBytes;
  words.bytes_min = "cat";
  words.bytes_max = "dog";
  out.zones = {{Between(1, 5), Between(1, 2), Between(3, 5)}, {words, words, words}};
  columns::IdFilterBuilder filter, keys;
  filter.AddValue("cat", 0);
  filter.AddValue("dog", 1);
  out.filters.emplace_back(1, filter.Finish());
  out.keys.emplace().columns = {0};
  out.keys->separators.Add("");
  out.keys->separators.Add("c");
  int granule = 0;
  for (const char* key : {"a", "b", "c", "d", "e"}) keys.AddValue(key, static_cast<uint32_t>(granule++ < 2 ? 0 : 1));
  out.key_filter = keys.Finish();
  return out;
}

Result<std::unique_ptr<PartIndex>> Open(std::string file) {
  return PartIndex::Open(arrow::Buffer::FromString(std::move(file)), "part-7.idx");
}

Result<std::unique_ptr<PartIndex>> Open(const std::function<void(IndexContents*)>& change) {
  IndexContents contents = Sound();
  change(&contents);
  return Open(EncodeIndex(contents));
}

struct Lie {
  const char* name;
  std::function<void(std::string*)> tell;  // Changes the head, whose checksum is made to fit.
  const char* refusal;

  friend void PrintTo(const Lie& row, std::ostream* out) { *out << row.name; }
};

template <typename T>
std::function<void(std::string*)> Put(size_t at, T value) {
  return [=](std::string* file) { Store(value, at, file); };
}

class HeadThatLies : public testing::TestWithParam<Lie> {};

TEST_P(HeadThatLies, IsRefusedByName) {
  std::string file = EncodeIndex(Sound());
  ASSERT_TRUE(Open(file).ok()) << Open(file).status().ToString();
  GetParam().tell(&file);
  Seal(&file);
  const Status refused = Open(file).status();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
  EXPECT_THAT(refused.message(), testing::AllOf(HasSubstr("part-7.idx"), HasSubstr(GetParam().refusal)));
}

constexpr int64_t kFar = std::numeric_limits<int64_t>::max();
const Lie kLies[] = {
    {"Format", Put<uint32_t>(kFormatAt, 3), "its identity makes no sense"},
    {"BlockBytes", Put<uint32_t>(kBlockBytesAt, 4096), "its identity makes no sense"},
    {"Rows", Put<int64_t>(kRowsAt, -1), "its identity makes no sense"},
    {"DataBytes", Put<int64_t>(kDataBytesAt, -1), "its identity makes no sense"},
    {"EndsInItsIdentity", Put<uint32_t>(kHeadBytesAt, kIdentityAt + 40), "its identity makes no sense"},
    {"EndsInItsCounts", Put<uint32_t>(kHeadBytesAt, kSectionCountAt + 8), "its counts make no sense"},
    {"Granules", Put<uint32_t>(kGranulesAt, (1u << 28) + 1), "its counts make no sense"},
    {"Columns", Put<uint32_t>(kColumnsAt, (1u << 28) + 1), "its counts make no sense"},
    {"Sections", Put<uint32_t>(kSectionCountAt, 1u << 20), "its counts make no sense"},
    {"DataBlocks", Put<uint64_t>(kDataBlocksAt, uint64_t{1} << 60), "its counts make no sense"},
    {"SectionBeforeTheBody", Put<int64_t>(SectionAt(kZonesOf0) + 8, -64), "a section lies outside of it"},
    {"SectionOfNegativeSize", Put<int64_t>(SectionAt(kZonesOf0) + 16, -1), "a section lies outside of it"},
    {"SectionBehindTheBody", Put<int64_t>(SectionAt(kZonesOf0) + 8, kFar), "a section lies outside of it"},
    {"SectionTooLong", Put<int64_t>(SectionAt(kZonesOf0) + 16, kFar), "a section lies outside of it"},
    {"BodyBytes", [](std::string* f) { Store(Load<uint64_t>(*f, kBodyBytesAt) + 1, kBodyBytesAt, f); }, "its length is not what its head"},
    {"ManyBodySums", Put<uint32_t>(kBodyBlocksAt, 1u << 31), "its length is not what its head"},
    {"NoBodySum", Put<uint32_t>(kBodyBlocksAt, 0), "the number of checksums"},
    {"MoreDataThanSums", Put<int64_t>(kDataBytesAt, kBlockBytes + 1), "the number of checksums"},
    {"MoreColumnsThanZones", Put<uint32_t>(kColumnsAt, 9), "it has too many columns"},
    {"MoreGranulesThanFit", Put<uint32_t>(kGranulesAt, 1u << 27), "it has too many granules"},
    {"NoGranules", Put<uint32_t>(SectionAt(kGranules), 99), "it lists no granules"},
    {"FewerGranulesThanCounted", Put<int64_t>(SectionAt(kGranules) + 16, 24), "granule 1 lies outside the part"},
    {"ZonesOfNoColumn", Put<int32_t>(SectionAt(kZonesOf0) + 4, -1), "a section of column -1 of 2"},
    {"FilterOfNoColumn", Put<int32_t>(SectionAt(kFilterOf1) + 4, 2), "a section of column 2 of 2"},
    {"KeysWithoutACount", Put<int64_t>(SectionAt(kKeys) + 16, 3), "its keys have no columns"},
    {"MoreKeyColumnsThanBytes", Put<int64_t>(SectionAt(kKeys) + 16, 7), "its keys have no columns"},
    {"KeysThatEndInABound", Put<int64_t>(SectionAt(kKeys) + 16, 10), "its keys make no sense"},
};
INSTANTIATE_TEST_SUITE_P(PartIndex, HeadThatLies, testing::ValuesIn(kLies), [](const auto& info) { return info.param.name; });

TEST(PartIndexFile, WhatIsNoIndexIsRefused) {
  const std::string good = EncodeIndex(Sound());
  const auto refusal = [](std::string file) { return Open(std::move(file)).status(); };
  EXPECT_THAT(refusal(good.substr(0, 15)).message(), HasSubstr("not a part index"));
  std::string bad = good;
  bad[0] = 'X';
  EXPECT_THAT(refusal(bad).message(), HasSubstr("not a part index"));
  for (const uint32_t head_bytes : {uint32_t{23}, static_cast<uint32_t>(good.size() + 1)}) {
    bad = good;
    Store(head_bytes, kHeadBytesAt, &bad);
    EXPECT_EQ(KindOf(refusal(bad)), ErrorKind::kCorruption);
    EXPECT_THAT(refusal(bad).message(), HasSubstr("the index's head is damaged"));
  }
  bad = good;
  Store<uint32_t>(3, 8, &bad);
  Seal(&bad);
  EXPECT_EQ(KindOf(refusal(bad)), ErrorKind::kUnsupported) << "a newer version is no damage";
}

TEST(PartIndexFile, AttributesComeBackAndMakeAnOlderProgramRefuseThePart) {
  const auto with = [](IndexContents* contents) {
    contents->attributes = {.keys = {{.column = 0, .key = "rare", .values = 1, .types = 2},
                                     {.column = 0, .key = "route", .values = 5, .types = 2,
                                      .form = columns::AttributeForm::kText, .position = 1}},
                            .complete = true};
  };
  const auto index = Open(with).ValueOrDie();
  ASSERT_NE(index->attributes(), nullptr);
  EXPECT_TRUE(index->attributes()->complete);
  const columns::AttributeKey* route = index->attributes()->Find(0, "route");
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->position, 1);
  EXPECT_EQ(route->values, 5);
  EXPECT_EQ(route->form, columns::AttributeForm::kText);
  EXPECT_EQ(index->attributes()->Find(1, "route"), nullptr);
  IndexContents contents = Sound();
  EXPECT_EQ(EncodeIndex(contents)[8], 1);
  contents.attributes = {.keys = {{.column = 0, .key = "rare", .values = 1, .types = 2}}, .complete = true};
  EXPECT_EQ(EncodeIndex(contents)[8], 1) << "the data file is as it was";
  with(&contents);
  EXPECT_EQ(EncodeIndex(contents)[8], 2);
}

TEST(PartIndexFile, AttributesThatMakeNoSenseAreRefused) {
  struct Row {
    columns::AttributeKey key;
    const char* refusal;
  };
  const auto form = columns::AttributeForm::kDictionary;
  const Row rows[] = {
      {{.column = 0, .key = "k", .position = 1}, "an attribute's column has no form"},
      {{.column = 0, .key = "k", .form = form}, "an attribute's column has no form"},
      {{.column = 0, .key = "k", .form = static_cast<columns::AttributeForm>(9), .position = 1}, "its attributes make no sense"},
      {{.column = 1, .key = "k", .form = form, .position = 1}, "an attribute is of a column that is not there"},
      {{.column = -1, .key = "k"}, "an attribute is of a column that is not there"},
      {{.column = 0, .key = "k", .form = form, .position = 0}, "an attribute's column is not where it belongs"},
  };
  for (const Row& row : rows) {
    const auto index = Open([&](IndexContents* contents) { contents->attributes = {.keys = {row.key}, .complete = true}; });
    EXPECT_EQ(KindOf(index.status()), ErrorKind::kCorruption);
    EXPECT_THAT(index.status().message(), HasSubstr(row.refusal));
  }
}

TEST(PartIndexFile, GranulesAndKeysThatMakeNoSenseAreRefused) {
  struct Row {
    std::function<void(IndexContents*)> change;
    const char* refusal;
  };
  const Row rows[] = {
      {[](IndexContents* c) { c->granules[0].rows = -1; }, "granule 0 lies outside the part"},
      {[](IndexContents* c) { c->granules[1].rows = 4; }, "granule 1 lies outside the part"},
      {[](IndexContents* c) { c->granules[0].offset = -1; }, "granule 0 lies outside the part"},
      {[](IndexContents* c) { c->granules[0].bytes = -1; }, "granule 0 lies outside the part"},
      {[](IndexContents* c) { c->granules[1].offset = 101; }, "granule 1 lies outside the part"},
      {[](IndexContents* c) { c->granules[1].bytes = kFar; }, "granule 1 lies outside the part"},
      {[](IndexContents* c) { c->granules[1].rows = 2; }, "granules have 4 rows, the part 5"},
      {[](IndexContents* c) { c->keys->columns.clear(); }, "its keys have no columns"},
      {[](IndexContents* c) { c->keys->columns = {-1}; }, "a key column is none of its columns"},
      {[](IndexContents* c) { c->keys->columns = {2}; }, "a key column is none of its columns"},
      {[](IndexContents* c) { c->info.key_min = "f"; }, "its keys make no sense"},
      {[](IndexContents* c) { c->keys->separators.ends = {1, 0}; }, "separators of its keys lie outside"},
      {[](IndexContents* c) { c->keys->separators.ends = {0, 2}; }, "separators of its keys lie outside"},
      {[](IndexContents* c) { c->keys->separators.ends = {1, 1}; }, "separators of its keys are out of order"},
      {[](IndexContents* c) { c->key_filter = "?"; }, "an id filter of 1 bytes"},
  };
  for (const Row& row : rows) {
    const Status refused = Open(row.change).status();
    ASSERT_FALSE(refused.ok()) << row.refusal;
    EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
    EXPECT_THAT(refused.message(), testing::AllOf(HasSubstr("part-7.idx"), HasSubstr(row.refusal)));
  }
}

/// Zones and sizes only make reading faster: where they cannot be read, nothing is known.
TEST(PartIndexFile, ZonesAndSizesThatMakeNoSenseAreNotKnown) {
  const auto sound = Open(EncodeIndex(Sound())).ValueOrDie();
  EXPECT_EQ(sound->zone(1, 0)->int_min, 3);
  EXPECT_EQ(sound->zone(-1, 1)->bytes_max, "dog");
  EXPECT_EQ(sound->column_bytes(1, 1), 40);
  const auto index = Open([](IndexContents* c) {
                       c->zones[0][1].kind = static_cast<Zone::Kind>(9);
                       c->zones[1].resize(1);
                       c->zones[1][0].kind = Zone::Kind::kNone;
                       c->column_bytes.pop_back();
                       c->columns = 3;  // The third has no zones at all.
                     }).ValueOrDie();
  for (int column = 0; column < 3; ++column) {
    EXPECT_EQ(index->zone(0, column), nullptr) << column;
    EXPECT_EQ(index->zone(0, column), nullptr) << "nor when asked again";
    EXPECT_EQ(index->column_bytes(0, column), 0);
  }
}

TEST(PartIndexFile, ZonesOfEveryKindComeBack) {
  std::vector<Zone> zones(3);
  zones[0].kind = Zone::Kind::kUint64;
  zones[0].int_max = -1;
  zones[1].kind = Zone::Kind::kDouble;
  zones[1].double_min = -0.5;
  zones[1].double_max = 2;
  zones[1].has_nan = true;
  zones[2].kind = Zone::Kind::kBytes;
  zones[2].bytes_max = "zz";
  zones[2].bytes_max_is_exact = zones[2].bytes_min_is_exact = false;
  zones[2].null_count = 3;
  const auto index = Open([&](IndexContents* c) { c->zones[0] = zones; }).ValueOrDie();
  EXPECT_EQ(index->zone(-1, 0)->kind, Zone::Kind::kUint64);
  EXPECT_EQ(index->zone(-1, 0)->int_max, -1);
  EXPECT_EQ(index->zone(0, 0)->double_min, -0.5);
  EXPECT_EQ(index->zone(0, 0)->double_max, 2);
  EXPECT_TRUE(index->zone(0, 0)->has_nan);
  EXPECT_EQ(index->zone(1, 0)->bytes_max, "zz");
  EXPECT_FALSE(index->zone(1, 0)->bytes_max_is_exact || index->zone(1, 0)->bytes_min_is_exact);
  EXPECT_EQ(index->zone(1, 0)->null_count, 3);
}

TEST(PartIndexFile, SectionsOfALaterKindAreSkipped) {
  std::string file = EncodeIndex(Sound());
  Store<uint32_t>(99, SectionAt(kZonesOf0), &file);
  Seal(&file);
  const auto index = Open(file).ValueOrDie();
  EXPECT_EQ(index->zone(0, 0), nullptr);
  EXPECT_EQ(index->FindKey("d").ValueOrDie(), 1);
}

TEST(PartIndexFile, ReportsOfColumnsThatMakeNoSenseKeepNobodyFromReadingThePart) {
  const auto without = Open(EncodeIndex(Sound())).ValueOrDie();
  EXPECT_FALSE(without->has_reports());
  const auto index = Open([](IndexContents* c) { c->reports = "no reports"; }).ValueOrDie();
  ASSERT_TRUE(index->has_reports());
  EXPECT_EQ(index->ReportBytes().ValueOrDie(), "no reports");
  EXPECT_EQ(index->FindKey("d").ValueOrDie(), 1);
  EXPECT_EQ(KindOf(index->Verify()), ErrorKind::kCorruption);
}

TEST(PartIndexFile, FiltersThatMakeNoSenseAreErrorsOfTheLookUp) {
  std::vector<int> found;
  const auto find = [&](const PartIndex& index, int column, const char* value) {
    found.clear();
    return index.Find(column, value, &found);
  };
  const auto sound = Open(EncodeIndex(Sound())).ValueOrDie();
  EXPECT_TRUE(find(*sound, 1, "dog").ok());
  EXPECT_THAT(found, ElementsAre(1));
  for (const int column : {-1, 0, 2}) {
    EXPECT_FALSE(sound->has_filter(column));
    EXPECT_EQ(KindOf(find(*sound, column, "dog")), ErrorKind::kInvalid);
  }
  const auto none = Open([](IndexContents* c) { c->filters[0].second = "?"; }).ValueOrDie();
  EXPECT_EQ(KindOf(find(*none, 1, "dog")), ErrorKind::kCorruption);
  const auto beyond = Open([](IndexContents* c) {
                        columns::IdFilterBuilder filter;
                        filter.AddValue("dog", 5);
                        c->filters[0].second = filter.Finish();
                      }).ValueOrDie();
  EXPECT_THAT(find(*beyond, 1, "dog").message(), HasSubstr("an id filter names granule 5"));
  const auto key = Open([](IndexContents* c) {
                     columns::IdFilterBuilder filter;
                     filter.AddValue("d", 5);
                     c->key_filter = filter.Finish();
                   }).ValueOrDie();
  EXPECT_EQ(KindOf(key->FindKey("d").status()), ErrorKind::kCorruption);
  EXPECT_THAT(key->FindKey("d").status().message(), HasSubstr("names a granule that is not there"));
}

std::string TokensOf(int granules) {
  arrow::StringBuilder texts;
  EXPECT_TRUE(texts.Append("a dog barks").ok());
  const auto column = texts.Finish().ValueOrDie();
  columns::TokenFilterBuilder filter;
  for (int g = 0; g < granules; ++g) EXPECT_TRUE(filter.Add(*column->data()).ok());
  return filter.Finish();
}

TEST(PartIndexFile, TokenIndexesAreAskedVerifiedAndRefused) {
  columns::TextNeeds needs;
  columns::AddNeedsOfToken("dog", &needs);
  const int granules = static_cast<int>(Sound().granules.size());
  const auto with = [](std::string tokens) {
    return Open([&](IndexContents* c) { c->token_filters.emplace_back(1, std::move(tokens)); }).ValueOrDie();
  };
  const auto sound = with(TokensOf(granules));
  std::vector<int> found;
  ASSERT_TRUE(sound->FindTokens(1, needs, &found).ok());
  EXPECT_EQ(std::ssize(found), granules);
  EXPECT_TRUE(sound->Verify().ok());
  EXPECT_EQ(sound->TokenFilterBytes(1).ValueOrDie(), TokensOf(granules));
  for (const int column : {-1, 0, 2}) {
    EXPECT_FALSE(sound->has_tokens(column));
    EXPECT_EQ(KindOf(sound->FindTokens(column, needs, &found)), ErrorKind::kInvalid);
  }
  for (const std::string& other : {std::string("?"), TokensOf(granules + 1)}) {
    found.clear();
    const auto index = with(other);
    EXPECT_EQ(KindOf(index->FindTokens(1, needs, &found)), ErrorKind::kCorruption);
    EXPECT_TRUE(found.empty());
    EXPECT_EQ(KindOf(index->Verify()), ErrorKind::kCorruption);
  }
}

TEST(PartIndexFile, DamageOfATokenIndexIsAnErrorOfTheLookUpsThatReadIt) {
  IndexContents contents = Sound();
  arrow::StringBuilder texts;
  constexpr int kTokens = 100'000;
  for (int i = 0; i < kTokens; ++i) ASSERT_TRUE(texts.Append(std::to_string(i)).ok());
  const auto column = texts.Finish().ValueOrDie();
  columns::TokenFilterBuilder filter;
  for (size_t g = 0; g < contents.granules.size(); ++g) ASSERT_TRUE(filter.Add(*column->data()).ok());
  contents.token_filters.emplace_back(1, filter.Finish());
  std::string file = EncodeIndex(contents);
  const size_t at = file.find(contents.token_filters[0].second);
  ASSERT_NE(at, std::string::npos);
  ASSERT_GT(contents.token_filters[0].second.size(), 3 * static_cast<size_t>(kBlockBytes));
  file[at + 2 * static_cast<size_t>(kBlockBytes)] ^= 1;
  const auto index = Open(file).ValueOrDie();
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    columns::TextNeeds needs;
    columns::AddNeedsOfToken(std::to_string(i), &needs);
    std::vector<int> found;
    const Status error = index->FindTokens(1, needs, &found);
    if (error.ok()) {
      EXPECT_THAT(found, ElementsAre(0, 1));
      continue;
    }
    ++refused;
    ASSERT_EQ(KindOf(error), ErrorKind::kCorruption);
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 1000);
  EXPECT_EQ(KindOf(index->TokenFilterBytes(1).status()), ErrorKind::kCorruption);
  EXPECT_EQ(KindOf(index->Verify()), ErrorKind::kCorruption);
}

TEST(PartIndexFile, KeysAreFoundWithTheirFilterAndWithout) {
  std::string file = EncodeIndex(Sound());
  const auto with = Open(file).ValueOrDie();
  Store<uint32_t>(99, SectionAt(kKeyFilter), &file);
  Seal(&file);
  const auto without = Open(file).ValueOrDie();
  for (const char* key : {"a", "b", "c", "d", "e"}) {
    const int granule = key[0] < 'c' ? 0 : 1;
    with->PrefetchKey(key);
    without->PrefetchKey(key);
    EXPECT_EQ(with->FindKey(key).ValueOrDie(), granule);
    EXPECT_EQ(without->FindKey(key).ValueOrDie(), granule);
  }
  EXPECT_EQ(with->FindKey("bb").ValueOrDie(), -1);
  EXPECT_EQ(without->FindKey("bb").ValueOrDie(), 0) << "it may hold it, as far as can be told";
  for (const char* outside : {"", "f"}) EXPECT_EQ(without->FindKey(outside).ValueOrDie(), -1);
  EXPECT_EQ(without->KeyFilterBytes().ValueOrDie(), "");
  EXPECT_EQ(with->KeyFilterBytes().ValueOrDie(), Sound().key_filter);

  Store<uint32_t>(6, SectionAt(kKeyFilter), &file);
  Store<uint32_t>(99, SectionAt(kKeys), &file);
  Seal(&file);
  EXPECT_EQ(Open(file).ValueOrDie()->keys(), nullptr) << "a filter alone finds no keys";
}

TEST(PartIndexFile, APartWithoutRowsHoldsNoKey) {
  const auto index = Open([](IndexContents* c) {
                       *c = {};
                       c->info.file_uuid = "0123456789abcdef";
                       c->columns = 1;
                       c->zones = {{Zone()}};
                       c->keys.emplace().columns = {0};
                       c->key_filter = columns::IdFilterBuilder().Finish();
                     }).ValueOrDie();
  EXPECT_EQ(index->granules(), 0);
  EXPECT_TRUE(index->data_sums().empty());
  EXPECT_EQ(index->FindKey("").ValueOrDie(), -1);
}

TEST(PartIndexFile, ABlockThatIsJustFullHasOneChecksum) {
  EXPECT_TRUE(Open([](IndexContents* c) { c->info.data_bytes = kBlockBytes; }).ok());
}

/// Filters are checked block by block when they are asked, not when the part is opened.
TEST(PartIndexFile, ADamagedFilterIsAnErrorOfItsLookUpsOnly) {
  IndexContents contents = Sound();
  columns::IdFilterBuilder ids, keys;
  for (int i = 0; i < 60'000; ++i) {
    ids.AddValue(fmt::format("id-{}", i), static_cast<uint32_t>(i % 2));
    keys.AddValue(fmt::format("b{}", i), 0);
  }
  contents.filters[0].second = ids.Finish();
  contents.key_filter = keys.Finish();
  ASSERT_GT(contents.key_filter.size(), size_t{2 * kBlockBytes});
  const std::string good = EncodeIndex(contents);
  const size_t head_bytes = Load<uint32_t>(good, kHeadBytesAt);
  for (const SoundSection section : {kFilterOf1, kKeyFilter}) {
    std::string bad = good;
    const auto offset = Load<int64_t>(good, SectionAt(section) + 8), bytes = Load<int64_t>(good, SectionAt(section) + 16);
    bad[head_bytes + static_cast<size_t>(offset + bytes - kBlockBytes)] ^= 1;
    const auto index = Open(bad).ValueOrDie();
    int refused = 0;
    for (int i = 0; i < 500; ++i) {
      std::vector<int> found;
      const Status by_id = index->Find(1, fmt::format("id-{}", i), &found);
      const auto by_key = index->FindKey(fmt::format("b{}", i));
      if (section == kFilterOf1) {
        ASSERT_EQ(by_key.ValueOrDie(), 0);
      } else {
        ASSERT_TRUE(by_id.ok());
      }
      const Status error = section == kFilterOf1 ? by_id : by_key.status();
      if (error.ok()) {
        EXPECT_THAT(section == kFilterOf1 ? found : std::vector<int>{*by_key}, testing::Contains(section == kFilterOf1 ? i % 2 : 0));
        continue;
      }
      ++refused;
      ASSERT_EQ(KindOf(error), ErrorKind::kCorruption);
    }
    EXPECT_GT(refused, 0);
    EXPECT_LT(refused, 500);
    const Status whole = section == kFilterOf1 ? index->FilterBytes(1).status() : index->KeyFilterBytes().status();
    EXPECT_EQ(KindOf(whole), ErrorKind::kCorruption);
    EXPECT_EQ(KindOf(index->Verify()), ErrorKind::kCorruption);
  }
}

TEST(PartIndexFile, ADamagedHeadOfAKeyFilterIsFoundWhenOpened) {
  IndexContents contents = Sound();
  const std::string first = EncodeIndex(contents);  // The filter moves to the beginning of the second block, where nothing else is.
  contents.info.key_max += std::string(static_cast<size_t>(kBlockBytes - Load<int64_t>(first, SectionAt(kKeyFilter) + 8)), 'x');
  std::string file = EncodeIndex(contents);
  ASSERT_EQ(Load<int64_t>(file, SectionAt(kKeyFilter) + 8), kBlockBytes);
  ASSERT_TRUE(Open(file).ok());
  file[Load<uint32_t>(file, kHeadBytesAt) + kBlockBytes] ^= 1;
  const Status refused = Open(file).status();
  EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption);
  EXPECT_THAT(refused.message(), HasSubstr("block 1"));
}

}  // namespace
}  // namespace sheaf::parts
