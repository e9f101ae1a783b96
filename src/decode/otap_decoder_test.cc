#include "decode/otap_decoder.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <span>

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/json/from_string.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/memory.h"
#include "decode/batch_reader.h"
#include "decode/row_texts_testing.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Splits [u32 length, little-endian][message] pieces.
std::vector<std::string> Pieces(std::string_view bytes) {
  std::vector<std::string> pieces;
  while (bytes.size() >= 4) {
    uint32_t size;
    std::memcpy(&size, bytes.data(), 4);
    pieces.emplace_back(bytes.substr(4, size));
    bytes.remove_prefix(4 + size);
  }
  return pieces;
}

/// A stream that the Go library wrote, and the OTLP of each batch. In src/decode/corpus.
struct Capture {
  OtapSignal signal;
  std::vector<std::string> batches, otlp;
};
Capture ReadCapture(const std::string& name) {
  const std::string folder = "src/decode/corpus/";
  const std::string stream = ReadFile(folder + "otap_stream/" + name);
  return {static_cast<OtapSignal>(stream.at(0)), Pieces(std::string_view(stream).substr(1)),
          Pieces(ReadFile(folder + "otap_twins/" + name + ".otlp"))};
}

Result<DecodeResult> DecodeBytes(OtapDecoder* decoder, OtapStream* stream, std::string_view message) {
  wire::BatchArrowRecords batch;
  ARROW_RETURN_NOT_OK(wire::ReadBatchArrowRecords(message, &batch));
  return decoder->Decode(stream, batch);
}

Result<DecodeResult> DecodeOtlp(Decoder* decoder, OtapSignal signal, const std::string& request) {
  const auto bytes = std::as_bytes(std::span(request));
  return signal == OtapSignal::kTraces ? decoder->Traces(bytes)
         : signal == OtapSignal::kLogs ? decoder->Logs(bytes)
                                       : decoder->Metrics(bytes);
}

class OtapCapture : public testing::TestWithParam<const char*> {};

TEST_P(OtapCapture, DecodesToTheRowsOfItsOtlpTwin) {
  const Capture capture = ReadCapture(GetParam());
  ASSERT_GE(capture.batches.size(), 3u);
  ASSERT_EQ(capture.batches.size(), capture.otlp.size());
  OtapStream stream(capture.signal);
  OtapDecoder decoder;
  Decoder otlp;
  for (size_t i = 0; i < capture.batches.size(); ++i) {
    SCOPED_TRACE(i);
    const auto got = DecodeBytes(&decoder, &stream, capture.batches[i]);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    const auto want = DecodeOtlp(&otlp, capture.signal, capture.otlp[i]).ValueOrDie();
    EXPECT_EQ(got->accepted, want.accepted);
    EXPECT_EQ(got->rejected, 0);
    const auto got_rows = RowTexts(got->batches, true), want_rows = RowTexts(want.batches, true);
    ASSERT_EQ(got_rows.size(), want_rows.size());
    for (size_t row = 0; row < want_rows.size(); ++row) ASSERT_EQ(got_rows[row], want_rows[row]);
  }
}

INSTANTIATE_TEST_SUITE_P(Go, OtapCapture,
                         testing::Values("traces_zstd", "traces_plain", "logs_zstd", "logs_plain", "metrics_zstd",
                                         "metrics_plain"),
                         [](const auto& info) { return std::string(info.param); });

/// One payload: a table's schema and rows, as a new IPC stream.
struct Payload {
  int type;
  std::shared_ptr<arrow::RecordBatch> rows;
};

std::string Message(const std::vector<Payload>& payloads) {
  std::string message;
  wire::ProtobufWriter writer(&message);
  for (const Payload& payload : payloads) {
    auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
    EXPECT_TRUE(arrow::ipc::MakeStreamWriter(sink, payload.rows->schema()).ValueOrDie()->WriteRecordBatch(*payload.rows).ok());
    const size_t mark = writer.Open(2);
    writer.Bytes(1, "schema");
    writer.Varint(2, static_cast<uint64_t>(payload.type));
    writer.Bytes(3, sink->Finish().ValueOrDie()->ToString());
    writer.Close(mark);
  }
  return message;
}

/// Rows from JSON. "id:plain" is the column id with the encoding plain.
std::shared_ptr<arrow::RecordBatch> Rows(const std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>>& columns,
                                         const std::string& json) {
  arrow::FieldVector fields;
  for (const auto& [name, type] : columns) {
    const size_t colon = name.find(':');
    const auto metadata =
        colon == std::string::npos ? nullptr : arrow::key_value_metadata({"encoding"}, {name.substr(colon + 1)});
    fields.push_back(arrow::field(name.substr(0, colon), type, true, metadata));
  }
  const auto rows = arrow::json::ArrayFromJSONString(arrow::struct_(fields), json).ValueOrDie();
  return arrow::RecordBatch::FromStructArray(rows).ValueOrDie();
}

const auto kU8 = arrow::uint8(), kU16 = arrow::uint16(), kU32 = arrow::uint32();
const auto kText = arrow::utf8();
const auto kTraceId = arrow::fixed_size_binary(16), kSpanId = arrow::fixed_size_binary(8);

Payload SpansOf(const std::string& id_column, int first, int second) {
  const auto json = fmt::format(R"([[{}, "0123456789abcdef", "span-001"], [{}, "0123456789abcdef", "span-002"]])", first, second);
  return {40, Rows({{id_column, kU16}, {"trace_id", kTraceId}, {"span_id", kSpanId}}, json)};
}
/// Two spans with the ids 1 and 2.
Payload Spans() { return SpansOf("id", 1, 1); }
Payload Attributes(const std::string& json) {
  return {41, Rows({{"parent_id", kU16}, {"key", kText}, {"type", kU8}, {"str", kText}, {"ser", arrow::binary()}}, json)};
}
Payload Metric(const std::string& json) { return {10, Rows({{"id", kU16}, {"metric_type", kU8}}, json)}; }

struct RefusedCase {
  const char* name;
  OtapSignal signal;
  std::vector<Payload> payloads;
  const char* message;
};

std::vector<RefusedCase> RefusedCases() {
  using enum OtapSignal;
  const auto body = arrow::struct_({arrow::field("type", kU8)});
  const Payload point = {11, Rows({{"id", kU32}, {"parent_id", kU16}}, "[[1, 1]]")};
  const Payload histogram = {
      13, Rows({{"id", kU32}, {"parent_id", kU16}, {"bucket_counts", arrow::list(kText)}}, R"([[1, 1, ["x"]]])")};
  return {
      {"IdsThatComeTwice", kTraces, {SpansOf("id:plain", 7, 7)}, "the same id 7"},
      {"IdsThatOverflow", kTraces, {SpansOf("id", 65535, 1)}, "more than its column can hold"},
      {"ParentsThatAreNotThere",
       kTraces,
       {Spans(), Attributes(R"([[3, "k", 1, "v", null]])")},
       "SPAN_ATTRS, row 0: no row of the batch has the id 3"},
      {"ParentsThatOverflow",
       kTraces,
       {Spans(), Attributes(R"([[2, "k", 1, "v", null], [65535, "k", 1, "v", null]])")},
       "row 1: parent_id overflows"},
      {"ParentsThatAreNull", kTraces, {Spans(), Attributes(R"([[null, "k", 1, "v", null]])")}, "parent_id is NULL"},
      {"NoParents", kTraces, {Spans(), {41, Rows({{"key", kText}}, R"([["k"]])")}}, "SPAN_ATTRS has no column parent_id"},
      {"UnknownTypesOfValues", kTraces, {Spans(), Attributes(R"([[1, "k", 8, "v", null]])")}, "type 8 of an attribute's value"},
      {"BrokenCbor", kTraces, {Spans(), Attributes(R"([[1, "k", 5, null, "no map"]])")}, "malformed CBOR"},
      {"IdsOfAnotherLength",
       kTraces,
       {{40, Rows({{"trace_id", kSpanId}}, R"([["01234567"]])")}},
       "column trace_id has type fixed_size_binary (8 bytes)"},
      {"TextThatIsNone", kTraces, {{40, Rows({{"name", arrow::int32()}}, "[[1]]")}}, "column name has type signed integer"},
      {"ColumnsThatComeTwice",
       kTraces,
       {{40, Rows({{"name", kText}, {"name", kText}}, R"([["a", "b"]])")}},
       "column name comes twice"},
      {"UnknownEncodings", kTraces, {{40, Rows({{"id:zigzag", kU16}}, "[[1]]")}}, "encoding \"zigzag\""},
      {"TablesThatComeTwice", kTraces, {Spans(), Spans()}, "a second schema"},
      {"ChildrenWithoutARoot", kTraces, {Attributes(R"([[1, "k", 1, "v", null]])")}, "SPAN_ATTRS without SPANS"},
      {"AnotherSignalsTables", kLogs, {Spans()}, "SPANS in a stream of logs"},
      {"MultivariateMetrics", kMetrics, {{25, Rows({{"id", kU16}}, "[[1]]")}}, "MULTIVARIATE_METRICS in a stream of metrics"},
      {"UnknownPayloadTypes", kTraces, {{99, Rows({{"id", kU16}}, "[[1]]")}}, "payload type 99"},
      {"UnknownTypesOfMetrics", kMetrics, {Metric("[[1, 6]]")}, "metric type 6"},
      {"PointsOfAnotherKind", kMetrics, {Metric("[[1, 3]]"), point}, "its metric has type 3"},
      {"ListsOfAnotherType", kMetrics, {Metric("[[1, 3]]"), histogram}, "a list of utf8"},
      {"UnknownTypesOfBodies", kLogs, {{30, Rows({{"body", body}}, "[[[9]]]")}}, "type 9 of a body"},
  };
}

TEST(OtapDecoder, WrongBatchesAreRefusedByNameAndTheStreamGoesOn) {
  OtapDecoder decoder;
  for (const RefusedCase& one : RefusedCases()) {
    SCOPED_TRACE(one.name);
    OtapStream stream(one.signal);
    const auto got = DecodeBytes(&decoder, &stream, Message(one.payloads));
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(KindOf(got.status()), ErrorKind::kInvalid);
    EXPECT_THAT(got.status().message(), HasSubstr(one.message));
    static const char* const kCaptures[] = {"traces_zstd", "logs_zstd", "metrics_zstd"};
    for (const std::string& batch : ReadCapture(kCaptures[static_cast<int>(one.signal)]).batches) {
      const auto next = DecodeBytes(&decoder, &stream, batch);
      EXPECT_TRUE(next.ok()) << next.status().ToString();
    }
  }
}

TEST(OtapDecoder, AttributesFindTheirSpansByDifferences) {
  OtapDecoder decoder;
  OtapStream stream(OtapSignal::kTraces);
  // The second row equals the first, so its parent is 1 + 1; the third does not.
  const Payload attributes = Attributes(R"([[1, "k", 1, "v", null], [1, "k", 1, "v", null], [1, "k", 1, "w", null]])");
  const auto got = DecodeBytes(&decoder, &stream, Message({Spans(), attributes}));
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  const AttributesView view(*got->batches.at(0).batch->GetColumnByName("attributes"));
  ASSERT_EQ(view.end(0), 2);
  ASSERT_EQ(view.end(1), 3);
  EXPECT_EQ(view.value(0).val, "v");
  EXPECT_EQ(view.value(1).val, "w");
  EXPECT_EQ(view.value(2).val, "v");
}

TEST(OtapDecoder, SpansWithoutIdsAreCountedAndTheRestKept) {
  OtapDecoder decoder;
  OtapStream stream(OtapSignal::kTraces);
  const auto spans = Rows({{"trace_id", kTraceId}, {"span_id", kSpanId}, {"name", kText}},
                          R"([["0123456789abcdef", "span-001", "kept"], [null, "span-002", "left out"]])");
  const auto got = DecodeBytes(&decoder, &stream, Message({{40, spans}}));
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(got->accepted, 1);
  EXPECT_EQ(got->rejected, 1);
  EXPECT_THAT(got->rejected_reason, HasSubstr("trace_id"));
}

TEST(OtapDecoder, ABrokenPayloadWaitsForASchema) {
  const Capture capture = ReadCapture("traces_plain");
  OtapDecoder decoder;
  OtapStream stream(OtapSignal::kTraces);
  ASSERT_TRUE(DecodeBytes(&decoder, &stream, capture.batches[0]).ok());
  wire::BatchArrowRecords batch;
  ASSERT_TRUE(wire::ReadBatchArrowRecords(capture.batches[1], &batch).ok());
  const std::string_view whole = batch.payloads[0].record;
  batch.payloads[0].record.remove_suffix(8);
  EXPECT_EQ(KindOf(decoder.Decode(&stream, batch).status()), ErrorKind::kInvalid);
  batch.payloads[0].record = whole;
  EXPECT_THAT(decoder.Decode(&stream, batch).status().message(), HasSubstr("begin again with its schema"));
}

TEST(OtapDecoder, AStreamKnowsThatItsStateIsLost) {
  const Capture capture = ReadCapture("traces_zstd");
  OtapStream stream(capture.signal, {.stream_bytes_max = 1 << 10});
  OtapDecoder decoder;
  EXPECT_FALSE(stream.lost());
  EXPECT_EQ(KindOf(DecodeBytes(&decoder, &stream, capture.batches[0]).status()), ErrorKind::kTooLarge);
  EXPECT_TRUE(stream.lost());
  const Status next = DecodeBytes(&decoder, &stream, capture.batches[1]).status();
  EXPECT_EQ(KindOf(next), ErrorKind::kUnavailable);
  EXPECT_THAT(next.message(), HasSubstr("open another stream"));
}

TEST(OtapDecoder, SchemaIdsAreLimited) {
  wire::BatchArrowRecords batch;
  const std::string message = Message({Spans()}), id(64 << 10, 'i');
  ASSERT_TRUE(wire::ReadBatchArrowRecords(message, &batch).ok());
  batch.payloads[0].schema_id = id;
  OtapStream stream(OtapSignal::kTraces);
  OtapDecoder decoder;
  EXPECT_EQ(KindOf(decoder.Decode(&stream, batch).status()), ErrorKind::kTooLarge);
  EXPECT_LT(stream.held_bytes(), 1 << 10);
}

TEST(OtapDecoder, ALongTextThatRepeatsStaysWithinTheMemoryOfABatch) {
  OtapDecoder decoder({.batch = {.memory_bytes_base = 1 << 20}});
  OtapStream stream(OtapSignal::kTraces);
  constexpr int kValues = 200;
  std::string ones = "[[1]";
  for (int i = 1; i < kValues; ++i) ones += ", [1]";
  const auto parents = Rows(
                 {
                     {"parent_id:plain", kU16},
                 },
                 ones + "]"),
             types = Rows({{"type", kU8}}, ones + "]");
  arrow::StringDictionary32Builder builder;
  for (int i = 0; i < kValues; ++i) ASSERT_TRUE(builder.Append(std::string(64 << 10, 'x')).ok());
  const auto values = builder.Finish().ValueOrDie();
  const auto schema =
      arrow::schema({parents->schema()->field(0), types->schema()->field(0), arrow::field("str", values->type())});
  const auto attributes = arrow::RecordBatch::Make(schema, kValues, {parents->column(0), types->column(0), values});
  const auto got = DecodeBytes(&decoder, &stream, Message({Spans(), {41, attributes}}));
  EXPECT_EQ(KindOf(got.status()), ErrorKind::kTooLarge) << got.status().ToString();
}

TEST(OtapDecoder, WorkOnWhatRowsRepeatIsBoundedToo) {
  OtapDecoder decoder({.batch = {.memory_bytes_base = 8 << 20}});
  OtapStream stream(OtapSignal::kTraces);
  // A resource of many attributes, and spans that take turns to say two things about it.
  constexpr int kSpans = 4'000, kAttributes = 4'000;
  std::string spans = "[", attributes = "[";
  for (int i = 0; i < kSpans; ++i)
    spans += fmt::format(R"({}["0123456789abcdef", "span-001", [{}, {}]])", i == 0 ? "" : ", ", i == 0 ? 1 : 0, i % 2);
  for (int i = 0; i < kAttributes; ++i) attributes += fmt::format(R"({}[1, "key {}", 1])", i == 0 ? "" : ", ", i);
  const auto resource = arrow::struct_({arrow::field("id", kU16), arrow::field("dropped_attributes_count", kU32)});
  const Payload root = {40, Rows({{"trace_id", kTraceId}, {"span_id", kSpanId}, {"resource", resource}}, spans + "]")};
  const Payload of_resource = {1, Rows({{"parent_id", kU16}, {"key", kText}, {"type", kU8}}, attributes + "]")};
  const auto got = DecodeBytes(&decoder, &stream, Message({root, of_resource}));
  EXPECT_EQ(KindOf(got.status()), ErrorKind::kTooLarge) << got.status().ToString();
}

// What goes through OTLP is written out: each row has its own copy of what a dictionary holds once.
TEST(OtapDecoder, WhatGoesThroughOtlpIsBoundedToo) {
  constexpr int kRows = 4'000;
  const auto repeated = [](const std::string& value) {
    arrow::StringDictionary32Builder builder;
    for (int i = 0; i < kRows; ++i) EXPECT_TRUE(builder.Append(value).ok());
    return builder.Finish().ValueOrDie();
  };
  const auto table = [](const std::string& name, const std::shared_ptr<arrow::Array>& column) {
    return arrow::RecordBatch::Make(arrow::schema({arrow::field(name, column->type())}), kRows, {column});
  };
  std::string ones = "[[1, 1]";
  for (int i = 1; i < kRows; ++i) ones += ", [1, 1]";
  const std::string text(64 << 10, 'x');
  auto keys = Rows({{"parent_id", kU16}, {"type", kU8}}, ones + "]");
  keys = keys->AddColumn(2, "key", repeated(text)).ValueOrDie();
  std::string ids = "[[1]";
  for (int i = 1; i < kRows; ++i) ids += ", [1]";
  const Payload root = {40, Rows({{"id", kU16}}, ids + "]")};
  // Spans without ids; a severity that is not UTF-8.
  const std::pair<OtapSignal, std::vector<Payload>> kCases[] = {{OtapSignal::kTraces, {{40, table("name", repeated(text))}}},
                                                               {OtapSignal::kLogs, {{30, table("severity_text", repeated(text + "\xff"))}}},
                                                               {OtapSignal::kTraces, {root, {41, keys}}}};
  for (const auto& [signal, payloads] : kCases) {
    OtapDecoder decoder({.batch = {.memory_bytes_base = 8 << 20}});
    OtapStream stream(signal);
    const auto got = DecodeBytes(&decoder, &stream, Message(payloads));
    EXPECT_EQ(KindOf(got.status()), ErrorKind::kTooLarge) << got.status().ToString();
    EXPECT_THAT(got.status().message(), HasSubstr("send fewer records"));
  }
}

/// Decodes a batch of so many logs or metrics, whose texts (and resource, scope) are of so many bytes, to memory that is beyond
/// what a decoder keeps.
int64_t KeptAfter(OtapSignal signal, int rows, size_t text_bytes, Status* status) {
  const std::string text(text_bytes, 't');
  std::string json = "[";
  for (int i = 0; i < rows; ++i) json += fmt::format(R"({}[1, 1, "{}", ["{}"]])", i == 0 ? "" : ", ", text, text);
  const auto resource = arrow::struct_({arrow::field("schema_url", kText)});
  const std::string description = signal == OtapSignal::kMetrics ? "description" : "schema_url";
  const Payload root = {signal == OtapSignal::kMetrics ? 10 : 30,
                        Rows({{"id", kU16}, {"metric_type", kU8}, {description, kText}, {"resource", resource}}, json + "]")};
  OtapDecoder decoder;
  OtapStream stream(signal);
  *status = DecodeBytes(&decoder, &stream, Message({root})).status();
  return decoder.kept_bytes();
}

TEST(OtapDecoder, WhatEnvelopesTookIsGivenBackToTheByte) {
  Status status;
  EXPECT_EQ(KeptAfter(OtapSignal::kLogs, 2, 20 << 20, &status), 0);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(KeptAfter(OtapSignal::kMetrics, 2, 20 << 20, &status), 0);
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST(OtapDecoder, WhatAnEnvelopeTookIsGivenBackWhereItsBatchIsTooLarge) {
  constexpr int kMetrics = 12;
  std::string json = "[[1, 1]";
  for (int i = 1; i < kMetrics; ++i) json += ", [1, 1]";
  arrow::StringDictionary32Builder builder;
  for (int i = 0; i < kMetrics; ++i) ASSERT_TRUE(builder.Append(std::string(30 << 20, 'd')).ok());
  const auto metrics = Rows({{"id", kU16}, {"metric_type", kU8}}, json + "]");
  OtapDecoder decoder;
  OtapStream stream(OtapSignal::kMetrics);
  const auto got = DecodeBytes(&decoder, &stream,
                               Message({{10, metrics->AddColumn(2, "description", builder.Finish().ValueOrDie()).ValueOrDie()}}));
  EXPECT_EQ(KindOf(got.status()), ErrorKind::kTooLarge) << got.status().ToString();
  EXPECT_EQ(decoder.kept_bytes(), 0);
}

TEST(OtapDecoder, EnvelopesOfOneResourceHaveOneServiceName) {
  OtapDecoder decoder;
  OtapStream stream(OtapSignal::kTraces);
  const auto resource = arrow::struct_({arrow::field("id", kU16), arrow::field("schema_url", kText)});
  const auto spans = Rows({{"trace_id", kTraceId}, {"span_id", kSpanId}, {"resource", resource}},
                          R"([["0123456789abcdef", "span-001", [1, "x"]], ["0123456789abcdef", "span-002", [1, "x"]],
                              ["0123456789abcdef", "span-003", [0, "y"]], ["0123456789abcdef", "span-004", [0, "x"]],
                              ["0123456789abcdef", "span-005", [null, "x"]]])");
  const auto names = Rows({{"parent_id:plain", kU16}, {"key", kText}, {"type", kU8}, {"str", kText}},
                          R"([[1, "service.name", 1, "one"], [2, "service.name", 1, "two"]])");
  const auto got = DecodeBytes(&decoder, &stream, Message({{40, spans}, {1, names}}));
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  const DictionaryView services(*got->batches.at(0).batch->GetColumnByName("service_name"));
  const std::string_view kNames[] = {"one", "two", "two", "two", ""};
  for (int64_t row = 0; row < 5; ++row) EXPECT_EQ(services[row], kNames[row]) << row;
}

TEST(OtapDecoder, ManyMetricsAndResourcesWithoutAttributesTakeLinearTimeAndMemory) {
  OtapDecoder decoder({.batch = {.memory_bytes_base = 32 << 20}});
  OtapStream stream(OtapSignal::kMetrics);
  constexpr int kMetrics = 20'000;
  std::string metrics = "[", points = "[";
  for (int i = 0; i < kMetrics; ++i) {
    metrics += fmt::format("{}[1, 1, [1]]", i == 0 ? "" : ", ");
    points += i == 0 ? "[1, 1]" : ", [1, 1]";
  }
  const auto resource = arrow::struct_({arrow::field("id", kU16)});
  const Payload root = {10, Rows({{"id", kU16}, {"metric_type", kU8}, {"resource", resource}}, metrics + "]")};
  const auto got = DecodeBytes(&decoder, &stream, Message({root, {11, Rows({{"id", kU32}, {"parent_id", kU16}}, points + "]")}}));
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(got->accepted, kMetrics);
}

TEST(OtapDecoder, SteadyStateAllocatesNoColumns) {
  const Capture capture = ReadCapture("traces_plain");
  TrackingPool pool("otap_test", 0);
  OtapDecoder decoder({}, &pool);
  const auto decode_all = [&] {
    OtapStream stream(OtapSignal::kTraces);
    for (const std::string& batch : capture.batches) ASSERT_TRUE(DecodeBytes(&decoder, &stream, batch).ok());
  };
  for (int i = 0; i < 3; ++i) decode_all();
  const int64_t before = pool.num_allocations();
  for (int i = 0; i < 5; ++i) decode_all();
  EXPECT_EQ(pool.num_allocations(), before);
}

}  // namespace
}  // namespace sheaf::decode
