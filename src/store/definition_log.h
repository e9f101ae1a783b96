/// What a log entry says of a change of tables: so that the log alone brings a snapshot forward, definitions included.
///
/// The manifest decides what is: recovery takes definitions from there, and reads these entries for their numbers only. They
/// are for those who have the log and an older manifest: a restore. Byte layout: docs/formats/log_payload.md.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <arrow/buffer.h>

#include "core/ids.h"
#include "core/status.h"
#include "parts/manifest.h"

namespace sheaf::store {

/// Type of a log entry that changes tables.
inline constexpr uint8_t kDefinitionEntry = 2;

/// One change: a table that goes, one that comes or has another definition, or both in one step.
struct DefinitionStep {
  uint64_t number = 0;                      // Of the database's changes, from 1.
  TableId dropped;                          // 0: none.
  std::optional<parts::TableRecord> table;
};

Result<std::shared_ptr<arrow::Buffer>> EncodeDefinition(const DefinitionStep& step);
/// Errors: Corruption, Unsupported (a newer version).
Result<DefinitionStep> DecodeDefinition(const arrow::Buffer& payload);

}  // namespace sheaf::store
