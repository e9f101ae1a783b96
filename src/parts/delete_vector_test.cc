#include "parts/delete_vector.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "columns/random_testing.h"
#include "io/sim_testing.h"

namespace sheaf::parts {
namespace {

using columns::DeadRows;
using columns::Random;
using columns::TestSeed;
using Source = std::shared_ptr<const columns::GranuleSource>;

const char* const kFolder = "/parts";

class DeleteVector : public testing::Test {
 protected:
  DeleteVector() {
    EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok());
    info_.id = PartId(7);
    info_.file_uuid = "0123456789abcdef";
    info_.database_uuid = "fedcba9876543210";
  }

  /// A part of `rows` rows, so that there is something to be dead.
  Source Write(io::FileSystem* disk, int64_t rows, int64_t granule_rows) {
    Random random(1);
    const auto schema = arrow::schema({arrow::field("n", arrow::int64(), false)});
    Layout layout;
    layout.granule_rows = granule_rows;
    info_ = WritePart(disk, kFolder, info_, layout, schema, {columns::RandomBatch(schema, rows, &random)}).ValueOrDie();
    return OpenPart(disk, kFolder, info_, schema).ValueOrDie();
  }

  static std::shared_ptr<const DeadRows> Some(const columns::GranuleSource& part, double share, Random* random) {
    std::vector<DeadRows::Position> positions;
    for (int g = 0; g < part.num_granules(); ++g) {
      if ((*random)() % 4 == 0) continue;  // Granules without a dead row are no rarity.
      for (int64_t r = 0; r < part.granule_rows(g); ++r) {
        if (static_cast<double>((*random)() % 1000) < share * 1000) positions.push_back({g, r});
      }
    }
    if (positions.empty()) positions.push_back({0, 0});
    return DeadRows().With(std::move(positions));
  }

  static void ExpectSame(const DeadRows& a, const DeadRows& b, const columns::GranuleSource& part) {
    EXPECT_EQ(a.count(), b.count());
    for (int g = 0; g < part.num_granules(); ++g) {
      ASSERT_EQ(a.count(g), b.count(g)) << g;
      for (int64_t r = 0; r < part.granule_rows(g); ++r) ASSERT_EQ(a.IsDead(g, r), b.IsDead(g, r)) << g << " " << r;
    }
  }

  io::SimFileSystem disk_;
  PartInfo info_;
};

TEST_F(DeleteVector, ReadsBackTheSameRows) {
  Random random(TestSeed());
  for (const double share : {0.001, 0.01, 0.2, 0.5, 0.99, 1.0}) {
    const Source part = Write(&disk_, 1000 + static_cast<int64_t>(random() % 70'000), 64 + static_cast<int64_t>(random() % 5000));
    const auto dead = Some(*part, share, &random);
    ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 3, *dead, Lsn(41), &info_).ok());
    EXPECT_EQ(info_.dead_file, "part-7-3.del");
    EXPECT_EQ(info_.dead_rows, dead->count());
    EXPECT_EQ(info_.dead_through, Lsn(41));
    ExpectSame(*ReadDeadRows(&disk_, kFolder, info_, *part).ValueOrDie(), *dead, *part);
    EXPECT_TRUE(VerifyPart(&disk_, kFolder, info_).ok()) << VerifyPart(&disk_, kFolder, info_).ToString();
  }
}

TEST_F(DeleteVector, APartWithoutOneHasNoDeadRows) {
  const Source part = Write(&disk_, 10, 4);
  EXPECT_EQ(ReadDeadRows(&disk_, kFolder, info_, *part).ValueOrDie()->count(), 0);
}

TEST_F(DeleteVector, ATwentiethOfTheRowsTakesLessThanABitARow) {
  Random random(TestSeed());
  const Source part = Write(&disk_, 100'000, 4096);
  const auto dead = Some(*part, 0.05, &random);
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 1, *dead, Lsn(1), &info_).ok());
  EXPECT_LT(disk_.Contents(io::Join(kFolder, info_.dead_file)).ValueOrDie().size(), 100'000u / 8);
}

TEST_F(DeleteVector, EveryDamageIsCorruptionAndVerifyFindsIt) {
  Random random(TestSeed());
  const Source part = Write(&disk_, 500, 64);
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 1, *Some(*part, 0.3, &random), Lsn(9), &info_).ok());
  const std::string path = io::Join(kFolder, info_.dead_file);
  const std::string good = disk_.Contents(path).ValueOrDie();
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= static_cast<char>(1 << random() % 8);
    disk_.SetContents(path, bad);
    EXPECT_EQ(KindOf(ReadDeadRows(&disk_, kFolder, info_, *part).status()), ErrorKind::kCorruption);
    disk_.SetContents(path, good.substr(0, at));
    EXPECT_EQ(KindOf(VerifyPart(&disk_, kFolder, info_)), ErrorKind::kCorruption);
  }
  ASSERT_TRUE(disk_.Remove(path).ok());
  EXPECT_EQ(KindOf(VerifyPart(&disk_, kFolder, info_)), ErrorKind::kNotFound);
}

TEST_F(DeleteVector, BytesThatLieBehindARightDigestAreRefusedOrRowsOfThePart) {
  Random random(TestSeed());
  const Source part = Write(&disk_, 140'000, 4096);
  int accepted = 0;
  for (const double share : {0.0001, 0.3}) {  // Small containers, and large ones.
    ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 1, *Some(*part, share, &random), Lsn(9), &info_).ok());
    const std::string good = disk_.Contents(io::Join(kFolder, info_.dead_file)).ValueOrDie();
    for (int round = 0; round < 150; ++round) {
      std::string bad = good;
      for (int flips = 1 + static_cast<int>(random() % 3); flips > 0; --flips) {
        bad[64 + random() % std::min<size_t>(bad.size() - 64, 100)] = static_cast<char>(random());
      }
      XXH128_canonical_t digest;
      XXH128_canonicalFromHash(&digest, XXH3_128bits(bad.data(), bad.size() - sizeof digest));
      std::memcpy(bad.data() + bad.size() - sizeof digest, digest.digest, sizeof digest);
      const auto file = DecodeDeadFile(bad, "bad");
      if (!file.ok()) {
        EXPECT_EQ(KindOf(file.status()), ErrorKind::kCorruption);
        continue;
      }
      ++accepted;
      for (size_t i = 0; i < file->rows.size(); ++i) {
        ASSERT_TRUE(int64_t{file->rows[i]} < file->part_rows && (i == 0 || file->rows[i - 1] < file->rows[i]));
      }
    }
  }
  EXPECT_GT(accepted, 0) << "some changes only change which rows are meant";
}

TEST_F(DeleteVector, AStaleOrForeignFileIsRefused) {
  Random random(TestSeed());
  const Source part = Write(&disk_, 500, 64);
  PartInfo first = info_, second = info_, other = info_;
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 1, *Some(*part, 0.1, &random), Lsn(9), &first).ok());
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 2, *Some(*part, 0.5, &random), Lsn(12), &second).ok());
  const std::string newer = disk_.Contents(io::Join(kFolder, second.dead_file)).ValueOrDie();
  disk_.SetContents(io::Join(kFolder, second.dead_file), disk_.Contents(io::Join(kFolder, first.dead_file)).ValueOrDie());
  EXPECT_EQ(KindOf(ReadDeadRows(&disk_, kFolder, second, *part).status()), ErrorKind::kCorruption) << "an older one under the newer name";
  disk_.SetContents(io::Join(kFolder, second.dead_file), newer);
  EXPECT_TRUE(ReadDeadRows(&disk_, kFolder, second, *part).ok());
  second.file_uuid = "another file....";
  EXPECT_EQ(KindOf(ReadDeadRows(&disk_, kFolder, second, *part).status()), ErrorKind::kCorruption);
}

/// `bytes` with the digest that belongs to them.
std::string Mended(std::string bytes) {
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes.data(), bytes.size() - sizeof digest));
  std::memcpy(bytes.data() + bytes.size() - sizeof digest, digest.digest, sizeof digest);
  return bytes;
}

TEST_F(DeleteVector, HeadsThatMakeNoSenseAreRefusedByName) {
  constexpr size_t kVersionAt = 8, kReservedAt = 12, kPartRowsAt = 64, kCountAt = 72, kBitmapBytesAt = 80;
  const std::string good = EncodeDeadFile({PartId(7), "0123456789abcdef", "", Lsn(9), 100, {3, 5}, {}}).ValueOrDie();
  EXPECT_EQ(DecodeDeadFile(good, "x.del").ValueOrDie().database_uuid, "") << "none was told";
  const auto refusal = [&](size_t at, int64_t value, size_t width) {
    std::string bad = good;
    std::memcpy(bad.data() + at, &value, width);
    return DecodeDeadFile(Mended(bad), "x.del").status();
  };
  EXPECT_EQ(KindOf(refusal(kVersionAt, 2, 4)), ErrorKind::kUnsupported);
  const std::pair<Status, const char*> rows[] = {
      {refusal(0, 0, 1), "it is none"},
      {refusal(kReservedAt, 1, 4), "its head makes no sense"},
      {refusal(kCountAt, -1, 8), "its counts make no sense"},
      {refusal(kCountAt, 101, 8), "its counts make no sense"},
      {refusal(kBitmapBytesAt, 1, 8), "its counts make no sense"},
      {refusal(kCountAt, 1, 8), "its bitmap makes no sense"},
      {refusal(kCountAt, 3, 8), "its bitmap makes no sense"},
      {refusal(kPartRowsAt, 5, 8), "its bitmap makes no sense"},
      {refusal(88, 77, 4), "its bitmap makes no sense"},
  };
  for (const auto& [refused, what] : rows) {
    EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption) << what;
    EXPECT_THAT(refused.message(), testing::AllOf(testing::HasSubstr("x.del"), testing::HasSubstr(what)));
  }
}

TEST_F(DeleteVector, AFileOfAnotherPartIsToldWhateverDiffers) {
  const Source part = Write(&disk_, 500, 64);
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 1, *DeadRows().With({{1, 3}}), Lsn(9), &info_).ok());
  const PartInfo good = info_;
  const std::function<void(PartInfo*)> changes[] = {
      [](PartInfo* p) { p->dead_digest[0] ^= 1; },       [](PartInfo* p) { p->id = PartId(8); },
      [](PartInfo* p) { p->file_uuid[0] ^= 1; },         [](PartInfo* p) { ++p->rows; },
      [](PartInfo* p) { p->dead_through = Lsn(8); },     [](PartInfo* p) { ++p->dead_rows; },
      [](PartInfo* p) { p->database_uuid[0] ^= 1; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    info_ = good;
    changes[i](&info_);
    const Status refused = ReadDeadRows(&disk_, kFolder, info_, *part).status();
    EXPECT_EQ(KindOf(refused), ErrorKind::kCorruption) << i;
    EXPECT_THAT(refused.message(), testing::HasSubstr("is another file than the manifest names")) << i;
  }
  info_ = good;
  info_.database_uuid.clear();
  EXPECT_TRUE(ReadDeadRows(&disk_, kFolder, info_, *part).ok()) << "who does not say whose it is takes anybody's";
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 2, *DeadRows().With({{1, 3}}), Lsn(9), &info_).ok());
  info_.database_uuid = good.database_uuid;
  EXPECT_TRUE(ReadDeadRows(&disk_, kFolder, info_, *part).ok()) << "as does whose file does not say it";
}

/// A part of more rows than a vector can count.
class HugePart : public columns::GranuleSource {
 public:
  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  const std::string& name() const override { return name_; }
  uint64_t ordinal() const override { return 1; }
  int64_t rows() const override { return (int64_t{1} << 32) + 1; }
  Lsn min_lsn() const override { return Lsn(1); }
  Lsn max_lsn() const override { return Lsn(1); }
  int num_granules() const override { return 1; }
  int64_t granule_rows(int) const override { return rows(); }
  const columns::Zone* source_zone(int) const override { return nullptr; }
  const columns::Zone* granule_zone(int, int) const override { return nullptr; }
  bool has_filter(int) const override { return false; }
  Status FindGranules(int, std::string_view, std::vector<int>*) const override { return Status::OK(); }
  Result<std::shared_ptr<arrow::RecordBatch>> Read(int, const std::vector<int>&) const override {
    return MakeError(ErrorKind::kInternal, "nobody reads it");
  }
  int64_t granule_bytes(int, const std::vector<int>&) const override { return 0; }

 private:
  const std::shared_ptr<arrow::Schema> schema_ = arrow::schema({});
  const std::string name_ = "huge";
};

TEST_F(DeleteVector, APartOfTooManyRowsIsRefused) {
  const Status refused = WriteDeadRows(&disk_, kFolder, HugePart(), 1, *DeadRows().With({{0, 1}}), Lsn(1), &info_);
  EXPECT_EQ(KindOf(refused), ErrorKind::kTooLarge);
  EXPECT_THAT(disk_.List(kFolder).ValueOrDie(), testing::IsEmpty());
}

TEST_F(DeleteVector, RefusesWhatCannotBe) {
  const Source part = Write(&disk_, 10, 4);
  const PartInfo before = info_;
  EXPECT_EQ(KindOf(WriteDeadRows(&disk_, kFolder, *part, 1, DeadRows(), Lsn(1), &info_)), ErrorKind::kInvalid);
  const auto beyond = DeadRows().With({{2, 2}});  // The last granule has two rows.
  EXPECT_EQ(KindOf(WriteDeadRows(&disk_, kFolder, *part, 1, *beyond, Lsn(1), &info_)), ErrorKind::kInvalid);
  EXPECT_TRUE(info_.dead_file.empty());
  EXPECT_EQ(disk_.List(kFolder).ValueOrDie().size(), 2u);
}

TEST_F(DeleteVector, AFailureOfAnyOperationLeavesNothingBehind) {
  for (uint64_t n = 1;; ++n) {
    io::SimFileSystem disk(n);
    ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
    const Source part = Write(&disk, 100, 64);
    const uint64_t first = disk.operations();
    disk.SetFaultHook([&](const io::SimOperation& op) {
      return op.number == first + n ? MakeError(ErrorKind::kIo, "injected") : Status::OK();
    });
    const Status written = WriteDeadRows(&disk, kFolder, *part, 1, *DeadRows().With({{1, 3}}), Lsn(1), &info_);
    const uint64_t operations = disk.operations() - first;
    disk.SetFaultHook(nullptr);
    if (written.ok()) {
      EXPECT_GT(n, operations) << "a failure was swallowed";
      break;
    }
    EXPECT_EQ(KindOf(written), ErrorKind::kIo);
    EXPECT_TRUE(info_.dead_file.empty());
    EXPECT_EQ(disk.List(kFolder).ValueOrDie().size(), 2u) << "after failing operation " << n;
  }
}

TEST_F(DeleteVector, OneThatWasWrittenSurvivesALossOfPower) {
  Random random(TestSeed());
  const Source part = Write(&disk_, 100, 64);
  ASSERT_TRUE(WriteDeadRows(&disk_, kFolder, *part, 1, *DeadRows().With({{0, 1}, {1, 3}}), Lsn(1), &info_).ok());
  const auto after = disk_.Crash(&random, io::CrashKeeps::kNothing);
  EXPECT_TRUE(VerifyPart(after.get(), kFolder, info_).ok());
  const auto dead = ReadDeadRows(after.get(), kFolder, info_, *part).ValueOrDie();
  EXPECT_TRUE(dead->IsDead(1, 3));
  EXPECT_EQ(dead->count(), 2);
}

}  // namespace
}  // namespace sheaf::parts
