#include "core/out_of_memory.h"

#include <new>
#include <stdexcept>

#include <gtest/gtest.h>

namespace sheaf {
namespace {

TEST(OutOfMemory, IsAnErrorWhereItIsCaught) {
  EXPECT_EQ(KindOf(CatchOutOfMemory([]() -> Status { throw std::bad_alloc(); })), ErrorKind::kOutOfMemory);
  EXPECT_EQ(CatchOutOfMemory([]() -> Result<int> { return 7; }).ValueOrDie(), 7);
  EXPECT_THROW(static_cast<void>(CatchOutOfMemory([]() -> Status { throw std::runtime_error("else"); })), std::runtime_error);
}

TEST(OutOfMemory, IsToldWhateverALibraryCallsIt) {
  EXPECT_TRUE(IsOutOfMemory(MakeError(ErrorKind::kOutOfMemory, "enough")));
  EXPECT_TRUE(IsOutOfMemory(arrow::Status::IOError("Couldn't deserialize thrift: std::bad_alloc")));
  EXPECT_FALSE(IsOutOfMemory(arrow::Status::IOError("Couldn't deserialize thrift: no more data to read.")));
  EXPECT_FALSE(IsOutOfMemory(Status::OK()));
}

template <typename Exception>
void Throw(const Exception& exception) {
  throw exception;
}

TEST(OutOfMemoryDeathTest, SaysWhyTheProcessEnds) {
  const auto end = [](const auto& exception) {
    ExplainTermination();
    [&]() noexcept { Throw(exception); }();
  };
  EXPECT_DEATH(end(std::bad_alloc()), "out of memory in the middle of a change.*Nothing that was acknowledged is lost");
  EXPECT_DEATH(end(std::runtime_error("a reason")), "an error in the program: a reason.*Nothing that was acknowledged is lost");
}

}  // namespace
}  // namespace sheaf
