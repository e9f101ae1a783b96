#include "client/grpc_reader.h"

#include <algorithm>
#include <utility>

namespace sheaf::client {
namespace {

constexpr std::chrono::milliseconds kCancelPoll{100};

ErrorKind KindOfCode(const GrpcEnd& end) {
  switch (end.code) {
    case GrpcCode::kInvalidArgument:
    case GrpcCode::kFailedPrecondition:
    case GrpcCode::kOutOfRange: return ErrorKind::kInvalid;
    case GrpcCode::kNotFound: return ErrorKind::kNotFound;
    case GrpcCode::kAlreadyExists: return ErrorKind::kAlreadyExists;
    case GrpcCode::kAborted: return ErrorKind::kConflict;
    case GrpcCode::kPermissionDenied:
    case GrpcCode::kUnauthenticated: return ErrorKind::kDenied;
    case GrpcCode::kResourceExhausted: return end.retry_after_ms ? ErrorKind::kThrottled : ErrorKind::kTooLarge;
    case GrpcCode::kUnimplemented: return ErrorKind::kUnsupported;
    case GrpcCode::kCancelled: return ErrorKind::kCancelled;
    case GrpcCode::kDeadlineExceeded: return ErrorKind::kTimeout;
    case GrpcCode::kUnavailable: return ErrorKind::kUnavailable;
    case GrpcCode::kDataLoss: return ErrorKind::kCorruption;
    default: return ErrorKind::kInternal;
  }
}

}  // namespace

struct GrpcReader::Shared {
  mutable Mutex mutex;
  CondVar changed;
  std::deque<std::string> messages SHEAF_GUARDED_BY(mutex);
  int64_t bytes SHEAF_GUARDED_BY(mutex) = 0;
  bool paused SHEAF_GUARDED_BY(mutex) = false;
  std::optional<GrpcEnd> end SHEAF_GUARDED_BY(mutex);
  std::function<void()> on_ready SHEAF_GUARDED_BY(mutex);
  GrpcStream* stream SHEAF_GUARDED_BY(mutex) = nullptr;  // Null before it is open, and once the reader is gone.

  void OnMessage(std::string message) SHEAF_EXCLUDES(mutex) {
    std::function<void()> tell;
    {
      MutexLock lock(&mutex);
      bytes += static_cast<int64_t>(message.size());
      messages.push_back(std::move(message));
      if (!paused && stream != nullptr && bytes > kWaitingBytesMax) {
        paused = true;
        stream->Pause();
      }
      tell = on_ready;
      changed.NotifyAll();
    }
    if (tell) tell();
  }

  void OnEnd(GrpcEnd how) SHEAF_EXCLUDES(mutex) {
    std::function<void()> tell;
    {
      MutexLock lock(&mutex);
      end = std::move(how);
      tell = on_ready;
      changed.NotifyAll();
    }
    if (tell) tell();
  }
};

GrpcReader::GrpcReader(GrpcClient* client, const GrpcRequest& request, std::function<bool()> cancelled)
    : shared_(std::make_shared<Shared>()), cancelled_(std::move(cancelled)) {
  stream_ = client->Open(request, [shared = shared_](std::string message) { shared->OnMessage(std::move(message)); },
                         [shared = shared_](GrpcEnd end) { shared->OnEnd(std::move(end)); });
  MutexLock lock(&shared_->mutex);
  shared_->stream = stream_.get();
}

GrpcReader::~GrpcReader() {
  {
    MutexLock lock(&shared_->mutex);
    shared_->stream = nullptr;
    shared_->on_ready = nullptr;
  }
  stream_->Cancel();  // Nothing where it has ended.
}

Result<std::optional<std::string>> GrpcReader::Next(std::chrono::nanoseconds idle) {
  const auto until = Clock::now() + idle;
  Shared& shared = *shared_;
  for (;;) {
    {
      MutexLock lock(&shared.mutex);
      if (shared.messages.empty() && !shared.end) {
        const auto left = std::min<std::chrono::nanoseconds>(until - Clock::now(), kCancelPoll);
        if (left.count() > 0) shared.changed.WaitFor(&shared.mutex, left);
      }
      if (!shared.messages.empty()) {
        std::string message = std::move(shared.messages.front());
        shared.messages.pop_front();
        shared.bytes -= static_cast<int64_t>(message.size());
        if (shared.paused && shared.bytes <= kWaitingBytesMax / 2) {
          shared.paused = false;
          stream_->Resume();
        }
        return std::optional(std::move(message));
      }
      if (shared.end) return std::nullopt;
    }
    if (cancelled_ && cancelled_()) return MakeError(ErrorKind::kCancelled, "cancelled");
    if (Clock::now() >= until) return MakeError(ErrorKind::kTimeout, "nothing came in time");
  }
}

bool GrpcReader::ready() const {
  MutexLock lock(&shared_->mutex);
  return !shared_->messages.empty() || shared_->end.has_value();
}

int64_t GrpcReader::waiting_bytes() const {
  MutexLock lock(&shared_->mutex);
  return shared_->bytes;
}

void GrpcReader::OnReady(std::function<void()> ready) {
  MutexLock lock(&shared_->mutex);
  shared_->on_ready = std::move(ready);
}

GrpcEnd GrpcReader::end() const {
  MutexLock lock(&shared_->mutex);
  return shared_->end.value_or(GrpcEnd());
}

Status ErrorOfGrpc(const GrpcEnd& end, std::string_view what, bool writes) {
  ErrorKind kind = KindOfCode(end);
  if (!end.from_server && end.code == GrpcCode::kUnavailable && end.perhaps_processed && writes) kind = ErrorKind::kUnknown;
  std::string_view message = end.message;
  return MakeError(kind, "{}: {}{}", what, message.substr(0, 2'000),
                   kind == ErrorKind::kUnknown ? "; whether it was done is not known" : "");
}

}  // namespace sheaf::client
