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

}  // namespace
}  // namespace sheaf::client
