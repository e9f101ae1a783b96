#include "parts/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "io/sim_testing.h"

namespace sheaf::parts {
namespace {

const char* const kFolder = "/db";

ManifestState StateOf(uint64_t number) {
  ManifestState state;
  state.number = number;
  state.database_uuid = "0123456789abcdef";
  state.epoch = Epoch(2);
  state.covered = Lsn(number * 100);
  state.durable = Lsn(number * 100 + 50);
  state.next_part = PartId(number + 1);
  state.next_table = TableId(9);
  state.extra_json = "{\"views\":[]}";
  state.tables.push_back({TableId(1), "otel", "traces", 3, std::string("schema\0bytes", 12), "{}"});
  PartInfo part;
  part.id = PartId(number);
  part.table = TableId(1);
  part.schema_version = 3;
  part.format = Format::kCold;
  part.level = 2;
  part.file_name = DataFileName(part.id, part.format);
  part.file_uuid = "fedcba9876543210";
  part.rows = 10;
  part.data_bytes = 1000;
  part.index_bytes = 100;
  part.min_lsn = Lsn(1);
  part.max_lsn = Lsn(number * 100);
  part.time_min = -5;
  part.time_max = 6;
  part.created_ns = 7;
  part.digest = "abcdefghijklmnop";
  state.parts.push_back(part);
  return state;
}

class Manifest : public testing::Test {
 protected:
  Manifest() { EXPECT_TRUE(disk_.MakeDirectories(kFolder).ok()); }
  void Commit(uint64_t number) {
    const Status status = CommitManifest(&disk_, kFolder, StateOf(number));
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  Result<ManifestLoad> Load() { return LoadManifest(&disk_, kFolder); }
  static std::string Path(const std::string& name) { return io::Join(kFolder, name); }
  std::string Bytes(const std::string& name) { return disk_.Contents(Path(name)).ValueOrDie(); }
  void Damage(uint64_t number) {
    std::string bytes = Bytes(ManifestFileName(number));
    bytes[bytes.size() / 2] ^= 1;
    disk_.SetContents(Path(ManifestFileName(number)), bytes);
  }
  io::SimFileSystem disk_;
};

TEST_F(Manifest, ANewFolderHasNone) { EXPECT_EQ(KindOf(Load().status()), ErrorKind::kNotFound); }

TEST_F(Manifest, ReadsBackWhatWasCommitted) {
  Commit(1);
  Commit(2);
  const ManifestLoad load = Load().ValueOrDie();
  EXPECT_FALSE(load.fell_back);
  EXPECT_EQ(EncodeManifest(load.state), EncodeManifest(StateOf(2)));
  EXPECT_EQ(load.state.parts[0].database_uuid, load.state.database_uuid);
  EXPECT_EQ(load.truncatable, Lsn(100)) << "what both manifests cover";
  EXPECT_EQ(load.number_max, 2u);
}

TEST_F(Manifest, OneAloneAllowsNoTruncation) {
  Commit(1);
  EXPECT_EQ(Load().ValueOrDie().truncatable, Lsn(0));
}

TEST_F(Manifest, ThreeAreKept) {
  for (uint64_t n = 1; n <= 6; ++n) Commit(n);
  std::vector<std::string> names;
  for (const auto& entry : disk_.List(kFolder).ValueOrDie()) names.push_back(entry.name);
  EXPECT_THAT(names, testing::UnorderedElementsAre("CURRENT", "MANIFEST-000004", "MANIFEST-000005", "MANIFEST-000006"));
}

TEST_F(Manifest, EveryFlippedByteAndEveryTruncationFallsBackToTheOneBefore) {
  for (uint64_t n = 1; n <= 3; ++n) Commit(n);
  const std::string name = ManifestFileName(3), good = Bytes(name);
  const auto expect_fallback = [&](const std::string& bad, size_t at) {
    disk_.SetContents(Path(name), bad);
    const auto load = Load();
    ASSERT_TRUE(load.ok()) << load.status().ToString();
    EXPECT_TRUE(load->fell_back) << at;
    EXPECT_EQ(load->state.number, 2u);
    EXPECT_EQ(load->truncatable, Lsn(0));
  };
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= static_cast<char>(1 << at % 8);
    expect_fallback(bad, at);
  }
  for (size_t length = 0; length < good.size(); ++length) expect_fallback(good.substr(0, length), length);
  expect_fallback(good + "x", good.size());
  ASSERT_TRUE(disk_.Remove(Path(name)).ok());
  const ManifestLoad load = Load().ValueOrDie();  // CURRENT names a file that is missing.
  EXPECT_TRUE(load.fell_back);
  EXPECT_EQ(load.state.number, 2u);
}

TEST_F(Manifest, EveryDamageOfCurrentStillOpensTheNewest) {
  for (uint64_t n = 1; n <= 3; ++n) Commit(n);
  const std::string good = Bytes("CURRENT");
  std::vector<std::string> bad;
  for (size_t at = 0; at < good.size(); ++at) {
    bad.push_back(good);
    bad.back()[at] ^= static_cast<char>(1 << at % 8);
    bad.push_back(good.substr(0, at));
  }
  for (const std::string& bytes : bad) {
    disk_.SetContents(Path("CURRENT"), bytes);
    const auto load = Load();
    ASSERT_TRUE(load.ok()) << load.status().ToString();
    EXPECT_EQ(load->state.number, 3u);
    EXPECT_FALSE(load->fell_back);
    EXPECT_TRUE(load->current_damaged);
  }
  ASSERT_TRUE(disk_.Remove(Path("CURRENT")).ok());
  const ManifestLoad without = Load().ValueOrDie();
  EXPECT_EQ(without.state.number, 3u);
  EXPECT_FALSE(without.current_damaged);
}

TEST_F(Manifest, DamageOfBothNewestIsRefusedAndNeverAnOlderOneTaken) {
  for (uint64_t n = 1; n <= 3; ++n) Commit(n);
  Damage(3);
  Damage(2);
  EXPECT_EQ(KindOf(Load().status()), ErrorKind::kCorruption);
  ASSERT_TRUE(disk_.Remove(Path("CURRENT")).ok());
  EXPECT_EQ(KindOf(Load().status()), ErrorKind::kCorruption) << "manifest 1 is intact, but the log behind it may be gone";
}

TEST_F(Manifest, AnOlderFileUnderTheNewestNameIsRefused) {
  for (uint64_t n = 1; n <= 3; ++n) Commit(n);
  disk_.SetContents(Path(ManifestFileName(3)), Bytes(ManifestFileName(2)));
  const ManifestLoad load = Load().ValueOrDie();
  EXPECT_TRUE(load.fell_back);
  EXPECT_EQ(load.state.number, 2u);
}

TEST_F(Manifest, CommitsAfterAFallbackLeanOnTheIntactOne) {
  for (uint64_t n = 1; n <= 3; ++n) Commit(n);
  Damage(3);
  ASSERT_EQ(Load().ValueOrDie().state.number, 2u);
  Commit(4);
  EXPECT_EQ(Load().ValueOrDie().state.number, 4u);
  EXPECT_EQ(Load().ValueOrDie().truncatable, Lsn(200)) << "what 2 and 4 cover";
  Damage(4);
  EXPECT_EQ(Load().ValueOrDie().state.number, 2u);
}

TEST_F(Manifest, AFileThatNeverBecameCurrentDoesNotCount) {
  Commit(1);
  Commit(2);
  disk_.SetContents(Path(ManifestFileName(3)), EncodeManifest(StateOf(3)));
  EXPECT_EQ(Load().ValueOrDie().state.number, 2u);
  EXPECT_EQ(Load().ValueOrDie().number_max, 3u);
  Commit(4);
  Damage(4);
  EXPECT_EQ(Load().ValueOrDie().state.number, 2u) << "not 3: its parts may never have been kept";
}

TEST_F(Manifest, ALossOfPowerAtAnyOperationKeepsTheOldOrTheNew) {
  columns::Random random(columns::TestSeed());
  for (uint64_t n = 1;; ++n) {
    io::SimFileSystem disk(n);
    ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
    ASSERT_TRUE(disk.SyncDirectory("/").ok());
    for (uint64_t m = 1; m <= 3; ++m) ASSERT_TRUE(CommitManifest(&disk, kFolder, StateOf(m)).ok());
    const uint64_t before = disk.operations();
    disk.PowerOffAfter(before + n);
    const Status committed = CommitManifest(&disk, kFolder, StateOf(4));
    const bool finished = disk.operations() <= before + n;
    const auto after = disk.Crash(&random);
    EXPECT_TRUE(disk.violations().empty());
    const auto load = LoadManifest(after.get(), kFolder);
    ASSERT_TRUE(load.ok()) << load.status().ToString();
    EXPECT_FALSE(load->fell_back);
    EXPECT_TRUE(load->state.number == 4 || (load->state.number == 3 && !committed.ok())) << load->state.number;
    EXPECT_TRUE(CommitManifest(after.get(), kFolder, StateOf(5)).ok());
    EXPECT_EQ(LoadManifest(after.get(), kFolder).ValueOrDie().state.number, 5u);
    if (committed.ok() && finished) break;
  }
}

TEST_F(Manifest, AReadErrorIsNotTakenForDamage) {
  Commit(1);
  Commit(2);
  disk_.FailNth(io::SimOp::kRead, 2, MakeError(ErrorKind::kIo, "injected"));
  const auto load = Load();
  if (!load.ok()) {
    EXPECT_EQ(KindOf(load.status()), ErrorKind::kIo);
  } else {
    EXPECT_EQ(load->state.number, 2u);
  }
}

TEST_F(Manifest, FilesUnderOtherNamesAreNone) {
  Commit(1);
  const std::vector<std::string> others = {"MANIFEST-", "MANIFEST-x", "MANIFEST-000009x", "MANIFEST-000000", "MANIFEST-9", "MANIFES"};
  for (const std::string& name : others) disk_.SetContents(Path(name), EncodeManifest(StateOf(9)));
  for (uint64_t n = 2; n <= 5; ++n) Commit(n);
  EXPECT_EQ(Load().ValueOrDie().state.number, 5u);
  EXPECT_EQ(Load().ValueOrDie().number_max, 5u);
  for (const std::string& name : others) EXPECT_TRUE(disk_.Contents(Path(name)).ok()) << name << " is not ours to remove";
}

TEST_F(Manifest, AnotherFileOfTheSameNumberIsRefused) {
  Commit(1);
  Commit(2);
  ManifestState other = StateOf(2);
  other.extra_json = "{}";
  disk_.SetContents(Path(ManifestFileName(2)), EncodeManifest(other));
  const ManifestLoad load = Load().ValueOrDie();
  EXPECT_TRUE(load.fell_back);
  EXPECT_EQ(load.state.number, 1u);
}

TEST_F(Manifest, CurrentWithoutAManifestIsDamageAndNoNewFolder) {
  disk_.SetContents(Path("CURRENT"), "garbage");
  EXPECT_EQ(KindOf(Load().status()), ErrorKind::kCorruption);
  ASSERT_TRUE(disk_.Remove(Path("CURRENT")).ok());
  Commit(1);
  ASSERT_TRUE(disk_.Remove(Path(ManifestFileName(1))).ok());
  EXPECT_EQ(KindOf(Load().status()), ErrorKind::kCorruption);
}

TEST_F(Manifest, ACurrentThatIsFarTooLongIsDamaged) {
  Commit(1);
  disk_.SetContents(Path("CURRENT"), std::string(5000, 'M'));
  const ManifestLoad load = Load().ValueOrDie();
  EXPECT_TRUE(load.current_damaged);
  EXPECT_EQ(load.state.number, 1u);
}

TEST_F(Manifest, ACommitThatIsRepeatedTakesThePlaceOfTheFirst) {
  Commit(1);
  Commit(2);
  ManifestState again = StateOf(2);
  again.extra_json = "{}";
  disk_.SetContents(Path(ManifestFileName(7)), EncodeManifest(StateOf(7)));  // Never became current, and may be another's yet.
  ASSERT_TRUE(CommitManifest(&disk_, kFolder, again).ok());
  const ManifestLoad load = Load().ValueOrDie();
  EXPECT_EQ(load.state.extra_json, "{}");
  EXPECT_EQ(load.truncatable, Lsn(100)) << "the one before both is what a reader falls back to";
  EXPECT_EQ(load.number_max, 7u);
  Damage(2);
  EXPECT_EQ(Load().ValueOrDie().state.number, 1u);
}

TEST_F(Manifest, AFailureOfAnyOperationIsToldAndKeepsTheOldOrTheNew) {
  for (uint64_t n = 1;; ++n) {
    io::SimFileSystem disk(n);
    ASSERT_TRUE(disk.MakeDirectories(kFolder).ok());
    for (uint64_t m = 1; m <= 4; ++m) ASSERT_TRUE(CommitManifest(&disk, kFolder, StateOf(m)).ok());
    const uint64_t first = disk.operations();
    bool removal = false;
    disk.SetFaultHook([&](const io::SimOperation& op) {
      if (op.number != first + n) return Status::OK();
      removal = op.kind == io::SimOp::kRemove;
      return MakeError(ErrorKind::kIo, "injected");
    });
    const Status committed = CommitManifest(&disk, kFolder, StateOf(5));
    const uint64_t operations = disk.operations() - first;
    disk.SetFaultHook(nullptr);
    const ManifestLoad load = LoadManifest(&disk, kFolder).ValueOrDie();
    EXPECT_FALSE(load.fell_back);
    EXPECT_FALSE(load.current_damaged);
    EXPECT_TRUE(disk.violations().empty());
    if (committed.ok()) {
      EXPECT_EQ(load.state.number, 5u);
      if (n > operations) break;
      EXPECT_TRUE(removal) << "only what is left over may be left: operation " << n;
    } else {
      EXPECT_EQ(KindOf(committed), ErrorKind::kIo);
      EXPECT_TRUE(load.state.number == 4 || load.state.number == 5) << load.state.number;
    }
  }
}

/// What cannot be read is not taken for damage, but for what only names files that may go.
TEST_F(Manifest, AFailureOfAnyOperationOfLoadingIsAnErrorOrTheRightAnswer) {
  for (uint64_t n = 1; n <= 3; ++n) Commit(n);
  int refused = 0;
  for (uint64_t n = 1;; ++n) {
    const uint64_t first = disk_.operations();
    disk_.SetFaultHook([&](const io::SimOperation& op) {
      return op.number == first + n ? MakeError(ErrorKind::kIo, "injected") : Status::OK();
    });
    const auto load = Load();
    const uint64_t operations = disk_.operations() - first;
    disk_.SetFaultHook(nullptr);
    if (load.ok()) {
      EXPECT_FALSE(load->fell_back) << "operation " << n;
      EXPECT_EQ(load->state.number, 3u);
      EXPECT_EQ(load->truncatable, Lsn(200));
      if (n > operations) break;
      continue;
    }
    ++refused;
    EXPECT_EQ(KindOf(load.status()), ErrorKind::kIo);
  }
  EXPECT_GT(refused, 5);
}

}  // namespace
}  // namespace sheaf::parts
