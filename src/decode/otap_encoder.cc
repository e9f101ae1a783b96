#include "decode/otap_encoder.h"

#include <new>
#include <stdexcept>

#include "decode/otap_signal_writers.h"
#include "wire/arrow_ipc_writer.h"
#include "wire/otap_messages.h"

namespace sheaf::decode {
namespace {

/// The share of what the stream may keep that one column's dictionary may take: fewer than half as many columns have one.
constexpr int64_t kDictionaryShare = 32;

OtapSignal SignalOf(Signal table) {
  switch (table) {
    case Signal::kTraces: return OtapSignal::kTraces;
    case Signal::kLogs: return OtapSignal::kLogs;
    default: return OtapSignal::kMetrics;
  }
}

std::unique_ptr<OtapSignalWriter> MakeWriter(OtapSignal signal) {
  switch (signal) {
    case OtapSignal::kTraces: return MakeOtapSpanWriter();
    case OtapSignal::kLogs: return MakeOtapLogWriter();
    case OtapSignal::kMetrics: break;
  }
  return MakeOtapMetricWriter();
}

}  // namespace

class OtapStreamEncoder::Impl {
 public:
  Impl(OtapSignal of, const OtapEncoderOptions& stream_options)
      : signal(of),
        options_(stream_options),
        memory_(arrow::default_memory_pool()),
        ipc_(options_.codec, options_.zstd_level),
        writer_(MakeWriter(of)) {}

  int64_t held_bytes() const {
    return memory_.held() + writer_->held_bytes() + ipc_.held_bytes() + static_cast<int64_t>(record_.capacity());
  }

  Result<OtapEncoded> Encode(std::span<const TableBatch> tables, std::string* out) {
    const size_t begin = out->size();
    Result<OtapEncoded> encoded = Guarded([&] { return TryEncode(tables, out); });
    if (!encoded.ok()) {
      // What was not sent the receiver does not know: it must not be built upon.
      out->resize(begin);
      Forget();
    }
    if (held_bytes() > Decoder::kKeptBytesMax) Trim();
    return encoded;
  }

  void Restart() {
    next_id_ = 0;
    Forget();
  }

  const OtapSignal signal;

 private:
  /// What fails deep down as an exception becomes an error.
  template <typename Action>
  static Result<OtapEncoded> Guarded(Action&& action) {
    try {
      return action();
    } catch (const OverBudget& e) {
      return MakeError(ErrorKind::kTooLarge, "{}; send fewer rows at once", e.what());
    } catch (const std::bad_alloc&) {
      return MakeError(ErrorKind::kOutOfMemory, "out of memory while encoding a batch");
    } catch (const std::length_error& e) {
      return MakeError(ErrorKind::kTooLarge, "{}; send fewer rows at once", e.what());
    }
  }

  Status Check(std::span<const TableBatch> tables, int64_t* rows) const {
    for (const TableBatch& table : tables) {
      if (SignalOf(table.signal) != signal)
        return MakeError(ErrorKind::kInvalid, "rows of {} in a stream of another signal", SignalTable(table.signal));
      if (!table.batch->schema()->Equals(*SignalSchema(table.signal), /*check_metadata=*/false)) {
        return MakeError(ErrorKind::kInvalid, "batch has not the schema of {}: {}", SignalTable(table.signal),
                         table.batch->schema()->ToString());
      }
      *rows += table.batch->num_rows();
    }
    if (*rows <= kOtapRowsMax) return Status::OK();
    return MakeError(ErrorKind::kTooLarge, "{} rows in one batch; OTel-Arrow numbers at most {}", *rows, kOtapRowsMax);
  }

  Result<OtapEncoded> TryEncode(std::span<const TableBatch> tables, std::string* out) {
    OtapEncoded encoded{.batch_id = next_id_};
    SHEAF_RETURN_NOT_OK(Check(tables, &encoded.rows));
    wire::BatchArrowRecordsWriter message(encoded.batch_id, out);
    if (encoded.rows > 0) {
      KeepWithinLimit();
      for (OtapTableWriter* table : writer_->tables()) table->Clear();
      SHEAF_RETURN_NOT_OK(
          writer_->Fill(tables, {&memory_, options_.stream_bytes_max / kDictionaryShare, options_.metric_metadata}));
      for (OtapTableWriter* table : writer_->tables()) {
        if (table->rows() == 0) continue;
        record_.clear();
        SHEAF_RETURN_NOT_OK(table->Finish(&ipc_, &record_));
        message.Add({table->schema_id(), table->type(), record_});
      }
      encoded.inexact_rows = writer_->CountInexact(tables);
    }
    ++next_id_;
    return encoded;
  }

  /// Begins dictionaries anew where all together could take too much. One column's cannot.
  void KeepWithinLimit() {
    int64_t bytes = 0;
    for (const OtapTableWriter* table : writer_->tables()) bytes += table->dictionary_bytes();
    if (bytes <= options_.stream_bytes_max / 2) return;
    for (OtapTableWriter* table : writer_->tables()) table->ForgetDictionaries();
  }

  void Forget() {
    for (OtapTableWriter* table : writer_->tables()) table->Restart();
  }

  /// What a large batch needed is not kept.
  void Trim() {
    writer_->Trim();
    std::string().swap(record_);
  }

  const OtapEncoderOptions options_;
  RequestMemory memory_;
  wire::IpcWriter ipc_;
  std::unique_ptr<OtapSignalWriter> writer_;
  std::string record_;
  int64_t next_id_ = 0;
};

OtapStreamEncoder::OtapStreamEncoder(OtapSignal signal, const OtapEncoderOptions& options)
    : impl_(std::make_unique<Impl>(signal, options)) {}
OtapStreamEncoder::~OtapStreamEncoder() = default;
OtapSignal OtapStreamEncoder::signal() const { return impl_->signal; }
int64_t OtapStreamEncoder::held_bytes() const { return impl_->held_bytes(); }
Result<OtapEncoded> OtapStreamEncoder::Encode(std::span<const TableBatch> tables, std::string* out) {
  return impl_->Encode(tables, out);
}
void OtapStreamEncoder::Restart() { impl_->Restart(); }

}  // namespace sheaf::decode
