#include "decode/encoder.h"

#include <bit>

#include "decode/batch_reader.h"
#include "decode/dictionary_column.h"
#include "decode/record_encoders.h"
#include "wire/protobuf_reader.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using wire::FieldOf;
using wire::ProtobufReader;
using wire::ProtobufWriter;
using wire::Tag;
using wire::WireType;

/// Writes rows one after the other into nested messages, and opens a new one only where the resource,
/// the scope or the metric changes.
class RequestWriter {
 public:
  RequestWriter(Signal signal, const arrow::RecordBatch& batch, std::string* out, size_t bytes_max)
      : resource_(*batch.GetColumnByName("resource")), scope_(*batch.GetColumnByName("scope")), writer_(out, bytes_max) {
    if (signal != Signal::kTraces && signal != Signal::kLogs) metric_.emplace(*batch.GetColumnByName("metric"));
  }

  /// Makes the messages around `row` the open ones. Error: Invalid (an envelope is not OTLP).
  Status Enter(int64_t row) {
    const int64_t resource = resource_.id(row), scope = scope_.id(row), metric = metric_ ? metric_->id(row) : 0;
    const bool same_resource = row > 0 && resource == last_resource_;
    const bool same_scope = same_resource && scope == last_scope_;
    if (same_scope && metric == last_metric_) return Status::OK();
    CloseMetric();
    if (!same_scope) Close(&scope_mark_);
    if (!same_resource) {
      Close(&resource_mark_);
      resource_mark_ = writer_.Open(1);
      writer_.Raw(resource_[row]);
    }
    if (!same_scope) {
      scope_mark_ = writer_.Open(2);
      writer_.Raw(scope_[row]);
    }
    last_resource_ = resource;
    last_scope_ = scope;
    last_metric_ = metric;
    return metric_ ? OpenMetric((*metric_)[row]) : Status::OK();
  }

  /// The number of the field that holds records where the messages stand open.
  uint32_t record_field() const { return metric_ ? 1 : 2; }
  ProtobufWriter* writer() { return &writer_; }

  void Finish() {
    CloseMetric();
    Close(&scope_mark_);
    Close(&resource_mark_);
  }

 private:
  static constexpr size_t kClosed = 0;  // No message stands at the very start: its tag does.

  void Close(size_t* mark) {
    if (*mark != kClosed) writer_.Close(*mark);
    *mark = kClosed;
  }
  void CloseMetric() {
    Close(&data_mark_);
    Close(&metric_mark_);
  }
  /// Writes the Metric as its envelope has it, and then, for the points to come, its data member once
  /// more: protobuf merges the two.
  Status OpenMetric(std::string_view envelope) {
    uint32_t data_field = 0;
    size_t data_begin = 0, data_end = 0;
    ProtobufReader reader(envelope);
    while (reader.Next()) {
      const uint32_t field = FieldOf(reader.tag());
      const bool is_data = wire::TypeOf(reader.tag()) == WireType::kBytes && (field == 5 || field == 7 || (field >= 9 && field <= 11));
      if (is_data) {
        data_field = field;
        const std::string_view data = reader.Bytes();
        data_begin = static_cast<size_t>(data.data() - envelope.data());
        data_end = data_begin + data.size();
      } else {
        reader.Skip();
      }
    }
    if (!reader.ok() || data_field == 0) {
      return MakeError(ErrorKind::kInvalid, "column metric holds {} bytes that are not a Metric with data", envelope.size());
    }
    metric_mark_ = writer_.Open(2);
    // The last data message is written open-ended, so that the points join it: what stands around it first.
    const size_t header = HeaderSize(data_field, data_end - data_begin);
    writer_.Raw(envelope.substr(0, data_begin - header));
    writer_.Raw(envelope.substr(data_end));
    data_mark_ = writer_.Open(data_field);
    writer_.Raw(envelope.substr(data_begin, data_end - data_begin));
    return Status::OK();
  }
  /// The bytes of a tag and a length as ProtobufWriter writes them (the decoder wrote this field with it).
  static size_t HeaderSize(uint32_t field, size_t length) {
    std::string header;
    ProtobufWriter writer(&header);
    writer.RawVarint(Tag(field, WireType::kBytes));
    writer.RawVarint(length);
    return header.size();
  }

  DictionaryView resource_, scope_;
  std::optional<DictionaryView> metric_;
  ProtobufWriter writer_;
  int64_t last_resource_ = -1, last_scope_ = -1, last_metric_ = -1;
  size_t resource_mark_ = kClosed, scope_mark_ = kClosed, metric_mark_ = kClosed, data_mark_ = kClosed;
};

template <typename Encoder>
Status EncodeRows(Signal signal, const arrow::RecordBatch& batch, std::string* out, size_t bytes_max) {
  const Encoder encoder(signal, batch);
  const BytesView original(*batch.GetColumnByName("original"));
  RequestWriter request(signal, batch, out, bytes_max);
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    SHEAF_RETURN_NOT_OK(request.Enter(row));
    if (request.writer()->full()) break;
    if (const auto bytes = original[row]) {
      request.writer()->Bytes(request.record_field(), *bytes);
      continue;
    }
    const size_t mark = request.writer()->Open(request.record_field());
    SHEAF_RETURN_NOT_OK(encoder.Encode(row, request.writer()));
    request.writer()->Close(mark);
  }
  request.Finish();
  if (!request.writer()->full()) return Status::OK();
  return MakeError(ErrorKind::kTooLarge, "rows of {} take more than {} bytes as OTLP", SignalTable(signal), bytes_max);
}

}  // namespace

Status EncodeRequest(Signal signal, const arrow::RecordBatch& batch, std::string* out, size_t bytes_max) {
  if (!batch.schema()->Equals(*SignalSchema(signal), /*check_metadata=*/false)) {
    return MakeError(ErrorKind::kInvalid, "batch has not the schema of {}: {}", SignalTable(signal), batch.schema()->ToString());
  }
  switch (signal) {
    case Signal::kTraces:
      return EncodeRows<SpanEncoder>(signal, batch, out, bytes_max);
    case Signal::kLogs:
      return EncodeRows<LogEncoder>(signal, batch, out, bytes_max);
    case Signal::kGauge:
    case Signal::kSum:
      return EncodeRows<NumberEncoder>(signal, batch, out, bytes_max);
    case Signal::kHistogram:
      return EncodeRows<HistogramEncoder>(signal, batch, out, bytes_max);
    case Signal::kExponentialHistogram:
      return EncodeRows<ExponentialHistogramEncoder>(signal, batch, out, bytes_max);
    default:
      return EncodeRows<SummaryEncoder>(signal, batch, out, bytes_max);
  }
}

}  // namespace sheaf::decode
