#include "columns/row_order.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include <arrow/array/array_dict.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_dict.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/compare.h>
#include <arrow/scalar.h>
#include <gtest/gtest.h>

#include "columns/byte_values.h"
#include "columns/random_testing.h"
#include "columns/sort_keys.h"

namespace sheaf::columns {
namespace {

/// A cell that compares as the order says: NULL, then numbers, NaN, or bytes.
struct Cell {
  bool valid = false;
  long double number = 0;
  std::string bytes;
  auto Key() const { return std::tuple(valid, std::isnan(number), std::isnan(number) ? 0 : number, bytes); }
  bool operator<(const Cell& other) const { return Key() < other.Key(); }
};

Cell CellOf(const std::shared_ptr<arrow::Array>& array, int64_t i) {
  Cell out;
  if (array->type_id() == arrow::Type::DICTIONARY) {
    const auto& d = static_cast<const arrow::DictionaryArray&>(*array);
    return d.IsNull(i) ? out : CellOf(d.dictionary(), d.GetValueIndex(i));
  }
  if (array->IsNull(i)) return out;
  out.valid = true;
  const auto scalar = array->GetScalar(i).ValueOrDie();
  const auto id = array->type_id();
  if (arrow::is_base_binary_like(id) || id == arrow::Type::FIXED_SIZE_BINARY) {
    out.bytes = (*ByteValues::Of(*array->data()))[i];
  } else if (id == arrow::Type::BOOL) {
    out.number = scalar->ToString() == "true";
  } else if (id == arrow::Type::UINT64) {
    out.number = static_cast<const arrow::UInt64Scalar&>(*scalar).value;
  } else if (arrow::is_decimal(id) || arrow::is_floating(id)) {
    out.number = std::stold(scalar->ToString());
  } else {
    const auto raw = (*ByteValues::Of(*array->data()))[i];
    int64_t value = 0;
    std::memcpy(&value, raw.data(), raw.size());
    const int shift = 64 - 8 * static_cast<int>(raw.size());
    out.number = arrow::is_unsigned_integer(id) ? static_cast<long double>(value) : static_cast<long double>(value << shift >> shift);
  }
  return out;
}

TEST(RowOrder, SortsStablyByColumnsOfEveryOrderedType) {
  Random random(TestSeed());
  const auto schema = EveryType();
  const std::vector<std::vector<const char*>> keys = {
      {"word", "time"}, {"i8"}, {"u64", "i16"}, {"f64"}, {"f32", "flag"}, {"price"}, {"id16"}, {"id8", "i32"}, {"text"},
      {"large_bytes", "utc"}, {"blob_word"}, {"small_word", "day"}, {"half"}, {"span", "clock", "u8"}, {}};
  for (const auto& names : keys) {
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    for (int b = 0; b < 4; ++b) batches.push_back(RandomBatch(schema, 60, &random));
    std::vector<int> columns;
    for (const char* name : names) columns.push_back(schema->GetFieldIndex(name));
    const auto rows = RowUnion::Make(schema, batches).ValueOrDie();
    const auto order = SortRows(*rows, columns).ValueOrDie();

    std::vector<uint32_t> want(240);
    std::iota(want.begin(), want.end(), 0u);
    std::stable_sort(want.begin(), want.end(), [&](uint32_t a, uint32_t b) {
      for (const int c : columns) {
        const Cell x = CellOf(batches[a / 60]->column(c), a % 60), y = CellOf(batches[b / 60]->column(c), b % 60);
        if (x < y || y < x) return x < y;
      }
      return false;
    });
    EXPECT_EQ(order, want) << (names.empty() ? "no column" : names[0]);
  }
}

TEST(RowOrder, RefusesToSortByLists) {
  Random random(1);
  const auto schema = EveryType();
  const auto rows = RowUnion::Make(schema, {RandomBatch(schema, 3, &random)}).ValueOrDie();
  EXPECT_EQ(KindOf(SortRows(*rows, {schema->GetFieldIndex("numbers")}).status()), ErrorKind::kUnsupported);
  const auto one = RowUnion::Make(schema, {RandomBatch(schema, 1, &random)}).ValueOrDie();  // Nothing is left to sort.
  EXPECT_EQ(KindOf(SortRows(*one, {schema->GetFieldIndex("time"), schema->GetFieldIndex("numbers")}).status()), ErrorKind::kUnsupported);
}

TEST(RowOrder, SortsManyRowsOnThreadsAsOnOne) {
  Random random(TestSeed());
  const auto schema = EveryType();
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int b = 0; b < 5; ++b) batches.push_back(RandomBatch(schema, 15'000 + b, &random));
  const auto rows = RowUnion::Make(schema, batches).ValueOrDie();
  const std::vector<std::vector<const char*>> keys = {{"id16", "time"}, {"i8", "u64", "id8"}, {"f64", "half"}, {"price", "i32"}};
  for (const auto& names : keys) {
    std::vector<int> columns;
    for (const char* name : names) columns.push_back(schema->GetFieldIndex(name));
    EXPECT_EQ(SortRows(*rows, columns, 3).ValueOrDie(), SortRows(*rows, columns).ValueOrDie()) << names[0];
  }
}

/// A word of a key; each kind makes another part of the sorter work.
uint64_t KeyOf(int kind, Random* random) {
  switch (kind) {
    case 0: return (*random)();                                                         // As random as ids.
    case 1: return (*random)() % 50;                                                    // Long runs of equal ones.
    case 2: return (*random)() % 1000 == 0 ? (*random)() : (*random)() % 100'000;       // All but a few close together.
    case 3: return uint64_t{1} << ((*random)() % 64);                                   // Spread over all magnitudes.
    case 4: return uint64_t{0xABCD} << 48 | (*random)() % 7 << 30 | (*random)() % 3;    // Equal in what is looked at first.
    case 5: return (*random)() % 8 == 0 ? (*random)() % 500 : 250;                      // A long run between short ones.
    default: return 7;
  }
}

TEST(RowOrder, SorterOfWordsAgreesWithAStableSortWhateverTheKeys) {
  Random random(TestSeed());
  for (int round = 0; round < 120; ++round) {
    const size_t n = round < 12 ? static_cast<size_t>(round) : 1 + random() % (round % 10 == 0 ? 60'000 : 3'000);
    std::vector<Keys> words(1 + random() % 3, Keys(n));
    for (Keys& word : words) {
      const int kind = static_cast<int>(random() % 7);
      for (uint64_t& key : word) key = KeyOf(kind, &random);
      if (random() % 8 == 0) std::sort(word.begin(), word.end());
    }
    std::vector<uint32_t> want(n);
    std::iota(want.begin(), want.end(), 0u);
    std::stable_sort(want.begin(), want.end(), [&](uint32_t a, uint32_t b) {
      for (const Keys& word : words) {
        if (word[a] != word[b]) return word[a] < word[b];
      }
      return false;
    });
    WordSorter sorter(static_cast<int64_t>(n), /*threads=*/1 + round % 3);
    for (const Keys& word : words) sorter.Add(word);
    ASSERT_EQ(sorter.Order(), want) << n << " rows, " << words.size() << " words";

    std::vector<uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0u);
    for (auto word = words.rbegin(); word != words.rend(); ++word) StableSortBy(*word, &order);
    ASSERT_EQ(order, want) << n << " rows, " << words.size() << " words, the last first";
  }
}

struct Span {
  int trace;
  bool root;
  std::string service;
  int64_t time;
};

TEST(RowOrder, TracesLieTogetherByServiceOfTheirRootThenFirstStart) {
  Random random(TestSeed());
  const auto schema =
      arrow::schema({arrow::field("trace", arrow::fixed_size_binary(16)), arrow::field("parent", arrow::fixed_size_binary(8)),
                     arrow::field("service", arrow::dictionary(arrow::int32(), arrow::utf8())),
                     arrow::field("time", arrow::timestamp(arrow::TimeUnit::NANO))});
  for (int round = 0; round < 20; ++round) {
    std::vector<Span> spans;
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    for (int b = 0; b < 3; ++b) {
      arrow::FixedSizeBinaryBuilder trace(arrow::fixed_size_binary(16)), parent(arrow::fixed_size_binary(8));
      arrow::StringDictionary32Builder service;
      arrow::TimestampBuilder time(arrow::timestamp(arrow::TimeUnit::NANO), arrow::default_memory_pool());
      for (int i = 0; i < 40; ++i) {
        Span s{static_cast<int>(random() % 15), random() % 4 == 0, "service " + std::to_string(random() % 4),
               static_cast<int64_t>(random() % 1000)};
        std::string id(16, '\0');
        id[15] = static_cast<char>(s.trace);
        ASSERT_TRUE(trace.Append(id).ok());
        ASSERT_TRUE((s.root ? parent.AppendNull() : parent.Append(std::string(8, 'p'))).ok());
        ASSERT_TRUE(service.Append(s.service).ok());
        ASSERT_TRUE(time.Append(s.time).ok());
        spans.push_back(std::move(s));
      }
      batches.push_back(arrow::RecordBatch::Make(schema, 40, {trace.Finish().ValueOrDie(), parent.Finish().ValueOrDie(),
                                                              service.Finish().ValueOrDie(), time.Finish().ValueOrDie()}));
    }
    const auto rows = RowUnion::Make(schema, batches).ValueOrDie();
    const auto order = SortTraces(*rows, {0, 1, 2, 3}).ValueOrDie();
    ASSERT_EQ(std::set<uint32_t>(order.begin(), order.end()).size(), spans.size());

    // What the promise needs to know of each trace, worked out naively.
    std::map<int, std::pair<std::string, int64_t>> place;
    for (const Span& s : spans) {
      const Span* root = nullptr;
      int64_t first = s.time;
      for (const Span& other : spans) {
        if (other.trace != s.trace) continue;
        first = std::min(first, other.time);
        if (root == nullptr || std::pair(!other.root, other.time) < std::pair(!root->root, root->time)) root = &other;
      }
      place[s.trace] = {root->service, first};
    }
    std::set<int> closed;
    for (size_t i = 1; i < order.size(); ++i) {
      const Span& a = spans[order[i - 1]];
      const Span& b = spans[order[i]];
      if (a.trace == b.trace) {
        EXPECT_LE(a.time, b.time);
        continue;
      }
      EXPECT_TRUE(closed.insert(a.trace).second) << "trace " << a.trace << " lies in two places";
      EXPECT_FALSE(closed.contains(b.trace));
      EXPECT_LE(place[a.trace], place[b.trace]);
    }
  }
}

}  // namespace
}  // namespace sheaf::columns
