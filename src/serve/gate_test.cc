#include "serve/gate.h"

#include <string>

#include <gtest/gtest.h>

#include "access/user_file.h"
#include "io/sim_testing.h"

namespace sheaf::serve {
namespace {

using access::Action;
using access::Role;

TEST(Gate, PathsTakeWhatTheyAreFor) {
  const PathRight read{.action = Action::kRead, .schema = {}, .anywhere = true}, read_all{.action = Action::kRead};
  const PathRight write{.action = Action::kWrite, .schema = {}, .anywhere = true},
      otel{.action = Action::kWrite, .schema = "otel"};
  const PathRight administer{.action = Action::kAdminister};
  const struct {
    const char *method, *path;
    std::optional<PathRight> right;
  } table[] = {
      {"GET", "/healthz", std::nullopt},
      {"HEAD", "/readyz", std::nullopt},
      {"GET", "/", std::nullopt},
      {"POST", "/grpc.health.v1.Health/Watch", std::nullopt},
      {"GET", "/metrics", read_all},
      {"POST", "/v1/sql", read},
      {"GET", "/v1/tables/main.t/rows/1", read},
      {"POST", "/v1/tables/main.t", write},
      {"POST", "/v1/logs", otel},
      {"POST", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", otel},
      {"POST", "/opentelemetry.proto.experimental.arrow.v1.ArrowLogsService/ArrowLogs", otel},
      {"POST", "/arrow.flight.protocol.FlightService/DoGet", read},
      {"GET", "/v1/snapshots", administer},
      {"POST", "/v1/snapshots", administer},
      {"DELETE", "/healthz", administer},
      {"GET", "/healthz/x", administer},
      {"POST", "/what.comes.Later/Call", administer},
  };
  for (const auto& row : table) EXPECT_TRUE(RightOfPath(row.method, row.path) == row.right) << row.method << " " << row.path;
}

TEST(Gate, HandlersMayAskForMore) {
  EXPECT_TRUE(CheckRight(nullptr, Action::kAdminister).ok()) << "there is no gate";
  const access::Identity ada{.user = "ada", .roles = access::ParseRoles("writer:main").ValueOrDie(), .peer = ""};
  EXPECT_TRUE(CheckRight(&ada, Action::kWrite, "main").ok());
  EXPECT_EQ(KindOf(CheckRight(&ada, Action::kWrite, "otel")), ErrorKind::kDenied);
  EXPECT_EQ(KindOf(CheckRight(&ada, Action::kAdminister)), ErrorKind::kDenied);
}

class GateTest : public testing::Test {
 protected:
  std::string Add(const std::string& name, const std::string& roles) {
    const access::NewToken made = access::MakeToken("", 1, 0).ValueOrDie();
    EXPECT_TRUE(access::ChangeUsers(&disk_, "/db", [&](access::UserTable* table) {
                  SHEAF_RETURN_NOT_OK(table->Add({.name = name, .roles = access::ParseRoles(roles).ValueOrDie()}));
                  return table->AddToken(name, made.token, 1);
                }).ok());
    return "Bearer " + made.text;
  }
  void Open(const access::UserLimitOptions& limits = {}) {
    users_ = access::Authenticator::Open(&disk_, &clock_, "/db").ValueOrDie();
    gate_ = std::make_unique<Gate>(users_.get(), &clock_, limits);
  }
  Entry Enter(const std::string& method, const std::string& path, const std::string& authorization) {
    return gate_->Enter({.method = method, .path = path, .authorization = authorization, .peer = "192.0.2.1:1"});
  }
  std::optional<RefusalKind> Refused(const std::string& method, const std::string& path, const std::string& authorization) {
    const Entry entry = Enter(method, path, authorization);
    if (const auto* refusal = std::get_if<Refusal>(&entry)) return refusal->kind;
    return std::nullopt;
  }

  io::SimFileSystem disk_;
  io::SimClock clock_;
  std::unique_ptr<access::Authenticator> users_;
  std::unique_ptr<Gate> gate_;
};

TEST_F(GateTest, WithoutUsersEverybodyComesIn) {
  ASSERT_TRUE(disk_.MakeDirectories("/db").ok());
  Open();
  for (const char* path : {"/healthz", "/v1/sql", "/v1/snapshots"}) EXPECT_FALSE(Refused("POST", path, "")) << path;
  const Entry entry = Enter("POST", "/v1/sql", "");
  EXPECT_EQ(std::get<Passage>(entry).identity->roles.everywhere, Role::kAdmin);
}

TEST_F(GateTest, WithUsersTheRoleDecides) {
  const std::string reader = Add("rita", "reader"), writer = Add("walter", "writer");
  Open();
  EXPECT_EQ(Refused("POST", "/v1/sql", ""), RefusalKind::kUnauthenticated);
  EXPECT_EQ(Refused("POST", "/v1/sql", "Bearer nonsense"), RefusalKind::kUnauthenticated);
  EXPECT_FALSE(Refused("GET", "/healthz", "Bearer nonsense"));
  EXPECT_FALSE(Refused("POST", "/v1/sql", reader));
  EXPECT_EQ(Refused("POST", "/v1/traces", reader), RefusalKind::kDenied);
  EXPECT_FALSE(Refused("POST", "/v1/traces", writer));
  EXPECT_EQ(Refused("POST", "/v1/snapshots", writer), RefusalKind::kDenied);
  const Entry entry = Enter("POST", "/v1/sql", reader);
  const access::Identity& identity = *std::get<Passage>(entry).identity;
  EXPECT_EQ(identity.user, "rita");
  EXPECT_EQ(identity.roles.everywhere, Role::kReader);
  EXPECT_EQ(identity.peer, "192.0.2.1:1");
}

TEST_F(GateTest, TelemetryIsForWritersOfItsSchema) {
  const std::string collector = Add("collector", "writer:otel"), other = Add("other", "writer:main");
  Open();
  EXPECT_FALSE(Refused("POST", "/v1/traces", collector));
  EXPECT_EQ(Refused("POST", "/v1/traces", other), RefusalKind::kDenied);
  EXPECT_FALSE(Refused("POST", "/v1/sql", other));
  EXPECT_EQ(Refused("GET", "/metrics", other), RefusalKind::kDenied);
}

TEST_F(GateTest, APlaceIsHeldUntilThePassageEnds) {
  const std::string reader = Add("rita", "reader");
  Open({.requests_at_once = 1});
  {
    const Entry first = Enter("POST", "/v1/sql", reader);
    ASSERT_TRUE(std::holds_alternative<Passage>(first));
    EXPECT_EQ(Refused("POST", "/v1/sql", reader), RefusalKind::kThrottled);
    EXPECT_FALSE(Refused("GET", "/healthz", reader));
  }
  EXPECT_FALSE(Refused("POST", "/v1/sql", reader));
}

}  // namespace
}  // namespace sheaf::serve
