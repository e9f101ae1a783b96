/// Rows of otel.logs to LOGS and LOG_ATTRS.

#include "decode/otap_cbor.h"
#include "decode/otap_signal_writers.h"
#include "decode/record_id.h"

namespace sheaf::decode {
namespace {

using wire::OtapPayload;

constexpr OtapColumnRule kLogColumns[] = {
    {OtapField::kId, "id", OtapForm::kU16, kOtapOptional},
    {OtapField::kTime, "time_unix_nano", OtapForm::kTime, kOtapAlways},
    {OtapField::kObservedTime, "observed_time_unix_nano", OtapForm::kTime, kOtapAlways},
    {OtapField::kTraceId, "trace_id", OtapForm::kFixed16, kOtapOptional},
    {OtapField::kSpanId, "span_id", OtapForm::kFixed8, kOtapOptional},
    {OtapField::kSeverityNumber, "severity_number", OtapForm::kI32},
    {OtapField::kSeverityText, "severity_text", OtapForm::kText, kOtapDictionary},
    {OtapField::kEventName, "event_name", OtapForm::kText, kOtapDictionary},
    {OtapField::kDroppedAttributes, "dropped_attributes_count", OtapForm::kU32},
    {OtapField::kFlags, "flags", OtapForm::kU32},
    {OtapField::kBody, "body", OtapForm::kStruct},
    {OtapField::kBodyType, "type", OtapForm::kU8, kOtapAlways | kOtapChild},
    {OtapField::kBodyStr, "str", OtapForm::kText, kOtapDictionary | kOtapChild},
    {OtapField::kBodyInt, "int", OtapForm::kI64, kOtapDictionary | kOtapChild},
    {OtapField::kBodyDouble, "double", OtapForm::kF64, kOtapChild},
    {OtapField::kBodyBool, "bool", OtapForm::kBool, kOtapChild},
    {OtapField::kBodyBytes, "bytes", OtapForm::kBytes, kOtapChild},
    {OtapField::kBodySer, "ser", OtapForm::kBytes, kOtapChild},
};
constexpr auto kLogRules = OtapRootRules(kLogColumns);

/// OTel-Arrow's numbers of value types, by ours.
constexpr uint8_t kOtapTypes[] = {0, 1, 4, 2, 3, 6, 5, 7};

/// Puts a body into the columns of its type, row by row.
class BodyColumns {
 public:
  explicit BodyColumns(OtapTableWriter* logs)
      : logs_(*logs), present_(logs_[OtapField::kBody].Presence()), types_(logs_[OtapField::kBodyType].Values<uint8_t>(true)) {}

  Status Put(int64_t row, const AttributeValue& value) {
    const auto type = static_cast<size_t>(value.type);
    if (type >= std::size(kOtapTypes))
      return MakeError(ErrorKind::kInvalid, "LOGS, row {}: a body of type {}, which does not exist", row, type);
    present_[row] = 1;
    types_[row] = kOtapTypes[type];
    const std::string_view number(reinterpret_cast<const char*>(&value.num), sizeof(value.num));
    switch (value.type) {
      case ValueType::kEmpty: break;
      case ValueType::kString: Put(OtapField::kBodyStr, row, value.val); break;
      case ValueType::kBytes: Put(OtapField::kBodyBytes, row, value.val); break;
      case ValueType::kInt: Put(OtapField::kBodyInt, row, number); break;
      case ValueType::kDouble: logs_[OtapField::kBodyDouble].ZeroedValues<int64_t>()[row] = value.num; break;
      case ValueType::kBool: logs_[OtapField::kBodyBool].ZeroedValues<uint8_t>()[row] = value.num != 0; break;
      case ValueType::kArray:
      case ValueType::kKvList: {
        cbor_.clear();
        bool exact = true;  // What is not is in the record's `original`.
        const Status status = OtlpToCbor(value.type, value.val, &cbor_, &exact);
        if (!status.ok()) return WithContext(status, fmt::format("LOGS, row {}, column body_value", row));
        Put(OtapField::kBodySer, row, cbor_);
      }
    }
    return Status::OK();
  }

 private:
  void Put(OtapField field, int64_t row, std::string_view value) {
    OtapOutColumn& column = logs_[field];
    column.Presence()[row] = 1;
    column.Skip(row - column.put());
    column.Put(value);
  }

  OtapTableWriter& logs_;
  uint8_t *const present_, *const types_;
  std::string cbor_;
};

class LogWriter : public OtapSignalWriter {
 public:
  LogWriter() {
    Own({&logs_});
    OwnEnvelopes();
    Own({&attributes_});
  }

  Status Fill(std::span<const TableBatch> batches, const OtapWriteContext& context) override {
    envelopes_.Order(batches, false, context.memory, context.dictionary_bytes_max);
    const OtapRuns& rows = envelopes_.rows();
    logs_.Start(context.memory, rows.rows(), context.dictionary_bytes_max);
    attributes_.Start(context.memory, context.dictionary_bytes_max);
    SHEAF_RETURN_NOT_OK(envelopes_.Fill(true, &logs_));
    const auto numbers = [&]<typename T>(OtapField field, const char* name, T) {
      CopyNumbers<T>(ColumnsOf(batches, name), rows, logs_[field].Values<T>());
    };
    numbers(OtapField::kTime, "time", uint64_t{});
    numbers(OtapField::kObservedTime, "observed_time", uint64_t{});
    numbers(OtapField::kSeverityNumber, "severity_number", int32_t{});
    numbers(OtapField::kDroppedAttributes, "dropped_attributes_count", uint32_t{});
    numbers(OtapField::kFlags, "flags", uint32_t{});
    CopyOptional<TraceIdBytes>(ColumnsOf(batches, "trace_id"), rows, &logs_[OtapField::kTraceId]);
    CopyOptional<SpanIdBytes>(ColumnsOf(batches, "span_id"), rows, &logs_[OtapField::kSpanId]);
    CopyRepeatedText(ColumnsOf(batches, "severity_text"), rows, &logs_[OtapField::kSeverityText]);
    CopyRepeatedText(ColumnsOf(batches, "event_name"), rows, &logs_[OtapField::kEventName]);
    SHEAF_RETURN_NOT_OK(FillBodies(batches, rows));
    SHEAF_RETURN_NOT_OK(FillIds<uint16_t>(ColumnsOf(batches, "attributes"), rows, &attributes_, &logs_[OtapField::kId],
                                          [](int32_t, int64_t, uint32_t) { return false; }));
    attributes_.Fill();
    return Status::OK();
  }

 private:
  Status FillBodies(std::span<const TableBatch> batches, const OtapRuns& rows) {
    const OtapArrays texts = ColumnsOf(batches, "body"), values = ColumnsOf(batches, "body_value");
    BodyColumns bodies(&logs_);
    int64_t at = 0;
    for (const OtapRun& run : rows.runs()) {
      const BytesView text(*texts[static_cast<size_t>(run.source)]), value(*values[static_cast<size_t>(run.source)]);
      for (int64_t row = run.begin; row < run.begin + run.n; ++row, ++at) {
        if (const auto bytes = value[row]) {
          SHEAF_RETURN_NOT_OK(bodies.Put(at, ViewAnyValue(*bytes)));
        } else if (const auto body = text[row]) {
          SHEAF_RETURN_NOT_OK(bodies.Put(at, {ValueType::kString, 0, *body}));
        }
      }
    }
    return Status::OK();
  }

  OtapTableWriter logs_{OtapPayload::kLogs, kLogRules};
  OtapAttributeWriter attributes_{OtapPayload::kLogAttrs, 2};
};

}  // namespace

std::unique_ptr<OtapSignalWriter> MakeOtapLogWriter() { return std::make_unique<LogWriter>(); }

}  // namespace sheaf::decode
