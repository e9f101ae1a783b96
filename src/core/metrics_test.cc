#include "core/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf {
namespace {

using testing::HasSubstr;

TEST(Metrics, TextHasOneHelpLineAName) {
  MetricRegistry registry;
  registry.AddCounter("b_total", "Bs.", {{"kind", "x"}}).Add(2);
  registry.AddCounter("b_total", "Bs.", {{"kind", "y\"\n"}}).Add(3);
  registry.AddGauge("a", "As.").Set(-1);
  EXPECT_EQ(registry.ToText(),
            "# HELP a As.\n# TYPE a gauge\na -1\n"
            "# HELP b_total Bs.\n# TYPE b_total counter\nb_total{kind=\"x\"} 2\nb_total{kind=\"y\\\"\\n\"} 3\n");
}

TEST(Metrics, SameNameAndLabelsIsTheSameMetric) {
  MetricRegistry registry;
  EXPECT_EQ(&registry.AddCounter("c_total", "Cs.", {{"a", "b"}}), &registry.AddCounter("c_total", "Cs.", {{"a", "b"}}));
}

TEST(Metrics, HistogramBucketsAreCumulative) {
  MetricRegistry registry;
  Histogram& h = registry.AddHistogram("d_seconds", "Ds.");
  h.Observe(1e-5);
  h.Observe(0.3);
  h.Observe(99);
  const std::string text = registry.ToText();
  EXPECT_THAT(text, HasSubstr("d_seconds_bucket{le=\"1e-05\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("d_seconds_bucket{le=\"0.5\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("d_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("d_seconds_count 3\n"));
}

}  // namespace
}  // namespace sheaf
