/// Flight's methods over an engine and a database that do as they are told; clients and the real ones are in
/// tests/e2e/test_flight_sql.py.

#include "serve/flight_service.h"

#include <arrow/array/builder_primitive.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/flight_batches.h"
#include "serve/service_testing.h"
#include "wire/protobuf_writer.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string Path(const char* method) { return std::string("/arrow.flight.protocol.FlightService/") + method; }

std::string Command(std::string_view name, std::string_view text) {
  std::string descriptor;
  wire::ProtobufWriter writer(&descriptor);
  writer.Varint(1, 2);
  writer.Bytes(2, wire::EncodeFlightSqlAny(name, wire::EncodeFirstBytes(text)));
  return descriptor;
}

std::string Action(std::string_view type, std::string_view body) {
  std::string action;
  wire::ProtobufWriter writer(&action);
  writer.Bytes(1, type);
  writer.Bytes(2, body);
  return action;
}

std::string Data(std::string_view descriptor, std::string_view data) {
  std::string message;
  if (!descriptor.empty()) wire::ProtobufWriter(&message).Bytes(1, descriptor);
  return message.append(data);
}

/// Describes statements as it is told.
class ShapedEngine : public FakeEngine {
 public:
  Result<query::StatementShape> Describe(const query::QueryRequest& request) override {
    SHEAF_ASSIGN_OR_RETURN(auto shape, FakeEngine::Describe(request));
    shape.reads_only = reads_only;
    shape.answer = answer;
    if (parameters != nullptr) shape.parameters = parameters;
    return shape;
  }
  Result<std::unique_ptr<query::Query>> Start(const query::QueryRequest& request) override {
    ++started;
    return FakeEngine::Start(request);
  }

  bool reads_only = true;
  query::StatementShape::Answer answer = query::StatementShape::Answer::kRows;
  std::shared_ptr<arrow::Schema> parameters;
  int started = 0;
};

class FlightServiceTest : public testing::Test {
 protected:
  FlightServiceTest() {
    arrow::Int64Builder builder;
    EXPECT_TRUE(builder.AppendValues({1, 2, 3}).ok());
    batch_ = arrow::RecordBatch::Make(arrow::schema({arrow::field("n", arrow::int64())}), 3, {builder.Finish().ValueOrDie()});
    engine_.batches = {batch_, batch_};
    service_.Register(&transport_, "flight");
  }

  /// The only ticket of what GetFlightInfo answers.
  std::string TicketOf(const std::string& descriptor) {
    const auto call = transport_.GrpcStream(Path("GetFlightInfo"), descriptor);
    EXPECT_EQ(call->status->code, GrpcCode::kOk) << call->status->message;
    return wire::ReadFlightTickets(call->replies.front()).ValueOrDie().at(0);
  }
  std::shared_ptr<FakeCall> Get(const std::string& ticket) {
    return transport_.GrpcStream(Path("DoGet"), wire::EncodeFirstBytes(ticket));
  }
  /// Sends messages until one is not wanted; returns the call.
  std::shared_ptr<FakeCall> Put(const std::vector<std::string>& messages, bool end = true) {
    auto [call, receiver] = transport_.GrpcDuplex(Path("DoPut"));
    receivers_.push_back(receiver);
    bool wanted = true;
    for (const std::string& message : messages) {
      if (!wanted) return call;
      wanted = false;
      receiver->OnMessage(MakeBody(message), [&wanted] { wanted = true; });
    }
    if (end && !call->status) receiver->OnEnd();
    return call;
  }

  /// A batch for a path: its schema, then itself.
  std::vector<std::string> BatchFor(const std::vector<std::string>& path, const arrow::RecordBatch& batch) {
    return {Data(wire::EncodeFlightPath(path), EncodeSchemaData(*batch.schema()).ValueOrDie()),
            EncodeBatchData(batch).ValueOrDie()};
  }

  FakeTransport transport_;
  ShapedEngine engine_;
  FakeDatabase database_;
  FlightService service_{&engine_, &database_, {}};
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::vector<std::shared_ptr<GrpcReceiver>> receivers_;
};

TEST_F(FlightServiceTest, AStatementIsPlannedThenSentBatchByBatch) {
  const std::string ticket = TicketOf(Command("CommandStatementQuery", "SELECT 1"));
  EXPECT_EQ(engine_.last.sql, "") << "nothing ran yet";
  const auto call = Get(ticket);
  EXPECT_EQ(engine_.last.sql, "SELECT 1");
  EXPECT_FALSE(engine_.last.trusted);
  EXPECT_EQ(call->status->code, GrpcCode::kOk);
  ASSERT_THAT(call->replies, SizeIs(4)) << "schema, two batches, and the fake's empty reply at the end";
  FlightBatchReader reader(arrow::default_memory_pool());
  ASSERT_TRUE(reader.Take(wire::ReadFlightData(call->replies[0]).ValueOrDie()).ok());
  EXPECT_TRUE(reader.Take(wire::ReadFlightData(call->replies[2]).ValueOrDie()).ValueOrDie()->Equals(*batch_));
}

TEST_F(FlightServiceTest, AnErrorInMidStreamIsTheCallsStatus) {
  engine_.end = MakeError(ErrorKind::kCorruption, "part 7 is damaged");
  const auto call = Get("SELECT 1");
  EXPECT_EQ(call->status->code, GrpcCode::kInternal);
  EXPECT_THAT(call->status->message, HasSubstr("part 7"));
}

TEST_F(FlightServiceTest, ErrorsOfTheEngineHaveTheCodesOfTheTable) {
  for (const auto& [kind, code] :
       {std::pair(ErrorKind::kInvalid, GrpcCode::kInvalidArgument), std::pair(ErrorKind::kThrottled, GrpcCode::kUnavailable),
        std::pair(ErrorKind::kDenied, GrpcCode::kPermissionDenied)}) {
    engine_.refuse = MakeError(kind, "no");
    EXPECT_EQ(Get("SELECT 1")->status->code, code);
    EXPECT_EQ(transport_.GrpcStream(Path("GetFlightInfo"), Command("CommandStatementQuery", "x"))->status->code, code);
    EXPECT_EQ(transport_.GrpcStream(Path("GetSchema"), Command("CommandStatementQuery", "x"))->status->code, code);
  }
}

TEST_F(FlightServiceTest, MalformedMessagesAreRefused) {
  for (const char* method : {"GetFlightInfo", "GetSchema", "DoGet", "ListFlights", "DoAction"}) {
    EXPECT_EQ(transport_.GrpcStream(Path(method), "\x0a\xff")->status->code, GrpcCode::kInvalidArgument) << method;
  }
  EXPECT_EQ(Put({"\x0a\xff"})->status->code, GrpcCode::kInvalidArgument);
  EXPECT_EQ(Put({})->status->code, GrpcCode::kInvalidArgument);
  EXPECT_EQ(Put({Data("", EncodeSchemaData(*batch_->schema()).ValueOrDie())})->status->code, GrpcCode::kInvalidArgument);
  const std::string forged = wire::EncodeFlightSqlAny("TicketStatementQuery", wire::EncodeFirstBytes("nonsense"));
  EXPECT_THAT(Get(forged)->status->message, HasSubstr("none of this server's"));
}

TEST_F(FlightServiceTest, ATicketThatWasCancelledDoesNotRun) {
  const auto info = transport_.GrpcStream(Path("GetFlightInfo"), Command("CommandStatementQuery", "SELECT 1"))->replies.front();
  const auto cancel = transport_.GrpcStream(Path("DoAction"), Action("CancelFlightInfo", wire::EncodeFirstBytes(info)));
  EXPECT_EQ(cancel->replies.front(), wire::EncodeFirstBytes(wire::EncodeFirstNumber(1)));
  EXPECT_EQ(Get(wire::ReadFlightTickets(info).ValueOrDie().front())->status->code, GrpcCode::kCancelled);
}

TEST_F(FlightServiceTest, ACallCanStopTheStatementThatRunsForIt) { EXPECT_TRUE(Get("SELECT 1")->on_cancel); }

TEST_F(FlightServiceTest, PreparedStatementsAreMadeRunAndClosed) {
  const std::string request =
      wire::EncodeFlightSqlAny("ActionCreatePreparedStatementRequest", wire::EncodeFirstBytes("SELECT 2"));
  const auto made = transport_.GrpcStream(Path("DoAction"), Action("CreatePreparedStatement", request));
  ASSERT_EQ(made->status->code, GrpcCode::kOk) << made->status->message;
  const std::string any = wire::ReadFirstBytes(made->replies.front()).ValueOrDie();
  const std::string handle = wire::ReadFirstBytes(wire::ReadFlightSqlAny(any)->value).ValueOrDie();
  EXPECT_EQ(Get(TicketOf(Command("CommandPreparedStatementQuery", handle)))->status->code, GrpcCode::kOk);
  EXPECT_EQ(engine_.last.sql, "SELECT 2");
  const std::string close = wire::EncodeFlightSqlAny("ActionClosePreparedStatementRequest", wire::EncodeFirstBytes(handle));
  EXPECT_EQ(transport_.GrpcStream(Path("DoAction"), Action("ClosePreparedStatement", close))->status->code, GrpcCode::kOk);
  const auto gone = transport_.GrpcStream(Path("GetFlightInfo"), Command("CommandPreparedStatementQuery", handle));
  EXPECT_EQ(gone->status->code, GrpcCode::kNotFound);
}

TEST_F(FlightServiceTest, UnknownAndUnsupportedThingsSaySo) {
  EXPECT_THAT(transport_.GrpcStream(Path("DoAction"), Action("dance", ""))->status->message, HasSubstr("known are"));
  EXPECT_EQ(transport_.GrpcStream(Path("DoAction"), Action("BeginTransaction", ""))->status->code, GrpcCode::kUnimplemented);
  EXPECT_EQ(transport_.GrpcDuplex(Path("DoExchange")).first->status->code, GrpcCode::kUnimplemented);
  EXPECT_EQ(transport_.GrpcDuplex(Path("Handshake")).first->status->code, GrpcCode::kUnimplemented);
  const auto substrait = transport_.GrpcStream(Path("GetFlightInfo"), Command("CommandStatementSubstraitPlan", ""));
  EXPECT_EQ(substrait->status->code, GrpcCode::kUnimplemented);
}

TEST_F(FlightServiceTest, TelemetryTakesNoRowsAsTheyAre) {
  for (const char* schema : {"otel", "otlp"}) {
    const auto refused = Put(BatchFor({schema, "logs"}, *batch_));
    EXPECT_EQ(refused->status->code, GrpcCode::kPermissionDenied);
    EXPECT_THAT(refused->status->message, HasSubstr("send them as OTLP"));
  }
  EXPECT_EQ(database_.appends, 0);
}

TEST_F(FlightServiceTest, AStatementThatWritesAndGivesRowsRunsOnceForItsTicket) {
  engine_.reads_only = false;
  const std::string ticket = TicketOf(Command("CommandStatementQuery", "INSERT INTO t VALUES (1) RETURNING *"));
  EXPECT_EQ(engine_.started, 0);
  EXPECT_EQ(Get(ticket)->status->code, GrpcCode::kOk);
  EXPECT_THAT(Get(ticket)->status->message, HasSubstr("redeemed already"));
  EXPECT_EQ(engine_.started, 1);
  FlightService other(&engine_, &database_, {});
  FakeTransport transport;
  other.Register(&transport, "flight");
  EXPECT_THAT(transport.GrpcStream(Path("DoGet"), wire::EncodeFirstBytes(ticket))->status->message, HasSubstr("started anew"));
  EXPECT_EQ(engine_.started, 1);
}

TEST_F(FlightServiceTest, SetsOfParametersHaveALimit) {
  engine_.answer = query::StatementShape::Answer::kChangedRows;
  engine_.parameters = arrow::schema({arrow::field("1", arrow::null())});
  const auto sets = [](int64_t rows) {
    return arrow::RecordBatch::Make(arrow::schema({arrow::field("1", arrow::null())}), rows,
                                    {std::make_shared<arrow::NullArray>(rows)});
  };
  const auto put = [&](const std::vector<int64_t>& batches) {
    std::vector<std::string> messages = {
        Data(Command("CommandStatementUpdate", "DELETE FROM t WHERE v = ?"), EncodeSchemaData(*sets(0)->schema()).ValueOrDie())};
    for (const int64_t rows : batches) messages.push_back(EncodeBatchData(*sets(rows)).ValueOrDie());
    return Put(messages);
  };
  EXPECT_EQ(put({2, 0, 1})->status->code, GrpcCode::kOk);
  EXPECT_EQ(engine_.started, 3);
  EXPECT_THAT(put({kParameterSetsMax, 1})->status->message, HasSubstr("sets of parameters"));
  EXPECT_EQ(engine_.started, 3) << "nothing of it ran";
}

TEST_F(FlightServiceTest, ACallThatIsOverRunsNoMoreSets) {
  engine_.answer = query::StatementShape::Answer::kChangedRows;
  engine_.parameters = batch_->schema();
  auto [call, receiver] = transport_.GrpcDuplex(Path("DoPut"));
  const auto ignore = [] {};
  receiver->OnMessage(MakeBody(Data(Command("CommandStatementUpdate", "x"), EncodeSchemaData(*batch_->schema()).ValueOrDie())),
                      ignore);
  receiver->OnMessage(MakeBody(EncodeBatchData(*batch_).ValueOrDie()), ignore);
  engine_.before_next = [&call = call] {
    call->is_cancelled = true;
    if (const auto cancel = std::exchange(call->on_cancel, nullptr)) cancel();
  };
  receiver->OnEnd();
  EXPECT_EQ(engine_.started, 1);
  EXPECT_EQ(engine_.cancelled, 1);
}

TEST_F(FlightServiceTest, AStatementThatRunsIsAnsweredWithWhatItDid) {
  engine_.answer = query::StatementShape::Answer::kChangedRows;
  auto [call, receiver] = transport_.GrpcDuplex(Path("DoPut"));
  receiver->OnMessage(MakeBody(Data(Command("CommandStatementUpdate", "x"), "")), [] {});
  bool ran = false;
  engine_.before_next = [&, call = call] {
    service_.EndStreams();
    EXPECT_FALSE(call->status) << "it may be committed yet";
    ran = true;
  };
  receiver->OnEnd();
  ASSERT_TRUE(ran);
  EXPECT_EQ(call->status->code, GrpcCode::kOk);
}

TEST_F(FlightServiceTest, AStatementThatDidNotBeginWhenTheServerStopsDoesNotRun) {
  engine_.answer = query::StatementShape::Answer::kChangedRows;
  auto [call, receiver] = transport_.GrpcDuplex(Path("DoPut"));
  receiver->OnMessage(MakeBody(Data(Command("CommandStatementUpdate", "x"), "")), [] {});
  service_.EndStreams();
  EXPECT_EQ(call->status->code, GrpcCode::kUnavailable);
  receiver->OnEnd();
  EXPECT_EQ(engine_.started, 0);
}

TEST_F(FlightServiceTest, AStreamThatBringsNothingEnds) {
  const auto [call, receiver] = transport_.GrpcDuplex(Path("DoPut"));
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::milliseconds idle = FlightOptions().put_idle_max;
  service_.EndOverdue(now + idle - std::chrono::seconds(1));
  EXPECT_FALSE(call->status);
  service_.EndOverdue(now + idle + std::chrono::seconds(1));
  ASSERT_TRUE(call->status);
  EXPECT_EQ(call->status->code, GrpcCode::kDeadlineExceeded);
  EXPECT_THAT(call->status->message, HasSubstr("nothing came for 600 s"));
}

TEST_F(FlightServiceTest, AStatementThatRunsIsNoIdleStream) {
  engine_.answer = query::StatementShape::Answer::kChangedRows;
  auto [call, receiver] = transport_.GrpcDuplex(Path("DoPut"));
  receiver->OnMessage(MakeBody(Data(Command("CommandStatementUpdate", "x"), "")), [] {});
  engine_.before_next = [&, call = call] {
    service_.EndOverdue(std::chrono::steady_clock::now() + std::chrono::hours(1));
    EXPECT_FALSE(call->status) << "it may be committed yet";
  };
  receiver->OnEnd();
  EXPECT_EQ(call->status->code, GrpcCode::kOk);
}

TEST_F(FlightServiceTest, AReaderThatIsTooSlowForTheStatementsTimeIsCutOff) {
  FlightService service(&engine_, &database_, {.query_timeout_ms = 5'000});
  FakeTransport transport;
  service.Register(&transport, "flight");
  // Sending waits for the reader: what is called meanwhile stands for that.
  bool early = false, late = false;
  engine_.before_next = [&] {
    service.EndOverdue(std::chrono::steady_clock::now() + std::chrono::seconds(4));
    early = true;
    engine_.before_next = [&] {
      service.EndOverdue(std::chrono::steady_clock::now() + std::chrono::seconds(7));
      late = true;
    };
  };
  const auto call = transport.GrpcStream(Path("DoGet"), wire::EncodeFirstBytes("SELECT 1"));
  ASSERT_TRUE(early && late);
  EXPECT_EQ(call->status->code, GrpcCode::kDeadlineExceeded);
  EXPECT_THAT(call->status->message, HasSubstr("5000 ms"));
}

TEST_F(FlightServiceTest, CancellingReachesTheStatementThatRuns) {
  const auto info = transport_.GrpcStream(Path("GetFlightInfo"), Command("CommandStatementQuery", "SELECT 1"))->replies.front();
  engine_.before_next = [&] {
    transport_.GrpcStream(Path("DoAction"), Action("CancelFlightInfo", wire::EncodeFirstBytes(info)));
    engine_.before_next = nullptr;
  };
  Get(wire::ReadFlightTickets(info).ValueOrDie().front());
  EXPECT_EQ(engine_.cancelled, 1);
}

TEST_F(FlightServiceTest, StreamsEndWhenTheServerStops) {
  const auto waiting = Put({}, false);
  EXPECT_FALSE(waiting->status);
  service_.EndStreams();
  EXPECT_EQ(waiting->status->code, GrpcCode::kUnavailable);
  EXPECT_EQ(transport_.GrpcDuplex(Path("DoPut")).first->status->code, GrpcCode::kUnavailable);
}

}  // namespace
}  // namespace sheaf::serve
