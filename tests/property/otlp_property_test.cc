/// Property: whatever OTLP a sender writes, and however it writes it, rows say what libprotobuf reads, and
/// rows encoded back to OTLP are equal to what was sent. Hostile bytes end in an error, never in a crash.
///
/// Method: one seed drives every choice of one request (random_otlp.h). libprotobuf's classes make the
/// requests and judge the answers. A failure prints its seed: SHEAF_OTLP_SEED=<seed> replays that one.

#include <cstdlib>
#include <span>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "decode/decoder.h"
#include "decode/encoder.h"
#include "opentelemetry/proto/collector/logs/v1/logs_service.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"
#include "property/otlp_columns_check.h"
#include "property/random_otlp.h"

namespace sheaf::property {
namespace {

using decode::Decoder;
using decode::DecodeResult;
using decode::Signal;
using google::protobuf::Message;

constexpr uint64_t kRequests = 600;

enum class Kind { kTraces, kLogs, kMetrics };

std::unique_ptr<Message> NewRequest(Kind kind) {
  namespace collector = opentelemetry::proto::collector;
  switch (kind) {
    case Kind::kTraces:
      return std::make_unique<collector::trace::v1::ExportTraceServiceRequest>();
    case Kind::kLogs:
      return std::make_unique<collector::logs::v1::ExportLogsServiceRequest>();
    default:
      return std::make_unique<collector::metrics::v1::ExportMetricsServiceRequest>();
  }
}

Result<DecodeResult> Decode(Kind kind, Decoder* decoder, std::string_view bytes) {
  const auto request = std::as_bytes(std::span(bytes));
  switch (kind) {
    case Kind::kTraces:
      return decoder->Traces(request);
    case Kind::kLogs:
      return decoder->Logs(request);
    default:
      return decoder->Metrics(request);
  }
}

bool Parse(std::string_view bytes, Message* message) {
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  input.SetRecursionLimit(1000);
  return message->ParseFromCodedStream(&input) && input.ConsumedEntireMessage();
}

std::vector<uint64_t> SeedsToRun(uint64_t n) {
  if (const char* seed = std::getenv("SHEAF_OTLP_SEED")) return {std::strtoull(seed, nullptr, 10)};
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= n; ++seed) seeds.push_back(seed);
  return seeds;
}

class OtlpProperty : public testing::TestWithParam<Kind> {
 protected:
  // libprotobuf prints a line for each text that is not UTF-8; it is asked about thousands.
  void SetUp() override { google::protobuf::SetLogHandler(nullptr); }

  /// Decodes `bytes`, which libprotobuf reads as `sent`, and checks everything that must hold.
  void CheckRequest(const Message& sent, const std::string& bytes, bool compare_columns) {
    int64_t rejected = 0;
    const std::vector<FlatRecord> want = Flatten(sent, &rejected);
    const Result<DecodeResult> got = Decode(GetParam(), &decoder_, bytes);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_EQ(got->rejected, rejected);
    EXPECT_EQ(got->rejected_reason.empty(), rejected == 0);
    EXPECT_EQ(got->accepted, static_cast<int64_t>(want.size()));
    for (int signal = 0; signal < decode::kSignals; ++signal) {
      std::vector<const FlatRecord*> rows;
      for (const FlatRecord& record : want) {
        if (record.signal == static_cast<Signal>(signal)) rows.push_back(&record);
      }
      const arrow::RecordBatch* batch = nullptr;
      for (const auto& table : got->batches) {
        if (table.signal == static_cast<Signal>(signal)) batch = table.batch.get();
      }
      ASSERT_EQ(batch == nullptr, rows.empty()) << decode::SignalTable(static_cast<Signal>(signal));
      if (batch != nullptr) CheckBatch(static_cast<Signal>(signal), rows, *batch, compare_columns);
    }
  }

 private:
  void CheckBatch(Signal signal, const std::vector<const FlatRecord*>& want, const arrow::RecordBatch& batch, bool compare_columns) {
    const Status valid = batch.ValidateFull();
    ASSERT_TRUE(valid.ok()) << valid.ToString();
    ASSERT_TRUE(batch.schema()->Equals(*decode::SignalSchema(signal)));
    ASSERT_EQ(batch.num_rows(), static_cast<int64_t>(want.size()));
    for (int64_t row = 0; compare_columns && row < batch.num_rows(); ++row) {
      ExpectSameColumns(*want[static_cast<size_t>(row)], batch, row);
      ASSERT_FALSE(HasFailure()) << "row " << row;
    }
    std::string encoded;
    ASSERT_TRUE(decode::EncodeRequest(signal, batch, &encoded).ok());
    const auto back = NewRequest(GetParam());
    ASSERT_TRUE(Parse(Replaced(encoded, kBadBytes, kBadText), back.get()));
    int64_t rejected = 0;
    const std::vector<FlatRecord> got = Flatten(*back, &rejected);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].ToString(), want[i]->ToString()) << "row " << i << ": " << got[i].record->DebugString() << "\ninstead of\n"
                                                        << want[i]->record->DebugString();
    }
  }

 protected:
  Decoder decoder_;  // One for all requests: what one leaves behind must not reach the next.
};

TEST_P(OtlpProperty, RowsSayWhatWasSentAndEncodeBackToIt) {
  for (const uint64_t seed : SeedsToRun(kRequests)) {
    SCOPED_TRACE("SHEAF_OTLP_SEED=" + std::to_string(seed));
    Random random(seed);
    const Shape shape = RandomShape(&random);
    const auto sent = NewRequest(GetParam());
    FillRandomly(shape, &random, sent.get());
    const std::string bytes = random.OneIn(2) ? SerializeOddly(*sent, &random) : sent->SerializeAsString();
    const auto judged = NewRequest(GetParam());
    ASSERT_TRUE(Parse(bytes, judged.get()));
    ASSERT_EQ(judged->SerializeAsString(), sent->SerializeAsString()) << "the odd serialisation is wrong";
    CheckRequest(*judged, Replaced(bytes, kBadText, kBadBytes), !shape.bad_text);
    if (HasFailure()) return;  // The first failing seed is the one to read.
  }
}

TEST_P(OtlpProperty, EveryTruncationIsAnErrorOrLess) {
  for (const uint64_t seed : SeedsToRun(5)) {
    SCOPED_TRACE("SHEAF_OTLP_SEED=" + std::to_string(seed));
    Random random(seed);
    const auto sent = NewRequest(GetParam());
    FillRandomly(Shape{}, &random, sent.get());
    const std::string bytes = sent->SerializeAsString().substr(0, 6000);
    for (size_t size = 0; size <= bytes.size(); size += 1 + size / 2000) {
      const std::string cut(bytes, 0, size);  // A buffer of exactly this size: the sanitizer sees a read beyond.
      const auto judged = NewRequest(GetParam());
      const bool is_legal = Parse(cut, judged.get());
      const auto got = Decode(GetParam(), &decoder_, cut);
      ASSERT_EQ(got.ok(), is_legal) << "at " << size << ": " << got.status().ToString();
    }
  }
}

TEST_P(OtlpProperty, FlippedBytesNeverCrashAndAgreeWithLibprotobuf) {
  for (const uint64_t seed : SeedsToRun(kRequests)) {
    SCOPED_TRACE("SHEAF_OTLP_SEED=" + std::to_string(seed));
    Random random(seed);
    const auto sent = NewRequest(GetParam());
    FillRandomly(RandomShape(&random), &random, sent.get());
    std::string bytes = sent->SerializeAsString();
    if (bytes.empty()) continue;
    for (uint64_t flips = 1 + random.Below(4); flips > 0; --flips) bytes[random.Below(bytes.size())] = static_cast<char>(random.Bits());
    const auto judged = NewRequest(GetParam());
    const bool is_legal = Parse(bytes, judged.get());
    const auto got = Decode(GetParam(), &decoder_, bytes);
    // The other way round does not hold: we take text that is not UTF-8.
    if (is_legal && !got.ok()) {
      ASSERT_EQ(KindOf(got.status()), ErrorKind::kTooLarge) << got.status().ToString();
    }
    if (is_legal && got.ok()) CheckRequest(*judged, bytes, true);
    if (!got.ok()) continue;
    for (const auto& table : got->batches) ASSERT_TRUE(table.batch->ValidateFull().ok());
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Requests, OtlpProperty, testing::Values(Kind::kTraces, Kind::kLogs, Kind::kMetrics), [](const auto& info) {
  return info.param == Kind::kTraces ? "Traces" : info.param == Kind::kLogs ? "Logs" : "Metrics";
});

}  // namespace
}  // namespace sheaf::property
