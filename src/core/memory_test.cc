#include "core/memory.h"

#include <arrow/buffer.h>
#include <gtest/gtest.h>

#include "core/status.h"

namespace sheaf {
namespace {

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
  auto refused = arrow::AllocateBuffer(1000, &pool);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kOutOfMemory);
  EXPECT_NE(refused.status().message().find("'ingest' is limited to 1024 bytes"), std::string::npos);
  kept = nullptr;
  EXPECT_TRUE(arrow::AllocateBuffer(1000, &pool).ok());
}

}  // namespace
}  // namespace sheaf
