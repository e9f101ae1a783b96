#include "client/grpc_client.h"

#include <future>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/grpc_server_testing.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::unique_ptr<GrpcClient> Client(const ScriptedGrpcServer& server) { return GrpcClient::Make(server.url()).ValueOrDie(); }
GrpcRequest Request() { return {.path = "/test.Service/Method"}; }

TEST(GrpcClient, CallIsAnsweredOnAConnectionThatIsKept) {
  ScriptedGrpcServer server({{.reply = "pong"}});
  const auto client = Client(server);
  for (int i = 0; i < 3; ++i) {
    const auto reply = client->Call({.path = "/a.B/C", .metadata = {{"x-key", "v"}}}, "ping");
    EXPECT_TRUE(reply.end.ok()) << reply.end.message;
    EXPECT_EQ(reply.message, "pong");
  }
  EXPECT_EQ(server.connections(), 1);
  const auto requests = server.requests();
  ASSERT_THAT(requests, SizeIs(3));
  EXPECT_EQ(requests[0].path, "/a.B/C");
  EXPECT_EQ(requests[0].message, "ping");
  EXPECT_EQ(requests[0].header("x-key"), "v");
  EXPECT_EQ(requests[0].header("content-type"), "application/grpc");
}

TEST(GrpcClient, ManyCallsAreUnderWayAtOnce) {
  ScriptedGrpcServer server([](const auto& request) { return ScriptedAnswer{.reply = request.message}; });
  const auto client = Client(server);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      const std::string text(static_cast<size_t>(i) * 20'000 + 1, static_cast<char>('a' + i));
      for (int n = 0; n < 10; ++n) right += client->Call(Request(), text).message == text;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 160);
  EXPECT_EQ(server.connections(), 1);
}

TEST(GrpcClient, ErrorsComeWithTheirMessageAndRetryInfo) {
  const std::string info("\x1a\x30\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x04\x0a\x02\x08\x02", 50);
  ScriptedGrpcServer server({{.code = 14, .message = "busy: 100% full", .details = info}, {.code = 3, .message = "no"}, {.code = 99}});
  const auto client = Client(server);
  GrpcEnd end = client->Call(Request(), "x").end;
  EXPECT_EQ(end.code, GrpcCode::kUnavailable);
  EXPECT_EQ(end.message, "busy: 100% full");
  EXPECT_EQ(end.retry_after_ms, 2000);
  EXPECT_TRUE(end.from_server);
  EXPECT_FALSE(end.perhaps_processed);
  end = client->Call(Request(), "x").end;
  EXPECT_EQ(end.code, GrpcCode::kInvalidArgument);
  EXPECT_EQ(end.retry_after_ms, std::nullopt);
  EXPECT_EQ(client->Call(Request(), "x").end.code, GrpcCode::kUnknown);
}

TEST(GrpcClient, CutOffCallSaysWhetherTheServerMayHaveActed) {
  ScriptedGrpcServer server({{.what = ScriptedAnswer::kDisconnect},
                             {.what = ScriptedAnswer::kRefuse},
                             {.what = ScriptedAnswer::kReset},
                             {.what = ScriptedAnswer::kHttp, .code = 503},
                             {.reply = "ok"}});
  const auto client = Client(server);
  GrpcEnd end = client->Call(Request(), "x").end;
  EXPECT_EQ(end.code, GrpcCode::kUnavailable);
  EXPECT_TRUE(end.perhaps_processed);
  EXPECT_FALSE(end.from_server);
  end = client->Call(Request(), "x").end;
  EXPECT_EQ(end.code, GrpcCode::kUnavailable);
  EXPECT_FALSE(end.perhaps_processed);
  EXPECT_TRUE(client->Call(Request(), "x").end.perhaps_processed);
  end = client->Call(Request(), "x").end;
  EXPECT_EQ(end.code, GrpcCode::kUnavailable);
  EXPECT_THAT(end.message, HasSubstr("HTTP 503"));
  EXPECT_EQ(client->Call(Request(), "x").message, "ok");
  EXPECT_EQ(server.connections(), 2);
}

TEST(GrpcClient, NothingListens) {
  uint16_t port = 0;
  { port = ScriptedGrpcServer(std::vector<ScriptedAnswer>{{}}).port(); }
  const auto client = GrpcClient::Make({.host = "127.0.0.1", .port = port}).ValueOrDie();
  const GrpcEnd end = client->Call(Request(), "x").end;
  EXPECT_EQ(end.code, GrpcCode::kUnavailable);
  EXPECT_FALSE(end.perhaps_processed);
  EXPECT_THAT(end.message, HasSubstr("connecting to 127.0.0.1"));
}

TEST(GrpcClient, DeadlineEndsTheCallAndASilentConnection) {
  ScriptedGrpcServer server({{.reply = "first"}, {.what = ScriptedAnswer::kHang}, {.reply = "late"}});
  const auto client = Client(server);
  EXPECT_EQ(client->Call(Request(), "x").message, "first");
  GrpcRequest request = Request();
  request.timeout = milliseconds(100);
  const GrpcEnd end = client->Call(request, "x").end;
  EXPECT_EQ(end.code, GrpcCode::kDeadlineExceeded);
  EXPECT_TRUE(end.perhaps_processed);
  EXPECT_EQ(client->Call(Request(), "x").message, "late");
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(server.requests()[1].header("grpc-timeout"), "100m");
}

TEST(GrpcClient, AfterGoawayTheNextCallHasAConnectionOfItsOwn) {
  ScriptedGrpcServer server({{.reply = "last", .goaway = true}, {.reply = "new"}});
  const auto client = Client(server);
  EXPECT_EQ(client->Call(Request(), "x").message, "last");
  EXPECT_EQ(client->Call(Request(), "x").message, "new");
  EXPECT_EQ(server.connections(), 2);
}

TEST(GrpcClient, MessagesAreCompressedBothWays) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kEcho}});
  const auto client = Client(server);
  const std::string text(100'000, 'z');
  for (const auto encoding : {wire::Encoding::kGzip, wire::Encoding::kZstd}) {
    GrpcRequest request = Request();
    request.compression = encoding;
    const auto reply = client->Call(request, text);
    EXPECT_TRUE(reply.end.ok()) << reply.end.message;
    EXPECT_EQ(reply.message, text);
  }
  EXPECT_LT(server.requests()[0].message.size(), 2'000u);
  EXPECT_EQ(server.requests()[1].header("grpc-encoding"), "zstd");
}

TEST(GrpcClient, StreamCarriesMessagesBothWaysUntilItIsFinished) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kEcho}});
  const auto client = Client(server);
  Mutex mutex;
  CondVar changed;
  std::vector<std::string> received;
  std::promise<GrpcEnd> ended;
  const auto stream = client->Open(
      Request(),
      [&](std::string message) {
        MutexLock lock(&mutex);
        received.push_back(std::move(message));
        changed.NotifyAll();
      },
      [&](GrpcEnd end) { ended.set_value(std::move(end)); });
  for (const char* text : {"a", "b", "c"}) {
    ASSERT_TRUE(stream->Write(text).ok());
    MutexLock lock(&mutex);
    while (received.empty() || received.back() != text) changed.Wait(&mutex);
  }
  stream->Finish();
  EXPECT_TRUE(ended.get_future().get().ok());
  EXPECT_THAT(received, ElementsAre("a", "b", "c"));
}

TEST(GrpcClient, CancelEndsOpenCalls) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kHang}});
  auto client = Client(server);
  std::promise<GrpcEnd> first, second, third;
  const auto one = client->Open(Request(), [](std::string) {}, [&](GrpcEnd end) { first.set_value(end); });
  one->Cancel();
  EXPECT_EQ(first.get_future().get().code, GrpcCode::kCancelled);
  const auto two = client->Open(Request(), [](std::string) {}, [&](GrpcEnd end) { second.set_value(end); });
  client->CancelAll();
  EXPECT_EQ(second.get_future().get().code, GrpcCode::kCancelled);
  const auto three = client->Open(Request(), [](std::string) {}, [&](GrpcEnd end) { third.set_value(end); });
  const GrpcEnd later = third.get_future().get();
  EXPECT_EQ(later.code, GrpcCode::kCancelled) << "one that was on its way when all were cancelled";
  EXPECT_FALSE(later.perhaps_processed);
}

TEST(GrpcClient, DestructionEndsOpenCalls) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kHang}});
  auto client = Client(server);
  std::promise<GrpcEnd> ended;
  const auto stream = client->Open(Request(), [](std::string) {}, [&](GrpcEnd end) { ended.set_value(end); });
  client.reset();
  EXPECT_EQ(ended.get_future().get().code, GrpcCode::kCancelled);
}

TEST(GrpcClient, LookUpThatHangsHoldsNobody) {
  const auto release = std::make_shared<std::promise<void>>();
  const auto released = std::make_shared<std::shared_future<void>>(release->get_future());
  const HostLookUp hangs = [released](const std::string&) {
    released->wait();
    return std::vector<std::string>{"127.0.0.1"};
  };
  auto client = GrpcClient::Make({.host = "a.name", .port = 1}, {.connect_timeout = milliseconds(50), .look_up = hangs}).ValueOrDie();
  const GrpcEnd end = client->Call(Request(), "x").end;
  EXPECT_EQ(end.code, GrpcCode::kUnavailable);
  EXPECT_FALSE(end.perhaps_processed);
  EXPECT_THAT(end.message, HasSubstr("no answer in time"));
  client.reset();
  release->set_value();
}

TEST(GrpcClient, EachAddressOfAHostIsTried) {
  ScriptedGrpcServer server({{.reply = "pong"}});
  const HostLookUp two = [](const std::string&) { return std::vector<std::string>{"127.0.0.9", "127.0.0.1"}; };
  const auto client = GrpcClient::Make({.host = "a.name", .port = server.port()}, {.look_up = two}).ValueOrDie();
  EXPECT_EQ(client->Call(Request(), "x").message, "pong");
}

TEST(GrpcClient, HeadersThatAreTooLargeEndTheirCallOnly) {
  ScriptedGrpcServer server({{.code = 3, .message = std::string(20'000, 'm')}, {.reply = "pong"}});
  const auto client = Client(server);
  EXPECT_THAT(client->Call(Request(), "x").end.message, HasSubstr("too large"));
  EXPECT_EQ(client->Call(Request(), "x").message, "pong");
  EXPECT_EQ(server.connections(), 1);
}

TEST(GrpcClient, BytesThatWentOutAreCounted) {
  ScriptedGrpcServer server({{.reply = "pong"}});
  const auto client = Client(server);
  EXPECT_EQ(client->Call(Request(), "ping").end.sent_bytes, 9);
  GrpcRequest zipped = Request();
  zipped.compression = wire::Encoding::kZstd;
  EXPECT_LT(client->Call(zipped, std::string(10'000, 'p')).end.sent_bytes, 200);
}

TEST(GrpcClient, ConnectionWithoutSignsOfLifeIsGivenUp) {
  // The system connects, and nobody ever reads: what a connection is whose other end has vanished.
  boost::asio::io_context io;
  boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
  const auto client =
      GrpcClient::Make({.host = "127.0.0.1", .port = acceptor.local_endpoint().port()}, {.ping_after = std::chrono::milliseconds(50)});
  const auto end = (*client)->Call({.path = "/a.B/C"}, "x").end;  // Without a deadline.
  EXPECT_EQ(end.code, GrpcCode::kUnavailable);
  EXPECT_TRUE(end.perhaps_processed);
  EXPECT_THAT(end.message, testing::HasSubstr("no sign of life"));
}

TEST(GrpcClient, SlowServerThatShowsSignsOfLifeIsWaitedFor) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kHang}});
  const auto client = GrpcClient::Make(server.url(), {.ping_after = std::chrono::milliseconds(50)});
  const auto end = (*client)->Call({.path = "/a.B/C", .timeout = std::chrono::milliseconds(600)}, "x").end;
  EXPECT_EQ(end.code, GrpcCode::kDeadlineExceeded) << end.message;
}

TEST(GrpcClient, ServerThatIsDoneBeforeTheClientEndsTheCall) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.code = 12, .message = "no such thing"}});
  const auto client = GrpcClient::Make(server.url());
  std::promise<GrpcEnd> ended;
  const auto stream = (*client)->Open({.path = "/a.B/C"}, [](const auto&) {}, [&](GrpcEnd end) { ended.set_value(std::move(end)); });
  ASSERT_TRUE(stream->Write("x").ok());
  EXPECT_EQ(ended.get_future().get().code, GrpcCode::kUnimplemented);
}

}  // namespace
}  // namespace sheaf::client
