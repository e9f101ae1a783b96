/// UNIVARIATE_METRICS, the tables of data points, exemplars and their attributes to rows of the otel.metrics_… tables.

#include <bit>
#include <string>
#include <utility>

#include "decode/otap_signals.h"
#include "decode/record_id.h"
#include "wire/protobuf_writer.h"

namespace sheaf::decode {
namespace {

using wire::IpcType;
using wire::OtapPayload;

/// OTel-Arrow's numbers of metric types.
enum MetricType : uint8_t { kNone, kGauge, kSum, kHistogram, kExponentialHistogram, kSummary };

/// Where the parts of a signal's data points come from.
struct PointTables {
  Signal signal;
  MetricType metric_type;
  OtapPayload points, attributes;
  OtapPayload exemplars, exemplar_attributes;  // Unused for kSummary.
};
constexpr PointTables kPointTables[] = {
    {Signal::kGauge, kGauge, OtapPayload::kNumberPoints, OtapPayload::kNumberPointAttrs, OtapPayload::kNumberExemplars,
     OtapPayload::kNumberExemplarAttrs},
    {Signal::kSum, kSum, OtapPayload::kNumberPoints, OtapPayload::kNumberPointAttrs, OtapPayload::kNumberExemplars,
     OtapPayload::kNumberExemplarAttrs},
    {Signal::kHistogram, kHistogram, OtapPayload::kHistogramPoints, OtapPayload::kHistogramPointAttrs,
     OtapPayload::kHistogramExemplars, OtapPayload::kHistogramExemplarAttrs},
    {Signal::kExponentialHistogram, kExponentialHistogram, OtapPayload::kExponentialHistogramPoints,
     OtapPayload::kExponentialHistogramPointAttrs, OtapPayload::kExponentialHistogramExemplars,
     OtapPayload::kExponentialHistogramExemplarAttrs},
    {Signal::kSummary, kSummary, OtapPayload::kSummaryPoints, OtapPayload::kSummaryPointAttrs, {}, {}},
};

bool FitsPoints(OtapPayload points, uint8_t metric_type) {
  for (const PointTables& tables : kPointTables) {
    if (tables.points == points && tables.metric_type == metric_type) return true;
  }
  return false;
}

/// The metrics of a batch: what data points need of theirs.
class Metrics {
 public:
  Status Read(const OtapTables& tables, OtapContext* context) {
    root_ = tables.root;
    columns_ = &context->columns;
    const int64_t n = root_->rows;
    const RowOrder rows{nullptr, n};
    auto* ids = columns_->Scratch<uint32_t>(n);
    SHEAF_RETURN_NOT_OK(DecodeIds(root_->Find(OtapField::kId), n, ids));
    SHEAF_RETURN_NOT_OK(index_.Build({ids, static_cast<size_t>(n)}, &context->buffers));
    types_ = columns_->Scratch<uint8_t>(n);
    ReadNumbers<uint8_t>(root_->Find(OtapField::kMetricType), rows, types_);
    for (int64_t i = 0; i < n; ++i) {
      if (types_[i] > kSummary)
        return MakeError(ErrorKind::kInvalid, "UNIVARIATE_METRICS, row {}: metric type {}; OTel-Arrow defines 0 to 5", i,
                         types_[i]);
    }
    names_ = columns_->buffers()->NextDictionary();
    units_ = columns_->buffers()->NextDictionary();
    name_of_ = columns_->Scratch<int32_t>(n);
    unit_of_ = columns_->Scratch<int32_t>(n);
    columns_->NumberTexts(root_->Find(OtapField::kName), rows, names_, name_of_);
    columns_->NumberTexts(root_->Find(OtapField::kUnit), rows, units_, unit_of_);
    return ReadEnvelopes(tables, context);
  }

  const IdIndex& index() const { return index_; }
  const OtapTable& root() const { return *root_; }
  uint8_t type(int64_t row) const { return types_[row]; }
  ArrayDataPtr Names(const TypePtr& type, const RowOrder& metric_rows) { return Column(type, *names_, name_of_, metric_rows); }
  ArrayDataPtr Units(const TypePtr& type, const RowOrder& metric_rows) { return Column(type, *units_, unit_of_, metric_rows); }
  ArrayDataPtr Envelopes(const TypePtr& type, const RowOrder& metric_rows) {
    return Column(type, *envelopes_, envelope_of_, metric_rows);
  }

 private:
  Status ReadEnvelopes(const OtapTables& tables, OtapContext* context) {
    static const OtapTable no_attributes;
    const int64_t n = root_->rows;
    const RowOrder rows{nullptr, n};
    const OtapTable* table = tables.Get(OtapPayload::kMetricAttrs);
    OtapAttributes metadata;
    SHEAF_RETURN_NOT_OK(metadata.Read(table == nullptr ? no_attributes : *table, index_, context->limits, columns_));
    auto* temporality = columns_->Scratch<int32_t>(n);
    auto* monotonic = columns_->Scratch<uint8_t>(n);
    ReadNumbers<int32_t>(root_->Find(OtapField::kTemporality), rows, temporality);
    ReadBools(root_->Find(OtapField::kIsMonotonic), rows, monotonic);
    envelopes_ = columns_->buffers()->NextDictionary();
    envelope_of_ = columns_->Scratch<int32_t>(n);
    const OtapColumn* description = root_->Find(OtapField::kDescription);
    ChargedText charged(context->buffers.memory());
    std::string& envelope = *charged;
    for (int64_t i = 0; i < n; ++i) {
      envelope.clear();
      wire::ProtobufWriter writer(&envelope);
      const auto text = [&](uint32_t field, std::string_view value) {
        context->buffers.memory()->Reserve(&envelope, value.size() + 16);
        if (!value.empty()) writer.Bytes(field, value);
      };
      text(1, names_->value(name_of_[i]));
      text(2, description == nullptr ? std::string_view() : description->Bytes(i));
      text(3, units_->value(unit_of_[i]));
      context->buffers.memory()->Reserve(&envelope, kDataBytesMax);
      WriteData(types_[i], temporality[i], monotonic[i] != 0, &writer);
      metadata.AppendKeyValues(12, i, &envelope);
      columns_->Spend(static_cast<int64_t>(envelope.size()));
      envelope_of_[i] = envelopes_->Id(envelope);
    }
    return Status::OK();
  }

  static constexpr size_t kDataBytesMax = 32;
  /// Metric's oneof data without points.
  static void WriteData(uint8_t type, int32_t temporality, bool monotonic, wire::ProtobufWriter* writer) {
    constexpr uint32_t kFields[] = {0, 5, 7, 9, 10, 11};
    if (type == kNone) return;
    const size_t data = writer->Open(kFields[type]);
    const bool has_temporality = type == kSum || type == kHistogram || type == kExponentialHistogram;
    if (has_temporality && temporality != 0) writer->Int32(2, temporality);
    if (type == kSum && monotonic) writer->Varint(3, 1);
    writer->Close(data);
  }

  ArrayDataPtr Column(const TypePtr& type, const Dictionary& values, const int32_t* value_of, const RowOrder& metric_rows) {
    ColumnBuffer* numbers = columns_->buffers()->Next(metric_rows.size * 4, false);
    auto* out = reinterpret_cast<int32_t*>(numbers->data());
    for (int64_t i = 0; i < metric_rows.size; ++i) out[i] = value_of[metric_rows[i]];
    return values.MakeColumn(type, metric_rows.size, numbers->View(metric_rows.size * 4));
  }

  const OtapTable* root_ = nullptr;
  OtapColumns* columns_ = nullptr;
  IdIndex index_;
  uint8_t* types_ = nullptr;
  Dictionary *names_ = nullptr, *units_ = nullptr, *envelopes_ = nullptr;
  int32_t *name_of_ = nullptr, *unit_of_ = nullptr, *envelope_of_ = nullptr;
};

/// The columns `value` and `value_int` of points or exemplars: an integer is both.
struct NumberValues {
  ArrayDataPtr value, value_int;
};
NumberValues MakeNumberValues(const TypePtr& value_type, const TypePtr& int_type, const OtapTable* table, const RowOrder& order,
                              OtapColumns* columns) {
  const int64_t n = order.size;
  const auto find = [table](OtapField field) { return table == nullptr ? nullptr : table->Find(field); };
  ColumnBuffer* value_buffer = columns->buffers()->Next(n * 8, false);
  ColumnBuffer* int_buffer = columns->buffers()->Next(n * 8, false);
  auto* values = reinterpret_cast<double*>(value_buffer->data());
  auto* ints = reinterpret_cast<int64_t*>(int_buffer->data());
  auto* present = columns->Scratch<uint8_t>(n);
  auto* is_int = columns->Scratch<uint8_t>(n);
  ReadNumbers<double>(find(OtapField::kDoubleValue), order, values);
  ReadNumbers<int64_t>(find(OtapField::kIntValue), order, ints);
  ReadPresence(find(OtapField::kDoubleValue), order, present);
  ReadPresence(find(OtapField::kIntValue), order, is_int);
  for (int64_t i = 0; i < n; ++i) {
    if (is_int[i] != 0) values[i] = static_cast<double>(ints[i]);
    present[i] |= is_int[i];
  }
  NumberValues out{MakeArray(value_type, n, value_buffer->View(n * 8)), MakeArray(int_type, n, int_buffer->View(n * 8))};
  columns->SetNulls(present, out.value.get());
  columns->SetNulls(is_int, out.value_int.get());
  return out;
}

/// Which exemplars have the value of the one before.
const uint8_t* SameExemplarValues(const OtapTable& table, OtapColumns* columns) {
  const RowOrder rows{nullptr, table.rows};
  auto* is_int = columns->Scratch<uint8_t>(table.rows);
  auto* is_double = columns->Scratch<uint8_t>(table.rows);
  auto* ints = columns->Scratch<int64_t>(table.rows);
  auto* doubles = columns->Scratch<double>(table.rows);
  ReadPresence(table.Find(OtapField::kIntValue), rows, is_int);
  ReadPresence(table.Find(OtapField::kDoubleValue), rows, is_double);
  ReadNumbers<int64_t>(table.Find(OtapField::kIntValue), rows, ints);
  ReadNumbers<double>(table.Find(OtapField::kDoubleValue), rows, doubles);
  auto* same = columns->Scratch<uint8_t>(table.rows);
  int64_t last = -1;  // The last row that has a value; one without follows whatever came before.
  for (int64_t i = 0; i < table.rows; ++i) {
    same[i] = 1;
    if (is_int[i] == 0 && is_double[i] == 0) continue;
    const int64_t before = std::exchange(last, i);
    same[i] =
        before >= 0 && is_int[before] == is_int[i] && (is_int[i] != 0 ? ints[before] == ints[i] : doubles[before] == doubles[i]);
  }
  return same;
}

/// Makes the rows of one table of data points.
class Points {
 public:
  Points(const PointTables& from, const OtapTables& tables, OtapContext* context, Metrics* metrics)
      : from_(from), tables_(tables), context_(context), columns_(context->columns), metrics_(*metrics), batch_(from.signal) {}

  Status Make(std::vector<TableBatch>* batches) {
    table_ = tables_.Get(from_.points);
    if (table_ == nullptr) return Status::OK();
    SHEAF_RETURN_NOT_OK(ReadIds());
    const int64_t n = order_.size;
    if (n == 0) return Status::OK();
    SHEAF_RETURN_NOT_OK(AddPointColumns());
    SHEAF_RETURN_NOT_OK(AddValues());
    batches->push_back(batch_.Finish(n));
    return Status::OK();
  }

 private:
  const OtapColumn* Find(OtapField field) const { return table_->Find(field); }

  /// Which points are of this table, in the order of their metrics.
  Status ReadIds() {
    const int64_t n = table_->rows;
    auto* parents = columns_.Scratch<uint32_t>(n);
    SHEAF_RETURN_NOT_OK(ReadParentIds(*table_, parents));
    if (Find(OtapField::kParentId)->encoding == IdEncoding::kQuasiDelta) {
      return MakeError(ErrorKind::kInvalid, "{}: parent_id cannot be quasidelta", wire::OtapPayloadName(table_->type));
    }
    SHEAF_RETURN_NOT_OK(DecodeDeltas(*table_, parents));
    SHEAF_RETURN_NOT_OK(FindParents(*table_, metrics_.index(), parents));
    for (int64_t i = 0; i < n; ++i) {
      if (!FitsPoints(from_.points, metrics_.type(parents[i]))) [[unlikely]] {
        return MakeError(ErrorKind::kInvalid, "{}, row {}: its metric has type {}, which has other data points",
                         wire::OtapPayloadName(table_->type), i, metrics_.type(parents[i]));
      }
    }
    const int64_t metrics = metrics_.root().rows;
    auto* places = columns_.Scratch<int32_t>(metrics);
    for (int64_t i = 0; i < metrics; ++i) places[i] = metrics_.type(i) == from_.metric_type ? static_cast<int32_t>(i) : -1;
    order_ = GroupRows({parents, static_cast<size_t>(n)}, places, metrics, &context_->buffers).order;
    auto* metric_rows = columns_.Scratch<int32_t>(order_.size);
    for (int64_t i = 0; i < order_.size; ++i) metric_rows[i] = static_cast<int32_t>(parents[order_[i]]);
    metric_rows_ = {metric_rows, order_.size};

    auto* ids = columns_.Scratch<uint32_t>(n);
    const Status status = DecodeIds(Find(OtapField::kId), n, ids);
    if (!status.ok()) return WithContext(status, wire::OtapPayloadName(table_->type));
    places_ = PlacesOf(order_, n, &columns_);
    return index_.Build({ids, static_cast<size_t>(n)}, &context_->buffers);
  }

  Status AddPointColumns() {
    const TypePtr* type = &batch_.next_type();
    batch_.Add(metrics_.Names(*type, metric_rows_));
    batch_.Add(metrics_.Units(batch_.next_type(), metric_rows_));
    batch_.Add(columns_.Numbers<uint64_t>(batch_.next_type(), Find(OtapField::kTime), order_));
    batch_.Add(columns_.Numbers<uint64_t>(batch_.next_type(), Find(OtapField::kStartTime), order_));
    batch_.Add(columns_.Numbers<uint32_t>(batch_.next_type(), Find(OtapField::kFlags), order_));
    batch_.Add(context_->envelopes.Service(batch_.next_type(), metric_rows_));
    SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr attributes, MakeOtapAttributes(tables_, from_.attributes, index_, places_, order_.size,
                                                                       batch_.next_type(), context_));
    batch_.Add(std::move(attributes));
    if (from_.signal != Signal::kSummary) {
      SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr exemplars, MakeExemplars(batch_.next_type()));
      batch_.Add(std::move(exemplars));
    }
    batch_.Add(context_->envelopes.Resource(batch_.next_type(), metric_rows_));
    batch_.Add(context_->envelopes.Scope(batch_.next_type(), metric_rows_));
    batch_.Add(metrics_.Envelopes(batch_.next_type(), metric_rows_));
    batch_.Add(columns_.Nulls(batch_.next_type(), order_.size));
    return Status::OK();
  }

  Result<ArrayDataPtr> MakeExemplars(const TypePtr& type) {
    const OtapTable* table = tables_.Get(from_.exemplars);
    const int64_t n = table == nullptr ? 0 : table->rows;
    auto* parents = columns_.Scratch<uint32_t>(n);
    auto* ids = columns_.Scratch<uint32_t>(n);
    if (table != nullptr) {
      SHEAF_RETURN_NOT_OK(ReadParentIds(*table, parents));
      SHEAF_RETURN_NOT_OK(FindQuasiDeltaParents(*table, SameExemplarValues(*table, &columns_), index_, parents));
      const Status status = DecodeIds(table->Find(OtapField::kId), n, ids);
      if (!status.ok()) return WithContext(status, wire::OtapPayloadName(table->type));
    }
    const Groups groups = GroupRows({parents, static_cast<size_t>(n)}, places_, order_.size, &context_->buffers);
    IdIndex index;
    SHEAF_RETURN_NOT_OK(index.Build({ids, static_cast<size_t>(n)}, &context_->buffers));
    const int32_t* places = PlacesOf(groups.order, n, &columns_);
    const RowOrder& order = groups.order;
    SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr attributes, MakeOtapAttributes(tables_, from_.exemplar_attributes, index, places,
                                                                       order.size, FieldType(type, 5), context_));
    NumberValues numbers = MakeNumberValues(FieldType(type, 1), FieldType(type, 2), table, order, &columns_);
    const auto find = [table](OtapField field) { return table == nullptr ? nullptr : table->Find(field); };
    std::vector<ArrayDataPtr> fields = {columns_.Numbers<uint64_t>(FieldType(type, 0), find(OtapField::kTime), order),
                                        std::move(numbers.value),
                                        std::move(numbers.value_int),
                                        columns_.OptionalIds<TraceIdBytes>(FieldType(type, 3), find(OtapField::kTraceId), order),
                                        columns_.OptionalIds<SpanIdBytes>(FieldType(type, 4), find(OtapField::kSpanId), order),
                                        std::move(attributes)};
    return arrow::ArrayData::Make(type, order_.size, {nullptr, groups.offsets_buffer->View((order_.size + 1) * 4)},
                                  {MakeStruct(ItemType(type), order.size, std::move(fields))}, 0);
  }

  Status AddValues() {
    switch (from_.signal) {
      case Signal::kGauge:
      case Signal::kSum: return AddNumbers();
      case Signal::kHistogram: return AddHistogram();
      case Signal::kExponentialHistogram: return AddExponentialHistogram();
      default: return AddSummary();
    }
  }

  Status AddNumbers() {
    const TypePtr& value_type = batch_.next_type();
    NumberValues numbers = MakeNumberValues(value_type, arrow::int64(), table_, order_, &columns_);
    batch_.Add(std::move(numbers.value));
    batch_.Add(std::move(numbers.value_int));
    if (from_.signal == Signal::kGauge) return Status::OK();
    AddTemporality();
    batch_.Add(columns_.Bools(batch_.next_type(), metrics_.root().Find(OtapField::kIsMonotonic), metric_rows_));
    return Status::OK();
  }

  void AddTemporality() {
    batch_.Add(
        columns_.Enum(batch_.next_type(), TemporalityNames(), metrics_.root().Find(OtapField::kTemporality), metric_rows_));
  }

  void AddSummaryOfValues() {
    batch_.Add(columns_.Numbers<uint64_t>(batch_.next_type(), Find(OtapField::kCount), order_));
    for (const OtapField field : {OtapField::kSum, OtapField::kMin, OtapField::kMax}) {
      batch_.Add(columns_.OptionalNumbers<double>(batch_.next_type(), Find(field), order_));
    }
  }

  Status AddList(OtapField field, IpcType item) {
    SHEAF_ASSIGN_OR_RETURN(ArrayDataPtr list, columns_.NumberLists(batch_.next_type(), *table_, field, item, order_));
    batch_.Add(std::move(list));
    return Status::OK();
  }

  Status AddHistogram() {
    AddSummaryOfValues();
    SHEAF_RETURN_NOT_OK(AddList(OtapField::kBucketCounts, IpcType::kUnsigned));
    SHEAF_RETURN_NOT_OK(AddList(OtapField::kExplicitBounds, IpcType::kFloat));
    AddTemporality();
    return Status::OK();
  }

  Status AddExponentialHistogram() {
    AddSummaryOfValues();
    batch_.Add(columns_.Numbers<int32_t>(batch_.next_type(), Find(OtapField::kScale), order_));
    batch_.Add(columns_.Numbers<uint64_t>(batch_.next_type(), Find(OtapField::kZeroCount), order_));
    batch_.Add(columns_.Numbers<double>(batch_.next_type(), Find(OtapField::kZeroThreshold), order_));
    batch_.Add(columns_.Presence(batch_.next_type(), Find(OtapField::kPositive), order_));
    batch_.Add(columns_.Numbers<int32_t>(batch_.next_type(), Find(OtapField::kPositiveOffset), order_));
    SHEAF_RETURN_NOT_OK(AddList(OtapField::kPositiveCounts, IpcType::kUnsigned));
    batch_.Add(columns_.Presence(batch_.next_type(), Find(OtapField::kNegative), order_));
    batch_.Add(columns_.Numbers<int32_t>(batch_.next_type(), Find(OtapField::kNegativeOffset), order_));
    SHEAF_RETURN_NOT_OK(AddList(OtapField::kNegativeCounts, IpcType::kUnsigned));
    AddTemporality();
    return Status::OK();
  }

  Status AddSummary() {
    batch_.Add(columns_.Numbers<uint64_t>(batch_.next_type(), Find(OtapField::kCount), order_));
    batch_.Add(columns_.Numbers<double>(batch_.next_type(), Find(OtapField::kSum), order_));
    const TypePtr& type = batch_.next_type();
    const Groups groups = columns_.ListGroups(Find(OtapField::kQuantiles), order_);
    std::vector<ArrayDataPtr> fields = {
        columns_.Numbers<double>(FieldType(type, 0), Find(OtapField::kQuantile), groups.order),
        columns_.Numbers<double>(FieldType(type, 1), Find(OtapField::kQuantileValue), groups.order)};
    batch_.Add(arrow::ArrayData::Make(type, order_.size, {nullptr, groups.offsets_buffer->View((order_.size + 1) * 4)},
                                      {MakeStruct(ItemType(type), groups.order.size, std::move(fields))}, 0));
    return Status::OK();
  }

  const PointTables& from_;
  const OtapTables& tables_;
  OtapContext* const context_;
  OtapColumns& columns_;
  Metrics& metrics_;
  OtapBatch batch_;
  const OtapTable* table_ = nullptr;
  RowOrder order_, metric_rows_;     // The points' and their metrics' rows, by row of ours.
  const int32_t* places_ = nullptr;  // Of the points' rows.
  IdIndex index_;                    // Of the points' ids.
};

}  // namespace

Status MakeOtapMetrics(const OtapTables& tables, OtapContext* context, std::vector<TableBatch>* batches) {
  SHEAF_RETURN_NOT_OK(context->envelopes.Read(tables, context->limits, &context->columns));
  Metrics metrics;
  SHEAF_RETURN_NOT_OK(metrics.Read(tables, context));
  for (const PointTables& from : kPointTables) SHEAF_RETURN_NOT_OK(Points(from, tables, context, &metrics).Make(batches));
  return Status::OK();
}

}  // namespace sheaf::decode
