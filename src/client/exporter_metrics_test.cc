#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/exporter.h"

namespace sheaf::client {
namespace {

using testing::HasSubstr;

TEST(ExporterMetrics, TextHasAFamilyForEachFigure) {
  ExporterStats stats;
  stats.sent_rows = 5;
  const std::pair<std::string, ExporterStats> exporters[] = {{"grpc://a:1", stats}, {"b\"", {}}};
  const std::string text = ExporterMetricsText(exporters);
  EXPECT_THAT(text, HasSubstr("# TYPE sheaf_export_sent_rows_total counter\n"
                              "sheaf_export_sent_rows_total{target=\"grpc://a:1\"} 5\n"
                              "sheaf_export_sent_rows_total{target=\"b\\\"\"} 0\n"));
}

TEST(ExporterMetrics, WhatTheBatchersChoseIsShownBySignal) {
  ExporterStats stats;
  stats.batches[1].limits.wait_ns = 5'000'000;
  stats.batches[1].wait_reason = columns::WaitReason::kTarget;
  stats.batches[1].batches[static_cast<size_t>(columns::BatchReason::kRows)] = 3;
  const std::pair<std::string, ExporterStats> exporters[] = {{"a", stats}};
  const std::string text = ExporterMetricsText(exporters);
  EXPECT_THAT(text, HasSubstr("sheaf_export_batch_wait_microseconds{target=\"a\",signal=\"logs\"} 5000\n"));
  EXPECT_THAT(text, HasSubstr("sheaf_export_batches_total{target=\"a\",signal=\"logs\",reason=\"rows\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("sheaf_export_batch_wait_reason{target=\"a\",signal=\"logs\",reason=\"target\"} 1\n"));
}

}  // namespace
}  // namespace sheaf::client
