/// Property: rows that are sent as OTel-Arrow by our encoder and read by our decoder are the same rows.
///
/// Method: one seed drives every choice of one stream: what the records are (random_otlp.h), which of their rows are sent, how
/// many tables share a message, how the encoder is set. A failure prints its seed: SHEAF_OTAP_SEED=<seed> replays that one.

#include <cstdlib>
#include <span>
#include <utility>

#include <gtest/gtest.h>

#include "decode/otap_decoder.h"
#include "decode/otap_encoder.h"
#include "decode/row_texts_testing.h"
#include "property/random_otlp.h"
#include "wire/otap_messages.h"

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

namespace sheaf::property {
namespace {

namespace collector = opentelemetry::proto::collector;
using decode::OtapSignal;
using decode::TableBatch;

constexpr uint64_t kStreams = 25;
constexpr int kBatches = 6;

/// OTel-Arrow does not keep the order of attributes, so which of two service.name comes first it cannot say: one stays.
template <typename Parts>
void KeepOneServiceName(Parts* parts) {
  for (auto& part : *parts) {
    auto* attributes = part.mutable_resource()->mutable_attributes();
    bool named = false;
    for (int i = 0; i < attributes->size();) {
      if (attributes->Get(i).key() == "service.name" && std::exchange(named, true))
        attributes->DeleteSubrange(i, 1);
      else
        ++i;
    }
  }
}

std::string RandomRequest(OtapSignal signal, const Shape& shape, Random* random) {
  const auto bytes = [](const google::protobuf::Message& request) {
    return Replaced(request.SerializeAsString(), kBadText, kBadBytes);
  };
  if (signal == OtapSignal::kTraces) {
    collector::trace::v1::ExportTraceServiceRequest request;
    FillRandomly(shape, random, &request);
    KeepOneServiceName(request.mutable_resource_spans());
    return bytes(request);
  }
  if (signal == OtapSignal::kLogs) {
    collector::logs::v1::ExportLogsServiceRequest request;
    FillRandomly(shape, random, &request);
    KeepOneServiceName(request.mutable_resource_logs());
    return bytes(request);
  }
  collector::metrics::v1::ExportMetricsServiceRequest request;
  FillRandomly(shape, random, &request);
  KeepOneServiceName(request.mutable_resource_metrics());
  return bytes(request);
}

class OtapEncoderProperty : public testing::TestWithParam<OtapSignal> {
 protected:
  std::vector<TableBatch> RandomTables(const Shape& shape, Random* random) {
    const std::string request = RandomRequest(GetParam(), shape, random);
    const auto bytes = std::as_bytes(std::span(request));
    auto result = GetParam() == OtapSignal::kTraces ? otlp_.Traces(bytes)
                  : GetParam() == OtapSignal::kLogs ? otlp_.Logs(bytes)
                                                    : otlp_.Metrics(bytes);
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    std::vector<TableBatch> tables = std::move(result->batches);
    for (TableBatch& table : tables) {  // Slices have offsets in all their buffers.
      const int64_t n = table.batch->num_rows();
      const auto begin = random->OneIn(2) ? 0 : static_cast<int64_t>(random->Below(static_cast<uint64_t>(n)));
      const auto rows = random->OneIn(2) ? n - begin : static_cast<int64_t>(random->Below(static_cast<uint64_t>(n - begin + 1)));
      table.batch = table.batch->Slice(begin, rows);
    }
    return tables;
  }

  /// Sends the tables and returns what arrives.
  std::vector<TableBatch> Send(const std::vector<TableBatch>& tables, decode::OtapStreamEncoder* encoder,
                               decode::OtapStream* stream, decode::OtapEncoded* encoded) {
    message_.clear();
    const auto sent = encoder->Encode(tables, &message_);
    EXPECT_TRUE(sent.ok()) << sent.status().ToString();
    if (!sent.ok()) return {};
    *encoded = *sent;
    wire::BatchArrowRecords batch;
    EXPECT_TRUE(wire::ReadBatchArrowRecords(message_, &batch).ok());
    EXPECT_EQ(batch.batch_id, sent->batch_id);
    auto got = decoder_.Decode(stream, batch);
    EXPECT_TRUE(got.ok()) << got.status().ToString();
    if (!got.ok()) return {};
    EXPECT_EQ(got->accepted, sent->rows);
    EXPECT_EQ(got->rejected, 0);
    return got->batches;
  }

  static decode::OtapEncoderOptions RandomOptions(Random* random) {
    constexpr wire::IpcCodec kCodecs[] = {wire::IpcCodec::kNone, wire::IpcCodec::kLz4, wire::IpcCodec::kZstd};
    decode::OtapEncoderOptions options;
    options.codec = kCodecs[random->Below(3)];
    options.zstd_level = static_cast<int>(random->Below(4));
    if (random->OneIn(2)) options.stream_bytes_max = static_cast<int64_t>(random->Below(100'000));  // Few dictionaries fit.
    options.metric_metadata = true;
    return options;
  }

  decode::Decoder otlp_;
  decode::OtapDecoder decoder_;
  std::string message_;
};

std::vector<uint64_t> SeedsToRun() {
  if (const char* seed = std::getenv("SHEAF_OTAP_SEED")) return {std::strtoull(seed, nullptr, 10)};
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= kStreams; ++seed) seeds.push_back(seed);
  return seeds;
}

TEST_P(OtapEncoderProperty, WhatIsSentArrives) {
  size_t rows = 0;
  for (const uint64_t seed : SeedsToRun()) {
    SCOPED_TRACE("SHEAF_OTAP_SEED=" + std::to_string(seed));
    Random random(seed);
    decode::OtapStreamEncoder encoder(GetParam(), RandomOptions(&random));
    auto stream = std::make_unique<decode::OtapStream>(GetParam());
    for (int i = 0; i < kBatches; ++i) {
      SCOPED_TRACE("batch " + std::to_string(i));
      if (random.OneIn(10)) {
        encoder.Restart();
        stream = std::make_unique<decode::OtapStream>(GetParam());
      }
      Shape shape = RandomShape(&random);
      shape.bad_text = shape.unknown_fields = false;  // What is repaired or left out is not what was there.
      std::vector<TableBatch> tables = RandomTables(shape, &random);
      if (random.OneIn(3)) {
        for (TableBatch& table : RandomTables(shape, &random)) tables.push_back(std::move(table));
      }
      decode::OtapEncoded sent;
      const std::vector<TableBatch> got = Send(tables, &encoder, stream.get(), &sent);
      const auto got_rows = decode::RowTexts(got, false, true), want_rows = decode::RowTexts(tables, false, true);
      ASSERT_EQ(got_rows.size(), want_rows.size());
      for (size_t row = 0; row < want_rows.size(); ++row) ASSERT_EQ(got_rows[row], want_rows[row]);
      rows += want_rows.size();
      if (HasFailure()) return;  // The first failing seed is the one to read.
    }
  }
  EXPECT_GT(rows, 100u);
}

TEST_P(OtapEncoderProperty, RowsThatCannotBeSaidAreCounted) {
  Random random(7);
  decode::OtapStreamEncoder encoder(GetParam());
  decode::OtapStream stream(GetParam());
  int64_t inexact = 0;
  for (int i = 0; i < 40; ++i) {
    const std::vector<TableBatch> tables = RandomTables({.odd_ids = true, .unknown_fields = true, .bad_text = true}, &random);
    int64_t originals = 0;
    for (const TableBatch& table : tables) {
      const auto column = table.batch->GetColumnByName("original");
      originals += column->length() - column->null_count();
    }
    decode::OtapEncoded sent;
    Send(tables, &encoder, &stream, &sent);
    ASSERT_GE(sent.inexact_rows, originals);
    ASSERT_LE(sent.inexact_rows, sent.rows);
    inexact += sent.inexact_rows;
  }
  EXPECT_GT(inexact, 0);
}

std::string NameOf(const testing::TestParamInfo<OtapSignal>& info) {
  return info.param == OtapSignal::kTraces ? "Traces" : info.param == OtapSignal::kLogs ? "Logs" : "Metrics";
}
INSTANTIATE_TEST_SUITE_P(Signals, OtapEncoderProperty,
                         testing::Values(OtapSignal::kTraces, OtapSignal::kLogs, OtapSignal::kMetrics), NameOf);

}  // namespace
}  // namespace sheaf::property
