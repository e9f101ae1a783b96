#include "serve/server.h"

#include <algorithm>
#include <chrono>
#include <filesystem>  // NOLINT: a test's own folder.
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "access/password.h"
#include "access/user_file.h"
#include "wire/base64.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kTraceId = "5b8efff798038103d269b633813fc60c";

/// Sends one HTTP/1.1 request and returns all that comes back, head and body.
std::string Request(uint16_t port, const std::string& method, const std::string& path, const std::string& type = {},
                    const std::string& body = {}, const std::string& authorization = {}) {
  boost::asio::io_context context;
  boost::asio::ip::tcp::socket socket(context);
  boost::system::error_code error;
  socket.connect({boost::asio::ip::make_address("127.0.0.1"), port}, error);
  if (error) return "no connection: " + error.message();
  const std::string request = fmt::format("{} {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {}\r\n"
                                          "{}Content-Length: {}\r\n\r\n{}",
                                          method, path, type, authorization.empty() ? "" : "Authorization: " + authorization + "\r\n",
                                          body.size(), body);
  boost::asio::write(socket, boost::asio::buffer(request), error);
  std::string response;
  boost::asio::read(socket, boost::asio::dynamic_buffer(response), error);
  return response;
}

std::string BodyOf(const std::string& response) { return response.substr(std::min(response.size(), response.find("\r\n\r\n") + 4)); }

std::string Sql(uint16_t port, const std::string& sql) { return BodyOf(Request(port, "POST", "/v1/sql?format=csv", "text/plain", sql)); }

std::string SpanNamed(const std::string& name) {
  return fmt::format(R"({{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
      "scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"eee19b7ec3c1b174","name":"{}","kind":2,"startTimeUnixNano":"1544712660000000000",
      "endTimeUnixNano":"1544712661000000000"}}]}}]}}]}})", kTraceId, name);
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    config_.storage.data = testing::TempDir() + fmt::format("/sheaf_server_{}_{}", getpid(), ++folders_);
    config_.server.port_otlp_grpc = config_.server.port_otlp_http = config_.server.port_flight = config_.server.port_http = 0;
    config_.server.stop_grace_ms = 2000;
    config_.log.level = "warn";
  }
  ~ServerTest() override { std::filesystem::remove_all(config_.storage.data); }  // NOLINT: a test's own folder.

  std::unique_ptr<Server> Start() {
    auto server = Server::Start(config_);
    EXPECT_TRUE(server.ok()) << server.status().ToString();
    return server.ok() ? std::move(*server) : nullptr;
  }

  Config config_;

 private:
  static inline int folders_ = 0;
};

TEST_F(ServerTest, TakesSpansAnswersSqlAndKeepsThemOverARestart) {
  auto server = Start();
  ASSERT_NE(server, nullptr);
  const std::string posted = Request(server->ports().otlp_http, "POST", "/v1/traces", "application/json", SpanNamed("buy"));
  EXPECT_THAT(posted, StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(BodyOf(posted), "{}");
  const std::string sql = fmt::format("SELECT name, service_name, kind, duration_ns FROM traces WHERE trace_id = '{}'", kTraceId);
  EXPECT_THAT(Sql(server->ports().http, sql), HasSubstr("buy,shop,SERVER,1000000000"));
  ASSERT_TRUE(server->Stop().ok());
  EXPECT_TRUE(server->Stop().ok()) << "a second time changes nothing";
  server = Start();
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(Sql(server->ports().http, sql), HasSubstr("buy,shop,SERVER,1000000000"));
}

TEST_F(ServerTest, TellsHealthAndMetrics) {
  const auto server = Start();
  ASSERT_NE(server, nullptr);
  const uint16_t port = server->ports().http;
  EXPECT_THAT(Request(port, "GET", "/healthz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Request(port, "GET", "/readyz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Request(port, "GET", "/metrics"), HasSubstr("sheaf_durable_lsn"));
  EXPECT_THAT(Request(port, "GET", "/v1/subscribe"), StartsWith("HTTP/1.1 501"));
  EXPECT_THAT(Request(port, "GET", "/v1/sql"), StartsWith("HTTP/1.1 405"));
}

TEST_F(ServerTest, WrongSqlIsA400WithItsPosition) {
  const auto server = Start();
  ASSERT_NE(server, nullptr);
  const std::string response = Request(server->ports().http, "POST", "/v1/sql", "text/plain", "SELECT nmae FROM traces");
  EXPECT_THAT(response, StartsWith("HTTP/1.1 400"));
  const auto error = nlohmann::json::parse(BodyOf(response))["error"];
  EXPECT_EQ(error["code"], "invalid");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("name"));
  EXPECT_EQ(error["position"], 7);
}

TEST_F(ServerTest, SqlFromClientsCannotReadFiles) {
  const auto server = Start();
  ASSERT_NE(server, nullptr);
  const std::string response = Request(server->ports().http, "POST", "/v1/sql", "text/plain", "SELECT * FROM read_csv('/etc/passwd')");
  EXPECT_THAT(response, testing::AnyOf(StartsWith("HTTP/1.1 400"), StartsWith("HTTP/1.1 403")));
}

TEST_F(ServerTest, RefusesAPublicAddressWithoutAuthentication) {
  config_.server.bind = "0.0.0.0";
  const auto server = Server::Start(config_);
  ASSERT_FALSE(server.ok());
  EXPECT_EQ(KindOf(server.status()), ErrorKind::kDenied);
  EXPECT_THAT(server.status().message(), HasSubstr("0.0.0.0"));
}

TEST_F(ServerTest, WithUsersEveryRequestButHealthNeedsTheRole) {
  std::map<std::string, std::string> tokens;
  const std::string hash = access::HashPassword("reader's password").ValueOrDie();
  for (const access::Role role : {access::Role::kReader, access::Role::kWriter, access::Role::kAdmin}) {
    const access::NewToken made = access::MakeToken("", 1, 0).ValueOrDie();
    const std::string name = RoleName(role);
    tokens[name] = "Bearer " + made.text;
    ASSERT_TRUE(access::ChangeUsers(io::PosixFileSystem(), config_.storage.data, [&](access::UserTable* table) {
                  SHEAF_RETURN_NOT_OK(table->Add({.name = name, .roles = {.everywhere = role, .in_schemas = {}}, .password = hash}));
                  return table->AddToken(name, made.token, 1);
                }).ok());
  }
  const auto server = Start();
  ASSERT_NE(server, nullptr);
  const auto [grpc, otlp, flight, http] = server->ports();
  const auto Code = [](const std::string& response) { return response.substr(9, 3); };
  const auto Ask = [&, http = http](const std::string& sql, const std::string& authorization) {
    return Request(http, "POST", "/v1/sql", "text/plain", sql, authorization);
  };
  EXPECT_EQ(Code(Request(http, "GET", "/healthz")), "200");
  const std::string refused = Ask("SELECT 1", "");
  EXPECT_EQ(Code(refused), "401");
  EXPECT_THAT(refused, HasSubstr("Basic realm="));
  EXPECT_EQ(nlohmann::json::parse(BodyOf(refused))["error"]["code"], "unauthenticated");
  std::string basic = "Basic ";
  wire::AppendBase64("reader:reader's password", &basic);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Code(Ask("SELECT 1", basic)), "200") << "hashed, and remembered";
  EXPECT_EQ(Code(Ask("SELECT 1", basic + "AA")), "401");
  const std::string span = SpanNamed("buy");
  const struct {
    const char *reader, *writer, *admin;
    std::function<std::string(const std::string&)> ask;
  } table[] = {
      {"200", "200", "200", [&](const std::string& as) { return Ask("SELECT count(*) FROM traces", as); }},
      {"200", "200", "200", [&, http = http](const std::string& as) { return Request(http, "GET", "/metrics", "", "", as); }},
      {"403", "200", "200",
       [&, otlp = otlp](const std::string& as) { return Request(otlp, "POST", "/v1/traces", "application/json", span, as); }},
      {"403", "403", "200", [&](const std::string& as) { return Ask("CREATE TABLE IF NOT EXISTS t (k BIGINT PRIMARY KEY)", as); }},
      {"403", "403", "200", [&](const std::string& as) { return Ask("SELECT * FROM sheaf.queries", as); }},
      {"403", "403", "200", [&, http = http](const std::string& as) { return Request(http, "GET", "/v1/snapshots", "", "", as); }},
  };
  for (const auto& row : table) {
    EXPECT_EQ(Code(row.ask("")), "401");
    EXPECT_EQ(Code(row.ask(tokens["reader"])), row.reader) << row.ask(tokens["reader"]);
    EXPECT_EQ(Code(row.ask(tokens["writer"])), row.writer) << row.ask(tokens["writer"]);
    EXPECT_EQ(Code(row.ask(tokens["admin"])), row.admin) << row.ask(tokens["admin"]);
  }
}

TEST_F(ServerTest, PortInUseFailsAndLeavesNothingBehind) {
  auto first = Start();
  ASSERT_NE(first, nullptr);
  const Config wanted = config_;
  config_.storage.data += "_second";
  config_.server.port_http = first->ports().http;
  const auto second = Server::Start(config_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(KindOf(second.status()), ErrorKind::kUnavailable);
  config_.server.port_http = 0;
  EXPECT_NE(Start(), nullptr) << "the directory is free again";
  std::filesystem::remove_all(config_.storage.data);  // NOLINT: a test's own folder.
  config_ = wanted;
}

TEST_F(ServerTest, ADirectoryHasOneServer) {
  const auto first = Start();
  ASSERT_NE(first, nullptr);
  const auto second = Server::Start(config_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(KindOf(second.status()), ErrorKind::kUnavailable);
}

TEST_F(ServerTest, RetentionIsSetAtStart) {
  config_.storage.retention_ms = 86'400'000;
  const auto server = Start();
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->database()->FindTable("otel", "logs").ValueOrDie()->retention_ms, 86'400'000);
}

/// A client that keeps its connection open after one answer, and does not look at it.
struct IdleClient {
  boost::asio::io_context context;
  boost::asio::ip::tcp::socket socket{context};
};

std::unique_ptr<IdleClient> AskAndStayConnected(uint16_t port) {
  auto client = std::make_unique<IdleClient>();
  client->socket.connect({boost::asio::ip::make_address("127.0.0.1"), port});
  boost::asio::write(client->socket, boost::asio::buffer(std::string("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")));
  std::string answer(12, '\0');
  boost::asio::read(client->socket, boost::asio::buffer(answer));
  EXPECT_EQ(answer, "HTTP/1.1 200");
  return client;
}

TEST_F(ServerTest, StopDoesNotWaitForClientsThatKeepIdleConnections) {
  auto fastest = std::chrono::steady_clock::duration::max();  // Of several: the machine may have other things to do.
  for (int i = 0; i < 3; ++i) {
    auto server = Start();
    ASSERT_NE(server, nullptr);
    const auto client = AskAndStayConnected(server->ports().http);
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(server->Stop().ok());
    fastest = std::min(fastest, std::chrono::steady_clock::now() - began);
    std::string rest;
    boost::system::error_code error;
    boost::asio::read(client->socket, boost::asio::dynamic_buffer(rest), error);
    EXPECT_EQ(error, boost::asio::error::eof) << "the answer was destroyed by a reset: " << error.message();
    EXPECT_THAT(rest, testing::EndsWith("ok\n")) << "the rest of the answer";
  }
  EXPECT_LT(fastest, std::chrono::seconds(1));
}

TEST(IsLoopback, KnowsTheAddressesOnlyThisMachineReaches) {
  for (const char* address : {"127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"}) EXPECT_TRUE(IsLoopback(address)) << address;
  for (const char* address : {"0.0.0.0", "::", "10.0.0.1", "example.com", "127.evil.com", "1127.0.0.1"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace sheaf::serve
