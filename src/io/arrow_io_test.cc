#include "io/arrow_io.h"

#include <string>

#include <arrow/api.h>
#include <arrow/ipc/api.h>
#include <gtest/gtest.h>

#include "io/sim_testing.h"

namespace sheaf::io {
namespace {

class ArrowIoTest : public testing::Test {
 protected:
  ArrowIoTest() { EXPECT_TRUE(disk_.MakeDirectories("/d").ok()); }

  SimFileSystem disk_;
};

TEST_F(ArrowIoTest, SmallAndLargeWritesLandInOrder) {
  const auto file = disk_.Open("/d/a", OpenMode::kCreate).ValueOrDie();
  const auto stream = MakeOutputStream(file.get(), 3);
  std::string want(3, '\0');
  for (const size_t length : {size_t{1}, size_t{100}, size_t{3} << 20, size_t{0}, size_t{1} << 20, size_t{7}}) {
    const std::string piece(length, static_cast<char>('a' + length % 26));
    ASSERT_TRUE(stream->Write(piece).ok());
    want += piece;
    EXPECT_EQ(stream->Tell().ValueOrDie(), static_cast<int64_t>(want.size()) - 3);
  }
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_TRUE(stream->closed());
  EXPECT_EQ(KindOf(stream->Write("x", 1)), ErrorKind::kInvalid);
  EXPECT_EQ(disk_.Contents("/d/a").ValueOrDie(), want);
}

TEST_F(ArrowIoTest, StreamDoesNotSync) {
  const auto file = disk_.Open("/d/a", OpenMode::kCreate).ValueOrDie();
  disk_.Record(true);
  const auto stream = MakeOutputStream(file.get());
  ASSERT_TRUE(stream->Write("x", 1).ok());
  ASSERT_TRUE(stream->Flush().ok());
  ASSERT_TRUE(stream->Close().ok());
  for (const SimOperation& operation : disk_.recorded()) EXPECT_NE(operation.kind, SimOp::kSync);
}

TEST_F(ArrowIoTest, ReaderSeeksAndStopsAtTheEnd) {
  disk_.SetContents("/d/a", "0123456789");
  const auto reader = MakeRandomAccessFile(disk_.Open("/d/a", OpenMode::kRead).ValueOrDie()).ValueOrDie();
  EXPECT_EQ(reader->GetSize().ValueOrDie(), 10);
  EXPECT_EQ(reader->ReadAt(8, 5).ValueOrDie()->ToString(), "89");
  EXPECT_EQ(reader->ReadAt(20, 5).ValueOrDie()->size(), 0);
  ASSERT_TRUE(reader->Seek(4).ok());
  EXPECT_EQ(reader->Read(3).ValueOrDie()->ToString(), "456");
  EXPECT_EQ(reader->Tell().ValueOrDie(), 7);
  EXPECT_EQ(KindOf(reader->Seek(11)), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(reader->ReadAt(-1, 5).status()), ErrorKind::kInvalid);
}

TEST_F(ArrowIoTest, ReaderNeverAllocatesMoreThanTheFileHolds) {
  disk_.SetContents("/d/a", "0123456789");
  const auto reader = MakeRandomAccessFile(disk_.Open("/d/a", OpenMode::kRead).ValueOrDie()).ValueOrDie();
  EXPECT_EQ(reader->ReadAt(0, int64_t{1} << 60).ValueOrDie()->size(), 10);
}

TEST_F(ArrowIoTest, IpcFileGoesRound) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < 1'000; ++i) ASSERT_TRUE(builder.Append(i * i).ok());
  const auto schema = arrow::schema({arrow::field("n", arrow::int64())});
  const auto batch = arrow::RecordBatch::Make(schema, 1'000, {builder.Finish().ValueOrDie()});
  const auto file = disk_.Open("/d/a", OpenMode::kCreate).ValueOrDie();
  const auto stream = MakeOutputStream(file.get());
  const auto writer = arrow::ipc::MakeFileWriter(stream, schema).ValueOrDie();
  ASSERT_TRUE(writer->WriteRecordBatch(*batch).ok());
  ASSERT_TRUE(writer->Close().ok());
  ASSERT_TRUE(stream->Close().ok());
  const auto input = MakeRandomAccessFile(disk_.Open("/d/a", OpenMode::kRead).ValueOrDie()).ValueOrDie();
  const auto reader = arrow::ipc::RecordBatchFileReader::Open(input).ValueOrDie();
  EXPECT_TRUE(reader->ReadRecordBatch(0).ValueOrDie()->Equals(*batch));
}

}  // namespace
}  // namespace sheaf::io
