#include "serve/transport_routes.h"

#include <gtest/gtest.h>

namespace sheaf::serve {
namespace {

class Routes : public testing::Test {
 protected:
  Routes() {
    for (const char* path : {"/a", "/a/*", "/a/*/rows/*", "/a/b/*"}) routes_.AddHttp("GET", path, {.inline_on_io = false});
    routes_.AddHttp("POST", "/a/*", {});
  }
  std::string Allow(const std::string& path) { return routes_.FindHttp("DELETE", path).allow; }
  const HttpRoute* Find(const std::string& path) { return routes_.FindHttp("GET", path).route; }

  TransportRoutes routes_;
};

TEST_F(Routes, ALongerPatternWins) {
  EXPECT_EQ(Allow("/a"), "GET, HEAD");
  EXPECT_EQ(Allow("/a/x"), "GET, POST, HEAD");
  EXPECT_EQ(Allow("/a/x/rows/1/2"), "GET, HEAD");
  EXPECT_EQ(Allow("/a/b/c"), "GET, HEAD");
  EXPECT_EQ(Allow("/b"), "");
}

TEST_F(Routes, AMiddleNeedsSomethingBefore) {
  EXPECT_EQ(Find("/a//rows/x"), Find("/a/x"));
  EXPECT_NE(Find("/a/x/rows/"), Find("/a/x"));
  EXPECT_NE(Find("/a/x/rows/1"), Find("/a/x"));
  EXPECT_EQ(Find("/a/x/rows"), Find("/a/x"));
}

}  // namespace
}  // namespace sheaf::serve
