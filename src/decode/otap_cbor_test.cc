#include "decode/otap_cbor.h"

#include <gtest/gtest.h>

#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

constexpr int kDepthMax = 32;

/// CBOR as JSON, or the kind of the error.
std::string Json(ValueType type, std::string_view cbor) {
  std::string otlp, json;
  const Status status = CborToOtlp(type, cbor, kDepthMax, &otlp);
  if (!status.ok()) return ErrorKindName(KindOf(status));
  AppendJson({type, 0, otlp}, &json);
  return json;
}
std::string Array(std::string_view cbor) { return Json(ValueType::kArray, cbor); }
std::string Map(std::string_view cbor) { return Json(ValueType::kKvList, cbor); }

TEST(OtapCbor, DefiniteAndIndefiniteLengthsAreTheSame) {
  EXPECT_EQ(Array("\x82\x01\x61x"), R"([1,"x"])");
  EXPECT_EQ(Array("\x9f\x01\x7f\x61x\x61y\xff\xff"), R"([1,"xy"])");
  EXPECT_EQ(Map("\xa1\x61k\x80"), R"({"k":[]})");
  EXPECT_EQ(Map("\xbf\x61k\xbf\xff\xff"), R"({"k":{}})");
  EXPECT_EQ(Array(""), "[]");
}

TEST(OtapCbor, ScalarsOfEveryWidth) {
  EXPECT_EQ(Array(std::string_view("\x9f\x18\xff\x19\x01\x00\x1a\x00\x01\x00\x00\x20\x38\xff\xff", 15)),
            "[255,256,65536,-1,-256]");
  EXPECT_EQ(Array("\x84\xf4\xf5\xf6\xf7"), "[false,true,null,null]");
  EXPECT_EQ(Array(std::string_view("\x83\xf9\x3e\x00\xfa\x3f\x80\x00\x00\xfb\x3f\xe0\x00\x00\x00\x00\x00\x00", 18)),
            "[1.5,1,0.5]");
  EXPECT_EQ(Array(std::string_view("\x83\xf9\x7c\x00\xf9\xfc\x00\xf9\x7e\x00", 10)), R"(["Infinity","-Infinity","NaN"])");
  EXPECT_EQ(Array("\x81\x42\x01\x02"), R"(["AQI="])");
  EXPECT_EQ(Array("\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"),
            "[9223372036854775807,-9223372036854775808]");
}

TEST(OtapCbor, WhatOtlpCannotSayIsRefused) {
  for (const std::string_view cbor : {
           std::string_view("\x81\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 10),  // Beyond 64 bits signed.
           std::string_view("\x81\xc0\x01", 3),                               // A tag.
           std::string_view("\x81\xe0", 2),                                   // A simple value.
           std::string_view("\xa1\x61k\x01", 4),                              // A map, where an array was promised.
           std::string_view("\x82\x01", 2),                                   // Cut off.
           std::string_view("\x9f\x01", 2),                                   // Without an end.
           std::string_view("\x81\x01\x02", 3),                               // Bytes after it.
           std::string_view("\x81\x5c\x01", 3),                               // A length that does not exist.
           std::string_view("\x81\x7f\x41x\xff", 5),                          // Bytes in a text.
           std::string_view("\x81\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 10),  // Longer than memory.
       }) {
    EXPECT_EQ(Array(cbor), "invalid");
  }
  EXPECT_EQ(Map("\xa1\x01\x02"), "invalid") << "a key that is not text";
}

TEST(OtapCbor, NestingIsLimited) {
  EXPECT_EQ(Array(std::string(kDepthMax - 1, '\x81') + "\x80"), std::string(kDepthMax, '[') + std::string(kDepthMax, ']'));
  EXPECT_EQ(Array(std::string(kDepthMax, '\x81') + "\x80"), "too_large");
  EXPECT_EQ(Array(std::string(100'000, '\x9f')), "too_large");
}

/// CBOR read and written again: with lengths indefinite and numbers as short as can be.
std::string Again(ValueType type, std::string_view cbor) {
  std::string otlp, again;
  bool exact = true;
  EXPECT_TRUE(CborToOtlp(type, cbor, kDepthMax, &otlp).ok());
  EXPECT_TRUE(OtlpToCbor(type, otlp, &again, &exact).ok());
  EXPECT_TRUE(exact);
  return again;
}

TEST(OtapCbor, WhatIsWrittenIsWhatWasRead) {
  static constexpr char kArray[] =
      "\x9f\x17\x18\x18\x19\x01\x00\x1a\x00\x01\x00\x00\x20\x38\xff\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x3b\x7f\xff\xff\xff\xff"
      "\xff\xff\xff"
      "\xf4\xf5\xf6\xfb\x3f\xe0\x00\x00\x00\x00\x00\x00\x42\x00\x02\x40\x60\x61x\x9f\xff\xbf\x61k\xbf\x60\x01\xff\xff\xff";
  const std::string_view array(kArray, sizeof(kArray) - 1);
  EXPECT_EQ(Again(ValueType::kArray, array), array);
  EXPECT_EQ(Again(ValueType::kKvList,
                  "\xa1\x61k\x82\x01\xf9\x3e"
                  "\x80"),
            std::string("\xbf\x61k\x9f\x01\xfb\x3f\xfa\x00\x00\x00\x00\x00\x00\xff\xff", 16));
  EXPECT_EQ(Again(ValueType::kKvList, ""), "\xbf\xff");
}

TEST(OtapCbor, WhatCborCannotSayIsTold) {
  const auto exactly = [](ValueType type, std::string_view otlp, std::string* cbor) {
    bool exact = true;
    EXPECT_TRUE(OtlpToCbor(type, otlp, cbor, &exact).ok());
    return exact;
  };
  std::string text, unknown, no_value, two_members;
  EXPECT_FALSE(exactly(ValueType::kArray, "\x0a\x03\x0a\x01\xff", &text));
  EXPECT_EQ(text, "\x9f\x63\xef\xbf\xbd\xff") << "repaired";
  EXPECT_FALSE(exactly(ValueType::kArray, "\x10\x01\x0a\x02\x18\x05", &unknown));
  EXPECT_EQ(unknown, "\x9f\x05\xff");
  EXPECT_FALSE(exactly(ValueType::kKvList, "\x0a\x03\x0a\x01k", &no_value));
  EXPECT_EQ(no_value, "\xbf\x61k\xf6\xff");
  EXPECT_FALSE(exactly(ValueType::kArray, "\x0a\x04\x18\x05\x18\x06", &two_members));
  EXPECT_EQ(two_members, "\x9f\x06\xff");
}

TEST(OtapCbor, DamagedBytesAreRefused) {
  std::string cbor, deep;
  bool exact = true;
  EXPECT_EQ(KindOf(OtlpToCbor(ValueType::kArray, "\x0a\x05x", &cbor, &exact)), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(OtlpToCbor(ValueType::kKvList, "\x0a\x02\x12\x05", &cbor, &exact)), ErrorKind::kInvalid);
  for (int i = 0; i < 200; ++i) {  // An array in an array…
    std::string outer;
    wire::ProtobufWriter writer(&outer);
    const size_t value = writer.Open(1);
    writer.Bytes(5, deep);
    writer.Close(value);
    deep = outer;
  }
  EXPECT_EQ(KindOf(OtlpToCbor(ValueType::kArray, deep, &cbor, &exact)), ErrorKind::kInvalid);
}

}  // namespace
}  // namespace sheaf::decode
