#include "wire/grpc_frames.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::wire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Frame(std::string_view message, bool compressed = false) {
  std::string out;
  AppendGrpcFrame(compressed, message, &out);
  return out;
}

/// What comes of `bytes` in pieces of `step`.
Result<std::vector<std::string>> Read(std::string_view bytes, size_t step, Encoding encoding = Encoding::kIdentity,
                                      int64_t bytes_max = 1 << 20) {
  GrpcFrameReader reader(bytes_max);
  reader.SetEncoding(encoding);
  std::vector<std::string> messages;
  for (size_t at = 0; at < bytes.size(); at += step) {
    SHEAF_RETURN_NOT_OK(reader.Push(std::as_bytes(std::span(bytes.substr(at, step))),
                                    [&](std::string message) { messages.push_back(std::move(message)); }));
  }
  if (reader.inside()) messages.push_back("…");
  return messages;
}

TEST(GrpcFrames, MessagesComeWholeHoweverTheBytesAreCut) {
  const std::string bytes = Frame("one") + Frame("") + Frame(std::string(300, 'x'));
  for (const size_t step : {1, 2, 5, 7, 1000}) {
    EXPECT_THAT(Read(bytes, step).ValueOrDie(), ElementsAre("one", "", std::string(300, 'x'))) << step;
  }
  EXPECT_THAT(Read(bytes.substr(0, 10), 3).ValueOrDie(), ElementsAre("one", "…"));
}

TEST(GrpcFrames, CompressedMessagesAreInflatedWithinTheLimit) {
  const std::string text(10'000, 'a');
  for (const Encoding encoding : {Encoding::kGzip, Encoding::kZstd}) {
    const std::string bytes = Frame(Compress(encoding, text).ValueOrDie(), true);
    EXPECT_THAT(Read(bytes, 64, encoding).ValueOrDie(), ElementsAre(text));
    EXPECT_EQ(KindOf(Read(bytes, 64, encoding, 9'999).status()), ErrorKind::kTooLarge);
    EXPECT_EQ(KindOf(Read(bytes, 64, Encoding::kIdentity).status()), ErrorKind::kInvalid);
  }
}

TEST(GrpcFrames, BadPrefixesAreErrors) {
  EXPECT_EQ(KindOf(Read(std::string("\2\0\0\0\0", 5), 5).status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(Read(std::string("\0\x7f\xff\xff\xff", 5), 5).status()), ErrorKind::kTooLarge);
}

TEST(GrpcFrames, RetryInfoIsFoundAmongTheDetails) {
  // code 14, message "busy", details: an unknown one, then RetryInfo of 1.5 s.
  const std::string type = "type.googleapis.com/google.rpc.RetryInfo";
  const std::string duration("\x08\x01\x10\x80\xca\xb5\xee\x01", 8);
  const std::string info = std::string("\x0a\x08") + duration;
  const std::string any = std::string("\x0a") + static_cast<char>(type.size()) + type + "\x12" + static_cast<char>(info.size()) + info;
  const std::string bytes = std::string("\x08\x0e\x12\x04") + "busy" + std::string("\x1a\x03\x0a\x01x", 5) + "\x1a" +
                            static_cast<char>(any.size()) + any;
  const RpcStatus status = ReadRpcStatus(bytes).ValueOrDie();
  EXPECT_EQ(status.code, 14);
  EXPECT_EQ(status.message, "busy");
  EXPECT_EQ(status.retry_after_ms, 1500);
  EXPECT_EQ(ReadRpcStatus(bytes.substr(0, 8)).ValueOrDie().retry_after_ms, std::nullopt);
  for (size_t cut = 9; cut < bytes.size(); ++cut) {
    if (cut == 13) continue;  // After the first detail: whole.
    EXPECT_FALSE(ReadRpcStatus(bytes.substr(0, cut)).ok()) << cut;
  }
}

}  // namespace
}  // namespace sheaf::wire
