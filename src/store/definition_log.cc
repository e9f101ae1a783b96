#include "store/definition_log.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace sheaf::store {

using nlohmann::json;

/// A manifest of one table or none: its format has a checksum, a version and everything that a table is.
Result<std::shared_ptr<arrow::Buffer>> EncodeDefinition(const DefinitionStep& step) {
  parts::ManifestState state;
  state.number = step.number;
  state.database_uuid = std::string(16, '\0');
  if (step.table) state.tables.push_back(*step.table);
  json extra = json::object();
  extra["dropped"] = step.dropped.value;
  state.extra_json = extra.dump();
  return arrow::Buffer::FromString(parts::EncodeManifest(state));
}

Result<DefinitionStep> DecodeDefinition(const arrow::Buffer& payload) {
  auto decoded = parts::DecodeManifest(std::string_view(payload));
  if (!decoded.ok()) return WithContext(decoded.status(), "a change of tables");
  const json extra = json::parse(decoded->extra_json, nullptr, /*allow_exceptions=*/false);
  const json dropped = extra.is_object() ? extra.value("dropped", json()) : json();
  if (decoded->tables.size() > 1 || !decoded->parts.empty() || !dropped.is_number_unsigned()) {
    return MakeError(ErrorKind::kCorruption, "a change of tables names {} tables, {} parts, and drops {}", decoded->tables.size(),
                     decoded->parts.size(), dropped.dump());
  }
  DefinitionStep step;
  step.number = decoded->number;
  step.dropped = TableId(dropped.get<decltype(step.dropped.value)>());
  if (!decoded->tables.empty()) step.table = std::move(decoded->tables.front());
  return step;
}

}  // namespace sheaf::store
