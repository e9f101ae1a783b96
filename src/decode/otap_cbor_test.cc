#include "decode/otap_cbor.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace sheaf::decode
