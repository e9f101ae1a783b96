#include "core/memory.h"

#include <limits>

#include <arrow/buffer.h>
#include <gtest/gtest.h>

#include "core/status.h"

namespace sheaf {
namespace {

TEST(TrackingPool, AnyNumberOfBytesMayBeAskedForAndIsRefusedBeyondTheLimit) {
  TrackingPool pool("numbers of strangers", 1000);
  uint8_t *small = nullptr, *large = nullptr;
  ASSERT_TRUE(pool.Allocate(100, 64, &small).ok());
  for (const int64_t bytes : {int64_t{901}, std::numeric_limits<int64_t>::max() - 50, std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(KindOf(pool.Allocate(bytes, 64, &large)), ErrorKind::kOutOfMemory) << bytes;
  }
  EXPECT_EQ(KindOf(pool.Reallocate(100, std::numeric_limits<int64_t>::max(), 64, &small)), ErrorKind::kOutOfMemory);
  EXPECT_EQ(pool.bytes_allocated(), 100);
  pool.Free(small, 100, 64);
}

TEST(TrackingPool, CountsCurrentPeakTotalAndNumber) {
  TrackingPool pool("test", 0);
  {
    auto a = arrow::AllocateResizableBuffer(64, &pool).ValueOrDie();
    ASSERT_TRUE(a->Resize(256).ok());
    EXPECT_EQ(pool.bytes_allocated(), 256);
    ASSERT_TRUE(a->Resize(64, /*shrink_to_fit=*/true).ok());
    EXPECT_EQ(pool.bytes_allocated(), 64);
  }
  EXPECT_EQ(pool.bytes_allocated(), 0);
  EXPECT_EQ(pool.max_memory(), 256);
  EXPECT_EQ(pool.total_bytes_allocated(), 256);
  EXPECT_EQ(pool.num_allocations(), 2);
}

TEST(TrackingPool, RefusesBeyondTheLimitAndStaysUsable) {
  TrackingPool pool("ingest", 1024);
  auto kept = arrow::AllocateBuffer(1000, &pool);
  ASSERT_TRUE(kept.ok());
  EXPECT_FALSE(pool.refused());
  auto refused = arrow::AllocateBuffer(1000, &pool);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kOutOfMemory);
  EXPECT_NE(refused.status().message().find("'ingest' is limited to 1024 bytes"), std::string::npos);
  EXPECT_TRUE(pool.refused());
  kept = nullptr;
  EXPECT_TRUE(arrow::AllocateBuffer(1000, &pool).ok());
}

TEST(TrackingPool, ALimitMayChangeWhileItIsInUse) {
  TrackingPool pool("test", 0);
  const auto kept = arrow::AllocateBuffer(1000, &pool);
  ASSERT_TRUE(kept.ok());
  pool.SetLimit(1000);
  EXPECT_EQ(KindOf(arrow::AllocateBuffer(1, &pool).status()), ErrorKind::kOutOfMemory);
  EXPECT_EQ(pool.Use().limit_bytes, 1000);
  pool.SetLimit(0);
  EXPECT_TRUE(arrow::AllocateBuffer(1, &pool).ok());
  EXPECT_EQ(pool.Use().limit_bytes, std::nullopt);
}

TEST(MemoryCounter, KeepsItsPeakAndSaysItsLimit) {
  MemoryCounter counter("test", 100);
  EXPECT_EQ(counter.Add(80), 80);
  EXPECT_EQ(counter.Add(-50), 30);
  const MemoryUse use = counter.Use();
  EXPECT_EQ(use.component, "test");
  EXPECT_EQ(use.current_bytes, 30);
  EXPECT_EQ(use.peak_bytes, 80);
  EXPECT_EQ(use.limit_bytes, 100);
}

MemoryUse UseOf(const std::string& component) {
  for (MemoryUse& use : MemoryUses()) {
    if (use.component == component) return std::move(use);
  }
  return {};
}

TEST(MemoryUses, ShowsNamedPoolsWithAllTheirNumbers) {
  TrackingPool& pool = NamedPool("memory_test");
  EXPECT_EQ(&NamedPool("memory_test"), &pool);
  const auto kept = arrow::AllocateBuffer(1000, &pool).ValueOrDie();
  (void)arrow::AllocateBuffer(2000, &pool).ValueOrDie();
  const MemoryUse use = UseOf("memory_test");
  EXPECT_EQ(use.component, "memory_test");
  EXPECT_EQ(use.current_bytes, pool.bytes_allocated());
  EXPECT_GE(use.current_bytes, 1000);
  EXPECT_GE(use.peak_bytes, 3000);
  EXPECT_GE(use.total_bytes, 3000);
  EXPECT_EQ(use.allocations, 2);
  EXPECT_EQ(use.limit_bytes, std::nullopt);
}

TEST(MemoryUses, AddsUpSourcesOfOneNameAndForgetsThoseThatAreGone) {
  auto first = std::make_shared<TrackingPool>("memory_test_shared", 100);
  auto second = std::make_shared<TrackingPool>("memory_test_shared", 200);
  AddMemorySource(first);
  AddMemorySource(second);
  EXPECT_EQ(UseOf("memory_test_shared").limit_bytes, 300);
  second.reset();
  EXPECT_EQ(UseOf("memory_test_shared").limit_bytes, 100);
  first.reset();
  EXPECT_EQ(UseOf("memory_test_shared").component, "");
}

}  // namespace
}  // namespace sheaf
