#include "store/log_payload.h"

#include <cstring>
#include <random>
#include <string>
#include <utility>

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "columns/random_testing.h"
#include "decode/schemas.h"
#include "store/testing.h"

namespace sheaf::store {
namespace {

constexpr int64_t kBytesMax = int64_t{64} << 20;

PayloadRows RowsOf(decode::Signal signal, int64_t rows, std::mt19937_64* random) {
  const auto& schema = decode::SignalSchema(signal);
  return {TableId(static_cast<uint64_t>(signal) + 1), 3, BatchCodec::Make(schema).ValueOrDie(), RandomBatch(schema, rows, random)};
}

bool PointsInto(const arrow::ArrayData& data, const arrow::Buffer& bytes) {
  for (const auto& buffer : data.buffers) {
    if (buffer == nullptr || buffer->size() == 0) continue;
    if (buffer->data() < bytes.data() || buffer->data() + buffer->size() > bytes.data() + bytes.size()) return false;
  }
  for (const auto& child : data.child_data) {
    if (!PointsInto(*child, bytes)) return false;
  }
  return data.dictionary == nullptr || PointsInto(*data.dictionary, bytes);
}

TEST(LogPayload, EveryReadyTableComesBackEqualWrittenAndReadBack) {
  std::mt19937_64 random(7);
  for (int signal = 0; signal < decode::kSignals; ++signal) {
    for (const int64_t rows : {1, 2, 100, 1000}) {
      SCOPED_TRACE(std::to_string(signal) + ", rows " + std::to_string(rows));
      const PayloadRows given = RowsOf(static_cast<decode::Signal>(signal), rows, &random);
      EXPECT_TRUE(given.codec->can_rebase());
      const EncodedPayload encoded = EncodePayload({given}, kBytesMax).ValueOrDie();
      ASSERT_EQ(encoded.tables.size(), 1u);
      EXPECT_TRUE(encoded.tables[0].batch->ValidateFull().ok());
      EXPECT_TRUE(encoded.tables[0].batch->Equals(*given.batch));
      for (const auto& column : encoded.tables[0].batch->column_data()) EXPECT_TRUE(PointsInto(*column, *encoded.bytes));

      const auto sections = SplitPayload(encoded.bytes).ValueOrDie();
      ASSERT_EQ(sections.size(), 1u);
      EXPECT_EQ(sections[0].schema_version, 3u);
      const auto read = DecodeSection(sections[0], *given.codec).ValueOrDie();
      EXPECT_TRUE(read->Equals(*given.batch));
      for (const auto& column : read->column_data()) EXPECT_TRUE(PointsInto(*column, *encoded.bytes));
    }
  }
}

/// Of some types Arrow's reader makes the rows that become visible, as the log's own code does not know how they lie.
TEST(LogPayload, RowsOfEveryTypeComeBackEqual) {
  std::mt19937_64 random(17);
  const auto bytes = arrow::dictionary(arrow::int32(), arrow::binary());
  const std::pair<std::shared_ptr<arrow::DataType>, bool> types[] = {
      {arrow::map(arrow::utf8(), arrow::int64()), false}, {arrow::list(arrow::map(arrow::utf8(), arrow::utf8())), false},
      {arrow::struct_({arrow::field("m", arrow::map(arrow::utf8(), arrow::int8())), arrow::field("n", arrow::int8())}), false},
      {arrow::dictionary(arrow::int32(), arrow::fixed_size_binary(3)), false}, {bytes, true},
      {arrow::dictionary(arrow::int32(), arrow::int64()), true}, {arrow::null(), true}, {arrow::decimal128(10, 2), true},
      {arrow::fixed_size_list(arrow::int32(), 3), true}, {arrow::fixed_size_binary(5), true}, {arrow::boolean(), true}};
  for (const auto& [type, rebases] : types) {
    const auto schema = arrow::schema({arrow::field("n", arrow::int64(), false), arrow::field("c", type), arrow::field("d", bytes)});
    for (const int64_t rows : {1, 50}) {
      SCOPED_TRACE(type->ToString());
      const auto numbers = arrow::MakeArrayFromScalar(arrow::Int64Scalar(rows), rows).ValueOrDie();
      const auto some = columns::RandomBatch(arrow::schema({schema->field(2)}), rows, &random)->column(0);
      const bool made = type->id() != arrow::Type::DICTIONARY && type->id() != arrow::Type::NA;
      const auto column = made ? columns::RandomBatch(arrow::schema({schema->field(1)}), rows, &random)->column(0)
                               : arrow::MakeArrayOfNull(type, rows).ValueOrDie();
      const PayloadRows given = {TableId(1), 3, BatchCodec::Make(schema).ValueOrDie(),
                                 arrow::RecordBatch::Make(schema, rows, {numbers, column, some})};
      EXPECT_EQ(given.codec->can_rebase(), rebases);
      const EncodedPayload encoded = EncodePayload({given}, kBytesMax).ValueOrDie();
      EXPECT_TRUE(encoded.tables[0].batch->ValidateFull().ok());
      EXPECT_TRUE(encoded.tables[0].batch->Equals(*given.batch));
      const auto sections = SplitPayload(encoded.bytes).ValueOrDie();
      EXPECT_TRUE(DecodeSection(sections[0], *given.codec).ValueOrDie()->Equals(*given.batch));
    }
  }
}

TEST(LogPayload, HeadersThatMakeNoSenseAreTold) {
  std::mt19937_64 random(18);
  const PayloadRows given = RowsOf(decode::Signal::kLogs, 2, &random);
  const std::string whole = EncodePayload({given}, kBytesMax).ValueOrDie().bytes->ToString();
  const auto with = [&](size_t at, char value, size_t more = 0) {
    std::string bytes = whole + std::string(more, '\0');
    bytes[at] = value;
    const auto payload = arrow::Buffer::FromString(bytes);
    EXPECT_FALSE(AsSingleItem(*payload).has_value());
    return KindOf(SplitPayload(payload).status());
  };
  EXPECT_EQ(with(0, 'x'), ErrorKind::kCorruption) << "not rows";
  EXPECT_EQ(with(4, 0), ErrorKind::kCorruption) << "no version";
  EXPECT_EQ(with(4, 9), ErrorKind::kUnsupported) << "a newer version";
  EXPECT_EQ(with(7, 0x7f), ErrorKind::kCorruption) << "too many tables";
  EXPECT_EQ(with(40, 1), ErrorKind::kCorruption) << "a length that is no multiple";
  EXPECT_EQ(with(0, whole[0], 64), ErrorKind::kCorruption) << "bytes behind the last table";
  EXPECT_EQ(KindOf(SplitPayload(arrow::Buffer::FromString("SHPL")).status()), ErrorKind::kCorruption);
  EXPECT_FALSE(AsSingleItem(*arrow::Buffer::FromString("SHPL")).has_value());
  const auto sections = SplitPayload(arrow::Buffer::FromString(whole)).ValueOrDie();
  PayloadSection empty = sections[0];
  empty.messages = arrow::Buffer::FromString(std::string(64, '\0'));
  EXPECT_EQ(KindOf(DecodeSection(empty, *given.codec).status()), ErrorKind::kCorruption) << "no rows at all";
}

TEST(LogPayload, SlicedBatchesAreWrittenWithoutTheRest) {
  std::mt19937_64 random(8);
  PayloadRows given = RowsOf(decode::Signal::kTraces, 1000, &random);
  const int64_t whole = EncodePayload({given}, kBytesMax).ValueOrDie().bytes->size();
  given.batch = given.batch->Slice(501, 100);
  const EncodedPayload encoded = EncodePayload({given}, kBytesMax).ValueOrDie();
  EXPECT_LT(encoded.bytes->size(), whole / 4);
  EXPECT_TRUE(encoded.tables[0].batch->Equals(*given.batch));
  const auto sections = SplitPayload(encoded.bytes).ValueOrDie();
  EXPECT_TRUE(DecodeSection(sections[0], *given.codec).ValueOrDie()->Equals(*given.batch));
}

TEST(LogPayload, SeveralTablesShareOneEntry) {
  std::mt19937_64 random(9);
  std::vector<PayloadRows> given;
  for (int signal = 0; signal < decode::kSignals; ++signal) given.push_back(RowsOf(static_cast<decode::Signal>(signal), 20, &random));
  const EncodedPayload encoded = EncodePayload(given, kBytesMax).ValueOrDie();
  const auto sections = SplitPayload(encoded.bytes).ValueOrDie();
  ASSERT_EQ(sections.size(), given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    EXPECT_EQ(sections[i].table, given[i].table);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(sections[i].messages->data()) % 64, 0u);
    EXPECT_TRUE(DecodeSection(sections[i], *given[i].codec).ValueOrDie()->Equals(*given[i].batch));
  }
}

TEST(LogPayload, PackedRowsAndConditionsComeBackAsWritten) {
  std::mt19937_64 random(12);
  const std::vector<std::string> items = {"first", "", std::string(1000, 'x')};
  PayloadRows keys;
  keys.table = TableId(7);
  keys.op = RowOp::kDelete;
  keys.form = SectionForm::kKeys;
  for (const std::string& item : items) keys.packed.push_back(item);
  keys.condition.unchanged_since = Lsn(99);
  const PayloadRows rows = RowsOf(decode::Signal::kLogs, 20, &random);
  const EncodedPayload encoded = EncodePayload({keys, rows}, kBytesMax).ValueOrDie();
  const auto sections = SplitPayload(encoded.bytes).ValueOrDie();
  ASSERT_EQ(sections.size(), 2u);
  EXPECT_EQ(sections[0].op, RowOp::kDelete);
  EXPECT_EQ(sections[0].form, SectionForm::kKeys);
  EXPECT_EQ(sections[0].condition.unchanged_since, Lsn(99));
  EXPECT_FALSE(sections[0].condition.expected);
  EXPECT_FALSE(sections[1].condition);
  const auto packed = DecodePacked(sections[0]).ValueOrDie();
  EXPECT_EQ(std::vector<std::string>(packed.begin(), packed.end()), items);
  EXPECT_TRUE(DecodeSection(sections[1], *rows.codec).ValueOrDie()->Equals(*rows.batch));

  const std::string_view row[] = {"a row's bytes"};
  const auto single = EncodePacked(TableId(7), 4, RowOp::kInsert, SectionForm::kRows, row, {.expected = Lsn(0)}).ValueOrDie();
  EXPECT_TRUE(FirstPacked(*single).starts_with(row[0]));
  const auto section = SplitPayload(single).ValueOrDie().front();
  EXPECT_EQ(section.op, RowOp::kInsert);
  EXPECT_EQ(section.schema_version, 4u);
  EXPECT_EQ(section.condition.expected, Lsn(0));
  EXPECT_EQ(DecodePacked(section).ValueOrDie().front(), row[0]);
}

TEST(LogPayload, OneRowTakesItsBytesAndSixteen) {
  const std::string row = "a row's bytes";
  const std::string_view items[] = {row};
  for (const auto [op, form] : {std::pair(RowOp::kPut, SectionForm::kRows), std::pair(RowOp::kInsert, SectionForm::kRows),
                                std::pair(RowOp::kDelete, SectionForm::kKeys)}) {
    const auto bytes = EncodePacked(TableId(7), 4, op, form, items, {}).ValueOrDie();
    EXPECT_EQ(bytes->size(), 16 + static_cast<int64_t>(row.size()));
    EXPECT_EQ(FirstPacked(*bytes), row);
    const auto sections = SplitPayload(bytes).ValueOrDie();
    ASSERT_EQ(sections.size(), 1u);
    EXPECT_EQ(sections[0].table, TableId(7));
    EXPECT_EQ(sections[0].schema_version, 4u);
    EXPECT_EQ(sections[0].rows, 1);
    EXPECT_EQ(sections[0].op, op);
    EXPECT_EQ(sections[0].form, form);
    EXPECT_FALSE(sections[0].condition);
    EXPECT_EQ(DecodePacked(sections[0]).ValueOrDie(), std::vector<std::string_view>{row});
  }
}

TEST(LogPayload, OneRowOfATableWithALargeNumberHasTheLongHeader) {
  const std::string_view items[] = {"row"};
  const TableId table(uint64_t{1} << 32);
  const auto bytes = EncodePacked(table, 1, RowOp::kPut, SectionForm::kRows, items, {}).ValueOrDie();
  const auto sections = SplitPayload(bytes).ValueOrDie();
  EXPECT_EQ(sections.front().table, table);
  EXPECT_EQ(DecodePacked(sections.front()).ValueOrDie().front(), "row");
}

TEST(LogPayload, OneRowWithAnUnknownOperationIsOfANewerProgram) {
  const std::string_view items[] = {"row"};
  const auto bytes = EncodePacked(TableId(1), 1, RowOp::kPut, SectionForm::kRows, items, {}).ValueOrDie();
  for (const auto [operation, form] : {std::pair(9, 1), std::pair(0, 0), std::pair(0, 3)}) {
    bytes->mutable_data()[6] = static_cast<uint8_t>(operation);
    bytes->mutable_data()[7] = static_cast<uint8_t>(form);
    EXPECT_EQ(KindOf(SplitPayload(bytes).status()), ErrorKind::kUnsupported) << operation << " " << form;
  }
}

TEST(LogPayload, DamageOfPackedRowsIsAnErrorOrItemsInside) {
  std::mt19937_64 random(13);
  const std::string_view items[] = {"one", "two", "a longer third one"};
  const auto bytes = EncodePacked(TableId(1), 1, RowOp::kDelete, SectionForm::kKeys, items, {}).ValueOrDie();
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::shared_ptr<arrow::Buffer> copy = arrow::AllocateBuffer(bytes->size()).ValueOrDie();
    std::memcpy(copy->mutable_data(), bytes->data(), static_cast<size_t>(bytes->size()));
    copy->mutable_data()[random() % static_cast<uint64_t>(copy->size())] ^= static_cast<uint8_t>(1 + random() % 255);
    const auto sections = SplitPayload(copy);
    const auto packed = sections.ok() && !sections->empty() ? DecodePacked(sections->front())
                                                            : Result<std::vector<std::string_view>>(Status::Invalid("split"));
    refused += packed.ok() ? 0 : 1;
    for (const std::string_view item : packed.ok() ? *packed : std::vector<std::string_view>()) {
      EXPECT_GE(reinterpret_cast<const uint8_t*>(item.data()), copy->data());
      EXPECT_LE(reinterpret_cast<const uint8_t*>(item.data()) + item.size(), copy->data() + copy->size());
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(LogPayload, RefusesWhatTheLogCannotHold) {
  std::mt19937_64 random(10);
  const auto refused = EncodePayload({RowsOf(decode::Signal::kTraces, 1000, &random)}, 10'000);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kTooLarge);
}

/// Flips bytes and cuts ends: the answer is an error or a valid batch, never a crash.
TEST(LogPayload, DamageIsAnErrorOrAValidBatch) {
  std::mt19937_64 random(11);
  const PayloadRows given = RowsOf(decode::Signal::kTraces, 3, &random);
  const EncodedPayload encoded = EncodePayload({given}, kBytesMax).ValueOrDie();
  int refused = 0;
  const auto Try = [&](std::shared_ptr<arrow::Buffer> bytes) {
    const auto sections = SplitPayload(bytes);
    if (!sections.ok() || sections->empty()) return void(++refused);
    const auto batch = DecodeSection(sections->front(), *given.codec);
    if (!batch.ok()) {
      EXPECT_EQ(KindOf(batch.status()), ErrorKind::kCorruption) << batch.status().ToString();
      return void(++refused);
    }
    EXPECT_TRUE((*batch)->ValidateFull().ok());
  };
  for (int64_t length = 0; length < encoded.bytes->size(); length += 61) Try(arrow::SliceBuffer(encoded.bytes, 0, length));
  for (int round = 0; round < 3000; ++round) {
    std::shared_ptr<arrow::Buffer> copy = arrow::AllocateBuffer(encoded.bytes->size()).ValueOrDie();
    std::memcpy(copy->mutable_data(), encoded.bytes->data(), static_cast<size_t>(encoded.bytes->size()));
    copy->mutable_data()[random() % static_cast<uint64_t>(copy->size())] ^= static_cast<uint8_t>(1 + random() % 255);
    Try(copy);
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace sheaf::store
