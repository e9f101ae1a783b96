#include <fmt/format.h>
#include <gtest/gtest.h>

#include "serve/protocol_testing.h"

namespace sheaf::serve {
namespace {

using std::chrono::milliseconds;

constexpr const char* kHello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(Http1Connection, AnswersInPiecesOfAnySize) {
  const std::string request = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  for (size_t piece = 1; piece <= request.size(); ++piece) {
    ProtocolRig rig(ProtocolRig::Version::kHttp1);
    EXPECT_EQ(rig.Feed(request, piece), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde") << "pieces of " << piece;
    EXPECT_TRUE(rig.open());
  }
}

TEST(Http1Connection, AnswersPipelinedRequestsInOrder) {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  const std::string answers = rig.Feed(std::string(kHello) + "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + kHello);
  EXPECT_LT(answers.find("200 OK"), answers.find("404 Not Found"));
  EXPECT_LT(answers.find("404 Not Found"), answers.rfind("200 OK"));
}

TEST(Http1Connection, StreamsInChunks) {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  EXPECT_EQ(rig.Feed("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\npiece\r\n5\r\npiece\r\n5\r\npiece\r\n0\r\n\r\n");
}

TEST(Http1Connection, GivesMemoryBackAfterEachRequest) {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  rig.Feed("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + std::string(200000, 'x'));
  EXPECT_GE(rig.memory_bytes(), 200000);
  rig.Feed(std::string(100000, 'x'));
  EXPECT_EQ(rig.memory_bytes(), 0);
}

TEST(Http1Connection, RefusesInOverloadBeforeTheBody) {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  rig.set_overloaded(true);
  const std::string answer = rig.Feed("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
  EXPECT_NE(answer.find("503 Service Unavailable"), std::string::npos);
  EXPECT_NE(answer.find("retry-after: 1"), std::string::npos);
  rig.set_overloaded(false);
  EXPECT_NE(rig.Feed(std::string(1000, 'x') + kHello).find("hello"), std::string::npos);
}

TEST(Http1Connection, WordsItsErrorsAsTheListenerDoes) {
  const auto format = [](const RefusedRequest& refused) {
    return ErrorBody{"x/y", fmt::format("{} {} {}", refused.status, refused.content_type, refused.retry_after_ms)};
  };
  const struct {
    const char* request;
    const char* body;
  } rows[] = {
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain", "400 a/b -1"},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n", "415 a/b -1"},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 99999999999\r\n\r\n", "413 a/b -1"},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400 a/b -1"},
      {"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", "404  -1"},
      {"\r\nno HTTP at all\r\n\r\n", "400  -1"},
  };
  for (const auto& row : rows) {
    ProtocolRig rig(ProtocolRig::Version::kHttp1);
    rig.set_error_formatter(format);
    const std::string answer = rig.Feed(row.request);
    EXPECT_NE(answer.find("\r\ncontent-type: x/y\r\n"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with(std::string("\r\n\r\n") + row.body)) << answer;
  }
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  rig.set_error_formatter(format);
  rig.set_overloaded(true);
  EXPECT_TRUE(rig.Feed("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").ends_with("\r\n\r\n503  1000"));
}

TEST(Http1Connection, ClosesWhenTheHeaderTakesTooLong) {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  rig.Feed("GET /hel");
  rig.Pass(milliseconds(9'000));
  EXPECT_TRUE(rig.open());
  rig.Feed("lo");
  rig.Pass(milliseconds(2'000));
  EXPECT_FALSE(rig.open());
}

TEST(Http1Connection, ClosesWhenIdle) {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  rig.Feed(kHello);
  rig.Pass(milliseconds(299'000));
  EXPECT_TRUE(rig.open());
  rig.Pass(milliseconds(2'000));
  EXPECT_FALSE(rig.open());
}

TEST(Http1Connection, AnswersATooSlowBodyWith408) {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  rig.Feed("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
  EXPECT_EQ(rig.Pass(milliseconds(9'000)), "");
  EXPECT_NE(rig.Pass(milliseconds(2'000)).find("408"), std::string::npos);
}

}  // namespace
}  // namespace sheaf::serve
