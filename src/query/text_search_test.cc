/// Searches of texts find what plain evaluation finds, whatever the rows lie in, and read little where the token index can say so.

#include "query/text_search.h"

#include <cstdlib>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using ::testing::HasSubstr;

class TextSearch : public ::testing::Test {
 protected:
  TextSearch() { Run("CREATE TABLE notes (id BIGINT, body VARCHAR) WITH (sort = 'id', tokens = 'body')"); }

  std::string Run(const std::string& sql) {
    stats_ = {};
    const auto answer = RunToText(stored_.engine(), {.sql = sql, .trusted = true}, Format::kNdjson, &stats_);
    EXPECT_TRUE(answer.ok()) << sql << "\n" << answer.status().ToString();
    return answer.ok() ? *answer : answer.status().ToString();
  }
  std::string Count(const std::string& condition) { return Run("SELECT count(id) AS n FROM notes WHERE " + condition); }
  void Pass(StoredDatabase::Event event) {
    const Status passed = stored_.Pass(event);
    ASSERT_TRUE(passed.ok()) << passed.ToString();
  }

  io::TemporaryFolder folder_;
  StoredDatabase stored_{io::PosixFileSystem(), folder_.path() + "/db"};
  QueryStats stats_;
};

TEST_F(TextSearch, ReadsOnlyWhatMayHoldTheWord) {
  Run("INSERT INTO notes SELECT i, 'request ' || i || ' of user ' || i % 7 || ' served' FROM range(5000) r(i)");
  Run("INSERT INTO notes VALUES (5000, 'Connection TIMEOUT: peer=10.0.0.1')");
  Pass(StoredDatabase::Event::kSeal);
  Pass(StoredDatabase::Event::kCold);
  for (const char* absent :
       {"contains_token(body, 'absent')", "contains_token(body, 'ser')", "contains_token(body, '77777')", "body LIKE '%absent%'",
        "body ILIKE '%ABSENT%'", "contains(body, 'absent')", "lower(body) LIKE '%absent%'", "body LIKE 'absent%'", "body LIKE '%absent'",
        "body LIKE '% 77777 %'", "body LIKE '%re!_absent%' ESCAPE '!'", "body LIKE '%absent%' OR body LIKE '%missing%'",
        "body LIKE '%absent%' AND id < 10", "starts_with(body, 'absent')", "body IN ('request absent', 'missing')", "body = 'missing 1'",
        "regexp_matches(body, 'absent')"}) {
    EXPECT_EQ(Count(absent), "{\"n\":0}\n") << absent;
    EXPECT_EQ(stats_.rows_scanned, 0) << absent;
  }
  for (const char* held : {"contains_token(body, 'timeout')", "contains_token(body, 'TimeOut')", "body LIKE '%TIMEOUT%'",
                           "body ILIKE '%timeout:%'", "body LIKE '% TIMEOUT: peer=10.0.%'", "body ILIKE '%TIMEO%' OR body LIKE '%absent%'",
                           "body LIKE '%TIMEO%' OR id > 4999"}) {
    EXPECT_EQ(Count(held), "{\"n\":1}\n") << held;
    EXPECT_GT(stats_.rows_scanned, 0) << held;
  }
  EXPECT_EQ(Count("body NOT LIKE '%absent%'"), "{\"n\":5001}\n");
  EXPECT_EQ(Count("NOT contains_token(body, 'absent')"), "{\"n\":5001}\n");
}

TEST_F(TextSearch, ExplainTellsThatTheTokenIndexWasUsed) {
  Run("INSERT INTO notes VALUES (1, 'one'), (2, 'two')");
  Pass(StoredDatabase::Event::kSeal);
  const std::string plan = Run("EXPLAIN ANALYZE SELECT id FROM notes WHERE body LIKE '%three%'");
  EXPECT_THAT(plan, HasSubstr("pruned 1 of 1 parts"));
  EXPECT_THAT(plan, HasSubstr("Token index"));
  EXPECT_THAT(plan, HasSubstr("ruled out 1 of 1"));
}

TEST_F(TextSearch, OnlyTwoOtherLettersAreAsciiInLowerCase) {
  EXPECT_EQ(Run("SELECT list(i ORDER BY i) AS l FROM range(128, 1114112) t(i) WHERE i NOT BETWEEN 55296 AND 57343 "
                "AND lower(chr(i::INTEGER)) < chr(128)"),
            "{\"l\":[304,8490]}\n")
      << "columns::FoldText() knows these two";
}

/// Texts and patterns of few pieces, so that they often meet.
class Words {
 public:
  explicit Words(uint64_t seed) : random_(seed) {}

  std::string Text() { return Pieces(1 + Pick(9)); }
  std::string Condition() {
    const std::string pattern = Pick(2) == 0 ? "%" + Pieces(1 + Pick(3)) + "%" : Pattern();
    switch (Pick(9)) {
      case 0: return fmt::format("contains_token(body, '{}')", Token());
      case 1: return fmt::format("body LIKE '{}'", pattern);
      case 2: return fmt::format("body ILIKE '{}'", pattern);
      case 3: return fmt::format("contains(body, '{}')", Pieces(1 + Pick(3)));
      case 4: return fmt::format("lower(body) LIKE '{}'", pattern);
      case 5: return fmt::format("({} OR {})", Condition(), Condition());
      case 6: return fmt::format("({} AND {})", Condition(), Condition());
      case 7: return fmt::format("{}(body, '{}')", Pick(2) == 0 ? "starts_with" : "ends_with", Pieces(1 + Pick(3)));
      default: return fmt::format("(body LIKE '{}' ESCAPE '\\' AND NOT contains_token(body, '{}'))", pattern, Token());
    }
  }

 private:
  std::string Pieces(uint64_t count) {
    static constexpr const char* kPieces[] = {"a", "B", "k", "K", "time", "OUT", "oom",          "7",  "42", " ",
                                              " ", "-", "é", "É", "İ",    "i",   "\xE2\x84\xAA", "超", "ß",  "x1"};
    std::string out;
    while (count-- > 0) out += kPieces[Pick(std::size(kPieces))];
    return out;
  }
  std::string Pattern() {
    std::string out;
    for (uint64_t n = 1 + Pick(4); n > 0; --n) {
      static constexpr const char* kJoints[] = {"%", "_", "", "% ", " %"};
      out += kJoints[Pick(std::size(kJoints))] + Pieces(1 + Pick(2));
    }
    return out + (Pick(3) == 0 ? "" : "%");
  }
  std::string Token() {
    static constexpr const char* kTokens[] = {"a", "time", "TimeOut", "oom7", "7", "42", "É", "é", "k", "\xE2\x84\xAA", "超", "timeoom"};
    return kTokens[Pick(std::size(kTokens))];
  }
  uint64_t Pick(uint64_t below) { return random_() % below; }

  std::mt19937_64 random_;
};

TEST_F(TextSearch, NoRowIsLostWhateverItLiesIn) {
  using Event = StoredDatabase::Event;
  const char* given = std::getenv("SHEAF_QUERY_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(fmt::format("replay: SHEAF_QUERY_SEED={} query_test --gtest_filter=TextSearch.NoRow*", seed));
  Words words(seed);
  int id = 0;
  for (const Event event : {Event::kSeal, Event::kSeal, Event::kCold, Event::kReopen, Event::kSeal, Event::kRestore, Event::kCold}) {
    for (int batch = 0; batch < 3; ++batch) {
      std::string rows = "(NULL, NULL)";
      for (int i = 0; i < 15; ++i) rows += fmt::format(", ({}, '{}')", ++id, words.Text());
      Run("INSERT INTO notes VALUES " + rows);
      if (batch < 2) Pass(event);  // The last ones stay in the memtable.
    }
    Run("CREATE OR REPLACE TABLE scratch.main.copy AS SELECT * FROM main.notes; SELECT 1");
    for (int i = 0; i < 40; ++i) {
      const std::string condition = words.Condition();
      const std::string want = Run("SELECT list(id ORDER BY id) AS ids, count(*) AS n FROM scratch.main.copy WHERE " + condition);
      ASSERT_EQ(Run("SELECT list(id ORDER BY id) AS ids, count(*) AS n FROM main.notes WHERE " + condition), want) << condition;
    }
  }
}

}  // namespace
}  // namespace sheaf::query
