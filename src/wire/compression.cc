#include "wire/compression.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <zlib.h>
#include <zstd.h>

namespace sheaf::wire {
namespace {

constexpr int kZlibLevel = 1;
constexpr int kZstdLevel = 1;

/// Where inflated bytes go: grows by doubling, never beyond what limits and reservation allow.
class Output {
 public:
  Output(int64_t input_bytes, const InflateLimits& limits, const ReserveOutput& reserve)
      : bytes_max_(std::min(limits.bytes_max, std::max(kRatioFreeBytes, input_bytes * limits.ratio_max))), reserve_(reserve) {}

  int64_t bytes_max() const { return bytes_max_; }
  size_t room() const { return buffer_.capacity() - buffer_.size(); }
  std::byte* end() { return buffer_.data() + buffer_.size(); }
  void Wrote(size_t n) { buffer_.set_size(buffer_.size() + n); }
  bool full() const { return static_cast<int64_t>(buffer_.capacity()) >= bytes_max_; }
  ByteBuffer Take() { return std::move(buffer_); }

  /// Makes room for `hint` bytes in all, or twice what there is; requires !full().
  Status Grow(int64_t hint) {
    const int64_t have = static_cast<int64_t>(buffer_.capacity());
    const int64_t want = std::min(bytes_max_, std::max({hint, 2 * have, int64_t{256}}));
    if (reserve_ && !reserve_(want)) return MakeError(ErrorKind::kThrottled, "no memory to inflate a message; send it again later");
    if (!buffer_.Grow(static_cast<size_t>(want))) {
      return MakeError(ErrorKind::kOutOfMemory, "no memory for {} bytes of inflated message", want);
    }
    return Status::OK();
  }

  Status TooLarge() const {
    return MakeError(ErrorKind::kTooLarge, "the message inflates to more than the {} bytes allowed for it; send less at once",
                     bytes_max_);
  }

 private:
  const int64_t bytes_max_;
  const ReserveOutput& reserve_;
  ByteBuffer buffer_;
};

Status Malformed(const char* encoding) { return MakeError(ErrorKind::kInvalid, "malformed {} data in the message", encoding); }

/// zlib's decoder state, reused by a thread.
class ZlibDecoder {
 public:
  ~ZlibDecoder() {
    if (ready_) inflateEnd(&stream_);
  }
  z_stream* Reset(int window_bits) {
    const int code = ready_ ? inflateReset2(&stream_, window_bits) : inflateInit2(&stream_, window_bits);
    ready_ = ready_ || code == Z_OK;
    return code == Z_OK ? &stream_ : nullptr;
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

bool LooksLikeZlib(std::span<const std::byte> input) {
  if (input.size() < 2) return true;
  const int first = static_cast<int>(input[0]), second = static_cast<int>(input[1]);
  return (first & 0x0f) == Z_DEFLATED && (first * 256 + second) % 31 == 0;
}

int WindowBits(Encoding encoding, std::span<const std::byte> input) {
  if (encoding == Encoding::kGzip) return 15 + 16;
  return LooksLikeZlib(input) ? 15 : -15;
}

/// The size that gzip's trailer claims: a hint for the first allocation, never trusted.
int64_t GzipSizeHint(std::span<const std::byte> input) {
  if (input.size() < 18) return 0;
  uint32_t size = 0;
  std::memcpy(&size, input.data() + input.size() - sizeof(size), sizeof(size));
  return size;
}

Status InflateZlib(Encoding encoding, std::span<const std::byte> input, Output* out) {
  thread_local ZlibDecoder decoder;
  z_stream* z = decoder.Reset(WindowBits(encoding, input));
  if (z == nullptr) return MakeError(ErrorKind::kOutOfMemory, "no memory for a decoder");
  const int64_t hint = encoding == Encoding::kGzip ? GzipSizeHint(input) : 0;
  SHEAF_RETURN_NOT_OK(out->Grow(hint > 0 ? hint : static_cast<int64_t>(input.size()) * 4));
  z->next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(input.data()));
  z->avail_in = static_cast<uInt>(input.size());
  Bytef beyond = 0;  // One byte past the limit, to tell "exactly full" from "too large".
  for (;;) {
    const bool probing = out->room() == 0;
    z->next_out = probing ? &beyond : reinterpret_cast<Bytef*>(out->end());
    const uInt room = probing ? 1 : static_cast<uInt>(out->room());
    z->avail_out = room;
    const int code = inflate(z, Z_NO_FLUSH);
    const size_t wrote = room - z->avail_out;
    if (probing && wrote != 0) return out->TooLarge();
    if (!probing) out->Wrote(wrote);
    if (code == Z_STREAM_END) {
      if (z->avail_in == 0) return Status::OK();
      if (encoding != Encoding::kGzip || inflateReset(z) != Z_OK) return Malformed(EncodingName(encoding));
      continue;  // Another gzip member.
    }
    if (code != Z_OK && code != Z_BUF_ERROR) return Malformed(EncodingName(encoding));
    if (z->avail_out != 0) return Malformed(EncodingName(encoding));  // The input ended early.
    if (!out->full()) SHEAF_RETURN_NOT_OK(out->Grow(0));
  }
}

struct ZstdDecoderFree {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

Status InflateZstd(std::span<const std::byte> input, Output* out) {
  thread_local std::unique_ptr<ZSTD_DCtx, ZstdDecoderFree> context(ZSTD_createDCtx());
  if (context == nullptr) return MakeError(ErrorKind::kOutOfMemory, "no memory for a decoder");
  ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kZstdWindowLogMax);
  const unsigned long long size = ZSTD_getFrameContentSize(input.data(), input.size());
  if (size == ZSTD_CONTENTSIZE_ERROR) return Malformed("zstd");
  const bool known = size != ZSTD_CONTENTSIZE_UNKNOWN;
  if (known && size > static_cast<unsigned long long>(out->bytes_max())) return out->TooLarge();
  SHEAF_RETURN_NOT_OK(out->Grow(known ? static_cast<int64_t>(size) : static_cast<int64_t>(input.size()) * 4));

  // One frame of known size goes straight into its place, without the decoder's own window.
  if (known && ZSTD_findFrameCompressedSize(input.data(), input.size()) == input.size()) {
    const size_t wrote = ZSTD_decompressDCtx(context.get(), out->end(), out->room(), input.data(), input.size());
    if (ZSTD_isError(wrote)) return Malformed("zstd");
    out->Wrote(wrote);
    return Status::OK();
  }
  ZSTD_inBuffer from{input.data(), input.size(), 0};
  std::byte beyond{};
  for (;;) {
    const bool probing = out->room() == 0;
    ZSTD_outBuffer to{probing ? &beyond : out->end(), probing ? 1 : out->room(), 0};
    const size_t before = from.pos;
    const size_t code = ZSTD_decompressStream(context.get(), &to, &from);
    if (ZSTD_isError(code)) return Malformed("zstd");
    if (probing && to.pos != 0) return out->TooLarge();
    if (!probing) out->Wrote(to.pos);
    if (code == 0 && from.pos == from.size) return Status::OK();
    const bool stuck = to.pos == 0 && from.pos == before;
    if (stuck || (from.pos == from.size && to.pos < to.size)) return Malformed("zstd");  // Cut off.
    if (to.pos == to.size && !out->full()) SHEAF_RETURN_NOT_OK(out->Grow(0));
  }
}

}  // namespace

std::optional<Encoding> ParseEncoding(std::string_view name) {
  if (name.empty() || name == "identity") return Encoding::kIdentity;
  if (name == "gzip" || name == "x-gzip") return Encoding::kGzip;
  if (name == "deflate") return Encoding::kDeflate;
  if (name == "zstd") return Encoding::kZstd;
  constexpr std::string_view kArrow = "zstdarrow";
  if (name.starts_with(kArrow)) {
    int level = 0;
    const auto [end, error] = std::from_chars(name.data() + kArrow.size(), name.data() + name.size(), level);
    if (error == std::errc() && end == name.data() + name.size() && level >= 1 && level <= 10) return Encoding::kZstd;
  }
  return std::nullopt;
}

const char* EncodingName(Encoding encoding) {
  static constexpr std::array kNames = {"identity", "gzip", "deflate", "zstd"};
  return kNames[static_cast<size_t>(encoding)];
}

Encoding ChooseEncoding(std::string_view accept_encoding) {
  Encoding best = Encoding::kIdentity;
  while (!accept_encoding.empty()) {
    const size_t comma = accept_encoding.find(',');
    std::string_view item = accept_encoding.substr(0, comma);
    accept_encoding = comma == std::string_view::npos ? std::string_view() : accept_encoding.substr(comma + 1);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    const std::string_view name = item.substr(0, item.find_first_of("; "));
    const size_t q = item.find("q=");
    const bool refused = q != std::string_view::npos && item.find_first_of("123456789", q) == std::string_view::npos;
    const std::optional<Encoding> encoding = ParseEncoding(name);
    if (refused || !encoding || name.empty()) continue;
    // The better of those accepted: zstd, then gzip, then deflate.
    const auto rank = [](Encoding e) { return e == Encoding::kZstd ? 3 : e == Encoding::kGzip ? 2 : e == Encoding::kDeflate ? 1 : 0; };
    if (rank(*encoding) > rank(best)) best = *encoding;
  }
  return best;
}

Result<ByteBuffer> Inflate(Encoding encoding, std::span<const std::byte> input, const InflateLimits& limits,
                           const ReserveOutput& reserve) {
  Output out(static_cast<int64_t>(input.size()), limits, reserve);
  switch (encoding) {
    case Encoding::kIdentity:
      if (static_cast<int64_t>(input.size()) > limits.bytes_max) return out.TooLarge();
      SHEAF_RETURN_NOT_OK(out.Grow(static_cast<int64_t>(input.size())));
      std::copy(input.begin(), input.end(), out.end());
      out.Wrote(input.size());
      break;
    case Encoding::kGzip:
    case Encoding::kDeflate:
      SHEAF_RETURN_NOT_OK(InflateZlib(encoding, input, &out));
      break;
    case Encoding::kZstd:
      SHEAF_RETURN_NOT_OK(InflateZstd(input, &out));
      break;
  }
  return out.Take();
}

namespace {

class ZlibCompressor final : public StreamCompressor {
 public:
  ~ZlibCompressor() override {
    if (ready_) deflateEnd(&stream_);
  }
  bool Start(Encoding encoding) {
    const int window_bits = encoding == Encoding::kGzip ? 15 + 16 : 15;
    ready_ = deflateInit2(&stream_, kZlibLevel, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    return ready_;
  }
  Result<std::string> Push(std::string_view input, bool last) override {
    std::string out;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    do {
      const size_t before = out.size();
      out.resize(before + std::max<size_t>(deflateBound(&stream_, stream_.avail_in), 64));
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + before);
      stream_.avail_out = static_cast<uInt>(out.size() - before);
      deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH);
      out.resize(out.size() - stream_.avail_out);
    } while (stream_.avail_out == 0);
    return out;
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

struct ZstdEncoderFree {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

class ZstdCompressor final : public StreamCompressor {
 public:
  bool Start() {
    context_.reset(ZSTD_createCCtx());
    return context_ != nullptr && !ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kZstdLevel));
  }
  Result<std::string> Push(std::string_view input, bool last) override {
    std::string out;
    ZSTD_inBuffer from{input.data(), input.size(), 0};
    for (;;) {
      const size_t before = out.size();
      out.resize(before + ZSTD_compressBound(from.size - from.pos));
      ZSTD_outBuffer to{out.data() + before, out.size() - before, 0};
      const size_t left = ZSTD_compressStream2(context_.get(), &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
      out.resize(before + to.pos);
      if (ZSTD_isError(left)) return MakeError(ErrorKind::kInternal, "compressing an answer: {}", ZSTD_getErrorName(left));
      if (from.pos == from.size && (!last || left == 0)) return out;
    }
  }

 private:
  std::unique_ptr<ZSTD_CCtx, ZstdEncoderFree> context_;
};

class NoCompressor final : public StreamCompressor {
 public:
  Result<std::string> Push(std::string_view input, bool) override { return std::string(input); }
};

}  // namespace

Result<std::unique_ptr<StreamCompressor>> StreamCompressor::Make(Encoding encoding) {
  if (encoding == Encoding::kIdentity) return std::make_unique<NoCompressor>();
  if (encoding == Encoding::kZstd) {
    auto zstd = std::make_unique<ZstdCompressor>();
    if (!zstd->Start()) return MakeError(ErrorKind::kOutOfMemory, "no memory for an encoder");
    return zstd;
  }
  auto zlib = std::make_unique<ZlibCompressor>();
  if (!zlib->Start(encoding)) return MakeError(ErrorKind::kOutOfMemory, "no memory for an encoder");
  return zlib;
}

Result<std::string> Compress(Encoding encoding, std::string_view input) {
  SHEAF_ASSIGN_OR_RETURN(const std::unique_ptr<StreamCompressor> compressor, StreamCompressor::Make(encoding));
  return compressor->Push(input, true);
}

}  // namespace sheaf::wire
