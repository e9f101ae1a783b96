/// What turning OTel-Arrow bytes into record batches costs beside OTLP bytes of the same spans, and the way back: record batches
/// to bytes of both, and how many. All by this project's decoders and encoders.
///
///   otap_comparison FOLDER [NAME] [REPETITIONS] [otap|encode]
///
/// FOLDER/NAME.otap is a stream of BatchArrowRecords and FOLDER/NAME.otlp the OTLP requests that they stand for, each message
/// after its length in four bytes, little-endian: what `otap-go twins` writes. All batches in turn, as a server sees them; both
/// sides take turns, so that a noisy machine disturbs both; `otap` and `encode` (of OTel-Arrow, plain) run that alone, for a
/// profiler. Minimum, median and maximum over the repetitions are printed, in nanoseconds a row. Each repetition is a new stream.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "decode/encoder.h"
#include "decode/otap_decoder.h"
#include "decode/otap_encoder.h"
#include "wire/compression.h"

namespace sheaf {
namespace {

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "otap_comparison: %s\n", message.c_str());
  std::exit(1);
}

std::vector<std::string> ReadMessages(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> messages;
  for (size_t at = 0; at + 4 <= bytes.size();) {
    uint32_t size;
    std::memcpy(&size, bytes.data() + at, 4);
    messages.push_back(bytes.substr(at + 4, size));
    at += 4 + size;
  }
  if (messages.empty()) Fail("no messages in " + path);
  return messages;
}

double NanosecondsNow() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

decode::OtapSignal SignalOf(const std::string& name) {
  return name == "logs"      ? decode::OtapSignal::kLogs
         : name == "metrics" ? decode::OtapSignal::kMetrics
                             : decode::OtapSignal::kTraces;
}

/// Times and sizes of one way to do it.
struct Measured {
  std::vector<double> ns;  // A row, by repetition.
  size_t bytes = 0, messages = 0;
  int64_t rows = 0;

  void Print(const char* name) {
    std::sort(ns.begin(), ns.end());
    std::printf("%-26s min %7.1f  median %7.1f  max %7.1f ns/row, %6.1f bytes/row\n", name, ns.front(), ns[ns.size() / 2],
                ns.back(), static_cast<double>(bytes) / static_cast<double>(rows));
  }
};

class Comparison {
 public:
  Comparison(const std::string& folder, const std::string& name)
      : signal_(SignalOf(name)),
        otap_(ReadMessages(folder + "/" + name + ".otap")),
        otlp_(ReadMessages(folder + "/" + name + ".otlp")) {}

  /// Each repetition is a new stream: schemas and first dictionaries count.
  int64_t Otap() {
    decode::OtapStream stream(signal_);
    int64_t rows = 0;
    for (const std::string& message : otap_) {
      Check(wire::ReadBatchArrowRecords(message, &batch_));
      auto result = otap_decoder_.Decode(&stream, batch_);
      Check(result.status());
      rows += result->accepted;
    }
    return rows;
  }

  int64_t Otlp() {
    int64_t rows = 0;
    for (const std::string& message : otlp_) {
      const auto bytes = std::as_bytes(std::span(message));
      auto result = signal_ == decode::OtapSignal::kTraces ? otlp_decoder_.Traces(bytes)
                    : signal_ == decode::OtapSignal::kLogs ? otlp_decoder_.Logs(bytes)
                                                           : otlp_decoder_.Metrics(bytes);
      Check(result.status());
      rows += result->accepted;
    }
    return rows;
  }

  /// Rows to bytes. `make` makes the function that writes one batch's message, for each stream.
  template <typename Make>
  void Write(Make&& make, Measured* out) {
    const auto write = make();
    std::string message;
    out->bytes = 0;
    const double begin = NanosecondsNow();
    for (const auto& tables : rows_) {
      message.clear();
      write(tables, &message);
      out->bytes += message.size();
    }
    out->ns.push_back((NanosecondsNow() - begin) / static_cast<double>(out->rows));
  }

  void ReadRows() {
    for (const std::string& message : otlp_) {
      decode::Decoder decoder;  // One each, so that no batch's memory is used again.
      const auto bytes = std::as_bytes(std::span(message));
      auto result = signal_ == decode::OtapSignal::kTraces ? decoder.Traces(bytes)
                    : signal_ == decode::OtapSignal::kLogs ? decoder.Logs(bytes)
                                                           : decoder.Metrics(bytes);
      Check(result.status());
      rows_.push_back(std::move(result->batches));
      row_count_ += result->accepted;
    }
  }

  /// OTel-Arrow with buffers compressed so; `outside`: and each message as a whole, as a gRPC stream does.
  auto OtapWriter(wire::IpcCodec codec, bool outside) {
    return [this, codec, outside] {
      auto encoder = std::make_shared<decode::OtapStreamEncoder>(signal_, decode::OtapEncoderOptions{.codec = codec});
      return [encoder, outside](const std::vector<decode::TableBatch>& tables, std::string* out) {
        Check(encoder->Encode(tables, out).status());
        if (outside) *out = wire::Compress(wire::Encoding::kZstd, *out).ValueOrDie();
      };
    };
  }
  auto OtlpWriter(bool outside) {
    return [outside] {
      return [outside](const std::vector<decode::TableBatch>& tables, std::string* out) {
        for (const decode::TableBatch& table : tables) Check(decode::EncodeRequest(table.signal, *table.batch, out));
        if (outside) *out = wire::Compress(wire::Encoding::kZstd, *out).ValueOrDie();
      };
    };
  }

  void RunWriters(int repetitions) {
    ReadRows();
    Measured otlp{.rows = row_count_}, otlp_zstd = otlp, otap = otlp, otap_inside = otlp, otap_outside = otlp;
    for (int i = 0; i < repetitions; ++i) {
      Write(OtlpWriter(false), &otlp);
      Write(OtapWriter(wire::IpcCodec::kNone, false), &otap);
      Write(OtlpWriter(true), &otlp_zstd);
      Write(OtapWriter(wire::IpcCodec::kZstd, false), &otap_inside);
      Write(OtapWriter(wire::IpcCodec::kNone, true), &otap_outside);
    }
    otlp.Print("to otlp");
    otap.Print("to otap");
    otlp_zstd.Print("to otlp, zstd");
    otap_inside.Print("to otap, zstd inside");
    otap_outside.Print("to otap, zstd outside");
  }

  void EncodeAlone(int repetitions) {
    ReadRows();
    Measured otap{.rows = row_count_};
    for (int i = 0; i < repetitions; ++i) Write(OtapWriter(wire::IpcCodec::kNone, false), &otap);
  }

  void Run(int repetitions) {
    std::vector<double> otap, otlp;
    for (int i = -1; i < repetitions; ++i) {  // The first warms up.
      const double begin = NanosecondsNow();
      const int64_t otlp_rows = Otlp();
      const double middle = NanosecondsNow();
      const int64_t otap_rows = Otap();
      const double end = NanosecondsNow();
      if (otlp_rows != otap_rows) Fail("the two files hold different numbers of rows");
      if (i < 0) continue;
      otlp.push_back((middle - begin) / static_cast<double>(otlp_rows));
      otap.push_back((end - middle) / static_cast<double>(otap_rows));
    }
    Print("otlp", otlp_, &otlp);
    Print("otap", otap_, &otap);
    std::printf("times as fast as OTLP (medians): %.2f\n", otlp[otlp.size() / 2] / otap[otap.size() / 2]);
  }

 private:
  static void Check(const Status& status) {
    if (!status.ok()) Fail(status.ToString());
  }
  void Print(const char* name, const std::vector<std::string>& messages, std::vector<double>* ns) const {
    size_t bytes = 0;
    for (const std::string& message : messages) bytes += message.size();
    std::sort(ns->begin(), ns->end());
    std::printf("%-22s min %7.1f  median %7.1f  max %7.1f ns/row, %zu messages of %.0f bytes\n", name, ns->front(),
                (*ns)[ns->size() / 2], ns->back(), messages.size(),
                static_cast<double>(bytes) / static_cast<double>(messages.size()));
  }

  const decode::OtapSignal signal_;
  const std::vector<std::string> otap_, otlp_;
  decode::OtapDecoder otap_decoder_;
  decode::Decoder otlp_decoder_;
  wire::BatchArrowRecords batch_;
  std::vector<std::vector<decode::TableBatch>> rows_;
  int64_t row_count_ = 0;
};

}  // namespace
}  // namespace sheaf

int main(int argc, char** argv) {
  if (argc < 2) sheaf::Fail("usage: otap_comparison FOLDER [NAME] [REPETITIONS] [otap|encode]");
  sheaf::Comparison comparison(argv[1], argc > 2 ? argv[2] : "bench");
  const int repetitions = argc > 3 ? std::max(1, std::atoi(argv[3])) : 9;
  const std::string alone = argc > 4 ? argv[4] : "";
  if (alone == "otap") {
    for (int i = 0; i < repetitions; ++i) comparison.Otap();
  } else if (alone == "encode") {
    comparison.EncodeAlone(repetitions);
  } else {
    comparison.Run(repetitions);
    comparison.RunWriters(repetitions);
  }
  return 0;
}
