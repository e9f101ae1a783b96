/// What the groups of cases share: saying how each went, and calls with plain bytes instead of messages.

#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

namespace grpc_cpp_client {

/// Prints one line for the case; a failed one makes the program exit with 1. Thread-safe.
void Expect(const std::string& name, bool held, const std::string& otherwise = {});
/// The same for a call that must go well.
void ExpectOk(const std::string& name, const grpc::Status& status);
/// The same for one that must fail with `code`.
void ExpectCode(const std::string& name, const grpc::Status& status, grpc::StatusCode code);
bool AnyFailed();

/// A channel without limits on message sizes; it uses TLS where `ca_file` is not empty.
std::shared_ptr<grpc::Channel> Connect(const std::string& address, const std::string& ca_file = {});

struct CallOptions {
  std::chrono::milliseconds timeout{30'000};
  grpc_compression_algorithm compression = GRPC_COMPRESS_NONE;
};

/// Calls `method` ("/package.Service/Method") with `message` as it is, and waits. `reply` may be null.
grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const std::string& message,
                     std::string* reply = nullptr, const CallOptions& options = {});

std::string ReadFile(const std::string& path);

// The groups of cases.

/// Messages, compression, deadlines and statuses against tests/support/transport_demo.cc.
void RunEcho(const std::string& address, const std::string& ca_file);
/// Exports the requests in `folder` (traces.pb, logs.pb, metrics.pb), each once as it is and once in gzip.
void RunExport(const std::string& address, const std::string& folder);
/// kConcurrentCalls exports of one span each, at once on one channel; the spans are named "concurrent 0" and so on.
void RunConcurrent(const std::string& address);
/// Every way to be refused by a server that takes at most 1 MiB, in whole or in part. Two spans named "kept" are taken.
void RunRefusals(const std::string& address);

inline constexpr int kConcurrentCalls = 500;  // More than the streams that the server allows at once.

}  // namespace grpc_cpp_client
