/// The shop's story as OTLP export requests.

#pragma once

#include <cstdint>
#include <string>

#include "demo_shop.h"

namespace sheaf::cli {

/// Export…ServiceRequest bytes, grouped by service. Empty where there is nothing to tell.
std::string TracesRequest(const DemoStory& story);
std::string LogsRequest(const DemoStory& story);

/// All five metric types over the shop's numbers: gauges, sums, histograms, exponential histograms and
/// summaries. Counters run since `start_ns`; what is told a period since `period_ns`.
struct MetricTimes {
  int64_t start_ns = 0, period_ns = 0, now_ns = 0;
};
std::string MetricsRequest(const DemoShop& shop, const MetricTimes& times);

}  // namespace sheaf::cli
