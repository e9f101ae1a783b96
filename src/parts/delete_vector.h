/// Delete vectors: which rows of a keyed part are dead as of an LSN, in a file beside it. A vector is never changed;
/// a newer one gets the next number, and the manifest names the one that counts. Format: docs/formats/delete_vector.md.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "columns/dead_rows.h"
#include "columns/granules.h"
#include "core/status.h"
#include "io/file_system.h"
#include "parts/part.h"

namespace sheaf::parts {

/// "part-7-3.del": the third vector of part 7.
std::string DeadFileName(PartId id, uint64_t number);

/// Writes `dead` as the part's vector `number` and puts it into `info`, which is then ready for the next manifest; durable when
/// it returns. A file of that number, which no manifest can name, is replaced. `part` gives the rows of the granules.
/// Errors, which leave `info` as it was and no file: Invalid (no row is dead, or rows that the part does not have),
/// TooLarge (2^32 rows), Io, Unavailable (disk full).
Status WriteDeadRows(io::FileSystem* files, const std::string& directory, const columns::GranuleSource& part, uint64_t number,
                     const columns::DeadRows& dead, Lsn through, PartInfo* info);

/// Reads the vector that `info` names; no dead rows where it names none.
/// Errors: Corruption (damaged, or another file than the manifest names), NotFound, Unsupported (a newer version), Io.
Result<std::shared_ptr<const columns::DeadRows>> ReadDeadRows(io::FileSystem* files, const std::string& directory, const PartInfo& info,
                                                              const columns::GranuleSource& part);
/// Only checks. Errors as of ReadDeadRows().
Status VerifyDeadRows(io::FileSystem* files, const std::string& directory, const PartInfo& info);

/// What is in a file.
struct DeadFile {
  PartId part;
  std::string part_uuid, database_uuid;  // 16 bytes each; the latter may be empty.
  Lsn through;
  int64_t part_rows = 0;
  std::vector<uint32_t> rows;            // Dead ones, rising, counted through the part's granules.
  std::string digest;                    // Of the file, 16 bytes.
};
/// The bytes of a file and back; for tests, fuzzing and `inspect`. `digest` is ignored. Errors of the latter: Corruption, Unsupported.
Result<std::string> EncodeDeadFile(const DeadFile& contents);
Result<DeadFile> DecodeDeadFile(std::string_view bytes, const std::string& name);

}  // namespace sheaf::parts
