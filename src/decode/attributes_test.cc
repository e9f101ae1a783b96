#include "decode/attributes.h"

#include <bit>
#include <limits>

#include <gtest/gtest.h>

#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufWriter;

AttributeValue Double(double value) { return {ValueType::kDouble, std::bit_cast<int64_t>(value), {}}; }

std::string Text(const AttributeValue& value) {
  std::string out;
  return AppendText(value, &out) ? out : "nothing";
}
std::string Json(const AttributeValue& value) {
  std::string out;
  AppendJson(value, &out);
  return out;
}

TEST(Attributes, ScalarsAsTextAndJson) {
  using Limits = std::numeric_limits<double>;
  const struct {
    AttributeValue value;
    const char* text;
    const char* json;
  } kCases[] = {
      {{}, "nothing", "null"},
      {{ValueType::kString, 0, "say \"hi\"\n\x01"}, "say \"hi\"\n\x01", R"("say \"hi\"\n\u0001")"},
      {{ValueType::kString, 0, "b\xff" "d"}, "b\xff" "d", "\"b\xef\xbf\xbd" "d\""},
      {{ValueType::kBool, 1, {}}, "true", "true"},
      {{ValueType::kInt, std::numeric_limits<int64_t>::min(), {}}, "-9223372036854775808", "-9223372036854775808"},
      {Double(0.1), "0.1", "0.1"},
      {Double(-0.0), "-0", "-0"},
      {Double(1e300), "1e+300", "1e+300"},
      {Double(Limits::quiet_NaN()), "NaN", R"("NaN")"},
      {Double(-Limits::infinity()), "-Infinity", R"("-Infinity")"},
      {{ValueType::kBytes, 0, std::string_view("\x00\xff\x10", 3)}, "AP8Q", R"("AP8Q")"},
      {{ValueType::kArray, 0, ""}, "[]", "[]"},
      {{ValueType::kKvList, 0, ""}, "{}", "{}"},
  };
  for (const auto& one : kCases) {
    EXPECT_EQ(Text(one.value), one.text);
    EXPECT_EQ(Json(one.value), one.json);
  }
}

TEST(Attributes, NestedValuesAreJson) {
  std::string list;  // {"n": [1, null], "": "x"}
  ProtobufWriter writer(&list);
  const size_t first = writer.Open(1);
  writer.Bytes(1, "n");
  const size_t value = writer.Open(2);
  const size_t array = writer.Open(5);
  const size_t one = writer.Open(1);
  writer.Varint(3, 1);
  writer.Close(one);
  writer.Bytes(1, "");
  writer.Close(array);
  writer.Close(value);
  writer.Close(first);
  const size_t second = writer.Open(1);
  const size_t text = writer.Open(2);
  writer.Bytes(1, "x");
  writer.Close(text);
  writer.Close(second);
  EXPECT_EQ(Text({ValueType::kKvList, 0, list}), R"({"n":[1,null],"":"x"})");
}

TEST(Attributes, EnvelopesAreParsed) {
  std::string resource;
  ProtobufWriter writer(&resource);
  const size_t holder = writer.Open(1);
  const size_t attribute = writer.Open(1);
  writer.Bytes(1, "host.name");
  const size_t value = writer.Open(2);
  writer.Bytes(1, "db-1");
  writer.Close(value);
  writer.Close(attribute);
  writer.Varint(2, 7);
  writer.Close(holder);
  writer.Bytes(3, "https://schema");
  const ResourceEnvelope parsed = ParseResourceEnvelope(resource).ValueOrDie();
  ASSERT_EQ(parsed.attributes.size(), 1u);
  EXPECT_EQ(parsed.attributes[0].key, "host.name");
  EXPECT_EQ(parsed.attributes[0].value.val, "db-1");
  EXPECT_EQ(parsed.dropped_attributes_count, 7u);
  EXPECT_EQ(parsed.schema_url, "https://schema");
}

TEST(Attributes, DamagedEnvelopesAreCorruption) {
  for (const char* damaged : {"\x0a\x05", "\x0b", "\x07"}) {
    EXPECT_EQ(KindOf(ParseResourceEnvelope(damaged).status()), ErrorKind::kCorruption);
    EXPECT_EQ(KindOf(ParseScopeEnvelope(damaged).status()), ErrorKind::kCorruption);
    EXPECT_EQ(KindOf(ParseMetricEnvelope(damaged).status()), ErrorKind::kCorruption);
  }
}

}  // namespace
}  // namespace sheaf::decode
