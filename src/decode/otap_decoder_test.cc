#include "decode/otap_decoder.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <span>

#include <gtest/gtest.h>

#include "decode/row_texts_testing.h"

namespace sheaf::decode {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Splits [u32 length, little-endian][message] pieces.
std::vector<std::string> Pieces(std::string_view bytes) {
  std::vector<std::string> pieces;
  while (bytes.size() >= 4) {
    uint32_t size;
    std::memcpy(&size, bytes.data(), 4);
    pieces.emplace_back(bytes.substr(4, size));
    bytes.remove_prefix(4 + size);
  }
  return pieces;
}

/// A stream that the Go library wrote, and the OTLP of each batch. In src/decode/corpus.
struct Capture {
  OtapSignal signal;
  std::vector<std::string> batches, otlp;
};
Capture ReadCapture(const std::string& name) {
  const std::string folder = "src/decode/corpus/";
  const std::string stream = ReadFile(folder + "otap_stream/" + name);
  return {static_cast<OtapSignal>(stream.at(0)), Pieces(std::string_view(stream).substr(1)), Pieces(ReadFile(folder + "otap_twins/" + name + ".otlp"))};
}

Result<DecodeResult> DecodeBytes(OtapDecoder* decoder, OtapStream* stream, std::string_view message) {
  wire::BatchArrowRecords batch;
  ARROW_RETURN_NOT_OK(wire::ReadBatchArrowRecords(message, &batch));
  return decoder->Decode(stream, batch);
}

Result<DecodeResult> DecodeOtlp(Decoder* decoder, OtapSignal signal, const std::string& request) {
  const auto bytes = std::as_bytes(std::span(request));
  return signal == OtapSignal::kTraces ? decoder->Traces(bytes) : signal == OtapSignal::kLogs ? decoder->Logs(bytes) : decoder->Metrics(bytes);
}

class OtapCapture : public testing::TestWithParam<const char*> {};

TEST_P(OtapCapture, DecodesToTheRowsOfItsOtlpTwin) {
  const Capture capture = ReadCapture(GetParam());
  ASSERT_GE(capture.batches.size(), 3u);
  ASSERT_EQ(capture.batches.size(), capture.otlp.size());
  OtapStream stream(capture.signal);
  OtapDecoder decoder;
  Decoder otlp;
  for (size_t i = 0; i < capture.batches.size(); ++i) {
    SCOPED_TRACE(i);
    const auto got = DecodeBytes(&decoder, &stream, capture.batches[i]);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    const auto want = DecodeOtlp(&otlp, capture.signal, capture.otlp[i]).ValueOrDie();
    EXPECT_EQ(got->accepted, want.accepted);
    EXPECT_EQ(got->rejected, 0);
    const auto got_rows = RowTexts(got->batches, true), want_rows = RowTexts(want.batches, true);
    ASSERT_EQ(got_rows.size(), want_rows.size());
    for (size_t row = 0; row < want_rows.size(); ++row) ASSERT_EQ(got_rows[row], want_rows[row]);
  }
}

INSTANTIATE_TEST_SUITE_P(Go, OtapCapture,
                         testing::Values("traces_zstd", "traces_plain", "logs_zstd", "logs_plain", "metrics_zstd", "metrics_plain"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace sheaf::decode
