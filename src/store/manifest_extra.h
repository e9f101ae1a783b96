/// What the manifest's `extra_json` holds for recovery (docs/formats/log_payload.md), checked before anybody relies on it.

#pragma once

#include <nlohmann/json.hpp>

#include "core/status.h"
#include "parts/manifest.h"

namespace sheaf::store {

/// The object in `state.extra_json`, empty where there is none. What is there has the form that the format says, and files have names
/// that lie in their folder; anything may be missing. Error: Corruption.
Result<nlohmann::json> ReadExtra(const parts::ManifestState& state);

}  // namespace sheaf::store
