/// Property: however a sender writes records as OTel-Arrow, rows are those of the same records sent as OTLP.
///
/// Method: one seed drives every choice of one stream of several batches (random_otlp.h makes the records, random_otap.h sends
/// them). A failure prints its seed: SHEAF_OTAP_SEED=<seed> replays that one.

#include <cstdlib>
#include <span>
#include <utility>

#include <gtest/gtest.h>

#include "decode/otap_decoder.h"
#include "decode/row_texts_testing.h"
#include "property/random_otap.h"

namespace sheaf::property {
namespace {

namespace collector = opentelemetry::proto::collector;
using decode::OtapSignal;

constexpr uint64_t kStreams = 60;
constexpr int kBatches = 4;

std::vector<uint64_t> SeedsToRun(uint64_t n) {
  if (const char* seed = std::getenv("SHEAF_OTAP_SEED")) return {std::strtoull(seed, nullptr, 10)};
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= n; ++seed) seeds.push_back(seed);
  return seeds;
}

/// A request and its two ways.
struct Sent {
  std::string otlp, otap;
};

/// OTel-Arrow does not keep the order of attributes, so which of two service.name comes first it cannot say: one stays.
template <typename Parts>
void KeepOneServiceName(Parts* parts) {
  for (auto& part : *parts) {
    auto* attributes = part.mutable_resource()->mutable_attributes();
    bool named = false;
    for (int i = 0; i < attributes->size();) {
      const bool is_name = attributes->Get(i).key() == "service.name";
      if (is_name && std::exchange(named, true))
        attributes->DeleteSubrange(i, 1);
      else
        ++i;
    }
  }
}

Sent Send(OtapSignal signal, RandomOtapSender* sender, Random* random) {
  const Shape shape{.bad_text = random->OneIn(4)};
  const auto bytes = [](const google::protobuf::Message& request) {
    return Replaced(request.SerializeAsString(), kBadText, kBadBytes);
  };
  switch (signal) {
    case OtapSignal::kTraces: {
      collector::trace::v1::ExportTraceServiceRequest request;
      FillRandomly(shape, random, &request);
      KeepOneServiceName(request.mutable_resource_spans());
      return {bytes(request), sender->Traces(request)};
    }
    case OtapSignal::kLogs: {
      collector::logs::v1::ExportLogsServiceRequest request;
      FillRandomly(shape, random, &request);
      KeepOneServiceName(request.mutable_resource_logs());
      return {bytes(request), sender->Logs(request)};
    }
    default: {
      collector::metrics::v1::ExportMetricsServiceRequest request;
      FillRandomly(shape, random, &request);
      KeepOneServiceName(request.mutable_resource_metrics());
      return {bytes(request), sender->Metrics(request)};
    }
  }
}

class OtapProperty : public testing::TestWithParam<OtapSignal> {
 protected:
  void CheckBatch(decode::OtapStream* stream, const Sent& sent) {
    wire::BatchArrowRecords batch;
    ASSERT_TRUE(wire::ReadBatchArrowRecords(sent.otap, &batch).ok());
    const auto got = decoder_.Decode(stream, batch);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    const auto bytes = std::as_bytes(std::span(sent.otlp));
    const auto want = stream->signal() == OtapSignal::kTraces ? otlp_.Traces(bytes)
                      : stream->signal() == OtapSignal::kLogs ? otlp_.Logs(bytes)
                                                              : otlp_.Metrics(bytes);
    ASSERT_TRUE(want.ok()) << want.status().ToString();
    EXPECT_EQ(got->accepted, want->accepted);
    EXPECT_EQ(got->rejected, want->rejected);
    const auto got_rows = decode::RowTexts(got->batches), want_rows = decode::RowTexts(want->batches);
    ASSERT_EQ(got_rows.size(), want_rows.size());
    for (size_t row = 0; row < want_rows.size(); ++row) ASSERT_EQ(got_rows[row], want_rows[row]);
    rows_ += want_rows.size();
  }

  decode::OtapDecoder decoder_;  // One for all streams: what one leaves behind must not reach the next.
  decode::Decoder otlp_;
  size_t rows_ = 0;
};

TEST_P(OtapProperty, RowsAreThoseOfTheSameRecordsAsOtlp) {
  for (const uint64_t seed : SeedsToRun(kStreams)) {
    SCOPED_TRACE("SHEAF_OTAP_SEED=" + std::to_string(seed));
    Random random(seed);
    RandomOtapSender sender(&random);
    decode::OtapStream stream(GetParam());
    for (int batch = 0; batch < kBatches; ++batch) {
      SCOPED_TRACE("batch " + std::to_string(batch));
      CheckBatch(&stream, Send(GetParam(), &sender, &random));
      if (HasFailure()) return;  // The first failing seed is the one to read.
    }
  }
  EXPECT_GT(rows_, 100u);
}

std::string NameOf(const testing::TestParamInfo<OtapSignal>& info) {
  return info.param == OtapSignal::kTraces ? "Traces" : info.param == OtapSignal::kLogs ? "Logs" : "Metrics";
}
INSTANTIATE_TEST_SUITE_P(Signals, OtapProperty, testing::Values(OtapSignal::kTraces, OtapSignal::kLogs, OtapSignal::kMetrics),
                         NameOf);

}  // namespace
}  // namespace sheaf::property
