#include "wire/http2_session.h"

#include <algorithm>
#include <iterator>

#include <nghttp2/nghttp2.h>

#include "core/check.h"

namespace sheaf::wire {
namespace {

std::string_view Text(const uint8_t* bytes, size_t n) { return {reinterpret_cast<const char*>(bytes), n}; }

/// nghttp2 copies names and values when a frame is submitted.
std::vector<nghttp2_nv> Fields(const Http2Headers& headers) {
  const auto bytes = [](const std::string& s) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(s.data())); };
  std::vector<nghttp2_nv> fields;
  fields.reserve(headers.size());
  for (const auto& [name, value] : headers) {
    fields.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  return fields;
}

/// A client that resets what it asked for, or makes us reset it, pays from the same purse as pings.
constexpr double kInvalidFrameCost = 5;
/// A request that is answered before its end may still send so much, or so long, before it is told to stop (RST_STREAM
/// with NO_ERROR): some clients take that for a failure when it overtakes the end of a small body.
constexpr size_t kUnwantedBytesMax = 64 << 10;
constexpr std::chrono::milliseconds kUnwantedTime{1000};
/// A request whose headers pass their limit is refused; one whose headers pass it so many times is an attack by compression (a byte
/// of HPACK may stand for 4 KiB), and ends the connection before all of it is unpacked.
constexpr uint64_t kHeaderBlockFactor = 4;
/// A well-behaved client skips none.
constexpr size_t kSkippedRangesMax = 16;

}  // namespace

/// What nghttp2 calls; `user` is the session.
struct Http2Session::Callbacks {
  static Http2Session* Self(void* user) { return static_cast<Http2Session*>(user); }

  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* header, void* user) {
    if (header->type != NGHTTP2_HEADERS) return 0;
    Http2Session* self = Self(user);
    if (!self->header_block_since_) self->header_block_since_ = self->now_;
    if (self->UsesSkippedId(header->stream_id)) self->Terminate(Http2Error::kProtocol);
    return 0;
  }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Self(user)->header_block_bytes_ = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) Self(user)->heads_.try_emplace(frame->hd.stream_id);
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name_bytes, size_t name_length,
                      const uint8_t* value_bytes, size_t value_length, uint8_t, void* user) {
    Http2Session* self = Self(user);
    self->header_block_bytes_ += name_length + value_length + 32;
    if (self->header_block_bytes_ > kHeaderBlockFactor * self->limits_.header_bytes_max) {
      self->Terminate(Http2Error::kEnhanceYourCalm);
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;  // Trailers of a request mean nothing to us.
    const auto found = self->heads_.find(frame->hd.stream_id);
    if (found == self->heads_.end()) return 0;
    Head& head = found->second;
    head.bytes += name_length + value_length + 32;
    if (head.bytes > self->limits_.header_bytes_max) {
      head.request.headers_too_large = true;
      return 0;
    }
    const std::string_view name = Text(name_bytes, name_length), value = Text(value_bytes, value_length);
    Http2Request& request = head.request;
    if (name == ":method") request.method = value;
    else if (name == ":path") request.path = value;
    else if (name == ":scheme") request.scheme = value;
    else if (name == ":authority") request.authority = value;
    else if (!name.starts_with(':')) request.headers.emplace_back(name, value);
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Session* self = Self(user);
    const int32_t stream = frame->hd.stream_id;
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        self->header_block_since_.reset();
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) self->RequestComplete(stream);
        if (end) self->events_->OnRequestEnd(stream);
        break;
      case NGHTTP2_DATA:
        if (!end && frame->hd.length == 0) self->Glitch(1);
        if (end) self->events_->OnRequestEnd(stream);
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
          self->established_ = true;
          self->Glitch(1);
        }
        break;
      case NGHTTP2_PING:
      case NGHTTP2_PRIORITY:
      case NGHTTP2_RST_STREAM:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) self->Glitch(1);
        break;
      default:
        break;
    }
    return 0;
  }

  static int OnInvalidFrame(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    Http2Session* self = Self(user);
    if (frame->hd.type == NGHTTP2_HEADERS) self->header_block_since_.reset();
    self->Glitch(kInvalidFrameCost);
    return 0;
  }

  static int OnDataChunk(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t length, void* user) {
    Http2Session* self = Self(user);
    const auto early = self->answered_early_.find(stream);
    if (early != self->answered_early_.end() && (early->second.bytes += length) > kUnwantedBytesMax) self->ResetAnswered(stream);
    self->events_->OnData(stream, std::as_bytes(std::span(data, length)));
    return 0;
  }

  static int OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    const bool carries_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (carries_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0) {
      Self(user)->answered_early_[frame->hd.stream_id] = {Self(user)->now_};
    }
    // Resets that the peer provoked ("MadeYouReset") cost it as much as those it sends.
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR) Self(user)->Glitch(1);
    return 0;
  }

  static int OnStreamClose(nghttp2_session*, int32_t stream, uint32_t, void* user) {
    Http2Session* self = Self(user);
    self->answered_early_.erase(stream);
    if (self->heads_.erase(stream) != 0) return 0;  // Never told of; nothing to close.
    if (self->active_streams_ > 0) --self->active_streams_;
    self->events_->OnStreamClosed(stream);
    return 0;
  }

  static ssize_t Produce(nghttp2_session*, int32_t stream, uint8_t* out, size_t length, uint32_t* flags, nghttp2_data_source*,
                         void* user) {
    const Http2Events::Produced produced =
        Self(user)->events_->OnProduce(stream, std::as_writable_bytes(std::span(out, length)));
    if (produced.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (produced.trailers) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    } else if (produced.bytes == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(produced.bytes);
  }

  static nghttp2_session_callbacks* Table() {
    static nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* callbacks = nullptr;
      SHEAF_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
      nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, OnBeginFrame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, OnBeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
      nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, OnInvalidFrame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnDataChunk);
      nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, OnFrameSent);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnStreamClose);
      return callbacks;
    }();
    return table;
  }
};

Http2Session::Http2Session(const Http2Limits& limits, Http2Events* events, Http2Time now)
    : limits_(limits), events_(events), now_(now), tokens_time_(now), tokens_(limits.glitch_burst) {}

Http2Session::~Http2Session() { nghttp2_session_del(session_); }

Result<std::unique_ptr<Http2Session>> Http2Session::Make(const Http2Limits& limits, Http2Events* events, Http2Time now) {
  std::unique_ptr<Http2Session> self(new Http2Session(limits, events, now));
  nghttp2_option* option = nullptr;
  if (nghttp2_option_new(&option) != 0) return MakeError(ErrorKind::kOutOfMemory, "no memory for an HTTP/2 session");
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_max_continuations(option, 8);
  nghttp2_option_set_max_outbound_ack(option, 100);
  nghttp2_option_set_stream_reset_rate_limit(option, static_cast<uint64_t>(limits.glitch_burst),
                                             static_cast<uint64_t>(limits.glitches_per_second));
  const int code = nghttp2_session_server_new2(&self->session_, Callbacks::Table(), self.get(), option);
  nghttp2_option_del(option);
  if (code != 0) return MakeError(ErrorKind::kOutOfMemory, "no memory for an HTTP/2 session");

  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams_max},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_bytes_max},
  };
  if (nghttp2_submit_settings(self->session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) != 0 ||
      nghttp2_session_set_local_window_size(self->session_, NGHTTP2_FLAG_NONE, 0,
                                            static_cast<int32_t>(limits.connection_window_bytes)) != 0) {
    return MakeError(ErrorKind::kOutOfMemory, "no memory for an HTTP/2 session");
  }
  return self;
}

void Http2Session::RequestComplete(int32_t stream) {
  auto node = heads_.extract(stream);
  if (node.empty()) return;
  ++active_streams_;
  events_->OnRequest(stream, std::move(node.mapped().request));
}

bool Http2Session::Receive(std::span<const std::byte> bytes, Http2Time now) {
  now_ = now;
  const ssize_t taken = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return taken >= 0;
}

bool Http2Session::Fill(std::vector<uint8_t>* out, size_t bytes_max) {
  while (out->size() < bytes_max) {
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) return false;
    if (n == 0) return true;
    out->insert(out->end(), data, data + n);
  }
  return true;
}

bool Http2Session::finished() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

// The submit functions below fail only without memory or for a stream that is gone; either way the stream's end
// is what its user hears of, so their results carry no news.
void Http2Session::Respond(int32_t stream, const Http2Headers& headers, bool body) {
  const std::vector<nghttp2_nv> fields = Fields(headers);
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::Produce;
  nghttp2_submit_response(session_, stream, fields.data(), fields.size(), body ? &provider : nullptr);
}

void Http2Session::SubmitTrailers(int32_t stream, const Http2Headers& trailers) {
  const std::vector<nghttp2_nv> fields = Fields(trailers);
  nghttp2_submit_trailer(session_, stream, fields.data(), fields.size());
}

void Http2Session::SendContinue(int32_t stream) {
  const std::vector<nghttp2_nv> fields = Fields({{":status", "100"}});
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream, nullptr, fields.data(), fields.size(), nullptr);
}

void Http2Session::ResumeData(int32_t stream) { nghttp2_session_resume_data(session_, stream); }

void Http2Session::Reset(int32_t stream, Http2Error error) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, static_cast<uint32_t>(error));
}

void Http2Session::ResetAnswered(int32_t stream) {
  answered_early_.erase(stream);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, NGHTTP2_NO_ERROR);
}

void Http2Session::ResetOverdue(Http2Time now) {
  std::vector<int32_t> overdue;
  for (const auto& [stream, early] : answered_early_) {
    if (now - early.since > kUnwantedTime) overdue.push_back(stream);
  }
  for (const int32_t stream : overdue) ResetAnswered(stream);
}

void Http2Session::ConsumeStream(int32_t stream, size_t bytes) { nghttp2_session_consume_stream(session_, stream, bytes); }
void Http2Session::ConsumeConnection(size_t bytes) { nghttp2_session_consume_connection(session_, bytes); }
void Http2Session::Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }
void Http2Session::BeginDrain() { nghttp2_submit_shutdown_notice(session_); }

void Http2Session::FinishDrain() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0);
}

void Http2Session::Terminate(Http2Error error) { nghttp2_session_terminate_session(session_, static_cast<uint32_t>(error)); }

bool Http2Session::UsesSkippedId(int32_t stream) {
  if (stream % 2 == 0) return false;  // nghttp2 refuses it.
  if (stream > highest_id_) {
    if (stream > highest_id_ + 2) skipped_ids_.emplace_back(highest_id_ + 2, stream - 2);
    if (skipped_ids_.size() > kSkippedRangesMax) skipped_ids_.erase(skipped_ids_.begin());
    highest_id_ = stream;
    return false;
  }
  return std::any_of(skipped_ids_.begin(), skipped_ids_.end(),
                     [stream](const auto& range) { return range.first <= stream && stream <= range.second; });
}

void Http2Session::Glitch(double cost) {
  const double elapsed_s = std::chrono::duration<double>(now_ - tokens_time_).count();
  tokens_ = std::min(limits_.glitch_burst, tokens_ + limits_.glitches_per_second * elapsed_s);
  tokens_time_ = now_;
  tokens_ -= cost;
  if (tokens_ < 0) Terminate(Http2Error::kEnhanceYourCalm);
}

}  // namespace sheaf::wire
