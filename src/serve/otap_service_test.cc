#include "serve/otap_service.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/service_testing.h"
#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::serve {
namespace {

using testing::HasSubstr;

constexpr const char* kTraces = "/opentelemetry.proto.experimental.arrow.v1.ArrowTracesService/ArrowTraces";
constexpr const char* kLogs = "/opentelemetry.proto.experimental.arrow.v1.ArrowLogsService/ArrowLogs";
constexpr const char* kMetrics = "/opentelemetry.proto.experimental.arrow.v1.ArrowMetricsService/ArrowMetrics";

/// The batches of a capture of the Go library.
std::vector<std::string> Batches(const std::string& name) {
  std::ifstream file("src/decode/corpus/otap_stream/" + name, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> batches;
  for (size_t at = 1; at + 4 <= bytes.size();) {
    uint32_t size;
    std::memcpy(&size, bytes.data() + at, 4);
    batches.push_back(bytes.substr(at + 4, size));
    at += 4 + size;
  }
  return batches;
}

struct BatchStatus {
  int64_t id = 0;
  int code = 0;
  std::string message;
};
BatchStatus ReadStatus(std::string_view bytes) {
  BatchStatus status;
  wire::ProtobufReader reader(bytes);
  while (reader.Next()) {
    switch (wire::FieldOf(reader.tag())) {
      case 1: status.id = static_cast<int64_t>(reader.Varint()); break;
      case 2: status.code = static_cast<int>(reader.Varint()); break;
      case 3: status.message = reader.Bytes(); break;
      default: reader.Skip();
    }
  }
  EXPECT_TRUE(reader.ok());
  return status;
}

class OtapServiceTest : public testing::Test {
 protected:
  OtapServiceTest() { Start({}); }

  void Start(const OtapOptions& options) {
    transport_ = std::make_unique<FakeTransport>();
    otlp_ = std::move(*OtlpService::Make(&database_, {.retry_after_ms = 2500, .overloaded = [this] { return overloaded_; }}));
    service_ = std::make_unique<OtapService>(otlp_.get(), options);
    service_->Register(transport_.get(), "otlp_grpc");
  }

  /// Sends a message; returns whether the receiver wants the next one.
  static bool Send(GrpcReceiver* receiver, std::string message, int* wanted = nullptr) {
    const auto wants = std::make_shared<int>(0);
    receiver->OnMessage(MakeBody(std::move(message)), [wants, wanted] {
      ++*wants;
      if (wanted != nullptr) ++*wanted;
    });
    return *wants == 1;
  }

  FakeDatabase database_;
  bool overloaded_ = false;
  std::unique_ptr<OtlpService> otlp_;
  std::unique_ptr<OtapService> service_;
  std::unique_ptr<FakeTransport> transport_;
};

TEST_F(OtapServiceTest, EverySignalsBatchesAreAnsweredOk) {
  const struct {
    const char *path, *capture, *table;
    int64_t rows;
  } kCases[] = {
      {kTraces, "traces_zstd", "traces", 96}, {kLogs, "logs_zstd", "logs", 48}, {kMetrics, "metrics_zstd", "metrics_sum", 24}};
  for (const auto& one : kCases) {
    const auto [call, receiver] = transport_->GrpcDuplex(one.path);
    const auto batches = Batches(one.capture);
    for (const std::string& batch : batches) EXPECT_TRUE(Send(receiver.get(), batch));
    ASSERT_EQ(call->replies.size(), batches.size());
    for (size_t i = 0; i < batches.size(); ++i) {
      const BatchStatus status = ReadStatus(call->replies[i]);
      EXPECT_EQ(status.code, 0) << status.message;
      EXPECT_EQ(status.id, static_cast<int64_t>(i));
    }
    EXPECT_EQ(database_.rows[one.table], one.rows);
    EXPECT_FALSE(call->status);
    receiver->OnEnd();
    EXPECT_EQ(call->status->code, GrpcCode::kOk);
  }
}

TEST_F(OtapServiceTest, StatusesComeWhenRowsAreDurableAndTheEndAfterThem) {
  database_.answer.reset();
  const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
  const auto batches = Batches("traces_plain");
  EXPECT_TRUE(Send(receiver.get(), batches[0])) << "the next batch is taken while the log works";
  EXPECT_TRUE(Send(receiver.get(), batches[1]));
  receiver->OnEnd();
  EXPECT_TRUE(call->replies.empty());
  EXPECT_FALSE(call->status);
  database_.Release(Lsn(1));
  EXPECT_EQ(ReadStatus(call->replies.at(0)).id, 0);
  database_.Release(MakeError(ErrorKind::kUnknown, "sync failed"));
  EXPECT_EQ(ReadStatus(call->replies.at(1)).code, static_cast<int>(GrpcCode::kUnavailable));
  EXPECT_EQ(call->status->code, GrpcCode::kOk);
}

TEST_F(OtapServiceTest, UnansweredBatchesHoldTheStreamBack) {
  Start({.unanswered_batches_max = 2});
  database_.answer.reset();
  const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
  const auto batches = Batches("traces_plain");
  int wanted = 0;
  EXPECT_TRUE(Send(receiver.get(), batches[0]));
  EXPECT_FALSE(Send(receiver.get(), batches[1], &wanted));
  database_.Release(Lsn(1));
  EXPECT_EQ(wanted, 1);
  database_.Release(Lsn(2));
  EXPECT_EQ(call->replies.size(), 2u);
}

TEST_F(OtapServiceTest, WrongBatchesGetAStatusAndTheStreamGoesOn) {
  const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
  std::string wrong_type;
  wire::ProtobufWriter writer(&wrong_type);
  writer.Varint(1, 77);
  const size_t payload = writer.Open(2);
  writer.Bytes(1, "a");
  writer.Varint(2, 30);  // LOGS
  writer.Close(payload);
  Send(receiver.get(), wrong_type);
  Send(receiver.get(), "\xff\xff\xff");
  const auto batches = Batches("traces_zstd");
  Send(receiver.get(), batches[1]);  // Without the schemas of the first one.
  Send(receiver.get(), batches[0]);
  ASSERT_EQ(call->replies.size(), 4u);
  const BatchStatus status = ReadStatus(call->replies[0]);
  EXPECT_EQ(status.id, 77);
  EXPECT_EQ(status.code, static_cast<int>(GrpcCode::kInvalidArgument));
  EXPECT_THAT(status.message, HasSubstr("LOGS in a stream of traces"));
  EXPECT_EQ(ReadStatus(call->replies[1]).code, static_cast<int>(GrpcCode::kInvalidArgument));
  EXPECT_EQ(ReadStatus(call->replies[2]).code, static_cast<int>(GrpcCode::kInvalidArgument));
  EXPECT_EQ(ReadStatus(call->replies[3]).code, 0) << ReadStatus(call->replies[3]).message;
  EXPECT_FALSE(call->status);
}

TEST_F(OtapServiceTest, BatchesRefusedInOverloadAreRetryableAndLaterOnesStillBuildOnThem) {
  const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
  const auto batches = Batches("traces_zstd");
  overloaded_ = true;
  Send(receiver.get(), batches[0]);
  overloaded_ = false;
  Send(receiver.get(), batches[1]);
  EXPECT_EQ(ReadStatus(call->replies.at(0)).code, static_cast<int>(GrpcCode::kUnavailable));
  EXPECT_EQ(ReadStatus(call->replies.at(1)).code, 0) << ReadStatus(call->replies.at(1)).message;
  EXPECT_EQ(database_.appends, 1);
  database_.refuse = MakeError(ErrorKind::kThrottled, "the log's queue is full");
  Send(receiver.get(), batches[2]);
  EXPECT_EQ(ReadStatus(call->replies.at(2)).code, static_cast<int>(GrpcCode::kUnavailable));
}

TEST_F(OtapServiceTest, StreamsEndWithTheServerOnceTheirBatchesAreAnswered) {
  database_.answer.reset();
  const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
  const auto [idle_call, idle] = transport_->GrpcDuplex(kLogs);
  Send(receiver.get(), Batches("traces_plain")[0]);
  service_->EndStreams();
  EXPECT_EQ(idle_call->status->code, GrpcCode::kUnavailable);
  EXPECT_FALSE(call->status);
  EXPECT_FALSE(Send(receiver.get(), Batches("traces_plain")[1])) << "no more are taken, or a busy stream would never end";
  database_.Release(Lsn(1));
  EXPECT_EQ(ReadStatus(call->replies.at(0)).code, 0);
  EXPECT_EQ(call->status->code, GrpcCode::kUnavailable);
  const auto [late_call, late] = transport_->GrpcDuplex(kTraces);
  EXPECT_EQ(late, nullptr);
  EXPECT_EQ(late_call->status->code, GrpcCode::kUnavailable);
}

TEST_F(OtapServiceTest, TheMemoryOfAStreamIsBounded) {
  const auto batches = Batches("traces_plain");
  Start({.limits = {.stream_bytes_max = 8 << 10}});
  const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
  Send(receiver.get(), batches[0]);
  EXPECT_EQ(ReadStatus(call->replies.at(0)).code, static_cast<int>(GrpcCode::kResourceExhausted));
  EXPECT_EQ(call->status->code, GrpcCode::kUnavailable) << "what later batches build on is lost: another stream begins anew";
  EXPECT_LE(service_->memory_bytes(), 8 << 10);
}

TEST_F(OtapServiceTest, TheMemoryOfAllStreamsIsBounded) {
  const auto batches = Batches("traces_plain");
  Start({.memory_bytes_max = 8 << 10});
  const auto [other_call, other] = transport_->GrpcDuplex(kTraces);
  database_.answer.reset();
  Send(other.get(), batches[0]);
  EXPECT_FALSE(other_call->status) << "first the batch is answered";
  database_.Release(Lsn(1));
  EXPECT_EQ(ReadStatus(other_call->replies.at(0)).code, 0);
  EXPECT_EQ(other_call->status->code, GrpcCode::kUnavailable);
}

TEST_F(OtapServiceTest, StreamsWithinTheirShareOfTheMemoryGoOn) {
  int64_t both = 0;
  {
    const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
    const auto [other_call, other] = transport_->GrpcDuplex(kLogs);
    Send(receiver.get(), Batches("traces_plain")[0]);
    Send(other.get(), Batches("logs_plain")[0]);
    both = service_->memory_bytes();
  }
  Start({.memory_bytes_max = both - 1});
  const auto [first_call, first] = transport_->GrpcDuplex(kTraces);
  const auto [second_call, second] = transport_->GrpcDuplex(kLogs);
  Send(first.get(), Batches("traces_plain")[0]);
  EXPECT_FALSE(first_call->status);
  ASSERT_GE(service_->memory_bytes(), both / 2) << "the other is the smaller one";
  Send(second.get(), Batches("logs_plain")[0]);
  ASSERT_EQ(service_->memory_bytes(), both);
  EXPECT_FALSE(second_call->status) << "it keeps less than half";
}

TEST_F(OtapServiceTest, WhatStreamsKeepIsGivenBackWithThem) {
  {
    const auto [call, receiver] = transport_->GrpcDuplex(kTraces);
    Send(receiver.get(), Batches("traces_plain")[0]);
    EXPECT_GT(service_->memory_bytes(), 0);
    EXPECT_EQ(service_->streams(), 1);
  }
  EXPECT_EQ(service_->memory_bytes(), 0);
  EXPECT_EQ(service_->streams(), 0);
}

}  // namespace
}  // namespace sheaf::serve
