#include "wire/otlp_json.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/check.h"
#include "core/hex.h"
#include "wire/json_number.h"
#include "wire/otlp_schema.h"

namespace sheaf::wire {
namespace {

namespace pb = google::protobuf;
using testing::HasSubstr;

/// The official messages, made from their descriptors.
class Official {
 public:
  Official() {
    std::ifstream file(SHEAF_OTLP_DESCRIPTORS, std::ios::binary);
    pb::FileDescriptorSet set;
    SHEAF_CHECK(set.ParseFromIstream(&file));
    for (const pb::FileDescriptorProto& proto : set.file()) SHEAF_CHECK(pool_.BuildFile(proto) != nullptr);
  }

  static const char* Name(OtlpRequest kind) {
    switch (kind) {
      case OtlpRequest::kTraces: return "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest";
      case OtlpRequest::kLogs: return "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest";
      case OtlpRequest::kMetrics: break;
    }
    return "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest";
  }

  std::unique_ptr<pb::Message> Make(OtlpRequest kind) {
    const pb::Descriptor* descriptor = pool_.FindMessageTypeByName(Name(kind));
    SHEAF_CHECK(descriptor != nullptr);
    return std::unique_ptr<pb::Message>(factory_.GetPrototype(descriptor)->New());
  }

 private:
  pb::DescriptorPool pool_;
  pb::DynamicMessageFactory factory_;
};

constexpr OtlpRequest kKinds[] = {OtlpRequest::kTraces, OtlpRequest::kLogs, OtlpRequest::kMetrics};

std::string Bytes(const pb::Message& message) {
  std::string bytes;
  pb::io::StringOutputStream stream(&bytes);
  pb::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

/// Fills messages with values that are likely to break something.
class RandomFiller {
 public:
  RandomFiller(uint64_t seed, bool ids) : random_(seed), ids_(ids) {}

  void Fill(pb::Message* message, int depth) {
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const pb::FieldDescriptor* field = message->GetDescriptor()->field(i);
      if (!ids_ && field->name().ends_with("_id")) continue;
      if (field->message_type() != nullptr && depth > 12) continue;
      const bool wanted = field->real_containing_oneof() != nullptr ? Below(2) == 0 : Below(4) != 0;
      const uint64_t count = !wanted ? 0 : field->is_repeated() ? Below(4) : 1;
      for (uint64_t n = 0; n < count; ++n) Set(message, field, depth);
    }
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }

  uint64_t Number() {
    constexpr uint64_t kEdges[] = {0, 1, 127, 128, 0x7fffffff, 0x80000000, 0xffffffff, uint64_t{1} << 53, (uint64_t{1} << 53) + 1,
                                   0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff};
    return Below(2) == 0 ? kEdges[Below(std::size(kEdges))] : random_() >> Below(64);
  }

  double Double() {
    using Limits = std::numeric_limits<double>;
    const double edges[] = {0.0, -0.0, 1.5, -1e300, Limits::denorm_min(), Limits::max(), Limits::infinity(), -Limits::infinity(),
                            Limits::quiet_NaN(), 0.1, 1e21, 123456789.125};
    return Below(2) == 0 ? edges[Below(std::size(edges))] : static_cast<double>(static_cast<int64_t>(random_())) / 977.0;
  }

  std::string Text() {
    const char* pieces[] = {"", "a", "http.method", "\"\\/\b\f\n\r\t", "\x01\x1f\x7f", "äöü", "漢字", "\xF0\x9F\x98\x80", " ", "</script>"};
    std::string text;
    for (uint64_t n = Below(4); n > 0; --n) text += pieces[Below(std::size(pieces))];
    if (Below(8) == 0) text += std::string(Below(400), 'x');
    return text;
  }

  void Set(pb::Message* message, const pb::FieldDescriptor* field, int depth) {
    const pb::Reflection& reflection = *message->GetReflection();
    const bool add = field->is_repeated();
    switch (field->cpp_type()) {
#define SET(kind, Type, value)                                      \
  case pb::FieldDescriptor::kind:                                   \
    add ? reflection.Add##Type(message, field, value) : reflection.Set##Type(message, field, value); \
    break
      SET(CPPTYPE_INT32, Int32, static_cast<int32_t>(Number()));
      SET(CPPTYPE_INT64, Int64, static_cast<int64_t>(Number()));
      SET(CPPTYPE_UINT32, UInt32, static_cast<uint32_t>(Number()));
      SET(CPPTYPE_UINT64, UInt64, Number());
      SET(CPPTYPE_DOUBLE, Double, Double());
      SET(CPPTYPE_BOOL, Bool, Below(2) == 0);
      SET(CPPTYPE_ENUM, EnumValue, static_cast<int>(Below(8)));
#undef SET
      case pb::FieldDescriptor::CPPTYPE_STRING: {
        std::string text = field->type() == pb::FieldDescriptor::TYPE_BYTES ? std::string(Below(20), static_cast<char>(random_())) : Text();
        if (add) {
          reflection.AddString(message, field, std::move(text));
        } else {
          reflection.SetString(message, field, std::move(text));
        }
        break;
      }
      case pb::FieldDescriptor::CPPTYPE_MESSAGE:
        Fill(add ? reflection.AddMessage(message, field) : reflection.MutableMessage(message, field), depth + 1);
        break;
      default: FAIL() << "OTLP has no field of type " << field->cpp_type_name();
    }
  }

  std::mt19937_64 random_;
  const bool ids_;
};

uint64_t FirstSeed() {
  const char* seed = std::getenv("SHEAF_OTLP_JSON_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : std::random_device()();
}

std::string ToProtobuf(OtlpRequest kind, const std::string& json) {
  std::string out;
  const Status status = OtlpJsonToProtobuf(kind, json, &out);
  EXPECT_TRUE(status.ok()) << status.ToString() << "\n" << json.substr(0, 2000);
  return out;
}

TEST(OtlpSchema, IsThatOfTheOfficialProtoFiles) {
  Official official;
  std::vector<std::pair<const MessageSchema*, const pb::Descriptor*>> todo;
  for (const OtlpRequest kind : kKinds) todo.push_back({&OtlpRequestSchema(kind), official.Make(kind)->GetDescriptor()});
  std::vector<const MessageSchema*> done;
  while (!todo.empty()) {
    const auto [ours, theirs] = todo.back();
    todo.pop_back();
    if (std::find(done.begin(), done.end(), ours) != done.end()) continue;
    done.push_back(ours);
    EXPECT_EQ(ours->name, theirs->name());
    ASSERT_EQ(ours->fields.size(), static_cast<size_t>(theirs->field_count())) << ours->name;
    ASSERT_LE(ours->fields.size(), 32u);
    for (const FieldSchema& field : ours->fields) {
      SCOPED_TRACE(fmt::format("{}.{}", ours->name, field.proto_name));
      const pb::FieldDescriptor* official_field = theirs->FindFieldByNumber(static_cast<int>(field.number));
      ASSERT_NE(official_field, nullptr);
      EXPECT_EQ(field.proto_name, official_field->name());
      EXPECT_EQ(field.json_name, official_field->json_name());
      EXPECT_EQ(field.rule == FieldRule::kRepeated, official_field->is_repeated());
      EXPECT_EQ(field.rule == FieldRule::kOneof, official_field->real_containing_oneof() != nullptr);
      if (field.kind != FieldKind::kMessage && field.rule != FieldRule::kRepeated) {
        EXPECT_EQ(field.rule != FieldRule::kPlain, official_field->has_presence());
      }
      ASSERT_EQ(field.message != nullptr, official_field->message_type() != nullptr);
      if (field.message != nullptr) todo.push_back({field.message, official_field->message_type()});
      ASSERT_EQ(field.kind == FieldKind::kEnum, official_field->enum_type() != nullptr);
      if (field.kind == FieldKind::kEnum) {
        EXPECT_EQ(static_cast<int>(field.enum_names.size()), official_field->enum_type()->value_count());
      }
      for (const EnumName& name : field.enum_names) {
        const auto* value = official_field->enum_type()->FindValueByName(std::string(name.name));
        ASSERT_NE(value, nullptr) << name.name;
        EXPECT_EQ(value->number(), name.number);
      }
    }
  }
  EXPECT_GE(done.size(), 30u);
}

TEST(OtlpJson, RandomMessagesSurviveTheWayThereAndBack) {
  Official official;
  const uint64_t first = FirstSeed();
  for (uint64_t seed = first; seed < first + 60; ++seed) {
    const OtlpRequest kind = kKinds[seed % 3];
    SCOPED_TRACE(fmt::format("replay with SHEAF_OTLP_JSON_SEED={}", seed));
    const auto message = official.Make(kind);
    RandomFiller(seed, true).Fill(message.get(), 0);
    std::string json;
    ASSERT_TRUE(OtlpProtobufToJson(kind, Bytes(*message), &json).ok());
    const auto back = official.Make(kind);
    ASSERT_TRUE(back->ParseFromString(ToProtobuf(kind, json))) << json;
    ASSERT_TRUE(Bytes(*back) == Bytes(*message)) << json.substr(0, 500);
  }
}

TEST(OtlpJson, AgreesWithProtobufsOwnJsonButForIds) {
  Official official;
  const uint64_t first = FirstSeed();
  for (uint64_t seed = first; seed < first + 60; ++seed) {
    const OtlpRequest kind = kKinds[seed % 3];
    SCOPED_TRACE(fmt::format("replay with SHEAF_OTLP_JSON_SEED={}", seed));
    const auto message = official.Make(kind);
    RandomFiller(seed, false).Fill(message.get(), 0);

    pb::util::JsonPrintOptions options;
    options.always_print_enums_as_ints = seed & 8;
    options.preserve_proto_field_names = seed & 16;
    options.add_whitespace = seed & 32;
    std::string theirs;
    ASSERT_TRUE(pb::util::MessageToJsonString(*message, &theirs, options).ok());
    const auto read = official.Make(kind);
    ASSERT_TRUE(read->ParseFromString(ToProtobuf(kind, theirs)));
    ASSERT_TRUE(Bytes(*read) == Bytes(*message)) << theirs.substr(0, 500);

    std::string ours;
    ASSERT_TRUE(OtlpProtobufToJson(kind, Bytes(*message), &ours).ok());
    const auto theirs_read = official.Make(kind);
    const auto status = pb::util::JsonStringToMessage(ours, theirs_read.get());
    ASSERT_TRUE(status.ok()) << status.ToString() << ours;
    ASSERT_TRUE(Bytes(*theirs_read) == Bytes(*message)) << ours.substr(0, 500);
  }
}

std::string Span(const std::string& fields) { return R"({"resourceSpans":[{"scopeSpans":[{"spans":[{)" + fields + "}]}]}]}"; }
std::string Value(const std::string& value) { return Span(R"("attributes":[{"key":"k","value":)" + value + "}]"); }

TEST(OtlpJson, ReadsTheSpellingsThatProtobufAllows) {
  const struct {
    const char* same;
    std::string left, right;
  } rows[] = {
      {"HexOfEitherCase", Span(R"("traceId":"5B8EFFF798038103D269B633813FC60C")"), Span(R"("traceId":"5b8efff798038103d269b633813fc60c")")},
      {"SnakeCase", Span(R"("start_time_unix_nano":"5")"), Span(R"("startTimeUnixNano":"5")")},
      {"NumberOrText", Span(R"("startTimeUnixNano":1544712660000000000)"), Span(R"("startTimeUnixNano":"1544712660000000000")")},
      {"WholeFloat", Span(R"("startTimeUnixNano":1.5e3)"), Span(R"("startTimeUnixNano":1500)")},
      {"WholeFloatAsText", Span(R"("startTimeUnixNano":"15.0E2")"), Span(R"("startTimeUnixNano":1500)")},
      {"EnumName", Span(R"("kind":"SPAN_KIND_SERVER")"), Span(R"("kind":2)")},
      {"EnumNumberAsText", Span(R"("kind":"2")"), Span(R"("kind":2)")},
      {"NullIsAbsent", Span(R"("name":null,"kind":null,"attributes":null,"status":null)"), Span("")},
      {"NullInOneofIsAbsent", Value(R"({"stringValue":null,"intValue":1})"), Value(R"({"intValue":"1"})")},
      {"UnknownFields", Span(R"("newField":{"a":[1,-2.5e+3,{"b":null}],"c":"\u00e4"},"name":"x")"), Span(R"("name":"x")")},
      {"UrlSafeBase64", Value(R"({"bytesValue":"-_8"})"), Value(R"({"bytesValue":"+/8="})")},
      {"EscapedKey", Span(R"("n\u0061me":"x")"), Span(R"("name":"x")")},
      {"DoubleAsText", Value(R"({"doubleValue":"1.25"})"), Value(R"({"doubleValue":1.25})")},
      {"TinyDoubleIsZero", Value(R"({"doubleValue":1e-999})"), Value(R"({"doubleValue":0})")},
      {"Whitespace", " \n{ \"resourceSpans\" : [ ] }\t", "{}"},
      {"ZeroIsTheDefault", Span(R"("name":"","kind":0,"flags":0)"), Span("")},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.same);
    EXPECT_EQ(ToHex(ToProtobuf(OtlpRequest::kTraces, row.left)), ToHex(ToProtobuf(OtlpRequest::kTraces, row.right)));
  }
}

TEST(OtlpJson, ZeroInAOneofIsKept) {
  EXPECT_NE(ToProtobuf(OtlpRequest::kTraces, Value(R"({"intValue":0})")), ToProtobuf(OtlpRequest::kTraces, Value("{}")));
}

TEST(OtlpJson, TakesUnknownEnumNumbersAndExtremes) {
  std::string json;
  const std::string request = ToProtobuf(OtlpRequest::kTraces, Span(R"("kind":-17,"endTimeUnixNano":18446744073709551615)"));
  ASSERT_TRUE(OtlpProtobufToJson(OtlpRequest::kTraces, request, &json).ok());
  EXPECT_THAT(json, HasSubstr(R"("kind":-17,"endTimeUnixNano":"18446744073709551615")"));
}

TEST(OtlpJson, SaysWhereARequestIsWrong) {
  const struct {
    const char* name;
    std::string json, message;
  } rows[] = {
      {"Empty", "", "not JSON"},
      {"NotAnObject", "[]", "must be a JSON object"},
      {"CutOff", R"({"resourceSpans":[)", "not JSON"},
      {"MoreBehind", "{} {}", ""},
      {"Comma", R"({"resourceSpans":[],})", "not JSON"},
      {"BadIgnoredNumber", R"({"x":[01]})", "not JSON"},
      {"BadIgnoredLiteral", R"({"x":nul})", "not JSON"},
      {"NotUtf8", Span("\"name\":\"\xff\""), "not JSON"},
      {"LoneSurrogate", Span(R"("name":"\ud800")"), "not JSON near resourceSpans[0].scopeSpans[0].spans[0].name"},
      {"WrongType", Span(R"("name":5)"), "resourceSpans[0].scopeSpans[0].spans[0].name must be a string"},
      {"ListWanted", R"({"resourceSpans":{}})", "resourceSpans must be an array"},
      {"NullInList", R"({"resourceSpans":[{},null]})", "resourceSpans[1] must be an object"},
      {"EnumName", Span(R"("kind":"SERVER")"), "spans[0].kind has no value of the name 'SERVER'"},
      {"Fraction", Span(R"("startTimeUnixNano":1.5)"), "startTimeUnixNano must be a whole number"},
      {"Negative", Span(R"("startTimeUnixNano":-1)"), "startTimeUnixNano is out of range"},
      {"Over64Bits", Span(R"("startTimeUnixNano":18446744073709551616)"), "startTimeUnixNano must be a whole number of 64 bits"},
      {"Over32Bits", Span(R"("flags":4294967296)"), "flags is out of range"},
      {"Under64Bits", Value(R"({"intValue":"-9223372036854775809"})"), "out of range"},
      {"DoubleOverflow", Value(R"({"doubleValue":1e999})"), "doubleValue must be a number within the range"},
      {"Hex", Span(R"("traceId":"xyz")"), "traceId must be hex digits"},
      {"OddHex", Span(R"("traceId":"abc")"), "traceId must be hex digits"},
      {"Base64", Value(R"({"bytesValue":"@"})"), "bytesValue must be base64"},
      {"Twice", Span(R"("name":"a","name":"b")"), "name is given twice"},
      {"OneofTwice", Value(R"({"stringValue":"a","intValue":1})"), "value.intValue AnyValue holds one value only"},
      {"Bool", Value(R"({"boolValue":1})"), "boolValue must be true or false"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    std::string out = "before";
    const Status status = OtlpJsonToProtobuf(OtlpRequest::kTraces, row.json, &out);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(KindOf(status), ErrorKind::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr(row.message));
    EXPECT_EQ(out, "before");
  }
}

TEST(OtlpJson, RefusesDeepNestingAsTooLarge) {
  std::string deep = R"({"intValue":1})";
  for (int i = 0; i < 200; ++i) deep = R"({"arrayValue":{"values":[)" + deep + "]}}";
  std::string ignored(300, '[');
  ignored += std::string(300, ']');
  for (const std::string& json : {Value(deep), R"({"x":)" + ignored + "}"}) {
    std::string out;
    const Status status = OtlpJsonToProtobuf(OtlpRequest::kTraces, json, &out);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(KindOf(status), ErrorKind::kTooLarge) << status.ToString();
  }
}

TEST(OtlpJson, WritesTheLastOfRepeatedSingleFieldsAndMergesMessages) {
  // resource_spans { schema_url "a" schema_url "b" resource { dropped 1 } resource { dropped 2 } }
  const std::string inner = *FromHex("1a01611a01620a0210010a021002");
  const std::string request = *FromHex("0a0e") + inner;
  std::string json;
  ASSERT_TRUE(OtlpProtobufToJson(OtlpRequest::kTraces, request, &json).ok());
  EXPECT_EQ(json, R"({"resourceSpans":[{"resource":{"droppedAttributesCount":2},"schemaUrl":"b"}]})");
}

TEST(OtlpJson, RepairsTextThatIsNotUtf8OnTheWayToJson) {
  std::string json;
  ASSERT_TRUE(OtlpProtobufToJson(OtlpRequest::kTraces, *FromHex("0a041a0261ff"), &json).ok());
  EXPECT_EQ(json, "{\"resourceSpans\":[{\"schemaUrl\":\"a\xEF\xBF\xBD\"}]}");
}

TEST(OtlpJson, RefusesProtobufThatBreaksOff) {
  std::string json = "before";
  const Status status = OtlpProtobufToJson(OtlpRequest::kTraces, *FromHex("0a0a1a0261"), &json);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(KindOf(status), ErrorKind::kInvalid);
  EXPECT_EQ(json, "before");
}

TEST(JsonNumber, WholeNumbersAreExactOrNotThere) {
  const auto whole = [](const char* text) { return ParseWholeNumber(text); };
  EXPECT_EQ(whole("18446744073709551615")->magnitude, ~uint64_t{0});
  EXPECT_FALSE(whole("18446744073709551616"));
  EXPECT_EQ(whole("1e3")->magnitude, 1000u);
  EXPECT_EQ(whole("12.50e1")->magnitude, 125u);
  EXPECT_EQ(whole("1200e-2")->magnitude, 12u);
  EXPECT_EQ(whole("0.000e999999999999")->magnitude, 0u);
  EXPECT_TRUE(whole("-9223372036854775808")->negative);
  for (const char* bad : {"", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1 ", " 1", "1.5", "1e-1", "1e999999999999", "NaN"}) {
    EXPECT_FALSE(whole(bad)) << bad;
  }
}

}  // namespace
}  // namespace sheaf::wire
