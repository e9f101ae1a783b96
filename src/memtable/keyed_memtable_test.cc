#include "memtable/keyed_memtable.h"

#include <atomic>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "core/check.h"

namespace sheaf::memtable {
namespace {

using columns::Random;
using columns::RowText;

std::shared_ptr<arrow::Schema> TestSchema() {
  static const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO)),
                     arrow::field("live", arrow::boolean()), arrow::field("note", arrow::utf8()),
                     arrow::field("price", arrow::float64()), arrow::field("sure", arrow::boolean(), false),
                     arrow::field("venue", arrow::utf8(), false), arrow::field("token", arrow::fixed_size_binary(5))});
  return schema;
}

struct Codecs {
  std::shared_ptr<const columns::KeyCodec> keys = columns::KeyCodec::Make(TestSchema(), {0}).ValueOrDie();
  std::shared_ptr<const columns::RowCodec> rows = columns::RowCodec::Make(TestSchema()).ValueOrDie();
};
const Codecs& TheCodecs() {
  static const Codecs codecs;
  return codecs;
}

std::unique_ptr<KeyedMemtable> MakeTable() {
  return KeyedMemtable::Make({.schema = TestSchema(),
                              .keys = TheCodecs().keys,
                              .rows = TheCodecs().rows,
                              .time_column = 1,
                              .filter_columns = {6},
                              .ordinal = 42})
      .ValueOrDie();
}

/// `ids` in column 0, random values in the others.
std::shared_ptr<arrow::RecordBatch> BatchOf(const std::vector<int64_t>& ids, Random* random) {
  const auto rows = static_cast<int64_t>(ids.size());
  const auto batch = columns::RandomBatch(TestSchema(), rows, random);
  arrow::Int64Builder id;
  SHEAF_CHECK(id.AppendValues(ids).ok());
  return batch->SetColumn(0, TestSchema()->field(0), id.Finish().ValueOrDie()).ValueOrDie();
}

std::string KeyOf(int64_t id) {
  const std::vector<std::shared_ptr<arrow::Scalar>> values = {std::make_shared<arrow::Int64Scalar>(id)};
  return TheCodecs().keys->EncodeScalars(values).ValueOrDie();
}

columns::KeyColumn KeysOf(const std::vector<int64_t>& ids) {
  columns::KeyColumn keys;
  for (const int64_t id : ids) keys.Add(KeyOf(id));
  return keys;
}

void PutRow(KeyedMemtable* table, Lsn lsn, int64_t id, const arrow::RecordBatch& batch, int64_t row = 0) {
  std::string bytes;
  ASSERT_TRUE(TheCodecs().rows->FromBatch(batch, row, &bytes).ok());
  ASSERT_TRUE(TheCodecs().rows->Check(bytes).ok());
  table->AddRow(lsn, bytes, KeyOf(id));
}

/// What `RowText` says of the hit's row alone.
std::string TextOf(const KeyedHit& hit) {
  if (hit.kind != KeyedHit::Kind::kRow) return hit.kind == KeyedHit::Kind::kNone ? "none" : "deleted";
  const auto row = hit.batch->Slice(hit.row, 1);
  EXPECT_TRUE(row->schema()->Equals(*TestSchema()));
  EXPECT_TRUE(row->ValidateFull().ok());
  return RowText(*row, 0);
}

/// Rows of a view that are alive, each as text, in order of the text.
std::multiset<std::string> AliveIn(const KeyedMemtable::View& view) {
  std::multiset<std::string> alive;
  if (view.source == nullptr) return alive;
  std::vector<int> all(static_cast<size_t>(TestSchema()->num_fields()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  int64_t rows = 0;
  for (int g = 0; g < view.source->num_granules(); ++g) {
    const auto batch = view.source->Read(g, all).ValueOrDie();
    EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
    EXPECT_EQ(batch->num_rows(), view.source->granule_rows(g));
    rows += batch->num_rows();
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      if (view.dead == nullptr || !view.dead->IsDead(g, i)) alive.insert(RowText(*batch, i));
    }
  }
  EXPECT_EQ(rows, view.source->rows());
  EXPECT_EQ(rows - (view.dead == nullptr ? 0 : view.dead->count()), static_cast<int64_t>(alive.size()));
  return alive;
}

/// What the memtable must say, kept in the simplest way.
class Model {
 public:
  struct Version {
    uint64_t lsn;
    std::optional<std::string> row;  // None: a deletion.
    uint64_t superseded_by = 0;
    bool told = false;  // By Supersede(); else by a write here, which counts once it is published.
  };
  void Add(uint64_t lsn, int64_t id, std::optional<std::string> row) {
    auto& versions = keys_[KeyOf(id)];
    if (!versions.empty() && versions.back().superseded_by == 0) versions.back().superseded_by = lsn;
    versions.push_back({lsn, std::move(row)});
    log_.push_back({lsn, id, !versions.back().row});
  }
  bool Supersede(int64_t id, uint64_t by) {
    const auto found = keys_.find(KeyOf(id));
    if (found == keys_.end() || !found->second.back().row || found->second.back().superseded_by != 0) return false;
    found->second.back().superseded_by = by;
    found->second.back().told = true;
    return true;
  }
  static std::string TextAt(const std::vector<Version>& versions, uint64_t through) {
    for (auto v = versions.rbegin(); v != versions.rend(); ++v) {
      if (v->lsn <= through) return v->row.value_or("deleted");
    }
    return "none";
  }

  void ExpectSame(const KeyedMemtable& table, uint64_t through, uint64_t published, Random* random) const {
    const uint64_t visible = std::min(through, published);
    std::multiset<std::string> alive;
    for (const auto& [key, versions] : keys_) {
      for (const Version& v : versions) {
        if (v.lsn <= visible && v.row && (v.superseded_by == 0 || v.superseded_by > (v.told ? through : visible)))
          alive.insert(*v.row);
      }
    }
    ASSERT_TRUE(AliveIn(table.ViewAt(Lsn(through))) == alive) << "through " << through << ", published " << published;
    for (const auto& [key, versions] : keys_) {
      const KeyedHit hit = table.Get(key, Lsn(through));
      ASSERT_EQ(TextOf(hit), TextAt(versions, visible));
    }
    auto from = keys_.begin();
    std::advance(from, keys_.empty() ? 0 : (*random)() % keys_.size());
    const auto cursor = table.Scan(from == keys_.end() ? "" : from->first, Lsn(through));
    std::string_view key;
    KeyedHit hit;
    for (; from != keys_.end(); ++from) {
      const std::string want = TextAt(from->second, visible);
      if (want == "none") continue;
      ASSERT_TRUE(cursor->Next(&key, &hit));
      ASSERT_EQ(key, from->first);
      ASSERT_EQ(TextOf(hit), want);
    }
    ASSERT_FALSE(cursor->Next(&key, &hit));
  }

  struct Write {
    uint64_t lsn;
    int64_t id;
    bool deleted;
  };
  const std::vector<Write>& log() const { return log_; }

 private:
  std::map<std::string, std::vector<Version>> keys_;
  std::vector<Write> log_;
};

TEST(KeyedMemtable, AnswersAsAModelDoesAtEveryLsnWhateverIsWrittenAndHow) {
  Random random(columns::TestSeed());
  const auto table = MakeTable();
  Model model;
  uint64_t lsn = 0, published = 0;
  for (int step = 0; step < 500; ++step) {
    ++lsn;
    const auto id = [&] { return static_cast<int64_t>(random() % 300) - 150; };
    const uint64_t kind = random() % 10;
    for (uint64_t part = 0; part < (kind == 9 ? 2 : 1); ++part) {  // An entry may bring several batches.
      if (kind < 6) {
        const int64_t one = id();
        const auto batch = BatchOf({one}, &random);
        PutRow(table.get(), Lsn(lsn), one, *batch);
        model.Add(lsn, one, RowText(*batch, 0));
      } else if (kind < 8) {
        std::vector<int64_t> ids(1 + random() % 4);
        for (int64_t& one : ids) one = id();
        table->AddDeletes(Lsn(lsn), KeysOf(ids));
        for (const int64_t one : ids) model.Add(lsn, one, {});
      } else {
        std::vector<int64_t> ids(1 + random() % (random() % 4 == 0 ? 300 : 30));
        for (int64_t& one : ids) one = id();  // Some twice.
        const auto batch = BatchOf(ids, &random);
        table->AddBatch(Lsn(lsn), batch, KeysOf(ids), 1000);
        for (size_t i = 0; i < ids.size(); ++i) model.Add(lsn, ids[i], RowText(*batch, static_cast<int64_t>(i)));
      }
    }
    if (random() % 3 != 0) table->Publish(Lsn(published = lsn));
    if (step % 20 == 0) model.ExpectSame(*table, random() % (lsn + 3), published, &random);
    if (step % 50 == 0) model.ExpectSame(*table, std::numeric_limits<uint64_t>::max(), published, &random);
  }
  table->Publish(Lsn(published = lsn));
  ASSERT_EQ(table->writes(), static_cast<int64_t>(model.log().size()));
  int64_t rows = 0;
  for (int64_t i = 0; i < table->writes(); ++i) {
    const KeyedWrite write = table->write(i);
    const Model::Write& want = model.log()[static_cast<size_t>(i)];
    ASSERT_EQ(write.lsn, Lsn(want.lsn));
    ASSERT_EQ(write.key, KeyOf(want.id));
    ASSERT_EQ(write.deleted, want.deleted);
    rows += want.deleted ? 0 : 1;
  }
  EXPECT_EQ(table->rows(), rows);
  EXPECT_EQ(table->min_lsn(), Lsn(1));
  EXPECT_EQ(table->max_lsn(), Lsn(lsn));
  EXPECT_EQ(table->ordinal(), 42u);

  // A later memtable wrote some of the keys; told in no order at all.
  for (int i = 0; i < 150; ++i) {
    const auto id = static_cast<int64_t>(random() % 320) - 160;
    const uint64_t by = lsn + 1 + random() % 20;
    ASSERT_EQ(table->Supersede(KeyOf(id), Lsn(by)), model.Supersede(id, by));
    if (i % 15 == 0) model.ExpectSame(*table, lsn - 5 + random() % 30, published, &random);
  }
  for (uint64_t through = lsn - 1; through < lsn + 22; through += 3) model.ExpectSame(*table, through, published, &random);
}

TEST(KeyedMemtable, WritesAreInvisibleUntilPublished) {
  Random random(1);
  const auto table = MakeTable();
  const auto batch = BatchOf({7}, &random);
  PutRow(table.get(), Lsn(5), 7, *batch);
  EXPECT_EQ(TextOf(table->Get(KeyOf(7), Lsn(9))), "none");
  EXPECT_EQ(table->ViewAt(Lsn(9)).source, nullptr);
  std::string_view key;
  KeyedHit hit;
  EXPECT_FALSE(table->Scan("", Lsn(9))->Next(&key, &hit));
  table->Publish(Lsn(5));
  EXPECT_EQ(TextOf(table->Get(KeyOf(7), Lsn(9))), RowText(*batch, 0));
  EXPECT_EQ(TextOf(table->Get(KeyOf(7), Lsn(4))), "none");
  EXPECT_EQ(table->ViewAt(Lsn(9)).source->rows(), 1);
  EXPECT_EQ(table->ViewAt(Lsn(4)).source, nullptr);
}

TEST(KeyedMemtable, AFewRowsCostFewBytes) {
  Random random(1);
  const auto table = MakeTable();
  for (int64_t i = 0; i < 3; ++i) PutRow(table.get(), Lsn(static_cast<uint64_t>(i) + 1), i, *BatchOf({i}, &random));
  EXPECT_LT(table->bytes(), 128 << 10);
}

TEST(KeyedMemtable, ManyRowsFillManyChunksAndOutsizedOnesHaveTheirOwn) {
  Random random(columns::TestSeed());
  const auto table = MakeTable();
  std::vector<std::string> texts;
  for (int64_t i = 0; i < 12'000; ++i) {
    auto batch = BatchOf({i}, &random);
    if (i % 1000 == 7) {  // Text that overflows a chunk's room, and beyond what any chunk is laid out for.
      const auto text = std::make_shared<arrow::StringScalar>(std::string(i % 2000 == 7 ? 200'000 : 30'000, 'x'));
      batch = batch->SetColumn(3, TestSchema()->field(3), arrow::MakeArrayFromScalar(*text, 1).ValueOrDie()).ValueOrDie();
    }
    PutRow(table.get(), Lsn(static_cast<uint64_t>(i) + 1), i, *batch);
    table->Publish(Lsn(static_cast<uint64_t>(i) + 1));
    texts.push_back(RowText(*batch, 0));
    if (i % 61 == 0) {
      ASSERT_EQ(TextOf(table->Get(KeyOf(i), Lsn(static_cast<uint64_t>(i) + 1))), texts.back());
    }
  }
  for (int64_t i = 0; i < 12'000; i += 7) ASSERT_EQ(TextOf(table->Get(KeyOf(i), Lsn(20'000))), texts[static_cast<size_t>(i)]);
  for (const uint64_t through : {1u, 63u, 64u, 65u, 5000u, 11'999u, 12'000u}) {
    const auto view = table->ViewAt(Lsn(through));
    EXPECT_EQ(view.source->max_lsn(), Lsn(through));
    EXPECT_EQ(AliveIn(view), std::multiset<std::string>(texts.begin(), texts.begin() + static_cast<ptrdiff_t>(through)));
  }
}

TEST(KeyedMemtable, ZonesOfKeyAndTimeAndFiltersRuleChunksOut) {
  Random random(1);
  const auto table = MakeTable();
  for (uint64_t lsn = 1; lsn <= 4; ++lsn) {
    std::vector<int64_t> ids(100);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(lsn * 1000 + i);
    table->AddBatch(Lsn(lsn), BatchOf(ids, &random), KeysOf(ids), 1000);
  }
  PutRow(table.get(), Lsn(5), 77, *BatchOf({77}, &random));
  table->Publish(Lsn(5));
  const auto source = table->ViewAt(Lsn(5)).source;
  ASSERT_EQ(source->num_granules(), 5);
  EXPECT_EQ(source->granule_zone(1, 0)->int_min, 2000);
  EXPECT_EQ(source->granule_zone(1, 0)->int_max, 2099);
  EXPECT_EQ(source->granule_zone(4, 0)->int_max, 77);
  EXPECT_EQ(source->source_zone(0)->int_min, 77);
  EXPECT_EQ(source->source_zone(0)->int_max, 4099);
  EXPECT_NE(source->granule_zone(0, 1), nullptr);
  EXPECT_EQ(source->granule_zone(0, 4), nullptr);
  EXPECT_TRUE(source->has_filter(6));
  EXPECT_FALSE(source->has_filter(3));
  std::vector<int> granules;
  ASSERT_TRUE(source->FindGranules(6, "nowhere at all", &granules).ok());
  EXPECT_TRUE(granules.empty());
}

TEST(KeyedMemtable, HitsAndSourcesOutliveIt) {
  Random random(1);
  auto table = MakeTable();
  const auto batch = BatchOf({1, 2}, &random);
  PutRow(table.get(), Lsn(1), 1, *batch, 0);
  table->AddBatch(Lsn(2), batch->Slice(1), KeysOf({2}), 10);
  table->Publish(Lsn(2));
  const KeyedHit hit = table->Get(KeyOf(1), Lsn(2));
  const auto view = table->ViewAt(Lsn(2));
  table.reset();
  EXPECT_EQ(TextOf(hit), RowText(*batch, 0));
  EXPECT_EQ(AliveIn(view).size(), 2u);
}

/// Readers check while one writes that every key has a row of its own number, none older than they saw before, and that a view
/// has each key's row exactly once.
TEST(KeyedMemtable, ReadersSeeWholeRowsAndWholeEntriesWhileOneWrites) {
  constexpr int64_t kIds = 200;
  constexpr uint64_t kWrites = 6000;
  const auto schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("lsn", arrow::int64()),
                                     arrow::field("text", arrow::utf8()), arrow::field("odd", arrow::boolean())});
  const auto keys = columns::KeyCodec::Make(schema, {0}).ValueOrDie();
  const auto rows = columns::RowCodec::Make(schema).ValueOrDie();
  const auto table = KeyedMemtable::Make({.schema = schema, .keys = keys, .rows = rows}).ValueOrDie();
  std::atomic<uint64_t> published{0};
  const auto check_row = [](const arrow::RecordBatch& batch, int64_t row) {
    const auto& lsn = static_cast<const arrow::Int64Array&>(*batch.column(1));
    const auto& text = static_cast<const arrow::StringArray&>(*batch.column(2));
    const auto& odd = static_cast<const arrow::BooleanArray&>(*batch.column(3));
    const int64_t id = static_cast<const arrow::Int64Array&>(*batch.column(0)).Value(row);
    SHEAF_CHECK(lsn.IsValid(row) && odd.IsValid(row) && odd.Value(row) == (lsn.Value(row) % 2 != 0));
    SHEAF_CHECK(text.IsNull(row) == (lsn.Value(row) % 3 == 0));
    SHEAF_CHECK(text.IsNull(row) || text.GetView(row) == std::to_string(id) + " at " + std::to_string(lsn.Value(row)));
    return lsn.Value(row);
  };
  const auto key_of = [&](int64_t id) {
    const std::vector<std::shared_ptr<arrow::Scalar>> values = {std::make_shared<arrow::Int64Scalar>(id)};
    return keys->EncodeScalars(values).ValueOrDie();
  };
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&, reader] {
      Random random(static_cast<uint64_t>(reader));
      for (uint64_t through = 0; through < kWrites;) {
        through = published.load(std::memory_order_acquire);
        const auto id = static_cast<int64_t>(random() % kIds);
        const KeyedHit hit = table->Get(key_of(id), Lsn(through));
        const uint64_t turn = through == 0 ? 0
                                           : through - (through - 1 - static_cast<uint64_t>(id)) %
                                                           kIds;  // Id i is written at i + 1, i + 1 + kIds, …
        if (through >= static_cast<uint64_t>(id) + 1) {
          SHEAF_CHECK(hit.kind == KeyedHit::Kind::kRow && hit.lsn == Lsn(turn));
          SHEAF_CHECK(check_row(*hit.batch, hit.row) == static_cast<int64_t>(turn));
        } else {
          SHEAF_CHECK(hit.kind == KeyedHit::Kind::kNone);
        }
        if (reader == 0 && random() % 4 == 0) {
          const auto cursor = table->Scan(key_of(id), Lsn(through));
          std::string_view key;
          KeyedHit next;
          for (int64_t want = id; cursor->Next(&key, &next); ++want) {
            SHEAF_CHECK(key == key_of(want));
            check_row(*next.batch, next.row);
          }
        }
        if (reader == 1 && through > 0) {
          const auto view = table->ViewAt(Lsn(through));
          int64_t alive = 0;
          for (int g = 0; g < view.source->num_granules(); ++g) {
            const auto batch = view.source->Read(g, {0, 1, 2, 3}).ValueOrDie();
            for (int64_t row = 0; row < batch->num_rows(); ++row) {
              if (view.dead != nullptr && view.dead->IsDead(g, row)) continue;
              check_row(*batch, row);
              ++alive;
            }
          }
          SHEAF_CHECK(alive == std::min(static_cast<int64_t>(through), kIds));
        }
      }
    });
  }
  columns::RowBuilder builder(rows.get());
  for (uint64_t lsn = 1; lsn <= kWrites; ++lsn) {
    const auto id = static_cast<int64_t>((lsn - 1) % kIds);
    builder.Clear();
    builder.Set<int64_t>(0, id);
    builder.Set<int64_t>(1, static_cast<int64_t>(lsn));
    if (lsn % 3 != 0) builder.SetText(2, std::to_string(id) + " at " + std::to_string(lsn));
    builder.Set<uint8_t>(3, lsn % 2);
    table->AddRow(Lsn(lsn), builder.Finish(), key_of(id));
    table->Publish(Lsn(lsn));
    published.store(lsn, std::memory_order_release);
  }
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace sheaf::memtable
