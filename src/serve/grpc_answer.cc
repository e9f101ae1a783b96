#include "serve/grpc_answer.h"

#include <utility>

namespace sheaf::serve {
namespace {

/// A reply this small travels in one piece with its prefix.
constexpr size_t kSmallReplyBytes = 4096;
/// A streaming call whose peer does not read ends beyond so many times send_buffer_bytes_max.
constexpr int64_t kUnreadBuffersMax = 16;

std::string Prefix(size_t reply_bytes) {
  std::string prefix(5, '\0');
  for (int i = 0; i < 4; ++i) prefix[4 - i] = static_cast<char>(reply_bytes >> (8 * i));
  return prefix;
}

}  // namespace

void GrpcAnswer::PushLocked(std::string reply) {
  std::string prefix = Prefix(reply.size());
  buffered_bytes_ += static_cast<int64_t>(prefix.size() + reply.size());
  if (reply.size() <= kSmallReplyBytes) {
    prefix += reply;
    reply.clear();
  }
  pieces_.push_back(std::move(prefix));
  if (!reply.empty()) pieces_.push_back(std::move(reply));
}

void GrpcAnswer::FinishLocked(GrpcStatus status) {
  status_ = std::move(status);
  finished_ = true;
  room_.NotifyAll();
  context_->listener->metrics.CountGrpc(static_cast<int>(status_.code));
  WakeLocked();
}

void GrpcAnswer::WakeLocked() {
  if (gone_ || std::exchange(wake_posted_, true)) return;
  context_->io->Post([self = shared_from_this()] {
    if (self->wake_) self->wake_();
  });
}

void GrpcAnswer::Write(std::string reply) {
  MutexLock lock(&mutex_);
  if (finished_) return;
  if (buffered_bytes_ > kUnreadBuffersMax * context_->options().send_buffer_bytes_max) {
    return FinishLocked({GrpcCode::kResourceExhausted, "the client does not read its replies", {}});
  }
  PushLocked(std::move(reply));
  WakeLocked();
}

bool GrpcAnswer::Send(std::string reply) {
  MutexLock lock(&mutex_);
  while (!finished_ && buffered_bytes_ > context_->options().send_buffer_bytes_max) room_.Wait(&mutex_);
  if (finished_) return false;
  PushLocked(std::move(reply));
  WakeLocked();
  return true;
}

void GrpcAnswer::Finish(GrpcStatus status, bool has_reply, std::string reply) {
  MutexLock lock(&mutex_);
  if (finished_) return;
  if (has_reply && status.code == GrpcCode::kOk) PushLocked(std::move(reply));
  FinishLocked(std::move(status));
}

void GrpcAnswer::OnCancel(std::function<void()> action) {
  {
    MutexLock lock(&mutex_);
    if (!cancelled_) {
      if (!finished_) on_cancel_.push_back(std::move(action));
      return;
    }
  }
  context_->io->Post(std::move(action));
}

bool GrpcAnswer::cancelled() const {
  MutexLock lock(&mutex_);
  return cancelled_;
}

bool GrpcAnswer::finished() const {
  MutexLock lock(&mutex_);
  return finished_;
}

GrpcAnswer::Progress GrpcAnswer::Take() {
  MutexLock lock(&mutex_);
  wake_posted_ = false;
  Progress progress;
  progress.pieces.swap(pieces_);
  progress.finished = finished_;
  return progress;
}

void GrpcAnswer::Sent(int64_t bytes) {
  MutexLock lock(&mutex_);
  const int64_t buffer = context_->options().send_buffer_bytes_max;
  const bool was_full = buffered_bytes_ > buffer;
  buffered_bytes_ -= bytes;
  if (was_full && buffered_bytes_ <= buffer) room_.NotifyAll();
}

void GrpcAnswer::Cancel(GrpcStatus status) {
  std::vector<std::function<void()>> actions;
  {
    MutexLock lock(&mutex_);
    actions.swap(on_cancel_);
    if (finished_) return;
    cancelled_ = true;
    FinishLocked(std::move(status));
  }
  for (const std::function<void()>& action : actions) action();
}

void GrpcAnswer::PeerGone() {
  wake_ = nullptr;
  {
    MutexLock lock(&mutex_);
    gone_ = true;
  }
  Cancel({GrpcCode::kCancelled, "the client went away", {}});
}

}  // namespace sheaf::serve
