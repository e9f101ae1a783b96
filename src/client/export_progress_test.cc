#include "client/export_progress.h"

#include <cstring>

#include <gtest/gtest.h>

#include "core/crc32c.h"
#include "io/sim_testing.h"

namespace sheaf::client {
namespace {

TEST(ExportProgress, FailedWritesLeaveTheOtherSlotWhole) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    io::SimFileSystem disk(seed);
    ASSERT_TRUE(disk.MakeDirectories("/q").ok());
    const auto open = [&] { return ExportProgress::Open(&disk, "/q/DELIVERED", "boot").ValueOrDie(); };
    {
      const auto progress = open();
      EXPECT_FALSE(progress->trusted());
      ASSERT_TRUE(progress->Start(0).ok());
      progress->window()->Deliver(1);
      ASSERT_TRUE(progress->Write().ok());
      for (uint64_t number = 2; number < 5; ++number) {
        disk.FailNth(io::SimOp::kWrite, 1, MakeError(ErrorKind::kIo, "broken"));
        progress->window()->Deliver(number);
        EXPECT_FALSE(progress->Write().ok());
      }
    }
    EXPECT_TRUE(open()->trusted()) << seed;
    EXPECT_GE(open()->window()->through(), 1U) << seed;
  }
}

TEST(ExportProgress, FileOfANewerProgramIsNoDamage) {
  io::SimFileSystem disk;
  ASSERT_TRUE(disk.MakeDirectories("/q").ok());
  auto slot = DeliveryWindow(5).Encode({.sequence = 2});
  slot[8] = std::byte{2};
  for (size_t i = 12; i < 16; ++i) slot[i] = std::byte{0};
  const uint32_t crc = Crc32c(slot);
  std::memcpy(slot.data() + 12, &crc, sizeof crc);
  disk.SetContents("/q/DELIVERED", std::string(reinterpret_cast<const char*>(slot.data()), slot.size()));
  EXPECT_EQ(KindOf(ExportProgress::Open(&disk, "/q/DELIVERED", "boot").status()), ErrorKind::kUnsupported);
}


}  // namespace
}  // namespace sheaf::client
