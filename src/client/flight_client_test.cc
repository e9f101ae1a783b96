#include "client/flight_client.h"

#include <map>
#include <set>

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/flight_put.h"
#include "client/grpc_server_testing.h"
#include "wire/flight_sql_messages.h"
#include "wire/protobuf_writer.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<arrow::RecordBatch> Batch(int64_t first, int64_t rows) {
  arrow::Int64Builder values;
  for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(values.Append(first + i).ok());
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("n", arrow::int64())}), rows, {values.Finish().ValueOrDie()});
}

FlightClientOptions Options() {
  FlightClientOptions options{.timeout = milliseconds(5'000), .retry = {.first = milliseconds(1), .longest = milliseconds(2)}};
  return options;
}

std::unique_ptr<FlightClient> Client(const ScriptedGrpcServer& server, const FlightClientOptions& options = Options()) {
  return FlightClient::Make(server.url(), options).ValueOrDie();
}

bool Is(const ScriptedGrpcServer::Request& request, const char* method) { return request.path.ends_with(method); }

/// The rows of a ticket: its schema and its batches.
ScriptedAnswer Stream(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, wire::IpcCodec codec = wire::IpcCodec::kNone) {
  FlightBatchWriter writer(batches[0]->schema(), codec);
  ScriptedAnswer answer{.what = ScriptedAnswer::kStream, .reply = writer.Begin("").ValueOrDie()};
  for (const auto& batch : batches) {
    for (std::string& message : writer.Batch(*batch, "").ValueOrDie()) answer.replies.push_back(std::move(message));
  }
  return answer;
}

ScriptedAnswer Info(std::vector<std::string> tickets) { return {.reply = wire::EncodeFlightInfo({.tickets = std::move(tickets)})}; }

std::vector<int64_t> Values(FlightRows* rows) {
  std::vector<int64_t> values;
  for (;;) {
    const auto batch = rows->Next().ValueOrDie();
    if (batch == nullptr) return values;
    const auto& column = static_cast<const arrow::Int64Array&>(*batch->column(0));
    for (int64_t i = 0; i < column.length(); ++i) values.push_back(column.Value(i));
  }
}

TEST(FlightClient, RowsOfAllEndpointsComeInOrder) {
  for (const auto codec : {wire::IpcCodec::kNone, wire::IpcCodec::kLz4, wire::IpcCodec::kZstd}) {
    ScriptedGrpcServer server([&](const auto& request) {
      if (Is(request, "GetFlightInfo")) return Info({"one", "two", "three"});
      const std::string ticket = wire::ReadFirstBytes(request.message).ValueOrDie();
      return Stream(ticket == "one" ? std::vector{Batch(0, 2), Batch(2, 1)} : std::vector{Batch(ticket == "two" ? 3 : 4, 1)}, codec);
    });
    const auto client = Client(server);
    const auto rows = client->Query("SELECT n", nullptr, 2).ValueOrDie();
    EXPECT_EQ(rows->schema()->field(0)->name(), "n");
    EXPECT_THAT(Values(rows.get()), ElementsAre(0, 1, 2, 3, 4));
    EXPECT_EQ(client->stats().received_rows, 5);
  }
}

TEST(FlightClient, FetchingIsTriedAgainUntilRowsCame) {
  int gets = 0;
  ScriptedGrpcServer server([&](const auto& request) {
    if (Is(request, "GetFlightInfo")) return Info({"t"});
    return ++gets < 3 ? ScriptedAnswer{.what = ScriptedAnswer::kDisconnect} : Stream({Batch(7, 1)});
  });
  const auto client = Client(server);
  EXPECT_THAT(Values(client->Query("SELECT n").ValueOrDie().get()), ElementsAre(7));
  EXPECT_EQ(client->stats().retries, 2);
}

TEST(FlightClient, StatementThatMayHaveRunIsNotSentAgain) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kDisconnect}});
  const auto client = Client(server);
  EXPECT_EQ(KindOf(client->Query("DELETE FROM t").status()), ErrorKind::kUnknown);
  EXPECT_EQ(KindOf(client->Update("DELETE FROM t").status()), ErrorKind::kUnknown);
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST(FlightClient, StatementThatWasNotLookedAtIsSentAgain) {
  int calls = 0;
  ScriptedGrpcServer server([&](const auto& request) {
    if (!Is(request, "GetFlightInfo")) return Stream({Batch(1, 1)});
    return ++calls == 1 ? ScriptedAnswer{.what = ScriptedAnswer::kRefuse} : Info({"t"});
  });
  EXPECT_THAT(Values(Client(server)->Query("SELECT n").ValueOrDie().get()), ElementsAre(1));
}

TEST(FlightClient, ErrorsOfTheServerKeepTheirKind) {
  ScriptedGrpcServer server({{.code = 3, .message = "line 1: no such column"}, {.code = 5}, {.code = 7}, {.code = 16}, {.code = 12}});
  const auto client = Client(server);
  const Status wrong = client->Query("SELECT").status();
  EXPECT_EQ(KindOf(wrong), ErrorKind::kInvalid);
  EXPECT_THAT(wrong.message(), HasSubstr("no such column"));
  for (const auto kind : {ErrorKind::kNotFound, ErrorKind::kDenied, ErrorKind::kDenied, ErrorKind::kUnsupported}) {
    EXPECT_EQ(KindOf(client->Query("SELECT").status()), kind);
  }
}

TEST(FlightClient, ParametersAreBoundToAPreparedStatement) {
  std::string seen;
  ScriptedGrpcServer server([&](const auto& request) {
    if (Is(request, "DoAction")) {
      const auto action = wire::ReadFlightAction(request.message).ValueOrDie();
      seen += action.type + " ";
      if (action.type == "ClosePreparedStatement") return ScriptedAnswer{.what = ScriptedAnswer::kStream};
      return ScriptedAnswer{.reply = wire::EncodeFirstBytes(wire::EncodePreparedStatement("handle", "", ""))};
    }
    seen += request.path.substr(request.path.rfind('/') + 1) + " ";
    if (Is(request, "DoPut")) return ScriptedAnswer{.what = ScriptedAnswer::kStream};
    return Is(request, "GetFlightInfo") ? Info({"t"}) : Stream({Batch(3, 1)});
  });
  const auto client = Client(server);
  EXPECT_THAT(Values(client->Query("SELECT ?", Batch(3, 1)).ValueOrDie().get()), ElementsAre(3));
  EXPECT_EQ(seen, "CreatePreparedStatement DoPut DoPut GetFlightInfo ClosePreparedStatement DoGet ");
}

TEST(FlightClient, UpdateTellsItsRows) {
  ScriptedGrpcServer server([](const auto&) {
    return ScriptedAnswer{.what = ScriptedAnswer::kStream, .reply = wire::EncodeFirstBytes(wire::EncodeFirstNumber(42))};
  });
  EXPECT_EQ(Client(server)->Update("DELETE FROM t").ValueOrDie(), 42);
}

TEST(FlightClient, WhatIsNoArrowDataIsAnError) {
  for (const std::string& bytes : {std::string("\x0a\x7f"), wire::EncodeFirstBytes("x") + std::string("\x12\x04\xff\xff\xff\xff", 6)}) {
    ScriptedGrpcServer server([&](const auto& request) {
      return Is(request, "GetFlightInfo") ? Info({"t"}) : ScriptedAnswer{.what = ScriptedAnswer::kStream, .reply = bytes};
    });
    EXPECT_EQ(KindOf(Client(server)->Query("SELECT n").status()), ErrorKind::kInvalid);
  }
}

TEST(FlightClient, AddressesNameHostPortAndTls) {
  for (const char* plain : {"grpc://h", "grpc+tcp://h", "flight://h"}) {
    EXPECT_FALSE(ParseFlightUrl(plain)->tls);
    EXPECT_EQ(ParseFlightUrl(plain)->port, FlightClient::kPort);
  }
  for (const char* tls : {"grpc+tls://h:1", "grpcs://h:1", "flights://h:1"}) EXPECT_TRUE(ParseFlightUrl(tls)->tls);
  EXPECT_EQ(KindOf(ParseFlightUrl("http://h").status()), ErrorKind::kInvalid);
  EXPECT_FALSE(IsFlightUrl("http://h"));
}

TEST(GrpcReader, ServerThatIsFasterThanItsReaderWaits) {
  ScriptedGrpcServer server([](const auto& request) {
    if (request.message != "much") return ScriptedAnswer{.reply = "pong"};
    return ScriptedAnswer{.what = ScriptedAnswer::kStream, .replies = std::vector<std::string>(40, std::string(1 << 20, 'x'))};
  });
  const auto client = GrpcClient::Make(server.url()).ValueOrDie();
  GrpcReader reader(client.get(), {.path = "/a.B/C"});
  ASSERT_TRUE(reader.Write("much").ok());
  reader.Finish();
  int64_t before = -1;
  // Until nothing more comes.
  for (int i = 0; i < 2'000 && (before != reader.waiting_bytes() || before <= GrpcReader::kWaitingBytesMax); ++i) {
    before = reader.waiting_bytes();
    EXPECT_EQ(client->Call({.path = "/a.B/C"}, "ping").message, "pong") << "others on the connection go on";
  }
  EXPECT_GT(before, GrpcReader::kWaitingBytesMax);
  EXPECT_LE(before, GrpcReader::kWaitingBytesMax + (4 << 20));
  int messages = 0;
  while (*reader.Next(std::chrono::seconds(10)) != std::nullopt) ++messages;
  EXPECT_EQ(messages, 40);
  EXPECT_TRUE(reader.end().ok());
}

/// A server that stores batches by their ids, on a network that breaks.
class FlakyStore {
 public:
  FlakyStore(uint64_t seed, uint64_t faults_in_100, bool numbers = true) : random_(seed), faults_(faults_in_100), numbers_(numbers) {}

  ScriptedAnswer operator()(const ScriptedGrpcServer::Request& request) {
    const auto data = wire::ReadFlightData(request.message).ValueOrDie();
    if (!data.descriptor.empty()) return {.what = ScriptedAnswer::kStream};
    const std::string id(data.metadata);
    if (id.find("bad") != std::string::npos) return {.code = 3, .message = "batch 1: it is bad"};
    const uint64_t dice = random_() % 100;
    const ScriptedAnswer faults[] = {
        {.what = ScriptedAnswer::kDisconnect}, {.what = ScriptedAnswer::kReset}, {.code = 14, .message = "later"}};
    if (dice < faults_) return faults[random_() % 3];
    const auto [found, fresh] = lsns_.try_emplace(id, lsns_.size() + 1);
    if (fresh) ++stored_;
    if (dice < 2 * faults_) return faults[random_() % 2];  // It is there, and nobody hears of it.
    const std::string number = numbers_ ? fmt::format(R"(, "batch": {})", request.number - 1) : "";
    const std::string text = fmt::format(R"({{"rows": 1, "lsn": {}{}}})", found->second, number);
    return {.what = ScriptedAnswer::kStream, .reply = wire::EncodeFirstBytes(text)};
  }

  int stored() const { return stored_; }
  const std::map<std::string, uint64_t>& lsns() const { return lsns_; }

 private:
  std::mt19937_64 random_;
  const uint64_t faults_;
  const bool numbers_;  // In answers.
  std::map<std::string, uint64_t> lsns_;
  int stored_ = 0;
};

TEST(FlightPut, EachBatchIsThereOnceWhateverBreaks) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    FlakyStore store(seed, 5, seed != 3);
    Mutex mutex;
    std::map<int, uint64_t> answers;
    {
      ScriptedGrpcServer server([&](const auto& request) { return store(request); });
      const auto client = Client(server);
      const auto put = FlightPut::Open(client.get(), {"main", "t"}, {.streams = 1 + static_cast<int>(seed % 2)}).ValueOrDie();
      for (int i = 0; i < 300; ++i) {
        ASSERT_TRUE(put->Put(Batch(i, 1), fmt::format("batch {}", i), [&, i](const Result<uint64_t>& lsn) {
          MutexLock lock(&mutex);
          EXPECT_TRUE(lsn.ok()) << lsn.status().ToString();
          if (lsn.ok()) answers[i] = *lsn;
        }).ok());
      }
      EXPECT_TRUE(put->Finish().ok());
      EXPECT_EQ(client->stats().sent_batches, 300);
      EXPECT_GT(client->stats().batches_sent_again, 0);
    }
    EXPECT_EQ(store.stored(), 300);
    ASSERT_EQ(answers.size(), 300U);
    for (const auto& [i, lsn] : answers) EXPECT_EQ(lsn, store.lsns().at(fmt::format("batch {}", i))) << "the answer of another batch";
  }
}

TEST(FlightPut, ErrorOfOneBatchIsToldForItAlone) {
  FlakyStore store(1, 0);
  ScriptedGrpcServer server([&](const auto& request) { return store(request); });
  const auto client = Client(server);
  const auto put = FlightPut::Open(client.get(), {"t"}, {}).ValueOrDie();
  Mutex mutex;
  std::set<std::string> failed;
  for (int i = 0; i < 20; ++i) {
    const std::string id = fmt::format("{} {}", i == 7 ? "bad" : "good", i);
    ASSERT_TRUE(put->Put(Batch(i, 1), id, [&, id](const Result<uint64_t>& lsn) {
      MutexLock lock(&mutex);
      if (!lsn.ok()) failed.insert(id);
    }).ok());
  }
  EXPECT_EQ(KindOf(put->Finish()), ErrorKind::kInvalid);
  EXPECT_THAT(failed, ElementsAre("bad 7"));
  EXPECT_EQ(store.stored(), 19);
}

TEST(FlightPut, BatchesWithoutIdsHaveThemMadeAndSchemasMayChange) {
  std::set<std::string> ids;
  int heads = 0;
  ScriptedGrpcServer server([&](const auto& request) {
    const auto data = wire::ReadFlightData(request.message).ValueOrDie();
    heads += data.descriptor.empty() ? 0 : 1;
    if (!data.descriptor.empty()) return ScriptedAnswer{.what = ScriptedAnswer::kStream};
    ids.insert(std::string(data.metadata));
    return ScriptedAnswer{.what = ScriptedAnswer::kStream, .reply = wire::EncodeFirstBytes(R"({"rows": 0, "lsn": null})")};
  });
  const auto client = Client(server);
  const auto put = FlightPut::Open(client.get(), {"t"}, {}).ValueOrDie();
  const auto other = Batch(0, 1)->RenameColumns({"m"}).ValueOrDie();
  for (const auto& batch : {Batch(0, 1), Batch(1, 1), other}) ASSERT_TRUE(put->Put(batch, "", nullptr).ok());
  EXPECT_TRUE(put->Finish().ok());
  EXPECT_EQ(ids.size(), 3U);
  EXPECT_EQ(heads, 2);
  EXPECT_EQ(KindOf(put->Put(other, "", nullptr)), ErrorKind::kUnavailable);
  EXPECT_EQ(KindOf(FlightPut::Open(client.get(), {}, {}).status()), ErrorKind::kInvalid);
}

TEST(FlightPut, ServerThatIsGoneForGoodIsToldAndStopsNobody) {
  uint16_t port = 0;
  { port = ScriptedGrpcServer(std::vector<ScriptedAnswer>{{}}).port(); }
  const auto client = FlightClient::Make({.host = "127.0.0.1", .port = port}, Options()).ValueOrDie();
  const auto put = FlightPut::Open(client.get(), {"t"}, {.attempts_max = 3}).ValueOrDie();
  ASSERT_TRUE(put->Put(Batch(0, 1), "", nullptr).ok());
  EXPECT_EQ(KindOf(put->Finish()), ErrorKind::kUnavailable) << "it was never sent";
}

TEST(FlightPut, DestructionGivesUpWhatIsUnderWay) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kHang}});
  const auto client = Client(server);
  Status told;
  auto put = FlightPut::Open(client.get(), {"t"}, {}).ValueOrDie();
  ASSERT_TRUE(put->Put(Batch(0, 1), "", [&](const Result<uint64_t>& lsn) { told = lsn.status(); }).ok());
  while (server.requests().size() < 2) std::this_thread::yield();
  put.reset();
  EXPECT_EQ(KindOf(told), ErrorKind::kCancelled);
}

}  // namespace
}  // namespace sheaf::client
