/// A protocol without a socket and without threads, for tests and fuzz targets.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/transport_protocol.h"

namespace sheaf::serve {

/// Runs what was posted when it is told to; timers never fire.
class ManualExecutor final : public IoExecutor {
 public:
  std::unique_ptr<IoTimer> At(std::chrono::steady_clock::time_point, std::function<void()>) override {
    return std::make_unique<IoTimer>();
  }
  void RunAll() {
    while (std::exchange(waiting_, false)) RunPosted();
  }

 protected:
  void Wake() override { waiting_ = true; }

 private:
  bool waiting_ = false;
};

/// One connection that serves an echo: POST /echo, GET /hello, GET /stream, and gRPC /demo.Echo/Echo. Handlers run inline.
class ProtocolRig final : private ProtocolHost {
 public:
  enum class Version { kHttp1, kHttp2 };
  explicit ProtocolRig(Version version, const TransportOptions& options = {});
  ~ProtocolRig() override;

  /// Gives bytes to the protocol, as if they came in pieces of at most `piece_bytes`; returns what it sent.
  std::string Feed(std::string_view bytes, size_t piece_bytes = SIZE_MAX);
  /// Lets time pass, as the transport's tick does; returns what was sent.
  std::string Pass(std::chrono::milliseconds time);
  void EndInput();

  bool open() const { return open_; }
  int64_t memory_bytes() const { return context_->memory->used(); }
  void set_overloaded(bool overloaded) { overloaded_ = overloaded; }
  void set_error_formatter(ErrorFormatter formatter) { context_->listener->error_formatter = std::move(formatter); }
  void set_head_checker(HeadChecker checker) { context_->listener->head_checker = std::move(checker); }

 private:
  void Changed() override {}
  std::string Collect();

  bool overloaded_ = false;
  std::shared_ptr<ManualExecutor> executor_ = std::make_shared<ManualExecutor>();
  std::shared_ptr<ConnectionContext> context_ = std::make_shared<ConnectionContext>();
  TimePoint now_ = std::chrono::steady_clock::now();
  std::unique_ptr<Protocol> protocol_;
  bool open_ = true;
};

}  // namespace sheaf::serve
