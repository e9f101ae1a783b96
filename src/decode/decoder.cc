#include "decode/decoder.h"

#include <new>
#include <stdexcept>

#include "decode/envelopes.h"
#include "decode/log_decoder.h"
#include "decode/metric_decoder.h"
#include "decode/request_context.h"
#include "decode/trace_decoder.h"

namespace sheaf::decode {
namespace {

/// After a request this much larger than usual, its memory is given back rather than kept for the next.
constexpr size_t kUsualRequestBytes = size_t{4} << 20;
constexpr int64_t kKeptBufferBytesMax = int64_t{8} << 20;

}  // namespace

class Decoder::Impl {
 public:
  Impl(Limits limits, arrow::MemoryPool* pool) : context_(limits), pool_(pool) {}

  Result<DecodeResult> Traces(std::span<const std::byte> request) {
    const auto record = [&](std::string_view bytes) { return traces_.Span(bytes, envelopes_, &context_); };
    return Decode(request, &traces_, record, [&](DecodeResult* result) {
      if (traces_.rows() > 0) result->batches.push_back({Signal::kTraces, traces_.Finish()});
    });
  }
  Result<DecodeResult> Logs(std::span<const std::byte> request) {
    const auto record = [&](std::string_view bytes) { return logs_.Record(bytes, envelopes_, &context_); };
    return Decode(request, &logs_, record, [&](DecodeResult* result) {
      if (logs_.rows() > 0) result->batches.push_back({Signal::kLogs, logs_.Finish()});
    });
  }
  Result<DecodeResult> Metrics(std::span<const std::byte> request) {
    const auto record = [&](std::string_view bytes) { return metrics_.Metric(bytes, &envelopes_, &context_); };
    return Decode(request, &metrics_, record, [&](DecodeResult* result) { result->batches = metrics_.Finish(); });
  }

 private:
  template <typename Rows, typename Record, typename Finish>
  Result<DecodeResult> Decode(std::span<const std::byte> request, Rows* rows, Record&& record, Finish&& finish) {
    const std::string_view bytes(reinterpret_cast<const char*>(request.data()), request.size());
    try {
      if (last_request_bytes_ > kUsualRequestBytes && bytes.size() * 4 < last_request_bytes_) rows->Trim(kKeptBufferBytesMax);
      last_request_bytes_ = bytes.size();
      SHEAF_RETURN_NOT_OK(Pass(bytes, false, rows, record));
      if (context_.suspect || !rows->TextIsUtf8()) SHEAF_RETURN_NOT_OK(Pass(bytes, true, rows, record));
      DecodeResult result;
      finish(&result);
      result.accepted = rows->rows();
      result.rejected = context_.rejected;
      if (context_.rejected > 0) result.rejected_reason = RejectedReason();
      return result;
    } catch (const std::bad_alloc&) {
      return MakeError(ErrorKind::kOutOfMemory, "out of memory while decoding a request of {} bytes", bytes.size());
    } catch (const std::length_error& e) {
      return MakeError(ErrorKind::kTooLarge, "request of {} bytes: {}; send fewer records at once", bytes.size(), e.what());
    }
  }

  template <typename Rows, typename Record>
  Status Pass(std::string_view bytes, bool careful, Rows* rows, Record&& record) {
    context_.Start(bytes, careful);
    rows->Start(pool_);
    if (!WalkRequest(bytes, &context_, &envelopes_, record)) return context_.error;
    return Status::OK();
  }

  std::string RejectedReason() const {
    if (context_.rejected == 1) return context_.rejected_reason;
    return fmt::format("{} ({} rejected in all)", context_.rejected_reason, context_.rejected);
  }

  RequestContext context_;
  arrow::MemoryPool* const pool_;  // Borrowed.
  Envelopes envelopes_;
  TraceDecoder traces_;
  LogDecoder logs_;
  MetricDecoder metrics_;
  size_t last_request_bytes_ = 0;
};

Decoder::Decoder(Limits limits, arrow::MemoryPool* pool) : impl_(std::make_unique<Impl>(limits, pool)) {}
Decoder::~Decoder() = default;

Result<DecodeResult> Decoder::Traces(std::span<const std::byte> request) { return impl_->Traces(request); }
Result<DecodeResult> Decoder::Logs(std::span<const std::byte> request) { return impl_->Logs(request); }
Result<DecodeResult> Decoder::Metrics(std::span<const std::byte> request) { return impl_->Metrics(request); }

}  // namespace sheaf::decode
