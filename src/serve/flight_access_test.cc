/// Who may do what over Flight: what the gate, which knows the path alone, leaves to the methods.

#include <arrow/array/builder_primitive.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "access/password.h"
#include "io/sim_testing.h"
#include "serve/flight_batches.h"
#include "serve/flight_service.h"
#include "serve/service_testing.h"
#include "wire/base64.h"
#include "wire/protobuf_writer.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;

std::string Path(const char* method) { return std::string("/arrow.flight.protocol.FlightService/") + method; }

std::string Command(std::string_view name, std::string_view text) {
  std::string descriptor;
  wire::ProtobufWriter writer(&descriptor);
  writer.Varint(1, 2);
  writer.Bytes(2, wire::EncodeFlightSqlAny(name, wire::EncodeFirstBytes(text)));
  return descriptor;
}

class FlightAccessTest : public testing::Test {
 protected:
  FlightAccessTest() {
    arrow::Int64Builder builder;
    EXPECT_TRUE(builder.AppendValues({1, 2, 3}).ok());
    batch_ = arrow::RecordBatch::Make(arrow::schema({arrow::field("n", arrow::int64())}), 3, {builder.Finish().ValueOrDie()});
    engine_.batches = {batch_};
    service_.Register(&transport_, "flight");
  }

  void ComeAs(const std::string& user, const std::string& roles) {
    transport_.sender = std::make_shared<const access::Identity>(
        access::Identity{.user = user, .roles = access::ParseRoles(roles).ValueOrDie(), .peer = "192.0.2.1:1"});
  }
  std::shared_ptr<FakeCall> Ask(const char* method, const std::string& message) {
    return transport_.GrpcStream(Path(method), message);
  }
  std::shared_ptr<FakeCall> Act(std::string_view type, std::string_view body) {
    std::string action;
    wire::ProtobufWriter writer(&action);
    writer.Bytes(1, type);
    writer.Bytes(2, body);
    return Ask("DoAction", action);
  }
  std::string InfoOf(const std::string& sql) {
    const auto call = Ask("GetFlightInfo", Command("CommandStatementQuery", sql));
    EXPECT_EQ(call->status->code, GrpcCode::kOk) << call->status->message;
    return call->replies.front();
  }
  GrpcCode Get(const std::string& info) {
    return Ask("DoGet", wire::EncodeFirstBytes(wire::ReadFlightTickets(info).ValueOrDie().at(0)))->status->code;
  }
  GrpcCode PutTo(const std::vector<std::string>& path) {
    auto [call, receiver] = transport_.GrpcDuplex(Path("DoPut"));
    std::string message;
    wire::ProtobufWriter(&message).Bytes(1, wire::EncodeFlightPath(path));
    receiver->OnMessage(MakeBody(message.append(EncodeSchemaData(*batch_->schema()).ValueOrDie())), [] {});
    if (!call->status) receiver->OnEnd();
    return call->status->code;
  }

  FakeTransport transport_;
  FakeEngine engine_;
  FakeDatabase database_;
  FlightService service_{&engine_, &database_, {}};
  std::shared_ptr<arrow::RecordBatch> batch_;
};

TEST_F(FlightAccessTest, StatementsRunAsWhoeverSendsThem) {
  ComeAs("ada", "reader");
  const std::string info = InfoOf("SELECT 1");
  EXPECT_EQ(Get(info), GrpcCode::kOk);
  ASSERT_NE(engine_.last.identity, nullptr);
  EXPECT_EQ(engine_.last.identity->user, "ada");
  EXPECT_EQ(Ask("DoGet", wire::EncodeFirstBytes("SELECT 2"))->status->code, GrpcCode::kOk);
  ASSERT_NE(engine_.last.identity, nullptr);
  EXPECT_EQ(engine_.last.identity->user, "ada");
}

TEST_F(FlightAccessTest, AnothersTicketIsNotThere) {
  ComeAs("ada", "reader");
  const std::string info = InfoOf("SELECT 1");
  ComeAs("bob", "admin");
  EXPECT_EQ(Get(info), GrpcCode::kNotFound);
  EXPECT_EQ(Act("CancelFlightInfo", wire::EncodeFirstBytes(info))->status->code, GrpcCode::kNotFound);
  transport_.sender = nullptr;
  EXPECT_EQ(Get(info), GrpcCode::kNotFound);
  ComeAs("ada", "reader");
  EXPECT_EQ(Get(info), GrpcCode::kOk) << "nobody has cancelled it";
}

TEST_F(FlightAccessTest, AnothersPreparedStatementIsNotThere) {
  ComeAs("ada", "reader");
  const auto made = Act("CreatePreparedStatement",
                        wire::EncodeFlightSqlAny("ActionCreatePreparedStatementRequest", wire::EncodeFirstBytes("SELECT 1")));
  const std::string body = wire::ReadFirstBytes(made->replies.front()).ValueOrDie();
  const auto message = wire::ReadFlightSqlAny(body);
  ASSERT_TRUE(message);
  const std::string handle = wire::ReadFirstBytes(message->value).ValueOrDie();
  const std::string close = wire::EncodeFlightSqlAny("ActionClosePreparedStatementRequest", wire::EncodeFirstBytes(handle));
  ComeAs("bob", "admin");
  EXPECT_EQ(Ask("GetFlightInfo", Command("CommandPreparedStatementQuery", handle))->status->code, GrpcCode::kNotFound);
  EXPECT_EQ(Act("ClosePreparedStatement", close)->status->code, GrpcCode::kOk) << "as of any handle that is not there";
  ComeAs("ada", "reader");
  EXPECT_EQ(Ask("GetFlightInfo", Command("CommandPreparedStatementQuery", handle))->status->code, GrpcCode::kOk);
  Act("ClosePreparedStatement", close);
  EXPECT_EQ(Ask("GetFlightInfo", Command("CommandPreparedStatementQuery", handle))->status->code, GrpcCode::kNotFound);
}

TEST_F(FlightAccessTest, ActionsOnTheDatabaseTakeAnAdministrator) {
  for (const char* roles : {"reader", "writer", "admin:main"}) {
    ComeAs("ada", roles);
    EXPECT_EQ(Act("flush", "")->status->code, GrpcCode::kPermissionDenied) << roles;
    EXPECT_EQ(Act("snapshot", "")->status->code, GrpcCode::kPermissionDenied) << roles;
    EXPECT_EQ(Act("health", "")->status->code, GrpcCode::kOk) << roles;
  }
  ComeAs("ada", "admin");
  EXPECT_EQ(Act("flush", "")->status->code, GrpcCode::kOk);
}

TEST_F(FlightAccessTest, RowsTakeAWriterOfTheirSchema) {
  for (const char* roles : {"reader", "writer:main"}) {
    ComeAs("ada", roles);
    EXPECT_EQ(PutTo({"otel", "logs"}), GrpcCode::kPermissionDenied) << roles;
  }
}

TEST_F(FlightAccessTest, AHandshakeWithAPasswordBeginsASession) {
  io::SimFileSystem disk;
  io::SimClock clock;
  const std::string hash = access::HashPassword("correct horse").ValueOrDie();
  ASSERT_TRUE(access::ChangeUsers(&disk, "/db", [&](access::UserTable* table) {
                return table->Add(
                    {.name = "ada", .roles = {.everywhere = access::Role::kReader, .in_schemas = {}}, .password = hash});
              }).ok());
  const auto users = access::Authenticator::Open(&disk, &clock, "/db").ValueOrDie();
  FlightService service(&engine_, &database_, {.users = users.get()});
  FakeTransport transport;
  service.Register(&transport, "flight");
  std::string basic = "Basic ";
  wire::AppendBase64("ada:correct horse", &basic);
  const auto come = [&](const std::string& header) {
    transport.sender = std::make_shared<const access::Identity>(users->Authenticate(header, "192.0.2.1:1").ValueOrDie());
    return *transport.GrpcDuplex(Path("Handshake")).first->status;
  };
  const GrpcStatus answer = come(basic);
  EXPECT_EQ(answer.code, GrpcCode::kOk);
  ASSERT_EQ(answer.trailers.size(), 1U);
  EXPECT_EQ(answer.trailers[0].first, "authorization");
  const std::string bearer = answer.trailers[0].second;
  EXPECT_THAT(bearer, HasSubstr("Bearer sheaf_"));
  EXPECT_EQ(users->Authenticate(bearer, "192.0.2.1:1").ValueOrDie().user, "ada");
  EXPECT_TRUE(come(bearer).trailers.empty()) << "a session makes no session";
}

}  // namespace
}  // namespace sheaf::serve
