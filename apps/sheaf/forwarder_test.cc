#include "forwarder.h"

#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/http_client.h"
#include "io/sim_testing.h"

namespace sheaf::cli {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

/// A request of one log record.
const std::string kRequest("\x0a\x04\x12\x02\x12\x00", 6);

Status Take(Forwarder* forwarder) {
  std::promise<Status> answered;
  forwarder->Take(wire::OtlpRequest::kLogs, kRequest, [&](const auto& outcome) { answered.set_value(outcome.status()); });
  return answered.get_future().get();
}

TEST(Forwarder, QueueThatCannotBeWrittenAnyMoreIsToldByReadiness) {
  io::SimFileSystem disk;
  ForwarderOptions options{.targets = {"grpc://127.0.0.1:9"}, .queue = "/queue", .drain = milliseconds(0)};
  options.exporter.files = &disk;
  options.port_otlp_grpc = options.port_otlp_http = options.port_http = 0;
  auto forwarder = Forwarder::Open(options).ValueOrDie();
  const Forwarder::Ports ports = forwarder->Listen().ValueOrDie();
  auto client = client::HttpClient::Make({.host = "127.0.0.1", .port = ports.http}, {.attempts_max = 1}).ValueOrDie();
  const auto ready = [&] { return client->Send({.method = "GET", .target = "/readyz"}).ValueOrDie(); };
  ASSERT_TRUE(Take(forwarder.get()).ok());
  EXPECT_EQ(ready().status, 200);
  disk.FailNth(io::SimOp::kSync, 1, MakeError(ErrorKind::kIo, "broken"));
  EXPECT_EQ(KindOf(Take(forwarder.get())), ErrorKind::kUnknown);
  const auto answer = ready();
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.body, HasSubstr("started anew"));
  EXPECT_EQ(KindOf(Take(forwarder.get())), ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace sheaf::cli
