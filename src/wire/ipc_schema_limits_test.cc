#include "wire/ipc_schema_limits.h"

#include <cstring>
#include <string>

#include <arrow/api.h>
#include <arrow/ipc/writer.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::wire {
namespace {

using testing::HasSubstr;

std::string StreamOf(const arrow::Schema& schema) { return arrow::ipc::SerializeSchema(schema).ValueOrDie()->ToString(); }

std::string HeaderOf(const arrow::Schema& schema) { return StreamOf(schema).substr(8); }

template <typename T>
T Load(const std::string& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// Where the field in `slot` of the table at `table` stands.
size_t Place(const std::string& bytes, size_t table, size_t slot) {
  const size_t vtable = table - static_cast<size_t>(static_cast<ptrdiff_t>(Load<int32_t>(bytes, table)));
  return table + Load<uint16_t>(bytes, vtable + 4 + 2 * slot);
}

/// A header of `fields` fields that are all the first one of `schema`: a copy, the list of fields, another copy.
std::string Repeated(const arrow::Schema& schema, uint32_t fields) {
  std::string header = HeaderOf(schema);
  header.resize((header.size() + 7) / 8 * 8);
  const size_t message = Load<uint32_t>(header, 0);
  const size_t top = Place(header, message, 2);
  const size_t list = Place(header, top + Load<uint32_t>(header, top), 1);
  const size_t vector = list + Load<uint32_t>(header, list);
  const size_t first = vector + 4 + Load<uint32_t>(header, vector + 4);
  const std::string copy = header;
  const size_t begin = header.size();
  const size_t second = begin + (4 + 4 * size_t{fields} + 7) / 8 * 8;
  const auto append = [&header](size_t value) {
    const auto word = static_cast<uint32_t>(value);
    header.append(reinterpret_cast<const char*>(&word), sizeof word);
  };
  append(fields);
  for (uint32_t i = 0; i < fields; ++i) append(second + first - header.size());
  header.resize(second);
  header += copy;
  const auto to_list = static_cast<uint32_t>(begin - list);
  std::memcpy(header.data() + list, &to_list, sizeof to_list);
  return header;
}

TEST(IpcSchemaLimits, SchemasAsTheyAreWrittenPass) {
  arrow::FieldVector fields;
  for (int i = 0; i < 900; ++i) fields.push_back(arrow::field("column " + std::to_string(i), arrow::list(arrow::int64())));
  fields.push_back(arrow::field("t", arrow::timestamp(arrow::TimeUnit::NANO, "Europe/Berlin"), true,
                                arrow::key_value_metadata({"key"}, {std::string(100'000, 'x')})));
  fields.push_back(arrow::field("u", arrow::dense_union({arrow::field("a", arrow::int8())})));
  fields.push_back(arrow::field("d", arrow::dictionary(arrow::int8(), arrow::utf8())));
  const Status all = CheckIpcStreamSchema(StreamOf(*arrow::schema(fields, arrow::key_value_metadata({"a"}, {"b"}))));
  EXPECT_TRUE(all.ok()) << all.message();
  EXPECT_TRUE(CheckIpcHeader(HeaderOf(*arrow::schema({}))).ok());
}

TEST(IpcSchemaLimits, ASmallHeaderThatNamesMuchIsRefused) {
  const std::string name(100'000, 'a');
  EXPECT_EQ(KindOf(CheckIpcHeader(Repeated(*arrow::schema({arrow::field(name, arrow::null())}), 1000))), ErrorKind::kTooLarge);
  const auto metadata = arrow::key_value_metadata({"k"}, {name});
  EXPECT_EQ(KindOf(CheckIpcHeader(Repeated(*arrow::schema({arrow::field("n", arrow::null(), true, metadata)}), 1000))),
            ErrorKind::kTooLarge);
  const auto zone = arrow::timestamp(arrow::TimeUnit::NANO, name);
  EXPECT_EQ(KindOf(CheckIpcHeader(Repeated(*arrow::schema({arrow::field("t", zone)}), 1000))), ErrorKind::kTooLarge);
  EXPECT_TRUE(CheckIpcHeader(Repeated(*arrow::schema({arrow::field("n", arrow::null())}), 1000)).ok()) << "it asks for little";
}

TEST(IpcSchemaLimits, FieldsAndLevelsHaveALimit) {
  const auto small = arrow::schema({arrow::field("n", arrow::null())});
  EXPECT_TRUE(CheckIpcHeader(Repeated(*small, kIpcSchemaFieldsMax)).ok());
  EXPECT_THAT(CheckIpcHeader(Repeated(*small, kIpcSchemaFieldsMax + 1)).message(), HasSubstr("more than 2000 fields"));
  auto deep = arrow::int64();
  for (int i = 1; i < kIpcSchemaDepthMax; ++i) deep = arrow::list(deep);
  EXPECT_TRUE(CheckIpcHeader(HeaderOf(*arrow::schema({arrow::field("d", deep)}))).ok());
  EXPECT_THAT(CheckIpcHeader(HeaderOf(*arrow::schema({arrow::field("d", arrow::list(deep))}))).message(), HasSubstr("nested"));
}

TEST(IpcSchemaLimits, DamagedHeadersAreErrorsOrReadAsSomething) {
  const std::string header = HeaderOf(*arrow::schema({arrow::field("n", arrow::list(arrow::utf8()))}));
  for (size_t at = 0; at < header.size(); ++at) {
    std::string damaged = header;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    (void)CheckIpcHeader(damaged);  // What reads beyond its bytes the sanitizers tell.
    EXPECT_FALSE(CheckIpcStreamSchema(StreamOf(*arrow::schema({})).substr(0, at % 9)).ok());
  }
}

}  // namespace
}  // namespace sheaf::wire
