#include "property/random_otap.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include <arrow/api.h>

#include "property/random_cbor.h"
#include "wire/protobuf_writer.h"

namespace sheaf::property {
namespace {

namespace otlp = opentelemetry::proto;
using wire::OtapPayload;
using Cell = std::optional<std::string>;

template <typename T>
std::string Raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A table under way, by rows.
class Table {
 public:
  Cell& At(const std::string& path, const std::shared_ptr<arrow::DataType>& type, bool null_is_default = true,
           bool may_be_dictionary = true) {
    auto found = std::find_if(columns_.begin(), columns_.end(), [&](const OtapCells& c) { return c.path == path; });
    if (found == columns_.end()) {
      columns_.push_back(
          {.path = path, .type = type, .null_is_default = null_is_default, .may_be_dictionary = may_be_dictionary});
      found = columns_.end() - 1;
    }
    found->cells.resize(rows_);
    return found->cells.back();
  }
  void AddRow() { ++rows_; }
  size_t rows() const { return rows_; }
  OtapCells* Find(const std::string& path) {
    const auto found = std::find_if(columns_.begin(), columns_.end(), [&](const OtapCells& c) { return c.path == path; });
    return found == columns_.end() ? nullptr : &*found;
  }
  std::vector<OtapCells>& columns() {
    for (OtapCells& column : columns_) column.cells.resize(rows_);
    return columns_;
  }
  /// Reorders the rows.
  void Permute(const std::vector<size_t>& order) {
    for (OtapCells& column : columns()) {
      std::vector<Cell> cells;
      for (const size_t row : order) cells.push_back(column.cells[row]);
      column.cells = std::move(cells);
    }
  }

 private:
  std::vector<OtapCells> columns_;
  size_t rows_ = 0;
};

uint32_t IdOf(const Cell& cell) {
  uint32_t id = 0;
  std::memcpy(&id, cell->data(), cell->size());
  return id;
}

/// Builds the tables of one batch.
class Tables {
 public:
  explicit Tables(Random* random) : random_(random) {}

  Table& operator[](OtapPayload type) { return tables_[type]; }

  void Text(Table* table, const std::string& path, const std::string& text) {
    table->At(path, arrow::utf8()) = Replaced(text, kBadText, kBadBytes);
  }
  template <typename T>
  void Number(Table* table, const std::string& path, const std::shared_ptr<arrow::DataType>& type, T value,
              bool null_is_default = true) {
    table->At(path, type, null_is_default) = Raw(value);
  }
  void Id(Table* table, const std::string& path, const std::string& id, int32_t width) {
    if (static_cast<int32_t>(id.size()) == width) table->At(path, arrow::fixed_size_binary(width)) = id;
  }
  /// Ids stand as such until Encode(); `width` in bytes.
  void Key(Table* table, const std::string& path, uint32_t id, int width) {
    table->At(path, width == 2 ? arrow::uint16() : arrow::uint32(), false, path == "parent_id" && width == 4) =
        width == 2 ? Raw(static_cast<uint16_t>(id)) : Raw(id);
  }

  template <typename KeyValues>
  void Attributes(OtapPayload type, uint32_t parent, int width, const KeyValues& attributes) {
    Table& table = tables_[type];
    for (const auto& attribute : attributes) {
      table.AddRow();
      Key(&table, "parent_id", parent, width);
      Text(&table, "key", attribute.key());
      Value(&table, "", attribute.value());
    }
  }

  /// The columns of an AnyValue, each behind `prefix`.
  void Value(Table* table, const std::string& prefix, const otlp::common::v1::AnyValue& value) {
    const auto type = [&](uint8_t number) { Number(table, prefix + "type", arrow::uint8(), number); };
    switch (value.value_case()) {
      case otlp::common::v1::AnyValue::kStringValue:
        type(1);
        Text(table, prefix + "str", value.string_value());
        break;
      case otlp::common::v1::AnyValue::kIntValue:
        type(2);
        Number(table, prefix + "int", arrow::int64(), value.int_value());
        break;
      case otlp::common::v1::AnyValue::kDoubleValue:
        type(3);
        Number(table, prefix + "double", arrow::float64(), value.double_value());
        break;
      case otlp::common::v1::AnyValue::kBoolValue:
        type(4);
        table->At(prefix + "bool", arrow::boolean(), true, false) = Raw(static_cast<uint8_t>(value.bool_value()));
        break;
      case otlp::common::v1::AnyValue::kKvlistValue:
        type(5);
        Ser(table, prefix, value);
        break;
      case otlp::common::v1::AnyValue::kArrayValue:
        type(6);
        Ser(table, prefix, value);
        break;
      case otlp::common::v1::AnyValue::kBytesValue:
        type(7);
        table->At(prefix + "bytes", arrow::binary()) = value.bytes_value();
        break;
      default: type(0);
    }
  }

  template <typename ResourcePart, typename ScopePart>
  void Envelope(Table* table, const ResourcePart& resource, const ScopePart& scope, uint32_t resource_id, uint32_t scope_id) {
    Key(table, "resource.id", resource_id, 2);
    Text(table, "resource.schema_url", resource.schema_url());
    Number(table, "resource.dropped_attributes_count", arrow::uint32(), resource.resource().dropped_attributes_count());
    Key(table, "scope.id", scope_id, 2);
    Text(table, "scope.name", scope.scope().name());
    Text(table, "scope.version", scope.scope().version());
    Number(table, "scope.dropped_attributes_count", arrow::uint32(), scope.scope().dropped_attributes_count());
    Text(table, "schema_url", scope.schema_url());
  }

  /// Orders rows and encodes ids in one of the ways that each table allows.
  std::map<OtapPayload, std::vector<OtapCells>> Encode() {
    std::map<OtapPayload, std::vector<OtapCells>> out;
    for (auto& [type, table] : tables_) {
      if (table.rows() == 0) continue;
      table.columns();
      EncodeParents(type, &table);
      for (const char* path : {"id", "resource.id", "scope.id"}) EncodeIds(table.Find(path));
      out[type] = table.columns();
    }
    return out;
  }

 private:
  void Ser(Table* table, const std::string& prefix, const otlp::common::v1::AnyValue& value) {
    std::string cbor;
    AppendCbor(value, random_, &cbor);
    table->At(prefix + "ser", arrow::binary()) = cbor;
  }
  /// What must be equal for a parent id to be a difference; nothing where it never is.
  static Cell EqualityOf(OtapPayload type, Table* table, size_t row) {
    const auto cell = [&](const char* path) {
      OtapCells* column = table->Find(path);
      return column == nullptr ? std::string() : column->cells[row].value_or("");
    };
    if (type == OtapPayload::kSpanEvents) return cell("name");
    if (type == OtapPayload::kSpanLinks) return cell("trace_id").empty() ? std::string(16, '\0') : cell("trace_id");
    if (table->Find("key") == nullptr) return std::nullopt;
    const std::string value_type = cell("type");
    static const char* const kValues[] = {nullptr, "str", "int", "double", "bool", nullptr, nullptr, "bytes"};
    const char* const value = kValues[static_cast<size_t>(value_type[0])];
    if (value == nullptr) return std::nullopt;
    std::string raw = cell(value);
    if (value_type[0] == 3) {
      double number;
      std::memcpy(&number, raw.data(), sizeof(number));
      if (number != number) return std::nullopt;  // NaN equals nothing.
      if (number == 0) raw = std::string(8, '\0');
    }
    return value_type + cell("key") + '\0' + raw;
  }

  void EncodeParents(OtapPayload type, Table* table) {
    OtapCells* parents = table->Find("parent_id");
    if (parents == nullptr) return;
    const bool points = type >= OtapPayload::kNumberPoints && type <= OtapPayload::kExponentialHistogramPoints;
    const bool exemplars = type >= OtapPayload::kNumberExemplars && type <= OtapPayload::kExponentialHistogramExemplars;
    std::vector<Cell> equal(table->rows());
    for (size_t i = 0; i < equal.size(); ++i) equal[i] = EqualityOf(type, table, i);
    std::vector<size_t> order(table->rows());
    std::iota(order.begin(), order.end(), size_t{0});
    uint64_t way = random_->Below(3);
    if (exemplars && way == 2) way = 1;
    if (way == 0) {  // Plain, in any order.
      for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_->Below(i)]);
      table->Permute(order);
      parents->encoding = "plain";
      return;
    }
    const bool quasi = way == 2 && !points;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const auto key = [&](size_t row) {
        return std::pair(quasi ? equal[row].value_or("") : std::string(), IdOf(parents->cells[row]));
      };
      return key(a) < key(b);
    });
    table->Permute(order);
    if (!points && !quasi) parents->encoding = "delta";
    if (quasi && random_->OneIn(2)) parents->encoding = "quasidelta";
    std::vector<uint32_t> ids;
    for (const Cell& cell : parents->cells) ids.push_back(IdOf(cell));
    for (size_t i = ids.size(); i-- > 1;) {
      const bool same = !quasi || (equal[order[i]].has_value() && equal[order[i]] == equal[order[i - 1]]);
      if (same) parents->cells[i] = Raw(ids[i] - ids[i - 1]).substr(0, parents->cells[i]->size());
    }
  }

  void EncodeIds(OtapCells* column) {
    if (column == nullptr) return;
    std::vector<uint32_t> ids;
    for (const Cell& cell : column->cells) {
      if (cell) ids.push_back(IdOf(cell));
    }
    if (!std::is_sorted(ids.begin(), ids.end()) || random_->OneIn(3)) {
      column->encoding = "plain";
      return;
    }
    if (random_->OneIn(2)) column->encoding = "delta";
    uint32_t before = 0;
    for (Cell& cell : column->cells) {
      if (!cell) continue;
      const uint32_t id = IdOf(cell);
      cell = Raw(id - before).substr(0, cell->size());
      before = id;
    }
  }

  Random* const random_;
  std::map<OtapPayload, Table> tables_;
};

}  // namespace

RandomOtapSender::RandomOtapSender(Random* random) : random_(random) {}
RandomOtapSender::~RandomOtapSender() = default;

std::string RandomOtapSender::Serialize(const std::map<OtapPayload, std::vector<OtapCells>>& tables) {
  std::string message;
  wire::ProtobufWriter writer(&message);
  writer.Varint(1, static_cast<uint64_t>(batches_++));
  std::vector<OtapPayload> types;
  for (const auto& [type, columns] : tables) types.push_back(type);
  for (size_t i = types.size(); i > 1; --i) std::swap(types[i - 1], types[random_->Below(i)]);
  for (const OtapPayload type : types) {
    auto& stream = streams_[type];
    if (stream == nullptr) stream = std::make_unique<OtapPayloadStream>(random_);
    const std::string record = stream->Write(tables.at(type));
    const size_t payload = writer.Open(2);
    writer.Bytes(1, stream->schema_id());
    writer.Varint(2, static_cast<uint64_t>(type));
    writer.Bytes(3, record);
    writer.Close(payload);
  }
  return message;
}

std::string RandomOtapSender::Traces(const otlp::collector::trace::v1::ExportTraceServiceRequest& request) {
  Tables tables(random_);
  Table& spans = tables[OtapPayload::kSpans];
  Table& events = tables[OtapPayload::kSpanEvents];
  Table& links = tables[OtapPayload::kSpanLinks];
  uint32_t span_id = static_cast<uint32_t>(random_->Below(3)), event_id = span_id, link_id = span_id, resource_id = 0,
           scope_id = 0;
  for (const auto& resource : request.resource_spans()) {
    bool used = false;
    for (const auto& scope : resource.scope_spans()) {
      for (const auto& span : scope.spans()) {
        used = true;
        spans.AddRow();
        tables.Envelope(&spans, resource, scope, resource_id, scope_id);
        const bool has_children = span.attributes_size() + span.events_size() + span.links_size() > 0;
        if (has_children || random_->OneIn(2)) tables.Key(&spans, "id", span_id, 2);
        tables.Id(&spans, "trace_id", span.trace_id(), 16);
        tables.Id(&spans, "span_id", span.span_id(), 8);
        tables.Id(&spans, "parent_span_id", span.parent_span_id(), 8);
        tables.Text(&spans, "trace_state", span.trace_state());
        tables.Number(&spans, "flags", arrow::uint32(), span.flags());
        tables.Text(&spans, "name", span.name());
        tables.Number(&spans, "kind", arrow::int32(), static_cast<int32_t>(span.kind()));
        tables.Number(&spans, "start_time_unix_nano", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"),
                      span.start_time_unix_nano());
        tables.Number(&spans, "duration_time_unix_nano", arrow::duration(arrow::TimeUnit::NANO),
                      span.end_time_unix_nano() - span.start_time_unix_nano());
        tables.Number(&spans, "dropped_attributes_count", arrow::uint32(), span.dropped_attributes_count());
        tables.Number(&spans, "dropped_events_count", arrow::uint32(), span.dropped_events_count());
        tables.Number(&spans, "dropped_links_count", arrow::uint32(), span.dropped_links_count());
        tables.Number(&spans, "status.code", arrow::int32(), static_cast<int32_t>(span.status().code()));
        tables.Text(&spans, "status.status_message", span.status().message());
        tables.Attributes(OtapPayload::kSpanAttrs, span_id, 2, span.attributes());
        for (const auto& event : span.events()) {
          events.AddRow();
          if (event.attributes_size() > 0 || random_->OneIn(2)) tables.Key(&events, "id", event_id, 4);
          tables.Key(&events, "parent_id", span_id, 2);
          tables.Number(&events, "time_unix_nano", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), event.time_unix_nano());
          tables.Text(&events, "name", event.name());
          tables.Number(&events, "dropped_attributes_count", arrow::uint32(), event.dropped_attributes_count());
          tables.Attributes(OtapPayload::kSpanEventAttrs, event_id++, 4, event.attributes());
        }
        for (const auto& link : span.links()) {
          links.AddRow();
          if (link.attributes_size() > 0 || random_->OneIn(2)) tables.Key(&links, "id", link_id, 4);
          tables.Key(&links, "parent_id", span_id, 2);
          tables.Id(&links, "trace_id", link.trace_id(), 16);
          tables.Id(&links, "span_id", link.span_id(), 8);
          tables.Text(&links, "trace_state", link.trace_state());
          tables.Number(&links, "flags", arrow::uint32(), link.flags());
          tables.Number(&links, "dropped_attributes_count", arrow::uint32(), link.dropped_attributes_count());
          tables.Attributes(OtapPayload::kSpanLinkAttrs, link_id++, 4, link.attributes());
        }
        ++span_id;
      }
      if (scope.spans_size() > 0) tables.Attributes(OtapPayload::kScopeAttrs, scope_id++, 2, scope.scope().attributes());
    }
    if (used) tables.Attributes(OtapPayload::kResourceAttrs, resource_id++, 2, resource.resource().attributes());
  }
  return Serialize(tables.Encode());
}

std::string RandomOtapSender::Logs(const otlp::collector::logs::v1::ExportLogsServiceRequest& request) {
  Tables tables(random_);
  Table& logs = tables[OtapPayload::kLogs];
  uint32_t log_id = static_cast<uint32_t>(random_->Below(3)), resource_id = 0, scope_id = 0;
  const auto time = arrow::timestamp(arrow::TimeUnit::NANO, "UTC");
  for (const auto& resource : request.resource_logs()) {
    bool used = false;
    for (const auto& scope : resource.scope_logs()) {
      for (const auto& log : scope.log_records()) {
        used = true;
        logs.AddRow();
        tables.Envelope(&logs, resource, scope, resource_id, scope_id);
        if (log.attributes_size() > 0 || random_->OneIn(2)) tables.Key(&logs, "id", log_id, 2);
        tables.Number(&logs, "time_unix_nano", time, log.time_unix_nano());
        tables.Number(&logs, "observed_time_unix_nano", time, log.observed_time_unix_nano());
        tables.Id(&logs, "trace_id", log.trace_id(), 16);
        tables.Id(&logs, "span_id", log.span_id(), 8);
        tables.Number(&logs, "severity_number", arrow::int32(), static_cast<int32_t>(log.severity_number()));
        tables.Text(&logs, "severity_text", log.severity_text());
        tables.Text(&logs, "event_name", log.event_name());
        if (log.has_body()) tables.Value(&logs, "body.", log.body());
        tables.Number(&logs, "dropped_attributes_count", arrow::uint32(), log.dropped_attributes_count());
        tables.Number(&logs, "flags", arrow::uint32(), log.flags());
        tables.Attributes(OtapPayload::kLogAttrs, log_id++, 2, log.attributes());
      }
      if (scope.log_records_size() > 0) tables.Attributes(OtapPayload::kScopeAttrs, scope_id++, 2, scope.scope().attributes());
    }
    if (used) tables.Attributes(OtapPayload::kResourceAttrs, resource_id++, 2, resource.resource().attributes());
  }
  return Serialize(tables.Encode());
}

namespace {

/// Data points of one table, with what belongs to them.
class PointWriter {
 public:
  PointWriter(Tables* tables, Random* random, OtapPayload points, OtapPayload attributes, OtapPayload exemplars,
              OtapPayload exemplar_attributes)
      : tables_(*tables),
        random_(random),
        points_(points),
        attributes_(attributes),
        exemplars_(exemplars),
        exemplar_attributes_(exemplar_attributes) {}

  template <typename Point>
  Table* Begin(const Point& point, uint32_t metric_id) {
    Table* table = &tables_[points_];
    table->AddRow();
    tables_.Key(table, "id", ++id_, 4);
    tables_.Key(table, "parent_id", metric_id, 2);
    tables_.Number(table, "time_unix_nano", time_, point.time_unix_nano());
    tables_.Number(table, "start_time_unix_nano", time_, point.start_time_unix_nano());
    tables_.Number(table, "flags", arrow::uint32(), point.flags());
    tables_.Attributes(attributes_, id_, 4, point.attributes());
    return table;
  }
  template <typename Exemplars>
  void AddExemplars(const Exemplars& exemplars) {
    Table* table = &tables_[exemplars_];
    for (const auto& exemplar : exemplars) {
      table->AddRow();
      tables_.Key(table, "id", ++exemplar_id_, 4);
      tables_.Key(table, "parent_id", id_, 4);
      tables_.Number(table, "time_unix_nano", time_, exemplar.time_unix_nano());
      if (exemplar.has_as_int()) tables_.Number(table, "int_value", arrow::int64(), exemplar.as_int(), false);
      if (exemplar.has_as_double()) tables_.Number(table, "double_value", arrow::float64(), exemplar.as_double(), false);
      tables_.Id(table, "trace_id", exemplar.trace_id(), 16);
      tables_.Id(table, "span_id", exemplar.span_id(), 8);
      tables_.Attributes(exemplar_attributes_, exemplar_id_, 4, exemplar.filtered_attributes());
    }
  }
  template <typename Point>
  void AddBounds(Table* table, const Point& point) {
    tables_.Number(table, "count", arrow::uint64(), point.count());
    if (point.has_sum()) tables_.Number(table, "sum", arrow::float64(), point.sum(), false);
    if (point.has_min()) tables_.Number(table, "min", arrow::float64(), point.min(), false);
    if (point.has_max()) tables_.Number(table, "max", arrow::float64(), point.max(), false);
    AddExemplars(point.exemplars());
  }
  template <typename Numbers>
  static void List(Table* table, const std::string& path, const std::shared_ptr<arrow::DataType>& item, const Numbers& numbers) {
    Cell& cell = table->At(path, arrow::list(item), true, false);
    cell = "";
    for (const auto number : numbers) *cell += Raw(number);
  }

 private:
  Tables& tables_;
  Random* const random_;
  const OtapPayload points_, attributes_, exemplars_, exemplar_attributes_;
  const std::shared_ptr<arrow::DataType> time_ = arrow::timestamp(arrow::TimeUnit::NANO, "UTC");
  uint32_t id_ = 0, exemplar_id_ = 0;
};

}  // namespace

std::string RandomOtapSender::Metrics(const otlp::collector::metrics::v1::ExportMetricsServiceRequest& request) {
  using Metric = otlp::metrics::v1::Metric;
  Tables tables(random_);
  Table& metrics = tables[OtapPayload::kMetrics];
  PointWriter numbers(&tables, random_, OtapPayload::kNumberPoints, OtapPayload::kNumberPointAttrs, OtapPayload::kNumberExemplars,
                      OtapPayload::kNumberExemplarAttrs);
  PointWriter histograms(&tables, random_, OtapPayload::kHistogramPoints, OtapPayload::kHistogramPointAttrs,
                         OtapPayload::kHistogramExemplars, OtapPayload::kHistogramExemplarAttrs);
  PointWriter exponentials(&tables, random_, OtapPayload::kExponentialHistogramPoints,
                           OtapPayload::kExponentialHistogramPointAttrs, OtapPayload::kExponentialHistogramExemplars,
                           OtapPayload::kExponentialHistogramExemplarAttrs);
  PointWriter summaries(&tables, random_, OtapPayload::kSummaryPoints, OtapPayload::kSummaryPointAttrs, {}, {});
  uint32_t metric_id = static_cast<uint32_t>(random_->Below(3)), resource_id = 0, scope_id = 0;

  const auto add_numbers = [&](const auto& points) {
    for (const auto& point : points) {
      Table* table = numbers.Begin(point, metric_id);
      if (point.has_as_int()) tables.Number(table, "int_value", arrow::int64(), point.as_int(), false);
      if (point.has_as_double()) tables.Number(table, "double_value", arrow::float64(), point.as_double(), false);
      numbers.AddExemplars(point.exemplars());
    }
  };
  const auto add_data = [&](const Metric& metric) {
    int type = 0, temporality = 0;
    switch (metric.data_case()) {
      case Metric::kGauge:
        type = 1;
        add_numbers(metric.gauge().data_points());
        break;
      case Metric::kSum:
        type = 2;
        temporality = metric.sum().aggregation_temporality();
        metrics.At("is_monotonic", arrow::boolean(), true, false) = Raw(static_cast<uint8_t>(metric.sum().is_monotonic()));
        add_numbers(metric.sum().data_points());
        break;
      case Metric::kHistogram:
        type = 3;
        temporality = metric.histogram().aggregation_temporality();
        for (const auto& point : metric.histogram().data_points()) {
          Table* table = histograms.Begin(point, metric_id);
          histograms.AddBounds(table, point);
          PointWriter::List(table, "bucket_counts", arrow::uint64(), point.bucket_counts());
          PointWriter::List(table, "explicit_bounds", arrow::float64(), point.explicit_bounds());
        }
        break;
      case Metric::kExponentialHistogram:
        type = 4;
        temporality = metric.exponential_histogram().aggregation_temporality();
        for (const auto& point : metric.exponential_histogram().data_points()) {
          Table* table = exponentials.Begin(point, metric_id);
          exponentials.AddBounds(table, point);
          tables.Number(table, "scale", arrow::int32(), point.scale());
          tables.Number(table, "zero_count", arrow::uint64(), point.zero_count());
          tables.Number(table, "zero_threshold", arrow::float64(), point.zero_threshold());
          tables.Number(table, "positive.offset", arrow::int32(), point.positive().offset());
          PointWriter::List(table, "positive.bucket_counts", arrow::uint64(), point.positive().bucket_counts());
          tables.Number(table, "negative.offset", arrow::int32(), point.negative().offset());
          PointWriter::List(table, "negative.bucket_counts", arrow::uint64(), point.negative().bucket_counts());
        }
        break;
      case Metric::kSummary:
        type = 5;
        for (const auto& point : metric.summary().data_points()) {
          Table* table = summaries.Begin(point, metric_id);
          tables.Number(table, "count", arrow::uint64(), point.count());
          tables.Number(table, "sum", arrow::float64(), point.sum());
          const auto pair = arrow::struct_({arrow::field("quantile", arrow::float64()), arrow::field("value", arrow::float64())});
          Cell& cell = table->At("quantile", arrow::list(pair), true, false);
          cell = "";
          for (const auto& one : point.quantile_values()) *cell += Raw(one.quantile()) + Raw(one.value());
        }
        break;
      default: break;
    }
    tables.Number(&metrics, "metric_type", arrow::uint8(), static_cast<uint8_t>(type));
    tables.Number(&metrics, "aggregation_temporality", arrow::int32(), temporality);
  };

  for (const auto& resource : request.resource_metrics()) {
    bool used = false;
    for (const auto& scope : resource.scope_metrics()) {
      for (const Metric& metric : scope.metrics()) {
        used = true;
        metrics.AddRow();
        tables.Envelope(&metrics, resource, scope, resource_id, scope_id);
        tables.Key(&metrics, "id", metric_id, 2);
        tables.Text(&metrics, "name", metric.name());
        tables.Text(&metrics, "description", metric.description());
        tables.Text(&metrics, "unit", metric.unit());
        add_data(metric);
        tables.Attributes(OtapPayload::kMetricAttrs, metric_id, 2, metric.metadata());
        ++metric_id;
      }
      if (scope.metrics_size() > 0) tables.Attributes(OtapPayload::kScopeAttrs, scope_id++, 2, scope.scope().attributes());
    }
    if (used) tables.Attributes(OtapPayload::kResourceAttrs, resource_id++, 2, resource.resource().attributes());
  }
  return Serialize(tables.Encode());
}

}  // namespace sheaf::property
