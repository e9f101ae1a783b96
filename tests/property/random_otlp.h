/// Random OTLP messages, and odd but legal ways to write them down.

#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include <google/protobuf/message.h>

namespace sheaf::property {

/// All choices of a test come from one of these, so that its seed replays it.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Below(uint64_t n) { return engine_() % n; }
  uint64_t Bits() { return engine_(); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  std::mt19937_64 engine_;
};

/// What a random request is made of.
struct Shape {
  bool odd_ids = false;         // Ids of wrong lengths, and of zeros.
  bool unknown_fields = false;  // At every depth.
  bool unknown_enums = false;
  bool bad_text = false;        // kBadText in strings: see below.
  bool deep_values = false;     // AnyValue up to the decoder's limit.
};
Shape RandomShape(Random* random);

/// Fills a message of any type: each field absent, default, edge value or random; each repeated field
/// empty, short or (seldom) long.
void FillRandomly(const Shape& shape, Random* random, google::protobuf::Message* message);

/// The bytes of `message` as another writer may write them: fields in any order, singular scalars
/// twice with the last one right, submessages in pieces, packed numbers unpacked, overlong varints,
/// defaults written out.
std::string SerializeOddly(const google::protobuf::Message& message, Random* random);

/// protobuf's classes refuse text that is not UTF-8, so it is put in and taken out as bytes: kBadText
/// stands for kBadBytes, of the same length.
inline constexpr std::string_view kBadText = "<NOTUTF8>";
inline constexpr std::string_view kBadBytes = "\xff\xc0\xaf\xed\xa0\x80\xf5\xfe\xc1";
static_assert(kBadText.size() == kBadBytes.size());
std::string Replaced(std::string bytes, std::string_view from, std::string_view to);

}  // namespace sheaf::property
