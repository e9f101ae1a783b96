#include "parts/blocks.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/sim_testing.h"
#include "parts/key_bounds.h"

namespace sheaf::parts {
namespace {

using testing::HasSubstr;

class Blocks : public testing::Test {
 protected:
  std::unique_ptr<io::File> Create(const std::string& path) { return disk_.Open(path, io::OpenMode::kCreate).ValueOrDie(); }

  io::SimFileSystem disk_;
};

/// Bytes that differ from block to block.
std::string SomeBytes(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 31 + i / kBlockBytes);
  return out;
}

TEST_F(Blocks, AStreamWritesAndSumsWhatPassesHoweverItComes) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{kBlockBytes}, size_t{1} << 20, (size_t{2} << 20) + 77}) {
    for (const size_t piece : {size_t{300'000}, size_t{4} << 20}) {
      const std::string path = fmt::format("/{}-{}", size, piece), bytes = SomeBytes(size);
      const auto file = Create(path);
      SummingStream stream(file.get());
      for (size_t at = 0; at < size; at += piece) {
        ASSERT_TRUE(stream.Write(bytes.data() + at, static_cast<int64_t>(std::min(piece, size - at))).ok());
      }
      EXPECT_EQ(stream.Tell().ValueOrDie(), static_cast<int64_t>(size));
      EXPECT_TRUE(stream.Flush().ok());
      EXPECT_FALSE(stream.closed());
      ASSERT_TRUE(stream.Close().ok());
      EXPECT_TRUE(stream.closed());
      ASSERT_TRUE(stream.Close().ok()) << "a second time does nothing";
      EXPECT_EQ(stream.sums(), BlockSums(bytes));
      EXPECT_EQ(disk_.Contents(path).ValueOrDie(), bytes);
    }
  }
}

TEST_F(Blocks, AWriteThatFailsIsToldByTheStream) {
  const std::string bytes = SomeBytes(size_t{1} << 20);
  const auto file = Create("/file");
  SummingStream stream(file.get());
  disk_.FailNth(io::SimOp::kWrite, 1, MakeError(ErrorKind::kUnavailable, "the disk is full"));
  EXPECT_EQ(KindOf(stream.Write(bytes.data(), static_cast<int64_t>(bytes.size()))), ErrorKind::kUnavailable);
  SummingStream small(file.get());
  ASSERT_TRUE(small.Write(bytes.data(), 10).ok());
  disk_.FailNth(io::SimOp::kWrite, 1, MakeError(ErrorKind::kIo, "injected"));
  EXPECT_EQ(KindOf(small.Close()), ErrorKind::kIo);
}

TEST_F(Blocks, EachIsCheckedOnceWhenFirstUsed) {
  const std::string good = SomeBytes(3 * kBlockBytes + 5);
  std::string bytes = good;
  const CheckedBytes checked(arrow::Buffer::Wrap(bytes.data(), bytes.size()), BlockSums(good), "file", 1000);
  bytes[kBlockBytes + 3] ^= 1;
  EXPECT_TRUE(checked.Check(0, kBlockBytes).ok());
  EXPECT_TRUE(checked.Check(kBlockBytes, 0).ok()) << "no bytes, nothing to check";
  EXPECT_TRUE(checked.Check(2 * kBlockBytes, kBlockBytes + 5).ok());
  const Status damaged = checked.Check(kBlockBytes - 1, 2);
  EXPECT_EQ(KindOf(damaged), ErrorKind::kCorruption);
  EXPECT_THAT(damaged.message(), testing::AllOf(HasSubstr("file: block 1"), HasSubstr("bytes 66536 to 132071")));
  EXPECT_EQ(KindOf(checked.CheckAll()), ErrorKind::kCorruption);
  bytes[kBlockBytes + 3] ^= 1;
  EXPECT_TRUE(checked.CheckAll().ok()) << "a failure is not remembered";
  bytes[kBlockBytes + 3] ^= 1;
  EXPECT_TRUE(checked.CheckAll().ok()) << "but that it was right";
  checked.ReadAhead(0, kBlockBytes);
  for (const auto& [offset, size] : {std::pair<int64_t, int64_t>{-1, 5}, {0, -1}, {3 * kBlockBytes, 6}}) checked.ReadAhead(offset, size);
}

TEST(KeyBounds, StandAtOrBesideTheirKeys) {
  const std::string kept(kKeyBoundBytesMax, 'k'), longer = kept + "more", high(kKeyBoundBytesMax, '\xFF');
  EXPECT_EQ(UpperKeyBound("key"), "key");
  EXPECT_EQ(UpperKeyBound(kept), kept);
  EXPECT_EQ(UpperKeyBound(longer), kept.substr(1) + "l");
  EXPECT_EQ(UpperKeyBound("a" + high), "b") << "what cannot be rounded up goes";
  EXPECT_EQ(UpperKeyBound(high + "x"), high + "x") << "nor can all of it: the key itself";
  EXPECT_EQ(LowerKeyBound(longer), kept);
  for (const std::string& key : {longer, "a" + high, high + "x"}) {
    EXPECT_LE(LowerKeyBound(key), key);
    EXPECT_GE(UpperKeyBound(key), key);
  }
}

}  // namespace
}  // namespace sheaf::parts
