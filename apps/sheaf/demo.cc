#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>

#include <unistd.h>
#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "client/otlp_exporter.h"
#include "command.h"
#include "credentials.h"
#include "demo_requests.h"
#include "demo_shop.h"
#include "io/clock.h"

namespace sheaf::cli {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kUnpacedSpans = 2'000;         // A request where no rate is given…
constexpr int64_t kUnpacedSpansASecond = 1'000;  // …and how fast its made-up time passes with --start.
constexpr int64_t kMetricPeriodNs = 5 * kSecond;

struct DemoOptions {
  std::string url = "http://127.0.0.1:4318";
  int64_t rate = 100, duration_s = 0, spans_max = 0, start_ns = 0;
  uint64_t seed = 1;
  bool quiet = false, json = false;
};

struct DemoTotals {
  int64_t spans = 0, logs = 0, metric_requests = 0, requests = 0, rejected = 0;
};

/// Waits, in steps that notice an interrupt.
void WaitUntil(io::Clock* clock, int64_t monotonic_ns) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (!Interrupted()) {
    const int64_t rest = monotonic_ns - clock->MonotonicNs();
    if (rest <= 0) return;
    never.wait_for(lock, std::chrono::nanoseconds(std::min(rest, kSecond / 10)));
  }
}

class Demo {
 public:
  Demo(const DemoOptions& options, client::OtlpExporter* exporter)
      : options_(options), exporter_(exporter), shop_(options.seed) {}

  Status Run() {
    io::Clock* clock = io::SystemClock();
    const int64_t begin = clock->MonotonicNs();
    const int64_t spans_a_request = options_.rate == 0 ? kUnpacedSpans : std::max<int64_t>(options_.rate / 4, 1);
    while (!Interrupted() && !Finished(clock->MonotonicNs() - begin)) {
      // Visits begin a second ago, so that their spans do not end in the future.
      const int64_t now_ns = options_.start_ns != 0 ? VirtualNow() : clock->NowNs() - kSecond;
      SHEAF_RETURN_NOT_OK(SendOne(now_ns, spans_a_request));
      if (options_.rate > 0)
        WaitUntil(clock,
                  begin + static_cast<int64_t>(static_cast<double>(totals_.spans) / static_cast<double>(options_.rate) * 1e9));
      if (!options_.quiet && isatty(STDERR_FILENO) != 0) {
        std::fprintf(stderr, "\r%lld spans, %lld logs sent", static_cast<long long>(totals_.spans),
                     static_cast<long long>(totals_.logs));
      }
    }
    if (!options_.quiet && isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\n");
    return Status::OK();
  }

  const DemoTotals& totals() const { return totals_; }

 private:
  bool Finished(int64_t passed_ns) const {
    if (options_.spans_max > 0 && totals_.spans >= options_.spans_max) return true;
    return options_.duration_s > 0 && passed_ns >= options_.duration_s * kSecond;
  }

  int64_t VirtualNow() const {
    const int64_t rate = options_.rate > 0 ? options_.rate : kUnpacedSpansASecond;
    return options_.start_ns + static_cast<int64_t>(static_cast<double>(totals_.spans) / static_cast<double>(rate) * 1e9);
  }

  Status SendOne(int64_t now_ns, int64_t spans) {
    DemoStory story;
    for (int64_t visit = 0; static_cast<int64_t>(story.spans.size()) < spans; ++visit)
      shop_.Visit(now_ns + visit * 1'000'000, &story);
    SHEAF_RETURN_NOT_OK(Export(client::OtlpSignal::kTraces, TracesRequest(story)));
    if (!story.logs.empty()) SHEAF_RETURN_NOT_OK(Export(client::OtlpSignal::kLogs, LogsRequest(story)));
    totals_.spans += static_cast<int64_t>(story.spans.size());
    totals_.logs += static_cast<int64_t>(story.logs.size());
    if (first_ns_ == 0) first_ns_ = period_ns_ = now_ns - kSecond;
    if (now_ns - period_ns_ < kMetricPeriodNs && totals_.metric_requests > 0) return Status::OK();
    SHEAF_RETURN_NOT_OK(Export(client::OtlpSignal::kMetrics, MetricsRequest(shop_, {first_ns_, period_ns_, now_ns})));
    ++totals_.metric_requests;
    shop_.ClearPeriod();
    period_ns_ = now_ns;
    return Status::OK();
  }

  Status Export(client::OtlpSignal signal, const std::string& request) {
    SHEAF_ASSIGN_OR_RETURN(const client::ExportResult result, exporter_->Export(signal, request));
    totals_.rejected += result.rejected;
    ++totals_.requests;
    return Status::OK();
  }

  const DemoOptions& options_;
  client::OtlpExporter* const exporter_;
  DemoShop shop_;
  DemoTotals totals_;
  int64_t first_ns_ = 0, period_ns_ = 0;
};

int RunDemo(const DemoOptions& options) {
  CatchInterrupts();
  const auto url = client::ParseUrl(options.url, 0);
  if (!url.ok()) return Misused(url.status().message());
  client::HttpClientOptions http;
  http.attempts_max = 10;
  http.cancelled = [] { return Interrupted(); };
  auto authorization = Authorization();
  if (!authorization.ok()) return Fail(authorization.status());
  http.authorization = std::move(*authorization);
  auto client = client::HttpClient::Make(*url, http);
  if (!client.ok()) return Fail(client.status());
  client::OtlpExporter exporter(std::move(*client));
  Demo demo(options, &exporter);
  const Status status = demo.Run();
  const DemoTotals& totals = demo.totals();
  if (options.json) {
    const nlohmann::ordered_json json = {
        {"spans", totals.spans},       {"logs", totals.logs},         {"metric_requests", totals.metric_requests},
        {"requests", totals.requests}, {"rejected", totals.rejected}, {"bytes", exporter.sent_bytes()}};
    std::printf("%s\n", json.dump().c_str());
  } else if (!options.quiet) {
    std::printf("sent %lld spans, %lld logs and %lld rounds of metrics in %lld requests (%.1f MB)\n",
                static_cast<long long>(totals.spans), static_cast<long long>(totals.logs),
                static_cast<long long>(totals.metric_requests), static_cast<long long>(totals.requests),
                static_cast<double>(exporter.sent_bytes()) / 1e6);
  }
  if (status.ok() || (Interrupted() && KindOf(status) == ErrorKind::kCancelled)) return kDone;
  return Fail(status);
}

}  // namespace

void AddDemo(CLI::App* app, Action* chosen) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* command = app->add_subcommand("demo", "Sends the telemetry of a made-up web shop to a server");
  command->add_option("--url", options->url, "OTLP/HTTP address (default http://127.0.0.1:4318)")->type_name("URL");
  command->add_option("--rate", options->rate, "Spans a second, about; 0: as fast as the server takes them (default 100)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  command->add_option("--duration", options->duration_s, "Stops after this many seconds; 0: on Ctrl-C (default)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("S");
  command->add_option("--spans", options->spans_max, "Stops after about this many spans; 0: no such bound (default)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  command->add_option("--seed", options->seed, "The same seed and --start send the same bytes (default 1)")->type_name("N");
  command->add_option("--start", options->start_ns, "Tells a story from this time on (ns since 1970) instead of now")
      ->type_name("NS");
  command->add_flag("--quiet", options->quiet, "Prints nothing but errors");
  command->add_flag("--json", options->json, "Prints what was sent as JSON");
  command->callback([chosen, options] { *chosen = [options] { return RunDemo(*options); }; });
}

}  // namespace sheaf::cli
