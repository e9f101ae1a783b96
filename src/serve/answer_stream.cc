#include "serve/answer_stream.h"

#include <utility>

namespace sheaf::serve {
namespace {

constexpr size_t kHeldBytesMax = 64 << 10;
constexpr size_t kCompressBytesMin = 1 << 10;
constexpr std::chrono::milliseconds kHeldMax{100};

}  // namespace

AnswerStream::AnswerStream(std::shared_ptr<HttpExchange> exchange, Headers headers, wire::Encoding encoding)
    : exchange_(std::move(exchange)), headers_(std::move(headers)), encoding_(encoding) {}

Status AnswerStream::Write(std::string_view bytes) {
  held_ += bytes;
  return held_.size() >= kHeldBytesMax ? Send(false) : Status::OK();
}

Status AnswerStream::Flush() {
  if (held_.empty() || std::chrono::steady_clock::now() - sent_ < kHeldMax) return Status::OK();
  return Send(false);
}

Status AnswerStream::End() {
  if (begun_) {
    SHEAF_RETURN_NOT_OK(Send(true));
    exchange_->End();
    return Status::OK();
  }
  if (encoding_ != wire::Encoding::kIdentity && held_.size() >= kCompressBytesMin) {
    SHEAF_ASSIGN_OR_RETURN(held_, wire::Compress(encoding_, held_));
    headers_.emplace_back("content-encoding", wire::EncodingName(encoding_));
  }
  begun_ = true;
  exchange_->Respond(200, std::move(headers_), std::move(held_));
  return Status::OK();
}

void RespondWhole(const std::shared_ptr<HttpExchange>& exchange, Headers headers, std::string body) {
  const wire::Encoding encoding = wire::ChooseEncoding(exchange->request.header("accept-encoding"));
  if (encoding != wire::Encoding::kIdentity && body.size() >= kCompressBytesMin) {
    // Where there is no memory to compress it leaves as it is.
    if (auto packed = wire::Compress(encoding, body); packed.ok()) {
      body = std::move(*packed);
      headers.emplace_back("content-encoding", wire::EncodingName(encoding));
    }
  }
  headers.emplace_back("vary", "accept-encoding");
  exchange->Respond(200, std::move(headers), std::move(body));
}

Status AnswerStream::Send(bool last) {
  if (!begun_) {
    if (encoding_ != wire::Encoding::kIdentity) {
      SHEAF_ASSIGN_OR_RETURN(compressor_, wire::StreamCompressor::Make(encoding_));
      headers_.emplace_back("content-encoding", wire::EncodingName(encoding_));
    }
    begun_ = true;
    exchange_->Begin(200, std::move(headers_));
  }
  std::string chunk = std::exchange(held_, {});
  if (compressor_ != nullptr) {
    SHEAF_ASSIGN_OR_RETURN(chunk, compressor_->Push(chunk, last));
  }
  if (!chunk.empty() && !exchange_->Write(std::move(chunk))) return MakeError(ErrorKind::kCancelled, "the client went away");
  sent_ = std::chrono::steady_clock::now();
  return Status::OK();
}

}  // namespace sheaf::serve
