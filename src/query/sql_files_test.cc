/// Runs tests/sql/*.test, statements and their answers as text, on every kind of database. The format is described in
/// tests/sql/README.md.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/folder_testing.h"
#include "io/posix.h"
#include "query/engine.h"
#include "query/store_testing.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

/// From the build, not from the environment: ctest lists the tests without the tests' environment.
std::filesystem::path Folder() { return SHEAF_SQL_TESTS; }

std::vector<std::string> Files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    if (entry.path().extension() == ".test") names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// `rows TABLE`, `query` or `error KIND`, what follows up to ----, and what is expected up to an empty line.
struct Step {
  int line = 0;
  std::string verb, argument, text, expected;
};

std::vector<Step> ReadSteps(const std::string& file) {
  std::ifstream in(Folder() / file);
  EXPECT_TRUE(in) << file << " cannot be read";
  std::vector<Step> steps;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    Step step{.line = number};
    const size_t space = line.find(' ');
    step.verb = line.substr(0, space);
    if (space != std::string::npos) step.argument = line.substr(space + 1);
    while (std::getline(in, line) && line != "----") ++number, step.text += line + "\n";
    ++number;
    while (std::getline(in, line) && !line.empty()) ++number, step.expected += line + "\n";
    ++number;
    steps.push_back(std::move(step));
  }
  return steps;
}

decode::Signal SignalOf(const std::string& table) {
  for (int i = 0; i < decode::kSignals; ++i) {
    if (table == decode::SignalTable(static_cast<decode::Signal>(i))) return static_cast<decode::Signal>(i);
  }
  ADD_FAILURE() << "no table " << table;
  return decode::Signal::kTraces;
}

/// What a file runs on. Each must give the same answers.
enum class Kind {
  kMemory,    // The stand-in of testing.h, which other tests stand on.
  kStore,
  kEventful,  // The store, with something that no statement may notice behind each step that can write.
};
constexpr Kind kKinds[] = {Kind::kMemory, Kind::kStore, Kind::kEventful};
constexpr const char* kKindNames[] = {"memory", "store", "eventful"};

class SqlFiles : public ::testing::TestWithParam<std::tuple<std::string, Kind>> {
 protected:
  void SetUp() override {
    if (kind() != Kind::kMemory) {
      stored_ = std::make_unique<StoredDatabase>(io::PosixFileSystem(), folder_.path() + "/db");
      return;
    }
    memory_.AddTradingTables();
    auto engine = Engine::Open(&memory_, {.threads = 2});
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).ValueUnsafe();
  }

  Kind kind() const { return std::get<1>(GetParam()); }
  Engine* engine() { return stored_ ? stored_->engine() : engine_.get(); }

  void AddRows(const Step& step) {
    const decode::Signal signal = SignalOf(step.argument);
    auto batch = BatchFromOtlpJson(signal, step.text);
    if (!stored_) return memory_.Add(signal, std::move(batch));
    const auto table = stored_->database()->FindTable("otel", step.argument);
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    const auto lsn = stored_->database()->Append({{(*table)->id, std::move(batch)}});
    ASSERT_TRUE(lsn.ok()) << lsn.status().ToString();
    const Status sealed = stored_->database()->Flush();
    ASSERT_TRUE(sealed.ok()) << sealed.ToString();
  }

  void Run(const Step& step) {
    if (step.verb == "rows") return AddRows(step);
    const auto answer = RunToText(engine(), {.sql = step.text}, Format::kNdjson);
    if (step.verb == "query") {
      ASSERT_TRUE(answer.ok()) << answer.status().ToString();
      EXPECT_EQ(*answer, step.expected);
    } else {
      ASSERT_EQ(step.verb, "error");
      ASSERT_FALSE(answer.ok());
      EXPECT_EQ(ErrorKindName(KindOf(answer.status())), step.argument);
      const std::string wanted = step.expected.substr(0, step.expected.size() - (step.expected.empty() ? 0 : 1));
      EXPECT_NE(answer.status().message().find(wanted), std::string::npos) << answer.status().message();
    }
  }

  /// All events in turn.
  void PassEvent() {
    const auto event = StoredDatabase::kEvents[events_++ % StoredDatabase::kEvents.size()];
    const Status passed = stored_->Pass(event);
    ASSERT_TRUE(passed.ok()) << "event " << static_cast<int>(event) << ": " << passed.ToString();
  }

 private:
  io::TemporaryFolder folder_;
  MemoryDatabase memory_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<StoredDatabase> stored_;
  size_t events_ = 0;
};

TEST_P(SqlFiles, AnswersAsWritten) {
  const std::string& file = std::get<0>(GetParam());
  for (const Step& step : ReadSteps(file)) {
    SCOPED_TRACE("tests/sql/" + file + ":" + std::to_string(step.line));
    Run(step);
    const bool reads = step.verb == "error" || step.text.starts_with("SELECT");
    if (kind() == Kind::kEventful && !reads) PassEvent();
    if (HasFatalFailure()) return;
  }
}

/// Statements of the ```sql blocks of docs/sql.md, in order.
std::vector<std::string> ManualStatements() {
  std::ifstream in(Folder() / "../../docs/sql.md");
  EXPECT_TRUE(in) << "the manual cannot be read";
  std::vector<std::string> statements;
  std::string line, statement;
  for (bool inside = false; std::getline(in, line);) {
    if (line.starts_with("```")) inside = line == "```sql";
    else if (inside) statement += line + "\n";
    if (!statement.ends_with(";\n")) continue;
    statements.push_back(std::exchange(statement, ""));
  }
  EXPECT_EQ(statement, "") << "each statement ends with a semicolon";
  return statements;
}

TEST(SqlManual, ExamplesRun) {
  io::TemporaryFolder folder;
  StoredDatabase stored(io::PosixFileSystem(), folder.path() + "/db");
  const auto statements = ManualStatements();
  EXPECT_GE(statements.size(), 10u);
  for (const std::string& sql : statements) {
    const auto answer = RunToText(stored.engine(), {.sql = sql}, Format::kNdjson);
    EXPECT_TRUE(answer.ok()) << sql << answer.status().ToString();
  }
}

INSTANTIATE_TEST_SUITE_P(Each, SqlFiles, ::testing::Combine(::testing::ValuesIn(Files()), ::testing::ValuesIn(kKinds)),
                         [](const auto& given) {
                           std::string name = std::get<0>(given.param).substr(0, std::get<0>(given.param).find('.'));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name + "_" + kKindNames[static_cast<size_t>(std::get<1>(given.param))];
                         });

}  // namespace
}  // namespace sheaf::query
