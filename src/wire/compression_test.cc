#include "wire/compression.h"

#include <chrono>
#include <random>

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

namespace sheaf::wire {
namespace {

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string Text(size_t bytes) {
  std::mt19937_64 random(7);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>('a' + random() % 20);
  return text;
}

class EveryEncoding : public testing::TestWithParam<Encoding> {};
INSTANTIATE_TEST_SUITE_P(Wire, EveryEncoding, testing::Values(Encoding::kIdentity, Encoding::kGzip, Encoding::kDeflate, Encoding::kZstd),
                         [](const auto& info) { return std::string(EncodingName(info.param)); });

TEST_P(EveryEncoding, InflatesWhatWasCompressed) {
  for (const size_t size : {0, 1, 255, 256, 257, 100'000, 5'000'000}) {
    const std::string text = Text(size);
    const std::string packed = Compress(GetParam(), text).ValueOrDie();
    const Result<ByteBuffer> back = Inflate(GetParam(), Bytes(packed), {});
    ASSERT_TRUE(back.ok()) << size << ": " << back.status().ToString();
    EXPECT_EQ(back->view(), text);
  }
}

TEST_P(EveryEncoding, InflatesWhatWasCompressedInPieces) {
  const std::string text = Text(300'000);
  auto compressor = StreamCompressor::Make(GetParam()).ValueOrDie();
  std::string packed;
  for (size_t at = 0; at < text.size(); at += 1000) {
    packed += compressor->Push(std::string_view(text).substr(at, 1000), at + 1000 >= text.size()).ValueOrDie();
  }
  EXPECT_EQ(Inflate(GetParam(), Bytes(packed), {}).ValueOrDie().view(), text);
}

TEST_P(EveryEncoding, AllowsExactlyTheLimit) {
  const std::string text = Text(10'000);
  const std::string packed = Compress(GetParam(), text).ValueOrDie();
  EXPECT_TRUE(Inflate(GetParam(), Bytes(packed), {.bytes_max = 10'000}).ok());
  EXPECT_EQ(KindOf(Inflate(GetParam(), Bytes(packed), {.bytes_max = 9'999}).status()), ErrorKind::kTooLarge);
}

class EveryCompression : public testing::TestWithParam<Encoding> {};
INSTANTIATE_TEST_SUITE_P(Wire, EveryCompression, testing::Values(Encoding::kGzip, Encoding::kDeflate, Encoding::kZstd),
                         [](const auto& info) { return std::string(EncodingName(info.param)); });

TEST_P(EveryCompression, RefusesEveryTruncation) {
  const std::string packed = Compress(GetParam(), Text(2000)).ValueOrDie();
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_EQ(KindOf(Inflate(GetParam(), Bytes(packed).first(size), {}).status()), ErrorKind::kInvalid) << size;
  }
}

TEST_P(EveryCompression, RefusesABombQuickly) {
  const std::string bomb = Compress(GetParam(), std::string(size_t{1} << 30, '\0')).ValueOrDie();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(KindOf(Inflate(GetParam(), Bytes(bomb), {}).status()), ErrorKind::kTooLarge);
  const std::string_view small = std::string_view(bomb).substr(0, 10'000);
  int64_t reserved = 0;
  const auto count = [&](int64_t total) {
    reserved = total;
    return true;
  };
  EXPECT_FALSE(Inflate(GetParam(), Bytes(small), {}, count).ok());
  EXPECT_LE(reserved, kRatioFreeBytes);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));  // Under sanitizers; 0.1 s without.
}

TEST_P(EveryEncoding, AsksBeforeItGrows) {
  const std::string packed = Compress(GetParam(), Text(100'000)).ValueOrDie();
  EXPECT_EQ(KindOf(Inflate(GetParam(), Bytes(packed), {}, [](int64_t total) { return total < 50'000; }).status()), ErrorKind::kThrottled);
}

TEST(Compression, ReadsSeveralGzipMembersAndZstdFrames) {
  for (const Encoding encoding : {Encoding::kGzip, Encoding::kZstd}) {
    const std::string packed = Compress(encoding, "one ").ValueOrDie() + Compress(encoding, "two").ValueOrDie();
    EXPECT_EQ(Inflate(encoding, Bytes(packed), {}).ValueOrDie().view(), "one two");
    EXPECT_FALSE(Inflate(encoding, Bytes(packed + "tail"), {}).ok());
  }
}

TEST(Compression, ReadsRawDeflateToo) {
  const std::string zlib = Compress(Encoding::kDeflate, "raw deflate").ValueOrDie();
  const std::string_view raw = std::string_view(zlib).substr(2, zlib.size() - 6);
  EXPECT_EQ(Inflate(Encoding::kDeflate, Bytes(raw), {}).ValueOrDie().view(), "raw deflate");
}

TEST(Compression, RefusesAZstdWindowOverEightMebibytes) {
  const std::string text = Text(40 << 20);
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 25);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ZSTD_inBuffer in{text.data(), text.size(), 0};
  ZSTD_outBuffer out{packed.data(), packed.size(), 0};
  ASSERT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  EXPECT_EQ(KindOf(Inflate(Encoding::kZstd, Bytes(std::string_view(packed).substr(0, out.pos)), {}).status()), ErrorKind::kInvalid);
}

TEST(Compression, KnowsItsNames) {
  EXPECT_EQ(ParseEncoding(""), Encoding::kIdentity);
  EXPECT_EQ(ParseEncoding("gzip"), Encoding::kGzip);
  EXPECT_EQ(ParseEncoding("zstdarrow10"), Encoding::kZstd);
  for (const char* name : {"br", "zstdarrow", "zstdarrow11", "zstdarrow1x", "gzip, gzip"}) EXPECT_EQ(ParseEncoding(name), std::nullopt);
}

TEST(Compression, ChoosesTheBestThatIsAccepted) {
  EXPECT_EQ(ChooseEncoding("gzip, deflate, br, zstd"), Encoding::kZstd);
  EXPECT_EQ(ChooseEncoding("deflate, gzip;q=0.5"), Encoding::kGzip);
  EXPECT_EQ(ChooseEncoding("gzip;q=0, deflate"), Encoding::kDeflate);
  EXPECT_EQ(ChooseEncoding("br, *"), Encoding::kIdentity);
  EXPECT_EQ(ChooseEncoding(""), Encoding::kIdentity);
}

}  // namespace
}  // namespace sheaf::wire
