/// Queries beside ingest, in one process: mixed_load FOLDER [SECONDS [CLIENTS]]      default 15 seconds a phase, 8 clients
///
/// First spans are ingested as fast as they go (two threads that decode OTLP requests of 1,000 spans and wait until each is on
/// disk); then clients ask for traces by id (three of four statements) and for the analyses of the last 100,000 to 200,000 spans:
/// alone and beside ingest at half the rate measured, without a pause between statements and with one of 20 ms. Prints one JSON
/// object: of each phase spans and statements a second, and of each kind of statement P50, P99 and the longest in ms, all rows
/// read.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "../ingest/payload.h"
#include "../must.h"
#include "../pause.h"
#include "core/log.h"
#include "decode/decoder.h"
#include "io/clock.h"
#include "io/posix.h"
#include "query/engine.h"
#include "span_data.h"
#include "store/database.h"

namespace sheaf::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;
using Latencies = std::map<std::string, std::vector<double>>;

Clock::duration Duration(double seconds) { return std::chrono::duration_cast<Clock::duration>(Seconds(seconds)); }

constexpr int kRequestSpans = 1000, kRequestTraces = kRequestSpans / kSpansPerTrace, kSenders = 2;
constexpr int64_t kTraceNs = 100'000;  // From one trace to the next, see Payload::Renew().

class Load {
 public:
  explicit Load(const std::string& folder) {
    store::Options options;
    options.directory = folder;
    database_ = Must(store::Database::Open(io::PosixFileSystem(), io::SystemClock(), options));
    engine_ = Must(query::Engine::Open(database_.get(), {.threads = 2}));
    table_ = Must(database_->FindTable("otel", "traces"))->id;
  }
  ~Load() {
    engine_.reset();
    Must(database_->Close());
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  /// Two senders for `seconds`; at `rate` spans a second together, or as fast as they go (0). Returns spans a second.
  double Ingest(double seconds, double rate) {
    const auto begin = Clock::now(), end = begin + Duration(seconds);
    std::atomic<int64_t> sent = 0;
    std::vector<std::thread> senders;
    for (int sender = 0; sender < kSenders; ++sender) {
      senders.emplace_back([&, sender] {
        Payload payload(kRequestSpans, static_cast<uint64_t>(sender + 1));
        decode::Decoder decoder;
        for (int64_t i = 0; Clock::now() < end; ++i) {
          if (rate > 0) PauseUntil(begin + Duration(static_cast<double>(i * kSenders * kRequestSpans) / rate));
          const auto first = static_cast<uint64_t>(next_trace_.fetch_add(kRequestTraces));
          payload.Renew(first, static_cast<uint64_t>(kFirstNs + static_cast<int64_t>(first) * kTraceNs));
          const auto decoded = Must(decoder.Traces(std::as_bytes(std::span(payload.bytes().data(), payload.bytes().size()))));
          for (const auto& part : decoded.batches) Append({.table = table_, .batch = part.batch});
          sent += kRequestSpans;
        }
      });
    }
    for (std::thread& sender : senders) sender.join();
    return static_cast<double>(sent) / Seconds(Clock::now() - begin).count();
  }

  /// Clients for `seconds`, with a pause after each statement.
  Latencies Ask(double seconds, int clients, int pause_ms) {
    const auto end = Clock::now() + Duration(seconds);
    Latencies all;
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (int client = 0; client < clients; ++client) {
      threads.emplace_back([&, client] {
        std::mt19937_64 random(static_cast<uint64_t>(client));
        Latencies mine;
        while (Clock::now() < end) {
          const auto [kind, sql] = Statement(&random);
          const auto start = Clock::now();
          Run(sql);
          mine[kind].push_back(Seconds(Clock::now() - start).count() * 1e3);
          Pause(std::chrono::milliseconds(pause_ms));
        }
        const std::lock_guard lock(mutex);
        for (auto& [kind, values] : mine) all[kind].insert(all[kind].end(), values.begin(), values.end());
      });
    }
    for (std::thread& thread : threads) thread.join();
    return all;
  }

 private:
  void Append(const store::TableRows& rows) {
    while (true) {
      const auto done = database_->Append({rows});
      if (done.ok()) return;
      if (KindOf(done.status()) != ErrorKind::kThrottled) Must(done.status());
      Pause(std::chrono::milliseconds(5));
    }
  }
  void Run(const std::string& sql) {
    const auto query = Must(engine_->Start({.sql = sql}));
    while (Must(query->Next())) {
    }
  }
  std::pair<std::string, std::string> Statement(std::mt19937_64* random) const {
    const int64_t traces = next_trace_;
    const auto range = [&](int64_t count) {
      const int64_t to = kFirstNs + traces * kTraceNs;
      return "(make_timestamp_ns(" + std::to_string(to - count * kTraceNs) + "), make_timestamp_ns(" + std::to_string(to) + ")";
    };
    switch ((*random)() % 16) {
      case 0: return {"slow_operations", "SELECT * FROM slow_operations" + range(20'000) + ", 10)"};
      case 1: return {"error_rate", "SELECT * FROM error_rate" + range(20'000) + ")"};
      case 2: return {"service_graph", "SELECT * FROM service_graph" + range(10'000) + ")"};
      case 3: return {"latency_series", "SELECT * FROM latency_series" + range(20'000) + ", '1 second')"};
      default:
        return {"find_trace", "SELECT * FROM find_trace('" + Hex(TraceId((*random)() % static_cast<uint64_t>(traces))) + "')"};
    }
  }
  static std::string Hex(const std::string& id) {
    std::string text;
    for (const char byte : id) text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
    return text;
  }

  std::unique_ptr<store::Database> database_;
  std::unique_ptr<query::Engine> engine_;
  TableId table_;
  std::atomic<int64_t> next_trace_ = 0;
};

nlohmann::json Summary(Latencies* latencies, double seconds) {
  nlohmann::json summary;
  size_t count = 0;
  const auto rounded = [](double value) { return std::round(value * 1e3) / 1e3; };
  for (auto& [kind, values] : *latencies) {
    std::sort(values.begin(), values.end());
    count += values.size();
    summary[kind] = {{"count", values.size()},
                     {"p50_ms", rounded(values[values.size() / 2])},
                     {"p99_ms", rounded(values[values.size() * 99 / 100])},
                     {"max_ms", rounded(values.back())}};
  }
  summary["statements_per_s"] = std::round(static_cast<double>(count) / seconds);
  return summary;
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: mixed_load FOLDER [SECONDS [CLIENTS]]\n");
    return 2;
  }
  ConfigureLog(LogLevel::kError, false);
  const double seconds = argc > 2 ? std::atof(argv[2]) : 15;
  const int clients = argc > 3 ? std::atoi(argv[3]) : 8;
  Load load(argv[1]);
  const double fastest = load.Ingest(seconds, 0);
  nlohmann::json result = {{"clients", clients}, {"seconds", seconds}, {"ingest_alone_spans_per_s", std::round(fastest)}};
  for (const int pause_ms : {0, 20}) {
    const std::string pause = pause_ms == 0 ? "no_pause" : "pause_20_ms";
    auto alone = load.Ask(seconds, clients, pause_ms);
    result[pause + "_alone"] = Summary(&alone, seconds);
    double rate = 0;
    std::thread sender([&] { rate = load.Ingest(seconds, fastest / 2); });
    auto beside = load.Ask(seconds, clients, pause_ms);
    sender.join();
    result[pause + "_beside_ingest"] = Summary(&beside, seconds);
    result[pause + "_beside_ingest"]["spans_per_s"] = std::round(rate);
  }
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace sheaf::bench

int main(int argc, char** argv) { return sheaf::bench::Main(argc, argv); }
