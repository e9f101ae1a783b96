#include "serve/head_sampler.h"

#include <arrow/array/array_binary.h>
#include <arrow/array/array_dict.h>
#include <arrow/array/builder_binary.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "columns/sampler.h"
#include "columns/trace_state.h"
#include "decode/decoder.h"
#include "wire/otlp_json.h"

namespace sheaf::serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SamplingRules Rules(std::string_view text, int digits = 4) { return SamplingRules::Parse(text, digits).ValueOrDie(); }

/// A span: the last bytes of its trace id in hex, its trace state, and more fields of it as JSON.
struct Span {
  std::string random, state;
  std::string more = "";
};

std::shared_ptr<arrow::RecordBatch> Batch(const std::vector<std::pair<std::string, std::vector<Span>>>& services) {
  std::string resources;
  int id = 0;
  for (const auto& [service, spans] : services) {
    std::string list;
    for (const Span& span : spans) {
      list += fmt::format(R"({}{{"traceId":"{:0>32}","spanId":"{:016x}","name":"s{}","traceState":"{}"{}}})",
                          list.empty() ? "" : ",", "1" + span.random, id + 1, id, span.state, span.more);
      ++id;
    }
    resources += fmt::format(R"({}{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{}"}}}}]}},
        "scopeSpans":[{{"spans":[{}]}}]}})",
                             resources.empty() ? "" : ",", service, list);
  }
  std::string protobuf;
  const Status read = wire::OtlpJsonToProtobuf(wire::OtlpRequest::kTraces, R"({"resourceSpans":[)" + resources + "]}", &protobuf);
  EXPECT_TRUE(read.ok()) << read.ToString();
  decode::Decoder decoder;
  return decoder.Traces(std::as_bytes(std::span(protobuf))).ValueOrDie().batches.front().batch;
}

/// "name trace_state" of each span that is kept.
std::vector<std::string> Kept(const SamplingRules& rules, const std::shared_ptr<arrow::RecordBatch>& spans) {
  const auto kept = TakeKept(DecideSpans(rules, *spans), spans, arrow::default_memory_pool()).ValueOrDie();
  std::vector<std::string> out;
  if (kept == nullptr) return out;
  EXPECT_TRUE(kept->ValidateFull().ok());
  EXPECT_EQ(kept->schema(), spans->schema());
  const auto name_column = kept->GetColumnByName("name"), state_column = kept->GetColumnByName("trace_state");
  const auto& names = static_cast<const arrow::DictionaryArray&>(*name_column);
  const auto& texts = static_cast<const arrow::StringArray&>(*names.dictionary());
  const auto& states = static_cast<const arrow::StringArray&>(*state_column);
  for (int64_t row = 0; row < kept->num_rows(); ++row) {
    out.push_back(texts.GetString(names.GetValueIndex(row)) + " " + states.GetString(row));
  }
  return out;
}

TEST(SamplingRules, AreReadAsWritten) {
  EXPECT_TRUE(Rules("").empty());
  EXPECT_TRUE(Rules(" \n").empty());
  const SamplingRules rules = Rules(" checkout=0.5,\n\"a, b\" = 1, c=d = 1e-3 , * = 0.25,none = 0");
  EXPECT_EQ(rules.ThresholdOf("checkout"), 0x80000000000000u);
  EXPECT_EQ(rules.ThresholdOf("a, b"), 0u);
  EXPECT_EQ(rules.ThresholdOf("c=d"), columns::SamplingThreshold(0.001, 4));
  EXPECT_EQ(rules.ThresholdOf("none"), columns::kSamplingRange);
  EXPECT_EQ(rules.ThresholdOf("anything"), 0xc0000000000000u);
  EXPECT_EQ(Rules("a = 0.5").ThresholdOf("b"), 0u) << "without a rule all are kept";
}

TEST(SamplingRules, MistakesAreNamed) {
  for (const char* bad : {"checkout", "= 0.5", "a = ", "a = x", "a = 0.5x", "a = 1.5", "a = -0.1", "a = nan", "a = 1e-20",
                          "a = 0.5,,b = 1", "\"a = 1", "a = 1, a = 0.5", "* = 1, * = 1"}) {
    const auto rules = SamplingRules::Parse(bad, 4);
    ASSERT_FALSE(rules.ok()) << bad;
    EXPECT_EQ(KindOf(rules.status()), ErrorKind::kInvalid);
    EXPECT_THAT(rules.status().message(), HasSubstr("sampling rule")) << bad;
  }
  std::string many;
  for (size_t i = 0; i <= SamplingRules::kRulesMax; ++i) many += fmt::format("s{} = 1,", i);
  EXPECT_THAT(SamplingRules::Parse(many, 4).status().message(), HasSubstr("more than 10000"));
}

TEST(HeadSampler, EachServiceHasItsShareAndItIsNoted) {
  const auto spans = Batch({{"half", {{"7fffffffffffff", ""}, {"80000000000000", ""}, {"ffffffffffffff", "a=1"}}},
                            {"all", {{"00000000000000", ""}, {"00000000000001", "ot=th:0"}}},
                            {"none", {{"ffffffffffffff", ""}}},
                            {"other", {{"bfffffffffffff", ""}, {"c0000000000000", ""}}}});
  EXPECT_THAT(Kept(Rules("half = 0.5, all = 1, none = 0, * = 0.25"), spans),
              ElementsAre("s1 ot=th:8", "s2 ot=th:8,a=1", "s3 ", "s4 ot=th:0", "s7 ot=th:c"));
  EXPECT_THAT(Kept(Rules("half = 0, other = 0, all = 0, none = 0"), spans), ElementsAre());
  EXPECT_EQ(TakeKept(DecideSpans(Rules("x = 0.5"), *spans), spans, arrow::default_memory_pool()).ValueOrDie(), spans)
      << "where nothing changes nothing is copied";
}

TEST(HeadSampler, WhatSamplersNotedBeforeIsRespected) {
  const auto spans = Batch({{"half",
                             {{"ffffffffffffff", "ot=th:c"},      // Was kept at a quarter: stands for four, not two.
                              {"ffffffffffffff", "ot=th:4;x:1"},  // At three quarters: now at half.
                              {"90000000000000", "ot=th:c"},      // Its bits say that it was not kept at a quarter.
                              {"7fffffffffffff", "ot=th:c"},
                              {"00000000000000", "ot=rv:80000000000000"},
                              {"ffffffffffffff", "ot=rv:7fffffffffffff"},
                              {"00000000000000", "ot=rv:ffffffffffffff;th:fd70a"}}}});
  EXPECT_THAT(Kept(Rules("* = 0.5"), spans), ElementsAre("s0 ot=th:c", "s1 ot=x:1;th:8", "s2 ot=th:8",
                                                         "s4 ot=rv:80000000000000;th:8", "s6 ot=rv:ffffffffffffff;th:fd70a"));
}

TEST(HeadSampler, SpansThatAreKeptWholeSayTheSameInBothPlaces) {
  // Two trace states make protobuf keep the last, and the decoder the span's own bytes.
  const auto plain = Batch({{"a", {{"ffffffffffffff", "b=2"}}}});
  auto columns = plain->columns();
  const int at = plain->schema()->GetFieldIndex("original");
  arrow::BinaryBuilder originals;
  const std::string span = "\x0a\x10" + std::string(16, '\x01') + "\x12\x08" + std::string(8, '\x02') +
                           "\x1a\x03"
                           "b=2";
  ASSERT_TRUE(originals.Append(span).ok());
  columns[static_cast<size_t>(at)] = originals.Finish().ValueOrDie();
  const auto spans = arrow::RecordBatch::Make(plain->schema(), 1, columns);
  const auto kept = TakeKept(DecideSpans(Rules("* = 0.5"), *spans), spans, arrow::default_memory_pool()).ValueOrDie();
  const auto& original = static_cast<const arrow::BinaryArray&>(*kept->column(at));
  EXPECT_EQ(original.GetView(0), span +
                                     "\x1a\x0b"
                                     "ot=th:8,b=2");
}

TEST(HeadSampler, TotalsCanBeEstimated) {
  columns::Random random(columns::TestSeed());
  std::vector<Span> spans;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t bits = random() >> 8;
    std::string state;
    if (i % 3 == 0) columns::WriteSamplingState("", columns::SamplingThreshold(0.3), &state);
    const bool sent = i % 3 != 0 || bits >= columns::SamplingThreshold(0.3);
    if (sent) spans.push_back({fmt::format("{:014x}", bits), state});
  }
  const auto batch = Batch({{"s", spans}});
  const auto kept = TakeKept(DecideSpans(Rules("* = 0.1"), *batch), batch, arrow::default_memory_pool()).ValueOrDie();
  double total = 0;
  const auto states = kept->GetColumnByName("trace_state");
  for (int64_t row = 0; row < kept->num_rows(); ++row) {
    total += columns::AdjustedCount(columns::ReadSamplingState(static_cast<const arrow::StringArray&>(*states).GetView(row)));
  }
  EXPECT_NEAR(total, 20'000, 5 * 425) << "five standard deviations: sqrt(20000 * 0.9 / 0.1)";
}

}  // namespace
}  // namespace sheaf::serve
