/// Rows of a keyed table by key: memtables first, newest to oldest, then parts, in which at most one row of a key is alive.

#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "columns/key_codec.h"
#include "core/ids.h"
#include "core/status.h"
#include "store/keyed_rows.h"

namespace sheaf::store {

struct TableVersion;

/// The row with `key` as of `at`, which is not below what the table's parts hold. Errors: Corruption, Io.
Result<KeyedRow> GetRow(const TableVersion& table, std::string_view key, Lsn at);

/// One answer a key. Errors as above.
Result<std::vector<KeyedRow>> GetRows(const TableVersion& table, const columns::KeyColumn& keys, Lsn at);

/// The LSN that wrote the row with `key`, 0 where there is none: what conditions compare. Errors as above.
Result<Lsn> VersionOf(const TableVersion& table, std::string_view key, Lsn at);

/// Rows in the order of their keys; keeps the version alive. Errors as above.
Result<std::unique_ptr<RowCursor>> ScanRows(std::shared_ptr<const TableVersion> table, const KeyRange& range,
                                            const ScanOptions& options, Lsn at);

}  // namespace sheaf::store
