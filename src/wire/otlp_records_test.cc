#include "wire/otlp_records.h"

#include <gtest/gtest.h>

namespace sheaf::wire {
namespace {

std::string Field(char number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}

TEST(OtlpRecords, RecordsOfAllScopesAndResourcesAreCounted) {
  const std::string scope = Field(1, "") + Field(2, "x") + Field(2, "") + Field(3, "schema");
  const std::string request = Field(1, Field(2, scope) + Field(2, scope)) + Field(1, Field(1, "")) + Field(1, Field(2, Field(2, "")));
  EXPECT_EQ(CountOtlpRecords(OtlpRequest::kTraces, request).ValueOrDie(), 5);
  EXPECT_EQ(CountOtlpRecords(OtlpRequest::kLogs, request).ValueOrDie(), 5);
  EXPECT_EQ(CountOtlpRecords(OtlpRequest::kLogs, "").ValueOrDie(), 0);
}

TEST(OtlpRecords, PointsOfAllKindsOfMetricsAreCounted) {
  std::string metrics = Field(2, Field(1, "name"));
  for (const char kind : {5, 7, 9, 10, 11}) metrics += Field(2, Field(1, "n") + Field(kind, Field(1, "") + Field(1, "")));
  EXPECT_EQ(CountOtlpRecords(OtlpRequest::kMetrics, Field(1, Field(2, metrics))).ValueOrDie(), 10);
}

TEST(OtlpRecords, CutRequestsAreRefused) {
  const std::string request = Field(1, Field(2, Field(2, "abc")));
  for (size_t cut = 1; cut < request.size(); ++cut) {
    EXPECT_EQ(KindOf(CountOtlpRecords(OtlpRequest::kTraces, request.substr(0, cut)).status()), ErrorKind::kInvalid) << cut;
  }
}

}  // namespace
}  // namespace sheaf::wire
