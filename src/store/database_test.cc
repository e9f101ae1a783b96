/// What Database promises, on a real file system in a temporary folder.

#include "store/database.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>

#include <arrow/api.h>
#include <arrow/util/checked_cast.h>
#include <gtest/gtest.h>

#include "decode/schemas.h"
#include "io/posix.h"
#include "store/ready_tables.h"
#include "store/testing.h"

namespace sheaf::store {
namespace {

using decode::Signal;

constexpr int64_t kHourNs = 3'600'000'000'000;

/// Stands still unless moved.
class ManualClock : public io::Clock {
 public:
  int64_t NowNs() override { return now_ns_; }
  int64_t MonotonicNs() override { return monotonic_ns_; }
  void Advance(int64_t ns) {
    now_ns_ += ns;
    monotonic_ns_ += ns;
  }

 private:
  std::atomic<int64_t> now_ns_{1'700'000'000'000'000'000}, monotonic_ns_{1};
};

class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "sheaf_store_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    options_.directory = folder_ + "/db";
    options_.free_space_min_fraction = 0;
  }
  void TearDown() override {
    database_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Open() {
    auto opened = Database::Open(io::PosixFileSystem(), &clock_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    database_ = *std::move(opened);
  }
  void Reopen() {
    ASSERT_TRUE(database_->Close().ok());
    database_.reset();
    Open();
  }
  TableId IdOf(Signal signal) { return database_->FindTable("otel", decode::SignalTable(signal)).ValueOrDie()->id; }
  std::shared_ptr<arrow::RecordBatch> Rows(Signal signal, int64_t rows) {
    return RandomBatch(decode::SignalSchema(signal), rows, &random_, clock_.NowNs() - kHourNs);
  }
  Lsn Append(Signal signal, const std::shared_ptr<arrow::RecordBatch>& batch, const std::string& batch_id = {}) {
    const auto lsn = database_->Append({{IdOf(signal), batch}}, batch_id);
    EXPECT_TRUE(lsn.ok()) << lsn.status().ToString();
    return lsn.ValueOr(Lsn());
  }
  int64_t CountRows(Signal signal) { return database_->GetSnapshot()->Table(IdOf(signal)).ValueOrDie().rows; }

  std::string folder_;
  Options options_;
  ManualClock clock_;
  std::mt19937_64 random_{42};
  std::unique_ptr<Database> database_;
};

/// A value as text, whatever its encoding.
std::string CellText(const arrow::Array& array, int64_t row) {
  using arrow::internal::checked_cast;
  if (array.IsNull(row)) return "NULL";
  switch (array.type_id()) {
    case arrow::Type::DICTIONARY: {
      const auto& encoded = checked_cast<const arrow::DictionaryArray&>(array);
      return CellText(*encoded.dictionary(), encoded.GetValueIndex(row));
    }
    case arrow::Type::LIST: {
      const auto& list = checked_cast<const arrow::ListArray&>(array);
      std::string text = "[";
      for (int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) text += CellText(*list.values(), i) + ",";
      return text + "]";
    }
    case arrow::Type::STRUCT: {
      std::string text = "{";
      for (const auto& field : checked_cast<const arrow::StructArray&>(array).fields()) text += CellText(*field, row) + ",";
      return text + "}";
    }
    default: return array.GetScalar(row).ValueOrDie()->ToString();
  }
}

/// Every row as text, sorted: the contents of a table whatever their order and encoding.
std::multiset<std::string> Contents(const Snapshot& snapshot, TableId id) {
  std::multiset<std::string> rows;
  const TableSnapshot table = snapshot.Table(id).ValueOrDie();
  std::vector<int> columns;
  for (int i = 0; i < table.info->schema->num_fields(); ++i) columns.push_back(i);
  for (const auto& [source, dead] : table.sources) {
    for (int granule = 0; granule < source->num_granules(); ++granule) {
      const auto batch = source->Read(granule, columns).ValueOrDie();
      for (int64_t row = 0; row < batch->num_rows(); ++row) {
        std::string text;
        for (const auto& column : batch->columns()) text += CellText(*column, row) + "|";
        rows.insert(std::move(text));
      }
    }
  }
  return rows;
}

TEST_F(DatabaseTest, ReadyTablesAreThere) {
  Open();
  EXPECT_EQ(database_->GetSnapshot()->tables().size(), ReadyTables().size());
  const auto missing = database_->FindTable("otel", "trace");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(KindOf(missing.status()), ErrorKind::kNotFound);
  EXPECT_NE(missing.status().message().find("otel.traces"), std::string::npos);
}

TEST_F(DatabaseTest, RowsAreVisibleWhenDoneIsCalledAndComeBackEqualFromMemtableLogAndParts) {
  Open();
  for (int signal = 0; signal < decode::kSignals; ++signal) {
    const auto kind = static_cast<Signal>(signal);
    const Lsn lsn = Append(kind, Rows(kind, 50));
    Append(kind, Rows(kind, 7));
    EXPECT_EQ(CountRows(kind), 57);
    EXPECT_GE(database_->GetSnapshot()->lsn(), lsn);
  }
  std::map<int, std::multiset<std::string>> before;
  for (int signal = 0; signal < decode::kSignals; ++signal) {
    before[signal] = Contents(*database_->GetSnapshot(), IdOf(static_cast<Signal>(signal)));
  }
  const auto Compare = [&](const char* when) {
    SCOPED_TRACE(when);
    for (int signal = 0; signal < decode::kSignals; ++signal) {
      SCOPED_TRACE(decode::SignalTable(static_cast<Signal>(signal)));
      EXPECT_TRUE(Contents(*database_->GetSnapshot(), IdOf(static_cast<Signal>(signal))) == before[signal]);
    }
  };
  ASSERT_TRUE(database_->Flush().ok());
  EXPECT_EQ(database_->GetStats().memtable_rows, 0);
  EXPECT_EQ(database_->GetStats().covered, database_->GetStats().durable);
  Compare("after Flush");
  Reopen();
  Compare("after reopening");
  ASSERT_TRUE(database_->MakeCold().ok());
  EXPECT_GT(database_->GetStats().cold_conversions, 0);
  Compare("after MakeCold");
  Reopen();
  Compare("after reopening cold parts");
}

TEST_F(DatabaseTest, RowsThatOnlyTheLogHoldsAreReplayed) {
  Open();
  Append(Signal::kTraces, Rows(Signal::kTraces, 30));
  ASSERT_TRUE(database_->Flush().ok());
  Append(Signal::kTraces, Rows(Signal::kTraces, 20));
  const auto both = database_->Append({{IdOf(Signal::kTraces), Rows(Signal::kTraces, 5)}, {IdOf(Signal::kLogs), Rows(Signal::kLogs, 6)}});
  ASSERT_TRUE(both.ok());
  const auto traces = Contents(*database_->GetSnapshot(), IdOf(Signal::kTraces));
  // A copy of the directory is what a crash would leave: nothing was closed.
  const std::string copy = folder_ + "/copy";
  std::filesystem::copy(options_.directory, copy, std::filesystem::copy_options::recursive);
  ASSERT_TRUE(database_->Close().ok());
  options_.directory = copy;
  Open();
  EXPECT_EQ(database_->GetSnapshot()->lsn(), *both);
  EXPECT_EQ(CountRows(Signal::kTraces), 55);
  EXPECT_EQ(CountRows(Signal::kLogs), 6);
  EXPECT_TRUE(Contents(*database_->GetSnapshot(), IdOf(Signal::kTraces)) == traces);
}

TEST_F(DatabaseTest, SnapshotsDoNotChangeWhileRowsAreAddedSealedAndMadeCold) {
  Open();
  Append(Signal::kLogs, Rows(Signal::kLogs, 40));
  const auto in_memory = database_->GetSnapshot();
  const auto rows = Contents(*in_memory, IdOf(Signal::kLogs));
  Append(Signal::kLogs, Rows(Signal::kLogs, 10));
  ASSERT_TRUE(database_->Flush().ok());
  const auto in_parts = database_->GetSnapshot();
  const auto more_rows = Contents(*in_parts, IdOf(Signal::kLogs));
  ASSERT_TRUE(database_->MakeCold().ok());
  Append(Signal::kLogs, Rows(Signal::kLogs, 1));
  for (int i = 0; i < 4; ++i) {
    Append(Signal::kTraces, Rows(Signal::kTraces, 1));
    ASSERT_TRUE(database_->Flush().ok());
  }
  EXPECT_EQ(in_memory->Table(IdOf(Signal::kLogs)).ValueOrDie().rows, 40);
  EXPECT_TRUE(Contents(*in_memory, IdOf(Signal::kLogs)) == rows);
  EXPECT_EQ(more_rows.size(), 50u);
  EXPECT_TRUE(Contents(*in_parts, IdOf(Signal::kLogs)) == more_rows);
  EXPECT_EQ(CountRows(Signal::kLogs), 51);
}

TEST_F(DatabaseTest, ARetryWithTheSameIdAddsNothingEvenAfterTheLogIsGone) {
  Open();
  const auto batch = Rows(Signal::kTraces, 10);
  const Lsn first = Append(Signal::kTraces, batch, "batch-1");
  EXPECT_EQ(Append(Signal::kTraces, batch, "batch-1"), first);
  EXPECT_NE(Append(Signal::kTraces, batch, "batch-2"), first);
  for (int i = 0; i < 3; ++i) {
    Append(Signal::kLogs, Rows(Signal::kLogs, 1), "log-" + std::to_string(i));
    ASSERT_TRUE(database_->Flush().ok());
    EXPECT_EQ(Append(Signal::kTraces, batch, "batch-1"), first);
  }
  Reopen();
  Reopen();
  EXPECT_EQ(Append(Signal::kTraces, batch, "batch-1"), first);
  EXPECT_EQ(CountRows(Signal::kTraces), 20);
  EXPECT_EQ(CountRows(Signal::kLogs), 3);
}

TEST_F(DatabaseTest, RetriesInFlightShareOneOutcome) {
  Open();
  const auto batch = Rows(Signal::kTraces, 10);
  std::vector<std::future<Result<Lsn>>> outcomes;
  for (int i = 0; i < 50; ++i) {
    auto promise = std::make_shared<std::promise<Result<Lsn>>>();
    outcomes.push_back(promise->get_future());
    const Status sent = database_->AppendAsync({{IdOf(Signal::kTraces), batch}}, WriteOptions{.batch_id = "same"},
                                               [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
    ASSERT_TRUE(sent.ok());
  }
  std::set<Lsn> lsns;
  for (auto& outcome : outcomes) lsns.insert(outcome.get().ValueOrDie());
  EXPECT_EQ(lsns.size(), 1u);
  EXPECT_EQ(CountRows(Signal::kTraces), 10);
}

TEST_F(DatabaseTest, AppendsThatCannotBeAreRefusedWithTheReason) {
  Open();
  const auto Kind = [&](const std::vector<TableRows>& rows, const std::string& id = {}) {
    const auto outcome = database_->Append(rows, id);
    return outcome.ok() ? ErrorKind::kInternal : KindOf(outcome.status());
  };
  EXPECT_EQ(Kind({}), ErrorKind::kInvalid);
  EXPECT_EQ(Kind({{IdOf(Signal::kTraces), nullptr}}), ErrorKind::kInvalid);
  EXPECT_EQ(Kind({{IdOf(Signal::kTraces), Rows(Signal::kLogs, 1)}}), ErrorKind::kInvalid);
  EXPECT_EQ(Kind({{TableId(999), Rows(Signal::kLogs, 1)}}), ErrorKind::kNotFound);
  EXPECT_EQ(Kind({{IdOf(Signal::kTraces), Rows(Signal::kTraces, 1)}}, std::string(65, 'x')), ErrorKind::kInvalid);
  ASSERT_TRUE(database_->Close().ok());
  EXPECT_EQ(Kind({{TableId(1), Rows(Signal::kTraces, 1)}}), ErrorKind::kUnavailable);
}

TEST_F(DatabaseTest, MemoryForRowsIsBoundedAndAppendsResumeOnceSealed) {
  options_.ingest_memory_bytes_max = 1 << 20;
  options_.memtable_bytes = int64_t{1} << 30;
  Open();
  const auto batch = Rows(Signal::kTraces, 500);
  int throttled = 0;
  int64_t accepted = 0;
  std::vector<std::future<Result<Lsn>>> outcomes;
  for (int i = 0; i < 60; ++i) {
    auto promise = std::make_shared<std::promise<Result<Lsn>>>();
    auto outcome = promise->get_future();
    const Status sent = database_->AppendAsync({{IdOf(Signal::kTraces), batch}}, "",
                                               [promise](Result<Lsn> lsn) { promise->set_value(std::move(lsn)); });
    if (sent.ok()) {
      outcomes.push_back(std::move(outcome));
      ++accepted;
      continue;
    }
    EXPECT_EQ(KindOf(sent), ErrorKind::kThrottled) << sent.ToString();
    ++throttled;
  }
  for (auto& outcome : outcomes) EXPECT_TRUE(outcome.get().ok());
  EXPECT_GT(throttled, 0);
  EXPECT_LE(database_->GetStats().memtable_bytes, options_.ingest_memory_bytes_max);
  ASSERT_TRUE(database_->Flush().ok());
  Append(Signal::kTraces, batch);
  EXPECT_EQ(CountRows(Signal::kTraces), (accepted + 1) * 500);
}

TEST_F(DatabaseTest, WritesAreRefusedWhileTheDiskIsFullAndReadsGoOn) {
  options_.free_space_min_fraction = 2;  // More than any disk has.
  Open();
  while (database_->GetStats().writable) std::this_thread::yield();
  const auto refused = database_->Append({{IdOf(Signal::kTraces), Rows(Signal::kTraces, 1)}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kUnavailable);
  EXPECT_NE(database_->GetStats().not_writable_reason.find("bytes free"), std::string::npos);
  EXPECT_EQ(CountRows(Signal::kTraces), 0);
}

TEST_F(DatabaseTest, PartsPastTheRetentionAreDroppedAndOthersStay) {
  Open();
  Append(Signal::kTraces, Rows(Signal::kTraces, 10));
  Append(Signal::kLogs, Rows(Signal::kLogs, 10));
  ASSERT_TRUE(database_->Flush().ok());
  ASSERT_TRUE(database_->SetRetention(IdOf(Signal::kTraces), 3 * 3'600'000).ok());
  EXPECT_EQ(CountRows(Signal::kTraces), 10);
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(kHourNs / 2);
    ASSERT_TRUE(database_->SetRetention(IdOf(Signal::kTraces), 3 * 3'600'000).ok());
  }
  EXPECT_EQ(CountRows(Signal::kTraces), 0);
  EXPECT_EQ(CountRows(Signal::kLogs), 10);
  EXPECT_EQ(database_->GetStats().parts_expired, 1);
  Reopen();
  EXPECT_EQ(CountRows(Signal::kTraces), 0);
  EXPECT_EQ(database_->FindTable("otel", "traces").ValueOrDie()->retention_ms, 3 * 3'600'000);
}

TEST_F(DatabaseTest, ASecondOpenerIsRefused) {
  Open();
  const auto second = Database::Open(io::PosixFileSystem(), &clock_, options_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(KindOf(second.status()), ErrorKind::kUnavailable);
  EXPECT_NE(second.status().message().find(options_.directory), std::string::npos);
}

TEST_F(DatabaseTest, ALogWithoutItsManifestIsRefused) {
  Open();
  Append(Signal::kTraces, Rows(Signal::kTraces, 10));
  ASSERT_TRUE(database_->Close().ok());
  database_.reset();
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("MANIFEST") || name == "CURRENT") std::filesystem::remove(entry.path());
  }
  const auto opened = Database::Open(io::PosixFileSystem(), &clock_, options_);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(KindOf(opened.status()), ErrorKind::kCorruption) << opened.status().ToString();
}

TEST_F(DatabaseTest, OldFilesGoOnceNoKeptManifestNamesThem) {
  Open();
  Append(Signal::kTraces, Rows(Signal::kTraces, 10));
  ASSERT_TRUE(database_->Flush().ok());
  ASSERT_TRUE(database_->MakeCold().ok());
  const auto Files = [&](const std::string& extension) {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory + "/parts")) {
      count += entry.path().extension() == extension ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(Files(".arrow"), 1);
  EXPECT_EQ(Files(".parquet"), 1);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(database_->SetRetention(IdOf(Signal::kLogs), 1000 + i).ok());
  EXPECT_EQ(Files(".arrow"), 0);
  EXPECT_EQ(Files(".parquet"), 1);
  EXPECT_EQ(CountRows(Signal::kTraces), 10);
}

TEST_F(DatabaseTest, ReadOnlyRefusesWritesAndShowsEverything) {
  Open();
  Append(Signal::kTraces, Rows(Signal::kTraces, 10));
  ASSERT_TRUE(database_->Close().ok());
  database_.reset();
  options_.read_only = true;
  Open();
  EXPECT_EQ(CountRows(Signal::kTraces), 10);
  EXPECT_EQ(KindOf(database_->Append({{IdOf(Signal::kTraces), Rows(Signal::kTraces, 1)}}).status()), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(database_->Flush()), ErrorKind::kUnavailable);
}

/// Several writers, a reader, seals and conversions at once: each entry is seen whole, and none is lost.
TEST_F(DatabaseTest, EntriesOfSeveralTablesAreSeenWholeUnderConcurrency) {
  options_.memtable_bytes = 200'000;
  Open();
  const TableId traces = IdOf(Signal::kTraces), logs = IdOf(Signal::kLogs);
  const auto spans = Rows(Signal::kTraces, 20), records = Rows(Signal::kLogs, 20);
  constexpr int kWriters = 3, kAppends = 40;
  std::atomic<int> running{kWriters};
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&] {
      for (int i = 0; i < kAppends; ++i) {
        ASSERT_TRUE(database_->Append({{traces, spans}, {logs, records}}).ok());
      }
      running.fetch_sub(1);
    });
  }
  threads.emplace_back([&] {
    while (running.load() > 0) {
      ASSERT_TRUE(database_->Flush().ok());
      ASSERT_TRUE(database_->MakeCold().ok());
    }
  });
  int64_t seen = 0;
  while (running.load() > 0) {
    const auto snapshot = database_->GetSnapshot();
    const int64_t rows = snapshot->Table(traces).ValueOrDie().rows;
    ASSERT_EQ(snapshot->Table(logs).ValueOrDie().rows, rows);
    ASSERT_GE(rows, seen);
    ASSERT_EQ(rows, static_cast<int64_t>(snapshot->lsn().value) * 20);
    seen = rows;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(CountRows(Signal::kTraces), kWriters * kAppends * 20);
  Reopen();
  EXPECT_EQ(CountRows(Signal::kTraces), kWriters * kAppends * 20);
  EXPECT_EQ(CountRows(Signal::kLogs), kWriters * kAppends * 20);
}

}  // namespace
}  // namespace sheaf::store
