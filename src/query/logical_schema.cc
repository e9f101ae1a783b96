#include "query/logical_schema.h"

#include <string_view>

#include "decode/schemas.h"

namespace sheaf::query {

namespace {

struct EnvelopeColumn {
  std::string_view name;
  std::string_view physical;
  Field field;
};

constexpr EnvelopeColumn kEnvelopeColumns[] = {
    {"resource_attributes", "resource", Field::kResourceAttributes},
    {"resource_dropped_attributes_count", "resource", Field::kResourceDropped},
    {"resource_schema_url", "resource", Field::kResourceSchemaUrl},
    {"scope_name", "scope", Field::kScopeName},
    {"scope_version", "scope", Field::kScopeVersion},
    {"scope_attributes", "scope", Field::kScopeAttributes},
    {"scope_dropped_attributes_count", "scope", Field::kScopeDropped},
    {"scope_schema_url", "scope", Field::kScopeSchemaUrl},
    {"description", "metric", Field::kMetricDescription},
    {"metadata", "metric", Field::kMetricMetadata},
};

constexpr std::string_view kResourceAndScope[] = {
    "resource_attributes", "resource_dropped_attributes_count", "resource_schema_url", "scope_name",
    "scope_version", "scope_attributes", "scope_dropped_attributes_count", "scope_schema_url"};

/// Physical columns that SQL does not show: they are there to encode a row back to OTLP.
bool IsStoredOnly(std::string_view name) {
  return name == "resource" || name == "scope" || name == "metric" || name == "original" || name == "body_value" ||
         name.starts_with("has_");
}

bool HoldsAttributes(Field field) {
  return field == Field::kResourceAttributes || field == Field::kScopeAttributes || field == Field::kMetricMetadata;
}

class TableMaker {
 public:
  explicit TableMaker(const store::TableInfo& table) : table_(table) {}

  Result<LogicalTable> Telemetry() {
    for (const auto& field : table_.schema->fields()) {
      const std::string& name = field->name();
      if (IsStoredOnly(name)) continue;
      SHEAF_RETURN_NOT_OK(AddPhysical(name));
      if (name == "metric_name") SHEAF_RETURN_NOT_OK(AddEnvelope("description"));
      if (name == "unit") SHEAF_RETURN_NOT_OK(AddEnvelope("metadata"));
      if (name == "attributes") {
        for (std::string_view column : kResourceAndScope) SHEAF_RETURN_NOT_OK(AddEnvelope(column));
      }
    }
    return std::move(made_);
  }

  Result<LogicalTable> Plain() {
    for (const auto& field : table_.schema->fields()) SHEAF_RETURN_NOT_OK(AddPhysical(field->name()));
    return std::move(made_);
  }

 private:
  Status AddPhysical(const std::string& name) {
    LogicalColumn column{.name = name, .physical = table_.schema->GetFieldIndex(name)};
    if (column.physical < 0) {
      return MakeError(ErrorKind::kInternal, "table {}.{} has two columns named {}", table_.schema_name, table_.name, name);
    }
    column.holds_attributes = IsAttributes(*table_.schema->field(column.physical)->type());
    Add(std::move(column));
    return Status::OK();
  }

  Status AddEnvelope(std::string_view name) {
    for (const EnvelopeColumn& envelope : kEnvelopeColumns) {
      if (envelope.name != name) continue;
      LogicalColumn column{.name = std::string(name), .field = envelope.field};
      column.physical = table_.schema->GetFieldIndex(std::string(envelope.physical));
      if (column.physical < 0) {
        return MakeError(ErrorKind::kInternal, "table {}.{} has no column {}", table_.schema_name, table_.name, envelope.physical);
      }
      column.holds_attributes = HoldsAttributes(envelope.field);
      Add(std::move(column));
    }
    return Status::OK();
  }

  void Add(LogicalColumn column) {
    if (column.holds_attributes) {
      for (auto [form, suffix] : {std::pair{Form::kJson, "_json"}, std::pair{Form::kTypes, "_types"}}) {
        LogicalColumn hidden = column;
        hidden.name += suffix;
        hidden.form = form;
        hidden.holds_attributes = false;
        made_.hidden.push_back(std::move(hidden));
      }
    }
    made_.columns.push_back(std::move(column));
  }

  const store::TableInfo& table_;
  LogicalTable made_;
};

}  // namespace

bool IsAttributes(const arrow::DataType& type) {
  // A table of anyone's may have columns of these names, so the types count too.
  return type.id() == arrow::Type::LIST && (&type == decode::AttributesType().get() || type.Equals(*decode::AttributesType()));
}

bool IsTelemetry(const store::TableInfo& table) {
  if (table.schema_name != "otel") return false;
  for (int i = 0; i < decode::kSignals; ++i) {
    if (table.name == decode::SignalTable(static_cast<decode::Signal>(i))) return true;
  }
  return false;
}

Result<LogicalTable> MakeLogicalTable(const store::TableInfo& table) {
  TableMaker maker(table);
  return IsTelemetry(table) ? maker.Telemetry() : maker.Plain();
}

}  // namespace sheaf::query
