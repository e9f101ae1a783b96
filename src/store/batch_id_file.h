/// Files of batch ids whose entries the log no longer has to keep. Format: docs/formats/batch_ids.md.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "io/file_system.h"
#include "store/batch_ids.h"

namespace sheaf::store {

/// Ids are at most 255 bytes long.
std::string EncodeBatchIds(const std::vector<BatchIdRecord>& records);
/// `path` is for the message. Errors: Corruption, Unsupported (newer version).
Result<std::vector<BatchIdRecord>> DecodeBatchIds(std::string_view bytes, const std::string& path);

/// The file at `path`. Errors: those of reading, and the same.
Result<std::vector<BatchIdRecord>> ReadBatchIds(io::FileSystem* files, const std::string& path);

}  // namespace sheaf::store
