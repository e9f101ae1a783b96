#include "compact/merge.h"

#include <algorithm>
#include <map>
#include <set>

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_dict.h>
#include <arrow/array/builder_primitive.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "io/sim_testing.h"

namespace sheaf::compact {
namespace {

using arrow::field;
using columns::DeadRows;
using columns::KeyColumn;
using columns::Random;
using columns::RowText;
using parts::Format;
using parts::PartInfo;
using testing::HasSubstr;

constexpr const char* kFolder = "/parts";

/// One row of the test's table.
struct Row {
  std::string name;
  int64_t id = 0;
  std::string word;     // In a dictionary.
  std::string note;     // Empty: NULL.
  int64_t time_us = 0;  // 0: NULL.
  uint64_t lsn = 0;
};

std::shared_ptr<arrow::Schema> TableSchema() {
  return arrow::schema({field("note", arrow::utf8()), field("id", arrow::int64(), false),
                        field("word", arrow::dictionary(arrow::int32(), arrow::utf8())), field("name", arrow::utf8(), false),
                        field("time", arrow::timestamp(arrow::TimeUnit::MICRO)), field(parts::kLsnColumn, arrow::uint64(), false)});
}
constexpr int kTime = 4;

std::shared_ptr<arrow::RecordBatch> BatchOf(const std::vector<Row>& rows) {
  arrow::StringBuilder note, name;
  arrow::Int64Builder id;
  arrow::StringDictionary32Builder word;
  arrow::TimestampBuilder time(arrow::timestamp(arrow::TimeUnit::MICRO), arrow::default_memory_pool());
  arrow::UInt64Builder lsn;
  for (const Row& row : rows) {
    EXPECT_TRUE((row.note.empty() ? note.AppendNull() : note.Append(row.note)).ok());
    EXPECT_TRUE(id.Append(row.id).ok() && word.Append(row.word).ok() && name.Append(row.name).ok() && lsn.Append(row.lsn).ok());
    EXPECT_TRUE((row.time_us == 0 ? time.AppendNull() : time.Append(row.time_us)).ok());
  }
  std::shared_ptr<arrow::Array> words;
  EXPECT_TRUE(word.Finish(&words).ok());
  return arrow::RecordBatch::Make(TableSchema(), static_cast<int64_t>(rows.size()),
                                  {*note.Finish(), *id.Finish(), words, *name.Finish(), *time.Finish(), *lsn.Finish()});
}

/// A database's folder of parts, and merges in it.
class MergeTest : public testing::Test {
 protected:
  MergeTest() : keys_(*columns::KeyCodec::Make(TableSchema(), {3, 1})) {
    EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok());
    options_.schema = TableSchema();
    options_.keys = keys_;
    options_.layout.sort_columns = {3, 1};
    options_.layout.time_column = kTime;
    options_.layout.granule_rows = 16;
    options_.part.table = TableId(1);
    options_.part.level = 1;
    options_.next_id = [this] { return PartId(next_id_++); };
  }

  /// A part of these rows, and which keys of it are dead.
  MergeSource Source(const std::vector<Row>& rows, Format format = Format::kHot, const std::set<std::string>& dead = {}) {
    PartInfo info{.id = PartId(next_id_++), .table = TableId(1), .format = format};
    info.min_lsn = info.max_lsn = Lsn(rows.front().lsn);
    for (const Row& row : rows) {
      info.min_lsn = std::min(info.min_lsn, Lsn(row.lsn));
      info.max_lsn = std::max(info.max_lsn, Lsn(row.lsn));
    }
    const auto written = parts::WritePart(&disk_, kFolder, info, options_.layout, TableSchema(), {BatchOf(rows)});
    EXPECT_TRUE(written.ok()) << written.status();
    MergeSource out{*parts::OpenPart(&disk_, kFolder, *written, TableSchema()), nullptr};
    std::vector<DeadRows::Position> positions;
    for (int g = 0; g < out.source->num_granules(); ++g) {
      const auto batch = *out.source->Read(g, {0, 1, 2, 3, 4, 5});
      const KeyColumn keys = *keys_->Encode(*batch);
      for (int64_t i = 0; i < keys.size(); ++i) {
        if (dead.contains(std::string(keys[i]))) positions.push_back({g, i});
      }
    }
    EXPECT_EQ(positions.size(), dead.size());
    if (!dead.empty()) out.dead = DeadRows().With(std::move(positions));
    return out;
  }
  std::string KeyOf(const Row& row) {
    KeyColumn keys = *keys_->Encode(*BatchOf({row}));
    return std::string(keys[0]);
  }

  Result<std::vector<PartInfo>> Merge(const std::vector<MergeSource>& sources) {
    return MergeParts(&disk_, kFolder, sources, options_, &progress_);
  }

  /// All rows of parts, as text, in their order; checks that keys rise.
  std::vector<std::string> RowsOf(const std::vector<PartInfo>& parts) {
    std::vector<std::string> out;
    std::string last;
    for (const PartInfo& info : parts) {
      EXPECT_TRUE(parts::VerifyPart(&disk_, kFolder, info).ok());
      const auto part = parts::OpenPart(&disk_, kFolder, info, TableSchema());
      EXPECT_TRUE(part.ok()) << part.status();
      for (int g = 0; g < (*part)->num_granules(); ++g) {
        EXPECT_TRUE((*part)->granule_rows(g) == options_.layout.granule_rows || g + 1 == (*part)->num_granules());
        const auto batch = *(*part)->Read(g, {0, 1, 2, 3, 4, 5});
        EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull();
        const KeyColumn keys = *keys_->Encode(*batch);
        for (int64_t i = 0; i < keys.size(); ++i) {
          EXPECT_TRUE(out.empty() || last < keys[i]);
          last = keys[i];
          out.push_back(RowText(*batch, i));
        }
      }
    }
    return out;
  }
  size_t Files() { return disk_.List(kFolder)->size(); }

  io::SimFileSystem disk_;
  const std::shared_ptr<const columns::KeyCodec> keys_;
  uint64_t next_id_ = 1;
  MergeOptions options_;
  MergeProgress progress_;
};

Row RandomRow(int key, uint64_t lsn, Random* random) {
  Row row{.name = std::string(1, static_cast<char>('a' + key / 100)) + (key % 3 == 0 ? std::string(1, '\0') : ""),
          .id = key - 150,
          .lsn = lsn};
  row.word = "word " + std::to_string((*random)() % 30);
  if ((*random)() % 4 != 0) row.note = std::string((*random)() % 40 + 1, 'n') + std::to_string(lsn);
  if ((*random)() % 6 != 0) row.time_us = static_cast<int64_t>(1 + (*random)() % 1000);
  return row;
}

std::string TextOf(const Row& row) { return RowText(*BatchOf({row}), 0); }

/// Random versions of random keys in random sources; the model is a map.
TEST_F(MergeTest, EqualsAMapOfTheRowsAlive) {
  Random random(columns::TestSeed());
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const auto sources = static_cast<size_t>(1 + random() % 6);
    const int keys = 1 + static_cast<int>(random() % 700);
    std::vector<std::vector<Row>> rows(sources);
    std::vector<std::set<std::string>> dead(sources);
    std::map<std::string, std::string> model;
    options_.expire_before_ns.reset();
    options_.time_column = kTime;
    if (random() % 2 == 0) options_.expire_before_ns = static_cast<int64_t>(random() % 600'000);
    int64_t rows_dead = 0, rows_expired = 0, rows_in = 0;
    uint64_t lsn = 1;
    const bool apart = random() % 3 == 0;  // Long runs out of one source.
    for (int k = 0; k < keys; ++k) {
      const size_t alive_in = apart ? static_cast<size_t>(k) * sources / static_cast<size_t>(keys) : random() % (sources + 1);
      for (size_t s = 0; s < sources; ++s) {
        if (s != alive_in && random() % 3 != 0) continue;
        const Row row = RandomRow(k, ++lsn, &random);
        const std::string key = KeyOf(row);
        rows[s].push_back(row);
        ++rows_in;
        if (s != alive_in) {
          dead[s].insert(key);
          ++rows_dead;
        } else if (options_.expire_before_ns && row.time_us != 0 && row.time_us * 1000 < *options_.expire_before_ns) {
          ++rows_expired;
        } else {
          model[key] = TextOf(row);
        }
      }
    }
    std::vector<MergeSource> inputs;
    for (size_t s = 0; s < sources; ++s) {
      std::shuffle(rows[s].begin(), rows[s].end(), random);
      if (!rows[s].empty()) inputs.push_back(Source(rows[s], random() % 2 == 0 ? Format::kHot : Format::kCold, dead[s]));
    }
    options_.part.format = random() % 2 == 0 ? Format::kHot : Format::kCold;
    options_.output_bytes = random() % 3 == 0 ? 2000 : 1 << 20;
    const auto merged = Merge(inputs);
    ASSERT_TRUE(merged.ok()) << merged.status();
    std::vector<std::string> want;
    for (const auto& [key, text] : model) want.push_back(text);
    ASSERT_EQ(RowsOf(*merged), want);
    EXPECT_EQ(progress_.rows_in, rows_in);
    EXPECT_EQ(progress_.rows_dead, rows_dead);
    EXPECT_EQ(progress_.rows_expired, rows_expired);
    EXPECT_EQ(progress_.rows_out, static_cast<int64_t>(model.size()));
    EXPECT_EQ(progress_.parts_out, static_cast<int64_t>(merged->size()));
    EXPECT_TRUE(options_.output_bytes > 2000 || model.size() <= 300 || merged->size() > 2);
    for (const PartInfo& info : *merged) {
      EXPECT_EQ(info.format, options_.part.format);
      EXPECT_EQ(info.level, 1);
      EXPECT_LE(info.max_lsn, Lsn(lsn));
      EXPECT_GE(info.min_lsn, Lsn(1));
    }
  }
}

std::vector<Row> Rows(int from, int to, int step, uint64_t lsn) {
  std::vector<Row> out;
  for (int i = from; i < to; i += step)
    out.push_back({.name = "k", .id = i, .word = "w" + std::to_string(i % 5), .note = "n", .lsn = lsn});
  return out;
}

TEST_F(MergeTest, AKeyThatIsAliveTwiceIsCorruptionAndNamesWhere) {
  const auto first = Source(Rows(0, 40, 1, 5)), second = Source(Rows(39, 80, 1, 7));
  const size_t files = Files();
  const auto merged = Merge({first, second});
  ASSERT_EQ(KindOf(merged.status()), ErrorKind::kCorruption);
  EXPECT_THAT(merged.status().message(), HasSubstr("key ('k', 39) is alive in"));
  EXPECT_THAT(merged.status().message(), HasSubstr("(LSN 5)"));
  EXPECT_THAT(merged.status().message(), HasSubstr(second.source->name()));
  EXPECT_EQ(Files(), files);

  options_.newest_wins = true;
  for (const auto& sources :
       {std::vector{first, second}, std::vector{second, first}, std::vector{first, Source(Rows(39, 80, 1, 7)), second}}) {
    const auto repaired = Merge(sources);
    ASSERT_TRUE(repaired.ok()) << repaired.status();
    const auto rows = RowsOf(*repaired);
    ASSERT_EQ(rows.size(), 80u);
    EXPECT_EQ(rows[39], TextOf({.name = "k", .id = 39, .word = "w4", .note = "n", .lsn = 7}));
    EXPECT_EQ(progress_.rows_in, progress_.rows_out + progress_.rows_dead + progress_.rows_expired);
  }
}

TEST_F(MergeTest, ASourceThatIsNotInOrderIsCorruption) {
  options_.layout.sort_columns = {1};
  std::vector<Row> rows = Rows(0, 40, 1, 1);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].name = i < 20 ? "b" : "a";
  const auto source = Source(rows);
  options_.layout.sort_columns = {3, 1};
  const auto merged = Merge({source});
  ASSERT_EQ(KindOf(merged.status()), ErrorKind::kCorruption);
  EXPECT_THAT(merged.status().message(), HasSubstr("granule 1, row 4: key ('a', 20) does not follow"));
}

TEST_F(MergeTest, FewRowsAliveInManyGranulesAreGatheredAllTheSame) {
  const std::vector<Row> rows = Rows(0, 16 * 400, 1, 1);
  std::set<std::string> dead;
  std::vector<std::string> want;
  for (const Row& row : rows) {
    if (row.id % 15 == 0) {
      want.push_back(TextOf(row));
    } else {
      dead.insert(KeyOf(row));
    }
  }
  options_.layout.granule_rows = 16;
  const auto source = Source(rows, Format::kHot, dead);
  options_.layout.granule_rows = 4096;
  const auto merged = Merge({source});
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_EQ(RowsOf(*merged), want);
  EXPECT_EQ(progress_.granules_out, 1);
}

TEST_F(MergeTest, NothingAliveMakesNoPartAndReadsNothing) {
  const std::vector<Row> rows = Rows(0, 100, 1, 1);
  std::set<std::string> dead;
  for (const Row& row : rows) dead.insert(KeyOf(row));
  const size_t files = Files();
  const auto merged = Merge({Source(rows, Format::kCold, dead)});
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_TRUE(merged->empty());
  EXPECT_EQ(progress_.bytes_in, 0);
  EXPECT_EQ(Files(), files + 2);
  EXPECT_TRUE(Merge({})->empty());
}

TEST_F(MergeTest, TheCallerHearsOfEachGranuleAndCanStopIt) {
  const std::vector<MergeSource> sources = {Source(Rows(0, 200, 2, 1)), Source(Rows(1, 200, 2, 2))};
  const size_t files = Files();
  std::atomic<bool> stop = false;
  options_.cancel = &stop;
  options_.output_bytes = 1000;
  std::vector<int64_t> heard;
  options_.after_granule = [&](const MergeProgress& progress) { heard.push_back(progress.rows_out); };
  ASSERT_TRUE(Merge(sources).ok());
  ASSERT_EQ(heard.size(), 13u);
  EXPECT_EQ(heard.front(), 16);
  EXPECT_EQ(heard.back(), 200);
  const size_t after = Files();
  EXPECT_GT(after, files + 2);

  options_.after_granule = [&](const MergeProgress& progress) { stop = progress.parts_out == 2; };
  EXPECT_EQ(KindOf(Merge(sources).status()), ErrorKind::kCancelled);
  EXPECT_EQ(Files(), after) << "what was written is gone";
}

TEST_F(MergeTest, AnErrorOfTheDiskLeavesNoFileBehind) {
  const std::vector<MergeSource> sources = {Source(Rows(0, 200, 2, 1)), Source(Rows(1, 200, 2, 2), Format::kCold)};
  const size_t files = Files();
  options_.output_bytes = 1000;
  int failed = 0;
  for (const io::SimOp op :
       {io::SimOp::kWrite, io::SimOp::kSync, io::SimOp::kOpen, io::SimOp::kRename, io::SimOp::kSyncDirectory}) {
    for (uint64_t n = 1;; ++n) {
      ASSERT_LT(n, 1000u);
      disk_.FailNth(op, n, MakeError(ErrorKind::kUnavailable, "the disk is full"));
      const auto merged = Merge(sources);
      if (merged.ok()) break;
      ++failed;
      ASSERT_EQ(KindOf(merged.status()), ErrorKind::kUnavailable) << merged.status();
      ASSERT_EQ(Files(), files);
    }
    for (const io::FileInfo& file : *disk_.List(kFolder)) {  // Those of the merge that went well.
      const bool source = std::any_of(sources.begin(), sources.end(), [&](const MergeSource& s) {
        return file.name == s.source->name() || file.name == parts::IndexFileName(PartId(s.source->ordinal()));
      });
      ASSERT_TRUE(source || disk_.Remove(io::Join(kFolder, file.name)).ok());
    }
  }
  EXPECT_GT(failed, 20);
}

TEST_F(MergeTest, RefusesOtherSchemas) {
  const auto source = Source(Rows(0, 10, 1, 1));
  options_.schema = arrow::schema({field("k", arrow::int64())});
  EXPECT_EQ(KindOf(Merge({source}).status()), ErrorKind::kInvalid);
  options_.schema = TableSchema();
  options_.time_column = 0;
  options_.expire_before_ns = 1;
  EXPECT_EQ(KindOf(Merge({source}).status()), ErrorKind::kInvalid);
}

}  // namespace
}  // namespace sheaf::compact
