#include "core/status.h"

#include <gtest/gtest.h>

namespace sheaf {
namespace {

TEST(Status, KindSurvivesContext) {
  const Status inner = MakeError(ErrorKind::kThrottled, "queue holds {} bytes", 7);
  const Status outer = WithContext(inner, "appending to otel.traces");
  EXPECT_EQ(KindOf(outer), ErrorKind::kThrottled);
  EXPECT_EQ(outer.message(), "appending to otel.traces: queue holds 7 bytes");
}

TEST(Status, ArrowErrorsAreClassifiedByCode) {
  EXPECT_EQ(KindOf(Status::Invalid("x")), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(Status::OutOfMemory("x")), ErrorKind::kOutOfMemory);
  EXPECT_EQ(KindOf(Status::IOError("x")), ErrorKind::kIo);
  EXPECT_EQ(KindOf(Status::UnknownError("x")), ErrorKind::kInternal);
}

}  // namespace
}  // namespace sheaf
