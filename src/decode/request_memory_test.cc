/// Hostile requests against the memory budget of decoding. Everything is counted: the decoder's pool, and by a counting
/// operator new what stands outside it.

#include "decode/request_memory.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/memory.h"
#include "decode/decoder.h"
#include "wire/protobuf_writer.h"

namespace {

std::atomic<int64_t> new_bytes{0}, new_bytes_peak{0};

void* CountedNew(size_t size) {
  void* const p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr) throw std::bad_alloc();
  const auto usable = static_cast<int64_t>(malloc_usable_size(p));
  const int64_t now = new_bytes.fetch_add(usable) + usable;
  int64_t peak = new_bytes_peak.load();
  while (now > peak && !new_bytes_peak.compare_exchange_weak(peak, now)) {
  }
  return p;
}

void CountedDelete(void* p) {
  if (p == nullptr) return;
  new_bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(p)));
  std::free(p);
}

}  // namespace

// Those of arrays and of sizes call these.
void* operator new(size_t size) { return CountedNew(size); }
void operator delete(void* p) noexcept { CountedDelete(p); }
void operator delete(void* p, size_t) noexcept { CountedDelete(p); }
void* operator new[](size_t size) { return CountedNew(size); }
void operator delete[](void* p) noexcept { CountedDelete(p); }
void operator delete[](void* p, size_t) noexcept { CountedDelete(p); }

namespace sheaf::decode {
namespace {

using wire::ProtobufWriter;

constexpr size_t kRequestBytes = size_t{1} << 20;
constexpr Limits kLimits{.memory_bytes_base = int64_t{1} << 20};
/// What does not grow with a request: schemas, array objects, learned key patterns.
constexpr int64_t kConstantBytes = int64_t{1} << 20;

enum class Kind { kTraces, kLogs, kMetrics };

struct Hostile {
  const char* name;
  Kind kind;
  bool fits;  // Whether it stays within the budget all the same.
  std::function<std::string()> request;
};
void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

std::string Field(uint32_t field, std::string_view bytes) {
  std::string out;
  ProtobufWriter(&out).Bytes(field, bytes);
  return out;
}

/// Pieces 0, 1, … until the request has its size.
std::string Fill(const std::function<std::string(size_t)>& piece) {
  std::string out;
  for (size_t i = 0; out.size() < kRequestBytes; ++i) out += piece(i);
  return out;
}
std::string Repeat(std::string_view piece) {
  return Fill([&](size_t) { return std::string(piece); });
}

/// One resource and scope around records that are whole fields 2 already.
std::string Request(std::string_view records) { return Field(1, Field(2, records)); }
std::string Span(std::string_view more) {
  return Field(2, Field(1, std::string(16, '\x11')) + Field(2, std::string(8, '\x22')) + std::string(more));
}
std::string KeyValue(std::string_view key, std::string_view text) { return Field(1, key) + Field(2, Field(1, text)); }
std::string Number(size_t i) { return std::to_string(i); }

/// An AnyValue of arrays in arrays, `levels` deep, each with two more empty ones beside.
std::string Nested(int levels) {
  std::string value = Field(1, "x");
  for (int i = 1; i < levels; ++i) value = Field(5, Field(1, value) + Field(1, Field(5, "")) + Field(1, Field(5, "")));
  return value;
}

/// A metric whose data, in field `field`, is one point of these fields.
std::string Metric(uint32_t field, std::string_view point) { return Field(2, Field(1, "m") + Field(field, Field(1, point))); }

const std::vector<Hostile>& HostileRequests() {
  static const std::vector<Hostile> all = {
      {"SpansWithKeysMetOnce", Kind::kTraces, false,
       [] { return Request(Fill([](size_t i) { return Span(Field(9, KeyValue(Number(i), ""))); })); }},
      {"SpansWithKeysMetOnceOnly", Kind::kTraces, false,
       [] {
         return Request(Fill([](size_t i) {
           std::string attributes;
           for (size_t k = 0; k < 1000; ++k) attributes += Field(9, Field(1, Number(1000 * i + k)));
           return Span(attributes);
         }));
       }},
      {"SpansEachInAResource", Kind::kTraces, false,
       [] {
         return Fill([](size_t i) { return Field(1, Field(1, Field(1, KeyValue("service.name", Number(i)))) + Field(2, Span(""))); });
       }},
      {"EventsOfNoBytes", Kind::kTraces, false, [] { return Request(Span(Repeat(Field(11, "")))); }},
      {"LinksOfNoBytes", Kind::kTraces, false, [] { return Request(Span(Repeat(Field(13, "")))); }},
      {"EventsWithKeysMetOnce", Kind::kTraces, false,
       [] { return Request(Fill([](size_t i) { return Span(Field(11, Field(2, Number(i)) + Field(3, KeyValue(Number(i), "")))); })); }},
      {"TextsThatAreNotUtf8", Kind::kTraces, false,
       [] { return Request(Fill([](size_t) { return Span(Field(9, Field(1, "\xff") + Field(2, Field(1, "\xff")))); })); }},
      {"ALongTextThatIsNotUtf8", Kind::kTraces, false, [] { return Request(Span(Field(5, std::string(kRequestBytes, '\xff')))); }},
      {"RecordsOfNoBytes", Kind::kLogs, false, [] { return Request(Repeat(Field(2, ""))); }},
      {"BodiesOfControlCharacters", Kind::kLogs, false,
       [] { return Request(Field(2, Field(5, Field(5, Field(1, Field(1, std::string(kRequestBytes, '\x01'))))))); }},
      {"BodiesInPieces", Kind::kLogs, false, [] { return Request(Field(2, Repeat(Field(5, Field(5, Field(1, Field(1, "x"))))))); }},
      {"BodiesNestedDeeply", Kind::kLogs, true, [] { return Request(Fill([](size_t) { return Field(2, Field(5, Nested(32))); })); }},
      {"AttributesNestedDeeply", Kind::kLogs, true,
       [] { return Request(Fill([](size_t) { return Field(2, Field(6, Field(1, "k") + Field(2, Nested(32)))); })); }},
      {"LogsWithKeysMetOnce", Kind::kLogs, false,
       [] { return Request(Fill([](size_t i) { return Field(2, Field(6, KeyValue(Number(i), ""))); })); }},
      {"LogsEachInAScope", Kind::kLogs, false,
       [] { return Field(1, Fill([](size_t i) { return Field(2, Field(1, Field(1, Number(i))) + Field(2, "")); })); }},
      {"AServiceNameOfControlCharacters", Kind::kLogs, false,
       [] {
         const std::string value = Field(5, Field(1, Field(1, std::string(kRequestBytes, '\x01'))));
         return Field(1, Field(1, Field(1, Field(1, "service.name") + Field(2, value))) + Field(2, Field(2, "")));
       }},
      {"ExemplarsOfNoBytes", Kind::kMetrics, false, [] { return Request(Metric(5, Repeat(Field(5, "")))); }},
      {"ExemplarsWithKeysMetOnce", Kind::kMetrics, false,
       [] { return Request(Fill([](size_t i) { return Metric(5, Field(5, Field(7, KeyValue(Number(i), "")))); })); }},
      {"MetricsMetOnce", Kind::kMetrics, false,
       [] { return Request(Fill([](size_t i) { return Field(2, Field(1, Number(i)) + Field(7, Field(1, ""))); })); }},
      {"PointsOfNoBytes", Kind::kMetrics, false, [] { return Request(Field(2, Field(9, Repeat(Field(1, ""))))); }},
      {"BucketsOfOneByte", Kind::kMetrics, false,
       [] { return Request(Metric(10, Field(8, Field(2, std::string(kRequestBytes, '\x01'))))); }},
      {"QuantilesOfNoBytes", Kind::kMetrics, false, [] { return Request(Metric(11, Repeat(Field(6, "")))); }},
  };
  return all;
}

Result<DecodeResult> Decode(Kind kind, Decoder* decoder, std::string_view request) {
  const auto bytes = std::as_bytes(std::span(request));
  return kind == Kind::kTraces ? decoder->Traces(bytes) : kind == Kind::kLogs ? decoder->Logs(bytes) : decoder->Metrics(bytes);
}

/// A request of the kind that any decoder must take.
std::string Ordinary(Kind kind) {
  if (kind == Kind::kTraces) return Request(Span(Field(5, "x")));
  return Request(kind == Kind::kLogs ? Field(2, Field(12, "x")) : Metric(5, ""));
}

class HostileRequest : public testing::TestWithParam<Hostile> {};

TEST_P(HostileRequest, StaysWithinItsBudget) {
  const std::string request = GetParam().request();
  TrackingPool pool("decode_test", 0);
  Decoder decoder(kLimits, &pool);
  ASSERT_TRUE(Decode(GetParam().kind, &decoder, Ordinary(GetParam().kind)).ok());  // Makes what lives as long as the process.
  const int64_t new_before = new_bytes.load();
  new_bytes_peak = new_before;
  {
    const auto result = Decode(GetParam().kind, &decoder, request);
    EXPECT_EQ(result.ok(), GetParam().fits) << result.status().ToString();
    if (!result.ok()) {
      EXPECT_EQ(KindOf(result.status()), ErrorKind::kTooLarge);
      EXPECT_NE(result.status().message().find("send fewer records"), std::string::npos) << result.status().ToString();
    }
  }
  const int64_t budget = kLimits.memory_bytes_base + kLimits.memory_per_request_byte * static_cast<int64_t>(request.size());
  EXPECT_LE(pool.max_memory() + new_bytes_peak.load() - new_before, budget + kConstantBytes) << "request of " << request.size();
  EXPECT_LE(decoder.kept_bytes(), Decoder::kKeptBytesMax);
  EXPECT_TRUE(Decode(GetParam().kind, &decoder, Ordinary(GetParam().kind)).ok());
}

INSTANTIATE_TEST_SUITE_P(All, HostileRequest, testing::ValuesIn(HostileRequests()), [](const auto& info) { return info.param.name; });

TEST(RequestMemory, RefusesBeyondItsBudgetAndChargesNothingThen) {
  RequestMemory memory(arrow::default_memory_pool());
  memory.set_bytes_max(100);
  memory.Charge(60);
  EXPECT_THROW(memory.Charge(41), OverBudget);
  EXPECT_EQ(memory.held(), 60);
  memory.Charge(40);
  memory.Release(100);
  EXPECT_EQ(memory.held(), 0);
}

TEST(RequestMemory, ChargesATextWithWhatItHolds) {
  RequestMemory memory(arrow::default_memory_pool());
  std::string text;
  memory.Reserve(&text, 5);
  EXPECT_EQ(memory.held(), 0) << "short texts stand in themselves";
  for (int i = 0; i < 1000; ++i) {
    memory.Reserve(&text, 7);
    text += "0123456";
    if (i > 10) {
      EXPECT_EQ(memory.held(), static_cast<int64_t>(text.capacity()));
    }
  }
  memory.Forget(&text);
  EXPECT_EQ(memory.held(), 0);
  EXPECT_TRUE(text.empty());
}

TEST(Decoder, TakesARequestWhateverMemoryOthersLeft) {
  std::string records;
  for (int i = 0; i < 10'000; ++i) records += Field(2, Field(5, Field(1, std::string(100, 'x'))));
  const std::string request = Request(records);
  Decoder fresh(kLimits), used(kLimits);
  const auto first = fresh.Logs(std::as_bytes(std::span(request)));
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  const std::string large = Request(Span(Field(5, std::string(size_t{6} << 20, 'x'))));
  ASSERT_TRUE(used.Traces(std::as_bytes(std::span(large))).ok());
  ASSERT_GT(used.kept_bytes(), kLimits.memory_bytes_base + kLimits.memory_per_request_byte * static_cast<int64_t>(request.size()))
      << "the test needs a request that fits only without what the other left";
  const auto second = used.Logs(std::as_bytes(std::span(request)));
  ASSERT_TRUE(second.ok()) << second.status().ToString();
  EXPECT_TRUE(second->batches[0].batch->Equals(*first->batches[0].batch));
}

TEST(Decoder, GivesBackTheMemoryOfAnOutsizedRequest) {
  TrackingPool pool("decode_test", 0);
  Decoder decoder({}, &pool);
  const std::string usual = Request(Span(Field(5, "x")));
  ASSERT_TRUE(decoder.Traces(std::as_bytes(std::span(usual))).ok());
  const int64_t before = pool.bytes_allocated();
  const std::string outsized = Request(Span(Field(5, std::string(size_t{25} << 20, 'x'))));
  auto result = decoder.Traces(std::as_bytes(std::span(outsized)));
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(decoder.kept_bytes(), 0);
  EXPECT_GT(pool.bytes_allocated(), int64_t{25} << 20) << "the batch still has it";
  result = DecodeResult();
  EXPECT_EQ(pool.bytes_allocated(), 0);
  ASSERT_TRUE(decoder.Traces(std::as_bytes(std::span(usual))).ok());
  EXPECT_LE(pool.bytes_allocated(), before);
}

}  // namespace
}  // namespace sheaf::decode
