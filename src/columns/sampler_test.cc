#include "columns/sampler.h"

#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include "columns/random_testing.h"
#include "columns/sampler_testing.h"
#include "columns/trace_state.h"
#include "core/crc32c.h"

namespace sheaf::columns {
namespace {

/// Runs `check` with each instruction set that this processor has.
template <typename Check>
void WithEveryInstructionSet(const Check& check) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

uint64_t SplitMix(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

TEST(Sampler, DecidesAsTheCollectorOfOpenTelemetryDoes) {
  constexpr int64_t kIds = 1'000'000;
  std::vector<uint64_t> ids(2 * kIds), kept(kIds / 64);
  uint64_t state = 0;
  for (uint64_t& half : ids) half = __builtin_bswap64(SplitMix(&state));
  WithEveryInstructionSet([&] {
    for (const CollectorDecisions& want : kCollectorDecisions) {
      const uint64_t threshold = SamplingThreshold(want.probability, want.digits);
      ASSERT_EQ(threshold, want.threshold) << want.probability << " to " << want.digits << " digits";
      std::string text;
      WriteSamplingState("", threshold, &text);
      EXPECT_EQ(text, std::string("ot=th:") + want.text);
      EXPECT_EQ(ReadSamplingState(text).threshold, threshold);
      SampleTraces(TraceIdOrder::kBytes, reinterpret_cast<const uint8_t*>(ids.data()), kIds, threshold, kept.data());
      int64_t count = 0;
      for (const uint64_t bits : kept) count += std::popcount(bits);
      EXPECT_EQ(count, want.kept) << want.probability;
      EXPECT_EQ(Crc32c(std::as_bytes(std::span(kept))), want.crc) << want.probability << " to " << want.digits << " digits";
    }
  });
}

TEST(Sampler, BothOrdersAndThresholdsOfEachIdDecideAlike) {
  Random random(TestSeed());
  WithEveryInstructionSet([&] {
    for (const int64_t rows : {0, 1, 63, 64, 65, 200, 1000}) {
      std::vector<uint8_t> bytes(static_cast<size_t>(rows) * 16), numbers(bytes.size());
      std::vector<uint64_t> thresholds(static_cast<size_t>(rows)), kept(static_cast<size_t>(rows + 63) / 64 + 1, 7), other = kept,
                                                                                                                     one = kept;
      for (int64_t row = 0; row < rows; ++row) {
        uint8_t* const id = &bytes[static_cast<size_t>(row) * 16];
        for (int i = 0; i < 16; ++i) id[i] = static_cast<uint8_t>(random());
        std::reverse_copy(id, id + 16, &numbers[static_cast<size_t>(row) * 16]);
        const uint64_t choice = random() % 4;  // Just kept, just not, or by chance.
        const uint64_t exact = TraceRandomness(id);
        thresholds[static_cast<size_t>(row)] = choice == 0   ? exact
                                               : choice == 1 ? exact + 1
                                               : choice == 2 ? kSamplingRange
                                                             : random() >> 8;
      }
      SampleTraces(TraceIdOrder::kBytes, bytes.data(), rows, thresholds.data(), kept.data());
      SampleTraces(TraceIdOrder::kNumbers, numbers.data(), rows, thresholds.data(), other.data());
      EXPECT_EQ(kept, other);
      const uint64_t threshold = rows > 0 ? thresholds[0] : 0;
      SampleTraces(TraceIdOrder::kNumbers, numbers.data(), rows, threshold, one.data());
      for (int64_t row = 0; row < rows; ++row) {
        const uint64_t randomness = TraceRandomness(&bytes[static_cast<size_t>(row) * 16]);
        EXPECT_EQ(kept[static_cast<size_t>(row / 64)] >> (row % 64) & 1, randomness >= thresholds[static_cast<size_t>(row)])
            << row;
        EXPECT_EQ(one[static_cast<size_t>(row / 64)] >> (row % 64) & 1, randomness >= threshold) << row;
      }
      if (rows % 64 != 0) {
        EXPECT_EQ(kept[static_cast<size_t>(rows / 64)] >> (rows % 64), 0u) << "bits behind the last";
      }
      EXPECT_EQ(kept.back(), 7u) << "what is behind the bits stays";
    }
  });
}

TEST(Sampler, AdjustedCounts) {
  EXPECT_EQ(AdjustedCount(0), 1);
  EXPECT_EQ(AdjustedCount(kSamplingRange / 2), 2);
  EXPECT_EQ(AdjustedCount(SamplingThreshold(0.01, 4)), double(0x100000) / double(0x100000 - 0xfd70a));
  EXPECT_EQ(AdjustedCount(kSamplingRange), 0) << "what keeps none stands for none";
  EXPECT_EQ(SamplingThreshold(0), kSamplingRange);
  EXPECT_EQ(SamplingThreshold(0, 1), kSamplingRange);
}

std::string Write(const std::string& state, std::optional<uint64_t> threshold) {
  std::string out;
  WriteSamplingState(state, threshold, &out);
  return out;
}

TEST(TraceState, ThresholdsAndRandomBitsAreRead) {
  EXPECT_EQ(ReadSamplingState("ot=th:c").threshold, 0xc0000000000000u);
  EXPECT_EQ(ReadSamplingState("a=1 , ot=rv:0123456789ABcd;th:fd70a\t,b=2").threshold, 0xfd70a000000000u);
  EXPECT_EQ(ReadSamplingState("a=1 , ot=rv:0123456789ABcd;th:fd70a\t,b=2").randomness, 0x0123456789abcdu);
  EXPECT_EQ(ReadSamplingState("ot=th:0").threshold, 0u);
  for (const char* bad :
       {"", "th:c", "ot=", "ot=th:", "ot=th:+1", "ot=th:0x1", "ot=th:xyz", "ot=th:0123456789abcde", "ot=xth:c", "OT=th:c",
        "b@ot=th:c", "a=ot=th:c", "ot=rv:123456789abcd", "ot=rv:0123456789abcde", "ot=rv:0123456789abcg", "ot=t h:c"}) {
    EXPECT_FALSE(ReadSamplingState(bad).threshold) << bad;
    EXPECT_FALSE(ReadSamplingState(bad).randomness) << bad;
  }
}

TEST(TraceState, WhatOthersSayStays) {
  EXPECT_EQ(Write("", 0), "ot=th:0");
  EXPECT_EQ(Write("", 0x00000000000001), "ot=th:00000000000001");
  EXPECT_EQ(Write("", 0xfd70a400000000), "ot=th:fd70a4");
  EXPECT_EQ(Write("a=1, b=x y,,", 0x80000000000000), "ot=th:8,a=1,b=x y");
  EXPECT_EQ(Write("a=1,ot=p:8;th:4;rv:0123456789abcd;th:1,b=2,ot=th:5", 0xc0000000000000),
            "ot=p:8;rv:0123456789abcd;th:c,a=1,b=2");
  EXPECT_EQ(Write("a=1,ot=p:8;th:4", std::nullopt), "ot=p:8,a=1");
  EXPECT_EQ(Write("ot=th:4,a=1", std::nullopt), "a=1");
  EXPECT_EQ(Write("ot=th:4", std::nullopt), "");
  std::string tail;
  WriteKeptByTail("a=1,ot=p:8;th:4,sheaf=tail", &tail);
  EXPECT_EQ(tail, "sheaf=tail,ot=p:8,a=1");
  EXPECT_EQ(AdjustedCount(ReadSamplingState(tail)), 0);
  EXPECT_EQ(AdjustedCount(ReadSamplingState("sheaf=tails")), 1);
  EXPECT_EQ(AdjustedCount(ReadSamplingState(Write(tail, 0x80000000000000))), 0) << "whatever is noted after";
  std::string out = "before ";
  WriteSamplingState("a=1", 0, &out);
  EXPECT_EQ(out, "before ot=th:0,a=1");
}

}  // namespace
}  // namespace sheaf::columns
