#include "client/export_queue.h"

#include <future>

#include <gtest/gtest.h>

#include "io/sim_testing.h"

namespace sheaf::client {
namespace {

TEST(ExportQueue, RestartedQueueHoldsNoMoreMemoryThanItMay) {
  io::SimFileSystem disk;
  io::SimClock clock;
  const ExportQueueOptions options{.directory = "/queue", .bytes_max = 8 << 20, .boot_id = "boot"};
  ExportQueueReport report;
  {
    const auto queue = ExportQueue::Open(options, &disk, &clock, &report).ValueOrDie();
    for (int i = 0; i < 2; ++i) {
      std::promise<Status> done;
      ASSERT_TRUE(queue->Enqueue(wire::OtlpRequest::kLogs, 1, "request", [&](const Status& status) { done.set_value(status); }).ok());
      ASSERT_TRUE(done.get_future().get().ok());
    }
  }
  const auto queue = ExportQueue::Open(options, &disk, &clock, &report).ValueOrDie();
  EXPECT_EQ(report.requests, 2);
  int64_t due_ns = 0;
  const auto batch = queue->Take(true, &due_ns).ValueOrDie();
  ASSERT_TRUE(batch.has_value());
  for (const QueuedRequest& request : batch->requests) EXPECT_EQ(request.request->parent(), nullptr) << "a slice of the log's memory";
}

TEST(ExportQueue, SecondOpenOfAFolderIsRefused) {
  io::SimFileSystem disk;
  io::SimClock clock;
  ExportQueueReport report;
  const auto queue = ExportQueue::Open({.directory = "/queue"}, &disk, &clock, &report).ValueOrDie();
  EXPECT_EQ(KindOf(ExportQueue::Open({.directory = "/queue"}, &disk, &clock, &report).status()), ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace sheaf::client
