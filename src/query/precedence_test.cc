#include "query/precedence.h"

#include <chrono>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "decode/schemas.h"
#include "query/engine.h"
#include "query/formats.h"
#include "query/testing.h"

namespace sheaf::query {
namespace {

using Clock = std::chrono::steady_clock;

TEST(Precedence, ScansPauseForShortWorkButNotForLong) {
  const auto pause = [] {
    const auto start = Clock::now();
    for (int i = 0; i < 100; ++i) Precedence::MakeWay();
    return Clock::now() - start;
  };
  EXPECT_LT(pause(), std::chrono::milliseconds(10)) << "there is nothing to wait for";
  const Precedence::Hold hold;
  const Precedence::Hold another;
  EXPECT_GE(pause(), std::chrono::milliseconds(20));
}

TEST(Precedence, ScansComeToTheirEndBesideShortWorkWithoutEnd) {
  MemoryDatabase database;
  std::mt19937_64 random(1);
  for (int part = 0; part < 4; ++part) database.Add(decode::Signal::kTraces, RandomSpans(2'000, 10, 1'700'000'000'000'000'000, &random));
  const auto engine = Engine::Open(&database, {.threads = 2}).ValueOrDie();
  const Precedence::Hold hold;
  const auto answer = RunToText(engine.get(), {.sql = "SELECT count(*) AS n FROM traces WHERE duration_ns >= 0"}, Format::kNdjson);
  EXPECT_EQ(answer.ValueOr(""), "{\"n\":80000}\n");
}

}  // namespace
}  // namespace sheaf::query
