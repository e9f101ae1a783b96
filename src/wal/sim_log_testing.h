/// The log on a simulated disk: what its tests of crashes, faults and damage begin with.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/sim_testing.h"
#include "wal/log_testing.h"

namespace sheaf::wal {

using Strings = std::vector<std::string>;

/// Path of the first segment of a log of SimLogOptions().
inline constexpr char kFirstSegment[] = "/wal/wal-0000000000000001.log";

/// Segments of 32 KiB, so that a few entries begin the next; neither COMMIT nor buffered entries wait for a clock.
inline LogOptions SimLogOptions() {
  LogOptions options;
  options.directory = "/wal";
  options.segment_bytes = 32 << 10;
  options.commit_delay_ms = 0;
  options.buffered_sync_ms = 3'600'000;
  return options;
}

/// One disk, one clock, one log.
class SimLogTest : public testing::Test {
 protected:
  OpenedLog Open() { return OpenLog(&disk_, &clock_, options_).ValueOrDie(); }

  io::SimFileSystem disk_;
  io::SimClock clock_;
  LogOptions options_ = SimLogOptions();
};

}  // namespace sheaf::wal
