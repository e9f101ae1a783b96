#include "serve/http_answer.h"

#include <algorithm>
#include <utility>

#include "wire/http_text.h"

namespace sheaf::serve {
namespace {

/// Names that the transport itself decides about.
bool IsOurs(std::string_view name) {
  return name == "connection" || name == "content-length" || name == "transfer-encoding" || name == "keep-alive" ||
         name == "upgrade" || name.starts_with(':') || name.empty();
}

/// Lower-case names; nothing that could break out of its line.
Headers Clean(Headers headers) {
  constexpr std::string_view kBreaks("\r\n\0", 3);
  for (auto& [name, value] : headers) name = wire::LowerCase(name);
  std::erase_if(headers, [&](const auto& header) {
    return IsOurs(header.first) || header.first.find_first_of(kBreaks) != std::string::npos ||
           header.second.find_first_of(kBreaks) != std::string::npos;
  });
  return headers;
}

}  // namespace

void HttpAnswer::BeginLocked(int status, Headers headers, std::optional<int64_t> length) {
  begun_ = head_ready_ = true;
  status_ = status;
  headers_ = Clean(std::move(headers));
  const size_t own = headers_.size();
  for (auto& common : common_headers_) {
    const auto same = [&](const auto& header) { return header.first == common.first && common.first != "vary"; };
    if (std::none_of(headers_.begin(), headers_.begin() + static_cast<ptrdiff_t>(own), same)) headers_.push_back(std::move(common));
  }
  length_ = length;
  context_->listener->metrics.CountHttp(status);
}

void HttpAnswer::WakeLocked() {
  if (std::exchange(wake_posted_, true)) return;
  context_->io->Post([self = shared_from_this()] {
    if (self->wake_) self->wake_();
  });
}

void HttpAnswer::SetCommonHeaders(Headers headers) {
  MutexLock lock(&mutex_);
  common_headers_ = Clean(std::move(headers));
}

void HttpAnswer::Respond(int status, Headers headers, std::string body) {
  MutexLock lock(&mutex_);
  if (gone_ || begun_) return;
  BeginLocked(status, std::move(headers), static_cast<int64_t>(body.size()));
  buffered_bytes_ += static_cast<int64_t>(body.size());
  if (!body.empty()) chunks_.push_back(std::move(body));
  ended_ = true;
  WakeLocked();
}

void HttpAnswer::Begin(int status, Headers headers) {
  MutexLock lock(&mutex_);
  if (gone_ || begun_) return;
  BeginLocked(status, std::move(headers), std::nullopt);
  WakeLocked();
}

bool HttpAnswer::Write(std::string chunk) {
  MutexLock lock(&mutex_);
  while (!gone_ && !aborted_ && buffered_bytes_ > context_->options().send_buffer_bytes_max) room_.Wait(&mutex_);
  if (gone_ || aborted_) return false;
  if (!begun_ || ended_ || chunk.empty()) return true;
  buffered_bytes_ += static_cast<int64_t>(chunk.size());
  chunks_.push_back(std::move(chunk));
  WakeLocked();
  return true;
}

void HttpAnswer::End() {
  MutexLock lock(&mutex_);
  if (gone_ || !begun_ || ended_) return;
  ended_ = true;
  WakeLocked();
}

void HttpAnswer::Abort() {
  MutexLock lock(&mutex_);
  if (gone_ || ended_ || aborted_) return;
  aborted_ = true;
  WakeLocked();
}

void HttpAnswer::Abandon() {
  if (!begun()) return Respond(500, {{"content-type", "text/plain"}}, "the server did not answer\n");
  Abort();  // Does nothing after End().
}

void HttpAnswer::OnCancel(std::function<void()> action) {
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    if (!cancelled_) {
      on_cancel_.push_back(std::move(action));
      return;
    }
  }
  context_->io->Post(std::move(action));
}

bool HttpAnswer::cancelled() const {
  MutexLock lock(&mutex_);
  return cancelled_;
}

bool HttpAnswer::begun() const {
  MutexLock lock(&mutex_);
  return begun_;
}

HttpAnswer::Progress HttpAnswer::Take() {
  MutexLock lock(&mutex_);
  wake_posted_ = false;
  Progress progress;
  progress.head = std::exchange(head_ready_, false);
  if (progress.head) {
    progress.status = status_;
    progress.headers = std::move(headers_);
    progress.length = length_;
  }
  progress.chunks.swap(chunks_);
  progress.ended = ended_;
  progress.aborted = aborted_;
  return progress;
}

void HttpAnswer::Sent(int64_t bytes) {
  MutexLock lock(&mutex_);
  buffered_bytes_ -= bytes;
  room_.NotifyAll();
}

void HttpAnswer::Cancel() {
  std::vector<std::function<void()>> actions;
  {
    MutexLock lock(&mutex_);
    cancelled_ = true;
    if (!ended_) actions.swap(on_cancel_);
    on_cancel_.clear();
  }
  for (const std::function<void()>& action : actions) action();
}

void HttpAnswer::PeerGone() {
  wake_ = nullptr;
  {
    MutexLock lock(&mutex_);
    gone_ = true;
    room_.NotifyAll();
  }
  Cancel();
}

}  // namespace sheaf::serve
