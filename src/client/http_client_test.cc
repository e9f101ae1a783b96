#include "client/http_client.h"

#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/http_server_testing.h"
#include "client/otlp_exporter.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

std::string Answer200(const std::string& body) {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

HttpRequest Get() { return {.method = "GET", .target = "/x"}; }

TEST(HttpClient, ConnectionIsKeptForTheNextRequest) {
  ScriptedServer server({{Answer200("one")}, {Answer200("two")}});
  auto client = HttpClient::Make(server.url()).ValueOrDie();
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "one");
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "two");
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, RetryAfterIsHonouredAndBounded) {
  std::vector<milliseconds> waits;
  ScriptedServer server({{"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"},
                         {"HTTP/1.1 429 Slow\r\nRetry-After: 9999\r\nContent-Length: 0\r\n\r\n"},
                         {Answer200("ok")}});
  HttpClientOptions options;
  options.sleep = [&](milliseconds wait) { waits.push_back(wait); };
  auto client = HttpClient::Make(server.url(), options).ValueOrDie();
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "ok");
  EXPECT_THAT(waits, ElementsAre(milliseconds(7'000), options.backoff_max));
}

TEST(HttpClient, LastAnswerIsReturnedWhenAttemptsAreUsedUp) {
  const std::string busy = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
  ScriptedServer server({{busy}, {busy}});
  HttpClientOptions options;
  options.attempts_max = 2;
  options.sleep = [](milliseconds) {};
  auto client = HttpClient::Make(server.url(), options).ValueOrDie();
  const HttpResponse response = client->Send(Get()).ValueOrDie();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "busy");
}

TEST(HttpClient, LostAnswerIsAskedAgainOnlyIfRepeatable) {
  ScriptedServer server({{"", true}, {"", true}, {Answer200("ok")}});
  HttpClientOptions options;
  options.sleep = [](milliseconds) {};
  auto client = HttpClient::Make(server.url(), options).ValueOrDie();
  const auto lost = client->Send(Get());
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(KindOf(lost.status()), ErrorKind::kUnavailable);
  EXPECT_EQ(server.requests(), 1);
  HttpRequest repeatable = Get();
  repeatable.repeatable = true;
  EXPECT_EQ(client->Send(repeatable).ValueOrDie().body, "ok");
}

TEST(HttpClient, BrokenBodyIsAnErrorNotAShortAnswer) {
  ScriptedServer server({{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", true}});
  auto client = HttpClient::Make(server.url()).ValueOrDie();
  const auto response = client->Send(Get());
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(KindOf(response.status()), ErrorKind::kUnavailable);
}

TEST(HttpClient, ChunkedBodyStreams) {
  ScriptedServer server({{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"}});
  auto client = HttpClient::Make(server.url()).ValueOrDie();
  auto stream = client->Start(Get()).ValueOrDie();
  std::string all;
  char chunk[2];
  for (;;) {
    const int64_t bytes = stream->Read(chunk).ValueOrDie();
    if (bytes == 0) break;
    all.append(chunk, static_cast<size_t>(bytes));
  }
  EXPECT_EQ(all, "abcde");
}

TEST(HttpClient, SilenceEndsInATimeout) {
  ScriptedServer server({{""}, {""}});
  HttpClientOptions options;
  options.response_timeout = milliseconds(50);
  auto client = HttpClient::Make(server.url(), options).ValueOrDie();
  const auto response = client->Send(Get());
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(KindOf(response.status()), ErrorKind::kTimeout);
  client.reset();
}

TEST(HttpClient, InterimAnswersArePassedOver) {
  const std::string interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  ScriptedServer server({{interim + Answer200("one")}, {Answer200("two")}});
  auto client = HttpClient::Make(server.url()).ValueOrDie();
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "one");
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "two");
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, WhatStandsUnreadIsNotTheNextAnswer) {
  const std::string late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
  ScriptedServer server({{Answer200("one") + late, true}, {Answer200("two")}});
  auto client = HttpClient::Make(server.url()).ValueOrDie();
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "one");
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "two");
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpClient, WholeCallHasALimit) {
  ScriptedServer server({{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"}, {""}});
  HttpClientOptions options;
  options.call_timeout = milliseconds(50);
  auto client = HttpClient::Make(server.url(), options).ValueOrDie();
  EXPECT_EQ(KindOf(client->Send(Get()).status()), ErrorKind::kTimeout);
  client.reset();
}

TEST(HttpClient, CancelEndsTheWait) {
  ScriptedServer server({{""}, {""}});
  HttpClientOptions options;
  options.cancelled = [] { return true; };
  auto client = HttpClient::Make(server.url(), options).ValueOrDie();
  const auto response = client->Send(Get());
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(KindOf(response.status()), ErrorKind::kCancelled);
  client.reset();
}

TEST(HttpClient, NobodyListeningIsTriedAgainThenNamed) {
  uint16_t port = 0;
  {
    boost::asio::io_context io;
    port = boost::asio::ip::tcp::acceptor(io, {boost::asio::ip::address_v4::loopback(), 0}).local_endpoint().port();
  }
  int waits = 0;
  HttpClientOptions options;
  options.attempts_max = 3;
  options.sleep = [&](milliseconds) { ++waits; };
  auto client = HttpClient::Make({.host = "127.0.0.1", .port = port}, options).ValueOrDie();
  const auto response = client->Send(Get());
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(waits, 2);
  EXPECT_THAT(response.status().ToString(), HasSubstr(fmt::format("127.0.0.1:{}", port)));
}

TEST(OtlpExporter, PartialSuccessIsRead) {
  const std::string body("\x0a\x06\x08\x03\x12\x02no", 8);  // partial_success { rejected: 3, error_message: "no" }
  ScriptedServer server({{Answer200(body), true}});
  OtlpExporter exporter(HttpClient::Make(server.url()).ValueOrDie());
  const ExportResult result = exporter.Export(OtlpSignal::kTraces, "").ValueOrDie();
  EXPECT_EQ(result.rejected, 3);
  EXPECT_EQ(result.message, "no");
}

TEST(OtlpExporter, ErrorBodyIsQuoted) {
  ScriptedServer server(
      {{"HTTP/1.1 400 Bad\r\nContent-Type: application/x-protobuf\r\nContent-Length: 7\r\n\r\n"
        "\x08\x03\x12\x03"
        "bad",
        true}});
  OtlpExporter exporter(HttpClient::Make(server.url()).ValueOrDie());
  const auto result = exporter.Export(OtlpSignal::kLogs, "x");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kInvalid);
  EXPECT_THAT(result.status().ToString(), HasSubstr("bad"));
}

TEST(Url, FormsAreRead) {
  const Url plain = ParseUrl("http://localhost", 8080).ValueOrDie();
  EXPECT_EQ(plain.authority(), "localhost:8080");
  const Url tls = ParseUrl("https://[::1]:99/base/").ValueOrDie();
  EXPECT_TRUE(tls.tls);
  EXPECT_EQ(tls.authority(), "[::1]:99");
  EXPECT_EQ(tls.path, "/base");
}

TEST(Url, WrongFormsAreRefused) {
  for (const char* text : {"", "localhost:80", "ftp://x", "http://", "http://h:0", "http://h:70000", "http://h:x", "http://u@h",
                           "http://[::1", "http://[::1]x"}) {
    EXPECT_FALSE(ParseUrl(text).ok()) << text;
  }
}

TEST(HttpClient, LookUpThatHangsEndsByTheTimeoutAndByCancelling) {
  const auto release = std::make_shared<std::promise<void>>();
  const auto released = std::make_shared<std::shared_future<void>>(release->get_future());
  std::atomic<bool> cancelled = false;
  HttpClientOptions options{.connect_timeout = milliseconds(50), .attempts_max = 1};
  options.look_up = [released](const std::string&) {
    released->wait();
    return std::vector<std::string>{"127.0.0.1"};
  };
  options.cancelled = [&] { return cancelled.load(); };
  auto client = HttpClient::Make({.host = "a.name", .port = 1}, options).ValueOrDie();
  EXPECT_EQ(KindOf(client->Send(Get()).status()), ErrorKind::kTimeout);
  EXPECT_FALSE(client->may_have_arrived());
  cancelled = true;
  options.connect_timeout = std::chrono::hours(1);
  client = HttpClient::Make({.host = "a.name", .port = 1}, options).ValueOrDie();
  EXPECT_EQ(KindOf(client->Send(Get()).status()), ErrorKind::kCancelled);
  client.reset();
  release->set_value();
}

TEST(HttpClient, EachAddressOfAHostIsTried) {
  ScriptedServer server({{Answer200("one")}});
  HttpClientOptions options{.attempts_max = 1};
  options.look_up = [](const std::string&) { return std::vector<std::string>{"127.0.0.9", "127.0.0.1"}; };
  const auto client = HttpClient::Make({.host = "a.name", .port = server.port()}, options).ValueOrDie();
  EXPECT_EQ(client->Send(Get()).ValueOrDie().body, "one");
}

TEST(HttpClient, RetryAfterIsSecondsOrADate) {
  const auto now = std::chrono::system_clock::from_time_t(784'111'777);  // Sun, 06 Nov 1994 08:49:37 GMT.
  EXPECT_EQ(ParseRetryAfter("", now).count(), 0);
  EXPECT_EQ(ParseRetryAfter("120", now).count(), 120'000);
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:50:07 GMT", now).count(), 30'000);
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:07 GMT", now).count(), 0) << "long over";
  for (const char* wrong : {"-1", "soon", "1.5", "Sun, 06 Nov 1994", "Sun, 06 Nov 1994 08:50:07 GMT+1"}) {
    EXPECT_EQ(ParseRetryAfter(wrong, now).count(), 1'000) << wrong;
  }
  for (const char* far : {"99999999", "99999999999999999999", "Sun, 06 Nov 2094 08:49:37 GMT"}) {
    EXPECT_EQ(ParseRetryAfter(far, now).count(), 86'400'000) << far;
  }
}

TEST(Url, SecretsInAnAddressAreNotShown) {
  const Status wrong = ParseUrl("http://user:secret@host/").status();
  EXPECT_THAT(wrong.message(), testing::Not(HasSubstr("secret")));
  EXPECT_THAT(wrong.message(), HasSubstr("http://…@host"));
}

TEST(TlsContext, WhatIsMissingIsTold) {
  EXPECT_EQ(KindOf(MakeTlsContext({.certificate_file = "x.pem"}).status()), ErrorKind::kInvalid);
  EXPECT_EQ(KindOf(MakeTlsContext({.ca_file = "/no/such.pem"}).status()), ErrorKind::kIo);
  EXPECT_TRUE(MakeTlsContext({}).ok());
}

}  // namespace
}  // namespace sheaf::client
