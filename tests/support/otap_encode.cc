/// Writes OTLP requests as an OTel-Arrow stream, for another implementation to read.
///
///   otap_encode traces|logs|metrics OTLP OTAP [none|lz4|zstd]
///
/// OTLP is a file of requests, OTAP becomes one of BatchArrowRecords, each message after its length in four bytes, little-endian.
/// All tables of a request share a message.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "decode/decoder.h"
#include "decode/otap_encoder.h"

namespace {

using namespace sheaf;
using decode::OtapSignal;

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "otap_encode: %s\n", message.c_str());
  std::exit(1);
}

wire::IpcCodec CodecOf(const std::string& name) {
  if (name == "lz4") return wire::IpcCodec::kLz4;
  if (name == "zstd") return wire::IpcCodec::kZstd;
  return name == "none" ? wire::IpcCodec::kNone : (Fail("no codec " + name), wire::IpcCodec::kNone);
}

OtapSignal SignalOf(const std::string& name) {
  if (name == "traces") return OtapSignal::kTraces;
  if (name == "logs") return OtapSignal::kLogs;
  return name == "metrics" ? OtapSignal::kMetrics : (Fail("no signal " + name), OtapSignal::kMetrics);
}

Result<decode::DecodeResult> Decode(OtapSignal signal, const std::string& request, decode::Decoder* decoder) {
  const auto bytes = std::as_bytes(std::span(request));
  return signal == OtapSignal::kTraces ? decoder->Traces(bytes)
         : signal == OtapSignal::kLogs ? decoder->Logs(bytes)
                                       : decoder->Metrics(bytes);
}

void Encode(OtapSignal signal, const std::string& otlp_path, const std::string& otap_path, wire::IpcCodec codec) {
  std::ifstream in(otlp_path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  std::ofstream out(otap_path, std::ios::binary);
  decode::Decoder decoder;
  decode::OtapStreamEncoder encoder(signal, {.codec = codec});
  uint32_t size = 0;
  for (size_t at = 0; at + sizeof(size) <= bytes.size(); at += size) {
    std::memcpy(&size, bytes.data() + at, sizeof(size));
    at += sizeof(size);
    const auto decoded = Decode(signal, bytes.substr(at, size), &decoder);
    if (!decoded.ok()) Fail(decoded.status().ToString());
    std::string message;
    const auto encoded = encoder.Encode(decoded->batches, &message);
    if (!encoded.ok()) Fail(encoded.status().ToString());
    const auto message_size = static_cast<uint32_t>(message.size());
    out.write(reinterpret_cast<const char*>(&message_size), sizeof(message_size));
    out.write(message.data(), static_cast<std::streamsize>(message.size()));
  }
  if (!in || !out.flush()) Fail("cannot read " + otlp_path + " or write " + otap_path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) Fail("usage: otap_encode traces|logs|metrics OTLP OTAP [none|lz4|zstd]");
  Encode(SignalOf(argv[1]), argv[2], argv[3], CodecOf(argc > 4 ? argv[4] : "zstd"));
  return 0;
}
