#include "decode/decoder.h"

#include <algorithm>

#include <gtest/gtest.h>

#include <arrow/api.h>

#include "core/memory.h"
#include "decode/batch_reader.h"
#include "decode/encoder.h"
#include "decode/row_texts_testing.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufWriter;

const std::string kTraceId(16, '\x11');
const std::string kSpanId(8, '\x22');

/// Builds a request around records: one resource (service.name "shop"), one scope.
std::string Request(const std::vector<std::string>& records, std::string_view service = "shop") {
  std::string out;
  ProtobufWriter writer(&out);
  const size_t resource_spans = writer.Open(1);
  const size_t resource = writer.Open(1);
  const size_t attribute = writer.Open(1);
  writer.Bytes(1, "service.name");
  const size_t value = writer.Open(2);
  writer.Bytes(1, service);
  writer.Close(value);
  writer.Close(attribute);
  writer.Close(resource);
  const size_t scope_spans = writer.Open(2);
  for (const std::string& record : records) writer.Bytes(2, record);
  writer.Close(scope_spans);
  writer.Close(resource_spans);
  return out;
}

/// A span with ids, a name and more fields as given.
std::string Span(std::string_view name, std::string_view more = "", std::string_view trace_id = kTraceId) {
  std::string out;
  ProtobufWriter writer(&out);
  writer.Bytes(1, trace_id);
  writer.Bytes(2, kSpanId);
  writer.Bytes(5, name);
  writer.Raw(more);
  return out;
}

/// An attribute with a string value, as field `field`.
std::string TextAttribute(uint32_t field, std::string_view key, std::string_view text) {
  std::string out;
  ProtobufWriter writer(&out);
  const size_t attribute = writer.Open(field);
  writer.Bytes(1, key);
  const size_t value = writer.Open(2);
  writer.Bytes(1, text);
  writer.Close(value);
  writer.Close(attribute);
  return out;
}

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }


std::string_view DictionaryAt(const arrow::RecordBatch& batch, const char* column, int64_t row) {
  return DictionaryView(*batch.GetColumnByName(column))[row];
}

TEST(Decoder, EmptyRequestGivesNoBatches) {
  Decoder decoder;
  for (auto result : {decoder.Traces({}), decoder.Logs({}), decoder.Metrics({})}) {
    ASSERT_TRUE(result.ok());
    EXPECT_TRUE(result->batches.empty());
    EXPECT_EQ(result->accepted, 0);
  }
}

TEST(Decoder, SpanBecomesARow) {
  Decoder decoder;
  auto result = decoder.Traces(Bytes(Request({Span("GET /"), Span("POST /")}))).ValueOrDie();
  ASSERT_EQ(result.batches.size(), 1u);
  const arrow::RecordBatch& batch = *result.batches[0].batch;
  ASSERT_TRUE(batch.ValidateFull().ok());
  EXPECT_EQ(result.accepted, 2);
  EXPECT_EQ(DictionaryAt(batch, "name", 1), "POST /");
  EXPECT_EQ(DictionaryAt(batch, "kind", 0), "UNSPECIFIED");
  EXPECT_EQ(DictionaryAt(batch, "service_name", 0), "shop");
  EXPECT_TRUE(batch.GetColumnByName("parent_span_id")->IsNull(0));
  EXPECT_EQ(batch.GetColumnByName("original")->null_count(), 2);
}

TEST(Decoder, SpansWithBadIdsAreCountedAndTheRestKept) {
  Decoder decoder;
  const std::string attributes = TextAttribute(9, "lost", "with the span");
  auto result = decoder.Traces(Bytes(Request({Span("zero", attributes, std::string(16, '\0')),
                                              Span("good", TextAttribute(9, "kept", "yes")),
                                              Span("short", attributes, "abc")}))).ValueOrDie();
  EXPECT_EQ(result.rejected, 2);
  EXPECT_EQ(result.rejected_reason, "trace_id must be 16 bytes and not all zero (2 rejected in all)");
  ASSERT_EQ(result.accepted, 1);
  const arrow::RecordBatch& batch = *result.batches[0].batch;
  ASSERT_TRUE(batch.ValidateFull().ok());
  EXPECT_EQ(DictionaryAt(batch, "name", 0), "good");
  const AttributesView attributes_view(*batch.GetColumnByName("attributes"));
  ASSERT_EQ(attributes_view.end(0) - attributes_view.begin(0), 1);
  EXPECT_EQ(attributes_view.item(0).key, "kept");
}

TEST(Decoder, TextThatIsNotUtf8IsRepairedInItsColumnAndKeptInOriginal) {
  Decoder decoder;
  const std::string odd = Span("caf\xe9", TextAttribute(9, "k", "a\xff" "b"));
  auto result = decoder.Traces(Bytes(Request({Span("fine", TextAttribute(9, "k", "caf\xc3\xa9")), odd}))).ValueOrDie();
  const arrow::RecordBatch& batch = *result.batches[0].batch;
  ASSERT_TRUE(batch.ValidateFull().ok());
  EXPECT_EQ(DictionaryAt(batch, "name", 1), "caf\xef\xbf\xbd");
  EXPECT_EQ(AttributesView(*batch.GetColumnByName("attributes")).item(1).value.val, "a\xef\xbf\xbd" "b");
  const BytesView original(*batch.GetColumnByName("original"));
  EXPECT_FALSE(original[0].has_value());
  EXPECT_EQ(original[1], odd);
}

TEST(Decoder, UnknownEnumNumbersBecomeDecimalText) {
  std::string more;
  ProtobufWriter(&more).Int32(6, 17);
  std::string negative;
  ProtobufWriter(&negative).Int32(6, -3);
  Decoder decoder;
  auto result = decoder.Traces(Bytes(Request({Span("a", more), Span("b", negative), Span("c")}))).ValueOrDie();
  const arrow::RecordBatch& batch = *result.batches[0].batch;
  EXPECT_EQ(DictionaryAt(batch, "kind", 0), "17");
  EXPECT_EQ(DictionaryAt(batch, "kind", 1), "-3");
  EXPECT_EQ(DictionaryAt(batch, "kind", 2), "UNSPECIFIED");
}

TEST(Decoder, MalformedBytesNameTheirOffset) {
  Decoder decoder;
  std::string request = Request({Span("x")});
  request += "\x0a\x7f";  // A resource of 127 bytes, of which none is there.
  const auto result = decoder.Traces(Bytes(request));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kInvalid);
  EXPECT_NE(result.status().ToString().find("byte " + std::to_string(request.size())), std::string::npos) << result.status().ToString();
  EXPECT_TRUE(decoder.Traces(Bytes(Request({Span("x")}))).ok()) << "the decoder must be ready for the next request";
}

/// A log body nested `levels` deep: arrays in arrays, a text at the bottom.
std::string NestedBody(int levels) {
  std::string value;
  ProtobufWriter(&value).Bytes(1, "bottom");
  for (int i = 1; i < levels; ++i) {
    std::string array, outer;
    ProtobufWriter(&array).Bytes(1, value);
    ProtobufWriter(&outer).Bytes(5, array);
    value = outer;
  }
  std::string body;
  ProtobufWriter(&body).Bytes(5, value);
  return body;
}

TEST(Decoder, NestingIsLimited) {
  Decoder decoder;
  auto fits = decoder.Logs(Bytes(Request({NestedBody(32)})));
  ASSERT_TRUE(fits.ok()) << fits.status().ToString();
  EXPECT_EQ(BytesView(*fits->batches[0].batch->GetColumnByName("body"))[0], std::string(31, '[') + "\"bottom\"" + std::string(31, ']'));
  for (const int levels : {33, 5000}) {
    const auto deep = decoder.Logs(Bytes(Request({NestedBody(levels)})));
    ASSERT_FALSE(deep.ok());
    EXPECT_EQ(KindOf(deep.status()), ErrorKind::kTooLarge) << deep.status().ToString();
  }
}

TEST(Decoder, RecordsAndAttributesAreLimited) {
  Decoder records({.records_max = 2});
  EXPECT_TRUE(records.Traces(Bytes(Request({Span("a"), Span("b")}))).ok());
  EXPECT_EQ(KindOf(records.Traces(Bytes(Request({Span("a"), Span("b"), Span("c")}))).status()), ErrorKind::kTooLarge);
  Decoder attributes({.attributes_per_record_max = 1});
  const std::string one = TextAttribute(9, "k", "v");
  EXPECT_TRUE(attributes.Traces(Bytes(Request({Span("a", one)}))).ok());
  EXPECT_EQ(KindOf(attributes.Traces(Bytes(Request({Span("a", one + one)}))).status()), ErrorKind::kTooLarge);
}

TEST(Decoder, MemoryThatIsRefusedIsAnErrorAndNotTheEnd) {
  std::vector<std::string> spans;
  for (int i = 0; i < 3000; ++i) spans.push_back(Span("span " + std::to_string(i), TextAttribute(9, "key " + std::to_string(i), "value")));
  const std::string request = Request(spans);
  bool done = false;
  for (int64_t bytes_max = 4096; !done; bytes_max *= 2) {
    TrackingPool pool("decode_test", bytes_max);
    Decoder decoder({}, &pool);
    const auto result = decoder.Traces(Bytes(request));
    done = result.ok();
    if (!done) {
      EXPECT_EQ(KindOf(result.status()), ErrorKind::kOutOfMemory) << result.status().ToString();
    }
  }
}

TEST(Decoder, BatchesStayValidWhileTheyAreReferenced) {
  Decoder decoder;
  auto first = decoder.Traces(Bytes(Request({Span("first")}))).ValueOrDie();
  auto second = decoder.Traces(Bytes(Request({Span("second")}, "other"))).ValueOrDie();
  EXPECT_EQ(DictionaryAt(*first.batches[0].batch, "name", 0), "first");
  EXPECT_EQ(DictionaryAt(*first.batches[0].batch, "service_name", 0), "shop");
  EXPECT_EQ(DictionaryAt(*second.batches[0].batch, "service_name", 0), "other");
}

TEST(Decoder, RequestsTogetherHaveTheRowsThatTheyHaveAlone) {
  const std::string odd = Span("caf\xe9", TextAttribute(9, "k", "a\xff" "b"));
  const std::vector<std::vector<std::string>> requests = {
      {Request({Span("a"), Span("b", TextAttribute(9, "k", "v"))}), Request({Span("a")}, "other"), ""},
      {Request({Span("a"), Span("bad", "", "short")}), "", Request({Span("bad", "", "abc"), Span("bad", "", "abc")}),
       Request({Span("last", TextAttribute(9, "k", "w"))})},
      {Request({Span("a", TextAttribute(9, "long", std::string(300, 'x')))}), Request({odd}), Request({Span("a")}), Request({odd, odd})},
      {"", ""}};
  Decoder decoder, another;
  for (const std::vector<std::string>& group : requests) {
    const std::vector<std::string_view> views(group.begin(), group.end());
    const JointResult joint = decoder.Together(wire::OtlpRequest::kTraces, views).ValueOrDie();
    ASSERT_EQ(joint.requests.size(), group.size());
    std::vector<std::string> want;
    int64_t originals = 0, rows = 0;
    for (size_t i = 0; i < group.size(); ++i) {
      const DecodeResult alone = another.Traces(Bytes(group[i])).ValueOrDie();
      EXPECT_EQ(joint.requests[i].accepted, alone.accepted);
      EXPECT_EQ(joint.requests[i].rejected, alone.rejected);
      EXPECT_EQ(joint.requests[i].rejected_reason, alone.rejected_reason);
      for (const std::string& text : RowTexts(alone.batches)) want.push_back(text);
      rows += alone.accepted;
      for (const TableBatch& table : alone.batches) {
        const auto original = table.batch->GetColumnByName("original");
        originals += original->length() - original->null_count();
      }
    }
    std::sort(want.begin(), want.end());
    EXPECT_EQ(RowTexts(joint.batches), want);
    ASSERT_EQ(joint.batches.size(), rows > 0 ? 1u : 0u);
    if (rows == 0) continue;
    EXPECT_TRUE(joint.batches[0].batch->ValidateFull().ok());
    const auto original = joint.batches[0].batch->GetColumnByName("original");
    EXPECT_EQ(original->length() - original->null_count(), originals);
  }
}

TEST(Decoder, RequestsTogetherKeepTheirOrderAndTheirOwnLimits) {
  Decoder decoder({.records_max = 3});
  const std::string three = Request({Span("1"), Span("2"), Span("3")}), four = Request({Span("1"), Span("2"), Span("3"), Span("4")});
  const std::vector<std::string_view> good = {three, three, three};
  const JointResult joint = decoder.Together(wire::OtlpRequest::kTraces, good).ValueOrDie();
  for (int64_t row = 0; row < 9; ++row) {
    EXPECT_EQ(DictionaryAt(*joint.batches[0].batch, "name", row), std::to_string(row % 3 + 1));
  }
  const std::vector<std::string_view> large = {three, four}, malformed = {three, "\xff", three};
  EXPECT_EQ(KindOf(decoder.Together(wire::OtlpRequest::kTraces, large).status()), ErrorKind::kTooLarge);
  EXPECT_EQ(KindOf(decoder.Together(wire::OtlpRequest::kTraces, malformed).status()), ErrorKind::kInvalid);
  EXPECT_TRUE(decoder.Together(wire::OtlpRequest::kTraces, good).ok()) << "ready for the next";
}

TEST(Decoder, SteadyStateAllocatesNoColumns) {
  std::vector<std::string> spans;
  for (int i = 0; i < 500; ++i) spans.push_back(Span("name " + std::to_string(i % 7), TextAttribute(9, "k", std::to_string(i))));
  const std::string request = Request(spans);
  TrackingPool pool("decode_test", 0);
  Decoder decoder({}, &pool);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(decoder.Traces(Bytes(request)).ok());
  const int64_t before = pool.num_allocations();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(decoder.Traces(Bytes(request)).ok());
  EXPECT_EQ(pool.num_allocations(), before);
}

TEST(Encoder, NeighboursShareTheirEnvelopes) {
  Decoder decoder;
  auto result = decoder.Traces(Bytes(Request({Span("a"), Span("b")}))).ValueOrDie();
  std::string encoded;
  ASSERT_TRUE(EncodeRequest(Signal::kTraces, *result.batches[0].batch, &encoded).ok());
  EXPECT_EQ(encoded, Request({Span("a"), Span("b")}));
}

TEST(Encoder, AnotherSchemaIsRefused) {
  Decoder decoder;
  auto result = decoder.Traces(Bytes(Request({Span("a")}))).ValueOrDie();
  std::string encoded;
  EXPECT_EQ(KindOf(EncodeRequest(Signal::kLogs, *result.batches[0].batch, &encoded)), ErrorKind::kInvalid);
  EXPECT_TRUE(encoded.empty());
}

}  // namespace
}  // namespace sheaf::decode
