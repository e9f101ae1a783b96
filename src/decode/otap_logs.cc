/// LOGS and LOG_ATTRS to rows of otel.logs.

#include <bit>
#include <string>

#include "decode/otap_cbor.h"
#include "decode/otap_signals.h"
#include "decode/record_id.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using wire::OtapPayload;

/// OTel-Arrow's numbers of value types.
enum OtapType : uint8_t { kOtapEmpty, kOtapStr, kOtapInt, kOtapDouble, kOtapBool, kOtapMap, kOtapSlice, kOtapBytes };

/// The columns `body` and `body_value`.
class Bodies {
 public:
  Bodies(const OtapTable& root, OtapContext* context) : root_(root), context_(context), columns_(context->columns) {
    const int64_t n = root.rows;
    const RowOrder rows{nullptr, n};
    present_ = columns_.Scratch<uint8_t>(n);
    types_ = columns_.Scratch<uint8_t>(n);
    ints_ = columns_.Scratch<int64_t>(n);
    doubles_ = columns_.Scratch<int64_t>(n);
    bools_ = columns_.Scratch<uint8_t>(n);
    ReadPresence(root.Find(OtapField::kBody), rows, present_);
    ReadNumbers<uint8_t>(root.Find(OtapField::kBodyType), rows, types_);
    ReadNumbers<int64_t>(root.Find(OtapField::kBodyInt), rows, ints_);
    ReadNumbers<int64_t>(root.Find(OtapField::kBodyDouble), rows, doubles_);
    ReadBools(root.Find(OtapField::kBodyBool), rows, bools_);
    text_ = columns_.buffers()->NextBytes(n, kBytesMin);
    value_ = columns_.buffers()->NextBytes(n, 0);
    has_text_ = columns_.Scratch<uint8_t>(n);
    has_value_ = columns_.Scratch<uint8_t>(n);
  }

  ~Bodies() {
    for (std::string* text : {&text_bytes_, &any_value_}) columns_.buffers()->memory()->Forget(text);
  }
  Bodies(const Bodies&) = delete;
  Bodies& operator=(const Bodies&) = delete;

  Status Read() {
    const OtapColumn* str = root_.Find(OtapField::kBodyStr);
    for (int64_t i = 0; i < root_.rows; ++i) {
      if (present_[i] != 0 && types_[i] == kOtapStr) {
        text_->Put(i, str == nullptr ? std::string_view() : str->Bytes(i), str == nullptr ? 0 : str->readable_end());
        value_->PutNone(i);
        has_text_[i] = 1;
        has_value_[i] = 0;
      } else {
        SHEAF_RETURN_NOT_OK(ReadOther(i));
      }
    }
    if (!text_->TextIsUtf8(root_.rows)) columns_.Suspect();
    return Status::OK();
  }

  ArrayDataPtr Text(const TypePtr& type) { return Column(type, *text_, has_text_); }
  ArrayDataPtr Value(const TypePtr& type) { return Column(type, *value_, has_value_); }

 private:
  static constexpr int64_t kBytesMin = 4096;

  /// A body that is not text, or none.
  Status ReadOther(int64_t row) {
    AttributeValue value;
    bytes_.clear();
    const auto bytes_of = [&](OtapField field) {
      const OtapColumn* column = root_.Find(field);
      return column == nullptr ? std::string_view() : column->Bytes(row);
    };
    switch (present_[row] == 0 ? uint8_t{kOtapEmpty} : types_[row]) {
      case kOtapEmpty: break;
      case kOtapInt: value = {ValueType::kInt, ints_[row], {}}; break;
      case kOtapDouble: value = {ValueType::kDouble, doubles_[row], {}}; break;
      case kOtapBool: value = {ValueType::kBool, bools_[row], {}}; break;
      case kOtapBytes: value = {ValueType::kBytes, 0, bytes_of(OtapField::kBodyBytes)}; break;
      case kOtapMap:
      case kOtapSlice: {
        value.type = types_[row] == kOtapMap ? ValueType::kKvList : ValueType::kArray;
        columns_.Spend(static_cast<int64_t>(bytes_of(OtapField::kBodySer).size()));
        const Status status =
            CborToOtlp(value.type, bytes_of(OtapField::kBodySer), context_->limits.attribute_depth_max, &bytes_);
        if (!status.ok()) return WithContext(status, fmt::format("LOGS, row {}, column body.ser", row));
        value.val = bytes_;
        break;
      }
      default:
        return MakeError(ErrorKind::kInvalid, "LOGS, row {}: type {} of a body; OTel-Arrow defines 0 to 7", row, types_[row]);
    }
    text_bytes_.clear();
    context_->buffers.memory()->Reserve(&text_bytes_, value.val.size() * 7 + 64);
    has_text_[row] = AppendText(value, &text_bytes_);
    text_->Put(row, text_bytes_, 0);
    has_value_[row] = present_[row];
    PutAnyValue(row, value);
    return Status::OK();
  }

  void PutAnyValue(int64_t row, const AttributeValue& value) {
    any_value_.clear();
    context_->buffers.memory()->Reserve(&any_value_, value.val.size() + 16);
    wire::ProtobufWriter writer(&any_value_);
    const auto field = static_cast<uint32_t>(value.type);
    switch (value.type) {
      case ValueType::kEmpty:
      case ValueType::kString: break;
      case ValueType::kBool:
      case ValueType::kInt: writer.Varint(field, static_cast<uint64_t>(value.num)); break;
      case ValueType::kDouble: writer.Fixed64(field, static_cast<uint64_t>(value.num)); break;
      default: writer.Bytes(field, value.val);
    }
    value_->Put(row, any_value_, 0);
  }

  ArrayDataPtr Column(const TypePtr& type, const BytesColumn& bytes, const uint8_t* present) {
    ArrayDataPtr out = MakeArray(type, root_.rows, bytes);
    columns_.SetNulls(present, out.get());
    return out;
  }

  const OtapTable& root_;
  OtapContext* const context_;
  OtapColumns& columns_;
  uint8_t *present_, *types_, *bools_, *has_text_, *has_value_;
  int64_t *ints_, *doubles_;
  BytesColumn *text_, *value_;
  std::string bytes_, text_bytes_, any_value_;  // Of the body under way.
};

}  // namespace

Status MakeOtapLogs(const OtapTables& tables, OtapContext* context, std::vector<TableBatch>* batches) {
  const OtapTable& root = *tables.root;
  const int64_t n = root.rows;
  const RowOrder rows{nullptr, n};
  OtapColumns& columns = context->columns;
  const auto find = [&root](OtapField field) { return root.Find(field); };
  auto* ids = columns.Scratch<uint32_t>(n);
  SHEAF_RETURN_NOT_OK(DecodeIds(find(OtapField::kId), n, ids));
  IdIndex logs;
  SHEAF_RETURN_NOT_OK(logs.Build({ids, static_cast<size_t>(n)}, &context->buffers));
  SHEAF_RETURN_NOT_OK(context->envelopes.Read(tables, context->limits, &columns));
  Bodies bodies(root, context);
  SHEAF_RETURN_NOT_OK(bodies.Read());

  OtapBatch batch(Signal::kLogs);
  batch.Add(columns.Numbers<uint64_t>(batch.next_type(), find(OtapField::kTime), rows));
  batch.Add(columns.Numbers<uint64_t>(batch.next_type(), find(OtapField::kObservedTime), rows));
  batch.Add(columns.OptionalIds<TraceIdBytes>(batch.next_type(), find(OtapField::kTraceId), rows));
  batch.Add(columns.OptionalIds<SpanIdBytes>(batch.next_type(), find(OtapField::kSpanId), rows));
  batch.Add(columns.Numbers<uint32_t>(batch.next_type(), find(OtapField::kFlags), rows));
  batch.Add(columns.Numbers<int32_t>(batch.next_type(), find(OtapField::kSeverityNumber), rows));
  batch.Add(columns.RepeatedText(batch.next_type(), find(OtapField::kSeverityText), rows));
  batch.Add(columns.RepeatedText(batch.next_type(), find(OtapField::kEventName), rows));
  batch.Add(bodies.Text(batch.next_type()));
  batch.Add(bodies.Value(batch.next_type()));
  batch.Add(context->envelopes.Service(batch.next_type(), rows));
  SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr attributes,
                         MakeOtapAttributes(tables, OtapPayload::kLogAttrs, logs, nullptr, n, batch.next_type(), context));
  batch.Add(std::move(attributes));
  batch.Add(columns.Numbers<uint32_t>(batch.next_type(), find(OtapField::kDroppedAttributes), rows));
  batch.Add(context->envelopes.Resource(batch.next_type(), rows));
  batch.Add(context->envelopes.Scope(batch.next_type(), rows));
  batch.Add(columns.Nulls(batch.next_type(), n));
  batches->push_back(batch.Finish(n));
  return Status::OK();
}

}  // namespace sheaf::decode
