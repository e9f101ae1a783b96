#include "wire/grpc_frames.h"

#include <algorithm>
#include <utility>

#include "wire/protobuf_reader.h"

namespace sheaf::wire {
namespace {

constexpr size_t kPrefixBytes = 5;
/// A server that asks for longer means "never"; the caller has a limit of its own.
constexpr int64_t kRetrySecondsMax = 86'400;

uint32_t LengthOf(std::string_view prefix) {
  uint32_t length = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) length = length << 8 | static_cast<uint8_t>(prefix[i]);
  return length;
}

/// google.protobuf.Duration { int64 seconds = 1; int32 nanos = 2; }
bool ReadDuration(std::string_view bytes, int64_t* ms) {
  ProtobufReader reader(bytes);
  int64_t seconds = 0, nanos = 0;
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint): seconds = static_cast<int64_t>(reader.Varint()); break;
      case Tag(2, WireType::kVarint): nanos = static_cast<int32_t>(reader.Varint()); break;
      default: reader.Skip();
    }
  }
  *ms = std::clamp<int64_t>(seconds, 0, kRetrySecondsMax) * 1000 + std::clamp<int64_t>(nanos, 0, 999'999'999) / 1'000'000;
  return reader.ok();
}

/// google.protobuf.Any { type_url = 1; value = 2; } of a RetryInfo { Duration retry_delay = 1; }; others are passed over.
bool ReadDetail(std::string_view bytes, RpcStatus* status) {
  ProtobufReader any(bytes);
  std::string_view type, value;
  while (any.Next()) {
    switch (any.tag()) {
      case Tag(1, WireType::kBytes): type = any.Bytes(); break;
      case Tag(2, WireType::kBytes): value = any.Bytes(); break;
      default: any.Skip();
    }
  }
  if (!any.ok() || !type.ends_with("/google.rpc.RetryInfo")) return any.ok();
  ProtobufReader info(value);
  int64_t ms = 0;
  while (info.Next()) {
    if (info.tag() != Tag(1, WireType::kBytes)) {
      info.Skip();
    } else if (!ReadDuration(info.Bytes(), &ms)) {
      return false;
    }
  }
  if (info.ok()) status->retry_after_ms = ms;
  return info.ok();
}

}  // namespace

void AppendGrpcFrame(bool compressed, std::string_view message, std::string* out) {
  const auto size = static_cast<uint32_t>(message.size());
  out->push_back(compressed ? 1 : 0);
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(size >> shift));
  out->append(message);
}

Status GrpcFrameReader::Push(std::span<const std::byte> bytes, const std::function<void(std::string)>& take) {
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!rest.empty()) {
    if (partial_.size() < kPrefixBytes) {
      const size_t n = std::min(kPrefixBytes - partial_.size(), rest.size());
      partial_.append(rest.substr(0, n));
      rest.remove_prefix(n);
      if (partial_.size() < kPrefixBytes) return Status::OK();
    }
    const auto flag = static_cast<uint8_t>(partial_[0]);
    const size_t length = LengthOf(partial_);
    if (flag > 1) return MakeError(ErrorKind::kInvalid, "the server's answer is no gRPC message: its flag is {}", flag);
    if (static_cast<int64_t>(length) > message_bytes_max_) {
      return MakeError(ErrorKind::kTooLarge, "the server's answer has {} bytes; at most {}", length, message_bytes_max_);
    }
    const size_t n = std::min(kPrefixBytes + length - partial_.size(), rest.size());
    partial_.append(rest.substr(0, n));
    rest.remove_prefix(n);
    if (partial_.size() < kPrefixBytes + length) return Status::OK();
    const std::string whole = std::exchange(partial_, {});
    SHEAF_RETURN_NOT_OK(Take(flag == 1, std::string_view(whole).substr(kPrefixBytes), take));
  }
  return Status::OK();
}

Status GrpcFrameReader::Take(bool compressed, std::string_view message, const std::function<void(std::string)>& take) const {
  if (!compressed) {
    take(std::string(message));
    return Status::OK();
  }
  if (encoding_ == Encoding::kIdentity) return MakeError(ErrorKind::kInvalid, "the server's answer is compressed and does not say how");
  SHEAF_ASSIGN_OR_RETURN(const ByteBuffer inflated,
                         Inflate(encoding_, std::as_bytes(std::span(message)), {.bytes_max = message_bytes_max_}));
  take(std::string(inflated.view()));
  return Status::OK();
}

Result<RpcStatus> ReadRpcStatus(std::string_view bytes) {
  RpcStatus status;
  ProtobufReader reader(bytes);
  bool details_ok = true;
  while (details_ok && reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint): status.code = static_cast<int32_t>(reader.Varint()); break;
      case Tag(2, WireType::kBytes): status.message = reader.Bytes(); break;
      case Tag(3, WireType::kBytes): details_ok = ReadDetail(reader.Bytes(), &status); break;
      default: reader.Skip();
    }
  }
  if (!details_ok || !reader.ok()) return MakeError(ErrorKind::kInvalid, "the error's details are no google.rpc.Status");
  return status;
}

}  // namespace sheaf::wire
