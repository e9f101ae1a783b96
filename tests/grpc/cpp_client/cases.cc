#include "cases.h"

#include <cstdio>
#include <fstream>
#include <future>
#include <mutex>
#include <sstream>
#include <vector>

#include <grpcpp/generic/generic_stub.h>

namespace grpc_cpp_client {
namespace {

std::mutex mutex;
bool any_failed = false;

std::string Describe(const grpc::Status& status) {
  return "status " + std::to_string(status.error_code()) + ": " + status.error_message();
}

}  // namespace

void Expect(const std::string& name, bool held, const std::string& otherwise) {
  const std::lock_guard lock(mutex);
  std::printf("%s %s%s%s\n", held ? "ok  " : "FAIL", name.c_str(), held ? "" : ": ", held ? "" : otherwise.c_str());
  any_failed = any_failed || !held;
}

void ExpectOk(const std::string& name, const grpc::Status& status) { Expect(name, status.ok(), Describe(status)); }

void ExpectCode(const std::string& name, const grpc::Status& status, grpc::StatusCode code) {
  Expect(name, status.error_code() == code, Describe(status));
}

bool AnyFailed() {
  const std::lock_guard lock(mutex);
  return any_failed;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address, const std::string& ca_file) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  grpc::SslCredentialsOptions tls;
  if (!ca_file.empty()) tls.pem_root_certs = ReadFile(ca_file);
  return grpc::CreateCustomChannel(address, ca_file.empty() ? grpc::InsecureChannelCredentials() : grpc::SslCredentials(tls), arguments);
}

grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const std::string& message,
                     std::string* reply, const CallOptions& options) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options.timeout);
  context.set_compression_algorithm(options.compression);
  const grpc::Slice slice(message);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  grpc::GenericStub stub(channel);
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response, [&done](grpc::Status status) { done.set_value(status); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok() || reply == nullptr) return status;
  reply->clear();
  std::vector<grpc::Slice> slices;
  const grpc::Status dumped = response.Dump(&slices);
  for (const grpc::Slice& each : slices) reply->append(reinterpret_cast<const char*>(each.begin()), each.size());
  return dumped;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  Expect("read " + path, file.good(), "no such file");
  return content.str();
}

}  // namespace grpc_cpp_client
