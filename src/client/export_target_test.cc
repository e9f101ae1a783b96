#include "client/export_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/grpc_server_testing.h"
#include "client/http_server_testing.h"
#include "client/request_headers.h"

namespace sheaf::client {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::SizeIs;

std::unique_ptr<ExportTarget> Target(const ScriptedGrpcServer& server, wire::Encoding compression = wire::Encoding::kGzip) {
  return MakeExportTarget(fmt::format("grpc://127.0.0.1:{}", server.port()), {.compression = compression}).ValueOrDie();
}

TEST(ExportTarget, CodesOfGrpcAreWhatOtlpMakesOfThem) {
  const auto verdict = [](GrpcCode code, bool retry_info = false) {
    const auto retry_after_ms = retry_info ? std::optional<int64_t>(100) : std::nullopt;
    return AnswerOfGrpc({.code = code, .retry_after_ms = retry_after_ms, .from_server = true}).verdict;
  };
  EXPECT_EQ(verdict(GrpcCode::kOk), ExportVerdict::kTaken);
  EXPECT_EQ(verdict(GrpcCode::kOutOfRange), ExportVerdict::kLater);
  EXPECT_EQ(verdict(GrpcCode::kUnavailable, true), ExportVerdict::kLater);
  EXPECT_EQ(verdict(GrpcCode::kUnavailable), ExportVerdict::kLost) << "a gateway may say it, of a request that went through";
  for (const GrpcCode code : {GrpcCode::kUnauthenticated, GrpcCode::kPermissionDenied}) EXPECT_EQ(verdict(code), ExportVerdict::kHeld);
  for (const GrpcCode code : {GrpcCode::kCancelled, GrpcCode::kDeadlineExceeded, GrpcCode::kAborted, GrpcCode::kDataLoss}) {
    EXPECT_EQ(verdict(code), ExportVerdict::kLost);
  }
  for (const GrpcCode code : {GrpcCode::kUnknown, GrpcCode::kInvalidArgument, GrpcCode::kNotFound, GrpcCode::kAlreadyExists,
                              GrpcCode::kFailedPrecondition, GrpcCode::kInternal, GrpcCode::kUnimplemented}) {
    EXPECT_EQ(verdict(code), ExportVerdict::kRefused);
  }
  EXPECT_EQ(verdict(GrpcCode::kResourceExhausted), ExportVerdict::kTooLarge);
  EXPECT_EQ(verdict(GrpcCode::kResourceExhausted, true), ExportVerdict::kLater);
  EXPECT_EQ(AnswerOfGrpc({.code = GrpcCode::kUnavailable, .perhaps_processed = true}).verdict, ExportVerdict::kLost);
  EXPECT_EQ(AnswerOfGrpc({.code = GrpcCode::kUnavailable}).verdict, ExportVerdict::kLater);
}

TEST(ExportTarget, CodesOfHttpAreWhatOtlpMakesOfThem) {
  for (const int status : {200, 202}) EXPECT_EQ(VerdictOfHttp(status), ExportVerdict::kTaken);
  for (const int status : {408, 429, 503}) EXPECT_EQ(VerdictOfHttp(status), ExportVerdict::kLater);
  for (const int status : {502, 504}) EXPECT_EQ(VerdictOfHttp(status), ExportVerdict::kLost);
  for (const int status : {400, 404, 500, 501, 302}) EXPECT_EQ(VerdictOfHttp(status), ExportVerdict::kRefused);
  for (const int status : {401, 403}) EXPECT_EQ(VerdictOfHttp(status), ExportVerdict::kHeld);
  EXPECT_EQ(VerdictOfHttp(413), ExportVerdict::kTooLarge);
}

TEST(ExportTarget, PartialSuccessIsRead) {
  ScriptedGrpcServer server({{.reply = std::string("\x0a\x08\x08\x03\x12\x04") + "ids!"}, {.reply = "\x0a\x7f"}});
  const auto target = Target(server);
  const ExportRequest request{.kind = wire::OtlpRequest::kLogs, .rows = 5, .bytes = "x"};
  ExportAnswer answer = target->Send(request);
  EXPECT_EQ(answer.verdict, ExportVerdict::kTaken);
  EXPECT_EQ(answer.rejected, 3);
  EXPECT_EQ(answer.message, "ids!");
  EXPECT_EQ(target->Send(request).verdict, ExportVerdict::kTaken) << "what it says cannot be read; it took the request all the same";
  EXPECT_EQ(server.requests()[0].path, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
}

TEST(ExportTarget, ServerWithoutTheCompressionIsSentPlainRequests) {
  ScriptedGrpcServer server([](const auto& request) { return ScriptedAnswer{.code = request.compressed ? 12 : 0}; });
  const auto target = Target(server, wire::Encoding::kZstd);
  EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kTaken);
  EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kTaken);
  EXPECT_THAT(server.requests(), SizeIs(3)) << "the second is plain at once";
}

TEST(ExportTarget, ServiceThatIsMissingTellsNothingOfTheCompression) {
  ScriptedGrpcServer server([](const auto& request) {
    return ScriptedAnswer{.code = request.path.find("Metrics") != std::string::npos ? 12 : 0};
  });
  const auto target = Target(server, wire::Encoding::kZstd);
  EXPECT_EQ(target->Send({.kind = wire::OtlpRequest::kMetrics, .bytes = "x"}).verdict, ExportVerdict::kRefused);
  EXPECT_EQ(target->Send({.kind = wire::OtlpRequest::kLogs, .bytes = "x"}).verdict, ExportVerdict::kTaken);
  EXPECT_TRUE(server.requests().back().compressed);
}

TEST(ExportTarget, HttpServerThatTakesNoCompressionIsSentPlainRequests) {
  const std::string no = "HTTP/1.1 415 Unsupported Media Type\r\nContent-Length: 0\r\n\r\n";
  const std::string yes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  ScriptedServer server({{no}, {yes}, {yes}, {no}});
  const auto target = MakeExportTarget(fmt::format("http://127.0.0.1:{}", server.port()), {}).ValueOrDie();
  EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kTaken);
  EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kTaken);
  EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kRefused) << "plain is not taken either";
  const auto heads = server.heads();
  ASSERT_THAT(heads, SizeIs(4));
  EXPECT_THAT(heads[0], HasSubstr("gzip"));
  for (size_t i = 1; i < heads.size(); ++i) EXPECT_THAT(heads[i], testing::Not(HasSubstr("content-encoding"))) << i;
}

TEST(ExportTarget, ServerThatResetsWhatItCannotInflateIsSentPlainRequestsToo) {
  ScriptedGrpcServer server([](const auto& request) {
    return ScriptedAnswer{.what = request.compressed ? ScriptedAnswer::kReset : ScriptedAnswer::kAnswer};
  });
  const auto target = Target(server, wire::Encoding::kZstd);
  EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kLost);
  EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kTaken);
}

TEST(ExportTarget, CancelEndsWhatIsUnderWay) {
  ScriptedGrpcServer server(std::vector<ScriptedAnswer>{{.what = ScriptedAnswer::kHang}});
  const auto target = Target(server);
  std::thread waiting([&] { EXPECT_EQ(target->Send({.bytes = "x"}).verdict, ExportVerdict::kCancelled); });
  while (server.requests().empty()) std::this_thread::yield();
  target->Cancel();
  waiting.join();
}

TEST(ExportTarget, AddressesSayWhatIsSpokenThere) {
  for (const char* address : {"grpc://h", "grpcs://h:1", "http://h", "https://h:1/base", "otap://h", "otap+tls://h:1"}) {
    EXPECT_TRUE(MakeExportTarget(address, {}).ok()) << address;
  }
  for (const char* address : {"h:4317", "ftp://h", "grpc://", "grpc://h:0", "http://h:x", "otap://", "otaps://h"}) {
    EXPECT_EQ(KindOf(MakeExportTarget(address, {}).status()), ErrorKind::kInvalid) << address;
  }
  const Status flight = MakeExportTarget("flight://h:1", {}).status();
  EXPECT_EQ(KindOf(flight), ErrorKind::kUnsupported);
  EXPECT_THAT(flight.message(), HasSubstr("OTLP and OTel-Arrow only"));
}

TEST(ExportTarget, HeadersAreCheckedAndTheirSecretsNotShown) {
  const auto check = [](const char* text) -> Status {
    SHEAF_ASSIGN_OR_RETURN(auto header, ParseRequestHeader(text));
    return MakeExportTarget("grpc://h", {.headers = {std::move(header)}}).status();
  };
  for (const char* fine : {"Authorization: Bearer secret", "x-scope-orgid:7", "x-empty:"}) EXPECT_TRUE(check(fine).ok()) << fine;
  for (const char* wrong : {"Bearer secret", ":secret", "a b: secret", "x: sec\nret: secret", "x: s\x01secret", "content-length: secret",
                            "Content-Encoding: secret", "grpc-timeout: secret", "host: secret"}) {
    const Status status = check(wrong);
    EXPECT_EQ(KindOf(status), ErrorKind::kInvalid) << wrong;
    EXPECT_THAT(status.message(), testing::Not(HasSubstr("secret is"))) << wrong;
    EXPECT_THAT(status.message(), testing::Not(HasSubstr("Bearer"))) << wrong;
  }
  EXPECT_EQ(*ParseRequestHeader("Authorization:  Bearer x \r\n"), (std::pair<std::string, std::string>("authorization", "Bearer x")));
  const Status address = MakeExportTarget("grpc://user:hidden@h", {}).status();
  EXPECT_EQ(KindOf(address), ErrorKind::kInvalid);
  EXPECT_THAT(address.message(), testing::Not(HasSubstr("hidden")));
}

}  // namespace
}  // namespace sheaf::client
