/// One HTTP request from its head to its handler, the same for HTTP/1 and HTTP/2.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "serve/gate.h"
#include "serve/http_answer.h"
#include "serve/request_body.h"
#include "serve/transport_protocol.h"
#include "serve/upload_rate.h"

namespace sheaf::serve {

struct HttpHead {
  std::string method, target;  // The target as sent.
  Headers headers;             // Names in lower case.
  std::optional<int64_t> content_length;
};

/// On the I/O thread, but for the handler's work. Whatever is wrong with the request ends in an answer; the rest of
/// its body is then dropped.
class HttpTransaction : public std::enable_shared_from_this<HttpTransaction> {
 public:
  /// `wake` runs on the I/O thread when the answer has something to Take().
  HttpTransaction(ContextPtr context, std::function<void()> wake, TimePoint now);
  ~HttpTransaction();

  /// Finds the handler; refuses at once what the head already shows to be wrong, or anything in overload.
  void OnHead(HttpHead head);
  void OnBody(std::span<const std::byte> data);
  /// Starts the handler.
  void OnEnd();
  /// Answers 408 when the body arrives too slowly.
  void Check(TimePoint now);
  /// Answers with an error, worded as the listener words them, and drops the body. `reason` is for the metrics, `text` for people;
  /// 503 asks to try again later.
  void Refuse(int status, const char* reason, std::string text, Headers headers = {});
  void Excuse(std::chrono::steady_clock::duration time) { rate_.Excuse(time); }

  HttpAnswer& answer() { return *answer_; }
  bool receiving() const { return receiving_; }
  const std::string& method() const { return head_.method; }
  std::string_view header(std::string_view name) const;

 private:
  /// As Refuse(), where the body is gone already; on any thread.
  void Reject(int status, const char* reason, std::string text, Headers headers = {});
  /// Takes no more of the request.
  void Drop();
  /// Asks the gate, where it can answer at once. False: it refused, and so have we.
  bool PassGate();
  /// Takes over the gate's answer. False: it refused, and the request is answered. On whatever thread has the request.
  bool Take(Entry entry);
  bool ReadTarget();
  bool ReadEncoding();
  void Run();

  const ContextPtr context_;
  const std::shared_ptr<HttpAnswer> answer_;
  const TimePoint start_;
  HttpHead head_;
  std::string path_, query_;
  const HttpRoute* route_ = nullptr;  // Of context_->listener.
  Passage passage_;
  bool must_enter_ = false;           // The gate has to hash a password yet.
  wire::Encoding encoding_ = wire::Encoding::kIdentity;
  MessageBuffer body_;
  UnverifiedBytes unverified_;        // Of body_, while must_enter_.
  UploadRate rate_;
  bool receiving_ = true;  // The body is of interest.
};

}  // namespace sheaf::serve
