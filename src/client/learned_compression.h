/// What a client finds out about whether a server takes its compression. Nothing of HTTP or gRPC says so beforehand.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include "wire/compression.h"
#include "wire/otlp_json.h"

namespace sheaf::client {

/// For each signal by itself, since each may be a service of its own. Thread-safe.
class LearnedCompression {
 public:
  explicit LearnedCompression(wire::Encoding wanted) : wanted_(wanted) {}

  /// How the next request is to be sent: as wanted, or plain.
  wire::Encoding Next(wire::OtlpRequest kind) const;
  /// Whether the server is known to take what is wanted.
  bool works(wire::OtlpRequest kind) const { return Of(kind) == State::kWorks; }

  /// A request was taken. True: this tells that the server takes plain ones only, which is news.
  bool NoteTaken(wire::OtlpRequest kind, wire::Encoding encoding);
  /// A server broke a request off and did not say why, as some do that cannot inflate it: the next one goes plain, to see.
  void NoteBrokenOff(wire::OtlpRequest kind);

 private:
  enum class State { kUnknown, kWorks, kTryPlain, kPlain };
  static size_t Index(wire::OtlpRequest kind) { return static_cast<size_t>(kind); }
  State Of(wire::OtlpRequest kind) const { return states_[Index(kind)]; }

  const wire::Encoding wanted_;
  std::array<std::atomic<State>, 3> states_{};
};

}  // namespace sheaf::client
