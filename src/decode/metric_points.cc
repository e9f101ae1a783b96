/// The value columns of the five metric tables; the walk through a Metric is in metric_decoder.cc.

#include "decode/metric_decoder.h"
#include "wire/protobuf_reader.h"

namespace sheaf::decode {
namespace {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

constexpr int64_t kQuantilesMin = 32;

/// Begins a table's columns, and names the type of the next one.
class ColumnList {
 public:
  explicit ColumnList(Signal signal) : schema_(SignalSchema(signal)) { columns_.reserve(static_cast<size_t>(schema_->num_fields())); }
  const TypePtr& next_type() const { return schema_->field(static_cast<int>(columns_.size()))->type(); }
  void Add(ArrayDataPtr column) { columns_.push_back(std::move(column)); }
  void AddPoints(PointColumns* points, bool with_exemplars) { points->Finish(*schema_, with_exemplars, &columns_); }
  std::shared_ptr<arrow::RecordBatch> ToBatch(int64_t rows) { return arrow::RecordBatch::Make(schema_, rows, std::move(columns_)); }

 private:
  const std::shared_ptr<arrow::Schema>& schema_;
  std::vector<ArrayDataPtr> columns_;
};

}  // namespace

void NumberPoints::Start(RequestMemory* memory) {
  points_.Start(memory);
  const int64_t rows = points_.rows_capacity();
  value_.Start(memory, rows);
  value_int_.Start(memory, rows);
  temporality_.Start(memory, rows);
  is_monotonic_.Start(memory, rows);
}

bool NumberPoints::Point(std::string_view message, const MetricFacts& facts, const Envelopes& envelopes, RequestContext* context) {
  if (points_.Grow()) {
    const int64_t rows = points_.rows_capacity();
    value_.Reserve(rows);
    value_int_.Reserve(rows);
    temporality_.Reserve(rows);
    is_monotonic_.Reserve(rows);
  }
  if (!points_.Begin(envelopes, context)) return false;
  NumberValue number;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(2, WireType::kFixed64):
        points_.start_time = reader.Fixed64();
        break;
      case Tag(3, WireType::kFixed64):
        points_.time = reader.Fixed64();
        break;
      case Tag(4, WireType::kFixed64):
        number.SetDouble(reader.Double());
        break;
      case Tag(5, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !points_.AddExemplar(bytes, context)) return false;
        break;
      case Tag(6, WireType::kFixed64):
        number.SetInt(static_cast<int64_t>(reader.Fixed64()));
        break;
      case Tag(7, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !points_.AddAttribute(bytes, context)) return false;
        break;
      case Tag(8, WireType::kVarint):
        points_.flags = static_cast<uint32_t>(reader.Varint());
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "NumberDataPoint");
  const int64_t row = points_.rows();
  value_.Put(row, number.value);
  value_int_.Put(row, number.value_int);
  temporality_.Put(row, facts.temporality);
  is_monotonic_.Set(row, facts.is_monotonic);
  return points_.End(message, context);
}

std::shared_ptr<arrow::RecordBatch> NumberPoints::Finish() {
  const int64_t n = points_.rows();
  ColumnList columns(signal_);
  columns.AddPoints(&points_, true);
  columns.Add(value_.Finish(columns.next_type(), n));
  columns.Add(value_int_.Finish(columns.next_type(), n));
  if (signal_ == Signal::kSum) {
    columns.Add(temporality_.Finish(columns.next_type(), n));
    columns.Add(MakeArray(columns.next_type(), n, is_monotonic_.View(n)));
  }
  return columns.ToBatch(n);
}

void NumberPoints::Trim(int64_t bytes_max) {
  points_.Trim(bytes_max);
  value_.Trim(bytes_max);
  value_int_.Trim(bytes_max);
  temporality_.Trim(bytes_max);
  is_monotonic_.Trim(bytes_max);
}

void HistogramPoints::Start(RequestMemory* memory) {
  points_.Start(memory);
  const int64_t rows = points_.rows_capacity();
  count_.Start(memory, rows);
  for (OptionalColumn<double>* column : {&sum_, &min_, &max_}) column->Start(memory, rows);
  bucket_counts_.Start(memory, rows);
  explicit_bounds_.Start(memory, rows);
  temporality_.Start(memory, rows);
}

bool HistogramPoints::Point(std::string_view message, const MetricFacts& facts, const Envelopes& envelopes, RequestContext* context) {
  if (points_.Grow()) {
    const int64_t rows = points_.rows_capacity();
    count_.Reserve(rows);
    for (OptionalColumn<double>* column : {&sum_, &min_, &max_}) column->Reserve(rows);
    bucket_counts_.ReserveRows(rows);
    explicit_bounds_.ReserveRows(rows);
    temporality_.Reserve(rows);
  }
  if (!points_.Begin(envelopes, context)) return false;
  uint64_t count = 0;
  std::optional<double> sum, min, max;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(2, WireType::kFixed64):
        points_.start_time = reader.Fixed64();
        break;
      case Tag(3, WireType::kFixed64):
        points_.time = reader.Fixed64();
        break;
      case Tag(4, WireType::kFixed64):
        count = reader.Fixed64();
        break;
      case Tag(5, WireType::kFixed64):
        sum = reader.Double();
        break;
      case Tag(6, WireType::kBytes):
        if (const std::string_view run = reader.Bytes(); reader.ok() && !bucket_counts_.AppendFixed(run, context)) return false;
        break;
      case Tag(6, WireType::kFixed64):
        bucket_counts_.Append(reader.Fixed64());
        break;
      case Tag(7, WireType::kBytes):
        if (const std::string_view run = reader.Bytes(); reader.ok() && !explicit_bounds_.AppendFixed(run, context)) return false;
        break;
      case Tag(7, WireType::kFixed64):
        explicit_bounds_.Append(reader.Fixed64());
        break;
      case Tag(8, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !points_.AddExemplar(bytes, context)) return false;
        break;
      case Tag(9, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !points_.AddAttribute(bytes, context)) return false;
        break;
      case Tag(10, WireType::kVarint):
        points_.flags = static_cast<uint32_t>(reader.Varint());
        break;
      case Tag(11, WireType::kFixed64):
        min = reader.Double();
        break;
      case Tag(12, WireType::kFixed64):
        max = reader.Double();
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "HistogramDataPoint");
  const int64_t row = points_.rows();
  count_[row] = count;
  sum_.Put(row, sum);
  min_.Put(row, min);
  max_.Put(row, max);
  bucket_counts_.EndRow(row);
  explicit_bounds_.EndRow(row);
  temporality_.Put(row, facts.temporality);
  return points_.End(message, context);
}

std::shared_ptr<arrow::RecordBatch> HistogramPoints::Finish() {
  const int64_t n = points_.rows();
  ColumnList columns(Signal::kHistogram);
  columns.AddPoints(&points_, true);
  columns.Add(MakeArray(columns.next_type(), n, count_.View(n)));
  columns.Add(sum_.Finish(columns.next_type(), n));
  columns.Add(min_.Finish(columns.next_type(), n));
  columns.Add(max_.Finish(columns.next_type(), n));
  columns.Add(bucket_counts_.Finish(columns.next_type(), n));
  columns.Add(explicit_bounds_.Finish(columns.next_type(), n));
  columns.Add(temporality_.Finish(columns.next_type(), n));
  return columns.ToBatch(n);
}

void HistogramPoints::Trim(int64_t bytes_max) {
  points_.Trim(bytes_max);
  count_.Trim(bytes_max);
  for (OptionalColumn<double>* column : {&sum_, &min_, &max_}) column->Trim(bytes_max);
  bucket_counts_.Trim(bytes_max);
  explicit_bounds_.Trim(bytes_max);
  temporality_.Trim(bytes_max);
}

void ExponentialHistogramPoints::BucketColumns::Start(RequestMemory* memory, int64_t rows) {
  present.Start(memory, rows);
  offset.Start(memory, rows);
  counts.Start(memory, rows);
}

void ExponentialHistogramPoints::BucketColumns::Reserve(int64_t rows) {
  present.Reserve(rows);
  offset.Reserve(rows);
  counts.ReserveRows(rows);
}

bool ExponentialHistogramPoints::BucketColumns::Read(std::string_view message, int32_t* offset_value, RequestContext* context) {
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kVarint):
        *offset_value = reader.ZigZag32();
        break;
      case Tag(2, WireType::kBytes):
        if (const std::string_view run = reader.Bytes(); reader.ok() && !counts.AppendVarints(run, context)) return false;
        break;
      case Tag(2, WireType::kVarint):
        counts.Append(reader.Varint());
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  return reader.ok() || context->Malformed(reader.position(), "Buckets");
}

void ExponentialHistogramPoints::BucketColumns::Trim(int64_t bytes_max) {
  present.Trim(bytes_max);
  offset.Trim(bytes_max);
  counts.Trim(bytes_max);
}

void ExponentialHistogramPoints::Start(RequestMemory* memory) {
  points_.Start(memory);
  const int64_t rows = points_.rows_capacity();
  count_.Start(memory, rows);
  zero_count_.Start(memory, rows);
  for (OptionalColumn<double>* column : {&sum_, &min_, &max_}) column->Start(memory, rows);
  scale_.Start(memory, rows);
  zero_threshold_.Start(memory, rows);
  positive_.Start(memory, rows);
  negative_.Start(memory, rows);
  temporality_.Start(memory, rows);
}

bool ExponentialHistogramPoints::Point(std::string_view message, const MetricFacts& facts, const Envelopes& envelopes,
                                       RequestContext* context) {
  if (points_.Grow()) {
    const int64_t rows = points_.rows_capacity();
    count_.Reserve(rows);
    zero_count_.Reserve(rows);
    for (OptionalColumn<double>* column : {&sum_, &min_, &max_}) column->Reserve(rows);
    scale_.Reserve(rows);
    zero_threshold_.Reserve(rows);
    positive_.Reserve(rows);
    negative_.Reserve(rows);
    temporality_.Reserve(rows);
  }
  if (!points_.Begin(envelopes, context)) return false;
  uint64_t count = 0, zero_count = 0;
  int32_t scale = 0, positive_offset = 0, negative_offset = 0;
  double zero_threshold = 0;
  bool has_positive = false, has_negative = false;
  std::optional<double> sum, min, max;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !points_.AddAttribute(bytes, context)) return false;
        break;
      case Tag(2, WireType::kFixed64):
        points_.start_time = reader.Fixed64();
        break;
      case Tag(3, WireType::kFixed64):
        points_.time = reader.Fixed64();
        break;
      case Tag(4, WireType::kFixed64):
        count = reader.Fixed64();
        break;
      case Tag(5, WireType::kFixed64):
        sum = reader.Double();
        break;
      case Tag(6, WireType::kVarint):
        scale = reader.ZigZag32();
        break;
      case Tag(7, WireType::kFixed64):
        zero_count = reader.Fixed64();
        break;
      case Tag(8, WireType::kBytes):
        has_positive = true;
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !positive_.Read(bytes, &positive_offset, context)) return false;
        break;
      case Tag(9, WireType::kBytes):
        has_negative = true;
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !negative_.Read(bytes, &negative_offset, context)) return false;
        break;
      case Tag(10, WireType::kVarint):
        points_.flags = static_cast<uint32_t>(reader.Varint());
        break;
      case Tag(11, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !points_.AddExemplar(bytes, context)) return false;
        break;
      case Tag(12, WireType::kFixed64):
        min = reader.Double();
        break;
      case Tag(13, WireType::kFixed64):
        max = reader.Double();
        break;
      case Tag(14, WireType::kFixed64):
        zero_threshold = reader.Double();
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "ExponentialHistogramDataPoint");
  const int64_t row = points_.rows();
  count_[row] = count;
  sum_.Put(row, sum);
  min_.Put(row, min);
  max_.Put(row, max);
  scale_[row] = scale;
  zero_count_[row] = zero_count;
  zero_threshold_[row] = zero_threshold;
  positive_.present.Set(row, has_positive);
  positive_.offset[row] = positive_offset;
  positive_.counts.EndRow(row);
  negative_.present.Set(row, has_negative);
  negative_.offset[row] = negative_offset;
  negative_.counts.EndRow(row);
  temporality_.Put(row, facts.temporality);
  return points_.End(message, context);
}

std::shared_ptr<arrow::RecordBatch> ExponentialHistogramPoints::Finish() {
  const int64_t n = points_.rows();
  ColumnList columns(Signal::kExponentialHistogram);
  columns.AddPoints(&points_, true);
  columns.Add(MakeArray(columns.next_type(), n, count_.View(n)));
  columns.Add(sum_.Finish(columns.next_type(), n));
  columns.Add(min_.Finish(columns.next_type(), n));
  columns.Add(max_.Finish(columns.next_type(), n));
  columns.Add(MakeArray(columns.next_type(), n, scale_.View(n)));
  columns.Add(MakeArray(columns.next_type(), n, zero_count_.View(n)));
  columns.Add(MakeArray(columns.next_type(), n, zero_threshold_.View(n)));
  for (const BucketColumns* side : {&positive_, &negative_}) {
    columns.Add(MakeArray(columns.next_type(), n, side->present.View(n)));
    columns.Add(MakeArray(columns.next_type(), n, side->offset.View(n)));
    columns.Add(side->counts.Finish(columns.next_type(), n));
  }
  columns.Add(temporality_.Finish(columns.next_type(), n));
  return columns.ToBatch(n);
}

void ExponentialHistogramPoints::Trim(int64_t bytes_max) {
  points_.Trim(bytes_max);
  count_.Trim(bytes_max);
  zero_count_.Trim(bytes_max);
  for (OptionalColumn<double>* column : {&sum_, &min_, &max_}) column->Trim(bytes_max);
  scale_.Trim(bytes_max);
  zero_threshold_.Trim(bytes_max);
  positive_.Trim(bytes_max);
  negative_.Trim(bytes_max);
  temporality_.Trim(bytes_max);
}

void SummaryPoints::Start(RequestMemory* memory) {
  points_.Start(memory);
  const int64_t rows = points_.rows_capacity();
  const int64_t quantiles = std::max(kQuantilesMin, quantile_.capacity());
  count_.Start(memory, rows);
  sum_.Start(memory, rows);
  quantile_offsets_.Start(memory, rows + 1);
  quantile_offsets_[0] = 0;
  quantile_.Start(memory, quantiles);
  quantile_value_.Start(memory, quantiles);
  quantiles_ = 0;
}

bool SummaryPoints::Point(std::string_view message, const MetricFacts&, const Envelopes& envelopes, RequestContext* context) {
  if (points_.Grow()) {
    const int64_t rows = points_.rows_capacity();
    count_.Reserve(rows);
    sum_.Reserve(rows);
    quantile_offsets_.Reserve(rows + 1);
  }
  if (!points_.Begin(envelopes, context)) return false;
  uint64_t count = 0;
  double sum = 0;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(2, WireType::kFixed64):
        points_.start_time = reader.Fixed64();
        break;
      case Tag(3, WireType::kFixed64):
        points_.time = reader.Fixed64();
        break;
      case Tag(4, WireType::kFixed64):
        count = reader.Fixed64();
        break;
      case Tag(5, WireType::kFixed64):
        sum = reader.Double();
        break;
      case Tag(6, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !ReadQuantile(bytes, context)) return false;
        break;
      case Tag(7, WireType::kBytes):
        if (const std::string_view bytes = reader.Bytes(); reader.ok() && !points_.AddAttribute(bytes, context)) return false;
        break;
      case Tag(8, WireType::kVarint):
        points_.flags = static_cast<uint32_t>(reader.Varint());
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "SummaryDataPoint");
  const int64_t row = points_.rows();
  count_[row] = count;
  sum_[row] = sum;
  quantile_offsets_[row + 1] = static_cast<int32_t>(quantiles_);
  return points_.End(message, context);
}

bool SummaryPoints::ReadQuantile(std::string_view message, RequestContext* context) {
  if (quantiles_ == quantile_value_.capacity() || quantiles_ == quantile_.capacity()) [[unlikely]] {
    CheckOffset(quantiles_ * 2);
    quantile_.Reserve(quantiles_ * 2);
    quantile_value_.Reserve(quantiles_ * 2);
  }
  double quantile = 0, value = 0;
  ProtobufReader reader(message);
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, WireType::kFixed64):
        quantile = reader.Double();
        break;
      case Tag(2, WireType::kFixed64):
        value = reader.Double();
        break;
      default:
        reader.Skip();
        context->odd = true;
    }
  }
  if (!reader.ok()) return context->Malformed(reader.position(), "ValueAtQuantile");
  quantile_[quantiles_] = quantile;
  quantile_value_[quantiles_] = value;
  ++quantiles_;
  return true;
}

std::shared_ptr<arrow::RecordBatch> SummaryPoints::Finish() {
  const int64_t n = points_.rows();
  ColumnList columns(Signal::kSummary);
  columns.AddPoints(&points_, false);
  columns.Add(MakeArray(columns.next_type(), n, count_.View(n)));
  columns.Add(MakeArray(columns.next_type(), n, sum_.View(n)));
  const TypePtr& type = columns.next_type();
  columns.Add(MakeList(type, n, quantile_offsets_,
                       MakeStruct(ItemType(type), quantiles_,
                                  {MakeArray(FieldType(type, 0), quantiles_, quantile_.View(quantiles_)),
                                   MakeArray(FieldType(type, 1), quantiles_, quantile_value_.View(quantiles_))})));
  return columns.ToBatch(n);
}

void SummaryPoints::Trim(int64_t bytes_max) {
  points_.Trim(bytes_max);
  count_.Trim(bytes_max);
  sum_.Trim(bytes_max);
  quantile_offsets_.Trim(bytes_max);
  quantile_.Trim(bytes_max);
  quantile_value_.Trim(bytes_max);
}

}  // namespace sheaf::decode
