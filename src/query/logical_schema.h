/// From physical to logical columns: what SQL shows of a table whose stored schema is decode/schemas.h.
///
/// The telemetry tables (otel.traces and the like) show the columns of contract.md: resource, scope and metric
/// envelopes are taken apart, `original`, `body_value` and the envelopes themselves stay hidden. Other
/// tables show their physical columns. Besides them a table has hidden columns: they can be named in a
/// statement but are left out of `*`.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <arrow/type.h>

#include "core/status.h"
#include "store/database.h"

namespace sheaf::query {

/// Where a logical column's value comes from.
enum class Field : uint8_t {
  kWhole,  // The physical column as it is.
  kResourceAttributes, kResourceDropped, kResourceSchemaUrl,
  kScopeName, kScopeVersion, kScopeAttributes, kScopeDropped, kScopeSchemaUrl,
  kMetricDescription, kMetricMetadata,
};

/// How attributes are shown. kPlain also stands for every column that holds no attributes.
enum class Form : uint8_t {
  kPlain,    // MAP(VARCHAR, VARCHAR), values as text.
  kJson,     // JSON text that keeps the values' types.
  kTypes,    // MAP(VARCHAR, VARCHAR) of the values' type names.
  kExtract,  // The text of one key's value, or NULL.
};

struct LogicalColumn {
  std::string name;
  int physical = -1;          // Position in the physical schema.
  Field field = Field::kWhole;
  Form form = Form::kPlain;
  std::string key;            // Of kExtract.

  /// Whether the column is a map of attributes, so that column['key'] can be read by itself.
  bool holds_attributes = false;
};

/// Whether the column is one key of a physical list of attributes, which parts may keep as a column of its own (columns/attribute_keys.h).
inline bool IsOwnAttribute(const LogicalColumn& column) { return column.form == Form::kExtract && column.field == Field::kWhole; }

struct LogicalTable {
  std::vector<LogicalColumn> columns;  // In the order of SELECT *.
  std::vector<LogicalColumn> hidden;   // x_json and x_types for each attributes column x.
};

/// Whether the table is one of those that OTLP fills, with columns that only decode makes.
bool IsTelemetry(const store::TableInfo& table);

/// Error: Internal (a telemetry table lacks a column that decode/schemas.h promises).
Result<LogicalTable> MakeLogicalTable(const store::TableInfo& table);

/// Whether `type` is an attributes list of decode/schemas.h.
bool IsAttributes(const arrow::DataType& type);

}  // namespace sheaf::query
