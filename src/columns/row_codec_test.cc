#include "columns/row_codec.h"

#include <cstring>

#include <arrow/array/builder_binary.h>
#include <gtest/gtest.h>

#include "columns/key_codec.h"
#include "columns/random_testing.h"

namespace sheaf::columns {
namespace {

using arrow::field;

/// Every type that a compact row can have.
std::shared_ptr<arrow::Schema> FlatTypes() {
  arrow::FieldVector fields;
  const auto every = EveryType();
  for (const auto& f : every->fields()) {
    if (RowCodec::Make(arrow::schema({f})).ok()) fields.push_back(f);
  }
  return arrow::schema(fields);
}

std::shared_ptr<const RowCodec> CodecOf(arrow::FieldVector fields) {
  return RowCodec::Make(arrow::schema(std::move(fields))).ValueOrDie();
}

TEST(RowCodec, RowsOfEveryTypeComeBackAsTheyWere) {
  Random random(TestSeed());
  const auto schema = FlatTypes();
  ASSERT_GE(schema->num_fields(), 20);
  const auto codec = RowCodec::Make(schema).ValueOrDie();
  for (int round = 0; round < 20; ++round) {
    const auto batch = RandomBatch(schema, static_cast<int64_t>(random() % 50), &random);
    std::vector<std::string> bytes(static_cast<size_t>(batch->num_rows()));
    std::vector<std::string_view> rows;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      std::string& row = bytes[static_cast<size_t>(i)];
      row = "before";
      ASSERT_TRUE(codec->FromBatch(*batch, i, &row).ok());
      ASSERT_TRUE(row.starts_with("before"));
      rows.push_back(std::string_view(row).substr(6));
      const Status check = codec->Check(rows.back());
      ASSERT_TRUE(check.ok()) << check;
      for (int c = 0; c < schema->num_fields(); ++c) ASSERT_EQ(codec->IsNull(rows.back(), c), batch->column(c)->IsNull(i));
    }
    const auto back = codec->ToBatch(rows, arrow::default_memory_pool()).ValueOrDie();
    ASSERT_TRUE(back->ValidateFull().ok()) << back->ValidateFull();
    ASSERT_EQ(RowTexts({back}), RowTexts({batch}));
  }
}

TEST(RowCodec, ABuilderWritesWhatABatchWouldGive) {
  Random random(TestSeed());
  const auto schema = FlatTypes();
  const auto codec = RowCodec::Make(schema).ValueOrDie();
  RowBuilder builder(codec.get());
  const auto batch = RandomBatch(schema, 60, &random);
  for (int64_t i = 0; i < batch->num_rows(); ++i) {
    std::string row;
    ASSERT_TRUE(codec->FromBatch(*batch, i, &row).ok());
    if (random() % 2 == 0) builder.Clear();  // What is set again needs none.
    for (int c = 0; c < schema->num_fields(); ++c) {
      const std::string_view value = codec->Value(row, c);
      if (codec->IsNull(row, c)) {
        builder.SetNull(c);
      } else if (codec->columns()[static_cast<size_t>(c)].variable) {
        builder.SetText(c, value);
      } else {
        builder.SetFixed(c, value.data(), value.size());
      }
    }
    ASSERT_EQ(builder.Finish(), row);
  }
  builder.Clear();
  const std::string_view empty = builder.Finish();
  EXPECT_EQ(empty.size(), codec->min_bytes());
  for (int c = 0; c < schema->num_fields(); ++c) EXPECT_TRUE(codec->IsNull(empty, c));
}

TEST(RowCodec, LaysBytesOutAsTheFormatSays) {
  const auto codec = CodecOf({field("id", arrow::int64(), false), field("name", arrow::utf8()), field("on", arrow::boolean()),
                              field("blob", arrow::binary()), field("n", arrow::int16())});
  RowBuilder builder(codec.get());
  builder.Set<int64_t>(0, 0x0102030405060708);
  builder.SetText(1, "ab");
  builder.Set<uint8_t>(2, 1);
  builder.SetText(3, "cde");
  const std::string want(
      "\x10"
      "\x08\x07\x06\x05\x04\x03\x02\x01"
      "\x01"
      "\0\0"
      "\2\0\0\0"
      "\5\0\0\0"
      "abcde",
      25);
  EXPECT_EQ(builder.Finish(), want);
  EXPECT_TRUE(codec->Check(want).ok()) << codec->Check(want);
  EXPECT_EQ(codec->Value(want, 3), "cde");
  EXPECT_EQ(codec->null_bytes(), 1u);
  EXPECT_EQ(codec->min_bytes(), 20u);
}

TEST(RowCodec, GivesTheKeysThatTheBatchGives) {
  Random random(TestSeed());
  const auto schema = FlatTypes();
  const auto rows = RowCodec::Make(schema).ValueOrDie();
  std::vector<int> columns;
  arrow::FieldVector fields;
  for (int c = 0; c < schema->num_fields(); ++c) {
    fields.push_back(schema->field(c)->WithNullable(false));
    if (KeyCodec::Make(schema, {c}).ok()) columns.push_back(c);
  }
  ASSERT_GE(columns.size(), 15u);
  const auto keys = KeyCodec::Make(schema, columns).ValueOrDie();
  const auto batch = RandomBatch(arrow::schema(fields), 50, &random);
  const KeyColumn want = keys->Encode(*batch).ValueOrDie();
  for (int64_t i = 0; i < batch->num_rows(); ++i) {
    std::string row, key = "x";
    ASSERT_TRUE(rows->FromBatch(*batch, i, &row).ok());
    ASSERT_TRUE(keys->EncodeRow(*rows, row, &key).ok());
    ASSERT_EQ(key, "x" + std::string(want[i]));
  }
  RowBuilder builder(rows.get());
  std::string key;
  EXPECT_EQ(KindOf(keys->EncodeRow(*rows, builder.Finish(), &key)), ErrorKind::kInvalid);

  const auto text = CodecOf({field("k", arrow::utf8())});
  RowBuilder long_key(text.get());
  long_key.SetText(0, std::string(kKeyBytesMax + 1, 'x'));
  key = "as it was";
  EXPECT_EQ(KindOf(KeyCodec::Make(text->schema(), {0}).ValueOrDie()->EncodeRow(*text, long_key.Finish(), &key)),
            ErrorKind::kTooLarge);
  EXPECT_EQ(key, "as it was");
}

TEST(RowCodec, RefusesBytesThatAreNoRowAndNamesTheColumn) {
  const auto codec =
      CodecOf({field("id", arrow::int32(), false), field("name", arrow::utf8()), field("on", arrow::boolean()),
               field("blob", arrow::binary()), field("price", arrow::decimal128(4, 2)), field("day", arrow::date64()),
               field("at", arrow::time32(arrow::TimeUnit::SECOND)), field("at_ns", arrow::time64(arrow::TimeUnit::NANO))});
  RowBuilder builder(codec.get());
  const auto fill = [&] {
    builder.Clear();
    builder.Set<int32_t>(0, 7);
    builder.SetText(1, "ab");
    builder.SetText(3, "\xFF");
  };
  const auto refused = [&](std::string_view row, const std::string& column) {
    const Status check = codec->Check(row);
    return !check.ok() && KindOf(check) == ErrorKind::kInvalid && check.message().find(column) != std::string::npos;
  };
  fill();
  const std::string good(builder.Finish());
  ASSERT_TRUE(codec->Check(good).ok()) << codec->Check(good);
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(codec->Check(std::string_view(good).substr(0, n)).ok());
  EXPECT_TRUE(refused(good + "x", "behind"));
  EXPECT_TRUE(refused(std::string(kRowBytesMax + 1, '\0'), "bytes"));

  const auto changed = [&](const auto& change) {
    fill();
    change();
    return std::string(builder.Finish());
  };
  EXPECT_TRUE(refused(changed([&] { builder.SetNull(0); }), "'id'"));
  EXPECT_TRUE(refused(changed([&] { builder.SetText(1, "\xC3("); }), "'name'"));
  EXPECT_TRUE(refused(changed([&] { builder.Set<uint8_t>(2, 2); }), "'on'"));
  EXPECT_TRUE(refused(changed([&] { builder.Set<int64_t>(5, 1); }), "'day'"));
  EXPECT_TRUE(refused(changed([&] { builder.Set<int32_t>(6, 86'400); }), "'at'"));
  EXPECT_TRUE(refused(changed([&] { builder.Set<int64_t>(7, -1); }), "'at_ns'"));
  const int64_t price[2] = {10'000, 0};
  EXPECT_TRUE(refused(changed([&] { builder.SetFixed(4, price, sizeof price); }), "'price'"));

  std::string row = good;  // A value under a NULL.
  row[codec->columns()[2].offset] = 1;
  EXPECT_TRUE(refused(row, "'on'"));
  row = good;  // Text that ends before it begins, or outside.
  row[codec->columns()[3].offset] = 1;
  EXPECT_TRUE(refused(row, "'blob'"));
  row = good;
  row[codec->columns()[1].offset + 3] = 1;
  EXPECT_TRUE(refused(row, "'name'"));
  const auto three = CodecOf({field("a", arrow::int8()), field("b", arrow::int8()), field("c", arrow::int8())});
  EXPECT_TRUE(three->Check(std::string("\7\0\0\0", 4)).ok());
  EXPECT_FALSE(three->Check(std::string("\17\0\0\0", 4)).ok());
}

TEST(RowCodec, TakesFlatColumnsOnly) {
  for (const char* name : {"word", "numbers", "vector", "record"}) {
    const auto made = RowCodec::Make(arrow::schema({EveryType()->GetFieldByName(name)}));
    EXPECT_EQ(KindOf(made.status()), ErrorKind::kUnsupported) << name;
    EXPECT_NE(made.status().message().find(name), std::string::npos);
  }
  EXPECT_EQ(KindOf(RowCodec::Make(arrow::schema({field("wide", arrow::fixed_size_binary(17 << 20))})).status()),
            ErrorKind::kUnsupported);
}

TEST(RowCodec, RefusesARowThatIsTooLarge) {
  const auto codec = CodecOf({field("text", arrow::binary())});
  arrow::BinaryBuilder builder;
  ASSERT_TRUE(builder.Append(std::string(kRowBytesMax, 'x')).ok());
  const auto batch = arrow::RecordBatch::Make(codec->schema(), 1, {builder.Finish().ValueOrDie()});
  std::string row = "as it was";
  EXPECT_EQ(KindOf(codec->FromBatch(*batch, 0, &row)), ErrorKind::kTooLarge);
  EXPECT_EQ(row, "as it was");
}

TEST(RowCodec, HostileBytesNeverPassAsARowThatIsNone) {
  Random random(TestSeed());
  const auto schema = FlatTypes();
  const auto codec = RowCodec::Make(schema).ValueOrDie();
  const auto batch = RandomBatch(schema, 20, &random);
  int passed = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string row;
    ASSERT_TRUE(codec->FromBatch(*batch, static_cast<int64_t>(random() % 20), &row).ok());
    for (uint64_t n = random() % 4; n > 0; --n) row[random() % row.size()] = static_cast<char>(random());
    if (random() % 8 == 0) row.resize(random() % (row.size() + 20));
    if (!codec->Check(row).ok()) continue;
    ++passed;
    const std::string_view one = row;
    const auto back = codec->ToBatch({&one, 1}, arrow::default_memory_pool()).ValueOrDie();
    ASSERT_TRUE(back->ValidateFull().ok()) << back->ValidateFull();
    std::string again;
    ASSERT_TRUE(codec->FromBatch(*back, 0, &again).ok());
    ASSERT_EQ(again, row);
  }
  EXPECT_GT(passed, 100);
}

}  // namespace
}  // namespace sheaf::columns
