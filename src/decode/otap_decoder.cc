#include "decode/otap_decoder.h"

#include <algorithm>
#include <new>
#include <stdexcept>

#include "decode/encoder.h"
#include "decode/otap_signals.h"
#include "decode/otap_table.h"

namespace sheaf::decode {
namespace {

using wire::OtapPayload;

OtapPayload RootOf(OtapSignal signal) {
  switch (signal) {
    case OtapSignal::kTraces: return OtapPayload::kSpans;
    case OtapSignal::kLogs: return OtapPayload::kLogs;
    case OtapSignal::kMetrics: break;
  }
  return OtapPayload::kMetrics;
}

const char* SignalName(OtapSignal signal) {
  switch (signal) {
    case OtapSignal::kTraces: return "traces";
    case OtapSignal::kLogs: return "logs";
    case OtapSignal::kMetrics: break;
  }
  return "metrics";
}

bool BelongsTo(OtapSignal signal, OtapPayload type) {
  if (type == OtapPayload::kResourceAttrs || type == OtapPayload::kScopeAttrs) return true;
  switch (signal) {
    case OtapSignal::kTraces: return type >= OtapPayload::kSpans && type <= OtapPayload::kSpanLinkAttrs;
    case OtapSignal::kLogs: return type == OtapPayload::kLogs || type == OtapPayload::kLogAttrs;
    case OtapSignal::kMetrics: break;
  }
  return type >= OtapPayload::kMetrics && type <= OtapPayload::kMetricAttrs && type != OtapPayload::kMultivariateMetrics;
}

/// Whether a table's rows are records, of which a batch may hold so many.
bool HoldsRecords(OtapPayload type) {
  return type == OtapPayload::kSpans || type == OtapPayload::kLogs ||
         (type >= OtapPayload::kMetrics && type <= OtapPayload::kExponentialHistogramPoints);
}

/// Of a schema id, which is kept. Senders count, or name the columns and their types.
constexpr size_t kSchemaIdBytesMax = 4 << 10;

std::span<const std::byte> AsBytes(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

class OtapStream::Impl {
 public:
  Impl(OtapSignal of, const OtapLimits& stream_limits)
      : signal(of), limits(stream_limits), memory{stream_limits.stream_bytes_max} {}

  /// The reader of a payload; a new schema id drops the one that the type had.
  OtapReader* ReaderOf(const wire::ArrowPayload& payload) {
    const auto found =
        std::find_if(readers.begin(), readers.end(), [&](const auto& reader) { return reader->type() == payload.type; });
    if (found == readers.end()) return readers.emplace_back(Make(payload)).get();
    if ((*found)->schema_id() != payload.schema_id) *found = Make(payload);
    return found->get();
  }

  const OtapSignal signal;
  const OtapLimits limits;
  StreamMemory memory;
  std::vector<std::unique_ptr<OtapReader>> readers;  // One a payload type.
  bool lost = false;                                 // A payload did not get to its reader.

 private:
  std::unique_ptr<OtapReader> Make(const wire::ArrowPayload& payload) {
    return std::make_unique<OtapReader>(payload.type, payload.schema_id, &memory);
  }
};

OtapStream::OtapStream(OtapSignal signal, const OtapLimits& limits) : impl_(std::make_unique<Impl>(signal, limits)) {}
OtapStream::~OtapStream() = default;
OtapSignal OtapStream::signal() const { return impl_->signal; }
int64_t OtapStream::held_bytes() const { return impl_->memory.held; }
bool OtapStream::lost() const {
  return impl_->lost || std::any_of(impl_->readers.begin(), impl_->readers.end(), [](const auto& reader) { return reader->lost(); });
}

class OtapDecoder::Impl {
 public:
  Impl(const OtapLimits& limits, arrow::MemoryPool* pool) : memory_(pool), context_(limits.batch), otlp_(limits.batch, pool) {}

  int64_t kept_bytes() const { return memory_.held() + otlp_.kept_bytes(); }

  Result<DecodeResult> Decode(OtapStream::Impl* stream, const wire::BatchArrowRecords& batch, bool make) {
    int64_t bytes = 0;
    for (const wire::ArrowPayload& payload : batch.payloads) bytes += static_cast<int64_t>(payload.record.size());
    // What earlier batches left is not counted against this one.
    budget_ = context_.limits.memory_bytes_base + context_.limits.memory_per_request_byte * bytes;
    memory_.set_bytes_max(memory_.held() + budget_);
    context_.buffers.Start(&memory_);
    scratch_.Start(&memory_);
    Result<DecodeResult> result = ReadAndMake(stream, batch, make);
    tables_.clear();
    if (memory_.held() > Decoder::kKeptBytesMax) {
      context_.buffers.Trim();
      scratch_.Trim();
      context_.envelopes.Forget(&memory_);
    }
    return result;
  }

 private:
  Result<DecodeResult> ReadAndMake(OtapStream::Impl* stream, const wire::BatchArrowRecords& batch, bool make) {
    Status status = ReadPayloads(stream, batch);
    DecodeResult result;
    if (status.ok() && make) status = Guarded([&] { return Make(stream->signal, &result); });
    if (!status.ok()) return status;
    return result;
  }

  /// What fails deep down as an exception becomes an error.
  template <typename Action>
  Status Guarded(Action&& action) {
    try {
      return action();
    } catch (const OverBudget&) {
      return MakeError(ErrorKind::kTooLarge, "a batch takes more than {} bytes of memory to decode; send fewer records", budget_);
    } catch (const std::bad_alloc&) {
      return MakeError(ErrorKind::kOutOfMemory, "out of memory while decoding a batch");
    } catch (const std::length_error& e) {
      return MakeError(ErrorKind::kTooLarge, "{}; send fewer records at once", e.what());
    }
  }

  /// Applies every payload to the stream, also where another one is refused: the sender counts all of them as sent.
  Status ReadPayloads(OtapStream::Impl* stream, const wire::BatchArrowRecords& batch) {
    Status first;
    tables_.clear();
    tables_.reserve(batch.payloads.size());  // Tables stay where they are.
    for (const wire::ArrowPayload& payload : batch.payloads) {
      const Status status = Guarded([&] { return ReadPayload(stream, payload); });
      if (first.ok()) first = status;
    }
    return first;
  }

  Status ReadPayload(OtapStream::Impl* stream, const wire::ArrowPayload& payload) {
    if (!BelongsTo(stream->signal, payload.type)) {
      return MakeError(ErrorKind::kInvalid, "{} in a stream of {}", wire::OtapPayloadName(payload.type),
                       SignalName(stream->signal));
    }
    if (stream->lost) {
      return MakeError(ErrorKind::kUnavailable,
                       "the stream's state is lost: there was no memory for an earlier payload; open another stream");
    }
    if (payload.schema_id.size() > kSchemaIdBytesMax) {
      return MakeError(ErrorKind::kTooLarge, "{}: a schema id of {} bytes; at most {} are taken",
                       wire::OtapPayloadName(payload.type), payload.schema_id.size(), kSchemaIdBytesMax);
    }
    const bool repeated =
        std::any_of(tables_.begin(), tables_.end(), [&](const OtapTable& table) { return table.type == payload.type; });
    const int64_t rows_max = HoldsRecords(payload.type) ? context_.limits.records_max : kOffsetMax - 1;
    stream->lost = true;  // Where the next line throws.
    OtapReader* reader = stream->ReaderOf(payload);
    stream->lost = false;
    SHEAF_RETURN_NOT_OK(reader->Read(payload.record, rows_max, &scratch_, &tables_.emplace_back()));
    return repeated ? MakeError(ErrorKind::kInvalid, "{} comes twice in one batch", wire::OtapPayloadName(payload.type))
                    : Status::OK();
  }

  Status Make(OtapSignal signal, DecodeResult* result) {
    OtapTables tables;
    tables.all = tables_;
    tables.root = tables.Get(RootOf(signal));
    if (tables.root == nullptr) {
      for (const OtapTable& table : tables_) {
        if (table.rows > 0)
          return MakeError(ErrorKind::kInvalid, "{} without {}", wire::OtapPayloadName(table.type),
                           wire::OtapPayloadName(RootOf(signal)));
      }
      return Status::OK();
    }
    context_.columns.Start();
    context_.has_invalid_ids = false;
    switch (signal) {
      case OtapSignal::kTraces: SHEAF_RETURN_NOT_OK(MakeOtapSpans(tables, &context_, &result->batches)); break;
      case OtapSignal::kLogs: SHEAF_RETURN_NOT_OK(MakeOtapLogs(tables, &context_, &result->batches)); break;
      case OtapSignal::kMetrics: SHEAF_RETURN_NOT_OK(MakeOtapMetrics(tables, &context_, &result->batches));
    }
    if (context_.has_invalid_ids || context_.columns.suspect()) return ThroughOtlp(signal, result);
    for (const TableBatch& table : result->batches) result->accepted += table.batch->num_rows();
    return Status::OK();
  }

  /// Text that is not UTF-8 is repaired and the record kept as `original`, spans with bad ids are counted and left out: the rare
  /// cases have one home, the decoder of OTLP.
  Status ThroughOtlp(OtapSignal signal, DecodeResult* result) {
    std::vector<TableBatch> made;
    made.swap(result->batches);
    // For all requests. The columns are there, too; and a string grows to twice what it holds.
    auto bytes_left = static_cast<size_t>(std::max<int64_t>(0, (memory_.bytes_max() - memory_.held()) / 2));
    for (const TableBatch& table : made) {
      std::string request;
      const Status status = EncodeRequest(table.signal, *table.batch, &request, bytes_left);
      if (!status.ok() && KindOf(status) == ErrorKind::kTooLarge) throw OverBudget();
      SHEAF_RETURN_NOT_OK(status);
      bytes_left -= std::min(bytes_left, request.size());  // Numbers are written beyond the limit.
      SHEAF_ASSIGN_OR_RETURN(DecodeResult again, signal == OtapSignal::kTraces ? otlp_.Traces(AsBytes(request))
                                                 : signal == OtapSignal::kLogs ? otlp_.Logs(AsBytes(request))
                                                                               : otlp_.Metrics(AsBytes(request)));
      for (TableBatch& batch : again.batches) result->batches.push_back(std::move(batch));
      result->accepted += again.accepted;
      result->rejected += again.rejected;
      if (result->rejected_reason.empty()) result->rejected_reason = std::move(again.rejected_reason);
    }
    return Status::OK();
  }

  RequestMemory memory_;
  int64_t budget_ = 0;  // Of the batch under way, in bytes.
  OtapContext context_;
  OtapScratch scratch_;
  std::vector<OtapTable> tables_;
  Decoder otlp_;
};

OtapDecoder::OtapDecoder(const OtapLimits& limits, arrow::MemoryPool* pool) : impl_(std::make_unique<Impl>(limits, pool)) {}
OtapDecoder::~OtapDecoder() = default;
int64_t OtapDecoder::kept_bytes() const { return impl_->kept_bytes(); }
Result<DecodeResult> OtapDecoder::Decode(OtapStream* stream, const wire::BatchArrowRecords& batch) {
  return impl_->Decode(stream->impl_.get(), batch, true);
}
void OtapDecoder::Skip(OtapStream* stream, const wire::BatchArrowRecords& batch) {
  // A payload that cannot be read says so again where a later batch needs it.
  static_cast<void>(impl_->Decode(stream->impl_.get(), batch, false));
}

}  // namespace sheaf::decode
