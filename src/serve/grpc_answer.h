/// The answer to one gRPC call on its way from a handler, on any thread, to the connection's I/O thread.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "serve/transport_protocol.h"

namespace sheaf::serve {

/// Thread-safe where not said otherwise. Shared by the handler's side and the stream's.
class GrpcAnswer : public std::enable_shared_from_this<GrpcAnswer> {
 public:
  /// `wake` runs on the I/O thread when there is something new to Take().
  GrpcAnswer(ContextPtr context, std::function<void()> wake) : context_(std::move(context)), wake_(std::move(wake)) {}

  // The handler's side; see GrpcStreamCall.
  void Write(std::string reply) SHEAF_EXCLUDES(mutex_);
  bool Send(std::string reply) SHEAF_EXCLUDES(mutex_);
  /// Only the first one counts. `reply` goes out if `has_reply`.
  void Finish(GrpcStatus status, bool has_reply, std::string reply) SHEAF_EXCLUDES(mutex_);
  void OnCancel(std::function<void()> action) SHEAF_EXCLUDES(mutex_);
  bool cancelled() const SHEAF_EXCLUDES(mutex_);
  bool finished() const SHEAF_EXCLUDES(mutex_);

  // The stream's side, on the I/O thread.
  struct Progress {
    std::deque<std::string> pieces;  // Bytes of framed replies.
    bool finished = false;
  };
  Progress Take() SHEAF_EXCLUDES(mutex_);
  /// Requires: Take() said finished.
  const GrpcStatus& status() const { return status_; }
  void Sent(int64_t bytes) SHEAF_EXCLUDES(mutex_);
  /// Ends the call with `status` whatever the handler does; runs OnCancel actions unless it was finished before.
  void Cancel(GrpcStatus status) SHEAF_EXCLUDES(mutex_);
  /// No answer can go out any more; as Cancel(). `wake` runs no more.
  void PeerGone() SHEAF_EXCLUDES(mutex_);

 private:
  void PushLocked(std::string reply) SHEAF_REQUIRES(mutex_);
  void FinishLocked(GrpcStatus status) SHEAF_REQUIRES(mutex_);
  void WakeLocked() SHEAF_REQUIRES(mutex_);

  const ContextPtr context_;
  std::function<void()> wake_;  // I/O thread only.

  mutable Mutex mutex_;
  CondVar room_;  // The peer has read, or the call is over.
  std::deque<std::string> pieces_ SHEAF_GUARDED_BY(mutex_);
  int64_t buffered_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  bool finished_ SHEAF_GUARDED_BY(mutex_) = false, cancelled_ SHEAF_GUARDED_BY(mutex_) = false;
  bool gone_ SHEAF_GUARDED_BY(mutex_) = false, wake_posted_ SHEAF_GUARDED_BY(mutex_) = false;
  GrpcStatus status_;  // Written once, before finished_.
  std::vector<std::function<void()>> on_cancel_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::serve
