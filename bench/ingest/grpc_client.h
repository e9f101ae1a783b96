/// A gRPC client that does nothing but send prepared messages and time the answers: cheap, so that the
/// server under test is what a benchmark measures.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sheaf::bench {

/// One connection (HTTP/2, cleartext). Used by one thread.
class GrpcClient {
 public:
  /// Connects to 127.0.0.1:`port`; ends the program with a message when that fails.
  explicit GrpcClient(uint16_t port);
  ~GrpcClient();

  /// Sends messages to `path`, keeping up to `streams` calls open, until `next` returns null; waits for all answers.
  /// `next` gives a message that stays unchanged until the call with the same slot (0 to streams - 1) is answered.
  void Run(const std::string& path, int streams, const std::function<const std::string*(int slot)>& next);

  /// Seconds from sending the first frame of a call to its trailers, one for each answered call.
  const std::vector<double>& latencies() const;
  int64_t retried() const;   // UNAVAILABLE answers, each sent again 50 ms later; latencies are of the try that went well.
  int64_t refused() const;   // Other answers than OK.
  const std::string& first_error() const;

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace sheaf::bench
