/// The manifest names the current set of parts, the tables, and how far the log is covered. It is an
/// immutable file MANIFEST-<n>; CURRENT names the newest and is switched atomically. The last three are
/// kept: when the newest is damaged, the one before plus the log is lossless, because the log is only
/// truncated up to what two manifests cover. Format: docs/formats/manifest.md.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "io/file_system.h"
#include "parts/part.h"

namespace sheaf::parts {

/// A table as the manifest remembers it.
struct TableRecord {
  TableId id;
  std::string schema_name, name;
  uint32_t schema_version = 1;
  std::string arrow_schema;          // IPC bytes of the physical schema.
  std::string settings_json;         // Retention, sort order, durability…; store's affair.
};

struct ManifestState {
  uint64_t number = 0;               // <n> of the file.
  std::string database_uuid;         // 16 bytes, made at creation.
  Epoch epoch{1};
  Lsn covered;                       // Every entry with LSN <= covered is in parts (or was expired).
  Lsn durable;                       // Highest LSN known durable when written.
  PartId next_part{1};
  TableId next_table{1};
  std::vector<TableRecord> tables;
  std::vector<PartInfo> parts;
  std::string extra_json;            // For what later versions add (dedup windows, views).
};

/// Writes manifest state.number and makes it current; durable when it returns. Removes manifests older
/// than the last three. The parts it names must be durable already. `state.number` must be above that of
/// the manifest the state was made from; a file of that number that never became current is replaced.
///
/// The parts that the manifest before this one names must stay on disk until one more has been committed, and the log
/// only be truncated through the `covered` of the one before: else a damaged manifest could not be survived.
/// On error nothing is lost, but whether the new manifest is current is unknown: load again, or commit a
/// higher number.
Status CommitManifest(io::FileSystem* files, const std::string& directory, const ManifestState& state);

struct ManifestLoad {
  ManifestState state;
  Lsn truncatable;                   // The log may be truncated through this LSN: two manifests cover it. 0: not at all.
  bool fell_back = false;            // The newest was damaged; this is the one before. Logged and counted.
  bool current_damaged = false;      // CURRENT is there and cannot be read; the manifests' own numbers decided. Logged.
  uint64_t number_max = 0;           // Highest number any file has, even one that never became current.
};

/// Loads the current manifest, or the one before where the newest is damaged. NotFound: there is none
/// (a new database). Corruption: neither of the two newest can be read. Unsupported: written by a newer version.
/// An older one than these two is never taken: the log behind it may be gone. What CURRENT, a damaged
/// CURRENT or none of it means: docs/formats/manifest.md.
Result<ManifestLoad> LoadManifest(io::FileSystem* files, const std::string& directory);

/// The bytes of a manifest file and back; for tests, fuzzing and `inspect`. Errors of the latter: Corruption, Unsupported.
std::string EncodeManifest(const ManifestState& state);
Result<ManifestState> DecodeManifest(std::string_view bytes);

/// "MANIFEST-000042".
std::string ManifestFileName(uint64_t number);

}  // namespace sheaf::parts
