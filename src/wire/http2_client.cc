#include "wire/http2_client.h"

#include <iterator>
#include <string_view>
#include <utility>

#include <nghttp2/nghttp2.h>

#include "core/check.h"

namespace sheaf::wire {
namespace {

std::string Text(const uint8_t* bytes, size_t n) { return {reinterpret_cast<const char*>(bytes), n}; }

bool IsInformational(const Http2ClientEvents::Headers& headers) {
  return !headers.empty() && headers[0].first == ":status" && headers[0].second.starts_with('1');
}

}  // namespace

bool IsSecretHeader(std::string_view name) {
  return name == "authorization" || name == "proxy-authorization" || name == "cookie" || name.ends_with("api-key") ||
         name.ends_with("token");
}

/// What nghttp2 calls; `user` is the session.
struct Http2Client::Callbacks {
  static Http2Client* Self(void* user) { return static_cast<Http2Client*>(user); }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
                      const uint8_t* value, size_t value_length, uint8_t, void* user) {
    Http2Client* self = Self(user);
    const auto found = self->streams_.find(frame->hd.stream_id);
    if (found == self->streams_.end()) return 0;
    Stream& stream = found->second;
    stream.header_bytes += name_length + value_length + 32;
    if (stream.header_bytes > self->limits_.header_bytes_max) {
      stream.headers_too_large = true;
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // Resets this stream; others go on.
    }
    stream.headers.emplace_back(Text(name, name_length), Text(value, value_length));
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Http2Client* self = Self(user);
    const auto found = self->streams_.find(frame->hd.stream_id);
    if (found == self->streams_.end()) return 0;
    Http2ClientEvents::Headers headers = std::move(found->second.headers);
    found->second.headers.clear();
    found->second.header_bytes = 0;
    if (IsInformational(headers)) return 0;
    self->events_->OnHeaders(frame->hd.stream_id, std::move(headers), (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    return 0;
  }

  static int OnDataChunk(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t length, void* user) {
    Http2Client* self = Self(user);
    nghttp2_session_consume_connection(self->session_, length);
    const auto found = self->streams_.find(stream);
    if (found == self->streams_.end()) return 0;
    if (found->second.paused) {
      found->second.unconsumed += length;
    } else {
      nghttp2_session_consume_stream(self->session_, stream, length);
    }
    self->events_->OnData(stream, std::as_bytes(std::span(data, length)));
    return 0;
  }

  static int OnFrameSent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    const auto found = Self(user)->streams_.find(frame->hd.stream_id);
    if (found != Self(user)->streams_.end()) found->second.begun = true;
    return 0;
  }

  /// A request that waited for its turn when the server said GOAWAY: nghttp2 opens no stream for it, and so closes none.
  static int OnFrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    if (frame->hd.type == NGHTTP2_HEADERS) Self(user)->Close(frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return 0;
  }

  static int OnStreamClose(nghttp2_session*, int32_t stream, uint32_t error, void* user) {
    Self(user)->Close(stream, error);
    return 0;
  }

  static ssize_t Produce(nghttp2_session*, int32_t stream, uint8_t* out, size_t length, uint32_t* flags, nghttp2_data_source*,
                         void* user) {
    const Http2ClientEvents::Produced produced =
        Self(user)->events_->OnProduce(stream, std::as_writable_bytes(std::span(out, length)));
    if (produced.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (produced.bytes == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(produced.bytes);
  }

  static nghttp2_session_callbacks* Table() {
    static nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* callbacks = nullptr;
      SHEAF_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
      nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnDataChunk);
      nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, OnFrameSent);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, OnFrameNotSent);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnStreamClose);
      return callbacks;
    }();
    return table;
  }
};

Http2Client::~Http2Client() { nghttp2_session_del(session_); }

Result<std::unique_ptr<Http2Client>> Http2Client::Make(const Http2ClientLimits& limits, Http2ClientEvents* events) {
  std::unique_ptr<Http2Client> self(new Http2Client(limits, events));
  const auto no_memory = [] { return MakeError(ErrorKind::kOutOfMemory, "no memory for an HTTP/2 session"); };
  nghttp2_option* options = nullptr;
  if (nghttp2_option_new(&options) != 0) return no_memory();
  nghttp2_option_set_no_auto_window_update(options, 1);
  const int made = nghttp2_session_client_new2(&self->session_, Callbacks::Table(), self.get(), options);
  nghttp2_option_del(options);
  if (made != 0) return no_memory();
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_bytes_max},
  };
  if (nghttp2_submit_settings(self->session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) != 0 ||
      nghttp2_session_set_local_window_size(self->session_, NGHTTP2_FLAG_NONE, 0,
                                            static_cast<int32_t>(limits.connection_window_bytes)) != 0) {
    return no_memory();
  }
  return self;
}

bool Http2Client::Receive(std::span<const std::byte> bytes) {
  return nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) >= 0;
}

bool Http2Client::Fill(std::vector<uint8_t>* out, size_t bytes_max) {
  while (out->size() < bytes_max) {
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) return false;
    if (n == 0) break;
    out->insert(out->end(), data, data + n);
  }
  return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
}

Result<int32_t> Http2Client::Request(const Http2ClientEvents::Headers& headers) {
  // nghttp2 copies names and values.
  const auto bytes = [](const std::string& s) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(s.data())); };
  std::vector<nghttp2_nv> fields;
  fields.reserve(headers.size());
  for (const auto& [name, value] : headers) {
    const uint8_t flags = IsSecretHeader(name) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    fields.push_back({bytes(name), bytes(value), name.size(), value.size(), flags});
  }
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::Produce;
  const int32_t stream = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, nullptr);
  if (stream < 0) return MakeError(ErrorKind::kUnavailable, "HTTP/2: {}", nghttp2_strerror(stream));
  streams_.try_emplace(stream);
  return stream;
}

void Http2Client::Close(int32_t stream, uint32_t error) {
  auto node = streams_.extract(stream);
  if (node.empty()) return;
  events_->OnClosed(stream, {.error = error,
                             .perhaps_processed = node.mapped().begun && error != NGHTTP2_REFUSED_STREAM,
                             .headers_too_large = node.mapped().headers_too_large});
}

// These fail only without memory or for a stream that is gone, whose end its user hears of.
void Http2Client::ResumeData(int32_t stream) { nghttp2_session_resume_data(session_, stream); }
void Http2Client::Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }
void Http2Client::Cancel(int32_t stream) { nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL); }

void Http2Client::Pause(int32_t stream) {
  const auto found = streams_.find(stream);
  if (found != streams_.end()) found->second.paused = true;
}

void Http2Client::Unpause(int32_t stream) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  found->second.paused = false;
  if (found->second.unconsumed > 0) nghttp2_session_consume_stream(session_, stream, std::exchange(found->second.unconsumed, 0));
}

bool Http2Client::accepts_requests() const { return nghttp2_session_check_request_allowed(session_) != 0; }

bool Http2Client::begun(int32_t stream) const {
  const auto found = streams_.find(stream);
  return found != streams_.end() && found->second.begun;
}

}  // namespace sheaf::wire
