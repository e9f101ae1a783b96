/// Random statements on keyed tables of a real store, and the same on a table with a PRIMARY KEY that DuckDB holds itself;
/// between them the store is sealed, merged, opened anew and restored. Answers, numbers of rows, errors and contents must be the
/// same.
///
/// Each test runs one short history; with SHEAF_DIFFERENTIAL_SECONDS=600 long ones, as many as fit. SHEAF_QUERY_SEED=n begins
/// with the n-th.

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/clock.h"
#include "io/sim_testing.h"
#include "query/engine.h"
#include "query/keyed_statements_testing.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

/// Statements of a history, of one with large ones, and of both where tests are to be short.
constexpr int kStatements = 60, kLargeStatements = 12, kShortStatements = 12, kShortLargeStatements = 1;

/// Both databases, and what was done to them.
class History {
 public:
  History(uint64_t seed, bool large, int length) : length_(length), statements_(seed, large), stored_(&disk_, "/db") {
    auto peer = Engine::Open(&memory_, {.threads = 2, .timeout_ms = 0});
    EXPECT_TRUE(peer.ok()) << peer.status().ToString();
    peer_ = std::move(peer).ValueUnsafe();
  }

  void Run() {
    Both({statements_.Create("$t"), statements_.Create(kPeerTable, true), false});
    for (int i = 0; i < length_ && !testing::Test::HasFailure(); ++i) {
      Both(i == 0 ? statements_.Insert() : Next());
      if (statements_.Chance(2)) PassEvent();
      Ask(statements_.Contents());
      for (int question = 0; question < 4; ++question) Ask(statements_.Question());
    }
  }

 private:
  Statement Next() {
    switch (statements_.Pick(40)) {
      case 0:
      case 1: return statements_.Alter();
      case 2:
      case 3: return statements_.Wrong();
      case 4: return statements_.CreateAnew();
      default: return statements_.Write();
    }
  }

  void PassEvent() {
    const auto event = StoredDatabase::kEvents[statements_.Pick(StoredDatabase::kEvents.size())];
    done_ += fmt::format("-- event {}\n", static_cast<int>(event));
    const Status passed = stored_.Pass(event);
    ASSERT_TRUE(passed.ok()) << passed.ToString() << "\n" << done_;
  }

  Result<std::string> OnStore(const std::string& sql) {
    return RunToText(stored_.engine(), {.sql = Replace(sql, "$t", "main.t"), .trusted = statements_.Chance(4)}, Format::kNdjson);
  }
  Result<std::string> OnPeer(const std::string& sql) {
    return RunToText(peer_.get(), {.sql = Replace(sql, "$t", kPeerTable), .trusted = true}, Format::kNdjson);
  }
  /// The lines of an answer. DuckDB's own tables lose the sign of a zero on the way.
  static std::vector<std::string> Lines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(Replace(Replace(text, ":-0,", ":0,"), ":-0}", ":0}"));
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  /// Rows of RETURNING come in any order.
  static std::vector<std::string> SortedLines(const std::string& text) {
    auto lines = Lines(text);
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  /// By hand, since GoogleTest's own comparison of long texts takes memory with the square of their length.
  void ExpectSame(const std::vector<std::string>& stored, const std::vector<std::string>& peer, const std::string& sql) {
    size_t at = 0;
    while (at < std::min(stored.size(), peer.size()) && stored[at] == peer[at]) ++at;
    if (at == stored.size() && at == peer.size()) return;
    ADD_FAILURE() << done_ << sql << "\n"
                  << stored.size() << " and " << peer.size() << " lines; the first that differs, " << at << ":\n"
                  << (at < stored.size() ? stored[at] : "(end)") << "\nbeside\n"
                  << (at < peer.size() ? peer[at] : "(end)");
  }

  void Both(const Statement& statement) {
    const std::string sql = statement.sql + (statement.returning.empty() ? "" : " RETURNING " + statement.returning);
    done_ += sql + ";\n";
    const auto stored = OnStore(sql);
    if (KindOf(stored.status()) == ErrorKind::kTooLarge) return;  // DuckDB has no such limit; nothing was done.
    const auto peer = OnPeer(statement.peer.empty() ? statement.sql : statement.peer);
    ASSERT_EQ(stored.ok(), peer.ok()) << stored.status().ToString() << "\nbeside " << peer.status().ToString() << "\n" << done_;
    if (!stored.ok() || !statement.same_answer) return;
    auto ours = SortedLines(*stored);
    if (statement.returning.empty()) {
      ExpectSame(ours, SortedLines(*peer), "");
      return;
    }
    EXPECT_EQ(fmt::format("{{\"Count\":{}}}\n", ours.size()), *peer) << done_;
    if (statement.returning.starts_with("merge_action")) return;  // Deleted rows are among them.
    const auto rows = OnStore(fmt::format("SELECT {} FROM $t AS t", statement.returning));
    ASSERT_TRUE(rows.ok()) << rows.status().ToString();
    const auto all = SortedLines(*rows);
    EXPECT_TRUE(std::includes(all.begin(), all.end(), ours.begin(), ours.end())) << "RETURNING gave what is not there\n" << done_;
  }

  void Ask(const std::string& question) {
    if (testing::Test::HasFailure()) return;
    const auto stored = OnStore(question), peer = OnPeer(question);
    ASSERT_EQ(stored.ok(), peer.ok()) << stored.status().ToString() << "\nbeside " << peer.status().ToString() << "\n"
                                      << done_ << question;
    if (!stored.ok()) return;
    ExpectSame(Lines(*stored), Lines(*peer), question);
  }

  const int length_;
  KeyedStatements statements_;
  io::SimFileSystem disk_;
  StoredDatabase stored_;
  MemoryDatabase memory_;  // The peer's engine wants one.
  std::unique_ptr<Engine> peer_;
  std::string done_;  // A script, for whoever looks at a failure.
};

/// Histories from a seed on until the time has passed, at least one.
void RunHistories(const char* test, bool large) {
  const char* seed_given = std::getenv("SHEAF_QUERY_SEED");
  const char* seconds_given = std::getenv("SHEAF_DIFFERENTIAL_SECONDS");
  const int64_t seconds = seconds_given != nullptr ? std::atoll(seconds_given) : 0;
  const int statements =
      seconds > 0 ? (large ? kLargeStatements : kStatements) : (large ? kShortLargeStatements : kShortStatements);
  uint64_t seed = seed_given != nullptr ? std::strtoull(seed_given, nullptr, 10) : std::random_device{}();
  const int64_t end_ns = io::SystemClock()->MonotonicNs() + seconds * 1'000'000'000;
  do {
    SCOPED_TRACE(
        fmt::format("replay: SHEAF_DIFFERENTIAL_SECONDS={} SHEAF_QUERY_SEED={} query_test --gtest_filter=KeyedDifferential.{}",
                    std::min<int64_t>(seconds, 1), seed, test));
    History(seed++, large, statements).Run();
  } while (!testing::Test::HasFailure() && io::SystemClock()->MonotonicNs() < end_ns);
}

TEST(KeyedDifferential, StatementsDoWhatTheyDoOnATableOfDuckDb) { RunHistories("StatementsDo*", false); }

TEST(KeyedDifferential, LargeStatementsDoToo) { RunHistories("Large*", true); }

}  // namespace
}  // namespace sheaf::query
