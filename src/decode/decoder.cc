#include "decode/decoder.h"

#include <new>
#include <stdexcept>

#include "decode/envelopes.h"
#include "decode/log_decoder.h"
#include "decode/metric_decoder.h"
#include "decode/request_context.h"
#include "decode/request_memory.h"
#include "decode/trace_decoder.h"

namespace sheaf::decode {
class Decoder::Impl {
 public:
  Impl(Limits limits, arrow::MemoryPool* pool) : memory_(pool), context_(limits, &memory_) {}

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

  int64_t kept_bytes() const { return memory_.held(); }

 private:
  template <typename Rows, typename Record, typename Finish>
  Result<DecodeResult> Decode(std::span<const std::byte> request, Rows* rows, Record&& record, Finish&& finish) {
    const std::string_view bytes(reinterpret_cast<const char*>(request.data()), request.size());
    const Limits& limits = context_.limits;
    memory_.set_bytes_max(limits.memory_bytes_base + limits.memory_per_request_byte * static_cast<int64_t>(bytes.size()));
    Result<DecodeResult> result = TryDecode(bytes, rows, record, finish);
    if (!result.ok() && over_budget_ && had_kept_bytes_) {
      // Part of the budget went to memory that other requests had left: what is accepted must not depend on them.
      Trim();
      result = TryDecode(bytes, rows, record, finish);
    }
    context_.Forget();
    if (memory_.held() > kKeptBytesMax) Trim();
    return result;
  }

  template <typename Rows, typename Record, typename Finish>
  Result<DecodeResult> TryDecode(std::string_view bytes, Rows* rows, Record&& record, Finish&& finish) {
    had_kept_bytes_ = memory_.held() > 0;
    over_budget_ = false;
    try {
      SHEAF_RETURN_NOT_OK(Pass(bytes, false, rows, record));
      if (context_.suspect || !rows->TextIsUtf8()) SHEAF_RETURN_NOT_OK(Pass(bytes, true, rows, record));
      DecodeResult result;
      finish(&result);
      result.accepted = rows->rows();
      result.rejected = context_.rejected;
      if (context_.rejected > 0) result.rejected_reason = RejectedReason();
      return result;
    } catch (const OverBudget&) {
      over_budget_ = true;
      return MakeError(ErrorKind::kTooLarge, "a request of {} bytes takes more than {} bytes of memory to decode; send fewer records",
                       bytes.size(), memory_.bytes_max());
    } catch (const std::bad_alloc&) {
      return MakeError(ErrorKind::kOutOfMemory, "out of memory while decoding a request of {} bytes", bytes.size());
    } catch (const std::length_error& e) {
      return MakeError(ErrorKind::kTooLarge, "request of {} bytes: {}; send fewer records at once", bytes.size(), e.what());
    }
  }

  template <typename Rows, typename Record>
  Status Pass(std::string_view bytes, bool careful, Rows* rows, Record&& record) {
    context_.Start(bytes, careful);
    rows->Start(&memory_);
    if (!WalkRequest(bytes, &context_, &envelopes_, record)) return context_.error;
    return Status::OK();
  }

  std::string RejectedReason() const {
    if (context_.rejected == 1) return context_.rejected_reason;
    return fmt::format("{} ({} rejected in all)", context_.rejected_reason, context_.rejected);
  }

  void Trim() {
    traces_.Trim(kTrimmed);
    logs_.Trim(kTrimmed);
    metrics_.Trim(kTrimmed);
    envelopes_.Forget(&memory_);
    context_.Forget();
  }

  static constexpr int64_t kTrimmed = -1;  // Nothing is small enough to stay.

  RequestMemory memory_;
  RequestContext context_;
  Envelopes envelopes_;
  TraceDecoder traces_;
  LogDecoder logs_;
  MetricDecoder metrics_;
  bool had_kept_bytes_ = false, over_budget_ = false;  // Of the request under way.
};

Decoder::Decoder(Limits limits, arrow::MemoryPool* pool) : impl_(std::make_unique<Impl>(limits, pool)) {}
Decoder::~Decoder() = default;
int64_t Decoder::kept_bytes() const { return impl_->kept_bytes(); }

Result<DecodeResult> Decoder::Traces(std::span<const std::byte> request) { return impl_->Traces(request); }
Result<DecodeResult> Decoder::Logs(std::span<const std::byte> request) { return impl_->Logs(request); }
Result<DecodeResult> Decoder::Metrics(std::span<const std::byte> request) { return impl_->Metrics(request); }

}  // namespace sheaf::decode
