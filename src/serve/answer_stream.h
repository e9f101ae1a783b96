/// An HTTP answer of unknown length, gathered until it is worth sending.
///
/// Small answers leave whole, with their length; large ones are streamed, and a slow reader slows the writer down. Until the
/// first bytes have left, the answer can still become an error with its proper code.

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "core/status.h"
#include "serve/transport.h"
#include "wire/compression.h"

namespace sheaf::serve {

/// One writer. End() or Abort() must be called, unless begun() is still false and the exchange is answered otherwise.
class AnswerStream {
 public:
  /// Headers of an answer with code 200. `encoding` as the client accepts it; used only where the answer is not tiny.
  AnswerStream(std::shared_ptr<HttpExchange> exchange, Headers headers, wire::Encoding encoding);

  /// Adds bytes; sends when enough have gathered, waiting for a slow peer. Cancelled once the peer is gone.
  Status Write(std::string_view bytes);
  /// Tells that a good moment to send has come (a batch ended): sends where some bytes have waited long.
  Status Flush();
  /// Sends the rest and ends the answer.
  Status End();
  /// Ends a begun answer visibly broken.
  void Abort() { exchange_->Abort(); }

  bool begun() const { return begun_; }

 private:
  Status Send(bool last);

  const std::shared_ptr<HttpExchange> exchange_;
  Headers headers_;
  const wire::Encoding encoding_;
  std::unique_ptr<wire::StreamCompressor> compressor_;
  std::string held_;
  std::chrono::steady_clock::time_point sent_ = std::chrono::steady_clock::now();  // When the last bytes left.
  bool begun_ = false;
};

/// Answers a request with code 200 and a body that is there already, compressed as the request accepts it.
void RespondWhole(const std::shared_ptr<HttpExchange>& exchange, Headers headers, std::string body);

}  // namespace sheaf::serve
