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
  using Requests = std::span<const std::string_view>;

  Impl(Limits limits, arrow::MemoryPool* pool) : memory_(pool), context_(limits, &memory_) {}

  Result<JointResult> Decode(wire::OtlpRequest kind, Requests requests) {
    const auto span = [&](std::string_view bytes) { return traces_.Span(bytes, envelopes_, &context_); };
    const auto log = [&](std::string_view bytes) { return logs_.Record(bytes, envelopes_, &context_); };
    const auto metric = [&](std::string_view bytes) { return metrics_.Metric(bytes, &envelopes_, &context_); };
    switch (kind) {
      case wire::OtlpRequest::kTraces: return Decode(requests, &traces_, span);
      case wire::OtlpRequest::kLogs: return Decode(requests, &logs_, log);
      case wire::OtlpRequest::kMetrics: break;
    }
    return Decode(requests, &metrics_, metric);
  }

  Result<DecodeResult> DecodeOne(wire::OtlpRequest kind, std::span<const std::byte> request) {
    const std::string_view bytes(reinterpret_cast<const char*>(request.data()), request.size());
    SHEAF_ASSIGN_OR_RETURN(JointResult joint, Decode(kind, Requests(&bytes, 1)));
    DecodeResult result;
    static_cast<RecordCounts&>(result) = std::move(joint.requests.front());
    result.batches = std::move(joint.batches);
    return result;
  }

  int64_t kept_bytes() const { return memory_.held(); }

 private:
  template <typename Rows, typename Record>
  Result<JointResult> Decode(Requests requests, Rows* rows, Record&& record) {
    int64_t bytes = 0;
    for (const std::string_view request : requests) bytes += static_cast<int64_t>(request.size());
    const Limits& limits = context_.limits;
    memory_.set_bytes_max(limits.memory_bytes_base + limits.memory_per_request_byte * bytes);
    Result<JointResult> result = TryDecode(requests, bytes, rows, record);
    if (!result.ok() && over_budget_ && had_kept_bytes_) {
      // Part of the budget went to memory that other requests had left: what is accepted must not depend on them.
      Trim();
      result = TryDecode(requests, bytes, rows, record);
    }
    context_.Forget();
    if (memory_.held() > kKeptBytesMax) Trim();
    return result;
  }

  template <typename Rows, typename Record>
  Result<JointResult> TryDecode(Requests requests, int64_t bytes, Rows* rows, Record&& record) {
    had_kept_bytes_ = memory_.held() > 0;
    over_budget_ = false;
    try {
      JointResult result;
      result.requests.resize(requests.size());
      SHEAF_RETURN_NOT_OK(Pass(requests, false, rows, record, &result.requests));
      if (context_.suspect || !rows->TextIsUtf8()) SHEAF_RETURN_NOT_OK(Pass(requests, true, rows, record, &result.requests));
      Finish(rows, &result.batches);
      return result;
    } catch (const OverBudget&) {
      over_budget_ = true;
      return MakeError(ErrorKind::kTooLarge, "a request of {} bytes takes more than {} bytes of memory to decode; send fewer records",
                       bytes, memory_.bytes_max());
    } catch (const std::bad_alloc&) {
      return MakeError(ErrorKind::kOutOfMemory, "out of memory while decoding a request of {} bytes", bytes);
    } catch (const std::length_error& e) {
      return MakeError(ErrorKind::kTooLarge, "request of {} bytes: {}; send fewer records at once", bytes, e.what());
    }
  }

  template <typename Rows, typename Record>
  Status Pass(Requests requests, bool careful, Rows* rows, Record&& record, std::vector<RecordCounts>* counts) {
    context_.Start(careful);
    rows->Start(&memory_);
    for (size_t i = 0; i < requests.size(); ++i) {
      const int64_t before = rows->rows();
      context_.Enter(requests[i]);
      if (!WalkRequest(requests[i], &context_, &envelopes_, record)) return context_.error;
      RecordCounts& of_request = (*counts)[i];
      of_request = {.accepted = rows->rows() - before, .rejected = context_.rejected, .rejected_reason = {}};
      if (context_.rejected > 0) of_request.rejected_reason = RejectedReason();
    }
    return Status::OK();
  }

  static void Finish(TraceDecoder* rows, std::vector<TableBatch>* batches) {
    if (rows->rows() > 0) batches->push_back({Signal::kTraces, rows->Finish()});
  }
  static void Finish(LogDecoder* rows, std::vector<TableBatch>* batches) {
    if (rows->rows() > 0) batches->push_back({Signal::kLogs, rows->Finish()});
  }
  static void Finish(MetricDecoder* rows, std::vector<TableBatch>* batches) { *batches = rows->Finish(); }

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

Result<DecodeResult> Decoder::Traces(std::span<const std::byte> request) { return impl_->DecodeOne(wire::OtlpRequest::kTraces, request); }
Result<DecodeResult> Decoder::Logs(std::span<const std::byte> request) { return impl_->DecodeOne(wire::OtlpRequest::kLogs, request); }
Result<DecodeResult> Decoder::Metrics(std::span<const std::byte> request) { return impl_->DecodeOne(wire::OtlpRequest::kMetrics, request); }
Result<JointResult> Decoder::Together(wire::OtlpRequest kind, std::span<const std::string_view> requests) {
  return impl_->Decode(kind, requests);
}

}  // namespace sheaf::decode
