#include "core/bounded_queue.h"

#include <thread>

#include <gtest/gtest.h>

namespace sheaf {
namespace {

TEST(BoundedQueue, RefusesWhenFullAndDrainsAfterClose) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_FALSE(queue.TryPush(3));
  queue.Close();
  EXPECT_FALSE(queue.Push(4));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueue, KeepsOrderAcrossThreads) {
  BoundedQueue<int> queue(3);
  std::thread producer([&] {
    for (int i = 0; i < 1000; ++i) queue.Push(i);
    queue.Close();
  });
  int next = 0;
  while (auto item = queue.Pop()) EXPECT_EQ(*item, next++);
  EXPECT_EQ(next, 1000);
  producer.join();
}

}  // namespace
}  // namespace sheaf
