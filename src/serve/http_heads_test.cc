#include "serve/http_heads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/protocol_testing.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Send(const std::string& request, const std::string& origins = "https://tool.example") {
  ProtocolRig rig(ProtocolRig::Version::kHttp1);
  rig.set_head_checker(MakeHeadChecker(ParseOrigins(origins).ValueOrDie()));
  return rig.Feed(request);
}

TEST(HttpHeads, EveryAnswerHasTheIdOfItsRequest) {
  for (const char* line : {"GET /hello", "GET /nothing", "DELETE /hello", "OPTIONS /hello", "GET /stream"}) {
    EXPECT_THAT(Send(std::string(line) + " HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine-7\r\n\r\n"),
                HasSubstr("x-request-id: mine-7\r\n"))
        << line;
    EXPECT_THAT(Send(std::string(line) + " HTTP/1.1\r\nHost: x\r\n\r\n"),
                testing::ContainsRegex("x-request-id: [0-9a-f]{16}\r\n"))
        << line;
  }
}

TEST(HttpHeads, IdsThatCouldBreakALogAreReplacedForTheHandlerToo) {
  const HeadChecker check = MakeHeadChecker({});
  for (const std::string& id : {std::string("a b"), std::string(200, 'x'), std::string("\x01")}) {
    Headers headers = {{"x-request-id", id}};
    const HeadVerdict verdict = check("GET", &headers);
    EXPECT_EQ(headers[0].second.size(), 16u);
    EXPECT_EQ(verdict.answer, (Headers{{"x-request-id", headers[0].second}}));
  }
}

TEST(HttpHeads, BrowsersLetPagesOfNamedOriginsIn) {
  const std::string preflight =
      Send("OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://tool.example\r\nAccess-Control-Request-Method: POST\r\n\r\n");
  EXPECT_THAT(preflight, HasSubstr("204 No Content"));
  EXPECT_THAT(preflight, HasSubstr("access-control-allow-origin: https://tool.example\r\n"));
  EXPECT_THAT(preflight, HasSubstr("access-control-allow-methods: GET, HEAD, POST\r\n"));
  EXPECT_THAT(preflight, HasSubstr("Idempotency-Key"));
  EXPECT_THAT(preflight, HasSubstr("vary: origin\r\n"));
  const std::string post = Send("POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://tool.example\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_THAT(post, HasSubstr("200 OK"));
  EXPECT_THAT(post, HasSubstr("access-control-expose-headers: "));
  EXPECT_THAT(post, Not(HasSubstr("access-control-allow-methods")));
}

TEST(HttpHeads, PagesOfOtherOriginsSendNothing) {
  for (const char* origin : {"https://evil.example", "http://tool.example", "https://tool.example:81", "null", "x"}) {
    for (const char* known : {"", "https://tool.example"}) {
      const std::string post =
          Send(std::string("POST /echo HTTP/1.1\r\nHost: x:1\r\nOrigin: ") + origin + "\r\nContent-Length: 2\r\n\r\nhi", known);
      EXPECT_THAT(post, HasSubstr("403 ")) << origin;
      EXPECT_THAT(post, HasSubstr("http.cors_origins"));
      EXPECT_THAT(post, Not(HasSubstr("access-control")));
      const std::string get = Send(std::string("GET /hello HTTP/1.1\r\nHost: x:1\r\nOrigin: ") + origin + "\r\n\r\n", known);
      EXPECT_THAT(get, HasSubstr("200 OK")) << "the browser keeps the answer from the page";
      EXPECT_THAT(get, Not(HasSubstr("access-control")));
    }
  }
}

TEST(HttpHeads, TheServersOwnPagesMaySend) {
  EXPECT_THAT(Send("POST /echo HTTP/1.1\r\nHost: box:8080\r\nOrigin: http://BOX:8080\r\nContent-Length: 2\r\n\r\nhi", ""),
              HasSubstr("200 OK"));
}

TEST(ParseOrigins, TakesNamesAndSaysWhatIsNone) {
  EXPECT_EQ(ParseOrigins(" https://A.example,http://[::1]:3000  http://localhost ").ValueOrDie(),
            (Origins{"https://a.example", "http://[::1]:3000", "http://localhost"}));
  EXPECT_TRUE(ParseOrigins("").ValueOrDie().empty());
  for (const char* wrong : {"*", "tool.example", "https://", "https://a/b", "ftp://a", "https://a?x", "null"}) {
    const auto parsed = ParseOrigins(wrong);
    EXPECT_EQ(KindOf(parsed.status()), ErrorKind::kInvalid) << wrong;
  }
  EXPECT_THAT(ParseOrigins("*").status().message(), HasSubstr("name each origin"));
  std::string many;
  for (int i = 0; i < 65; ++i) many += "http://h" + std::to_string(i) + " ";
  EXPECT_THAT(ParseOrigins(many).status().message(), HasSubstr("at most 64"));
}

}  // namespace
}  // namespace sheaf::serve
