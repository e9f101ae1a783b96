#include "core/parallel.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace sheaf {
namespace {

TEST(Parallel, RunsEachPieceOnce) {
  for (const int threads : {-1, 0, 1, 2, 7}) {
    for (const size_t pieces : {0, 1, 2, 5, 1000}) {
      std::vector<std::atomic<int>> runs(pieces);
      RunPieces(threads, pieces, [&](size_t piece) { ++runs[piece]; });
      for (size_t i = 0; i < pieces; ++i) EXPECT_EQ(runs[i], 1) << i << " of " << pieces << ", threads: " << threads;
    }
  }
}

TEST(Parallel, RunsPiecesAtTheSameTime) {
  std::atomic<int> here{0};
  RunPieces(2, 2, [&](size_t) {  // Would never end on one thread.
    ++here;
    while (here < 2) std::this_thread::yield();
  });
  EXPECT_EQ(here, 2);
}

TEST(Parallel, ThrowsWhatAPieceThrew) {
  for (const int threads : {1, 3}) {
    std::atomic<int> begun{0};
    const auto work = [&](size_t piece) {
      ++begun;
      if (piece == 4) throw std::runtime_error("piece four");
    };
    EXPECT_THROW(RunPieces(threads, 1'000'000, work), std::runtime_error) << threads;
    EXPECT_LT(begun, 1'000'000);
  }
}

}  // namespace
}  // namespace sheaf
