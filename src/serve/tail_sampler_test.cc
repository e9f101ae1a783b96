#include "serve/tail_sampler.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include <arrow/array/array_binary.h>
#include <arrow/array/array_dict.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "columns/trace_state.h"
#include "decode/decoder.h"
#include "io/sim_testing.h"
#include "wire/otlp_json.h"

namespace sheaf::serve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kSecond = 1'000'000'000;

/// A span of trace `trace` (its number): `name`, whether it has an error, and how long it takes.
struct Span {
  int trace = 0;
  std::string name;
  bool error = false;
  int64_t duration_ns = 1;
};

/// Traces with even numbers are kept at a half, others are not.
std::shared_ptr<arrow::RecordBatch> Batch(const std::vector<Span>& spans) {
  std::string list;
  for (const Span& span : spans) {
    list += fmt::format(R"({}{{"traceId":"{:016x}{:016x}","spanId":"0000000000000001","name":"{}","traceState":"a=1",
        "startTimeUnixNano":"1000","endTimeUnixNano":"{}","status":{{"code":{}}}}})",
                        list.empty() ? "" : ",", span.trace + 1, span.trace % 2 == 0 ? 0xffffffffffffff : 0, span.name,
                        1000 + span.duration_ns, span.error ? 2 : 0);
  }
  std::string protobuf;
  const Status read = wire::OtlpJsonToProtobuf(wire::OtlpRequest::kTraces,
                                               R"({"resourceSpans":[{"scopeSpans":[{"spans":[)" + list + "]}]}]}", &protobuf);
  EXPECT_TRUE(read.ok()) << read.ToString();
  decode::Decoder decoder;
  return decoder.Traces(std::as_bytes(std::span(protobuf))).ValueOrDie().batches.front().batch;
}

class TailSamplerTest : public testing::Test {
 protected:
  void Make(const TailRules& rules) { sampler_ = std::make_unique<TailSampler>(rules, &clock_); }

  TailSampler::Taken Take(const std::vector<Span>& spans) {
    const auto batch = Batch(spans);
    return sampler_->Take(DecideSpans(rules_, *batch), batch).ValueOrDie();
  }
  /// Names of the spans that are logged besides those that head sampling keeps.
  std::vector<std::string> Names(const TailSampler::Taken& taken) {
    std::vector<std::string> out;
    if (taken.spans == nullptr) return out;
    EXPECT_TRUE(taken.spans->ValidateFull().ok());
    EXPECT_TRUE(taken.spans->schema()->Equals(*decode::SignalSchema(decode::Signal::kTraces), false));
    const auto names = std::static_pointer_cast<arrow::DictionaryArray>(taken.spans->GetColumnByName("name"));
    const auto states = std::static_pointer_cast<arrow::StringArray>(taken.spans->GetColumnByName("trace_state"));
    for (int64_t row = 0; row < names->length(); ++row) {
      out.push_back(static_cast<const arrow::StringArray&>(*names->dictionary()).GetString(names->GetValueIndex(row)));
      EXPECT_EQ(states->GetView(row), "sheaf=tail,a=1");
    }
    return out;
  }
  std::vector<std::string> Logged(const std::vector<Span>& spans) { return Names(Take(spans)); }

  io::SimClock clock_;
  SamplingRules rules_ = SamplingRules::Parse("* = 0.5", 4).ValueOrDie();
  std::unique_ptr<TailSampler> sampler_;
};

TEST_F(TailSamplerTest, AnErrorBringsItsTraceBeforeWithAndAfterIt) {
  Make({.errors = true});
  EXPECT_THAT(Logged({{1, "a"}, {3, "other"}, {2, "kept by head"}}), IsEmpty());
  EXPECT_THAT(Logged({{1, "b"}}), IsEmpty());
  EXPECT_THAT(Logged({{1, "c", true}, {1, "d"}, {5, "other"}}), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(Logged({{1, "e"}, {5, "other"}}), ElementsAre("e"));
  EXPECT_THAT(Logged({{1, "f", true}}), ElementsAre("f")) << "what was logged is not logged again";
  EXPECT_THAT(Logged({{3, "slow", false, 3600 * kSecond}}), IsEmpty()) << "slowness is not asked for";
}

TEST_F(TailSamplerTest, SlowSpansDoSoWhereTheyAreAskedFor) {
  Make({.slow_ns = kSecond});
  EXPECT_THAT(Logged({{1, "a"}, {3, "b"}}), IsEmpty());
  EXPECT_THAT(Logged({{1, "almost", false, kSecond - 1}, {3, "slow", false, kSecond}}), ElementsAre("b", "slow"));
  EXPECT_THAT(Logged({{1, "error", true}}), IsEmpty()) << "errors are not";
}

TEST_F(TailSamplerTest, SpansThatHeadSamplingKeepsBringTheOthersOfTheirTrace) {
  Make({.errors = true});
  rules_ = SamplingRules::Parse("* = 0", 4).ValueOrDie();
  EXPECT_THAT(Logged({{2, "a"}}), IsEmpty());
  rules_ = SamplingRules::Parse("* = 0.5", 4).ValueOrDie();
  EXPECT_THAT(Logged({{2, "kept by head, an error", true}}), ElementsAre("a"));
  EXPECT_THAT(Logged({{2, "kept by head"}}), IsEmpty());
}

TEST_F(TailSamplerTest, TheWindowEnds) {
  Make({.errors = true, .window_ns = 10 * kSecond});
  Logged({{1, "old"}});
  clock_.Advance(6 * kSecond);
  Logged({{1, "young"}});
  clock_.Advance(4 * kSecond);
  EXPECT_THAT(Logged({{1, "error", true}}), ElementsAre("young", "error"));
  clock_.Advance(9 * kSecond);
  EXPECT_THAT(Logged({{1, "late"}}), ElementsAre("late"));
  clock_.Advance(1 * kSecond);
  EXPECT_THAT(Logged({{1, "too late"}}), IsEmpty());
  clock_.Advance(10 * kSecond);
  EXPECT_THAT(Logged({{2, "kept by head"}}), IsEmpty());
  EXPECT_EQ(sampler_->held_bytes(), 0);
}

TEST_F(TailSamplerTest, MemoryIsBoundedAndTheOldestGoFirst) {
  Counter& spilled = Metrics().AddCounter("sheaf_tail_sampling_spilled_rows_total", "");
  const uint64_t before = spilled.value();
  Make({.errors = true});
  Logged({{1, "0"}});
  const int64_t one = sampler_->held_bytes();
  ASSERT_GT(one, 0);
  Make({.errors = true, .window_bytes = 3 * one});
  for (const char* name : {"0", "1", "2", "3", "4"}) {
    Logged({{1, name}});
    EXPECT_LE(sampler_->held_bytes(), 3 * one);
  }
  EXPECT_EQ(spilled.value() - before, 2u);
  EXPECT_THAT(Logged({{1, "error", true}}), ElementsAre("2", "3", "4", "error"));
  Make({.errors = true, .window_bytes = 1});
  Logged({{1, "too large"}});
  EXPECT_EQ(sampler_->held_bytes(), 0);
  EXPECT_EQ(spilled.value() - before, 3u);
  EXPECT_THAT(Logged({{1, "error", true}}), ElementsAre("error"));
}

TEST_F(TailSamplerTest, ARequestThatWasNotLoggedCanComeAgain) {
  Make({.errors = true});
  Logged({{1, "before"}});
  const std::vector<Span> request = {{1, "error", true}, {3, "other"}};
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto taken = Take(request);
    EXPECT_THAT(Names(taken), ElementsAre("before", "error")) << "attempt " << attempt;
    sampler_->GiveBack(taken);
  }
  EXPECT_THAT(Logged({{1, "between"}}), IsEmpty()) << "no trace is kept for a request that was not logged";
  EXPECT_THAT(Logged(request), ElementsAre("before", "between", "error"));
  EXPECT_THAT(Logged({{3, "error of the other", true}}), ElementsAre("other", "error of the other"));
}

/// Random requests, against a list of all spans: what is logged are the spans of traces with an error, each once.
TEST_F(TailSamplerTest, LogsEachSpanOfTracesWithErrorsOnce) {
  columns::Random random(columns::TestSeed());
  Make({.errors = true});
  std::map<int, std::set<std::string>> of_trace;
  std::set<int> with_error;
  std::multiset<std::string> logged;
  for (int request = 0; request < 200; ++request) {
    std::vector<Span> spans(1 + random() % 20);
    for (size_t i = 0; i < spans.size(); ++i) {
      spans[i] = {
          .trace = static_cast<int>(random() % 100), .name = fmt::format("{}-{}", request, i), .error = random() % 50 == 0};
      if (spans[i].error) with_error.insert(spans[i].trace);
      if (spans[i].trace % 2 != 0) of_trace[spans[i].trace].insert(spans[i].name);
    }
    const auto taken = Take(spans);
    if (random() % 5 == 0) {
      sampler_->GiveBack(taken);
      for (const std::string& name : Logged(spans)) logged.insert(name);
    } else {
      for (const std::string& name : Names(taken)) logged.insert(name);
    }
  }
  std::multiset<std::string> want;
  for (const auto& [trace, names] : of_trace) {
    if (with_error.contains(trace)) want.insert(names.begin(), names.end());
  }
  EXPECT_EQ(logged, want);
}

TEST_F(TailSamplerTest, ThreadsShareIt) {
  Make({.errors = true});
  std::vector<std::thread> threads;
  std::atomic<int64_t> logged{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const auto batch = Batch({{2 * i + 1, "a"}, {2 * i + 1, "b", t == 3}});
        const auto taken = sampler_->Take(DecideSpans(rules_, *batch), batch).ValueOrDie();
        if (taken.spans) logged += taken.spans->num_rows();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(logged, 4 * 50 * 2) << "whichever came first";
}

}  // namespace
}  // namespace sheaf::serve
