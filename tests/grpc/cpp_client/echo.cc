#include <chrono>
#include <cstdint>
#include <string>

#include "cases.h"

namespace grpc_cpp_client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Pieces in a wrong order show, and it shrinks only to about half: the server takes more for a bomb.
std::string Pattern(size_t size) {
  std::string result(size, '\0');
  uint32_t state = 1;
  for (char& each : result) {
    state = state * 1664525 + 1013904223;
    each = static_cast<char>('a' + (state >> 28));
  }
  return result;
}

void EchoEverySize(const std::shared_ptr<grpc::Channel>& channel, grpc_compression_algorithm compression, const char* name) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16'384}, size_t{70'000}, size_t{5'000'000}, size_t{20'000'000}}) {
    const std::string message = Pattern(size);
    std::string reply;
    const grpc::Status status = CallRaw(channel, "/demo.Echo/Echo", message, &reply, {.compression = compression});
    const std::string title = std::string(name) + " " + std::to_string(size);
    ExpectOk(title, status);
    Expect(title + " comes back equal", reply == message, std::to_string(reply.size()) + " bytes, or other ones");
  }
}

void MeetDeadlines(const std::shared_ptr<grpc::Channel>& channel) {
  const auto began = steady_clock::now();
  const grpc::Status late = CallRaw(channel, "/demo.Echo/Sleep", "3000", nullptr, {.timeout = milliseconds(300)});
  ExpectCode("deadline before the answer", late, grpc::StatusCode::DEADLINE_EXCEEDED);
  Expect("a deadline ends the call while its handler runs", steady_clock::now() - began < milliseconds(2'500), "too late");
  std::string reply;
  ExpectOk("deadline after the answer", CallRaw(channel, "/demo.Echo/Sleep", "100", &reply, {.timeout = milliseconds(20'000)}));
  Expect("the answer within the deadline arrives", reply == "slept", reply);
  const grpc::Status past = CallRaw(channel, "/demo.Echo/Echo", "x", nullptr, {.timeout = milliseconds(-1)});
  ExpectCode("deadline in the past", past, grpc::StatusCode::DEADLINE_EXCEEDED);
}

void ReadStatuses(const std::shared_ptr<grpc::Channel>& channel) {
  ExpectCode("unknown method", CallRaw(channel, "/demo.Echo/Nope", ""), grpc::StatusCode::UNIMPLEMENTED);
  ExpectCode("handler without an answer", CallRaw(channel, "/demo.Echo/NoAnswer", ""), grpc::StatusCode::INTERNAL);
  const grpc::Status failed = CallRaw(channel, "/demo.Echo/Fail", "\x09too much: 100 % \xc3\xbc");
  ExpectCode("code of a failure", failed, grpc::StatusCode::FAILED_PRECONDITION);
  Expect("text of a failure", failed.error_message() == "too much: 100 % \xc3\xbc", failed.error_message());
  Expect("details of a failure", failed.error_details().find("google.rpc.RetryInfo") != std::string::npos, "no RetryInfo in them");
}

}  // namespace

void RunEcho(const std::string& address, const std::string& ca_file) {
  const std::shared_ptr<grpc::Channel> channel = Connect(address, ca_file);
  EchoEverySize(channel, GRPC_COMPRESS_NONE, "plain");
  EchoEverySize(channel, GRPC_COMPRESS_GZIP, "gzip");
  EchoEverySize(channel, GRPC_COMPRESS_DEFLATE, "deflate");
  MeetDeadlines(channel);
  ReadStatuses(channel);
}

}  // namespace grpc_cpp_client
