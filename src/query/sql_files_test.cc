/// Runs tests/sql/*.test: statements and their answers as text. The format is described in tests/sql/README.md.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "query/engine.h"
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

class SqlFiles : public ::testing::TestWithParam<std::string> {};

TEST_P(SqlFiles, AnswersAsWritten) {
  MemoryDatabase database;
  auto engine = Engine::Open(&database, {.threads = 2});
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  for (const Step& step : ReadSteps(GetParam())) {
    SCOPED_TRACE("tests/sql/" + GetParam() + ":" + std::to_string(step.line));
    if (step.verb == "rows") {
      const decode::Signal signal = SignalOf(step.argument);
      database.Add(signal, BatchFromOtlpJson(signal, step.text));
      continue;
    }
    const auto answer = RunToText(engine->get(), {.sql = step.text}, Format::kNdjson);
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
}

INSTANTIATE_TEST_SUITE_P(Each, SqlFiles, ::testing::ValuesIn(Files()), [](const auto& file) {
  std::string name = file.param.substr(0, file.param.find('.'));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace sheaf::query
