#include "store/manifest_extra.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace sheaf::store {
namespace {

using nlohmann::json;

bool IsNumber(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// {"<table id>": lsn}
bool IsLsnByTable(const json& value) {
  if (!value.is_object()) return false;
  return std::all_of(value.items().begin(), value.items().end(),
                     [](const auto& entry) { return IsNumber(entry.key()) && entry.value().is_number_unsigned(); });
}

bool IsListOfIdFiles(const json& value) {
  constexpr std::string_view kPrefix = "ids-";
  if (!value.is_array()) return false;
  return std::all_of(value.begin(), value.end(), [&](const json& name) {
    if (!name.is_string()) return false;
    const std::string_view text = name.get_ref<const std::string&>();
    return text.starts_with(kPrefix) && IsNumber(text.substr(kPrefix.size()));
  });
}

bool IsListOfChanges(const json& value) {
  if (!value.is_array()) return false;
  return std::all_of(value.begin(), value.end(), [](const json& change) {
    return change.is_object() && change.value("number", json()).is_number_unsigned() &&
           change.value("table", json()).is_number_unsigned() && change.value("dropped", json()).is_number_unsigned();
  });
}

/// {"<part id>": "why"}
bool IsReasonByPart(const json& value) {
  if (!value.is_object()) return false;
  return std::all_of(value.items().begin(), value.items().end(),
                     [](const auto& entry) { return IsNumber(entry.key()) && entry.value().is_string(); });
}

}  // namespace

Result<json> ReadExtra(const parts::ManifestState& state) {
  if (state.extra_json.empty()) return json::object();
  json extra = json::parse(state.extra_json, nullptr, /*allow_exceptions=*/false);
  if (!extra.is_object()) return MakeError(ErrorKind::kCorruption, "the manifest's extra settings are not a JSON object");
  const auto wrong = [&](const char* key, auto&& is_right) {
    const auto found = extra.find(key);
    return found != extra.end() && !is_right(*found);
  };
  const char* bad = nullptr;
  for (const char* key : {"sealed", "dropped"}) bad = wrong(key, IsLsnByTable) ? key : bad;
  if (wrong("batch_ids", IsListOfIdFiles)) bad = "batch_ids";
  if (wrong("damaged", IsReasonByPart)) bad = "damaged";
  if (wrong("unlogged", IsListOfChanges)) bad = "unlogged";
  if (wrong("retention_clock_ns", [](const json& value) { return value.is_number_integer(); })) bad = "retention_clock_ns";
  if (wrong("definitions", [](const json& value) { return value.is_number_unsigned(); })) bad = "definitions";
  if (bad != nullptr) return MakeError(ErrorKind::kCorruption, "the manifest's extra setting '{}' makes no sense", bad);
  return extra;
}

}  // namespace sheaf::store
