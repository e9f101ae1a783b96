/// What turning OTel-Arrow bytes into record batches costs beside OTLP bytes of the same spans, both by this project's decoders.
///
///   otap_comparison FOLDER [NAME] [REPETITIONS] [otap]
///
/// FOLDER/NAME.otap is a stream of BatchArrowRecords and FOLDER/NAME.otlp the OTLP requests that they stand for, each message
/// after its length in four bytes, little-endian: what `otap-go twins` writes. All batches in turn, as a server sees them; both
/// sides take turns, so that a noisy machine disturbs both; `otap` runs that side alone, for a profiler. Minimum, median and
/// maximum over the repetitions are printed, in nanoseconds a row.

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

#include "decode/otap_decoder.h"

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
};

}  // namespace
}  // namespace sheaf

int main(int argc, char** argv) {
  if (argc < 2) sheaf::Fail("usage: otap_comparison FOLDER [NAME] [REPETITIONS]");
  sheaf::Comparison comparison(argv[1], argc > 2 ? argv[2] : "bench");
  const int repetitions = argc > 3 ? std::max(1, std::atoi(argv[3])) : 9;
  if (argc > 4) {
    for (int i = 0; i < repetitions; ++i) comparison.Otap();
  } else {
    comparison.Run(repetitions);
  }
  return 0;
}
