#include "wire/arrow_batch_message.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include "wire/arrow_ipc_writer.h"

namespace sheaf::wire {
namespace {

/// A value of a type, as JSON.
std::string ValueOf(const arrow::DataType& type, int64_t row) {
  const auto items = [&](int64_t n) {
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += (i == 0 ? "" : ",") + (i == 1 ? "null" : ValueOf(*type.field(0)->type(), row + i));
    return "[" + out + "]";
  };
  switch (type.id()) {
    case arrow::Type::NA: return "null";
    case arrow::Type::BOOL: return row % 3 == 0 ? "true" : "false";
    case arrow::Type::STRING:
    case arrow::Type::BINARY: return '"' + std::string(static_cast<size_t>(row % 20), 't') + '"';
    case arrow::Type::FIXED_SIZE_BINARY: return R"("fixed")";
    case arrow::Type::DECIMAL128: return '"' + std::to_string(row) + R"(.25")";
    case arrow::Type::DICTIONARY: return R"("word )" + std::to_string(row % 4) + '"';
    case arrow::Type::LIST: return items(row % 4);
    case arrow::Type::FIXED_SIZE_LIST: return items(3);
    case arrow::Type::STRUCT: {
      std::string out;
      for (const auto& field : type.fields()) out += (out.empty() ? "" : ",") + ValueOf(*field->type(), row);
      return "[" + out + "]";
    }
    default: return std::to_string(row % 100);
  }
}

/// An array of `rows` values, some NULL.
std::shared_ptr<arrow::Array> ArrayOf(const std::shared_ptr<arrow::DataType>& type, int64_t rows, bool nulls) {
  std::string json;
  for (int64_t row = 0; row < rows; ++row) json += (row == 0 ? "" : ",") + (nulls && row % 5 == 1 ? "null" : ValueOf(*type, row));
  return arrow::json::ArrayFromJSONString(type, "[" + json + "]").ValueOrDie();
}

std::shared_ptr<arrow::Schema> KnownTypes() {
  const auto words = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto nested = arrow::struct_({arrow::field("word", words), arrow::field("flag", arrow::boolean()),
                                      arrow::field("items", arrow::list(arrow::struct_({arrow::field("key", words)})))});
  const std::shared_ptr<arrow::DataType> types[] = {
      arrow::null(), arrow::boolean(), arrow::int64(), arrow::uint8(), arrow::float64(), arrow::utf8(), arrow::binary(),
      arrow::fixed_size_binary(5), arrow::decimal128(9, 2), words, arrow::list(arrow::utf8()),
      arrow::fixed_size_list(arrow::int64(), 3), nested};
  arrow::FieldVector fields;
  for (const auto& type : types) fields.push_back(arrow::field(type->ToString(), type));
  return arrow::schema(fields);
}

std::shared_ptr<arrow::RecordBatch> BatchOf(const std::shared_ptr<arrow::Schema>& schema, int64_t rows, bool nulls) {
  arrow::ArrayVector columns;
  for (const auto& field : schema->fields()) columns.push_back(ArrayOf(field->type(), rows, nulls));
  return arrow::RecordBatch::Make(schema, rows, columns);
}

void Append(const IpcMessage& message, std::string* out) {
  const size_t begin = out->size();
  out->resize(begin + static_cast<size_t>(MessageBytes(message)), '?');
  EXPECT_EQ(WriteMessage(message, out->data() + begin), out->data() + out->size());
}

TEST(ArrowBatchMessage, ArrowsReaderReadsEveryKnownType) {
  const auto schema = KnownTypes();
  std::string stream;
  ASSERT_TRUE(AppendIpcSchema(*schema, &stream).ok());
  arrow::RecordBatchVector given;
  IpcMessage message, dictionary;
  for (const int64_t rows : {0, 1, 7, 8, 100}) {
    for (const bool nulls : {false, true}) {
      given.push_back(BatchOf(schema, rows, nulls));
      std::vector<const arrow::ArrayData*> dictionaries;
      ASSERT_TRUE(MakeBatchMessage(*given.back(), &message, &dictionaries)) << rows;
      ASSERT_EQ(dictionaries.size(), 3u);
      for (size_t i = 0; i < dictionaries.size(); ++i) {
        ASSERT_TRUE(MakeDictionaryMessage(static_cast<int64_t>(i), *dictionaries[i], &dictionary));
        Append(dictionary, &stream);
      }
      Append(message, &stream);
    }
  }
  const auto reader =
      arrow::ipc::RecordBatchStreamReader::Open(std::make_shared<arrow::io::BufferReader>(std::make_shared<arrow::Buffer>(stream)))
          .ValueOrDie();
  for (const auto& batch : given) {
    std::shared_ptr<arrow::RecordBatch> got;
    ASSERT_TRUE(reader->ReadNext(&got).ok());
    ASSERT_NE(got, nullptr);
    EXPECT_TRUE(got->ValidateFull().ok()) << got->ValidateFull().ToString();
    EXPECT_TRUE(got->Equals(*batch)) << got->ToString();
  }
}

TEST(ArrowBatchMessage, LeavesSlicesAndOtherTypesToArrow) {
  const auto schema = KnownTypes();
  const auto batch = BatchOf(schema, 100, true);
  IpcMessage message;
  std::vector<const arrow::ArrayData*> dictionaries;
  EXPECT_FALSE(MakeBatchMessage(*batch->Slice(3), &message, &dictionaries)) << "it begins at an offset";
  EXPECT_FALSE(MakeBatchMessage(*batch->Slice(0, 50), &message, &dictionaries)) << "children are longer";
  EXPECT_FALSE(MakeDictionaryMessage(0, *ArrayOf(schema->field(9)->type(), 5, false)->data(), &message)) << "a dictionary of dictionaries";
  const std::shared_ptr<arrow::DataType> others[] = {arrow::large_utf8(), arrow::utf8_view(), arrow::map(arrow::utf8(), arrow::int64()),
                                                     arrow::large_list(arrow::int64())};
  for (const auto& type : others) {
    const auto column = arrow::MakeArrayOfNull(type, 4).ValueOrDie();
    const auto other = arrow::RecordBatch::Make(arrow::schema({arrow::field("c", type)}), 4, {column});
    EXPECT_FALSE(MakeBatchMessage(*other, &message, &dictionaries)) << type->ToString();
  }
}

TEST(ArrowBatchMessage, LeavesBuffersThatAreTooShortToArrow) {
  auto data = ArrayOf(arrow::int64(), 10, false)->data()->Copy();
  data->buffers[1] = arrow::SliceBuffer(data->buffers[1], 0, 79);
  IpcMessage message;
  EXPECT_FALSE(MakeDictionaryMessage(0, *data, &message));
  data->buffers[1] = nullptr;
  EXPECT_FALSE(MakeDictionaryMessage(0, *data, &message));
}

}  // namespace
}  // namespace sheaf::wire
