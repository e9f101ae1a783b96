#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>     // With Formatter.hpp: one place in the library must have the code that App refers to.
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "command.h"
#include "decode/decoder.h"
#include "demo_requests.h"
#include "demo_shop.h"

namespace sheaf::cli {
namespace {

constexpr int64_t kSpans = 1'000;
constexpr std::chrono::milliseconds kMeasured{1'000};

/// Decodes one request of the demo's spans again and again; nanoseconds a span.
Result<double> MeasureDecode() {
  DemoShop shop(1);
  DemoStory story;
  while (static_cast<int64_t>(story.spans.size()) < kSpans) shop.Visit(1'700'000'000'000'000'000, &story);
  const std::string request = TracesRequest(story);
  decode::Decoder decoder;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  int64_t spans = 0;
  while (Clock::now() - begin < kMeasured) {
    SHEAF_ASSIGN_OR_RETURN(const auto decoded, decoder.Traces(std::as_bytes(std::span(request.data(), request.size()))));
    spans += decoded.accepted;
  }
  return static_cast<double>(std::chrono::nanoseconds(Clock::now() - begin).count()) / static_cast<double>(spans);
}

int RunBench(const std::vector<std::string>& names, bool json) {
  nlohmann::ordered_json results = nlohmann::ordered_json::object();
  for (const std::string& name : names) {
    if (name != "decode")
      return Misused(fmt::format("there is no benchmark '{}'; there is: decode (bench/ in the sources has more)", name));
    const auto measured = MeasureDecode();
    if (!measured.ok()) return Fail(measured.status());
    results[name] = {{"ns_per_span", *measured}};
    if (!json) std::printf("%-10s %.0f ns a span\n", name.c_str(), *measured);
  }
  if (json) std::printf("%s\n", results.dump(2).c_str());
  return kDone;
}

}  // namespace

void AddBench(CLI::App* app, Action* chosen) {
  struct Options {
    std::vector<std::string> names;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand("bench", "Measures parts of the program on this machine");
  command->add_option("NAME", options->names, "decode: OTLP bytes to Arrow")->required();
  command->add_flag("--json", options->json, "Prints the numbers as JSON");
  command->callback([chosen, options] { *chosen = [options] { return RunBench(options->names, options->json); }; });
}

}  // namespace sheaf::cli
