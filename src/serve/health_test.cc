#include "serve/health.h"

#include <gtest/gtest.h>

#include "serve/service_testing.h"

namespace sheaf::serve {
namespace {

constexpr const char* kCheck = "/grpc.health.v1.Health/Check";
constexpr const char* kWatch = "/grpc.health.v1.Health/Watch";
constexpr const char* kTraceService = "\x0a\x33opentelemetry.proto.collector.trace.v1.TraceService";

const std::string kServing("\x08\x01", 2), kNotServing("\x08\x02", 2), kServiceUnknown("\x08\x03", 2);

class HealthTest : public testing::Test {
 protected:
  HealthTest() { health_.Register(&transport_, "otlp_grpc", "http"); }
  Health health_;
  FakeTransport transport_;
};

TEST_F(HealthTest, IsNotReadyBeforeStartAndSaysWhy) {
  EXPECT_EQ(transport_.Grpc(kCheck, "")->replies[0], kNotServing);
  const auto ready = transport_.Http("http", "GET", "/readyz")->answer();
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(ready.body, "not ready: starting\n");
  EXPECT_EQ(transport_.Http("http", "GET", "/healthz")->answer().status, 200);
}

TEST_F(HealthTest, FullDiskStopsTheOtlpServicesOnly) {
  health_.Set(true, false, "not writable: disk full");
  EXPECT_EQ(transport_.Grpc(kCheck, "")->replies[0], kServing);
  EXPECT_EQ(transport_.Grpc(kCheck, kTraceService)->replies[0], kNotServing);
  const auto ready = transport_.Http("http", "GET", "/readyz")->answer();
  EXPECT_EQ(ready.status, 200);
  EXPECT_EQ(ready.body, "ready, but not writable: disk full\n");
}

TEST_F(HealthTest, UnknownServiceIsNotFoundWhenCheckedAndUnknownWhenWatched) {
  health_.Set(true, true, "");
  EXPECT_EQ(transport_.Grpc(kCheck, "\x0a\x01x")->status->code, GrpcCode::kNotFound);
  const auto watch = transport_.GrpcStream(kWatch, "\x0a\x01x");
  EXPECT_EQ(watch->replies.at(0), kServiceUnknown);
  EXPECT_FALSE(watch->status);
}

TEST_F(HealthTest, MalformedRequestIsInvalid) {
  EXPECT_EQ(transport_.Grpc(kCheck, "\x0a\x05x")->status->code, GrpcCode::kInvalidArgument);
  EXPECT_EQ(transport_.GrpcStream(kWatch, "\x0a\x05x")->status->code, GrpcCode::kInvalidArgument);
}

TEST_F(HealthTest, WatchTellsEachChangeOnce) {
  const auto watch = transport_.GrpcStream(kWatch, "");
  health_.Set(true, true, "");
  health_.Set(true, true, "");
  health_.Set(true, false, "x");  // Changes the OTLP services, not the server.
  health_.Set(false, false, "stopping");
  EXPECT_EQ(watch->replies, (std::vector<std::string>{kNotServing, kServing, kNotServing}));
  EXPECT_FALSE(watch->status);
  health_.EndWatches();
  EXPECT_EQ(watch->status->code, GrpcCode::kUnavailable);
  EXPECT_EQ(transport_.GrpcStream(kWatch, "")->status->code, GrpcCode::kUnavailable);
}

TEST_F(HealthTest, ForgetsWatchersThatWentAway) {
  auto watch = transport_.GrpcStream(kWatch, "");
  watch->on_cancel();
  EXPECT_EQ(watch.use_count(), 1);
  health_.Set(true, true, "");
  EXPECT_EQ(watch->replies.size(), 1u);
}

}  // namespace
}  // namespace sheaf::serve
