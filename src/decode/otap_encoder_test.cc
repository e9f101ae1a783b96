#include "decode/otap_encoder.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <span>

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "decode/row_texts_testing.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using testing::HasSubstr;
using wire::OtapPayload;

/// The OTLP requests of a capture in src/decode/corpus: [u32 length, little-endian][request] each.
std::vector<std::string> ReadRequests(const std::string& name) {
  std::ifstream file("src/decode/corpus/otap_twins/" + name + ".otlp", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> requests;
  for (size_t at = 0; at + 4 <= bytes.size();) {
    uint32_t size;
    std::memcpy(&size, bytes.data() + at, 4);
    requests.push_back(bytes.substr(at + 4, size));
    at += 4 + size;
  }
  return requests;
}

struct TestSpan {
  std::string service = "svc", scope = "lib", name = "op";
  std::vector<std::pair<std::string, std::string>> attributes;
};

/// A request with a ResourceSpans for each span. `resource_extra` is raw fields of the Resource.
std::string Request(const std::vector<TestSpan>& spans, const std::string& resource_extra = {}) {
  std::string request;
  wire::ProtobufWriter writer(&request);
  const auto attribute = [&](uint32_t field, const std::string& key, const std::string& value) {
    const size_t mark = writer.Open(field), inner = (writer.Bytes(1, key), writer.Open(2));
    writer.Bytes(1, value);
    writer.Close(inner);
    writer.Close(mark);
  };
  uint8_t id = 0;
  for (const TestSpan& span : spans) {
    const size_t resource_spans = writer.Open(1);
    const size_t resource = writer.Open(1);
    attribute(1, "service.name", span.service);
    writer.Raw(resource_extra);
    writer.Close(resource);
    const size_t scope_spans = writer.Open(2);
    const size_t scope = writer.Open(1);
    writer.Bytes(1, span.scope);
    writer.Close(scope);
    const size_t mark = writer.Open(2);
    writer.Bytes(1, std::string(15, 't') + static_cast<char>(++id | 1));
    writer.Bytes(2, std::string(7, 's') + static_cast<char>(id | 1));
    writer.Bytes(5, span.name);
    for (const auto& [key, value] : span.attributes) attribute(9, key, value);
    writer.Close(mark);
    writer.Close(scope_spans);
    writer.Close(resource_spans);
  }
  return request;
}

std::vector<TableBatch> Spans(Decoder* decoder, const std::string& request) {
  return decoder->Traces(std::as_bytes(std::span(request))).ValueOrDie().batches;
}

/// Both ends of a stream.
class Pair {
 public:
  explicit Pair(OtapSignal signal, const OtapEncoderOptions& options = {}) : encoder(signal, options), stream(signal) {}

  /// Sends the tables and returns what arrives.
  std::vector<TableBatch> Send(const std::vector<TableBatch>& tables) {
    message.clear();
    sent = encoder.Encode(tables, &message).ValueOrDie();
    EXPECT_TRUE(wire::ReadBatchArrowRecords(message, &batch).ok());
    const auto got = decoder.Decode(&stream, batch);
    EXPECT_TRUE(got.ok()) << got.status().ToString();
    return got.ok() ? got->batches : std::vector<TableBatch>();
  }
  void ExpectArrives(const std::vector<TableBatch>& tables, bool as_go_sends = false) {
    const auto got = RowTexts(Send(tables), as_go_sends, true), want = RowTexts(tables, as_go_sends, true);
    EXPECT_EQ(got, want);
  }
  std::string SchemaId(OtapPayload type) const {
    for (const wire::ArrowPayload& payload : batch.payloads) {
      if (payload.type == type) return std::string(payload.schema_id);
    }
    return {};
  }

  OtapStreamEncoder encoder;
  OtapStream stream;
  OtapDecoder decoder;
  std::string message;
  wire::BatchArrowRecords batch;
  OtapEncoded sent;
};

class OtapEncoderCapture : public testing::TestWithParam<std::pair<const char*, OtapSignal>> {};

TEST_P(OtapEncoderCapture, ArrivesAsItWas) {
  const auto [name, signal] = GetParam();
  const std::vector<std::string> requests = ReadRequests(name);
  ASSERT_GE(requests.size(), 3u);
  Pair pair(signal, {.metric_metadata = true});
  Decoder otlp;
  for (int round = 0; round < 2; ++round) {  // In the second nothing is new.
    for (const std::string& request : requests) {
      const auto bytes = std::as_bytes(std::span(request));
      const auto rows = signal == OtapSignal::kTraces ? otlp.Traces(bytes)
                        : signal == OtapSignal::kLogs ? otlp.Logs(bytes)
                                                      : otlp.Metrics(bytes);
      pair.ExpectArrives(rows.ValueOrDie().batches);
      EXPECT_EQ(pair.sent.inexact_rows, 0);
    }
  }
  EXPECT_EQ(pair.sent.batch_id, static_cast<int64_t>(2 * requests.size() - 1));
}

INSTANTIATE_TEST_SUITE_P(Signals, OtapEncoderCapture,
                         testing::Values(std::pair{"traces_plain", OtapSignal::kTraces},
                                         std::pair{"logs_plain", OtapSignal::kLogs},
                                         std::pair{"metrics_plain", OtapSignal::kMetrics}));

TEST(OtapEncoder, SchemasAndDictionariesAreSentOnce) {
  Pair pair(OtapSignal::kTraces, {.codec = wire::IpcCodec::kNone});
  Decoder decoder;
  const std::string long_name(2000, 'n');
  const std::string request = Request({{.name = long_name, .attributes = {{"key", "value"}}}});
  pair.ExpectArrives(Spans(&decoder, request));
  const std::string spans = pair.SchemaId(OtapPayload::kSpans), attributes = pair.SchemaId(OtapPayload::kSpanAttrs);
  EXPECT_THAT(pair.message, HasSubstr(long_name));
  const size_t first = pair.message.size();
  pair.ExpectArrives(Spans(&decoder, request));
  EXPECT_EQ(pair.SchemaId(OtapPayload::kSpans), spans);
  EXPECT_EQ(pair.SchemaId(OtapPayload::kSpanAttrs), attributes);
  EXPECT_THAT(pair.message, testing::Not(HasSubstr(long_name)));
  EXPECT_LT(pair.message.size(), first / 2);
  // Only what is new comes: a delta, and the same schema.
  pair.ExpectArrives(Spans(&decoder, Request({{.name = "brief"}, {.name = long_name}})));
  EXPECT_EQ(pair.SchemaId(OtapPayload::kSpans), spans);
  EXPECT_THAT(pair.message, HasSubstr("brief"));
  EXPECT_THAT(pair.message, testing::Not(HasSubstr(long_name)));
  // A column that was not needed before: another schema, with whole dictionaries.
  pair.ExpectArrives(Spans(&decoder, Request({{.name = "brief", .attributes = {{"key", "value"}}}}, "\x10\x05")));
  EXPECT_NE(pair.SchemaId(OtapPayload::kSpans), spans) << "resources with a count of dropped attributes";
  EXPECT_EQ(pair.SchemaId(OtapPayload::kSpanAttrs), attributes);
  EXPECT_THAT(pair.message, HasSubstr(long_name));
}

TEST(OtapEncoder, TablesWithoutRowsAreLeftOut) {
  Pair pair(OtapSignal::kTraces);
  Decoder decoder;
  pair.ExpectArrives(Spans(&decoder, Request({{}})));
  std::vector<OtapPayload> types;
  for (const wire::ArrowPayload& payload : pair.batch.payloads) types.push_back(payload.type);
  EXPECT_THAT(types, testing::ElementsAre(OtapPayload::kSpans, OtapPayload::kResourceAttrs));
  EXPECT_EQ(pair.Send({}).size(), 0u);
  EXPECT_EQ(pair.batch.payloads.size(), 0u);
  EXPECT_EQ(pair.sent.batch_id, 1);
  EXPECT_EQ(pair.sent.rows, 0);
}

/// Spans whose names are new, and those of earlier batches.
std::vector<TestSpan> Names(int begin, int end) {
  std::vector<TestSpan> spans;
  for (int i = begin; i < end; ++i) spans.push_back({.name = "name " + std::to_string(i)});
  return spans;
}

TEST(OtapEncoder, DictionariesGrowThroughWiderIndexesUntilTheyDoNotPay) {
  Pair pair(OtapSignal::kTraces);
  Decoder decoder;
  std::set<std::string> schemas;
  for (int i = 0; i < 4; ++i) {  // 50 values, 150, 250, 350: with 16-bit indexes from the last on.
    pair.ExpectArrives(Spans(&decoder, Request(Names(100 * i, 100 * i + 50))));
    pair.ExpectArrives(Spans(&decoder, Request(Names(0, 100 * i + 100))));
    schemas.insert(pair.SchemaId(OtapPayload::kSpans));
  }
  EXPECT_EQ(schemas.size(), 2u);
  for (int i = 0; i < 8; ++i) pair.ExpectArrives(Spans(&decoder, Request(Names(10'000 * (i + 1), 10'000 * (i + 1) + 400))));
  schemas.insert(pair.SchemaId(OtapPayload::kSpans));
  EXPECT_EQ(schemas.size(), 3u) << "all values were new for long: the column is sent without a dictionary";
}

TEST(OtapEncoder, WhatIsKeptIsBounded) {
  constexpr int64_t kMax = 1 << 20;
  Pair pair(OtapSignal::kTraces, {.stream_bytes_max = kMax});
  Decoder decoder;
  std::set<std::string> schemas;
  for (int i = 0; i < 200; ++i) {
    TestSpan span;
    for (int j = 0; j < 20; ++j)
      span.attributes.emplace_back("key " + std::to_string(j), std::string(200, 'v') + std::to_string(i * 20 + j));
    pair.ExpectArrives(Spans(&decoder, Request({span, span})));
    schemas.insert(pair.SchemaId(OtapPayload::kSpanAttrs));
    ASSERT_LT(pair.stream.held_bytes(), kMax) << "at the receiver";
    ASSERT_LT(pair.encoder.held_bytes(), 4 * kMax);
  }
  EXPECT_EQ(schemas.size(), 1u) << "dictionaries were replaced, not schemas";
}

TEST(OtapEncoder, RowsComeByResourceAndScope) {
  Pair pair(OtapSignal::kTraces);
  Decoder decoder;
  const auto tables =
      Spans(&decoder, Request({{"a", "x", "1"}, {"b", "x", "2"}, {"a", "y", "3"}, {"a", "x", "4"}, {"b", "x", "5"}}));
  const auto got = pair.Send(tables);
  ASSERT_EQ(got.size(), 1u);
  const auto column = got[0].batch->GetColumnByName("name");
  const auto& names = static_cast<const arrow::DictionaryArray&>(*column);
  std::string order;
  for (int64_t i = 0; i < names.length(); ++i)
    order += static_cast<const arrow::StringArray&>(*names.dictionary()).GetView(names.GetValueIndex(i));
  EXPECT_EQ(order, "14325");
  EXPECT_EQ(RowTexts(got), RowTexts(tables));
}

TEST(OtapEncoder, RowsOfAResourceWithUnknownFieldsAreCounted) {
  Pair pair(OtapSignal::kTraces);
  Decoder decoder;
  const auto known = Spans(&decoder, Request({{}, {}}));
  const auto unknown = Spans(&decoder, Request({{.service = "odd"}}, "\xa0\x06\x01"));
  std::vector<TableBatch> both = known;
  both.insert(both.end(), unknown.begin(), unknown.end());
  pair.ExpectArrives(both);
  EXPECT_EQ(pair.sent.rows, 3);
  EXPECT_EQ(pair.sent.inexact_rows, 1);
}

TEST(OtapEncoder, BadBatchesAreRefusedAndTheStreamGoesOn) {
  Pair pair(OtapSignal::kTraces);
  Decoder decoder;
  const auto tables = Spans(&decoder, Request({{.name = "one"}}));
  pair.ExpectArrives(tables);
  std::string out = "before";
  const auto refused = [&](std::vector<TableBatch> wrong) {
    const auto result = pair.encoder.Encode(wrong, &out);
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(out, "before");
    return result.status();
  };
  Status status = refused({{Signal::kLogs, tables[0].batch}});
  EXPECT_EQ(KindOf(status), ErrorKind::kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("rows of logs in a stream of another signal"));
  status = refused({{Signal::kTraces, tables[0].batch->RemoveColumn(0).ValueOrDie()}});
  EXPECT_THAT(status.message(), HasSubstr("batch has not the schema of traces"));
  status = refused(std::vector<TableBatch>(kOtapRowsMax + 1, tables[0]));
  EXPECT_EQ(KindOf(status), ErrorKind::kTooLarge);
  EXPECT_THAT(status.message(), HasSubstr("65536 rows in one batch"));

  // A kind that no decoder writes: found when much is filled already.
  const auto kinds = arrow::DictionaryArray::FromArrays(arrow::json::ArrayFromJSONString(arrow::int32(), "[0]").ValueOrDie(),
                                                        arrow::json::ArrayFromJSONString(arrow::utf8(), R"(["?"])").ValueOrDie())
                         .ValueOrDie();
  const int kind = tables[0].batch->schema()->GetFieldIndex("kind");
  status =
      refused({{Signal::kTraces, tables[0].batch->SetColumn(kind, tables[0].batch->schema()->field(kind), kinds).ValueOrDie()}});
  EXPECT_EQ(KindOf(status), ErrorKind::kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("column kind: row 0: '?' is neither"));

  pair.ExpectArrives(Spans(&decoder, Request({{.name = "one"}, {.name = "two"}})));
  EXPECT_EQ(pair.sent.batch_id, 1) << "no id was used by those";
}

TEST(OtapEncoder, AfterARestartAllIsSentAnew) {
  Pair pair(OtapSignal::kTraces);
  Decoder decoder;
  const auto tables = Spans(&decoder, Request({{.attributes = {{"key", "value"}}}}));
  pair.ExpectArrives(tables);
  pair.ExpectArrives(tables);
  pair.encoder.Restart();
  Pair receiver(OtapSignal::kTraces);  // Another stream, which knows nothing.
  std::string message;
  const OtapEncoded sent = pair.encoder.Encode(tables, &message).ValueOrDie();
  EXPECT_EQ(sent.batch_id, 0);
  ASSERT_TRUE(wire::ReadBatchArrowRecords(message, &receiver.batch).ok());
  EXPECT_EQ(RowTexts(receiver.decoder.Decode(&receiver.stream, receiver.batch).ValueOrDie().batches), RowTexts(tables));
}

}  // namespace
}  // namespace sheaf::decode
