/// One HTTP answer on its way from a handler, on any thread, to the connection's I/O thread.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "serve/transport_protocol.h"

namespace sheaf::serve {

/// Thread-safe where not said otherwise. Shared by the handler's side and the protocol's.
class HttpAnswer : public std::enable_shared_from_this<HttpAnswer> {
 public:
  /// `wake` runs on the I/O thread when there is something new to Take().
  HttpAnswer(ContextPtr context, std::function<void()> wake) : context_(std::move(context)), wake_(std::move(wake)) {}

  // The handler's side; see HttpExchange.
  void Respond(int status, Headers headers, std::string body) SHEAF_EXCLUDES(mutex_);
  void Begin(int status, Headers headers) SHEAF_EXCLUDES(mutex_);
  bool Write(std::string chunk) SHEAF_EXCLUDES(mutex_);
  void End() SHEAF_EXCLUDES(mutex_);
  void Abort() SHEAF_EXCLUDES(mutex_);
  void OnCancel(std::function<void()> action) SHEAF_EXCLUDES(mutex_);
  bool cancelled() const SHEAF_EXCLUDES(mutex_);
  /// The handler let go without an end: answers 500, or breaks off what was begun.
  void Abandon() SHEAF_EXCLUDES(mutex_);
  bool begun() const SHEAF_EXCLUDES(mutex_);

  /// Headers that the answer gets whoever gives it, but for those that it names itself. Before all else.
  void SetCommonHeaders(Headers headers) SHEAF_EXCLUDES(mutex_);

  // The protocol's side, on the I/O thread.
  struct Progress {
    bool head = false;  // The three below are new and valid.
    int status = 0;
    Headers headers;
    std::optional<int64_t> length;  // Of the whole body, where it is known.
    std::deque<std::string> chunks;
    bool ended = false, aborted = false;
  };
  /// Returns what is new since the last call.
  Progress Take() SHEAF_EXCLUDES(mutex_);
  /// Bytes of chunks went out; lets Write() go on.
  void Sent(int64_t bytes) SHEAF_EXCLUDES(mutex_);
  /// Runs OnCancel actions. The answer still goes out if the handler gives one (the peer may only have half-closed).
  void Cancel() SHEAF_EXCLUDES(mutex_);
  /// No answer can go out any more; as Cancel(), and frees whoever waits. `wake` runs no more.
  void PeerGone() SHEAF_EXCLUDES(mutex_);

 private:
  void BeginLocked(int status, Headers headers, std::optional<int64_t> length) SHEAF_REQUIRES(mutex_);
  void WakeLocked() SHEAF_REQUIRES(mutex_);

  const ContextPtr context_;
  std::function<void()> wake_;  // I/O thread only.

  mutable Mutex mutex_;
  CondVar room_;
  bool head_ready_ SHEAF_GUARDED_BY(mutex_) = false, begun_ SHEAF_GUARDED_BY(mutex_) = false;
  bool ended_ SHEAF_GUARDED_BY(mutex_) = false, aborted_ SHEAF_GUARDED_BY(mutex_) = false;
  bool cancelled_ SHEAF_GUARDED_BY(mutex_) = false, gone_ SHEAF_GUARDED_BY(mutex_) = false;
  bool wake_posted_ SHEAF_GUARDED_BY(mutex_) = false;
  int status_ SHEAF_GUARDED_BY(mutex_) = 0;
  Headers headers_ SHEAF_GUARDED_BY(mutex_), common_headers_ SHEAF_GUARDED_BY(mutex_);
  std::optional<int64_t> length_ SHEAF_GUARDED_BY(mutex_);
  std::deque<std::string> chunks_ SHEAF_GUARDED_BY(mutex_);
  int64_t buffered_bytes_ SHEAF_GUARDED_BY(mutex_) = 0;
  std::vector<std::function<void()>> on_cancel_ SHEAF_GUARDED_BY(mutex_);
};

}  // namespace sheaf::serve
